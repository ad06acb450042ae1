//! The backends, and the oracle itself, against numbers computed elsewhere: 50-digit arithmetic
//! (`golden/mpmath.json`) and the released packages of peers (`golden/peers.json`). How they were
//! made is beside them; what reproduces what is in `docs/peers.md`.
//!
//! It ends with how well they agree.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use conformance_tests::adapters::{BurnFused, BurnOperations, Ndarray};
use conformance_tests::oracle::{
    self, Absent, CrossEntropy, Focal, Form, GeneralizedDice, LogRecall, Pooling, Problem, Proportion, Ratio, RatioKind,
    Target, Term, Wanted, Weighting,
};
use conformance_tests::tolerance::{Compared, Tolerance, compared, tolerance};
use conformance_tests::{Adapter, Dtype, Input};
use libtest_mimic::{Arguments, Failed, Trial};
use loss_core::{Activation, Loss};
use serde_json::{Map, Value};

const ADAPTERS: [&dyn Adapter; 3] = [&Ndarray, &BurnFused, &BurnOperations];

/// What the numbers of a file may be off by, beside the suite's own tolerance: peers compute in
/// f64, by other formulas than ours.
const PEERS: Tolerance = Tolerance { relative: 1e-14, rounding: 0.0, least: 0.0 };

/// A number, and what errors in it are relative to.
type Scaled = (f64, f64);

/// A loss on an input, with what it must be.
struct Golden {
    name: String,
    /// Package and call, or the spec: what the report adds up.
    group: String,
    loss: Loss,
    input: Input,
    total: Scaled,
    /// Of each term as far as the file tells: value, matching, size, constant.
    terms: Vec<Vec<Scaled>>,
    gradient: Vec<f64>,
    gradient_scale: f64,
    /// The same for the oracle; only for 50 digits.
    oracle: Option<(Problem, Vec<(f64, Term)>)>,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    let files = [("mpmath", include_str!("../golden/mpmath.json")), ("peers", include_str!("../golden/peers.json"))];
    let files = files.map(|(source, text)| (source, read(text)));
    for (source, goldens) in &files {
        for golden in goldens {
            let name = format!("golden::{source}/{}", golden.name);
            for adapter in ADAPTERS {
                let golden = Arc::clone(golden);
                let check = move || golden.types(adapter).try_for_each(|dtype| judge(golden.backend(adapter, dtype)));
                trials.push(Trial::test(format!("{name}::{}", adapter.name()), check));
            }
            if golden.oracle.is_some() {
                let golden = Arc::clone(golden);
                trials.push(Trial::test(format!("{name}::oracle"), move || judge(golden.by_oracle())));
            }
        }
    }
    let whole = !arguments.list && arguments.filter.is_none() && arguments.skip.is_empty();
    let conclusion = libtest_mimic::run(&arguments, trials);
    for (source, goldens) in files.iter().filter(|_| whole) {
        if let Err(error) = report(source, goldens) {
            println!("{source}: {error}");
            return ExitCode::FAILURE;
        }
    }
    conclusion.exit_code()
}

fn judge(found: Result<Vec<Compared>, String>) -> Result<(), Failed> {
    match Compared::worst(found?) {
        Some(worst) if worst.times > 1.0 => Err(worst.to_string().into()),
        _ => Ok(()),
    }
}

impl Golden {
    /// The types that hold the inputs exactly. Golden numbers of peers are for f64.
    fn types(&self, adapter: &'static dyn Adapter) -> impl Iterator<Item = Dtype> {
        let input = &self.input;
        let soft = if let Target::Soft(shares) = &input.target { shares.as_slice() } else { &[] };
        let numbers: Vec<f64> = input.logits.iter().chain(soft).chain(input.weights.iter().flatten()).copied().collect();
        let all = if self.oracle.is_some() { &Dtype::ALL[..] } else { &[Dtype::F64] };
        let holds = move |dtype: &Dtype| numbers.iter().all(|x| dtype.round(*x).to_bits() == x.to_bits());
        all.iter().copied().filter(move |dtype| adapter.supports(*dtype)).filter(holds)
    }

    fn tolerance(&self, dtype: Dtype) -> Tolerance {
        if self.oracle.is_some() { tolerance(dtype, self.input.lengths()) } else { PEERS }
    }

    fn backend(&self, adapter: &dyn Adapter, dtype: Dtype) -> Result<Vec<Compared>, String> {
        let out = adapter.value_and_gradient(&self.loss, &self.input, dtype).map_err(|error| error.to_string())?;
        self.measure(dtype, out.total, &out.terms, &out.gradient)
    }

    fn by_oracle(&self) -> Result<Vec<Compared>, String> {
        let Some((problem, terms)) = &self.oracle else { return Ok(Vec::new()) };
        let found = oracle::answer(problem, terms);
        let terms: Vec<Vec<f64>> = found.terms.iter().map(|term| term.iter().map(|part| part.value).collect()).collect();
        self.measure(Dtype::F64, found.total.value, &terms, &found.gradient)
    }

