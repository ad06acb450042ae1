//! The semantics table of `docs/design.md` as named checks that every backend must pass, for what
//! can be asked of any backend.

pub(crate) mod maps;
pub(crate) mod notes;
pub(crate) mod pressure;
pub(crate) mod targets;

use loss_core::{Activation, LossError, PRESETS};

use crate::check::{Check, close, labels, logit_at, loss, pixels, refused, run, same, slack, widest};
use crate::inputs::{input, numbers};
use crate::oracle::Target;
use crate::{Adapter, Dtype, Input};

/// All rows.
pub const CHECKS: &[Check] = &[
    ("any_number_of_spatial_axes_is_the_same_sum", any_number_of_spatial_axes),
    ("strides_do_not_matter", strides),
    ("ignored_pixels_have_no_influence_even_when_nan", ignored_pixels),
    ("several_labels_can_be_ignored", several_ignored_labels),
    ("a_class_can_be_ignored", ignored_class),
    ("masked_pixels_do_not_become_half", masked_pixels),
    ("weight_zero_is_the_same_as_ignored", weight_zero),
    ("a_common_factor_of_the_weights_changes_nothing", common_weight),
    ("weights_and_soft_targets_work_together", weights_and_soft),
    ("soft_targets_and_weights_keep_their_digits", digits),
    ("hard_labels_equal_their_one_hot_soft_targets", one_hot),
    ("a_sample_without_a_valid_pixel_contributes_nothing", invalid_sample),
    ("nothing_valid_gives_zero_and_zero_gradient", nothing_valid),
    ("saturated_logits_stay_finite", saturated),
    ("sure_pixels_keep_their_value_and_gradient", sure),
    ("non_finite_logits_are_not_silent", non_finite),
    ("a_label_out_of_range_is_named_with_its_position", label_out_of_range),
    ("a_soft_target_out_of_range_is_refused", soft_out_of_range),
    ("a_negative_weight_is_refused", negative_weight),
    ("shapes_that_do_not_fit_are_refused_with_both", shapes),
    ("an_empty_array_is_refused", empty),
    ("softmax_of_one_channel_is_refused", one_channel_softmax),
    ("class_counts_that_do_not_fit_are_refused", class_counts),
    ("a_given_prior_is_needed_where_asked_for", given_prior),
    ("the_report_pools_each_class_over_the_batch", report),
    ("same_input_same_bits", reproducible),
];

const MIXED: &str = "ce(label_smoothing=0.1) + focal + dice + 0.5 * l1 + 0.5 * kl + 0.1 * log_recall";

fn any_number_of_spatial_axes(adapter: &dyn Adapter) -> Result<(), String> {
    let flat = input(&[2, 3, 12], 1);
    let want = run(adapter, &loss(MIXED)?, &flat, Dtype::F32)?;
    for shape in [vec![2, 3, 4, 3], vec![2, 3, 2, 2, 3]] {
        let reshaped = Input { shape: shape.clone(), ..flat.clone() };
        same(&format!("{shape:?}"), &run(adapter, &loss(MIXED)?, &reshaped, Dtype::F32)?, &want)?;
    }
    let none = input(&[4, 3], 2);
    let one = Input { shape: vec![4, 3, 1], ..none.clone() };
    same("no spatial axis", &run(adapter, &loss(MIXED)?, &none, Dtype::F32)?, &run(adapter, &loss(MIXED)?, &one, Dtype::F32)?)
}

fn strides(adapter: &dyn Adapter) -> Result<(), String> {
    let plain = input(&[2, 3, 4, 3], 4);
    let want = run(adapter, &loss(MIXED)?, &plain, Dtype::F32)?;
    same("strided", &run(adapter, &loss(MIXED)?, &Input { strided: true, ..plain }, Dtype::F32)?, &want)
}

