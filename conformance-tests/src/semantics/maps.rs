//! What is asked of maps: of those that the caller gives, read by a term written for it.

use loss_core::expr::{Expr, Scalar};
use loss_core::{Activation, GroundTruthMatching, InsideTruth, Loss, LossError, Map, Side, matching};

use crate::check::{Check, close, labels, logit_at, loss, pixels, refused, run, same, widest};
use crate::inputs::{input, numbers};
use crate::oracle::{HARDEST_PIXELS, SIGNED_DISTANCES, Target};
use crate::{Adapter, Dtype, Input, InputMap};

/// The rows for a backend that reads such maps.
pub(crate) fn checks(reads_maps: bool) -> impl Iterator<Item = &'static Check> {
    let rows: [&[Check]; 2] = if reads_maps { [GIVEN, DERIVED] } else { [WITHOUT, &[]] };
    rows.into_iter().flatten()
}

const WITHOUT: &[Check] = &[("a_backend_without_maps_refuses_them", without_maps)];

const GIVEN: &[Check] = &[
    ("a_map_multiplies_pixel_by_pixel", pixel_by_pixel),
    ("a_given_map_is_needed_where_it_is_read", needed),
    ("a_map_that_does_not_fit_is_refused", unfit),
    ("a_map_at_an_ignored_pixel_has_no_influence_even_when_nan", ignored),
    ("a_map_that_is_not_finite_is_refused", not_finite),
    ("a_map_is_a_constant_to_the_gradient", constant),
];

const DERIVED: &[Check] = &[
    ("distances_are_of_labels_on_one_to_three_axes", distances_of_labels),
    ("a_spacing_is_a_length_for_each_axis", spacings),
    ("a_longer_spacing_is_a_larger_distance", scaled_spacing),
    ("a_given_map_takes_the_place_of_one_that_is_derived", in_place),
];

/// The Cross-Entropy of each sample, its pixels times the map `weight`.
struct Weighed;

impl GroundTruthMatching for Weighed {
    fn matching(&self, truth: &InsideTruth) -> Expr<Scalar> {
        let sum = truth.times(&Map::given("weight")).log_likelihood(Side::Region).sum_classes();
        (-sum).ratio(&truth.valid_size()).mean_samples()
    }
}

fn weighed() -> Loss {
    matching(Weighed).with_ignore_index(255)
}

/// Samples of three classes with a map, each sample's its own.
fn mapped(name: &'static str, channels: usize, seed: u64) -> Input {
    let values = numbers(2 * channels * 10, seed + 2).map(|u| (64.0 * u).round() / 16.0 - 2.0).collect();
    Input { maps: vec![InputMap { name, channels, values }], ..input(&[2, 3, 10], seed) }
}

fn pixel_by_pixel(adapter: &dyn Adapter) -> Result<(), String> {
    for channels in [1, 3] {
        let with = mapped("weight", channels, 60);
        let got = run(adapter, &weighed(), &with, widest(adapter))?;
        // A soft target that holds the factor: Cross-Entropy is linear in it. Such shares add up to
        // no 1, so the loss is one whose classes do not exclude each other.
        let mut shares = vec![0.0; 60];
        for (i, at) in pixels(&with).into_iter().enumerate() {
            let class = labels(&mut with.clone())?[i] as usize;
            let channel = if channels == 1 { 0 } else { class };
            // A quarter of 1 more than the map, which keeps it in [0, 1].
            shares[logit_at(&with, at, class)] = 0.5 + with.maps[0].values[(at.0 * channels + channel) * 10 + at.1] / 8.0;
        }
        let soft = Input { target: Target::Soft(shares), maps: Vec::new(), ..with.clone() };
        let ce = loss("ce(pooling=sample, activation=softmax)")?.with_activation(Activation::Sigmoid);
        let plain = run(adapter, &(0.5 * ce.clone()), &with, widest(adapter))?;
        let mut want = run(adapter, &ce, &soft, widest(adapter))?;
        want.total = 8.0 * (want.total - plain.total);
        want.gradient.iter_mut().zip(&plain.gradient).for_each(|(want, plain)| *want = 8.0 * (*want - plain));
        close(adapter, &format!("{channels} channels"), &got, &want)?;
    }
    Ok(())
}

