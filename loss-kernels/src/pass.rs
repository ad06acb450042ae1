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
use crate::target::Target;
use crate::upstream::Handed;
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
/// [`LossError::NonFiniteLogit`] with the position of the first offender; [`LossError::Length`] where the logits are not as long
/// as the problem says, [`LossError::PlanClasses`] where the plan is for another number of classes.
pub fn statistics<E: Element>(logits: &[E], problem: &Problem<'_>, plan: &Plan) -> Result<Vec<Table>, LossError> {
    pass::<E, E>(logits, problem, plan, true, None)
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
    gradient.put(logits.len(), |output| pass(logits, problem, plan, false, Some(Backward { upstream, output })).map(|_| ()))
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
    gradient.put(logits.len(), |output| pass(logits, problem, plan, true, Some(Backward { upstream, output })))
}

/// The derivatives, and where the gradient goes.
struct Backward<'a, G> {
    upstream: &'a [Option<Table>],
    output: Output<'a, G>,
}

/// What one task does.
struct Task<'a, G> {
    span: Span,
    /// Its sums; empty where none are wanted.
    sums: &'a mut [f64],
    /// Its part of the gradient, class by class; empty likewise.
    parts: Vec<Part<'a, G>>,
}

fn pass<E: Element, G: Element<Compute = E::Compute>>(
    logits: &[E],
    problem: &Problem<'_>,
    plan: &Plan,
    summed: bool,
    backward: Option<Backward<'_, G>>,
) -> Result<Vec<Table>, LossError> {
    let instructions = Instructions::in_use()?;
    problem.logits_fit(logits.len())?;
    let geometry = problem.geometry();
    let Geometry { samples, classes, pixels } = geometry;
    if plan.classes() != classes {
        return Err(LossError::PlanClasses { plan: plan.classes(), classes });
    }
    let (upstream, output) = backward.map(|backward| (backward.upstream, backward.output)).unzip();
    if let Some(output) = &output {
        problem.logits_fit(output.len())?;
    }
    let derivative = |i: usize| upstream.and_then(|upstream| upstream.get(i)?.as_ref());
    let groups = Groups::new(plan, |i| summed || derivative(i).is_some());
    let unit = unit(upstream);
    let of_sample = |sample| {
        let at = |i, k| derivative(i).map(|table| E::Compute::of(table.get(sample, k).unwrap_or(f64::NAN) / unit));
        groups.groups.iter().map(|group| Handed::new(plan, group, at)).collect()
    };
    let handed: Vec<Vec<Handed<E::Compute>>> = (0..if upstream.is_some() { samples } else { 0 }).map(of_sample).collect();

    let width = plan.statistics().len() * classes;
    let cut = Cut::new::<E::Compute>(samples, classes, pixels, width);
    let width = if summed { width } else { 0 };
    let segments = pixels.div_ceil(cut.segment);
    let mut sums = vec![0.0; samples * segments * width];
    let tasks = tasks(&mut sums, width, output, geometry, cut);
    let (soft, maps) = (!matches!(problem.target, Target::Labels(_)), MapColumns::of(problem, plan)?);
    let buffers = || Buffers::new(plan, &groups, cut.block, soft, &maps, width, upstream.is_some());
    let logits = Stored(logits);
    let run = |buffers: &mut Buffers<E::Compute>, task: Task<'_, G>| {
        let Task { span, sums, parts } = task;
        let handed = handed.get(span.sample).map_or(&[][..], Vec::as_slice);
        let work = Work { problem, plan, groups: &groups, handed, unit: E::Compute::of(unit), logits: &logits };
        let blocks = Blocks { work, buffers, span, step: cut.block, sums, sink: &mut Parts(parts) };
        E::Compute::run(blocks, instructions)
    };
    // Collected in order, so that the first offender is reported, whichever thread finds one first.
    let done: Vec<Result<(), LossError>> = if logits.0.len() <= SMALL {
        let mut buffers = buffers();
        tasks.into_iter().map(|task| run(&mut buffers, task)).collect()
    } else {
        let each = at_once(tasks.len(), rayon::current_num_threads());
        tasks.into_par_iter().with_min_len(each).map_init(buffers, run).collect()
    };
    done.into_iter().collect::<Result<(), _>>()?;
    if summed { tables(plan, &sums, samples, segments) } else { Ok(Vec::new()) }
}

/// The power of two that derivatives are measured in: the largest is then between 1 and 2, so that
/// small ones stay normal numbers.
fn unit(upstream: Option<&[Option<Table>]>) -> f64 {
    let values = upstream.into_iter().flatten().flatten().flat_map(Table::values);
    let largest = values.fold(0.0f64, |largest, u| largest.max(u.abs()));
    if largest.is_normal() { largest.log2().floor().clamp(-100.0, 100.0).exp2() } else { 1.0 }
}

/// Segments of samples, each with its sums and its part of every class's plane.
fn tasks<'a, G: Element>(
    sums: &'a mut [f64],
    width: usize,
    output: Option<Output<'a, G>>,
    geometry: Geometry,
    cut: Cut,
) -> Vec<Task<'a, G>> {
    let Geometry { samples, classes, pixels } = geometry;
    let mut sums = sums.chunks_mut(width.max(1));
    let starts = (0..samples).flat_map(|sample| (0..pixels).step_by(cut.segment).map(move |start| (sample, start)));
    let mut tasks: Vec<_> = starts
        .map(|(sample, start)| Task {
            span: Span { sample, start, len: cut.segment.min(pixels - start) },
            sums: sums.next().unwrap_or_default(),
            parts: Vec::new(),
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

/// The statistics, from the sums of all tasks.
fn tables(plan: &Plan, sums: &[f64], samples: usize, segments: usize) -> Result<Vec<Table>, LossError> {
    let classes = plan.classes();
    let width = plan.statistics().len() * classes;
    let mut totals = vec![0.0; samples * width];
    for (task, sums) in sums.chunks_exact(width.max(1)).enumerate() {
        let sample = task / segments;
        totals[sample * width..(sample + 1) * width].iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    }
    let table = |(i, statistic)| {
        let columns = plan.columns(statistic);
        let rows = (0..samples).flat_map(|sample| &totals[sample * width + i * classes..][..columns]);
        Table::new(samples, columns, rows.map(|sum| sum.clamp(-LARGEST_SUM, LARGEST_SUM)).collect())
    };
    plan.statistics().iter().enumerate().map(table).collect()
}

/// Logits as they are stored.
struct Stored<'a, E>(&'a [E]);

impl<E: Element> Logits<E::Compute> for Stored<'_, E> {
    fn own(&self, from: usize, length: usize) -> Option<&[E::Compute]> {
        E::as_computed(&self.0[from..from + length])
    }

    fn read(&self, from: usize, to: &mut [E::Compute]) {
        E::load(&self.0[from..from + to.len()], to);
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

    fn store(&mut self, k: usize, from: usize, values: &[G::Compute]) {
        G::store(values, self.0[k].piece(from, values.len()));
    }

    fn ahead(&self, ahead: &mut Ahead, from: usize) {
        self.0.iter().for_each(|part| ahead.add(part.memory().get(from..).unwrap_or_default()));
    }
}
