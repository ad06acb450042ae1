//! The passes over the logits: how the work is cut up, and what is done with each block.

use loss_core::expr::Table;
use loss_core::{Activation, LossError, Map, Plan, Probability, Quantity, Side, Statistic, Temperature};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::block::Block;
use crate::gradient::{GradientColumns, Handed, Sink};
use crate::groups::Groups;
use crate::instructions::Instructions;
use crate::memory::{Gradient, Output, Part};
use crate::pixel::PixelColumns;
use crate::problem::Target;
use crate::simd::{PADDING, apart};
use crate::statistics::{add_group, add_target};
use crate::sums::Sums;
use crate::{Element, Problem, Real};

/// Sums of logarithms saturate here instead of overflowing: only `f64` logits near their own limit get this far, and the mean over
/// any number of samples stays finite.
const LARGEST_SUM: f64 = 1e299;

/// Bytes of one buffer of a block: a few of them stay in the second cache together.
const BUFFER: usize = 32 * 1024;

/// Pixels of a block, at least and at most: with very many classes what is done once per class and block must not outweigh them.
const SHORTEST: usize = 64;
pub(crate) const LONGEST: usize = 512;

/// Tasks that a pass is cut into, where it is large enough for it, and the bytes that all their sums may take together.
const TASKS: usize = 128;
const SUMS: usize = 256 * 1024;

/// Pixels of a task, at least, where a sample has them: to bring its sums together takes as long as some hundred pixels.
const TASK: usize = 4096;

/// Blocks after which the lanes of a sum are brought together: what a lane adds up stays short.
pub(crate) const FLUSH: usize = 64;

/// Logits up to which no thread is asked to help: to wake one takes as long as the work.
const SMALL: usize = 1 << 16;

/// How the pixels of a sample are cut up: by shapes, by the type that is computed in and by the plan, never by the number of threads.
#[derive(Clone, Copy)]
struct Cut {
    block: usize,
    segment: usize,
}

impl Cut {
    fn new<C>(samples: usize, classes: usize, pixels: usize, width: usize) -> Self {
        let fitting = BUFFER / (classes * size_of::<C>());
        let block = (fitting / PADDING * PADDING).clamp(SHORTEST, LONGEST);
        let tasks = TASKS.min(SUMS / (8 * width.max(1))).max(1);
        let segments = (tasks / samples.max(1)).max(1);
        let pixels = pixels.div_ceil(segments).max(TASK);
        Self { block, segment: pixels.div_ceil(block) * block }
    }
}

/// Sums up every statistic of a plan, reading the logits `[N, K, S]` once; not at all, where it asks for the target alone.
///
/// Returns one table per statistic, in the plan's order: `[N, K]`, or `[N, 1]` for the valid size.
///
/// # Errors
/// [`LossError::LabelOutOfRange`], [`LossError::ValueOutOfRange`] and [`LossError::NonFiniteLogit`] with the position of the first
/// offender; [`LossError::Length`] where the logits are not as long as the problem says,
/// [`LossError::PlanClasses`] where the plan is for another number of classes.
pub fn statistics<E: Element>(logits: &[E], problem: &Problem<'_>, plan: &Plan) -> Result<Vec<Table>, LossError> {
    pass::<E, E>(logits, problem, plan, true, None)
}

/// Refuses logits, targets, weights and maps as [`statistics`] does when a plan reads the logits,
/// and computes nothing that is returned: for paths that do not look at the numbers themselves.
///
/// # Errors
/// As [`statistics`].
pub fn validate<E: Element>(logits: &[E], problem: &Problem<'_>) -> Result<(), LossError> {
    // Sums over the target alone would leave the logits unread; the sigmoid takes any number of classes.
    let size = Statistic::predicted_size(Probability::new(Activation::Sigmoid, Temperature::ONE, Side::Region));
    let maps = problem.maps.iter().map(|map| Statistic::VALID_SIZE.times(Map::given(&map.name)));
    statistics(logits, problem, &Plan::new(problem.geometry().classes, maps.chain([size]))?).map(|_| ())
}

/// Writes ∂loss/∂logits to a [`Gradient`], reading the logits once more, given the loss's derivative for each statistic of the plan
/// (`None` where it is zero).
///
/// The gradient is stored as the logits are, or as they are computed in: what scales it further rounds it once, at the end.
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
    gradient.put(logits.len(), |output| pass(logits, problem, plan, false, Some((upstream, output))).map(|_| ()))
}

