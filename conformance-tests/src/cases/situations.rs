//! Situations: shapes, activations, and what is done to logits and target.

use loss_core::Activation;

use super::IGNORED;
use crate::inputs::numbers;
use crate::oracle::{HARDEST_PIXELS, SIGNED_DISTANCES, Target};
use crate::{Dtype, Input, InputMap};

/// An input with a name: shape, activation, what is done to it, and the one type it is for, if it
/// is for one.
pub(super) struct Situation {
    pub(super) name: &'static str,
    pub(super) shape: &'static [usize],
    pub(super) activation: Activation,
    pub(super) change: Change,
    pub(super) only: Option<Dtype>,
}

const SOFTMAX: Activation = Activation::Softmax;
const SIGMOID: Activation = Activation::Sigmoid;

/// Situations of losses with maps.
pub(super) fn of_maps() -> impl Iterator<Item = Situation> {
    let situation = |&(name, shape, activation, change)| Situation { name, shape, activation, change, only: None };
    OF_MAPS.iter().map(situation)
}

/// Situations of targets as they come, of any loss. They stand behind all others, whose inputs
/// depend on their places.
pub(super) fn of_targets() -> impl Iterator<Item = Situation> {
    let situation = |&(name, shape, activation, change)| Situation { name, shape, activation, change, only: None };
    OF_TARGETS.iter().map(situation)
}

/// All situations of any loss.
pub(super) fn situations() -> impl Iterator<Item = Situation> {
    let everywhere = EVERYWHERE.iter().map(|&(name, shape, activation, change)| (name, shape, activation, change, None));
    let largest = LARGEST.iter().map(|&(name, change, only)| (name, &[2, 3, 4, 5][..], SOFTMAX, change, Some(only)));
    everywhere.chain(largest).map(|(name, shape, activation, change, only)| Situation { name, shape, activation, change, only })
}

/// What is done to an input.
type Change = fn(&mut Input);
type Everywhere = (&'static str, &'static [usize], Activation, Change);

/// For every type.
const EVERYWHERE: &[Everywhere] = &[
    ("softmax/0d", &[6, 3], SOFTMAX, plain),
    ("softmax/1d", &[2, 3, 7], SOFTMAX, plain),
    ("softmax/2d", &[2, 3, 4, 5], SOFTMAX, plain),
    ("softmax/3d", &[2, 3, 2, 3, 4], SOFTMAX, plain),
    ("softmax/one_pixel", &[1, 3, 1, 1], SOFTMAX, plain),
    ("softmax/batch_of_one", &[1, 3, 4, 4], SOFTMAX, plain),
    ("softmax/two_classes", &[2, 2, 4, 5], SOFTMAX, plain),
    ("softmax/64_classes", &[2, 64, 3, 4], SOFTMAX, plain),
    ("softmax/sparse", &[1, 5, 9, 9], SOFTMAX, sparse),
    ("softmax/sure", &[2, 3, 4, 5], SOFTMAX, sure),
    ("softmax/ignored_nan", &[2, 3, 4, 5], SOFTMAX, ignored_nan),
    ("softmax/nothing_valid_in_a_sample", &[2, 3, 4, 5], SOFTMAX, invalid_sample),
    ("softmax/everything_ignored", &[2, 3, 4, 5], SOFTMAX, everything_ignored),
    ("softmax/ignored", &[2, 3, 4, 5], SOFTMAX, ignored),
    ("softmax/weights", &[2, 3, 4, 5], SOFTMAX, weighted),
    ("softmax/soft", &[2, 3, 4, 5], SOFTMAX, soft),
    ("softmax/soft_and_weights", &[2, 3, 4, 5], SOFTMAX, soft_and_weighted),
    ("softmax/absent_class", &[2, 3, 4, 5], SOFTMAX, absent),
    ("softmax/saturated", &[2, 3, 4, 5], SOFTMAX, saturated),
    ("softmax/confident", &[2, 3, 4, 5], SOFTMAX, confident),
    ("softmax/strided", &[2, 3, 4, 5], SOFTMAX, strided),
    ("softmax/blocks", &[1, 3, 50, 40], SOFTMAX, plain),
    ("sigmoid/one_channel", &[2, 1, 4, 5], SIGMOID, plain),
    ("sigmoid/one_channel_ignored", &[2, 1, 4, 5], SIGMOID, ignored),
    ("sigmoid/one_channel_saturated", &[2, 1, 4, 5], SIGMOID, saturated),
    ("sigmoid/everything_ignored", &[2, 3, 4, 5], SIGMOID, everything_ignored),
    ("sigmoid/ignored_nan", &[2, 3, 4, 5], SIGMOID, ignored_nan),
    ("sigmoid/sure", &[2, 3, 4, 5], SIGMOID, sure),
    ("sigmoid/one_channel_sure", &[2, 1, 4, 5], SIGMOID, sure),
    ("sigmoid/three_channels", &[2, 3, 4, 5], SIGMOID, plain),
    ("sigmoid/multi_label", &[2, 3, 4, 5], SIGMOID, multi_label),
    ("sigmoid/soft_and_weights", &[2, 3, 3, 2, 2], SIGMOID, soft_and_weighted),
];

