//! Targets as they come: axes, types, one-hot integers, and what soft targets add up to.

use loss_core::backend::ignored_classes;
use loss_core::{Activation, Loss, LossError, PRESETS};

use super::MIXED;
use crate::check::{Check, close, labels, logit_at, loss, pixels, refused, run, same, widest};
use crate::inputs::input;
use crate::oracle::Target;
use crate::{Adapter, Dtype, Input, Labels, Shares};

/// All rows.
pub(crate) const CHECKS: &[Check] = &[
    ("a_channel_axis_of_length_one_changes_nothing", channel_axis),
    ("soft_targets_of_one_channel_may_leave_out_its_axis", one_channel),
    ("integers_of_one_channel_are_labels", integers_of_one_channel),
    ("label_types_do_not_matter", label_types),
    ("a_label_that_no_signed_type_holds_is_refused_and_never_another", unsigned_overflow),
    ("integers_of_the_logits_shape_are_one_hot", one_hot),
    ("integers_of_sigmoid_channels_may_be_several_hot", several_hot),
    ("an_ignored_class_is_left_out_of_one_hot_integers_too", ignored_one_hot),
    ("distances_are_those_of_one_hot_integers_too", distances_of_one_hot),
    ("integers_that_are_not_one_hot_are_refused_with_the_way_out", not_one_hot),
    ("soft_targets_that_miss_one_by_rounding_are_accepted", rounded),
    ("soft_targets_that_do_not_add_up_are_refused_with_the_way_out", sums),
    ("soft_targets_of_half_precision_may_miss_by_more", half),
    ("pixels_without_weight_need_not_add_up", exempt),
    ("the_losses_activation_says_whether_classes_exclude_each_other", activation_of_a_term),
];

fn with_channel(shape: &[usize]) -> Vec<usize> {
    shape.iter().enumerate().map(|(axis, &length)| if axis == 1 { 1 } else { length }).collect()
}

/// The labels of an input as integers of its logits' shape.
fn hot(input: &Input) -> Result<Input, String> {
    let mut hot = vec![0; input.logits.len()];
    let mut own = input.clone();
    for (i, pixel) in pixels(input).into_iter().enumerate() {
        hot[logit_at(input, pixel, labels(&mut own)?[i] as usize)] = 1;
    }
    Ok(Input { target: Target::Labels(hot), target_shape: Some(input.shape.clone()), ..input.clone() })
}

fn softened(shape: &[usize], shares: &[f64]) -> Input {
    Input { target: Target::Soft(shares.to_vec()), ..input(shape, 60) }
}

/// What a backend that checks values says; another looks at none.
fn refuses(adapter: &dyn Adapter, loss: &Loss, input: &Input, text: &str) -> Result<(), String> {
    if adapter.checks_values() { refused(adapter.value_and_gradient(loss, input, Dtype::F32), text) } else { Ok(()) }
}

fn channel_axis(adapter: &dyn Adapter) -> Result<(), String> {
    // No spatial axis, one, of length 1, and as long as there are samples and classes.
    for (i, shape) in [&[4, 3][..], &[2, 3, 7], &[2, 3, 1], &[3, 3, 3], &[2, 3, 4, 5], &[2, 3, 2, 3, 4]].iter().enumerate() {
        let mut plain = input(shape, 61 + i as u64);
        let weights = (0..pixels(&plain).len()).map(|i| (i % 4) as f64 / 2.0).collect();
        plain.weights = Some(weights);
        let want = run(adapter, &loss(MIXED)?, &plain, Dtype::F32)?;
        let axis = with_channel(shape);
        let labels = Input { target_shape: Some(axis.clone()), ..plain.clone() };
        let weights = Input { weights_shape: Some(axis.clone()), ..plain.clone() };
        let both = Input { weights_shape: Some(axis), ..labels.clone() };
        for (what, input) in [("labels", labels), ("weights", weights), ("both", both)] {
            same(&format!("{what} of {shape:?}"), &run(adapter, &loss(MIXED)?, &input, Dtype::F32)?, &want)?;
            let strided = Input { strided: true, ..input };
            same(&format!("{what} of {shape:?}, strided"), &run(adapter, &loss(MIXED)?, &strided, Dtype::F32)?, &want)?;
        }
    }
    let mut wrong = input(&[2, 3, 4, 2], 68);
    wrong.weights = Some(vec![1.0; 16]);
    wrong.weights_shape = Some(vec![2, 4, 2, 1]);
    let result = adapter.value_and_gradient(&loss("ce")?, &wrong, Dtype::F32);
    match result {
        Err(LossError::ShapeMismatch { got, expected, .. }) if got == [2, 4, 2, 1] && expected == [2, 4, 2] => Ok(()),
        other => Err(format!("weights with their channel axis last: {other:?}")),
    }
}

