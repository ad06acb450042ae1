//! What an evaluation has to tell beside its numbers.

use loss_core::{Activation, Argument, Loss, LossError, Note};

use crate::check::{Check, labels, loss, widest};
use crate::inputs::input;
use crate::oracle::Target;
use crate::{Adapter, Dtype, Input, InputMap};

/// All rows.
pub(crate) const CHECKS: &[Check] = &[
    ("pixels_that_do_not_count_are_told", ignored),
    ("a_class_without_a_true_pixel_is_told", absent),
    ("a_label_to_ignore_in_soft_targets_is_told", soft),
    ("an_activation_of_a_terms_own_is_told", activation),
    ("an_option_without_effect_is_told", idle),
    ("what_is_given_and_not_read_is_told", unread),
    ("gradients_that_vanish_in_half_precision_are_told", vanishing),
];

fn notes(adapter: &dyn Adapter, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Vec<Note>, String> {
    let evaluation = adapter.evaluate(loss, input, dtype).map_err(|error: LossError| error.to_string())?;
    Ok(evaluation.notes)
}

/// Compares the notes of a loss on an input.
fn told(adapter: &dyn Adapter, loss: &Loss, input: &Input, want: &[Note]) -> Result<(), String> {
    let got = notes(adapter, loss, input, widest(adapter))?;
    if got == want { Ok(()) } else { Err(format!("{loss} tells {got:?}, not {want:?}")) }
}

/// Two samples of ten pixels, with every class in each.
fn full() -> Result<Input, String> {
    let mut input = input(&[2, 3, 10], 71);
    *labels(&mut input)? = (0..20).map(|i| i % 3).collect();
    Ok(input)
}

fn ignored(adapter: &dyn Adapter) -> Result<(), String> {
    let loss = loss("ce")?.with_ignore_index(255);
    let note = |ignored| [Note::IgnoredPixels { ignored, pixels: 20 }];
    let mut input = full()?;
    told(adapter, &loss, &input, &[])?;
    let labels_of = |input: &mut Input, places: std::ops::Range<usize>| labels(input).map(|labels| labels[places].fill(255));
    labels_of(&mut input, 3..6)?;
    told(adapter, &loss, &input, &note(3))?;
    // By weights, small and large ones, on pixels of which some are ignored.
    let weights = (0..20).map(|i| if i < 4 { 0.0 } else { 0.125 * i as f64 }).collect();
    told(adapter, &loss, &Input { weights: Some(weights), ..input.clone() }, &note(6))?;
    labels_of(&mut input, 0..20)?;
    told(adapter, &loss, &input, &note(20))
}

fn absent(adapter: &dyn Adapter) -> Result<(), String> {
    let mut input = full()?;
    labels(&mut input)?.iter_mut().for_each(|label| *label = 0);
    for activation in [Activation::Softmax, Activation::Sigmoid] {
        let loss = loss("ce")?.with_activation(activation);
        told(adapter, &loss, &input, &[Note::AbsentClasses { classes: vec![1, 2], activation }])?;
    }
    // A class that is ignored has no pixel that counts.
    let (ignored, pixels) = (20, 20);
    told(adapter, &loss("ce")?.with_ignore_index(0), &input, &[Note::IgnoredPixels { ignored, pixels }])?;
    labels(&mut input)?[7] = 1;
    let classes = Note::AbsentClasses { classes: vec![0, 2], activation: Activation::Softmax };
    told(adapter, &loss("ce")?.with_ignore_index(0), &input, &[Note::IgnoredPixels { ignored: 19, pixels }, classes])
}

fn soft(adapter: &dyn Adapter) -> Result<(), String> {
    let input = Input { target: Target::Soft([0.5, 0.25, 0.25].repeat(2).iter().flat_map(|y| [*y; 10]).collect()), ..full()? };
    told(adapter, &loss("ce")?, &input, &[])?;
    let loss = loss("ce")?.with_ignore_index(1).with_ignore_index(255);
    told(adapter, &loss, &input, &[Note::IgnoreOnSoftTargets { labels: vec![1, 255] }])
}

fn activation(adapter: &dyn Adapter) -> Result<(), String> {
    let note = |term: &str, activation, loss| Note::OtherActivation { term: term.into(), activation, loss };
    let (softmax, sigmoid) = (Activation::Softmax, Activation::Sigmoid);
    let text = loss("ce + focal + dice(activation=softmax) + gdice + focal(gamma=1)")?;
    told(adapter, &text, &full()?, &[note("focal", sigmoid, softmax), note("gdice", sigmoid, softmax)])?;
    told(adapter, &text.with_activation(sigmoid), &full()?, &[note("dice", softmax, sigmoid)])
}

fn idle(adapter: &dyn Adapter) -> Result<(), String> {
    let text = loss("kl(background=false)")?;
    told(adapter, &text, &full()?, &[Note::IdleOptions { term: "kl".into(), options: vec!["background".into()] }])?;
    told(adapter, &text.with_activation(Activation::Sigmoid), &full()?, &[])
}

fn unread(adapter: &dyn Adapter) -> Result<(), String> {
    let unread = |what, name: Option<&str>| Note::Unread { what, name: name.map(str::to_owned) };
    let given = Input { prior: Some([0.2, 0.3, 0.5].repeat(2)), spacing: Some(vec![2.0]), ..full()? };
    // The tiles of a volume take their prior from elsewhere, and no map where there are none.
    let both = [unread(Argument::Spacing, None), unread(Argument::Prior, None)];
    told(adapter, &loss("ce")?, &given, &both)?;
    told(adapter, &loss("ce + l1(target=given)")?, &given, &both[..1])?;
    if !adapter.reads_maps() {
        return Ok(());
    }
    told(adapter, &loss("ce + boundary")?, &given, &both[1..])?;
    let map = InputMap { name: "signed_distances", channels: 1, values: vec![1.0; 20] };
    let mapped = Input { maps: vec![map], prior: None, ..given };
    // Read in place of a derived one, which alone would have looked at the spacing.
    told(adapter, &loss("ce + boundary")?, &mapped, &both[..1])?;
    told(adapter, &loss("ce")?, &mapped, &[unread(Argument::Map, Some("signed_distances")), both[0].clone()])
}

fn vanishing(adapter: &dyn Adapter) -> Result<(), String> {
    // 16 pixels with a weight of 2⁻²⁰ are, to each of them, 2²⁴ pixels: a gradient is at
    // most 2⁻²⁴, and rounds to 0 from |p − y| = ½ on.
    let weight = 1.0 / f64::from(1 << 20);
    let mut input = input(&[1, 2, 16], 72);
    *labels(&mut input)? = (0..16).map(|i| i % 2).collect();
    let tiny = weight * loss("ce")?;
    let note = |terms: &[&str]| Note::VanishingGradients {
        terms: terms.iter().map(|&term| term.into()).collect(),
        largest: weight / 16.0,
        error: 0.5,
        factor: 65536.0,
    };
    for dtype in Dtype::ALL.into_iter().filter(|&dtype| adapter.supports(dtype)) {
        for (loss, want) in [
            (tiny.clone(), vec![note(&["ce"])]),
            // The factor that it asks for mends it.
            (65536.0 * tiny.clone(), vec![]),
            // Each term for itself.
            (tiny.clone() + loss("dice")?, vec![note(&["ce"])]),
        ] {
            let want = if dtype == Dtype::F16 { want } else { Vec::new() };
            let got = notes(adapter, &loss, &input, dtype)?;
            if got != want {
                return Err(format!("{loss} in {dtype} tells {got:?}, not {want:?}"));
            }
        }
    }
    Ok(())
}