/// Both in one read, for losses whose derivatives do not depend on the logits' own statistics: a mean over pixels, such as
/// Cross-Entropy.
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
    gradient.put(logits.len(), |output| pass(logits, problem, plan, true, Some((upstream, output))))
}

/// Asks for memory that will be read soon, or, `WRITE`, written.
#[inline]
fn prefetch<const WRITE: bool, T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for lines in values.chunks(4 * LINE / size_of::<T>()) {
        use std::arch::x86_64::{_MM_HINT_ET0, _MM_HINT_T0, _mm_prefetch};
        let first = lines.as_ptr().cast::<i8>();
        for line in 0..4 {
            // SAFETY: a hint, which neither reads nor faults, whatever the address.
            #[allow(unsafe_code, reason = "a hint to the processor, for which there is no safe function")]
            unsafe {
                if WRITE {
                    _mm_prefetch::<_MM_HINT_ET0>(first.wrapping_add(line * LINE));
                } else {
                    _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(line * LINE));
                }
            }
        }
    }
}

/// Bytes of a line of the cache.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// A task's part of the gradient, class by class.
struct Parts<'a, G>(Vec<Part<'a, G>>);

impl<G: Element> Parts<'_, G> {
    /// So many numbers of a class, from a pixel on. What is written next is prefetched: the next class's, and after the last the first's.
    /// Not all of a block at once: planes whose length is a power of two share their place in the cache.
    #[inline(always)]
    fn piece(&mut self, k: usize, from: usize, length: usize) -> &mut [G] {
        let (next, at) = if k + 1 < self.0.len() { (k + 1, from) } else { (0, from + length) };
        let later = &self.0[next].memory()[at..];
        prefetch::<true, _>(&later[..length.min(later.len())]);
        self.0[k].piece(from, length)
    }
}

impl<G: Element> Sink<G::Compute> for Parts<'_, G> {
    fn own(&mut self, k: usize, from: usize, length: usize) -> Option<&mut [G::Compute]> {
        // Of numbers that are stored otherwise not even none can be had.
        G::computed(&mut [])?;
        G::computed(self.piece(k, from, length))
    }

    fn store(&mut self, k: usize, from: usize, values: &[G::Compute]) {
        G::store(values, self.piece(k, from, values.len()));
    }
}

type Backward<'a, G> = (&'a [Option<Table>], Output<'a, G>);

/// What one task does: pixels of one sample.
struct Task<'a, G> {
    sample: usize,
    start: usize,
    end: usize,
    /// Where its sums go; empty where none are asked for.
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
    let (samples, classes, pixels) = (geometry.samples, geometry.classes, geometry.pixels);
    if plan.classes() != classes {
        return Err(LossError::PlanClasses { plan: plan.classes(), classes });
    }
    let width = plan.statistics().len() * classes;
    let cut = Cut::new::<E::Compute>(samples, classes, pixels, width);
    let segments = pixels.div_ceil(cut.segment);
    let (upstream, gradient) = match backward {
        Some((upstream, gradient)) => {
            problem.logits_fit(gradient.len())?;
            (Some(upstream), Some(gradient))
        }
        None => (None, None),
    };
    let derivative = |i: usize| upstream.and_then(|upstream| upstream.get(i)?.as_ref());
    let groups = Groups::new(plan, |i| summed || derivative(i).is_some());
    let unit = unit(upstream);
    let of_sample = |sample| {
        let at = |i, k| derivative(i).map(|table| E::Compute::of(table.get(sample, k).unwrap_or(f64::NAN) / unit));
        groups.groups.iter().map(|group| Handed::new(plan, group, at)).collect()
    };
    let handed: Vec<Vec<Handed<E::Compute>>> = (0..if upstream.is_some() { samples } else { 0 }).map(of_sample).collect();

    let mut sums = vec![0.0; if summed { samples * segments * width } else { 0 }];
    let tasks = tasks(&mut sums, if summed { width } else { 0 }, gradient, (samples, classes, pixels), cut);
    let soft = matches!(problem.target, Target::Soft(_));
    let maps: Vec<[usize; 2]> = problem.maps_of(plan)?.into_iter().map(|at| [at, problem.maps[at].channels]).collect();
    let buffers =
        || Buffers::new(plan, &groups, cut.block, (soft, &maps), (if summed { width } else { 0 }, upstream.is_some()));
    let run = |buffers: &mut Buffers<E::Compute>, task: Task<'_, G>| {
        let Task { sample, start, end, sums, parts } = task;
        let read = |from: usize, to: &mut [E::Compute]| {
            let (now, later) = logits[from..].split_at(to.len());
            // The next block of the same plane.
            prefetch::<false, _>(&later[..to.len().min(later.len())]);
            E::load(now, to);
        };
        let mut sink = Parts(parts);
        let blocks = Blocks {
            problem,
            plan,
            groups: &groups,
            handed: handed.get(sample).map_or(&[], Vec::as_slice),
            unit: E::Compute::of(unit),
            buffers,
            range: (sample, start, end),
            step: cut.block,
            sums,
            read: &read,
            sink: &mut sink,
        };
        E::Compute::run(blocks, instructions)
    };
    // In order, so that the first offender is reported, whoever comes upon it.
    let done: Vec<Result<(), LossError>> = if logits.len() <= SMALL {
        let mut buffers = buffers();
        tasks.into_iter().map(|task| run(&mut buffers, task)).collect()
    } else {
        let each = at_once(tasks.len(), rayon::current_num_threads());
        tasks.into_par_iter().with_min_len(each).map_init(buffers, run).collect()
    };
    done.into_iter().collect::<Result<(), _>>()?;
    if !summed {
        return Ok(Vec::new());
    }
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

