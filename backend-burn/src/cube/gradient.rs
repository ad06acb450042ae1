//! The gradient of statistics for the logits: one pixel a unit, each written once.

use burn_cubecl::cubecl::{self, prelude::*};

use super::elementary::sigmoid;
use super::pixel::{Pixel, Point, channel, counts, factor, function, largest, log_sum, point, rests, softmax, weight};
use super::recipe::{Recipe, Sum};

/// ∂/∂(log p) of a statistic at a pixel: p·∂/∂p of a mass, φ' of a pixel function, 1 of a
/// logarithm, times what comes from upstream.
#[cube]
fn slope(point: &Point, upstream: f32, #[comptime] sum: Sum) -> f32 {
    let factor = factor(point, comptime!(sum.clone()));
    if comptime!(sum.mass().is_some()) {
        let (at, squared) = comptime!(sum.mass().unwrap_or_default());
        let p = *point.masses.index(at);
        if comptime!(squared) { 2.0f32 * factor * p * p * upstream } else { factor * p * upstream }
    } else if comptime!(sum.is_function()) {
        let log_p = *point.logarithms.index(comptime!(sum.logarithm().unwrap_or_default()));
        function(factor, log_p, sum, true) * upstream
    } else {
        factor * upstream
    }
}

/// Per temperature of the softmax, the sum of the [`slope`]s that go through it.
#[cube]
fn softmax_slopes(
    point: &Point,
    upstream: &Tensor<f32>,
    row: usize,
    classes: usize,
    #[comptime] recipe: Recipe,
) -> Sequence<f32> {
    let mut slopes = Sequence::<f32>::new();
    #[unroll]
    for t in 0..comptime!(recipe.temperatures()) {
        let mut total = f32::new(0.0);
        #[unroll]
        for i in 0..comptime!(recipe.sums.len()) {
            if comptime!(recipe.through_softmax(i, t)) {
                total += slope(point, upstream[row + i * classes], comptime!(recipe.sums[i].clone()));
            }
        }
        slopes.push(total);
    }
    slopes
}

/// The gradient `[N, K, S]`, given that of the statistics, `[N, statistics, K]` at the head of each
/// row of `upstream`.
#[cube(launch, address_type = "dynamic")]
pub(super) fn pull_back<F: Float, I: Int>(
    logits: &Tensor<F>,
    labels: &Tensor<I>,
    shares: &Tensor<f32>,
    weights: &Tensor<f32>,
    maps: &Tensor<f32>,
    upstream: &Tensor<f32>,
    gradient: &mut Tensor<F>,
    #[comptime] recipe: Recipe,
    #[define(F, I)] _types: [ElemType; 2],
) {
    let (samples, classes, pixels) = (logits.shape(0), logits.shape(1), logits.shape(2));
    if ABSOLUTE_POS < samples * pixels {
        let (n, s) = (ABSOLUTE_POS / pixels, ABSOLUTE_POS % pixels);
        let first = n * classes * pixels + s;
        let w = weight::<I>(labels, weights, ABSOLUTE_POS, comptime!(recipe.clone()));
        if !counts(w) {
            for k in 0..classes {
                gradient[first + k * pixels] = F::new(0.0);
            }
        } else {
            let row = n * upstream.shape(1);
            let own = channel::<I>(labels, ABSOLUTE_POS, classes, comptime!(recipe.clone()));
            let mut max = f32::new(0.0);
            let mut top = classes;
            let mut log_one_plus = f32::new(0.0);
            let mut inverse = Sequence::<f32>::new();
            // Per temperature: the sum of the slopes over all classes.
            let mut totals = Array::<f32>::new(comptime!(recipe.temperatures().max(1)));
            if comptime!(recipe.softmax()) {
                let (largest_logit, largest_class, _finite) = largest::<F>(logits, first, classes, pixels);
                max = largest_logit;
                top = largest_class;
                let rests = rests::<F>(logits, first, classes, pixels, max, top, comptime!(recipe.clone()));
                log_one_plus = log_sum(&rests, comptime!(recipe.clone()));
                #[unroll]
                for t in 0..comptime!(recipe.temperatures()) {
                    inverse.push(1.0f32 / (1.0f32 + *rests.index(t)));
                    totals[t] = 0.0;
                }
            }
            let pixel = Pixel { n, s, weight: w, channel: own, max, log_sum: log_one_plus, inverse };
            if comptime!(recipe.softmax()) {
                for k in 0..classes {
                    let point = point::<F>(logits, shares, maps, &pixel, k, comptime!(recipe.clone()));
                    let slopes = softmax_slopes(&point, upstream, row + k, classes, comptime!(recipe.clone()));
                    #[unroll]
                    for t in 0..comptime!(recipe.temperatures()) {
                        totals[t] += *slopes.index(t);
                    }
                }
            }
            // The likeliest class's is minus the sum of the others': by itself its difference would
            // cancel where p is nearly 1.
            let mut others = f32::new(0.0);
            let mut at_top = f32::new(0.0);
            for k in 0..classes {
                let at = first + k * pixels;
                let point = point::<F>(logits, shares, maps, &pixel, k, comptime!(recipe.clone()));
                let mut out = f32::new(0.0);
                if comptime!(recipe.softmax()) {
                    if k != top {
                        let slopes = softmax_slopes(&point, upstream, row + k, classes, comptime!(recipe.clone()));
                        #[unroll]
                        for t in 0..comptime!(recipe.temperatures()) {
                            let tau = comptime!(recipe.tau(t));
                            let p = softmax(point.z, pixel.max, *pixel.inverse.index(t), tau);
                            out += tau * (*slopes.index(t) - p * totals[t]);
                        }
                        others += out;
                    }
                }
                #[unroll]
                for i in 0..comptime!(recipe.sums.len()) {
                    if comptime!(recipe.through_sigmoid(i).is_some()) {
                        let tau = comptime!(recipe.through_sigmoid(i).unwrap_or_default());
                        let sum = comptime!(recipe.sums[i].clone());
                        let slope = slope(&point, upstream[row + i * classes + k], sum);
                        // ∂ log σ(τz)/∂z = τ·σ(−τz), which does not cancel.
                        out += tau * slope * sigmoid(point.z * -tau);
                    }
                }
                if k == top {
                    at_top = out;
                } else {
                    gradient[at] = F::cast_from(out);
                }
            }
            if comptime!(recipe.softmax()) {
                gradient[first + top * pixels] = F::cast_from(at_top - others);
            }
        }
    }
}
