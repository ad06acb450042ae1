//! What a block adds to the statistics.

use loss_core::expr::PixelFunction;
use loss_core::{Activation, Plan, Side, Statistic};
use pulp::Simd;

use crate::Real;
use crate::block::{Block, Columns};
use crate::groups::{Group, Groups};
use crate::simd::{Column, Sum, sum, write_column};

/// A pixel function, and what probability it is of.
pub(crate) type OfPixel<'a> = (&'a PixelFunction, Activation, Side);

/// Columns for pixel functions: their arguments, values and slopes.
pub(crate) struct PixelColumns<C> {
    log: Columns<C>,
    value: Columns<C>,
    slope: Columns<C>,
}

impl<C: Real> PixelColumns<C> {
    pub(crate) fn new(capacity: usize) -> Self {
        let column = || Columns::new(1, capacity);
        Self { log: column(), value: column(), slope: column() }
    }

    /// Brings the logarithms that a function is to be evaluated at for one class of so many; false where they are those of the
    /// class before: with softmax and labels a pixel has but one class, and all are brought at the first.
    #[inline(always)]
    fn bring<S: Simd>(
        &mut self,
        simd: S,
        block: &Block<C>,
        (activation, side): (Activation, Side),
        (k, classes): (usize, usize),
    ) -> bool {
        let log = &mut self.log.column_mut(0)[..block.padded()];
        match activation {
            Activation::Softmax if block.is_hard() && k > 0 => return false,
            Activation::Softmax if block.is_hard() => {
                log.fill(C::zero());
                for class in (0..classes).filter(|&class| block.has(class)) {
                    let (own, of_class) = (block.target(simd, class), block.log_softmax(simd, class));
                    write_column!(simd, log, |i, old| own.of(i, of_class.at(i)) + own.outside(i, old));
                }
            }
            Activation::Softmax => {
                let of_class = block.log_softmax(simd, k);
                write_column!(simd, log, |i| of_class.at(i));
            }
            Activation::Sigmoid => {
                let of_class = block.log_sigmoid(simd, k, side == Side::Background);
                write_column!(simd, log, |i| of_class.at(i));
            }
        }
        true
    }

    /// φ of log p, or of log(1 − p), for the pixels of a class. Classes are asked for in order, from the first.
    #[inline(always)]
    pub(crate) fn values<S: Simd>(
        &mut self,
        simd: S,
        block: &Block<C>,
        (function, activation, side): OfPixel<'_>,
        class: (usize, usize),
    ) -> Column<'_, S, C> {
        let padded = block.padded();
        if self.bring(simd, block, (activation, side), class) {
            function.evaluate(&self.log.column(0)[..padded], &mut self.value.column_mut(0)[..padded], None);
        }
        Column::new(simd, &self.value.column(0)[..padded])
    }

    /// φ' likewise.
    #[inline(always)]
    pub(crate) fn slopes<S: Simd>(
        &mut self,
        simd: S,
        block: &Block<C>,
        (function, activation, side): OfPixel<'_>,
        class: (usize, usize),
    ) -> Column<'_, S, C> {
        let padded = block.padded();
        if self.bring(simd, block, (activation, side), class) {
            let (value, slope) = (&mut self.value.column_mut(0)[..padded], &mut self.slope.column_mut(0)[..padded]);
            function.evaluate(&self.log.column(0)[..padded], value, Some(slope));
        }
        Column::new(simd, &self.slope.column(0)[..padded])
    }
}

/// Adds the sums over the target.
#[inline(always)]
pub(crate) fn add_target<S: Simd, C: Real>(simd: S, block: &Block<C>, plan: &Plan, groups: &Groups, sums: &mut [f64]) {
    let classes = plan.classes();
    let w = block.weight.lanes(simd, 0);
    for &i in &groups.target {
        if plan.statistics()[i] == Statistic::ValidSize {
            sums[i * classes] += sum!(simd, w.len(), |b| w.at(b));
            continue;
        }
        let squared = plan.statistics()[i] == Statistic::SquaredTarget;
        for k in (0..classes).filter(|&k| block.has(k)) {
            let y = block.target(simd, k);
            sums[i * classes + k] += sum!(simd, w.len(), |b| {
                let once = y.of(b, w.at(b));
                if squared { y.of(b, once) } else { once }
            });
        }
    }
}

/// Adds the sums over the logits of a group, whose probabilities have been computed.
#[inline(always)]
pub(crate) fn add_group<S: Simd, C: Real>(
    simd: S,
    block: &Block<C>,
    pixels: &mut PixelColumns<C>,
    plan: &Plan,
    group: &Group,
    sums: &mut [f64],
) {
    let classes = plan.classes();
    let (scale, scaled, w) = (block.scale.lanes(simd, 0), block.weighted_scale.lanes(simd, 0), block.weight.lanes(simd, 0));
    let count = w.len();
    for &i in &group.members {
        let statistic = &plan.statistics()[i];
        let background = matches!(statistic.probability(), Some((.., Side::Background)));
        for k in 0..classes {
            // Nothing of this class: every summand is 0, unless it is one over all pixels or outside of the class.
            let inside = !background
                && matches!(statistic, Statistic::Intersection(..) | Statistic::LogLikelihood(..) | Statistic::PixelSum(..));
            let skipped = inside && !block.has(k);
            let first_of_all = k == 0 && matches!(statistic, Statistic::PixelSum(..));
            if skipped && !first_of_all {
                continue;
            }
            let y = block.target(simd, k);
            let p = block.power.lanes(simd, k);
            sums[i * classes + k] += match statistic {
                Statistic::PredictedSize(..) if background => {
                    let q = block.complement.lanes(simd, k);
                    sum!(simd, count, |b| q.at(b) * w.at(b))
                }
                Statistic::Intersection(..) if background => {
                    let q = block.complement.lanes(simd, k);
                    sum!(simd, count, |b| y.outside(b, q.at(b) * w.at(b)))
                }
                Statistic::Intersection(..) => sum!(simd, count, |b| y.of(b, p.at(b) * scaled.at(b))),
                Statistic::SquaredMass(_) => sum!(simd, count, |b| (p.at(b) * scaled.at(b)) * (p.at(b) * scale.at(b))),
                Statistic::PixelSum(activation, side, function) => {
                    let value = pixels.values(simd, block, (function, *activation, *side), (k, classes));
                    if skipped { 0.0 } else { sum!(simd, count, |b| y.on_side(background, b, w.at(b) * value.at(b))) }
                }
                Statistic::LogMass(Activation::Softmax, _) => {
                    let log = block.log_softmax(simd, k);
                    sum!(simd, count, |b| w.at(b) * log.at(b))
                }
                Statistic::LogMass(..) => {
                    let log = block.log_sigmoid(simd, k, background);
                    sum!(simd, count, |b| w.at(b) * log.at(b))
                }
                Statistic::LogLikelihood(Activation::Softmax, _) => {
                    let log = block.log_softmax(simd, k);
                    sum!(simd, count, |b| y.on_side(background, b, w.at(b) * log.at(b)))
                }
                Statistic::LogLikelihood(..) => {
                    let log = block.log_sigmoid(simd, k, background);
                    sum!(simd, count, |b| y.on_side(background, b, w.at(b) * log.at(b)))
                }
                _ => sum!(simd, count, |b| p.at(b) * scaled.at(b)),
            };
        }
    }
}
