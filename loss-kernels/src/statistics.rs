//! What a block adds to the statistics.

use loss_core::{Activation, Plan, Side, Statistic};
use pulp::Simd;

use crate::Real;
use crate::block::Block;
use crate::groups::{Group, Groups};
use crate::pixel::{PixelColumns, Wanted};
use crate::simd::{Sum, Sums, add_up};

/// Adds the sums over the target.
#[inline(always)]
pub(crate) fn add_target<S: Simd, C: Real>(
    simd: S,
    block: &Block<C>,
    plan: &Plan,
    groups: &Groups,
    sums: &mut Sums<'_, C>,
    weighted: bool,
) {
    let classes = plan.classes();
    let w = block.weight.lanes(simd, 0);
    for &i in &groups.target {
        if plan.statistics()[i] == Statistic::ValidSize {
            add_up!(simd, sums, i * classes, w.len(), weighted, |b| w.at(b));
            continue;
        }
        let squared = plan.statistics()[i] == Statistic::SquaredTarget;
        for k in (0..classes).filter(|&k| block.has(k)) {
            let y = block.target(simd, k);
            add_up!(simd, sums, i * classes + k, w.len(), weighted, |b| {
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
    (block, pixels): (&Block<C>, &mut PixelColumns<C>),
    plan: &Plan,
    group: &Group,
    sums: &mut Sums<'_, C>,
    weighted: bool,
) {
    let classes = plan.classes();
    let (scale, scaled, w) = (block.scale.lanes(simd, 0), block.weighted_scale.lanes(simd, 0), block.weight.lanes(simd, 0));
    let count = w.len();
    for &i in &group.members {
        let statistic = &plan.statistics()[i];
        let background = matches!(statistic.probability(), Some((.., Side::Background)));
        // Every summand is 0 where no pixel is of the class.
        let inside = !background
            && matches!(statistic, Statistic::Intersection(..) | Statistic::LogLikelihood(..) | Statistic::PixelSum(..));
        for k in 0..classes {
            let absent = inside && !block.has(k);
            if absent && !(k == 0 && matches!(statistic, Statistic::PixelSum(..))) {
                continue;
            }
            let at = i * classes + k;
            let y = block.target(simd, k);
            let p = block.power.lanes(simd, k);
            match statistic {
                Statistic::PredictedSize(..) if background => {
                    let q = block.complement.lanes(simd, k);
                    add_up!(simd, sums, at, count, weighted, |b| q.at(b) * w.at(b));
                }
                Statistic::Intersection(..) if background => {
                    let q = block.complement.lanes(simd, k);
                    add_up!(simd, sums, at, count, weighted, |b| y.outside(b, q.at(b) * w.at(b)));
                }
                Statistic::Intersection(..) => {
                    add_up!(simd, sums, at, count, weighted, |b| y.of(b, p.at(b) * scaled.at(b)));
                }
                Statistic::SquaredMass(_) => {
                    add_up!(simd, sums, at, count, weighted, |b| (p.at(b) * scaled.at(b)) * (p.at(b) * scale.at(b)));
                }
                Statistic::PixelSum(activation, side, function) => {
                    let value = pixels.of_class(simd, block, (function, *activation, *side), Wanted::Value, (k, classes));
                    if !absent {
                        add_up!(simd, sums, at, count, true, |b| y.on_side(background, b, w.at(b) * value.at(b)));
                    }
                }
                Statistic::LogMass(Activation::Softmax, _) => {
                    let log = block.log_softmax(simd, k);
                    add_up!(simd, sums, at, count, true, |b| w.at(b) * log.at(b));
                }
                Statistic::LogMass(..) => {
                    let log = block.log_sigmoid(simd, k, background);
                    add_up!(simd, sums, at, count, true, |b| w.at(b) * log.at(b));
                }
                Statistic::LogLikelihood(Activation::Softmax, _) => {
                    let log = block.log_softmax(simd, k);
                    add_up!(simd, sums, at, count, true, |b| y.on_side(background, b, w.at(b) * log.at(b)));
                }
                Statistic::LogLikelihood(..) => {
                    let log = block.log_sigmoid(simd, k, background);
                    add_up!(simd, sums, at, count, true, |b| y.on_side(background, b, w.at(b) * log.at(b)));
                }
                _ => add_up!(simd, sums, at, count, weighted, |b| p.at(b) * scaled.at(b)),
            }
        }
    }
}
