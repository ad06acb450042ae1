//! The passes over the logits.

use loss_core::backend::{LARGEST_SUM, Table};
use loss_core::{Activation, Geometry, LossError, Map, Plan, Probability, Side, Statistic, Temperature};
use rayon::prelude::*;

use crate::block::{Logits, MapColumns, Span};
use crate::blocks::{Blocks, Buffers, Compiled, Work};
use crate::cut::{Cut, at_once};
use crate::gradient::Sink;
use crate::groups::Groups;
use crate::instructions::Instructions;
use crate::memory::{Gradient, Output, Part};
use crate::prefetch::Ahead;
use crate::real::MOST_FEW;
use crate::target::Target;
use crate::upstream::{Derivatives, Handed};
use crate::{Element, Problem, Real};

/// Logits up to which one thread does all: waking another takes as long as the work.
const SMALL: usize = 1 << 16;

/// Sums up every statistic of a plan, reading the logits `[N, K, S]` once, or not at all for sums
/// over the target alone.
///
/// Returns one table per statistic, in the plan's order: `[N, K]`, or `[N, 1]` for the valid size.
///
/// # Errors
/// [`LossError::LabelOutOfRange`], [`LossError::ValueOutOfRange`], [`LossError::SharesSum`] and
/// [`LossError::NonFiniteLogit`] with the position of the first offender; [`LossError::Length`]
/// where the logits are not as long as the problem says, [`LossError::PlanClasses`] where the plan
/// is for another number of classes.
pub fn statistics<E: Element>(logits: &[E], problem: &Problem<'_>, plan: &Plan) -> Result<Vec<Table>, LossError> {
    Ok(pass::<E, E>(logits, problem, plan, true, None)?.statistics)
}

/// Refuses logits, targets, weights and maps as [`statistics`] does when a plan reads the logits,
/// and computes nothing that is returned: for paths that do not look at the numbers themselves.
///
/// # Errors
/// As [`statistics`].
pub fn validate<E: Element>(logits: &[E], problem: &Problem<'_>) -> Result<(), LossError> {
    // A statistic that reads the logits; sigmoid allows any number of classes.
    let size = Statistic::predicted_size(Probability::new(Activation::Sigmoid, Temperature::ONE, Side::Region));
    let maps = problem.maps.iter().map(|map| Statistic::VALID_SIZE.times(Map::given(&map.name)));
    statistics(logits, problem, &Plan::new(problem.geometry().classes, maps.chain([size]))?).map(|_| ())
}

/// Writes ∂loss/∂logits to a [`Gradient`], reading the logits once more, given the loss's
/// derivative for each statistic of the plan (`None` where it is zero).
///
/// The gradient is stored in the type of the logits or in the type that they are computed in:
/// whoever scales the latter further rounds once, at the end.
///
/// # Errors
/// As [`statistics`]; the gradient may have been written in part.
pub fn logit_gradient<E: Element, G: Gradient<Element: Element<Compute = E::Compute>> + ?Sized>(
    logits: &[E],
    problem: &Problem<'_>,
    plan: &Plan,
    upstream: &[Option<Table>],
    gradient: &mut G,
) -> Result<(), LossError> {
    gradient.put(logits.len(), |output| pass(logits, problem, plan, false, Backward::stored(upstream, output)).map(|_| ()))
}

/// Both in one read, for losses whose derivatives do not depend on the logits' own statistics: a
/// mean over pixels, such as Cross-Entropy.
///
/// # Errors
/// As [`logit_gradient`].
pub fn statistics_and_gradient<E: Element, G: Gradient<Element: Element<Compute = E::Compute>> + ?Sized>(
    logits: &[E],
    problem: &Problem<'_>,
    plan: &Plan,
    upstream: &[Option<Table>],
    gradient: &mut G,
) -> Result<Vec<Table>, LossError> {
    gradient.put(logits.len(), |output| Ok(pass(logits, problem, plan, true, Backward::stored(upstream, output))?.statistics))
}

