//! The first pass: what a plan asks for, summed up.

use loss_core::expr::Table;
use loss_core::{Activation, LossError, Plan, Side, Statistic, Temperature};
use rayon::prelude::*;

use crate::block::{Block, Cut};
use crate::{Element, Problem, Real};

/// Sums of logarithms saturate here instead of overflowing: only `f64` logits near their own limit get this far, and the mean over
/// any number of samples stays finite.
const LARGEST_SUM: f64 = 1e299;

/// Sums up every statistic of a plan, reading the logits `[N, K, S]` once.
///
/// Returns one table per statistic, in the plan's order: `[N, K]`, or `[N, 1]` for the valid size.
///
/// # Errors
/// [`LossError::LabelOutOfRange`], [`LossError::ValueOutOfRange`] and [`LossError::NonFiniteLogit`] with the position of the first
/// offender; [`LossError::ShapeMismatch`] where the logits are not as long as the problem says.
pub fn statistics<E: Element>(logits: &[E], problem: &Problem<'_>, plan: &Plan) -> Result<Vec<Table>, LossError> {
    problem.logits_fit(logits.len())?;
    let geometry = problem.geometry();
    let (samples, classes, pixels) = (geometry.samples, geometry.classes, geometry.pixels);
    let cut = Cut::new::<E::Compute>(classes, pixels);
    let segments = pixels.div_ceil(cut.segment);
    let groups = Groups::new(plan, |_| true);
    let width: usize = plan.statistics().len() * classes;

    let partial = |task: usize| -> Result<Vec<f64>, LossError> {
        let (sample, segment) = (task / segments, task % segments);
        let mut sums = vec![0.0; width];
        let mut block = Block::new(classes, cut.block);
        let mut columns = Columns::new(cut.block);
        let end = ((segment + 1) * cut.segment).min(pixels);
        for start in (segment * cut.segment..end).step_by(cut.block) {
            block.load(problem, logits, sample, start, cut.block.min(end - start))?;
            add_block(&mut block, &mut columns, plan, &groups, &mut sums);
        }
        Ok(sums)
    };
    let partials: Vec<_> = (0..samples * segments).into_par_iter().map(partial).collect();

    let mut totals = vec![vec![0.0; width]; samples];
    for (task, sums) in partials.into_iter().enumerate() {
        totals[task / segments].iter_mut().zip(sums?).for_each(|(total, sum)| *total += sum);
    }
    let table = |(i, statistic): (usize, &Statistic)| {
        let columns = plan.columns(statistic);
        let values = totals.iter().flat_map(|row| &row[i * classes..i * classes + columns]);
        let values = values.map(|sum| sum.clamp(-LARGEST_SUM, LARGEST_SUM)).collect();
        Table::new(samples, columns, values)
    };
    plan.statistics().iter().enumerate().map(table).collect()
}

/// The statistics of a plan by what must be computed for them, each with its place in the plan.
pub(crate) struct Groups {
    /// Sums over the target alone.
    pub(crate) target: Vec<usize>,
    /// Sums over probabilities at one temperature, on one side.
    pub(crate) masses: Vec<(Activation, Temperature, Side, Vec<usize>)>,
    /// Sums over logarithms on one side.
    pub(crate) logarithms: Vec<(Activation, Side, Vec<usize>)>,
    /// Whether any softmax is needed.
    pub(crate) softmax: bool,
}

impl Groups {
    pub(crate) fn new(plan: &Plan, wanted: impl Fn(usize) -> bool) -> Self {
        let mut groups = Self { target: Vec::new(), masses: Vec::new(), logarithms: Vec::new(), softmax: false };
        for (i, statistic) in plan.statistics().iter().enumerate().filter(|(i, _)| wanted(*i)) {
            groups.softmax |= statistic.activation() == Some(Activation::Softmax);
            match statistic {
                Statistic::PredictedSize(a, t, side) | Statistic::Intersection(a, t, side) => {
                    groups.mass(*a, *t, *side).push(i)
                }
                Statistic::SquaredMass(a) => groups.mass(*a, Temperature::ONE, Side::Region).push(i),
                Statistic::LogLikelihood(a, side) | Statistic::LogMass(a, side) | Statistic::PixelSum(a, side, _) => {
                    let at = groups.logarithms.iter().position(|(b, s, _)| (b, s) == (a, side));
                    match at {
                        Some(at) => groups.logarithms[at].2.push(i),
                        None => groups.logarithms.push((*a, *side, vec![i])),
                    }
                    // Its log-sum comes with the probabilities at τ = 1.
                    if *a == Activation::Softmax {
                        groups.mass(*a, Temperature::ONE, Side::Region);
                    }
                }
                _ => groups.target.push(i),
            }
        }
        groups
    }