fn ignored_pixels(adapter: &dyn Adapter) -> Result<(), String> {
    for (text, _) in PRESETS {
        let loss = loss(text)?.with_ignore_index(255);
        let mut plain = input(&[2, 3, 10], 5);
        let ignored = [3, 7, 14];
        for i in ignored {
            labels(&mut plain)?[i] = 255;
        }
        let want = run(adapter, &loss, &plain, Dtype::F32)?;
        for poison in [1e30, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut poisoned = plain.clone();
            for i in ignored {
                for k in 0..3 {
                    let at = logit_at(&plain, pixels(&plain)[i], k);
                    poisoned.logits[at] = poison;
                    if want.gradient[at] != 0.0 {
                        return Err(format!("{text}: gradient {} at an ignored pixel", want.gradient[at]));
                    }
                }
            }
            same(&format!("{text} with {poison}"), &run(adapter, &loss, &poisoned, Dtype::F32)?, &want)?;
        }
    }
    Ok(())
}

fn several_ignored_labels(adapter: &dyn Adapter) -> Result<(), String> {
    let mut one = input(&[2, 3, 10], 6);
    let mut several = one.clone();
    for (i, label) in [(2, 255), (9, 254), (15, -100)] {
        labels(&mut one)?[i] = 255;
        labels(&mut several)?[i] = label;
    }
    let want = run(adapter, &loss(MIXED)?.with_ignore_index(255), &one, widest(adapter))?;
    let loss = loss(MIXED)?.with_ignore_index(255).with_ignore_index(254).with_ignore_index(-100);
    same("255, 254, -100", &run(adapter, &loss, &several, widest(adapter))?, &want)
}

fn ignored_class(adapter: &dyn Adapter) -> Result<(), String> {
    for activation in [Activation::Softmax, Activation::Sigmoid] {
        for class in 0..3 {
            let plain = input(&[2, 3, 10], 15);
            let mut outside = plain.clone();
            for label in labels(&mut outside)?.iter_mut().filter(|label| **label == class) {
                *label = 255;
            }
            let loss = loss(MIXED)?.with_activation(activation);
            let want = run(adapter, &loss.clone().with_ignore_index(255), &outside, Dtype::F32)?;
            let got = run(adapter, &loss.with_ignore_index(class), &plain, Dtype::F32)?;
            same(&format!("{activation}, class {class}"), &got, &want)?;
        }
    }
    Ok(())
}

fn masked_pixels(adapter: &dyn Adapter) -> Result<(), String> {
    // Ten true pixels predicted perfectly, and a thousand that are masked out: Dice must be 0, not
    // 0.96.
    let mut masked = input(&[1, 1, 1010], 7);
    let truth = |s: usize| s < 10;
    masked.logits = (0..1010).map(|s| if truth(s) { 50.0 } else { 0.0 }).collect();
    *labels(&mut masked)? = (0..1010).map(|s| if truth(s) { 1 } else { 255 }).collect();
    let loss = loss("dice")?.with_activation(Activation::Sigmoid).with_ignore_index(255);
    let got = run(adapter, &loss, &masked, Dtype::F32)?.total;
    if got.abs() < 1e-6 { Ok(()) } else { Err(format!("Dice of a perfect prediction is {got}")) }
}

fn weight_zero(adapter: &dyn Adapter) -> Result<(), String> {
    for (text, _) in PRESETS {
        let plain = input(&[2, 3, 10], 8);
        let mut ignored = plain.clone();
        let mut weights = vec![1.0; 20];
        for i in [0, 11, 19] {
            labels(&mut ignored)?[i] = 255;
            weights[i] = 0.0;
        }
        let weighted = Input { weights: Some(weights), ..plain };
        let loss = loss(text)?.with_ignore_index(255);
        let want = run(adapter, &loss, &ignored, widest(adapter))?;
        close(adapter, text, &run(adapter, &loss, &weighted, widest(adapter))?, &want)?;
    }
    Ok(())
}

