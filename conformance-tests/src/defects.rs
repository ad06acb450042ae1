//! Defects found in other libraries, each as a check that would fail if we had it.
//!
//! The libraries are the authors' own code (SegLossBias), MONAI 1.5, segmentation-models-pytorch
//! (smp), nnU-Net, SegLossOdyssey, boundary-loss, optax and Burn.

use loss_core::{Activation, Loss, PRESETS, catalogue};

use crate::check::{Check, close, labels, logit_at, loss, pixels, refused, run, slack, takes, widest};
use crate::inputs::{input, numbers};
use crate::oracle::Target;
use crate::{Adapter, Dtype, Input};

/// All of them.
pub const CHECKS: &[Check] = &[
    ("focal_log_dice_is_not_focal_dice", focal_log_dice),          // SegLossBias
    ("the_ignore_label_reaches_size_terms", ignore_in_size_terms), // SegLossBias
    ("binary_losses_honour_the_ignore_label", binary_ignore),      // SegLossBias
    ("multi_label_kl_has_its_background_part", multi_label_kl),    // SegLossBias
    ("no_option_is_without_effect", every_option_counts),          // SegLossBias, MONAI, smp, SegLossOdyssey
    ("label_maps_of_volumes_are_read_voxel_by_voxel", volumes),    // SegLossBias, nnU-Net
    ("an_epsilon_that_rounds_to_zero_in_half_does_no_harm", half_epsilon), // SegLossBias, boundary-loss
    ("softmax_focal_at_gamma_zero_is_cross_entropy", focal_gamma_zero), // MONAI
    ("leaving_out_the_background_does_not_renormalise", without_background), // MONAI
    ("every_term_uses_the_activation_asked_for", one_activation),  // MONAI
    ("a_loss_serves_another_number_of_classes_afterwards", other_class_counts), // MONAI
    ("one_channel_has_a_gradient", one_channel_gradient),          // MONAI
    ("a_perfect_prediction_has_a_finite_gradient", perfect),       // MONAI, smp
    ("large_regions_count_in_generalised_dice", generalised_dice_of_large_regions), // MONAI, SegLossOdyssey
    ("class_weights_are_no_positive_weights", class_weights_of_binary), // MONAI
    ("dice_of_an_empty_class_without_smoothing_is_finite", empty_class), // MONAI
    ("a_target_of_other_channels_is_refused", other_channels),     // MONAI, smp
    ("focal_does_not_shrink_with_the_number_of_channels", focal_channels), // smp
    ("means_divide_by_valid_pixels_only", valid_divisor),          // smp, Burn
    ("false_positives_of_an_absent_class_can_count", absent_class), // smp
    ("sums_of_half_precision_do_not_overflow", half_sums),         // smp, MONAI, nnU-Net
    ("a_label_equal_to_the_number_of_classes_can_be_ignored", label_k_ignored), // nnU-Net
    ("binary_cross_entropy_with_ignored_pixels_keeps_its_scale", binary_scale), // nnU-Net
    ("scores_stay_between_zero_and_one", range),                   // nnU-Net, SegLossOdyssey, boundary-loss
    ("every_term_reaches_the_total", terms_reach_the_total),       // SegLossOdyssey
    ("an_absent_class_does_not_rule_generalised_dice", absent_in_generalised_dice), // boundary-loss, optax
    ("generalised_dice_is_one_score", generalised_dice_by_hand),   // optax
    ("channels_need_not_add_up_under_sigmoid", independent_channels), // optax
    ("dice_honours_the_ignore_label", dice_ignores),               // optax, nnU-Net, smp
    ("label_smoothing_does_not_depend_on_the_image_width", smoothing_by_width), // Burn
    ("label_smoothing_of_saturated_logits_is_finite", smoothing_saturated), // Burn
];