/// Tasks that a thread takes at once: a quarter of its part, so that it makes few buffers and others do not wait for it in the end.
fn at_once(tasks: usize, threads: usize) -> usize {
    (tasks / (4 * threads)).max(1)
}

/// The power of two that derivatives are measured in: the largest is between 1 and 2, so that what becomes of the small ones stays
/// within the normal numbers of the type.
fn unit(upstream: Option<&[Option<Table>]>) -> f64 {
    let values = upstream.into_iter().flatten().flatten().flat_map(Table::values);
    let largest = values.fold(0.0f64, |largest, u| largest.max(u.abs()));
    if largest.is_normal() { largest.log2().floor().clamp(-100.0, 100.0).exp2() } else { 1.0 }
}

/// Segments of samples, each with its sums and with what it writes of every class's plane.
fn tasks<'a, G: Element>(
    sums: &'a mut [f64],
    width: usize,
    gradient: Option<Output<'a, G>>,
    (samples, classes, pixels): (usize, usize, usize),
    cut: Cut,
) -> Vec<Task<'a, G>> {
    let mut sums = sums.chunks_mut(width.max(1));
    let starts = (0..samples).flat_map(|sample| (0..pixels).step_by(cut.segment).map(move |start| (sample, start)));
    let mut tasks: Vec<_> = starts
        .map(|(sample, start)| Task {
            sample,
            start,
            end: (start + cut.segment).min(pixels),
            sums: sums.next().unwrap_or_default(),
            parts: Vec::new(),
        })
        .collect();
    let segments = pixels.div_ceil(cut.segment);
    for (plane, segment, part) in gradient.into_iter().flat_map(|gradient| gradient.parts(pixels, cut.segment)) {
        if let Some(task) = tasks.get_mut(plane / classes * segments + segment) {
            task.parts.push(part);
        }
    }
    tasks
}

/// What a thread works with.
struct Buffers<C> {
    block: Block<C>,
    pixels: PixelColumns<C>,
    gradient: Option<GradientColumns<C>>,
    /// Lanes of the sums, all 0 between tasks.
    lanes: Vec<C>,
}

impl<C: Real> Buffers<C> {
    fn new(
        plan: &Plan,
        groups: &Groups,
        capacity: usize,
        (soft, maps): (bool, &[[usize; 2]]),
        (sums, backward): (usize, bool),
    ) -> Self {
        let functions = groups.groups.iter().flat_map(|group| &group.members).filter_map(|&i| match &plan.statistics()[i].of {
            Quantity::Function(.., function) => Some(function),
            Quantity::One | Quantity::Target | Quantity::Mass(_) | Quantity::SquaredMass(_) | Quantity::Log(..) => None,
        });
        let pixel_sums = groups.groups.iter().any(|group| group.pixel_sums);
        Self {
            block: Block::new(plan.classes(), capacity, groups.needs(soft), maps),
            pixels: PixelColumns::new(functions, capacity),
            gradient: backward.then(|| GradientColumns::new(plan.classes(), capacity, [pixel_sums, !maps.is_empty()])),
            lanes: Sums::slots(sums),
        }
    }
}