/// Beside, where a loss reads maps: what lies where, how far apart, and maps that are given.
const OF_MAPS: &[Everywhere] = &[
    ("softmax/spacing_1d", &[2, 3, 7], SOFTMAX, |i| spaced(i, &[0.75])),
    ("softmax/spacing", &[2, 3, 4, 5], SOFTMAX, |i| spaced(i, &[2.5, 0.75])),
    ("softmax/spacing_3d", &[2, 3, 2, 3, 4], SOFTMAX, |i| spaced(i, &[2.5, 0.75, 1.0])),
    ("softmax/spacing_ignored_and_weights", &[2, 3, 4, 5], SOFTMAX, spaced_ignored_and_weighted),
    ("softmax/regions", &[2, 3, 6, 7], SOFTMAX, regions),
    ("softmax/one_class", &[2, 3, 4, 5], SOFTMAX, one_class),
    ("softmax/given_maps", &[2, 3, 4, 5], SOFTMAX, |i| given(i, [3, 1])),
    ("softmax/given_maps_of_one_channel", &[2, 3, 4, 5], SOFTMAX, |i| given(i, [1, 1])),
    ("softmax/given_maps_strided", &[2, 3, 4, 5], SOFTMAX, given_strided),
    ("softmax/given_maps_ignored_nan", &[2, 3, 4, 5], SOFTMAX, given_ignored_nan),
    ("softmax/given_maps_and_soft", &[2, 3, 4, 5], SOFTMAX, given_and_soft),
    ("sigmoid/one_channel_spacing", &[2, 1, 4, 5], SIGMOID, |i| spaced(i, &[2.5, 0.75])),
    ("sigmoid/spacing_3d", &[2, 3, 2, 3, 4], SIGMOID, |i| spaced(i, &[0.5, 2.0, 1.0])),
    ("sigmoid/regions", &[2, 3, 6, 7], SIGMOID, regions),
    ("sigmoid/given_maps", &[2, 3, 4, 5], SIGMOID, |i| given(i, [3, 3])),
    ("sigmoid/one_channel_given_maps", &[2, 1, 4, 5], SIGMOID, |i| given(i, [1, 1])),
];

/// A channel axis of length 1, and one-hot integers.
const OF_TARGETS: &[Everywhere] = &[
    ("softmax/channel_axis_ignored_and_weights", &[2, 3, 4, 5], SOFTMAX, channel_axis),
    ("softmax/one_hot_integers", &[2, 3, 4, 5], SOFTMAX, one_hot),
    ("sigmoid/one_hot_integers", &[2, 3, 7], SIGMOID, one_hot),
];

/// Logits as large as a type allows: a quarter of its largest number; f16, which is computed in a
/// wider type, all of it.
const LARGEST: &[(&str, Change, Dtype)] = &[
    ("softmax/largest_f32", largest_f32, Dtype::F32),
    ("softmax/largest_f16", largest_f16, Dtype::F16),
    ("softmax/largest_bf16", largest_bf16, Dtype::Bf16),
];

fn plain(_: &mut Input) {}

