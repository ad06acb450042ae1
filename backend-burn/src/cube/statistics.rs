//! Statistics of a batch: sums over the pixels of a sample, per class.
//!
//! A cube takes a run of pixels of one sample, a unit a few of them. Every sum is kept as two
//! numbers, the second being what the first has lost to rounding: in a unit, over the units of a
//! cube, and over the cubes of a sample, always in the same order.

use burn_cubecl::cubecl::{self, prelude::*};

use super::elementary::opaque;
use super::pixel::{Pixel, channel, counts, largest, log_sum, nan, point, rests, summands, weight};
use super::recipe::Recipe;

/// Units of a cube.
pub(super) const UNITS: usize = 128;

/// Pixels of a unit.
const PER_UNIT: usize = 16;

/// Pixels of a cube.
pub(super) const PER_CUBE: usize = UNITS * PER_UNIT;

/// Statistics that a cube adds up at a time: what fits into the memory that its units share, on any
/// device.
const AT_A_TIME: usize = 4;

/// No summand is larger, so that a sum of fewer than 3·10⁸ of them cannot overflow on the way.
const LARGEST_SUM: f32 = loss_core::backend::LARGEST_SUM_F32;

/// What a sum of two numbers loses to rounding, by Dekker.
#[cube]
fn lost(a: f32, b: f32, sum: f32) -> f32 {
    let ordered = a.abs() >= b.abs();
    let (large, small) = (select(ordered, a, b), select(ordered, b, a));
    small - opaque(opaque(sum) - large)
}

/// Keeps a number within ±[`LARGEST_SUM`]; NaN stays.
#[cube]
fn saturated(x: f32) -> f32 {
    let x = select(x > LARGEST_SUM, LARGEST_SUM, x);
    select(x < -LARGEST_SUM, -LARGEST_SUM, x)
}

/// Adds up `count` sums of all units of a cube: they end up with the first unit. A loop at run
/// time: compilers take long over barriers.
#[cube]
fn add_units(high: &mut Shared<[f32]>, low: &mut Shared<[f32]>, #[comptime] count: usize) {
    let unit = UNIT_POS as usize;
    let mut half = (UNITS / 2).runtime();
    while half > 0usize {
        sync_cube();
        if unit < half {
            #[unroll]
            for i in 0..count {
                let at = i * UNITS + unit;
                let (a, b) = (high[at], high[at + half]);
                let sum = a + b;
                low[at] = low[at] + low[at + half] + lost(a, b, sum);
                high[at] = sum;
            }
        }
        half /= 2usize;
    }
    sync_cube();
}

