//! Text, and back.

use loss_core::{Loss, catalogue};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::scene::{IGNORED, Scene, config, scenes};

/// A number in a range, as text: short ones, and ones with all their digits.
fn number(low: f64, high: f64) -> BoxedStrategy<String> {
    let steps = (high - low) / 8.0;
    prop_oneof![
        (low..high).prop_map(|x| format!("{x:?}")),
        (0..=8u32).prop_map(move |i| (low + steps * f64::from(i)).to_string())
    ]
    .boxed()
}

fn word(words: &'static [&'static str]) -> BoxedStrategy<String> {
    select(words).prop_map(str::to_owned).boxed()
}

fn list(count: usize, low: f64) -> BoxedStrategy<String> {
    prop::collection::vec(low..4.0f64, count).prop_map(|values| format!("{values:?}")).boxed()
}

/// A value that an option of a term accepts for two classes.
fn value(term: &str, option: &str) -> BoxedStrategy<String> {
    match option {
        "class_weights" => list(2, 0.1),
        "classes" => word(&["[0]", "[1]", "[1, 0]", "all"]),
        "pooling" => word(&["batch", "sample"]),
        "activation" => word(&["model", "softmax", "sigmoid"]),
        "absent" => word(&["zero", "skip", "skip_empty", "count"]),
        "form" => word(&["linear", "log"]),
        "weighting" => word(&["square", "simple", "uniform"]),
        "squared" | "background" => word(&["true", "false"]),
        "target" => word(&["truth", "[0.25, 0.75]", "[1, 0]"]),
        "temperature" => number(0.5, 20.0),
        "fraction" => number(0.01, 1.0),
        "gamma" => number(0.0, 5.0),
        "beta" => number(0.1, 2.0),
        "alpha" if term == "tversky" => number(0.1, 2.0),
        "smooth" | "smooth_numerator" | "smooth_denominator" => number(0.0, 10.0),
        "alpha" | "label_smoothing" | "epsilon" => number(0.0, 1.0),
        other => panic!("{term}: no value known for {other}"),
    }
}

/// A term with some of its options.
fn term() -> impl Strategy<Value = String> {
    select(catalogue()).prop_flat_map(|term| {
        let names: Vec<&str> = term.options.iter().map(|option| option.name).collect();
        let count = names.len();
        subsequence(names, 0..=count).prop_flat_map(move |chosen| {
            // Squares go with temperature 1 only, and one smooth without the other two.
            let apart = |option: &str| match option {
                "temperature" => chosen.contains(&"squared"),
                "smooth_numerator" | "smooth_denominator" => chosen.contains(&"smooth"),
                _ => false,
            };
            let chosen: Vec<&str> = chosen.iter().copied().filter(|option| !apart(option)).collect();
            let options: Vec<_> = chosen
                .iter()
                .map(|option| {
                    value(term.name, option).prop_map({
                        let option = (*option).to_owned();
                        move |value| format!("{option}={value}")
                    })
                })
                .collect();
            let name = term.name;
            options.prop_map(move |options| format!("{name}({})", options.join(", ")))
        })
    })
}

fn losses() -> impl Strategy<Value = String> {
    let weighted = (number(-3.0, 3.0), term()).prop_map(|(weight, term)| format!("{weight} * {term}"));
    let grown = (1..50u32, term()).prop_map(|(every, term)| format!("grow(0.5, factor=2, every={every}, cap=100) * {term}"));
    let any = prop_oneof![3 => term(), 3 => weighted, 1 => grown];
    let settings = select(vec!["", " with ignore=255", " with activation=sigmoid, ignore=[255, -1]"]);
    (prop::collection::vec(any, 1..4), settings).prop_map(|(terms, settings)| format!("{}{settings}", terms.join(" + ")))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn text_reads_back_as_the_same_loss(text in losses(), scene in scenes()) {
        let loss: Loss = text.parse().map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        let printed = loss.to_string();
        let again: Loss = printed.parse().map_err(|error| TestCaseError::fail(format!("{printed}: {error}")))?;
        prop_assert_eq!(&again, &loss);
        prop_assert_eq!(again.to_string(), printed.clone());
        let through_json: Loss = serde_json::from_str(&serde_json::to_string(&loss).unwrap()).unwrap();
        prop_assert_eq!(&through_json, &loss);
        // And it computes the same, to the last bit, or is refused in the same words (α under
        // softmax).
        let labels = scene.labels.iter().map(|&label| if label == IGNORED { label } else { label % 2 }).collect();
        let logits = scene.logits[..scene.samples * 2 * scene.pixels].to_vec();
        let two = Scene { classes: 2, logits, labels, ..scene };
        match (two.try_run(&loss.with_ignore_index(IGNORED)), two.try_run(&again.with_ignore_index(IGNORED))) {
            (Ok(a), Ok(b)) => {
                prop_assert_eq!(a.total.to_bits(), b.total.to_bits());
                prop_assert!(a.gradient == b.gradient);
            }
            (a, b) => prop_assert_eq!(a.err(), b.err()),
        }
    }
}