/// A check's own failure.
fn ensure(holds: bool, otherwise: impl Fn() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn total(adapter: &dyn Adapter, text: &str, input: &Input) -> Result<f64, String> {
    Ok(run(adapter, &loss(text)?, input, widest(adapter))?.total)
}

fn equal(adapter: &dyn Adapter, what: &str, got: f64, want: f64) -> Result<(), String> {
    ensure((got - want).abs() <= slack(adapter) * want.abs().max(1.0), || format!("{what}: {got}, not {want}"))
}

/// Logits and labels of one sample, by class.
fn scene(logits: &[&[f64]], labels: &[i64]) -> Input {
    let (classes, pixels) = (logits.len(), labels.len());
    Input { logits: logits.concat(), target: Target::Labels(labels.to_vec()), ..input(&[1, classes, pixels], 0) }
}

fn focal_log_dice(adapter: &dyn Adapter) -> Result<(), String> {
    let input = input(&[2, 3, 10], 1);
    let (log, linear) = (total(adapter, "Focal+LogDice", &input)?, total(adapter, "Focal+Dice", &input)?);
    ensure((log - linear).abs() > 1e-3, || format!("both are {log}"))
}

fn ignore_in_size_terms(adapter: &dyn Adapter) -> Result<(), String> {
    for text in ["l1", "kl", "db"] {
        let loss = loss(text)?.with_ignore_index(7);
        let mut plain = input(&[1, 3, 10], 2);
        labels(&mut plain)?[4] = 7;
        let mut other = plain.clone();
        (0..3).for_each(|k| other.logits[k * 10 + 4] = 5.0 * k as f64);
        close(adapter, text, &run(adapter, &loss, &other, widest(adapter))?, &run(adapter, &loss, &plain, widest(adapter))?)?;
    }
    Ok(())
}

fn binary_ignore(adapter: &dyn Adapter) -> Result<(), String> {
    // With label 255 read as the number 255, binary Cross-Entropy falls without bound.
    let input = scene(&[&[2.0, 5.0, -1.0]], &[1, 255, 0]);
    let loss = loss("ce")?.with_activation(Activation::Sigmoid).with_ignore_index(255);
    let want = ((-2.0f64).exp().ln_1p() + (-1.0f64).exp().ln_1p()) / 2.0;
    equal(adapter, "binary Cross-Entropy", run(adapter, &loss, &input, widest(adapter))?.total, want)
}

fn multi_label_kl(adapter: &dyn Adapter) -> Result<(), String> {
    // True share 0.1, predicted 0.9: without the background's part the "divergence" is −0.22.
    let nine = (0.9f64 / 0.1).ln();
    let mut input = scene(&[&[nine; 10], &[nine; 10]], &[0; 10]);
    input.target = Target::Soft([vec![1.0], vec![0.0; 9], vec![1.0], vec![0.0; 9]].concat());
    let loss = loss("kl(temperature=1, epsilon=0)")?.with_activation(Activation::Sigmoid);
    let want = 2.0 * (0.1 * (0.1f64 / 0.9).ln() + 0.9 * (0.9f64 / 0.1).ln());
    equal(adapter, "KL", run(adapter, &loss, &input, widest(adapter))?.total, want)
}

/// Another value of an option than its default, and what must stand beside it for it to matter.
fn another(term: &str, option: &str) -> Option<&'static str> {
    Some(match (term, option) {
        (_, "class_weights") => "class_weights=[0.5, 1, 3]",
        (_, "classes") => "classes=[0, 2]",
        (_, "label_smoothing") => "label_smoothing=0.2",
        (_, "pooling") if ["l1", "kl", "db"].contains(&term) => "pooling=batch",
        (_, "pooling") => "pooling=sample",
        ("focal" | "gdice", "activation") => "activation=softmax",
        (_, "activation") => "activation=sigmoid",
        (_, "fraction") => "fraction=0.5",
        (_, "gamma") => "gamma=1",
        (_, "alpha") => "alpha=0.3",
        (_, "beta") => "beta=0.9",
        (_, "smooth") => "smooth=1",
        (_, "smooth_numerator") => "smooth_numerator=1",
        (_, "smooth_denominator") => "smooth_denominator=1",
        (_, "temperature") => "temperature=3",
        (_, "absent") => "absent=count",
        (_, "form") => "form=log",
        (_, "squared") => "squared=true",
        (_, "target") => "target=[0.2, 0.2, 0.6]",
        (_, "epsilon") => "epsilon=0.1",
        (_, "weighting") => "weighting=simple",
        (_, "background") => "background=false, activation=sigmoid",
        _ => return None,
    })
}