fn largest(input: &mut Input, size: f64) {
    for (z, u) in input.logits.iter_mut().zip(numbers(1000, 36)) {
        if u < 0.3 {
            *z = if u < 0.15 { size } else { -size };
        }
    }
}

fn largest_f32(input: &mut Input) {
    largest(input, Dtype::F32.largest() / 4.0);
}

fn largest_f16(input: &mut Input) {
    largest(input, Dtype::F16.largest());
}

fn largest_bf16(input: &mut Input) {
    largest(input, Dtype::Bf16.largest() / 4.0);
}

/// One pixel of class 1, one of class 2, none of the others: what real lesions look like.
fn sparse(input: &mut Input) {
    if let Target::Labels(labels) = &mut input.target {
        labels.fill(0);
        (labels[7], labels[40]) = (1, 2);
    }
    // Predictions that know it, by and large.
    let pixels = labels_of(input).len();
    input.logits.iter_mut().take(pixels).for_each(|z| *z += 6.0);
}

fn labels_of(input: &Input) -> &[i64] {
    match &input.target {
        Target::Labels(labels) => labels,
        Target::Soft(_) => &[],
    }
}

/// Every pixel right, by 8 to 30: what a trained network says.
fn sure(input: &mut Input) {
    let [_, classes, pixels] = input.lengths();
    let labels = labels_of(input).to_vec();
    for (i, z) in input.logits.iter_mut().enumerate() {
        let (k, label) = (i / pixels % classes, labels[i / pixels / classes * pixels + i % pixels]);
        let right = label == if classes == 1 { 1 } else { k as i64 };
        // From −3..3 to 5.5..16.5, on the side of the truth.
        let by = (*z + 3.0) * 11.0 / 6.0 + 5.5;
        *z = if right { by } else { -by };
    }
}

/// Spoils the logits of ignored pixels.
fn poison(input: &mut Input) {
    let [samples, classes, pixels] = input.lengths();
    let spoilt: Vec<usize> = (0..samples * pixels).filter(|&i| labels_of(input)[i] == IGNORED).collect();
    let mut kinds = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].into_iter().cycle();
    for i in spoilt {
        for k in 0..classes {
            input.logits[(i / pixels * classes + k) * pixels + i % pixels] = kinds.next().unwrap_or(f64::NAN);
        }
    }
}

fn ignored_nan(input: &mut Input) {
    ignored(input);
    poison(input);
}

fn invalid_sample(input: &mut Input) {
    let [_, _, pixels] = input.lengths();
    if let Target::Labels(labels) = &mut input.target {
        labels.iter_mut().take(pixels).for_each(|label| *label = IGNORED);
    }
    poison(input);
}

fn everything_ignored(input: &mut Input) {
    if let Target::Labels(labels) = &mut input.target {
        labels.fill(IGNORED);
    }
    poison(input);
}

fn ignored(input: &mut Input) {
    if let Target::Labels(labels) = &mut input.target {
        for (label, u) in labels.iter_mut().zip(numbers(1000, 31)) {
            if u < 0.3 {
                *label = IGNORED;
            }
        }
    }
}

fn weighted(input: &mut Input) {
    let [samples, _, pixels] = input.lengths();
    // Halves and quarters, and some zeros: exact in every type.
    input.weights = Some(numbers(samples * pixels, 32).map(|u| (u * 9.0).floor() / 4.0).collect());
}

fn soft(input: &mut Input) {
    let [samples, classes, pixels] = input.lengths();
    let mut shares = vec![0.0; samples * classes * pixels];
    let mut random = numbers(samples * classes * pixels, 33);
    for n in 0..samples {
        for s in 0..pixels {
            // Sixteenths that add up to 1.
            let mut left = 16.0;
            for k in 0..classes {
                let share = if k + 1 == classes { left } else { (random.next().unwrap_or(0.0) * (left + 1.0)).floor() };
                shares[(n * classes + k) * pixels + s] = share / 16.0;
                left -= share;
            }
        }
    }
    input.target = Target::Soft(shares);
}

fn soft_and_weighted(input: &mut Input) {
    soft(input);
    weighted(input);
}

