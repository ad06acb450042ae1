//! What a block adds to the statistics.

use loss_core::{Activation, Plan, Side, Statistic};
use pulp::Simd;

use crate::Real;
use crate::block::Block;
use crate::groups::{Group, Groups};
use crate::pixel::{PixelColumns, Wanted};
use crate::simd::{Sum, sum};

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
                    let of = (function, *activation, *side);
                    let value = pixels.of_class(simd, block, of, Wanted::Value, (k, classes));
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