/// Σ_s ∂/∂logits, `[N, K]`, of several outputs of a loss, given each one's derivatives for the
/// statistics of the plan: in one read of the logits, storing no gradient. Sums are `f64`.
///
/// # Errors
/// As [`statistics`].
pub fn gradient_sums<E: Element>(
    logits: &[E],
    problem: &Problem<'_>,
    plan: &Plan,
    upstreams: &[Vec<Option<Table>>],
) -> Result<Vec<Table>, LossError> {
    let upstreams = upstreams.iter().map(Vec::as_slice).collect();
    Ok(pass::<E, E>(logits, problem, plan, false, Some(Backward { upstreams, output: None }))?.gradients)
}

/// What is differentiated, and where its gradient goes.
struct Backward<'a, G> {
    /// The derivatives of each output.
    upstreams: Vec<&'a [Option<Table>]>,
    /// Of the only output, where its gradient is stored; else each one's is summed up.
    output: Option<Output<'a, G>>,
}

impl<'a, G> Backward<'a, G> {
    #[allow(clippy::unnecessary_wraps, reason = "as a pass takes it")]
    fn stored(upstream: &'a [Option<Table>], output: Output<'a, G>) -> Option<Self> {
        Some(Self { upstreams: vec![upstream], output: Some(output) })
    }
}

/// What a pass comes to.
struct Sums {
    /// One table per statistic, where they are wanted.
    statistics: Vec<Table>,
    /// One table per gradient that is summed up.
    gradients: Vec<Table>,
}

/// What one task does.
struct Task<'a, G> {
    span: Span,
    /// Its sums; empty where none are wanted.
    sums: &'a mut [f64],
    /// Its part of the gradient, class by class; empty likewise.
    parts: Vec<Part<'a, G>>,
    /// The sums of its gradients by class, one after another; empty likewise.
    slopes: &'a mut [f64],
}

fn pass<E: Element, G: Element<Compute = E::Compute>>(
    logits: &[E],
    problem: &Problem<'_>,
    plan: &Plan,
    summed: bool,
    backward: Option<Backward<'_, G>>,
) -> Result<Sums, LossError> {
    let instructions = Instructions::in_use()?;
    problem.logits_fit(logits.len())?;
    let geometry = problem.geometry();
    let Geometry { samples, classes, pixels } = geometry;
    if plan.classes() != classes {
        return Err(LossError::PlanClasses { plan: plan.classes(), classes });
    }
    let (upstreams, output) = backward.map_or((Vec::new(), None), |backward| (backward.upstreams, backward.output));
    if let Some(output) = &output {
        problem.logits_fit(output.len())?;
    }
    let groups = Groups::new(plan, |i| summed || upstreams.iter().any(|upstream| matches!(upstream.get(i), Some(Some(_)))));
    let units: Vec<f64> = upstreams.iter().map(|upstream| unit(upstream)).collect();
    let of_sample = |sample| {
        let all = upstreams.iter().zip(&units);
        all.map(|(upstream, &unit)| derivatives(plan, &groups, upstream, unit, sample)).collect()
    };
    let handed: Vec<Vec<Derivatives<E::Compute>>> = (0..samples).map(of_sample).collect();

    let width = plan.statistics().len() * classes;
    let cut = Cut::new::<E::Compute>(samples, classes, pixels, width);
    let widths = [if summed { width } else { 0 }, if output.is_none() { upstreams.len() * classes } else { 0 }];
    let segments = pixels.div_ceil(cut.segment);
    let [mut sums, mut slopes] = widths.map(|width| vec![0.0; samples * segments * width]);
    let tasks = tasks([&mut sums, &mut slopes], widths, output, geometry, cut);
    let (soft, maps) = (!matches!(problem.target, Target::Labels(_)), MapColumns::of(problem, plan)?);
    let buffers = || Buffers::new(plan, &groups, cut.block, soft, &maps, widths[0], upstreams.len());
    let logits = Stored { logits, problem };
    let run = |buffers: &mut Buffers<E::Compute>, task: Task<'_, G>| {
        let Task { span, sums, parts, slopes } = task;
        let derivatives = handed.get(span.sample).map_or(&[][..], Vec::as_slice);
        let work = Work { problem, plan, groups: &groups, derivatives, logits: &logits };
        let (mut stored, mut totals) = (Parts(parts), slopes.chunks_mut(classes).map(Totals).collect::<Vec<_>>());
        let mut sinks: Vec<&mut dyn Sink<E::Compute>> = totals.iter_mut().map(|total| total as _).collect();
        if sinks.is_empty() {
            sinks.push(&mut stored);
        }
        let blocks = Blocks { work, buffers, span, step: cut.block, sums, sinks: &mut sinks };
        E::Compute::run(blocks, instructions)
    };
    // Collected in order, so that the first offender is reported, whichever thread finds one first.
    let done: Vec<Result<(), LossError>> = if logits.logits.len() <= SMALL {
        let mut buffers = buffers();
        tasks.into_iter().map(|task| run(&mut buffers, task)).collect()
    } else {
        let each = at_once(tasks.len(), rayon::current_num_threads());
        tasks.into_par_iter().with_min_len(each).map_init(buffers, run).collect()
    };
    done.into_iter().collect::<Result<(), _>>()?;
    let statistics = if summed { tables(plan, &of_samples(&sums, widths[0], segments), samples)? } else { Vec::new() };
    let slopes = of_samples(&slopes, widths[1], segments);
    let of_output = |i: usize| {
        let rows = slopes.chunks(widths[1].max(1)).flat_map(|sample| &sample[i * classes..][..classes]);
        Table::new(samples, classes, rows.copied().collect())
    };
    let gradients = (0..widths[1] / classes).map(of_output).collect::<Result<_, _>>()?;
    Ok(Sums { statistics, gradients })
}