fn common_weight(adapter: &dyn Adapter) -> Result<(), String> {
    let plain = input(&[2, 3, 10], 9);
    let loss = loss("ce + focal + dice + l1(epsilon=0) + jaccard(pooling=sample)")?;
    let weighted = |w: f64| Input { weights: Some(vec![w; 20]), ..plain.clone() };
    let want = run(adapter, &loss, &plain, widest(adapter))?;
    for weight in [1.0, 0.25, 4.0] {
        close(adapter, &format!("{weight}"), &run(adapter, &loss, &weighted(weight), widest(adapter))?, &want)?;
    }
    Ok(())
}

fn weights_and_soft(adapter: &dyn Adapter) -> Result<(), String> {
    // A pixel of weight 2 is two pixels.
    let shares = |s: usize| [0.2 + 0.1 * s as f64, 0.8 - 0.1 * s as f64];
    let logits = |s: usize| [0.3 * s as f64, -0.7];
    let soft = |of: &[usize]| Input {
        logits: (0..2).flat_map(|k| of.iter().map(move |&s| logits(s)[k])).collect(),
        target: Target::Soft((0..2).flat_map(|k| of.iter().map(move |&s| shares(s)[k])).collect()),
        ..input(&[1, 2, of.len()], 0)
    };
    let loss = loss("ce + focal + dice(squared=true) + l1 + kl")?;
    let twice = run(adapter, &loss, &soft(&[0, 0, 1, 2]), widest(adapter))?.total;
    let weighted = Input { weights: Some(vec![2.0, 1.0, 1.0]), ..soft(&[0, 1, 2]) };
    let got = run(adapter, &loss, &weighted, widest(adapter))?.total;
    if (got - twice).abs() < slack(adapter) { Ok(()) } else { Err(format!("weight 2 gives {got}, two pixels give {twice}")) }
}

fn digits(adapter: &dyn Adapter) -> Result<(), String> {
    // Cross-Entropy of two pixels, of numbers that no shorter type has.
    let (z, y, w) = ([0.3, -1.1], [1.0 / 3.0, 0.1], [0.7, 1.0 / 7.0]);
    let soft = Input {
        logits: vec![z[0], z[1], 0.0, 0.0],
        target: Target::Soft(vec![y[0], y[1], 1.0 - y[0], 1.0 - y[1]]),
        weights: Some(w.to_vec()),
        ..input(&[1, 2, 2], 0)
    };
    let pixel = |i: usize| y[i] * (-z[i]).exp().ln_1p() + (1.0 - y[i]) * z[i].exp().ln_1p();
    let want = (w[0] * pixel(0) + w[1] * pixel(1)) / (w[0] + w[1]);
    let got = run(adapter, &loss("ce")?, &soft, widest(adapter))?.total;
    if (got - want).abs() < slack(adapter) { Ok(()) } else { Err(format!("{got}, not {want}")) }
}

fn one_hot(adapter: &dyn Adapter) -> Result<(), String> {
    for (text, _) in PRESETS {
        let hard = input(&[2, 3, 10], 10);
        let mut shares = vec![0.0; 60];
        let mut own = hard.clone();
        for (i, pixel) in pixels(&hard).into_iter().enumerate() {
            shares[logit_at(&hard, pixel, labels(&mut own)?[i] as usize)] = 1.0;
        }
        let soft = Input { target: Target::Soft(shares), ..hard.clone() };
        let want = run(adapter, &loss(text)?, &hard, widest(adapter))?;
        close(adapter, text, &run(adapter, &loss(text)?, &soft, widest(adapter))?, &want)?;
    }
    Ok(())
}