fn one_channel(adapter: &dyn Adapter) -> Result<(), String> {
    let loss = loss(MIXED)?.with_activation(Activation::Sigmoid);
    for shape in [&[3, 1][..], &[2, 1, 6], &[2, 1, 3, 4]] {
        let count: usize = shape.iter().product();
        let soft = softened(shape, &(0..count).map(|i| (i % 5) as f64 / 4.0).collect::<Vec<_>>());
        let want = run(adapter, &loss, &soft, Dtype::F32)?;
        let without = Input { target_shape: Some(soft.pixel_shape()), ..soft };
        same(&format!("{shape:?}"), &run(adapter, &loss, &without, Dtype::F32)?, &want)?;
    }
    Ok(())
}

fn integers_of_one_channel(adapter: &dyn Adapter) -> Result<(), String> {
    let loss = loss(MIXED)?.with_activation(Activation::Sigmoid).with_ignore_index(255);
    let mut plain = input(&[2, 1, 3, 4], 69);
    labels(&mut plain)?[5] = 255;
    let want = run(adapter, &loss, &plain, Dtype::F32)?;
    let of_shape = Input { target_shape: Some(plain.shape.clone()), ..plain };
    same("of the logits' shape", &run(adapter, &loss, &of_shape, Dtype::F32)?, &want)
}

fn label_types(adapter: &dyn Adapter) -> Result<(), String> {
    let (loss, mixed) = (loss(MIXED)?.with_ignore_index(100), input(&[2, 3, 4, 3], 3));
    let mut several = mixed.clone();
    labels(&mut several)?[3] = 100;
    let mut two = mixed;
    labels(&mut two)?.iter_mut().for_each(|label| *label %= 2);
    for (input, types) in [(several, &Labels::ALL[1..]), (two, &Labels::ALL[..])] {
        let want = run(adapter, &loss, &input, Dtype::F32)?;
        for &kind in types.iter().filter(|&&kind| adapter.reads_labels(kind)) {
            for strided in [false, true] {
                let input = Input { labels: kind, strided, ..input.clone() };
                same(&format!("{kind:?}"), &run(adapter, &loss, &input, Dtype::F32)?, &want)?;
            }
        }
    }
    Ok(())
}

fn unsigned_overflow(adapter: &dyn Adapter) -> Result<(), String> {
    // As a number with a sign it would be −1, which is ignored, or 1, which is a class.
    let ignoring = loss("ce")?.with_ignore_index(-1);
    for (kind, label, number) in [
        (Labels::U64, -1, "18446744073709551615"),
        (Labels::U64, i64::MIN + 1, "9223372036854775809"),
        (Labels::U32, -1, "4294967295"),
        (Labels::U16, -1, "65535"),
    ] {
        if !adapter.reads_labels(kind) {
            continue;
        }
        let plain = Input { labels: kind, ..input(&[2, 3, 2, 2], 16) };
        let mut bad = plain.clone();
        labels(&mut bad)?[5] = label;
        let result = adapter.value_and_gradient(&ignoring, &bad, Dtype::F32);
        let at = "at [1, 0, 1] is outside";
        match result {
            Err(error) if adapter.checks_values() => {
                let value: f64 = number.parse().map_err(|_| "a number of the check's own")?;
                let named = match &error {
                    LossError::LabelOutOfRange { label, .. } => *label as f64 == value,
                    LossError::ValueOutOfRange { value: got, .. } => *got == value,
                    _ => false,
                };
                if !named || !error.to_string().contains(at) {
                    return Err(format!("{number} of {kind:?}: says `{error}`"));
                }
            }
            // It is of no class, and counts.
            Ok(out) if !adapter.checks_values() => {
                let mut ignored = Input { labels: Labels::I64, ..plain.clone() };
                labels(&mut ignored)?[5] = -1;
                if out.total.to_bits() == run(adapter, &ignoring, &ignored, Dtype::F32)?.total.to_bits() {
                    return Err(format!("{number} of {kind:?} is taken for an ignored label"));
                }
            }
            other => return Err(format!("{number} of {kind:?}: {other:?}")),
        }
    }
    Ok(())
}