    fn mass(&mut self, activation: Activation, temperature: Temperature, side: Side) -> &mut Vec<usize> {
        let at = self.masses.iter().position(|(a, t, s, _)| (*a, *t, *s) == (activation, temperature, side));
        let at = at.unwrap_or_else(|| {
            self.masses.push((activation, temperature, side, Vec::new()));
            self.masses.len() - 1
        });
        &mut self.masses[at].3
    }
}

/// Columns beside a block.
pub(crate) struct Columns<C> {
    pub(crate) log: Vec<C>,
    pub(crate) value: Vec<C>,
}

impl<C: Real> Columns<C> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { log: vec![C::zero(); capacity], value: vec![C::zero(); capacity] }
    }
}

/// Σ f(b), in eight `f64` lanes.
#[inline]
fn sum<C: Real>(len: usize, f: impl Fn(usize) -> C) -> f64 {
    let mut lanes = [0.0f64; 8];
    let whole = len / 8 * 8;
    for start in (0..whole).step_by(8) {
        for (lane, total) in lanes.iter_mut().enumerate() {
            *total += f(start + lane).wide();
        }
    }
    lanes.iter().sum::<f64>() + (whole..len).map(|b| f(b).wide()).sum::<f64>()
}

fn add_block<C: Real>(block: &mut Block<C>, columns: &mut Columns<C>, plan: &Plan, groups: &Groups, sums: &mut [f64]) {
    let (classes, len) = (plan.classes(), block.len);
    let statistics = plan.statistics();
    for &i in &groups.target {
        match statistics[i] {
            Statistic::ValidSize => sums[i * classes] += sum(len, |b| block.weights()[b]),
            Statistic::SquaredTarget => {
                for k in 0..classes {
                    sums[i * classes + k] += sum(len, |b| block.squared_target(k, b));
                }
            }
            _ => {
                for k in 0..classes {
                    let wy = block.weighted_target(k);
                    sums[i * classes + k] += sum(len, |b| wy[b]);
                }
            }
        }
    }
    if groups.softmax {
        block.find_max();
    }
    for (activation, temperature, side, members) in &groups.masses {
        block.probabilities(*activation, *temperature, *side);
        for &i in members {
            for k in 0..classes {
                let (p, w, wy) = (block.probability(k), block.weights(), block.weighted_target(k));
                sums[i * classes + k] += match statistics[i] {
                    Statistic::Intersection(_, _, Side::Background) => sum(len, |b| (w[b] - wy[b]) * p[b]),
                    Statistic::Intersection(..) => sum(len, |b| wy[b] * p[b]),
                    Statistic::SquaredMass(_) => sum(len, |b| w[b] * p[b] * p[b]),
                    _ => sum(len, |b| w[b] * p[b]),
                };
            }
        }
    }
    for (activation, side, members) in &groups.logarithms {
        let background = *side == Side::Background;
        block.logarithms(*activation, background);
        for &i in members {
            let sums = &mut sums[i * classes..(i + 1) * classes];
            match &statistics[i] {
                Statistic::PixelSum(Activation::Softmax, _, function) if block.hard => {
                    // One class a pixel: one evaluation a pixel.
                    block.own_log(&mut columns.log[..len]);
                    function.evaluate(&columns.log[..len], &mut columns.value[..len], None);
                    for b in (0..len).filter(|&b| block.class[b] >= 0) {
                        sums[block.class[b] as usize] += (block.weight[b] * columns.value[b]).wide();
                    }
                }
                statistic => {
                    for (k, sums) in sums.iter_mut().enumerate() {
                        let (log, w, wy) = (block.log(k), block.weights(), block.weighted_target(k));
                        let weight = |b: usize| if background { w[b] - wy[b] } else { wy[b] };
                        *sums += match statistic {
                            Statistic::LogMass(..) => sum(len, |b| w[b] * log[b]),
                            Statistic::PixelSum(_, _, function) => {
                                let value = &mut columns.value[..len];
                                function.evaluate(log, value, None);
                                sum(len, |b| weight(b) * value[b])
                            }
                            _ => sum(len, |b| weight(b) * log[b]),
                        };
                    }
                }
            }
        }
    }
}
