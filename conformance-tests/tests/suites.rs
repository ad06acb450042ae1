//! Rows of MONAI's own tests of its Dice and Tversky losses, with MONAI's tolerances. They lie
//! beside the project (`../shared/suites`), and are left out where they are not there.

mod beside;

use std::process::ExitCode;

use conformance_tests::adapters::{BurnFused, Ndarray};
use conformance_tests::oracle::Target;
use conformance_tests::{Adapter, Dtype, Input};
use libtest_mimic::{Arguments, Failed, Trial};
use loss_core::{Activation, Loss};
use serde_json::Value;

/// Suites, and how many of their rows a loss of ours can say.
const SUITES: [(&str, usize); 2] = [("monai-dice", 8), ("monai-tversky", 8)];

const ADAPTERS: [&dyn Adapter; 2] = [&Ndarray, &BurnFused];

/// A row: a loss on an input, what it must be, and what that may be off by.
#[derive(Clone)]
struct Row {
    loss: Loss,
    input: Input,
    expected: f64,
    tolerance: f64,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = vec![Trial::test("suites::left_out_only_where_nothing_is_there", || {
        beside::rule();
        Ok(())
    })];
    for (suite, count) in SUITES {
        match beside::beside(&format!("suites/{suite}.json")) {
            Some(path) => trials.extend(rows(suite, count, &std::fs::read_to_string(path).unwrap())),
            None => {
                let name = format!("suites::{suite} (left out: there is no {})", beside::SHARED);
                trials.push(Trial::test(name, || Ok(())).with_ignored_flag(true));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn rows(suite: &str, count: usize, text: &str) -> Vec<Trial> {
    let file: Value = serde_json::from_str(text).unwrap();
    let all = file["rows"].as_array().unwrap();
    let said: Vec<(&str, Row)> = all.iter().filter_map(|row| Some((row["id"].as_str()?, said(row)?))).collect();
    let found = said.len();
    let mut trials = vec![Trial::test(format!("suites::{suite}"), move || match found == count {
        true => Ok(()),
        false => Err(format!("{found} rows can be said, not {count}").into()),
    })];
    for (id, row) in said {
        for adapter in ADAPTERS {
            let row = row.clone();
            trials.push(Trial::test(format!("suites::{id}::{}", adapter.name()), move || row.check(adapter)));
        }
    }
    trials
}

impl Row {
    fn check(&self, adapter: &dyn Adapter) -> Result<(), Failed> {
        let dtype = if adapter.supports(Dtype::F64) { Dtype::F64 } else { Dtype::F32 };
        let got = adapter.value_and_gradient(&self.loss, &self.input, dtype).map_err(|error| error.to_string())?.total;
        match (got - self.expected).abs() <= self.tolerance {
            true => Ok(()),
            false => Err(format!("{}: {got}, not {}", self.loss, self.expected).into()),
        }
    }
}

/// A row as a loss of ours. None where that cannot be: other activations, or none; values that are
/// not reduced.
fn said(row: &Value) -> Option<Row> {
    let known = [
        "include_background",
        "sigmoid",
        "softmax",
        "to_onehot_y",
        "smooth_nr",
        "smooth_dr",
        "alpha",
        "beta",
        "batch",
        "reduction",
        "squared_pred",
        "jaccard",
    ];
    let parameters = row["params"].as_object()?;
    parameters.keys().all(|name| known.contains(&name.as_str())).then_some(())?;
    let is = |name: &str| parameters.get(name).and_then(Value::as_bool).unwrap_or(false);
    let number = |name: &str, default: f64| parameters.get(name).and_then(Value::as_f64).unwrap_or(default);
    let activation = match (is("sigmoid"), is("softmax")) {
        (true, false) => Activation::Sigmoid,
        (false, true) => Activation::Softmax,
        _ => return None,
    };
    let input = input(row, is("to_onehot_y"))?;
    let [samples, classes, _] = input.lengths();
    let factor = match parameters.get("reduction").and_then(Value::as_str) {
        None | Some("mean") => 1.0,
        Some("sum") => (samples * classes) as f64,
        Some(_) => return None,
    };

    // They add their smoothing of Jaccard to twice the masses.
    let (term, share) = match row["loss"].as_str()? {
        "DiceLoss" if is("jaccard") => ("jaccard", 0.5),
        "DiceLoss" => ("dice", 1.0),
        "TverskyLoss" => ("tversky", 1.0),
        _ => return None,
    };
    let pooling = if is("batch") { "batch" } else { "sample" };
    let [above, below] = ["smooth_nr", "smooth_dr"].map(|name| share * number(name, 1e-5));
    let mut text = format!("{term}(pooling={pooling}, absent=count, smooth_numerator={above:e}, smooth_denominator={below:e}");
    if is("squared_pred") {
        text.push_str(", squared=true");
    }
    if term == "tversky" {
        text.push_str(&format!(", alpha={}, beta={}", number("alpha", 0.5), number("beta", 0.5)));
    }
    text.push(')');
    let loss: Loss = text.parse().unwrap_or_else(|error| panic!("`{text}`: {error}"));
    let expected = row["expected"].as_f64()?;
    let tolerance = row["atol"].as_f64()? + row["rtol"].as_f64()? * expected.abs();
    let [expected, tolerance] = [expected, tolerance].map(|value| value / factor);
    Some(Row { loss: loss.with_activation(activation), input, expected, tolerance })
}

/// Arrays as they are written; labels `[N, 1, *spatial]` where the row makes them one-hot, else
/// shares.
fn input(row: &Value, labels: bool) -> Option<Input> {
    let numbers =
        |name: &str| -> Option<Vec<f64>> { row["args"][name]["data"].as_array()?.iter().map(Value::as_f64).collect() };
    let shape = row["args"]["input"]["shape"].as_array()?.iter().map(|length| Some(length.as_u64()? as usize));
    let target = numbers("target")?;
    let target = if labels { Target::Labels(target.iter().map(|label| *label as i64).collect()) } else { Target::Soft(target) };
    Some(Input { shape: shape.collect::<Option<_>>()?, logits: numbers("input")?, target, ..Input::default() })
}