    fn measure(&self, dtype: Dtype, total: f64, terms: &[Vec<f64>], gradient: &[f64]) -> Result<Vec<Compared>, String> {
        let allowed = self.tolerance(dtype);
        let exact = Tolerance { rounding: 0.0, least: 1e-30, ..allowed };
        let one =
            |what: &str, got: f64, (want, scale): Scaled| compared(&format!("{dtype} {what}"), &[got], &[want], scale, exact);
        let mut all = vec![one("total", total, self.total)?];
        for (i, (got, want)) in terms.iter().zip(&self.terms).enumerate() {
            for ((part, got), want) in ["value", "matching", "size", "constant"].into_iter().zip(got).zip(want) {
                all.push(one(&format!("{part} of term {i}"), *got, *want)?);
            }
        }
        all.push(compared(&format!("{dtype} gradient"), gradient, &self.gradient, self.gradient_scale, allowed)?);
        Ok(all)
    }
}

/// Prints the worst errors, relative to the scale: by type and adapter, and for peers by their
/// losses.
fn report(source: &str, goldens: &[Arc<Golden>]) -> Result<(), String> {
    let mut worst: BTreeMap<String, [f64; 2]> = BTreeMap::new();
    let mut add = |key: String, found: &[Compared]| {
        let [values, gradients] = worst.entry(key).or_default();
        for one in found {
            let of = if one.what.ends_with("gradient") { &mut *gradients } else { &mut *values };
            *of = of.max(one.error);
        }
    };
    for golden in goldens {
        for adapter in ADAPTERS {
            for dtype in golden.types(adapter) {
                let found = golden.backend(adapter, dtype)?;
                add(format!("{} {dtype}", adapter.name()), &found);
                if source == "peers" {
                    add(format!("| {} | {} |", golden.group, golden.loss), &found);
                }
            }
        }
        if golden.oracle.is_some() {
            add("oracle f64".to_owned(), &golden.by_oracle()?);
        }
    }
    for (key, [value, gradient]) in worst {
        println!("{source}: {key} value {value:.1e}, gradient {gradient:.1e}");
    }
    Ok(())
}

fn read(file: &str) -> Vec<Arc<Golden>> {
    let file: Value = serde_json::from_str(file).unwrap_or_else(|error| panic!("a golden file does not read: {error}"));
    let inputs: BTreeMap<_, _> = object(&file["inputs"]).iter().map(|(name, given)| (name.as_str(), input(given))).collect();
    let case = |case: &Value| {
        let input = inputs.get(word(&case["input"])).unwrap_or_else(|| panic!("no input {}", case["input"])).clone();
        Arc::new(golden(case, input))
    };
    array(&file["cases"]).iter().map(case).collect()
}

fn golden(case: &Value, input: Input) -> Golden {
    let (spec, activation) = (word(&case["spec"]), word(&case["activation"]));
    let ignore = case["ignore"].as_i64().into_iter().collect::<Vec<_>>();
    let loss: Loss = spec.parse().unwrap_or_else(|error| panic!("`{spec}`: {error}"));
    let loss = loss.with_activation(if activation == "sigmoid" { Activation::Sigmoid } else { Activation::Softmax });
    let loss = ignore.iter().fold(loss, |loss, label| loss.with_ignore_index(*label));
    let (total, gradient) = (number(&case["value"]), numbers(&case["gradient"]));
    let values = case.get("values").map(numbers).unwrap_or_default();
    let parts = case.get("parts").map(numbers).unwrap_or_default();
    let mut golden = Golden {
        name: word(&case["name"]).to_owned(),
        group: format!("{} {}", case["peer"].as_str().unwrap_or(spec), case["call"].as_str().unwrap_or_default()),
        total: (total, total.abs()),
        terms: Vec::new(),
        gradient_scale: gradient.iter().fold(0.0, |most, g| g.abs().max(most)),
        gradient,
        oracle: None,
        loss,
        input,
    };
    if let Some(given) = case.get("terms").map(array) {
        // Where the only term has an activation of its own, it may as well be the loss's.
        let own = if let [only] = given { only[2]["activation"].as_str() } else { None };
        let problem = golden.input.problem(named(own.unwrap_or(activation)), ignore);
        let terms: Vec<_> = given.iter().map(oracle_term).collect();
        let answer = oracle::answer(&problem, &terms);
        golden.total.1 = answer.total.scale;
        golden.gradient_scale = answer.gradient_scale;
        golden.terms = values
            .iter()
            .zip(&answer.terms)
            .map(|(value, scales)| [value].into_iter().chain(&parts).zip(scales).map(|(x, of)| (*x, of.scale)).collect())
            .collect();
        golden.oracle = Some((problem, terms));
    }
    golden
}