fn invalid_sample(adapter: &dyn Adapter) -> Result<(), String> {
    // Per-sample terms: a sample of ignored pixels adds 0 to a mean over two.
    for text in [
        "ce(pooling=sample)",
        "focal(pooling=sample)",
        "dice(pooling=sample)",
        "dice(pooling=sample, absent=count)",
        "tversky(pooling=sample, form=log)",
        "gdice(pooling=sample)",
        "log_recall(pooling=sample)",
        "l1",
        "l1(target=[0.2, 0.3, 0.5])",
        "kl",
        "db",
    ] {
        let loss = loss(text)?.with_ignore_index(255);
        let alone = input(&[1, 3, 10], 11);
        let mut both = Input { logits: [alone.logits.clone(), vec![f64::NAN; 30]].concat(), ..input(&[2, 3, 10], 11) };
        let given = labels(&mut alone.clone())?.clone();
        *labels(&mut both)? = [given, vec![255; 10]].concat();
        let (alone, both) = (run(adapter, &loss, &alone, widest(adapter))?, run(adapter, &loss, &both, widest(adapter))?);
        if (both.total - 0.5 * alone.total).abs() > slack(adapter) || both.gradient[30..].iter().any(|g| *g != 0.0) {
            return Err(format!("{text}: {} with an empty sample, {} without", both.total, alone.total));
        }
    }
    Ok(())
}

fn nothing_valid(adapter: &dyn Adapter) -> Result<(), String> {
    let extra = ["l1(target=[0.2, 0.3, 0.5], pooling=batch)", "dice(absent=count, form=log)", "ce(class_weights=[1, 2, 3])"];
    for text in PRESETS.iter().map(|(name, _)| *name).chain(extra) {
        let mut empty = input(&[2, 3, 6], 12);
        labels(&mut empty)?.fill(255);
        empty.logits.fill(f64::NAN);
        let out = run(adapter, &loss(text)?.with_ignore_index(255), &empty, Dtype::F32)?;
        if out.total != 0.0 || out.gradient.iter().any(|g| *g != 0.0) {
            return Err(format!("{text}: total {}, gradient {:?}", out.total, out.gradient));
        }
    }
    Ok(())
}

fn saturated(adapter: &dyn Adapter) -> Result<(), String> {
    for dtype in Dtype::ALL.into_iter().filter(|d| adapter.supports(*d)) {
        // Half precision is computed in `f32`, so it may be as large as it can.
        let most = if dtype == Dtype::F16 { dtype.largest() } else { dtype.largest() / 4.0 };
        for size in [1e4, most] {
            for activation in [Activation::Softmax, Activation::Sigmoid] {
                for text in PRESETS.iter().map(|(name, _)| *name).chain([MIXED]) {
                    let mut input = input(&[2, 3, 12], 13);
                    for (z, u) in input.logits.iter_mut().zip(numbers(72, 14)) {
                        *z = if u < 0.4 {
                            size
                        } else if u < 0.8 {
                            -size
                        } else {
                            *z
                        };
                    }
                    let out = run(adapter, &loss(text)?.with_activation(activation), &input, dtype)?;
                    if !out.total.is_finite() || out.gradient.iter().any(|g| !g.is_finite()) {
                        return Err(format!("{text}, {activation}, {dtype}, ±{size:e}: {} {:?}", out.total, out.gradient));
                    }
                }
            }
        }
    }
    Ok(())
}

fn sure(adapter: &dyn Adapter) -> Result<(), String> {
    // 1 − p is far below the rounding of p, which must not be what it is computed from.
    for z in [12.0, 30.0, 60.0] {
        let mut input = input(&[1, 3, 1], 0);
        input.logits = vec![z, 0.0, 0.0];
        labels(&mut input)?[0] = 0;
        let out = run(adapter, &loss("ce")?, &input, Dtype::F32)?;
        let other = (-z).exp() / (1.0 + 2.0 * (-z).exp());
        let exact = [(2.0 * (-z).exp()).ln_1p(), -2.0 * other, other, other];
        for (got, want) in std::iter::once(&out.total).chain(&out.gradient).zip(exact) {
            if (got - want).abs() > 1e-6 * want.abs() {
                return Err(format!("logit {z}: {got:e}, not {want:e}"));
            }
        }
    }
    Ok(())
}