/// The derivatives of an output for the pixels of a sample, in a unit.
fn derivatives<C: Real>(plan: &Plan, groups: &Groups, upstream: &[Option<Table>], unit: f64, sample: usize) -> Derivatives<C> {
    let at = |i: usize, k| {
        let table = upstream.get(i)?.as_ref()?;
        Some(C::of(table.get(sample, k).unwrap_or(f64::NAN) / unit))
    };
    let groups = groups.groups.iter().map(|group| Handed::new(plan, group, at)).collect();
    Derivatives { groups, unit: C::of(unit) }
}

/// The power of two that derivatives are measured in: the largest is then between 1 and 2, so that
/// small ones stay normal numbers.
fn unit(upstream: &[Option<Table>]) -> f64 {
    let values = upstream.iter().flatten().flat_map(Table::values);
    let largest = values.fold(0.0f64, |largest, u| largest.max(u.abs()));
    if largest.is_normal() { largest.log2().floor().clamp(-100.0, 100.0).exp2() } else { 1.0 }
}

/// Segments of samples, each with its sums and its part of every class's plane.
fn tasks<'a, G: Element>(
    sums: [&'a mut [f64]; 2],
    widths: [usize; 2],
    output: Option<Output<'a, G>>,
    geometry: Geometry,
    cut: Cut,
) -> Vec<Task<'a, G>> {
    let Geometry { samples, classes, pixels } = geometry;
    let [sums, slopes] = sums;
    let (mut sums, mut slopes) = (sums.chunks_mut(widths[0].max(1)), slopes.chunks_mut(widths[1].max(1)));
    let starts = (0..samples).flat_map(|sample| (0..pixels).step_by(cut.segment).map(move |start| (sample, start)));
    let mut tasks: Vec<_> = starts
        .map(|(sample, start)| Task {
            span: Span { sample, start, len: cut.segment.min(pixels - start) },
            sums: sums.next().unwrap_or_default(),
            parts: Vec::new(),
            slopes: slopes.next().unwrap_or_default(),
        })
        .collect();
    let segments = pixels.div_ceil(cut.segment);
    for (plane, segment, part) in output.into_iter().flat_map(|output| output.parts(pixels, cut.segment)) {
        if let Some(task) = tasks.get_mut(plane / classes * segments + segment) {
            task.parts.push(part);
        }
    }
    tasks
}