fn input(given: &Value) -> Input {
    let target = match given.get("soft") {
        Some(shares) => Target::Soft(numbers(shares)),
        None => Target::Labels(integers(&given["labels"])),
    };
    Input {
        shape: integers(&given["shape"]).into_iter().map(|length| length as usize).collect(),
        logits: numbers(&given["logits"]),
        target,
        weights: given.get("weights").map(numbers),
        prior: given.get("prior").map(numbers),
        ..Input::default()
    }
}

fn named(activation: &str) -> oracle::Activation {
    if activation == "sigmoid" { oracle::Activation::Sigmoid } else { oracle::Activation::Softmax }
}

/// A weight and a term, as the oracle knows them.
fn oracle_term(term: &Value) -> (f64, Term) {
    let options = object(&term[2]);
    let real = |name: &str, default: f64| options.get(name).map_or(default, number);
    let list = |name: &str| options.get(name).map(numbers);
    let class_weights = list("class_weights");
    let classes = options.get("classes").map(|only| integers(only).into_iter().map(|k| k as usize).collect());
    let said = |name: &str, word: &str| options.get(name).and_then(Value::as_str) == Some(word);
    let pooling = |default| match options.get("pooling").and_then(Value::as_str) {
        Some("batch") => Pooling::Batch,
        Some(_) => Pooling::Sample,
        None => default,
    };
    let activation = options.get("activation").map(|name| named(word(name)));
    let absent = if said("absent", "skip") {
        Absent::Skip
    } else if said("absent", "count") {
        Absent::Count
    } else {
        Absent::Zero
    };
    let form = if said("form", "log") { Form::Log } else { Form::Linear };
    let ratio = |kind| {
        let squared = options.get("squared").and_then(Value::as_bool).unwrap_or(false);
        Term::Ratio(Ratio {
            kind: if squared { RatioKind::SquaredDice } else { kind },
            form,
            pooling: pooling(Pooling::Batch),
            smooth_numerator: real("smooth_numerator", 0.0),
            smooth_denominator: real("smooth_denominator", 0.0),
            temperature: real("temperature", 1.0),
            absent,
            classes: classes.clone(),
            class_weights: class_weights.clone(),
        })
    };
    let proportion = || Proportion {
        temperature: real("temperature", 10.0),
        pooling: pooling(Pooling::Sample),
        wanted: match options.get("target") {
            None => Wanted::Truth,
            Some(Value::String(_)) => Wanted::Given,
            Some(prior) => Wanted::Prior(numbers(prior)),
        },
        epsilon: real("epsilon", 1e-10),
        classes: classes.clone(),
        class_weights: class_weights.clone(),
    };
    let term_of = match word(&term[1]) {
        "ce" => Term::CrossEntropy(CrossEntropy {
            class_weights,
            label_smoothing: real("label_smoothing", 0.0),
            pooling: pooling(Pooling::Batch),
            activation,
        }),
        "focal" => Term::Focal(Focal {
            gamma: real("gamma", 2.0),
            alpha: options.get("alpha").map(number),
            class_weights,
            pooling: pooling(Pooling::Batch),
            activation: activation.or(Some(oracle::Activation::Sigmoid)),
        }),
        "gdice" => Term::GeneralizedDice(GeneralizedDice {
            form,
            pooling: pooling(Pooling::Batch),
            weighting: if said("weighting", "simple") {
                Weighting::Simple
            } else if said("weighting", "uniform") {
                Weighting::Uniform
            } else {
                Weighting::Square
            },
            classes,
            activation: activation.or(Some(oracle::Activation::Sigmoid)),
        }),
        "log_recall" => Term::LogRecall(LogRecall {
            pooling: pooling(Pooling::Batch),
            temperature: real("temperature", 1.0),
            smooth: real("smooth", 0.0),
            absent,
            classes,
            class_weights,
        }),
        "dice" => ratio(RatioKind::Dice),
        "jaccard" => ratio(RatioKind::Jaccard),
        "tversky" => ratio(RatioKind::Tversky(real("alpha", 0.5), real("beta", 0.5))),
        "l1" => Term::L1(proportion()),
        "db" => Term::DiceBias(proportion()),
        "kl" => Term::Kl(proportion(), !said("background", "false")),
        other => panic!("no term {other}"),
    };
    (number(&term[0]), term_of)
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("not an object: {value}"))
}

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value}"))
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// A number, or one written out in more digits than JSON readers keep.
fn number(value: &Value) -> f64 {
    match value {
        Value::String(digits) => digits.parse().unwrap_or_else(|_| panic!("not a number: {digits}")),
        other => other.as_f64().unwrap_or_else(|| panic!("not a number: {other}")),
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    array(value).iter().map(number).collect()
}

fn integers(value: &Value) -> Vec<i64> {
    let integer = |value: &Value| value.as_i64().unwrap_or_else(|| panic!("not an integer: {value}"));
    array(value).iter().map(integer).collect()
}