fn non_finite(adapter: &dyn Adapter) -> Result<(), String> {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut input = input(&[2, 3, 2, 2], 15);
        input.logits[17] = bad;
        let result = adapter.value_and_gradient(&loss("ce + dice + l1")?, &input, Dtype::F32);
        match (adapter.checks_values(), result) {
            (true, Err(LossError::NonFiniteLogit { value, position })) => {
                if position != [1, 1, 0, 1] || (value - bad).abs() < 0.0 {
                    return Err(format!("{bad}: named as {value} at {position:?}"));
                }
            }
            (false, Ok(out)) if out.total.is_nan() => {}
            (_, other) => return Err(format!("{bad}: {other:?}")),
        }
    }
    Ok(())
}

fn label_out_of_range(adapter: &dyn Adapter) -> Result<(), String> {
    if !adapter.checks_values() {
        return Ok(());
    }
    for bad in [3, -1, 255] {
        let mut input = input(&[2, 3, 2, 2], 16);
        labels(&mut input)?[5] = bad;
        let text = format!("label {bad} at [1, 0, 1] is outside 0..3 and not ignored; `ignore={bad}` leaves its pixels out");
        refused(adapter.value_and_gradient(&loss("ce")?, &input, Dtype::F32), &text)?;
    }
    Ok(())
}

fn soft_out_of_range(adapter: &dyn Adapter) -> Result<(), String> {
    if !adapter.checks_values() {
        return Ok(());
    }
    let mut soft = input(&[1, 2, 2], 17);
    soft.target = Target::Soft(vec![0.5, 0.5, 1.5, 0.5]);
    let text = "soft target 1.5 at [0, 1, 0] is outside [0, 1]";
    refused(adapter.value_and_gradient(&loss("ce")?, &soft, Dtype::F32), text)
}

fn negative_weight(adapter: &dyn Adapter) -> Result<(), String> {
    if !adapter.checks_values() {
        return Ok(());
    }
    let weighted = Input { weights: Some(vec![1.0, -0.5]), ..input(&[1, 2, 2], 18) };
    let text = "pixel weight -0.5 at [0, 1] is outside finite numbers >= 0";
    refused(adapter.value_and_gradient(&loss("ce")?, &weighted, Dtype::F32), text)
}

fn shapes(adapter: &dyn Adapter) -> Result<(), String> {
    let mut wrong = input(&[2, 3, 4, 2], 19);
    wrong.target_shape = Some(vec![2, 2, 4]);
    let text = "labels have shape [2, 2, 4], but logits of shape [2, 3, 4, 2] need [2, 4, 2]; the spatial axes seem to stand in \
                the other order";
    refused(adapter.value_and_gradient(&loss("ce")?, &wrong, Dtype::F32), text)?;
    let mut soft = input(&[1, 2, 4], 19);
    soft.target = Target::Soft(vec![0.5; 8]);
    soft.target_shape = Some(vec![1, 4, 2]);
    let text = "soft targets have shape [1, 4, 2], but logits of shape [1, 2, 4] need [1, 2, 4]; their classes seem to be in \
                the last axis: bring that to the second place, as in permute(0, 2, 1)";
    refused(adapter.value_and_gradient(&loss("ce")?, &soft, Dtype::F32), text)
}

fn empty(adapter: &dyn Adapter) -> Result<(), String> {
    for shape in [&[2, 3, 0][..], &[2, 3, 4, 0], &[2, 3, 0, 4], &[0, 3, 4, 5]] {
        let text = format!("logits are empty: shape {shape:?}");
        refused(adapter.value_and_gradient(&loss("ce")?, &input(shape, 20), Dtype::F32), &text)?;
    }
    Ok(())
}

fn one_channel_softmax(adapter: &dyn Adapter) -> Result<(), String> {
    let text = "softmax needs at least two classes, got 1; a single channel is binary: use sigmoid";
    refused(adapter.value_and_gradient(&loss("ce")?, &input(&[2, 1, 3], 21), Dtype::F32), text)
}