fn one_hot(adapter: &dyn Adapter) -> Result<(), String> {
    for (text, _) in PRESETS {
        let plain = input(&[2, 3, 10], 70);
        let want = run(adapter, &loss(text)?, &plain, widest(adapter))?;
        let hot = hot(&plain)?;
        for kind in [Labels::Bool, Labels::U8, Labels::I8, Labels::U64, Labels::I64] {
            if adapter.reads_labels(kind) {
                let got = run(adapter, &loss(text)?, &Input { labels: kind, ..hot.clone() }, widest(adapter))?;
                close(adapter, &format!("{text}, {kind:?}"), &got, &want)?;
            }
        }
    }
    // No spatial axis, two, and strides.
    for shape in [&[5, 4][..], &[2, 3, 3, 3]] {
        let plain = input(shape, 71);
        let want = run(adapter, &loss(MIXED)?, &plain, widest(adapter))?;
        for strided in [false, true] {
            let hot = Input { strided, ..hot(&plain)? };
            close(adapter, &format!("{shape:?}"), &run(adapter, &loss(MIXED)?, &hot, widest(adapter))?, &want)?;
        }
    }
    Ok(())
}

fn several_hot(adapter: &dyn Adapter) -> Result<(), String> {
    let loss = loss(MIXED)?.with_activation(Activation::Sigmoid);
    let soft = softened(&[2, 3, 5], &(0..30).map(|i| f64::from(u8::from(i % 7 < 3))).collect::<Vec<_>>());
    let Target::Soft(shares) = &soft.target else { return Err("not soft".to_owned()) };
    let integers = Target::Labels(shares.iter().map(|&share| share as i64).collect());
    let hot = Input { target: integers, target_shape: Some(soft.shape.clone()), ..soft.clone() };
    close(adapter, "integers", &run(adapter, &loss, &hot, widest(adapter))?, &run(adapter, &loss, &soft, widest(adapter))?)
}

fn ignored_one_hot(adapter: &dyn Adapter) -> Result<(), String> {
    for activation in [Activation::Softmax, Activation::Sigmoid] {
        for class in 0..3 {
            let mut plain = input(&[2, 3, 10], 72);
            let at: Vec<usize> = labels(&mut plain)?.iter().enumerate().filter(|(_, l)| **l == class).map(|(i, _)| i).collect();
            for pixel in at.into_iter().map(|i| (i / 10, i % 10)) {
                let channels = [0, 1, 2].map(|k| logit_at(&plain, pixel, k));
                channels.into_iter().for_each(|at| plain.logits[at] = f64::NAN);
            }
            let loss = loss(MIXED)?.with_activation(activation).with_ignore_index(class).with_ignore_index(255);
            if ignored_classes(loss.ignored(), 3).count() != 1 {
                return Err("255 is no class".to_owned());
            }
            for weights in [None, Some((0..20).map(|i| (i % 3) as f64).collect())] {
                let plain = Input { weights, ..plain.clone() };
                let want = run(adapter, &loss, &plain, widest(adapter))?;
                let got = run(adapter, &loss, &hot(&plain)?, widest(adapter))?;
                close(adapter, &format!("{activation}, class {class}"), &got, &want)?;
            }
        }
    }
    Ok(())
}

fn distances_of_one_hot(adapter: &dyn Adapter) -> Result<(), String> {
    if !adapter.reads_maps() {
        return Ok(());
    }
    let plain = input(&[2, 3, 4, 5], 73);
    let text = "boundary + topk";
    let want = run(adapter, &loss(text)?, &plain, widest(adapter))?;
    close(adapter, text, &run(adapter, &loss(text)?, &hot(&plain)?, widest(adapter))?, &want)
}

fn not_one_hot(adapter: &dyn Adapter) -> Result<(), String> {
    let plain = input(&[2, 3, 2, 2], 74);
    let way_out = "is outside 0 and 1, as which integers of the logits' shape are read: for class indices leave out the class axis, \
                   for shares use floats, and to leave out a pixel give it the weight 0";
    for (value, kind) in [(2, Labels::U8), (255, Labels::U8), (-1, Labels::I64), (1 << 40, Labels::I64)] {
        let mut bad = Input { labels: kind, ..hot(&plain)? };
        labels(&mut bad)?[17] = value;
        refuses(adapter, &loss("ce")?, &bad, &format!("one-hot target {value} at [1, 1, 0, 1] {way_out}"))?;
    }
    for (share, sum) in [(1, 2), (0, 0)] {
        let mut bad = hot(&plain)?;
        let own = labels(&mut bad)?;
        (0..3).for_each(|k| own[12 + 4 * k + 1] = 0);
        own[13] = share;
        own[17] = share;
        let text = format!(
            "one-hot targets at the pixel [1, 0, 1] add up to {sum} over the classes, where a softmax loss needs 1: move the class \
             axis to the second place, [N, K, *spatial], if it is at another; divide them by their sum; or, where classes \
             overlap, use activation=sigmoid"
        );
        refuses(adapter, &loss("ce")?, &bad, &text)?;
    }
    Ok(())
}