fn every_option_counts(adapter: &dyn Adapter) -> Result<(), String> {
    // All classes in both samples; and class 1 absent from the second, class 2 from both. Valid
    // pixels of different numbers.
    let [mut full, mut sparse] = [3, 4].map(|seed| input(&[2, 3, 10], seed));
    *labels(&mut full)? = vec![0, 1, 1, 2, 0, 1, 0, 255, 255, 0, 0, 1, 2, 2, 2, 0, 0, 2, 0, 0];
    *labels(&mut sparse)? = vec![0, 1, 1, 0, 0, 1, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for term in catalogue().into_iter().filter(|term| takes(adapter, term.name)) {
        for option in &term.options {
            let other = another(term.name, option.name)
                .ok_or_else(|| format!("{}: no other value known for `{}`", term.name, option.name))?;
            // The background's part exists under sigmoid only.
            let base = if option.name == "background" { "kl(activation=sigmoid)" } else { term.name };
            let mut apart = 0.0;
            for input in [&full, &sparse] {
                let run = |text: &str| run(adapter, &loss(text)?.with_ignore_index(255), input, widest(adapter));
                let (a, b) = (run(base)?, run(&format!("{}({other})", term.name))?);
                apart +=
                    (a.total - b.total).abs() + a.gradient.iter().zip(&b.gradient).map(|(a, b)| (a - b).abs()).sum::<f64>();
            }
            ensure(apart > 1e-6, || format!("{}({other}) is the same as {base}", term.name))?;
        }
    }
    Ok(())
}

fn volumes(adapter: &dyn Adapter) -> Result<(), String> {
    let volume = input(&[2, 3, 2, 3, 4], 4);
    let flat = Input { shape: vec![2, 3, 24], ..volume.clone() };
    for (text, _) in PRESETS {
        close(
            adapter,
            text,
            &run(adapter, &loss(text)?, &volume, widest(adapter))?,
            &run(adapter, &loss(text)?, &flat, widest(adapter))?,
        )?;
    }
    Ok(())
}

fn half_epsilon(adapter: &dyn Adapter) -> Result<(), String> {
    // 1e-10 is 0 in f16, and class 2 is predicted nowhere.
    for dtype in [Dtype::F16, Dtype::Bf16].into_iter().filter(|dtype| adapter.supports(*dtype)) {
        let input = scene(&[&[9.0; 4], &[8.0; 4], &[-9000.0; 4]], &[0, 0, 1, 2]);
        let out = run(adapter, &loss("ce + kl + db + dice(form=log)")?, &input, dtype)?;
        let finite = out.total.is_finite() && out.gradient.iter().all(|g| g.is_finite());
        ensure(finite, || format!("{dtype}: {} {:?}", out.total, out.gradient))?;
    }
    Ok(())
}

fn focal_gamma_zero(adapter: &dyn Adapter) -> Result<(), String> {
    let input = input(&[2, 4, 10], 5);
    let focal = run(adapter, &loss("focal(gamma=0, activation=softmax)")?, &input, widest(adapter))?;
    close(adapter, "focal", &focal, &run(adapter, &loss("ce")?, &input, widest(adapter))?)
}

fn without_background(adapter: &dyn Adapter) -> Result<(), String> {
    // With two classes, leaving one out must leave the other's own value, not a constant.
    let input = input(&[1, 2, 10], 6);
    let only = |k: usize| total(adapter, &format!("dice(classes=[{k}])"), &input);
    equal(adapter, "the mean of both", (only(0)? + only(1)?) / 2.0, total(adapter, "dice", &input)?)?;
    let gradient = run(adapter, &loss("dice(classes=[1])")?, &input, widest(adapter))?.gradient;
    ensure(gradient.iter().any(|g| g.abs() > 1e-6), || "no gradient".to_owned())
}

fn one_activation(adapter: &dyn Adapter) -> Result<(), String> {
    let input = input(&[2, 3, 10], 7);
    for (whole, part) in [("ce + dice + l1 + log_recall", 0), ("focal(activation=model) + gdice(activation=model)", 1)] {
        for activation in [Activation::Softmax, Activation::Sigmoid] {
            let by_loss = run(adapter, &loss(whole)?.with_activation(activation), &input, widest(adapter))?;
            let spelled: Vec<String> = whole
                .split(" + ")
                .map(|term| format!("{}(activation={activation})", term.split('(').next().unwrap_or(term)))
                .collect();
            let by_term = run(adapter, &loss(&spelled.join(" + "))?, &input, widest(adapter))?;
            close(adapter, &format!("losses {part}, {activation}"), &by_loss, &by_term)?;
        }
    }
    Ok(())
}

fn other_class_counts(adapter: &dyn Adapter) -> Result<(), String> {
    let loss = loss("ce + focal + dice + l1 + gdice")?;
    let [three, five] = [3, 5].map(|classes| input(&[2, classes, 10], 8));
    let before = run(adapter, &loss, &three, widest(adapter))?;
    let (used, fresh) =
        (run(adapter, &loss, &five, widest(adapter))?, run(adapter, &self::loss(&loss.to_string())?, &five, widest(adapter))?);
    close(adapter, "five classes after three", &used, &fresh)?;
    close(adapter, "three classes again", &run(adapter, &loss, &three, widest(adapter))?, &before)
}

fn one_channel_gradient(adapter: &dyn Adapter) -> Result<(), String> {
    let input = input(&[2, 1, 10], 9);
    for (text, _) in PRESETS {
        let loss = loss(text)?.with_activation(Activation::Sigmoid);
        let gradient = run(adapter, &loss, &input, widest(adapter))?.gradient;
        ensure(gradient.iter().any(|g| g.abs() > 1e-6), || format!("{text} has none"))?;
    }
    Ok(())
}

fn perfect(adapter: &dyn Adapter) -> Result<(), String> {
    let fractions = ["focal(gamma=0.5)", "focal(gamma=0.5, activation=softmax)", "tversky(form=log)", "jaccard", "log_recall"];
    for text in PRESETS.iter().map(|(name, _)| *name).chain(fractions) {
        for dtype in Dtype::ALL.into_iter().filter(|dtype| adapter.supports(*dtype)) {
            let input = scene(&[&[100.0, 100.0, -100.0], &[-100.0, -100.0, 100.0]], &[0, 0, 1]);
            let out = run(adapter, &loss(text)?, &input, dtype)?;
            let finite = out.total.is_finite() && out.gradient.iter().all(|g| g.is_finite());
            ensure(finite, || format!("{text}, {dtype}: {} {:?}", out.total, out.gradient))?;
        }
    }
    Ok(())
}

fn generalised_dice_of_large_regions(adapter: &dyn Adapter) -> Result<(), String> {
    // A smoothing of 1 beside weights of 1/T² would make every large region score 1.
    let large = |z: f64| scene(&[&[-z; 4000], &[z; 4000]], &[0; 4000]);
    let wrong = total(adapter, "gdice(activation=softmax)", &large(20.0))?;
    let right = total(adapter, "gdice(activation=softmax)", &large(-20.0))?;
    ensure(wrong - right > 0.9, || format!("wrong everywhere costs {wrong}, right everywhere {right}"))
}

fn class_weights_of_binary(adapter: &dyn Adapter) -> Result<(), String> {
    // A weighted mean over channels; a weight on the positive side only would change one channel's
    // value.
    let input = input(&[2, 1, 10], 10);
    let sigmoid = |text: &str| run(adapter, &loss(text)?.with_activation(Activation::Sigmoid), &input, widest(adapter));
    close(adapter, "one channel", &sigmoid("ce(class_weights=[5])")?, &sigmoid("ce")?)
}

fn empty_class(adapter: &dyn Adapter) -> Result<(), String> {
    // Class 2 is neither there nor predicted.
    let input = scene(&[&[3.0; 4], &[1.0; 4], &[-2000.0; 4]], &[0, 1, 0, 1]);
    for text in [
        "dice",
        "dice(absent=count)",
        "dice(form=log, absent=count)",
        "jaccard(absent=count)",
        "tversky(absent=count)",
        "gdice",
    ] {
        let out = run(adapter, &loss(text)?, &input, widest(adapter))?;
        let finite = out.total.is_finite() && out.gradient.iter().all(|g| g.is_finite());
        ensure(finite, || format!("{text}: {} {:?}", out.total, out.gradient))?;
    }
    Ok(())
}

fn other_channels(adapter: &dyn Adapter) -> Result<(), String> {
    let mut wrong = input(&[1, 3, 4], 11);
    wrong.target = Target::Soft(vec![0.5; 8]);
    wrong.target_shape = Some(vec![1, 2, 4]);
    let text = "soft targets have shape [1, 2, 4], but logits of shape [1, 3, 4] need [1, 3, 4]";
    refused(adapter.value_and_gradient(&loss("dice")?, &wrong, Dtype::F32), text)
}

fn focal_channels(adapter: &dyn Adapter) -> Result<(), String> {
    // A channel more adds its own part and takes nothing from the others.
    let two = scene(&[&[1.0, -1.0], &[0.5, 0.25]], &[0, 1]);
    let three = scene(&[&[1.0, -1.0], &[0.5, 0.25], &[-900.0; 2]], &[0, 1]);
    equal(adapter, "focal", total(adapter, "focal", &three)?, total(adapter, "focal", &two)?)
}

fn valid_divisor(adapter: &dyn Adapter) -> Result<(), String> {
    let whole = input(&[1, 3, 6], 12);
    let pad = |values: &[f64]| values.chunks(6).flat_map(|row| [row, &[0.5; 9]].concat()).collect::<Vec<f64>>();
    let mut padded = Input { logits: pad(&whole.logits), ..input(&[1, 3, 15], 12) };
    *labels(&mut padded)? = [labels(&mut whole.clone())?.clone(), vec![255; 9]].concat();
    for text in ["ce", "ce(label_smoothing=0.1)", "ce(class_weights=[1, 2, 3])", "focal", "dice", "l1", "kl", "db"] {
        let loss = loss(text)?.with_ignore_index(255);
        let (a, b) =
            (run(adapter, &loss, &padded, widest(adapter))?.total, run(adapter, &loss, &whole, widest(adapter))?.total);
        equal(adapter, text, a, b)?;
    }
    Ok(())
}

fn absent_class(adapter: &dyn Adapter) -> Result<(), String> {
    // Class 2 is nowhere in the truth: the more of it is predicted, the worse, where absent classes
    // count.
    let predicted = |z: f64| scene(&[&[1.0; 6], &[1.0; 6], &[z; 6]], &[0, 0, 1, 1, 0, 1]);
    for form in ["linear", "log"] {
        let gradient = |absent: &str| {
            let text = format!("dice(classes=[2], form={form}, absent={absent}, smooth_numerator=1, smooth_denominator=1)");
            run(adapter, &loss(&text)?, &predicted(0.0), widest(adapter)).map(|out| out.gradient[12..].iter().sum::<f64>())
        };
        ensure(gradient("count")? > 1e-3, || format!("{form}: counted, but not pushed down"))?;
        ensure(gradient("zero")? == 0.0 && gradient("skip")? == 0.0, || format!("{form}: not counted, but pushed"))?;
    }
    Ok(())
}

fn half_sums(adapter: &dyn Adapter) -> Result<(), String> {
    // 65504 is the largest half; 512 × 512 ones are four times as many.
    let mut input = input(&[1, 1, 512, 512], 13);
    for (z, u) in input.logits.iter_mut().zip(numbers(512 * 512, 14)) {
        *z = if u < 0.5 { 2.0 } else { 3.0 };
    }
    let loss = loss("ce + dice + l1 + kl + gdice")?.with_activation(Activation::Sigmoid);
    let want = run(adapter, &loss, &input, widest(adapter))?.total;
    for dtype in [Dtype::F16, Dtype::Bf16].into_iter().filter(|dtype| adapter.supports(*dtype)) {
        let got = run(adapter, &loss, &input, dtype)?.total;
        ensure((got - want).abs() <= 1e-6 * want.abs(), || format!("{dtype}: {got}, not {want}"))?;
    }
    Ok(())
}

fn label_k_ignored(adapter: &dyn Adapter) -> Result<(), String> {
    // nnU-Net's ignore label is the number of classes.
    let mut next = input(&[2, 3, 10], 15);
    let mut far = next.clone();
    for i in [1, 8, 14] {
        labels(&mut next)?[i] = 3;
        labels(&mut far)?[i] = 255;
    }
    for (text, _) in PRESETS {
        let by = |label, input| run(adapter, &loss(text)?.with_ignore_index(label), input, widest(adapter));
        close(adapter, text, &by(3, &next)?, &by(255, &far)?)?;
    }
    Ok(())
}

fn binary_scale(adapter: &dyn Adapter) -> Result<(), String> {
    // Three channels of the same numbers: the mean over channels is one channel's, with and without
    // ignored pixels.
    let row = [0.5, -1.0, 2.0, 0.25];
    let weights = Some(vec![1.0, 0.0, 1.0, 1.0]);
    let channels = |count: usize| Input {
        target: Target::Soft([1.0, 0.0, 0.0, 1.0].repeat(count)),
        weights: weights.clone(),
        ..scene(&vec![&row[..]; count], &[0; 4])
    };
    let sigmoid =
        |input| run(adapter, &loss("ce")?.with_activation(Activation::Sigmoid), input, widest(adapter)).map(|out| out.total);
    equal(adapter, "three channels", sigmoid(&channels(3))?, sigmoid(&channels(1))?)
}

fn range(adapter: &dyn Adapter) -> Result<(), String> {
    for text in ["dice", "dice(squared=true)", "jaccard", "tversky(alpha=0.3, beta=0.7)", "gdice", "gdice(weighting=simple)"] {
        for (seed, factor) in [(16, 0.1), (17, 1.0), (18, 10.0), (19, 1000.0)] {
            let mut input = input(&[2, 3, 10], seed);
            input.logits.iter_mut().for_each(|z| *z *= factor);
            let got = total(adapter, text, &input)?;
            ensure((0.0..=1.0).contains(&got), || format!("{text}: {got}"))?;
        }
    }
    Ok(())
}

fn terms_reach_the_total(adapter: &dyn Adapter) -> Result<(), String> {
    let input = input(&[2, 3, 10], 20);
    for term in catalogue().into_iter().filter(|term| takes(adapter, term.name)) {
        let alone = run(adapter, &loss(term.name)?, &input, widest(adapter))?;
        let both = run(adapter, &loss(&format!("ce + 0.5 * {}", term.name))?, &input, widest(adapter))?;
        let ce = run(adapter, &loss("ce")?, &input, widest(adapter))?;
        equal(adapter, term.name, both.total, ce.total + 0.5 * alone.total)?;
        let gradient = ce.gradient.iter().zip(&alone.gradient).map(|(a, b)| a + 0.5 * b).collect();
        close(adapter, term.name, &crate::Output { gradient, ..both.clone() }, &both)?;
        ensure(alone.gradient.iter().any(|g| g.abs() > 1e-8), || format!("{} has no gradient", term.name))?;
    }
    Ok(())
}

fn absent_in_generalised_dice(adapter: &dyn Adapter) -> Result<(), String> {
    // Classes 0 and 1 predicted perfectly; class 2 is absent and has a little mass. Its weight is
    // the largest there is (1/1e-7).
    let input = scene(&[&[30.0, 30.0, -30.0, -30.0], &[-30.0, -30.0, 30.0, 30.0], &[-30.0; 4]], &[0, 0, 1, 1]);
    let got = total(adapter, "gdice(activation=softmax)", &input)?;
    ensure((0.0..0.01).contains(&got), || format!("{got} for a perfect prediction"))
}

fn generalised_dice_by_hand(adapter: &dyn Adapter) -> Result<(), String> {
    // p = (0.8, 0.8, 0.8, 0.2) of class 0; T = 3 and 1. A mean of per-class Dice with the same
    // weights would be another number.
    let z = 4.0f64.ln();
    let input = scene(&[&[z, z, z, 0.0], &[0.0, 0.0, 0.0, z]], &[0, 0, 0, 1]);
    let (w0, w1) = (1.0 / 9.0, 1.0);
    let want = 1.0 - 2.0 * (w0 * 2.4 + w1 * 0.8) / (w0 * (2.6 + 3.0) + w1 * (1.4 + 1.0));
    equal(adapter, "GDice", total(adapter, "gdice(activation=softmax)", &input)?, want)
}

fn independent_channels(adapter: &dyn Adapter) -> Result<(), String> {
    // Two channels, both true everywhere and both predicted: nothing to pay.
    let mut input = scene(&[&[40.0; 3], &[40.0; 3]], &[0; 3]);
    input.target = Target::Soft(vec![1.0; 6]);
    for text in ["ce", "dice", "l1", "kl", "jaccard"] {
        let got = run(adapter, &loss(text)?.with_activation(Activation::Sigmoid), &input, widest(adapter))?.total;
        ensure(got.abs() < slack(adapter), || format!("{text}: {got}"))?;
    }
    Ok(())
}

fn dice_ignores(adapter: &dyn Adapter) -> Result<(), String> {
    // The ignored pixels alone are predicted wrong.
    let input = scene(&[&[30.0, -30.0, 30.0, 30.0], &[-30.0, 30.0, -30.0, -30.0]], &[0, 1, 255, 255]);
    for text in ["dice", "jaccard", "tversky", "gdice"] {
        let got = run(adapter, &loss(text)?.with_ignore_index(255), &input, widest(adapter))?.total;
        ensure(got.abs() < 1e-9, || format!("{text}: {got}"))?;
    }
    Ok(())
}

fn smoothing_by_width(adapter: &dyn Adapter) -> Result<(), String> {
    let wide = input(&[1, 1, 2, 128], 21);
    let tall = Input { shape: vec![1, 1, 128, 2], ..wide.clone() };
    let loss = loss("ce(label_smoothing=0.1)")?.with_activation(Activation::Sigmoid);
    close(adapter, "transposed", &run(adapter, &loss, &wide, widest(adapter))?, &run(adapter, &loss, &tall, widest(adapter))?)?;
    // Half of the smoothing goes to each side of a channel.
    let one = scene(&[&[2.0]], &[1]);
    let (inside, outside) = ((-2.0f64).exp().ln_1p(), 2.0f64.exp().ln_1p());
    equal(adapter, "by hand", run(adapter, &loss, &one, widest(adapter))?.total, 0.95 * inside + 0.05 * outside)
}

fn smoothing_saturated(adapter: &dyn Adapter) -> Result<(), String> {
    let mut input = input(&[1, 3, 4], 22);
    for (i, pixel) in pixels(&input).into_iter().enumerate() {
        for k in 0..3 {
            let at = logit_at(&input, pixel, k);
            input.logits[at] = if k == i % 3 { 1e4 } else { -1e4 };
        }
    }
    for dtype in Dtype::ALL.into_iter().filter(|dtype| adapter.supports(*dtype)) {
        let loss: Loss = loss("ce(label_smoothing=0.1)")?;
        let out = run(adapter, &loss, &input, dtype)?;
        let finite = out.total.is_finite() && out.gradient.iter().all(|g| g.is_finite());
        ensure(finite && out.total > 1000.0, || format!("{dtype}: {} {:?}", out.total, out.gradient))?;
    }
    Ok(())
}