/// The blocks of a task, one after another.
pub struct Blocks<'a, C> {
    problem: &'a Problem<'a>,
    plan: &'a Plan,
    groups: &'a Groups,
    /// Derivatives, group by group, in units of `unit`.
    handed: &'a [Handed<C>],
    unit: C,
    buffers: &'a mut Buffers<C>,
    /// Sample, first pixel, end.
    range: (usize, usize, usize),
    step: usize,
    sums: &'a mut [f64],
    /// Brings logits, from an index on.
    read: &'a dyn Fn(usize, &mut [C]),
    /// Takes the gradient.
    sink: &'a mut dyn Sink<C>,
}

impl<C: Real> WithSimd for Blocks<'_, C> {
    type Output = Result<(), LossError>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self { problem, plan, groups, handed, unit, buffers, range, step, sums, read, sink } = self;
        let (sample, first, end) = range;
        let Buffers { block, pixels, gradient, lanes } = buffers;
        let summed = !sums.is_empty();
        // What the compiler knew to be constants it would bring anew in every round of a loop.
        let constants = C::constants(simd);
        let constants = std::hint::black_box(&constants);
        let mut sums = Sums { lanes, totals: sums };
        for (i, start) in (first..end).step_by(step).enumerate() {
            apart!(simd, block.load(simd, problem, read, (sample, start, step.min(end - start))))?;
            if summed {
                apart!(simd, add_target(simd, block, plan, groups, &mut sums));
            }
            if let Some(gradient) = gradient {
                gradient.begin(block.padded());
            }
            for (g, group) in groups.groups.iter().enumerate() {
                // The slope of a logarithm needs none.
                let logarithms = group.pixel_sums || (summed && group.logarithms);
                match group.activation {
                    Activation::Softmax => block.softmax((simd, constants), group.temperature, logarithms),
                    Activation::Sigmoid => {
                        let complements = gradient.is_some() || group.background;
                        block.sigmoid((simd, constants), group.temperature, (complements, logarithms));
                    }
                }
                if summed {
                    apart!(simd, add_group((simd, constants), (block, pixels), plan, group, &mut sums));
                }
                if let (Some(gradient), Some(handed)) = (&mut *gradient, handed.get(g)) {
                    apart!(simd, gradient.add_group((simd, constants), block, pixels, plan, (group, handed)));
                }
            }
            if let Some(gradient) = gradient {
                apart!(simd, gradient.finish(simd, block, unit, sink, start - first));
            }
            if i % FLUSH == FLUSH - 1 {
                sums.flush();
            }
        }
        sums.flush();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_takes_a_quarter_of_its_part() {
        assert_eq!([at_once(128, 2), at_once(128, 64), at_once(1, 2)], [16, 1, 1]);
    }

    #[test]
    fn work_is_cut_into_as_many_parts_as_the_limits_allow() {
        for (samples, classes, pixels, statistics) in [
            (1, 2, 1 << 20, 3),
            (3, 19, 500_000, 8),
            (1, 150, 1 << 18, 5),
            (7, 33, 12_345, 2),
            (300, 2, 1000, 4),
            (1, 70, 1, 600),
        ] {
            let width = classes * statistics;
            let cut = Cut::new::<f32>(samples, classes, pixels, width);
            let Cut { block, segment } = cut;
            // A column per class of a block, 32 KiB together, and between 64 and 512 pixels.
            let fits = |block: usize| block * classes * size_of::<f32>() <= 32_768;
            assert!(block % PADDING == 0 && (block == 64 || fits(block)), "{samples} {classes}: {block}");
            assert!(block == 512 || !fits(block + PADDING), "{samples} {classes}: {block}");
            assert!((64..=512).contains(&block) && segment % block == 0);
            // At most 128 tasks, and 256 KiB of sums.
            let allowed = |segment: usize| {
                let tasks = samples * pixels.div_ceil(segment);
                tasks <= 128 && tasks * width * size_of::<f64>() <= 262_144
            };
            assert!(segment >= pixels || allowed(segment), "{samples} {classes}: {segment}");
            assert!(segment < TASK + block || !allowed(segment - block), "{samples} {classes}: {segment}");
            assert!(segment >= TASK, "{samples} {classes}: {segment}");
        }
    }
}
