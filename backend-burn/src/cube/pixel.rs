//! What both kernels compute at a pixel.

use burn_cubecl::cubecl::{self, prelude::*};
use loss_core::Over;
use loss_core::expr::{Op, PixelStep};

use super::elementary::{exp, exp_m1, ln, ln_1p, log_sigmoid, power, sigmoid};
use super::recipe::{Of, Recipe, Sum};

/// A pixel, with what is the same for all classes there.
#[derive(CubeType)]
pub(super) struct Pixel {
    pub(super) n: usize,
    pub(super) s: usize,
    pub(super) weight: f32,
    /// That of its label.
    pub(super) channel: i32,
    /// The largest logit.
    pub(super) max: f32,
    /// log(1 + rest) at temperature 1.
    pub(super) log_sum: f32,
    /// 1/(1 + rest) per temperature of the softmax.
    pub(super) inverse: Sequence<f32>,
}

/// A class at a pixel, with what the sums are made of there.
#[derive(CubeType)]
pub(super) struct Point {
    pub(super) z: f32,
    weight: f32,
    y: f32,
    /// Of each map.
    factors: Sequence<f32>,
    /// p of each mass.
    pub(super) masses: Sequence<f32>,
    /// log p of each logarithm.
    pub(super) logarithms: Sequence<f32>,
}

/// What is there for class k.
#[cube]
pub(super) fn point<F: Float>(
    logits: &Tensor<F>,
    shares: &Tensor<f32>,
    maps: &Tensor<f32>,
    pixel: &Pixel,
    k: usize,
    #[comptime] recipe: Recipe,
) -> Point {
    let (classes, pixels) = (logits.shape(1), logits.shape(2));
    let at = (pixel.n * classes + k) * pixels + pixel.s;
    let z = f32::cast_from(logits[at]);
    Point {
        z,
        weight: pixel.weight,
        y: share(shares, at, k, pixel.channel, comptime!(recipe.clone())),
        factors: factors(maps, pixel, k, classes, comptime!(recipe.clone())),
        masses: masses(z, pixel, comptime!(recipe.clone())),
        logarithms: logarithms(z, pixel, recipe),
    }
}

/// Weight of a pixel; 0 where it is not valid.
#[cube]
pub(super) fn weight<I: Int>(labels: &Tensor<I>, weights: &Tensor<f32>, at: usize, #[comptime] recipe: Recipe) -> f32 {
    let mut weight = f32::new(1.0);
    if comptime!(recipe.layout.weighted) {
        weight = weights[at];
    }
    #[unroll]
    for i in 0..comptime!(recipe.layout.ignore.len()) {
        let ignored = comptime!(recipe.layout.ignore[i]);
        if comptime!(recipe.layout.wide) {
            if labels[at] == I::from_int(ignored) {
                weight = 0.0;
            }
        } else if i32::cast_from(labels[at]) == comptime!(ignored as i32) {
            weight = 0.0;
        }
    }
    weight
}

/// Channel of a label; negative where none is its own.
#[cube]
pub(super) fn channel<I: Int>(labels: &Tensor<I>, at: usize, classes: usize, #[comptime] recipe: Recipe) -> i32 {
    let mut channel = i32::new(-1);
    if comptime!(!recipe.layout.soft) {
        let classes = i32::cast_from(classes);
        // A single channel is the class 1; its background has none of its own.
        let first = select(classes == 1, 1i32, 0i32);
        if comptime!(recipe.layout.wide) {
            // Compared before they are made narrower: a label beyond 2³¹ is no class.
            let label = labels[at];
            if label >= I::from_int(0i64) && label < I::cast_from(classes + first) {
                channel = i32::cast_from(label) - first;
            }
        } else {
            let label = i32::cast_from(labels[at]);
            if label >= 0i32 && label < classes + first {
                channel = label - first;
            }
        }
    }
    channel
}

/// y of a channel.
#[cube]
fn share(shares: &Tensor<f32>, at: usize, k: usize, channel: i32, #[comptime] recipe: Recipe) -> f32 {
    if comptime!(recipe.layout.soft) {
        // Beyond what rounding does, `validate` says so.
        let share = shares[at];
        let share = select(share < 0.0f32, 0.0f32, share);
        select(share > 1.0f32, 1.0f32, share)
    } else {
        select(channel == i32::cast_from(k), 1.0f32, 0.0f32)
    }
}

/// Whether a pixel, or a summand of it, has any weight; NaN has. By the bits: a shading language's
/// `!=` may be false for NaN.
#[cube]
pub(super) fn counts(weight: f32) -> bool {
    (u32::reinterpret(weight) & 0x7fff_ffffu32) != 0u32
}

/// Whether a number is neither infinite nor NaN, by its bits: shading languages may assume that
/// there are none.
#[cube]
pub(super) fn finite(x: f32) -> bool {
    (u32::reinterpret(x) & 0x7f80_0000u32) != 0x7f80_0000u32
}

