//! What is asked of maps: of those that the caller gives, read by a term written for it.

use loss_core::expr::{Expr, Scalar};
use loss_core::{GroundTruthMatching, InsideTruth, Loss, LossError, Map, Side, matching};

use crate::check::{Check, close, labels, logit_at, loss, pixels, refused, run, same, widest};
use crate::inputs::{input, numbers};
use crate::oracle::Target;
use crate::{Adapter, Dtype, Input, InputMap};

/// The rows for a backend that reads such maps.
pub(crate) fn checks(reads_maps: bool) -> &'static [Check] {
    if reads_maps { GIVEN } else { WITHOUT }
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
        // A soft target that holds the factor: Cross-Entropy is linear in it.
        let mut shares = vec![0.0; 60];
        for (i, at) in pixels(&with).into_iter().enumerate() {
            let class = labels(&mut with.clone())?[i] as usize;
            let channel = if channels == 1 { 0 } else { class };
            // A quarter of 1 more than the map, which keeps it in [0, 1].
            shares[logit_at(&with, at, class)] = 0.5 + with.maps[0].values[(at.0 * channels + channel) * 10 + at.1] / 8.0;
        }
        let soft = Input { target: Target::Soft(shares), maps: Vec::new(), ..with.clone() };
        let ce = loss("ce(pooling=sample)")?;
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
    for channels in [1, 3] {
        let mut plain = mapped("weight", channels, 63);
        plain.weights = Some((0..20).map(|i| f64::from(u8::from(i != 16))).collect());
        labels(&mut plain)?[3] = 255;
        let want = run(adapter, &weighed(), &plain, Dtype::F32)?;
        for poison in [1e30, f64::NAN, f64::INFINITY] {
            let mut poisoned = plain.clone();
            for (n, s) in [(0, 3), (1, 6)] {
                (0..channels).for_each(|k| poisoned.maps[0].values[(n * channels + k) * 10 + s] = poison);
            }
            same(&format!("{poison}, {channels} channels"), &run(adapter, &weighed(), &poisoned, Dtype::F32)?, &want)?;
        }
    }
    Ok(())
}

fn not_finite(adapter: &dyn Adapter) -> Result<(), String> {
    if !adapter.checks_values() {
        return Ok(());
    }
    let mut bad = mapped("weight", 3, 64);
    bad.maps[0].values[45] = f64::INFINITY;
    let text = "map inf at [1, 1, 5] is outside finite numbers of the type that is computed in";
    refused(adapter.value_and_gradient(&weighed(), &bad, Dtype::F32), text)
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