fn needed(adapter: &dyn Adapter) -> Result<(), String> {
    let without = adapter.value_and_gradient(&weighed(), &input(&[2, 3, 10], 61), Dtype::F32);
    refused(without, "the loss reads the map `weight`, and the target has none")?;
    let other = adapter.value_and_gradient(&weighed(), &mapped("wieght", 1, 61), Dtype::F32);
    refused(other, "the loss reads the map `weight`, and the target has only wieght")
}

fn unfit(adapter: &dyn Adapter) -> Result<(), String> {
    let two_of_three = adapter.value_and_gradient(&weighed(), &mapped("weight", 2, 62), Dtype::F32);
    refused(two_of_three, "maps have shape [2, 2, 10], but logits of shape [2, 3, 10] need [2, 3, 10]")
}

fn ignored(adapter: &dyn Adapter) -> Result<(), String> {
    let named = |text: &str, map| Ok::<_, String>((loss(text)?.with_ignore_index(255), map));
    let losses = [Ok((weighed(), "weight")), named("boundary", SIGNED_DISTANCES), named("topk", HARDEST_PIXELS)];
    for (channels, known) in [1, 3].into_iter().flat_map(|channels| losses.iter().map(move |known| (channels, known))) {
        let (loss, name) = known.as_ref().map_err(String::clone)?;
        let mut plain = mapped(name, channels, 63);
        plain.weights = Some((0..20).map(|i| f64::from(u8::from(i != 16))).collect());
        labels(&mut plain)?[3] = 255;
        let want = run(adapter, loss, &plain, Dtype::F32)?;
        for poison in [1e30, f64::NAN, f64::INFINITY] {
            let mut poisoned = plain.clone();
            for (n, s) in [(0, 3), (1, 6)] {
                (0..channels).for_each(|k| poisoned.maps[0].values[(n * channels + k) * 10 + s] = poison);
            }
            same(&format!("{name}, {poison}, {channels} channels"), &run(adapter, loss, &poisoned, Dtype::F32)?, &want)?;
        }
    }
    Ok(())
}

fn not_finite(adapter: &dyn Adapter) -> Result<(), String> {
    // One of the three classes is the pixel's own.
    for k in 0..3 {
        let mut bad = mapped("weight", 3, 64);
        bad.maps[0].values[30 + 10 * k + 5] = f64::INFINITY;
        match adapter.value_and_gradient(&weighed(), &bad, Dtype::F32) {
            Ok(out) if !adapter.checks_values() && out.total.is_nan() => {}
            out => {
                let text = format!("map inf at [1, {k}, 5] is outside finite numbers of the type that is computed in");
                refused(out, &text)?;
            }
        }
    }
    Ok(())
}

fn constant(adapter: &dyn Adapter) -> Result<(), String> {
    // A map that says what the logits say: the gradient is that of its numbers.
    let mut with = mapped("weight", 3, 65);
    with.logits.iter_mut().for_each(|z| *z = (16.0 * *z).round() / 16.0);
    with.maps[0].values.clone_from(&with.logits);
    let got = run(adapter, &weighed(), &with, widest(adapter))?;
    for (i, at) in pixels(&with).into_iter().enumerate() {
        let class = labels(&mut with.clone())?[i] as usize;
        let z = |k: usize| with.logits[logit_at(&with, at, k)];
        let sum: f64 = (0..3).map(|k| z(k).exp()).sum();
        for k in 0..3 {
            let want = z(class) * (z(k).exp() / sum - f64::from(u8::from(k == class))) / 20.0;
            let got = got.gradient[logit_at(&with, at, k)];
            if (got - want).abs() > 1e-6 {
                return Err(format!("the gradient of class {k} at {at:?} is {got}, not {want}"));
            }
        }
    }
    Ok(())
}

