//! The suite, tested: faults planted in a backend, each caught by a case that names what is wrong.

use conformance_tests::adapters::Ndarray;
use conformance_tests::oracle::Target;
use conformance_tests::{Adapter, Dtype, Input, InputMap, Output, suite};
use loss_core::{Evaluation, Loss, LossError};

/// `backend-ndarray` with a fault: in what it is asked, or in what it answers.
#[derive(Clone, Copy)]
struct Faulty {
    ask: fn(Loss, Input) -> (Loss, Input),
    answer: fn(&Loss, &Input, &mut Output),
    /// What becomes of each map.
    map: Option<fn(&mut InputMap)>,
    /// Whether refusals are swallowed.
    lenient: bool,
}

impl Adapter for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn value_and_gradient(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Output, LossError> {
        let (asked, mut given) = (self.ask)(loss.clone(), input.clone());
        self.map.into_iter().for_each(|change| given.maps.iter_mut().for_each(change));
        let mut output = match Ndarray.value_and_gradient(&asked, &given, dtype) {
            Err(_) if self.lenient => Output { total: 0.0, terms: Vec::new(), gradient: vec![0.0; input.logits.len()] },
            other => other?,
        };
        (self.answer)(loss, input, &mut output);
        Ok(output)
    }

    fn evaluate(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Evaluation, LossError> {
        Ndarray.evaluate(loss, input, dtype)
    }
}

const NONE: Faulty = Faulty { ask: |loss, input| (loss, input), answer: |_, _, _| {}, map: None, lenient: false };

const fn answers(answer: fn(&Loss, &Input, &mut Output)) -> Faulty {
    Faulty { answer, ..NONE }
}

const fn asks(ask: fn(Loss, Input) -> (Loss, Input)) -> Faulty {
    Faulty { ask, ..NONE }
}

/// The loss with its text changed, and all else kept.
fn rewritten(loss: &Loss, from: &str, to: &str) -> Loss {
    let fresh: Loss = loss.to_string().replace(from, to).parse().expect("text that reads");
    assert_ne!(&fresh, loss, "the fault changes something");
    fresh
}

/// Other maps than those given.
const fn maps(change: fn(&mut InputMap)) -> Faulty {
    Faulty { map: Some(change), ..NONE }
}

/// Labels 255 as another label, and not ignored any more.
fn counted(loss: Loss, mut input: Input) -> (Loss, Input) {
    if let Target::Labels(labels) = &mut input.target {
        labels.iter_mut().filter(|label| **label == 255).for_each(|label| *label = 0);
    }
    input.logits.iter_mut().filter(|z| !z.is_finite()).for_each(|z| *z = 0.0);
    (loss, input)
}

/// Cross-Entropy summed up in `f32`, in place of the kernels' `f64`.
fn narrow_sums(_: &Loss, input: &Input, output: &mut Output) {
    let [_, classes, pixels] = input.lengths();
    let Target::Labels(labels) = &input.target else { return };
    let mut sum = 0.0f32;
    for (s, &label) in labels.iter().enumerate() {
        let z = |k: usize| input.logits[k * pixels + s];
        let total: f64 = (0..classes).map(|k| z(k).exp()).sum();
        sum += (total.ln() - z(label as usize)) as f32;
    }
    let narrow = f64::from(sum / pixels as f32);
    output.total += narrow - output.terms[0][0];
    output.terms[0][0] = narrow;
}

/// A fault, and the test that must catch it.
const FAULTS: &[(&str, Faulty, &str)] = &[
    ("a gradient with the wrong sign", answers(|_, _, o| o.gradient.iter_mut().for_each(|g| *g = -*g)), "CE/softmax/2d/f64"),
    ("a gradient twice as large", answers(|_, _, o| o.gradient.iter_mut().for_each(|g| *g *= 2.0)), "Dice/softmax/2d/f64"),
    (
        "a gradient off by one part in 10⁵",
        answers(|_, _, o| o.gradient.iter_mut().for_each(|g| *g *= 1.00001)),
        "CE/softmax/2d/f32",
    ),
    ("a gradient that is shifted by a pixel", answers(|_, _, o| o.gradient.rotate_left(1)), "CE/softmax/2d/f64"),
    ("a NaN in one place of the gradient", answers(|_, _, o| o.gradient[7] = f64::NAN), "CE/softmax/2d/f64"),
    ("a NaN total", answers(|_, _, o| o.total = f64::NAN), "CE/softmax/2d/f64"),
    (
        "a total without its weights",
        answers(|_, _, o| o.total = o.terms.iter().map(|t| t[0]).sum()),
        "ce + 0.5 * dice - 0.25 * kl(temperature=1)/softmax/2d/f64",
    ),
    ("matching and size exchanged", answers(|_, _, o| o.terms[0].swap(1, 2)), "CE/softmax/2d/f64"),
    ("a constant with the wrong sign", answers(|_, _, o| o.terms[0][3] *= -1.0), "LogDice/softmax/2d/f64"),
    ("a size part that is left out", answers(|_, _, o| o.terms[0][2] = 0.0), "jaccard/softmax/2d/f64"),
    ("a term that is missing", answers(|_, _, o| drop(o.terms.pop())), "CE+L1/softmax/2d/f64"),
    (
        "a divisor that counts ignored pixels",
        answers(|_, input, o| {
            let [samples, _, pixels] = input.lengths();
            let Target::Labels(labels) = &input.target else { return };
            let valid = labels.iter().filter(|label| **label != 255).count();
            o.total *= valid as f64 / (samples * pixels) as f64;
        }),
        "CE/softmax/ignored/f64",
    ),
    ("ignored pixels counted as background", asks(counted), "CE/softmax/ignored/f64"),
    ("ignored pixels counted in size terms only", asks(counted), "l1(temperature=1, pooling=batch)/softmax/ignored/f64"),
    (
        "pooling swapped: batch for sample",
        asks(|loss, input| (rewritten(&loss, "pooling=sample", "pooling=batch"), input)),
        "focal(gamma=3.5, alpha=0.25, pooling=sample)/softmax/ignored/f64",
    ),
    (
        "pooling swapped: sample for batch",
        asks(|loss, input| (rewritten(&loss, "dice", "dice(pooling=sample)"), input)),
        "Dice/softmax/2d/f64",
    ),
    ("temperature forgotten", asks(|loss, input| (rewritten(&loss, "l1", "l1(temperature=1)"), input)), "CE+L1/softmax/2d/f64"),
    (
        "softmax for sigmoid in focal",
        asks(|loss, input| (rewritten(&loss, "focal", "focal(activation=softmax)"), input)),
        "Focal/softmax/2d/f64",
    ),
    (
        "the background's part of KL forgotten",
        asks(|loss, input| (rewritten(&loss, "kl", "kl(background=false)"), input)),
        "CE+KL/sigmoid/one_channel/f64",
    ),
    (
        "absent classes scored",
        asks(|loss, input| (rewritten(&loss, "dice", "dice(absent=count)"), input)),
        "Dice/softmax/absent_class/f64",
    ),
    (
        "absent classes skipped in the mean",
        asks(|loss, input| (rewritten(&loss, "dice", "dice(absent=skip)"), input)),
        "Dice/softmax/absent_class/f64",
    ),
    ("pixel weights not looked at", asks(|loss, input| (loss, Input { weights: None, ..input })), "CE/softmax/weights/f64"),
    (
        "soft targets made hard",
        asks(|loss, mut input| {
            let [_, classes, pixels] = input.lengths();
            if let Target::Soft(shares) = &mut input.target {
                for sample in shares.chunks_mut(classes * pixels) {
                    for s in 0..pixels {
                        let top = (0..classes)
                            .fold(0, |top, k| if sample[k * pixels + s] > sample[top * pixels + s] { k } else { top });
                        (0..classes).for_each(|k| sample[k * pixels + s] = f64::from(u8::from(k == top)));
                    }
                }
            }
            (loss, input)
        }),
        "CE/softmax/soft/f64",
    ),
    (
        "a given prior of the first sample used for all",
        asks(|loss, mut input| {
            if let Some(prior) = &mut input.prior {
                let first: Vec<f64> = prior[..3].to_vec();
                prior.chunks_mut(3).for_each(|row| row.copy_from_slice(&first));
            }
            (loss, input)
        }),
        "kl(target=given)/softmax/2d/f64",
    ),
    (
        "the last pixel of a block not read",
        asks(|loss, mut input| {
            let last = input.logits.len() - 1;
            input.logits[last] = 0.0;
            (loss, input)
        }),
        "CE/softmax/blocks/f64",
    ),
    (
        "strides not looked at",
        asks(|loss, mut input| {
            if input.strided {
                input.logits.reverse();
            }
            (loss, input)
        }),
        "CE/softmax/strided/f64",
    ),
    (
        "the sign of a map",
        maps(|map| map.values.iter_mut().for_each(|value| *value = -*value)),
        "boundary/softmax/given_maps/f64",
    ),
    (
        "the map of another sample",
        maps(|map| {
            let of_sample = map.values.len() / 2;
            map.values.rotate_left(of_sample);
        }),
        "boundary/softmax/given_maps/f64",
    ),
    (
        "the map of another class",
        maps(|map| {
            let of_class = map.values.len() / 2 / map.channels;
            map.values.chunks_mut(3 * of_class).for_each(|sample| sample.rotate_left(of_class));
        }),
        "boundary/softmax/given_maps/f64",
    ),
    ("the spacing left out", asks(|loss, input| (loss, Input { spacing: None, ..input })), "boundary/softmax/spacing/f64"),
    (
        "the spacing of another axis",
        asks(|loss, mut input| {
            input.spacing.iter_mut().for_each(|spacing| spacing.reverse());
            (loss, input)
        }),
        "boundary/softmax/spacing_3d/f64",
    ),
    // Were m in proportion to the losses that it picks, their slope would count twice.
    (
        "a gradient through a map",
        answers(|_, _, o| o.gradient.iter_mut().for_each(|g| *g *= 2.0)),
        "topk/softmax/given_maps/f64",
    ),
    ("ignored pixels are outside of regions", asks(counted), "boundary/softmax/ignored/f64"),
    (
        "the hardest of the batch, not of each sample",
        asks(|loss, input| (rewritten(&loss, "pooling=sample", "pooling=batch"), input)),
        "topk(fraction=0.3, pooling=sample)/softmax/ignored/f64",
    ),
    (
        "parts of a term that has no exact split",
        answers(|_, _, o| {
            let value = o.terms[0][0];
            o.terms[0] = vec![value, value, 0.0, 0.0];
        }),
        "topk/softmax/2d/f64",
    ),
    ("sums kept in f32", answers(narrow_sums), "large/ce + dice + l1 with 1e8 logits"),
    (
        "a gradient at ignored pixels",
        answers(|_, _, o| o.gradient.iter_mut().filter(|g| **g == 0.0).for_each(|g| *g = 1e-9)),
        "semantics/ignored_pixels_have_no_influence_even_when_nan",
    ),
    ("logits that are infinite go unnoticed", Faulty { lenient: true, ..NONE }, "semantics/non_finite_logits_are_not_silent"),
    (
        "labels out of range go unnoticed",
        Faulty { lenient: true, ..NONE },
        "semantics/a_label_out_of_range_is_named_with_its_position",
    ),
    (
        "shapes that do not fit go unnoticed",
        Faulty { lenient: true, ..NONE },
        "semantics/shapes_that_do_not_fit_are_refused_with_both",
    ),
    (
        "a result that changes from call to call",
        answers(|_, _, o| {
            use std::sync::atomic::{AtomicU64, Ordering};
            static CALLS: AtomicU64 = AtomicU64::new(0);
            o.total += CALLS.fetch_add(1, Ordering::Relaxed) as f64 * 1e-15 * o.total.abs();
        }),
        "semantics/same_input_same_bits",
    ),
];

#[test]
fn every_planted_fault_is_caught_by_its_case() {
    let tests = suite::tests(&NONE);
    for (fault, adapter, name) in FAULTS {
        let test = tests.iter().find(|test| test.name == *name).unwrap_or_else(|| panic!("`{name}` is no test"));
        test.run(&NONE).unwrap_or_else(|error| panic!("{name} fails without a fault: {error}"));
        assert!(test.run(adapter).is_err(), "{fault}: not caught by {name}");
    }
}

#[test]
fn a_known_difference_is_expected_and_its_end_is_noticed() {
    use conformance_tests::ledger::Ledger;
    let ledger = Ledger::parse("# remark\nCE/softmax/* | a reason").unwrap();
    let failure = || Err::<(), _>("off".to_owned());
    assert_eq!(ledger.judge("CE/softmax/2d/f64", failure()), Ok(()));
    assert_eq!(ledger.judge("Dice/softmax/2d/f64", failure()), Err("off".to_owned()));
    assert_eq!(ledger.judge("Dice/softmax/2d/f64", Ok(())), Ok(()));
    let passed = ledger.judge("CE/softmax/2d/f64", Ok(())).unwrap_err();
    assert_eq!(passed, "it passes, but the ledger expects it to fail (a reason): take the entry out");
    let names = ["Dice/softmax/2d/f64".to_owned()];
    assert_eq!(ledger.idle(&names).collect::<Vec<_>>(), ["CE/softmax/*"]);
}