/// NaN, made of a number that compilers do not know: shading languages have no literal for it.
#[cube]
pub(super) fn nan(of: f32) -> f32 {
    f32::reinterpret(u32::reinterpret(of) | 0x7fc0_0000u32)
}

/// max_k z of a pixel, the first class that has it, and whether all logits are finite. `first` is
/// the place of class 0.
#[cube]
pub(super) fn largest<F: Float>(logits: &Tensor<F>, first: usize, classes: usize, pixels: usize) -> (f32, usize, bool) {
    let mut max = f32::cast_from(logits[first]);
    let mut top = 0usize;
    let mut all_finite = finite(max);
    for k in 1..classes {
        let z = f32::cast_from(logits[first + k * pixels]);
        if !finite(z) {
            all_finite = false;
        }
        if z > max {
            max = z;
            top = k;
        }
    }
    (max, top, all_finite)
}

/// Per temperature of the softmax: Σ e^(τ(z − max)) over all classes but the largest's, whose
/// own is 1: kept apart, a rest far below 1 loses nothing.
#[cube]
pub(super) fn rests<F: Float>(
    logits: &Tensor<F>,
    first: usize,
    classes: usize,
    pixels: usize,
    max: f32,
    top: usize,
    #[comptime] recipe: Recipe,
) -> Sequence<f32> {
    let mut rests = Sequence::<f32>::new();
    #[unroll]
    for t in 0..comptime!(recipe.temperatures()) {
        let tau = comptime!(recipe.tau(t));
        let mut rest = f32::new(0.0);
        for k in 0..classes {
            if k != top {
                // The difference first: τ·z may overflow.
                rest += exp((f32::cast_from(logits[first + k * pixels]) - max) * tau);
            }
        }
        rests.push(rest);
    }
    rests
}

/// p at a temperature of the softmax.
#[cube]
pub(super) fn softmax(z: f32, max: f32, inverse: f32, #[comptime] tau: f32) -> f32 {
    exp((z - max) * tau) * inverse
}

/// p of each mass at a logit.
#[cube]
fn masses(z: f32, pixel: &Pixel, #[comptime] recipe: Recipe) -> Sequence<f32> {
    let mut masses = Sequence::<f32>::new();
    #[unroll]
    for i in 0..comptime!(recipe.masses.len()) {
        let mass = comptime!(recipe.masses[i]);
        let tau = comptime!(mass.tau());
        if comptime!(mass.softmax.is_some()) {
            let at = comptime!(mass.softmax.unwrap_or_default());
            masses.push(softmax(z, pixel.max, *pixel.inverse.index(at), tau));
        } else {
            masses.push(sigmoid(z * tau));
        }
    }
    masses
}

/// log p of each logarithm at a logit.
#[cube]
fn logarithms(z: f32, pixel: &Pixel, #[comptime] recipe: Recipe) -> Sequence<f32> {
    let mut logarithms = Sequence::<f32>::new();
    #[unroll]
    for i in 0..comptime!(recipe.logarithms.len()) {
        let logarithm = comptime!(recipe.logarithms[i]);
        if comptime!(logarithm.softmax()) {
            logarithms.push((z - pixel.max) - pixel.log_sum);
        } else {
            logarithms.push(log_sigmoid(z * comptime!(logarithm.sign())));
        }
    }
    logarithms
}

/// log(1 + rest) at temperature 1, where a logarithm of the softmax is needed.
#[cube]
pub(super) fn log_sum(rests: &Sequence<f32>, #[comptime] recipe: Recipe) -> f32 {
    let mut log_sum = f32::new(0.0);
    #[unroll]
    for t in 0..comptime!(recipe.temperatures()) {
        if comptime!(recipe.log_softmax() && recipe.is_one(t)) {
            log_sum = ln_1p(*rests.index(t));
        }
    }
    log_sum
}

/// The factors of each map at a pixel and class, of maps `[N, channels, S]`.
#[cube]
fn factors(maps: &Tensor<f32>, pixel: &Pixel, k: usize, classes: usize, #[comptime] recipe: Recipe) -> Sequence<f32> {
    let mut factors = Sequence::<f32>::new();
    let mut channel = pixel.n * maps.shape(1);
    #[unroll]
    for i in 0..comptime!(recipe.layout.maps.len()) {
        let by_class = comptime!(recipe.layout.maps[i]);
        let own = if comptime!(by_class) { channel + k } else { channel };
        let factor = maps[own * maps.shape(2) + pixel.s];
        // NaN in the sums is the only sign of a factor that is not finite.
        factors.push(if finite(factor) { factor } else { nan(factor) });
        if comptime!(by_class) {
            channel += classes;
        } else {
            channel += 1;
        }
    }
    factors
}