/// Sums over the pixels of each cube, `[N, statistics, K, cubes, 2]`.
#[cube(launch, address_type = "dynamic")]
pub(super) fn sum_pixels<F: Float, I: Int>(
    logits: &Tensor<F>,
    labels: &Tensor<I>,
    shares: &Tensor<f32>,
    weights: &Tensor<f32>,
    maps: &Tensor<f32>,
    partial: &mut Tensor<f32>,
    #[comptime] recipe: Recipe,
    #[define(F, I)] _types: [ElemType; 2],
) {
    let (samples, classes, pixels) = (logits.shape(0), logits.shape(1), logits.shape(2));
    let cubes = (pixels + (PER_CUBE - 1)) / PER_CUBE;
    // There may be more cubes than asked for: their number is a product.
    if CUBE_POS < samples * cubes {
        let unit = UNIT_POS as usize;
        let (n, cube) = (CUBE_POS / cubes, CUBE_POS % cubes);
        let start = cube * PER_CUBE + unit;
        // How many pixels it is, is known at run time alone: compilers would unroll the loops over
        // them, which takes them long.
        let mut own = 0usize;
        if start < pixels {
            own = (pixels - start + (UNITS - 1)) / UNITS;
            if own > PER_UNIT {
                own = PER_UNIT.runtime();
            }
        }
        let temperatures = comptime!(recipe.temperatures());
        let count = comptime!(recipe.sums.len());

        // What is the same for all classes, pixel by pixel.
        let mut pixel_weight = Array::<f32>::new(PER_UNIT);
        let mut pixel_channel = Array::<i32>::new(PER_UNIT);
        let mut pixel_max = Array::<f32>::new(PER_UNIT);
        let mut pixel_log_sum = Array::<f32>::new(PER_UNIT);
        let mut pixel_inverse = Array::<f32>::new(comptime!(PER_UNIT * temperatures.max(1)));
        for j in 0..own {
            let s = start + j * UNITS;
            let mut w = weight::<I>(labels, weights, n * pixels + s, comptime!(recipe.clone()));
            if counts(w) {
                let first = n * classes * pixels + s;
                let (max, top, all_finite) = largest::<F>(logits, first, classes, pixels);
                pixel_channel[j] = channel::<I>(labels, n * pixels + s, classes, comptime!(recipe.clone()));
                if comptime!(recipe.softmax()) {
                    let rests = rests::<F>(logits, first, classes, pixels, max, top, comptime!(recipe.clone()));
                    pixel_max[j] = max;
                    pixel_log_sum[j] = log_sum(&rests, comptime!(recipe.clone()));
                    #[unroll]
                    for t in 0..temperatures {
                        pixel_inverse[j * temperatures + t] = 1.0f32 / (1.0f32 + *rests.index(t));
                    }
                }
                if !all_finite {
                    // NaN in every sum is the only sign of it that a device can give.
                    w = nan(w);
                }
            }
            pixel_weight[j] = w;
        }

        let batches = comptime!(count.div_ceil(AT_A_TIME));
        let mut high = Array::<f32>::new(comptime!(batches * AT_A_TIME));
        let mut low = Array::<f32>::new(comptime!(batches * AT_A_TIME));
        let mut shared_high = Shared::<[f32]>::new_slice(comptime!(UNITS * AT_A_TIME));
        let mut shared_low = Shared::<[f32]>::new_slice(comptime!(UNITS * AT_A_TIME));
        for k in 0..classes {
            #[unroll]
            for i in 0..comptime!(batches * AT_A_TIME) {
                high[i] = 0.0;
                low[i] = 0.0;
            }
            for j in 0..own {
                let w = pixel_weight[j];
                if counts(w) {
                    let mut inverse = Sequence::<f32>::new();
                    #[unroll]
                    for t in 0..temperatures {
                        inverse.push(pixel_inverse[j * temperatures + t]);
                    }
                    let pixel = Pixel {
                        n,
                        s: start + j * UNITS,
                        weight: w,
                        channel: pixel_channel[j],
                        max: pixel_max[j],
                        log_sum: pixel_log_sum[j],
                        inverse,
                    };
                    let point = point::<F>(logits, shares, maps, &pixel, k, comptime!(recipe.clone()));
                    let summands = summands(&point, k, comptime!(recipe.clone()));
                    #[unroll]
                    for i in 0..count {
                        let x = *summands.index(i);
                        let x = if comptime!(recipe.sums[i].saturates()) { saturated(x) } else { x };
                        let sum = high[i] + x;
                        low[i] += lost(high[i], x, sum);
                        high[i] = sum;
                    }
                }
            }
            for batch in 0..batches {
                #[unroll]
                for i in 0..AT_A_TIME {
                    shared_high[i * UNITS + unit] = high[batch * AT_A_TIME + i];
                    shared_low[i * UNITS + unit] = low[batch * AT_A_TIME + i];
                }
                add_units(&mut shared_high, &mut shared_low, AT_A_TIME);
                let i = batch * AT_A_TIME + unit;
                if unit < AT_A_TIME && i < count {
                    let at = (((n * count + i) * classes + k) * cubes + cube) * 2;
                    partial[at] = shared_high[unit * UNITS];
                    partial[at + 1] = shared_low[unit * UNITS];
                }
                sync_cube();
            }
        }
    }
}

/// Sums over the cubes of each sample: `[N, statistics, K, cubes, 2]` to
/// `[N, 1 or 2, statistics, K]`. From `first_logarithm` on statistics saturate.
#[cube(launch, address_type = "dynamic")]
pub(super) fn sum_cubes(
    partial: &Tensor<f32>,
    out: &mut Tensor<f32>,
    classes: u32,
    first_logarithm: u32,
    #[comptime] pairs: bool,
) {
    let samples = out.shape(0);
    let row_length = if comptime!(pairs) { out.shape(1) / 2 } else { out.shape(1) };
    if CUBE_POS < samples * row_length {
        let unit = UNIT_POS as usize;
        let cubes = partial.shape(1);
        let mut high = Shared::<[f32]>::new_slice(UNITS);
        let mut low = Shared::<[f32]>::new_slice(UNITS);
        let mut sum = f32::new(0.0);
        let mut rest = f32::new(0.0);
        let mut cube = unit;
        while cube < cubes {
            let at = (CUBE_POS * cubes + cube) * 2;
            let x = partial[at];
            let next = sum + x;
            rest += lost(sum, x, next) + partial[at + 1];
            sum = next;
            cube += UNITS;
        }
        high[unit] = sum;
        low[unit] = rest;
        add_units(&mut high, &mut low, 1usize);
        if unit == 0 {
            let (n, column) = (CUBE_POS / row_length, CUBE_POS % row_length);
            let total = high[0] + low[0];
            let logarithm = column / (classes as usize) >= first_logarithm as usize;
            let kept = if logarithm { saturated(total) } else { total };
            if comptime!(pairs) {
                out[n * 2 * row_length + column] = kept;
                // What the sum of the two has lost; nothing where it has saturated.
                let left = lost(high[0], low[0], total);
                out[(n * 2 + 1) * row_length + column] = select(kept == total, left, 0.0f32);
            } else {
                out[n * row_length + column] = kept;
            }
        }
    }
}