fn rounded(adapter: &dyn Adapter) -> Result<(), String> {
    let exact = softened(&[1, 2, 3], &[1.0, 0.25, 0.0, 0.0, 0.75, 1.0]);
    let off = softened(&[1, 2, 3], &[1.0 + 6e-8, 0.25 + 9e-4, -1e-9, 1e-9, 0.75, 1.0 - 6e-8]);
    for text in ["ce + dice(squared=true) + l1", "kl", "gdice", "focal(activation=softmax)"] {
        let loss = loss(text)?;
        let (got, want) = (run(adapter, &loss, &off, widest(adapter))?, run(adapter, &loss, &exact, widest(adapter))?);
        if (got.total - want.total).abs() > 1e-2 * want.total.abs() {
            return Err(format!("{text}: {}, and {} of exact shares", got.total, want.total));
        }
    }
    Ok(())
}

fn sums(adapter: &dyn Adapter) -> Result<(), String> {
    let mut shares = vec![0.5; 2 * 2 * 6];
    let text = |sum: &str, position: &str| {
        format!(
            "soft targets at the pixel {position} add up to {sum} over the classes, where a softmax loss needs 1: move the class \
             axis to the second place, [N, K, *spatial], if it is at another; divide them by their sum; or, where classes \
             overlap, use activation=sigmoid"
        )
    };
    for (value, sum) in [(0.502, "1.002"), (0.498, "0.998"), (1.0, "1.5"), (0.0, "0.5")] {
        shares[12 + 6 + 4] = value;
        let bad = softened(&[2, 2, 2, 3], &shares);
        refuses(adapter, &loss("ce + dice")?, &bad, &text(sum, "[1, 1, 1]"))?;
        // Under sigmoid each channel is a problem of its own.
        run(adapter, &loss("ce + dice")?.with_activation(Activation::Sigmoid), &bad, Dtype::F32)?;
    }
    // The first of several, whatever the pixels before hold.
    let bad = softened(&[1, 2, 3], &[1.0, 0.5, 0.0, 0.0, 0.25, 0.25]);
    refuses(adapter, &loss("ce")?, &bad, &text("0.75", "[0, 1]"))
}

fn half(adapter: &dyn Adapter) -> Result<(), String> {
    for shares in [Shares::F16, Shares::Bf16].into_iter().filter(|shares| adapter.reads_shares(*shares)) {
        let soft = |first: f64| Input { shares, ..softened(&[1, 2, 1], &[first, 0.25]) };
        // Exact in both: 0.7578125 = 97/128.
        run(adapter, &loss("ce + dice")?, &soft(0.757_812_5), Dtype::F32)?;
        let text = "soft targets at the pixel [0, 0] add up to 1.015625 over the classes, where a softmax loss needs 1: move the \
                    class axis to the second place, [N, K, *spatial], if it is at another; divide them by their sum; or, where \
                    classes overlap, use activation=sigmoid";
        refuses(adapter, &loss("ce + dice")?, &soft(0.765_625), text)?;
    }
    Ok(())
}

fn exempt(adapter: &dyn Adapter) -> Result<(), String> {
    let weights = Some(vec![1.0, 0.0, 2.0]);
    let good = Input { weights: weights.clone(), ..softened(&[1, 2, 3], &[1.0, 0.5, 0.0, 0.0, 0.5, 1.0]) };
    let want = run(adapter, &loss(MIXED)?, &good, widest(adapter))?;
    for (a, b) in [(0.0, 0.0), (1.0, 1.0), (7.0, f64::NAN)] {
        let odd = Input { weights: weights.clone(), ..softened(&[1, 2, 3], &[1.0, a, 0.0, 0.0, b, 1.0]) };
        same(&format!("{a} and {b}"), &run(adapter, &loss(MIXED)?, &odd, widest(adapter))?, &want)?;
    }
    Ok(())
}

fn activation_of_a_term(adapter: &dyn Adapter) -> Result<(), String> {
    let several = softened(&[1, 2, 2], &[1.0, 0.0, 1.0, 0.0]);
    // A term of sigmoids in a softmax loss, and of a softmax in a sigmoid loss.
    let text = "soft targets at the pixel [0, 0] add up to 2 over the classes, where a softmax loss needs 1: move the class axis to \
                the second place, [N, K, *spatial], if it is at another; divide them by their sum; or, where classes overlap, \
                use activation=sigmoid";
    refuses(adapter, &loss("focal")?, &several, text)?;
    let sigmoid = loss("focal + ce(activation=softmax)");
    run(adapter, &sigmoid?.with_activation(Activation::Sigmoid), &several, Dtype::F32).map(|_| ())
}