/// What a statistic multiplies a pixel by: w, w·y or w·(1 − y), times the factor of its map.
#[cube]
pub(super) fn factor(point: &Point, #[comptime] sum: Sum) -> f32 {
    let over = comptime!(sum.over);
    let factor = if comptime!(over == Over::Valid) {
        point.weight
    } else if comptime!(over == Over::Region) {
        point.weight * point.y
    } else {
        point.weight - point.weight * point.y
    };
    if comptime!(sum.map.is_some()) { factor * *point.factors.index(comptime!(sum.map.unwrap_or_default())) } else { factor }
}

/// One operation of a pixel function.
#[cube]
fn apply(x: f32, y: f32, #[comptime] op: Op) -> f32 {
    if comptime!(op == Op::Neg) {
        -x
    } else if comptime!(op == Op::Abs) {
        x.abs()
    } else if comptime!(op == Op::Sign) {
        select(x > 0.0f32, 1.0f32, select(x < 0.0f32, -1.0f32, x))
    } else if comptime!(op == Op::Exp) {
        exp(x)
    } else if comptime!(op == Op::ExpM1) {
        exp_m1(x)
    } else if comptime!(op == Op::Ln) {
        ln(x)
    } else if comptime!(op == Op::Add) {
        x + y
    } else if comptime!(op == Op::Sub) {
        x - y
    } else if comptime!(op == Op::Mul) {
        x * y
    } else if comptime!(op == Op::Div) {
        x / y
    } else if comptime!(op == Op::Max) {
        // Keeps a NaN in x.
        select(x <= y, y, x)
    } else if comptime!(op == Op::Greater) {
        select(x > y, 1.0f32, 0.0f32)
    } else if comptime!(op.exponent().is_some()) {
        power(x, comptime!(op.exponent().unwrap_or(1.0).to_bits()))
    } else {
        x
    }
}

/// A step of φ or of its slope at log p.
#[cube]
fn evaluate(log_p: f32, #[comptime] steps: Vec<PixelStep>, #[comptime] wanted: usize) -> f32 {
    let mut values = Sequence::<f32>::new();
    #[unroll]
    for i in 0..comptime!(wanted + 1) {
        let step = comptime!(steps[i]);
        if comptime!(matches!(step, PixelStep::Apply(..))) {
            let (op, x, y) = comptime!(arguments(step));
            values.push(apply(*values.index(x), *values.index(y), op));
        } else if comptime!(matches!(step, PixelStep::Constant(_))) {
            values.push(f32::new(comptime!(number(step))));
        } else {
            values.push(log_p);
        }
    }
    *values.index(wanted)
}

fn arguments(step: PixelStep) -> (Op, usize, usize) {
    if let PixelStep::Apply(op, x, y) = step { (op, x, y.unwrap_or(x)) } else { (Op::Neg, 0, 0) }
}

fn number(step: PixelStep) -> f32 {
    if let PixelStep::Constant(bits) = step { f64::from_bits(bits) as f32 } else { 0.0 }
}

/// φ(log p), or its slope, times what the statistic multiplies it by; 0 where that is 0, however
/// large φ may be there.
#[cube]
pub(super) fn function(factor: f32, log_p: f32, #[comptime] sum: Sum, #[comptime] slope: bool) -> f32 {
    let mut out = f32::new(0.0);
    if counts(factor) {
        out = factor * evaluate(log_p, comptime!(sum.steps()), comptime!(sum.wanted(slope)));
    }
    out
}

/// What a pixel adds to each statistic of a class.
#[cube]
pub(super) fn summands(point: &Point, k: usize, #[comptime] recipe: Recipe) -> Sequence<f32> {
    let mut out = Sequence::<f32>::new();
    #[unroll]
    for i in 0..comptime!(recipe.sums.len()) {
        let sum = comptime!(recipe.sums[i].clone());
        let factor = factor(point, comptime!(sum.clone()));
        if comptime!(sum.mass().is_some()) {
            let (at, squared) = comptime!(sum.mass().unwrap_or_default());
            let p = *point.masses.index(at);
            if comptime!(squared) { out.push(factor * p * p) } else { out.push(factor * p) }
        } else if comptime!(sum.is_function()) {
            let log_p = *point.logarithms.index(comptime!(sum.logarithm().unwrap_or_default()));
            out.push(function(factor, log_p, sum, false));
        } else if comptime!(sum.logarithm().is_some()) {
            out.push(factor * *point.logarithms.index(comptime!(sum.logarithm().unwrap_or_default())));
        } else if comptime!(sum.of == Of::Target) {
            out.push(factor * point.y);
        } else if comptime!(sum.over == Over::Valid && sum.map.is_none()) {
            out.push(select(k == 0, factor, 0.0f32));
        } else {
            out.push(factor);
        }
    }
    out
}