fn class_counts(adapter: &dyn Adapter) -> Result<(), String> {
    let input = input(&[2, 3, 4], 22);
    for (text, message) in [
        ("ce(class_weights=[1, 2])", "ce: class_weights has 2 values, but there are 3 classes; give one value for each class"),
        ("dice(classes=[1, 3])", "dice: classes names class 3, but there are 3 classes, counted from 0"),
        ("l1(target=[0.5, 0.5])", "l1: target has 2 values, but there are 3 classes; give one value for each class"),
        (
            "l1(target=[0.5, 0.5, 0.5])",
            "l1: target sums to 1.5, but under softmax the proportions of all classes sum to 1; channels of their own are \
             activation=sigmoid",
        ),
    ] {
        refused(adapter.value_and_gradient(&loss(text)?, &input, Dtype::F32), message)?;
    }
    Ok(())
}

fn given_prior(adapter: &dyn Adapter) -> Result<(), String> {
    let plain = input(&[2, 3, 4], 23);
    let loss = loss("kl(target=given) + l1(target=given, pooling=batch)")?;
    let text = "a term with target=given takes proportions for each sample and class, and none came with the target; give some \
                with `.prior(..)`, or write them into the loss: target=[0.9, 0.1]";
    refused(adapter.value_and_gradient(&loss, &plain, Dtype::F32), text)?;
    // A prior that repeats what a constant one says gives the same.
    let given = Input { prior: Some([0.2, 0.3, 0.5].repeat(2)), ..plain.clone() };
    let constant = self::loss("kl(target=[0.2, 0.3, 0.5]) + l1(target=[0.2, 0.3, 0.5], pooling=batch)")?;
    close(adapter, "given", &run(adapter, &loss, &given, widest(adapter))?, &run(adapter, &constant, &plain, widest(adapter))?)
}

fn report(adapter: &dyn Adapter) -> Result<(), String> {
    let mut input = input(&[2, 3, 10], 44);
    labels(&mut input)?[4] = 255;
    for activation in [Activation::Softmax, Activation::Sigmoid] {
        let loss = loss("ce")?.with_activation(activation).with_ignore_index(255);
        let regions = adapter.evaluate(&loss, &input, widest(adapter)).map_err(|error| error.to_string())?.regions;
        if regions.len() != 3 {
            return Err(format!("{} classes are reported, not 3", regions.len()));
        }
        for (class, got) in regions.iter().enumerate() {
            let [mut valid, mut target, mut predicted, mut both] = [0.0; 4];
            for (at, &label) in pixels(&input).into_iter().zip(labels(&mut input.clone())?.iter()).filter(|(_, l)| **l != 255) {
                let exp = |k: usize| input.logits[logit_at(&input, at, k)].exp();
                let p = match activation {
                    Activation::Softmax => exp(class) / (exp(0) + exp(1) + exp(2)),
                    Activation::Sigmoid => exp(class) / (1.0 + exp(class)),
                };
                let y = f64::from(u8::from(label == class as i64));
                (valid, target, predicted, both) = (valid + 1.0, target + y, predicted + p, both + y * p);
            }
            let want = [target / valid, predicted / valid, 2.0 * both / (target + predicted)];
            let off = |(a, b): (f64, f64)| (a - b).abs() > 1e-6;
            if got.class != class || [got.target, got.predicted, got.dice].into_iter().zip(want).any(off) {
                return Err(format!("{activation}, class {class}: {got:?} where target, predicted and dice are {want:?}"));
            }
        }
    }
    Ok(())
}

fn reproducible(adapter: &dyn Adapter) -> Result<(), String> {
    let input = input(&[2, 4, 40, 50], 24);
    let first = run(adapter, &loss(MIXED)?, &input, Dtype::F32)?;
    same("again", &run(adapter, &loss(MIXED)?, &input, Dtype::F32)?, &first)
}