/// Sums of `width` numbers, of all tasks, by sample.
fn of_samples(sums: &[f64], width: usize, segments: usize) -> Vec<f64> {
    let sample = |tasks: &[f64]| {
        let mut totals = vec![0.0; width];
        tasks.chunks(width.max(1)).for_each(|sums| totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum));
        totals
    };
    sums.chunks((segments * width).max(1)).flat_map(sample).collect()
}

/// The statistics, from their sums by sample.
fn tables(plan: &Plan, totals: &[f64], samples: usize) -> Result<Vec<Table>, LossError> {
    let classes = plan.classes();
    let width = plan.statistics().len() * classes;
    let table = |(i, statistic)| {
        let columns = plan.columns(statistic);
        let rows = (0..samples).flat_map(|sample| &totals[sample * width + i * classes..][..columns]);
        Table::new(samples, columns, rows.map(|sum| sum.clamp(-LARGEST_SUM, LARGEST_SUM)).collect())
    };
    plan.statistics().iter().enumerate().map(table).collect()
}

/// Logits as they are stored, and what is added to those of a class.
struct Stored<'a, E> {
    logits: &'a [E],
    problem: &'a Problem<'a>,
}

impl<E: Element> Logits<E::Compute> for Stored<'_, E> {
    fn own(&self, from: usize, length: usize) -> Option<&[E::Compute]> {
        if self.problem.shift.is_some() {
            return None;
        }
        E::as_computed(&self.logits[from..from + length])
    }

    fn read(&self, from: usize, to: &mut [E::Compute]) {
        E::load(&self.logits[from..from + to.len()], to);
        if self.problem.shift.is_some() {
            let Geometry { classes, pixels, .. } = self.problem.geometry();
            let by = E::Compute::of(self.problem.shift_of(from / pixels % classes));
            to.iter_mut().for_each(|z| *z = *z + by);
        }
    }
}

/// A task's part of the gradient, class by class.
struct Parts<'a, G>(Vec<Part<'a, G>>);

impl<G: Element> Sink<G::Compute> for Parts<'_, G> {
    fn own(&mut self, k: usize, from: usize, length: usize) -> Option<&mut [G::Compute]> {
        // Half precision has no view in the compute type, so return early.
        G::computed(&mut [])?;
        G::computed(self.0[k].piece(from, length))
    }

    fn few(&mut self, from: usize, length: usize) -> Option<[&mut [G::Compute]; MOST_FEW]> {
        G::computed(&mut [])?;
        let mut parts = self.0.iter_mut();
        let mut piece = |_| parts.next().and_then(|part| G::computed(part.piece(from, length))).unwrap_or_default();
        Some(std::array::from_fn(&mut piece))
    }

    fn store(&mut self, k: usize, from: usize, values: &[G::Compute]) {
        G::store(values, self.0[k].piece(from, values.len()));
    }

    fn ahead(&self, ahead: &mut Ahead, from: usize) {
        self.0.iter().for_each(|part| ahead.add(part.memory().get(from..).unwrap_or_default()));
    }
}

/// The sums of a task's gradient, by class.
struct Totals<'a>(&'a mut [f64]);

impl<C: Real> Sink<C> for Totals<'_> {
    fn own(&mut self, _: usize, _: usize, _: usize) -> Option<&mut [C]> {
        None
    }

    fn few(&mut self, _: usize, _: usize) -> Option<[&mut [C]; MOST_FEW]> {
        None
    }

    fn store(&mut self, k: usize, _: usize, values: &[C]) {
        const LANES: usize = 8;
        let (whole, rest) = values.as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        whole.iter().for_each(|values| sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value.wide()));
        self.0[k] += sums.iter().sum::<f64>() + rest.iter().map(|value| value.wide()).sum::<f64>();
    }

    fn ahead(&self, _: &mut Ahead, _: usize) {}
}