fn without_maps(adapter: &dyn Adapter) -> Result<(), String> {
    match adapter.value_and_gradient(&weighed(), &mapped("weight", 1, 66), Dtype::F32) {
        Err(LossError::Unsupported { .. } | LossError::Backend { .. }) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

fn unsupported(adapter: &dyn Adapter, text: &str, input: &Input) -> Result<(), String> {
    match adapter.value_and_gradient(&loss(text)?, input, Dtype::F32) {
        Err(LossError::Unsupported { .. }) => Ok(()),
        other => Err(format!("{text} on {:?}: {other:?}", input.shape)),
    }
}

fn distances_of_labels(adapter: &dyn Adapter) -> Result<(), String> {
    let hard = input(&[2, 3, 10], 68);
    let soft = Input { target: Target::Soft(vec![1.0 / 3.0; 60]), ..hard.clone() };
    unsupported(adapter, "boundary", &soft)?;
    run(adapter, &loss("topk")?, &soft, Dtype::F32)?;
    run(adapter, &loss("boundary")?, &hard, Dtype::F32)?;
    unsupported(adapter, "ce + boundary", &input(&[4, 3], 68))?;
    // No adapter need have six axes.
    unsupported(adapter, "boundary", &input(&[2, 3, 2, 2, 2, 2], 68))
}

fn spacings(adapter: &dyn Adapter) -> Result<(), String> {
    let plain = input(&[2, 3, 4, 5], 69);
    let with = |spacing: &[f64]| Input { spacing: Some(spacing.to_vec()), ..plain.clone() };
    let boundary = loss("boundary")?;
    let want = run(adapter, &boundary, &plain, Dtype::F32)?;
    same("1, 1", &run(adapter, &boundary, &with(&[1.0, 1.0]), Dtype::F32)?, &want)?;
    for bad in [&[][..], &[1.0], &[1.0, 1.0, 1.0], &[1.0, 0.0], &[1.0, -1.0], &[f64::NAN, 1.0], &[1.0, f64::INFINITY]] {
        match adapter.value_and_gradient(&boundary, &with(bad), Dtype::F32) {
            Err(LossError::Unsupported { .. } | LossError::ShapeMismatch { .. } | LossError::ValueOutOfRange { .. }) => {}
            other => return Err(format!("a spacing of {bad:?}: {other:?}")),
        }
    }
    Ok(())
}

fn scaled_spacing(adapter: &dyn Adapter) -> Result<(), String> {
    // φ grows by d outside and by −d inside, where the 1 does not: one inside pixel at the end.
    let mut line = input(&[1, 1, 4], 70);
    *labels(&mut line)? = vec![1, 0, 0, 0];
    line.logits.fill(0.0);
    let boundary = loss("boundary")?.with_activation(Activation::Sigmoid);
    for length in [1.0, 3.0, 0.25] {
        let spaced = Input { spacing: Some(vec![length]), ..line.clone() };
        let got = run(adapter, &boundary, &spaced, Dtype::F32)?.total;
        let want = ((1.0 + 2.0 + 3.0) * length - (length - 1.0)) * 0.5 / 4.0;
        if (got - want).abs() > 1e-6 {
            return Err(format!("a spacing of {length} gives {got}, not {want}"));
        }
    }
    Ok(())
}

fn in_place(adapter: &dyn Adapter) -> Result<(), String> {
    // A map of zeros leaves nothing; one under another name changes nothing.
    for (text, name) in [("boundary", SIGNED_DISTANCES), ("topk", HARDEST_PIXELS)] {
        let plain = input(&[2, 3, 10], 71);
        let given =
            |name, value| Input { maps: vec![InputMap { name, channels: 1, values: vec![value; 20] }], ..plain.clone() };
        let loss = loss(text)?;
        let want = run(adapter, &loss, &plain, Dtype::F32)?;
        same(text, &run(adapter, &loss, &given("weight", 0.0), Dtype::F32)?, &want)?;
        let nothing = run(adapter, &loss, &given(name, 0.0), Dtype::F32)?;
        if nothing.total != 0.0 || nothing.gradient.iter().any(|g| *g != 0.0) {
            return Err(format!("{text} with a map of zeros: {} {:?}", nothing.total, nothing.gradient));
        }
    }
    Ok(())
}