fn multi_label(input: &mut Input) {
    let count: usize = input.shape.iter().product();
    input.target = Target::Soft(numbers(count, 34).map(|u| f64::from(u8::from(u < 0.4))).collect());
}

fn channel_axis(input: &mut Input) {
    ignored(input);
    weighted(input);
    let mut shape = input.shape.clone();
    shape[1] = 1;
    (input.target_shape, input.weights_shape) = (Some(shape.clone()), Some(shape));
}

fn one_hot(input: &mut Input) {
    let [samples, classes, pixels] = input.lengths();
    let labels = labels_of(input);
    let hot = |i: usize| i64::from(labels[i / pixels / classes * pixels + i % pixels] == (i / pixels % classes) as i64);
    let hot = (0..samples * classes * pixels).map(hot).collect();
    (input.target, input.target_shape) = (Target::Labels(hot), Some(input.shape.clone()));
}

fn absent(input: &mut Input) {
    let [_, _, pixels] = input.lengths();
    if let Target::Labels(labels) = &mut input.target {
        // Class 2 is nowhere, class 1 not in the first sample.
        labels.iter_mut().for_each(|label| *label = (*label).min(1));
        labels.iter_mut().take(pixels).for_each(|label| *label = 0);
    }
}

fn saturated(input: &mut Input) {
    for (z, u) in input.logits.iter_mut().zip(numbers(1000, 35)) {
        if u < 0.5 {
            *z = if u < 0.25 { 1e4 } else { -1e4 };
        }
    }
}

fn confident(input: &mut Input) {
    input.logits.iter_mut().for_each(|z| *z *= 6.0);
}

fn strided(input: &mut Input) {
    input.strided = true;
}

/// Lengths whose squares are exact.
fn spaced(input: &mut Input, spacing: &[f64]) {
    input.spacing = Some(spacing.to_vec());
}

fn spaced_ignored_and_weighted(input: &mut Input) {
    ignored(input);
    weighted(input);
    spaced(input, &[2.5, 0.75]);
}

/// A disc and a corner in the first sample; the lower part of the second, which has no class 2.
fn regions(input: &mut Input) {
    if let Target::Labels(labels) = &mut input.target {
        for (i, label) in labels.iter_mut().enumerate() {
            let (y, x) = (i / 7 % 6, i % 7);
            let disc = y.abs_diff(2).pow(2) + x.abs_diff(2).pow(2) <= 4;
            *label = match i / 42 {
                0 if disc => 1,
                0 => 2 * i64::from(y >= 3 && x >= 5),
                _ => i64::from(y >= 4),
            };
        }
    }
    spaced(input, &[1.5, 0.75]);
}

/// The first sample is of class 1 wherever it is valid.
fn one_class(input: &mut Input) {
    if let Target::Labels(labels) = &mut input.target {
        labels.iter_mut().take(20).for_each(|label| *label = 1);
        labels[3] = IGNORED;
    }
}

/// Maps under the names that terms read theirs by, in sixteenths, each sample's its own.
fn given(input: &mut Input, [signed, hardest]: [usize; 2]) {
    let [samples, _, pixels] = input.lengths();
    let mut map = |name, channels: usize, seed, of: fn(f64) -> f64| {
        let values = numbers(samples * channels * pixels, seed).map(of).collect();
        input.maps.push(InputMap { name, channels, values });
    };
    map(SIGNED_DISTANCES, signed, 37, |u| (128.0 * u).floor() / 16.0 - 4.0);
    map(HARDEST_PIXELS, hardest, 38, |u| (5.0 * u).floor() / 4.0);
}

fn given_strided(input: &mut Input) {
    given(input, [3, 1]);
    strided(input);
}

fn given_ignored_nan(input: &mut Input) {
    given(input, [3, 1]);
    ignored_nan(input);
    let [_, _, pixels] = input.lengths();
    let labels = labels_of(input).to_vec();
    for InputMap { channels, values, .. } in &mut input.maps {
        for (i, value) in values.iter_mut().enumerate() {
            if labels[i / pixels / *channels * pixels + i % pixels] == IGNORED {
                *value = f64::NAN;
            }
        }
    }
}

fn given_and_soft(input: &mut Input) {
    given(input, [3, 1]);
    soft(input);
}
