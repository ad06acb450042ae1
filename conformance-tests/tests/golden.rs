//! The backends, and the oracle itself, against numbers computed elsewhere: 50-digit arithmetic (`golden/mpmath.json`) and the released
//! packages of peers (`golden/peers.json`). How they were made is beside them; what reproduces what is in `docs/peers.md`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use conformance_tests::adapters::{BurnFused, BurnOperations, Ndarray};
use conformance_tests::oracle::{
    self, Absent, CrossEntropy, Focal, Form, GeneralizedDice, LogRecall, Pooling, Problem, Proportion, Ratio, RatioKind,
    Target, Term, Weighting,
};
use conformance_tests::tolerance::{Tolerance, compare, tolerance};
use conformance_tests::{Adapter, Dtype, Input, Labels};
use libtest_mimic::{Arguments, Failed, Trial};
use loss_core::{Activation, Loss};
use serde_json::{Map, Value};

const ADAPTERS: [&dyn Adapter; 3] = [&Ndarray, &BurnFused, &BurnOperations];

/// A loss on an input, with what it must be.
struct Golden {
    name: String,
    loss: Loss,
    input: Input,
    total: f64,
    gradient: Vec<f64>,
    /// Where the file tells the terms apart.
    terms: Vec<f64>,
    /// Matching, size and constant.
    parts: Option<Vec<f64>>,
    /// What errors are relative to: of the total, of the gradient.
    scales: [f64; 2],
    /// The same for the oracle, where it knows the options.
    problem: Option<(Problem, Vec<(f64, Term)>)>,
    /// Relative tolerance in f64, where it is not the suite's own.
    relative: Option<f64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for (source, file) in
        [("mpmath", include_str!("../golden/mpmath.json")), ("peers", include_str!("../golden/peers.json"))]
    {
        for golden in read(file).into_iter().map(Arc::new) {
            let name = format!("golden::{source}/{}", golden.name);
            for adapter in ADAPTERS {
                let golden = golden.clone();
                let check = move || backend(&golden, adapter).map_err(Failed::from);
                trials.push(Trial::test(format!("{name}::{}", adapter.name()), check));
            }
            if golden.problem.is_some() {
                trials.push(Trial::test(format!("{name}::oracle"), move || by_oracle(&golden).map_err(Failed::from)));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Every type that holds the inputs exactly; golden numbers of peers are in f64.
fn backend(golden: &Golden, adapter: &dyn Adapter) -> Result<(), String> {
    let input = &golden.input;
    let holds = |dtype: Dtype| {
        let soft = if let Target::Soft(shares) = &input.target { shares.as_slice() } else { &[] };
        let mut numbers = input.logits.iter().chain(soft).chain(input.weights.iter().flatten());
        numbers.all(|x| dtype.round(*x) == *x)
    };
    for dtype in Dtype::ALL.into_iter().filter(|dtype| adapter.supports(*dtype) && holds(*dtype)) {
        let mut allowed = tolerance(dtype);
        if let (Dtype::F64, Some(relative)) = (dtype, golden.relative) {
            allowed = Tolerance { value: relative, gradient: relative, ..allowed };
        }
        let out = adapter.value_and_gradient(&golden.loss, input, dtype).map_err(|error| error.to_string())?;
        let exact = Tolerance { rounding: 0.0, least: 1e-30, ..allowed };
        let [scale, gradient_scale] = golden.scales;
        compare(&format!("{dtype} total"), &[out.total], &[golden.total], scale, allowed.value, exact)?;
        let own = allowed;
        compare(&format!("{dtype} gradient"), &out.gradient, &golden.gradient, gradient_scale, allowed.gradient, own)?;
        if !golden.terms.is_empty() {
            let terms: Vec<f64> = out.terms.iter().map(|term| term[0]).collect();
            compare(&format!("{dtype} terms"), &terms, &golden.terms, scale, allowed.value, exact)?;
        }
        if let (Some(parts), [term]) = (&golden.parts, out.terms.as_slice())
            && term.len() == 4
        {
            let scale = parts.iter().map(|part| part.abs()).fold(scale, f64::max);
            compare(&format!("{dtype} parts"), &term[1..], parts, scale, allowed.value, exact)?;
        }
    }
    Ok(())
}

fn by_oracle(golden: &Golden) -> Result<(), String> {
    let Some((problem, terms)) = &golden.problem else { return Ok(()) };
    let found = oracle::answer(problem, terms);
    let allowed = tolerance(Dtype::F64);
    let exact = Tolerance { least: 1e-30, ..allowed };
    compare("total", &[found.total], &[golden.total], found.total_scale, allowed.value, exact)?;
    compare("gradient", &found.gradient, &golden.gradient, found.gradient_scale, allowed.gradient, allowed)
}

fn read(file: &str) -> Vec<Golden> {
    let file: Value = serde_json::from_str(file).unwrap_or_else(|error| panic!("a golden file does not read: {error}"));
    let inputs: BTreeMap<_, _> = object(&file["inputs"]).iter().map(|(name, given)| (name.as_str(), input(given))).collect();
    let case = |case: &Value| {
        let input = inputs.get(word(&case["input"])).unwrap_or_else(|| panic!("no input {}", case["input"])).clone();
        golden(case, input)
    };
    array(&file["cases"]).iter().map(case).collect()
}

fn golden(case: &Value, input: Input) -> Golden {
    let spec = word(&case["spec"]);
    let activation = match word(&case["activation"]) {
        "sigmoid" => Activation::Sigmoid,
        _ => Activation::Softmax,
    };
    let ignore = case["ignore"].as_i64();
    let mut loss: Loss = spec.parse().unwrap_or_else(|error| panic!("`{spec}`: {error}"));
    loss = loss.with_activation(activation);
    if let Some(label) = ignore {
        loss = loss.with_ignore_index(label);
    }
    let given = case.get("terms").map(array).unwrap_or_default();
    let terms = |input| given.iter().map(|term| oracle_term(term, input)).collect::<Option<Vec<_>>>();
    let problem = terms(&input).filter(|terms| !terms.is_empty()).map(|terms| {
        // Where one activation is asked of the only term, it may as well be the loss's.
        let own = given.iter().find_map(|term| term[2]["activation"].as_str());
        let only = given.len() == 1;
        let activation = match own.filter(|_| only).unwrap_or(word(&case["activation"])) {
            "sigmoid" => oracle::Activation::Sigmoid,
            _ => oracle::Activation::Softmax,
        };
        (problem(&input, activation, ignore), terms)
    });
    let (total, gradient) = (number(&case["value"]), numbers(&case["gradient"]));
    let values = case.get("values").map(numbers).unwrap_or_default();
    let scales = match &problem {
        Some((problem, terms)) => {
            let answer = oracle::answer(problem, terms);
            [answer.total_scale, answer.gradient_scale]
        }
        None => {
            let weights = given.iter().map(|term| number(&term[0]));
            let parts: f64 = values.iter().zip(weights).map(|(value, weight)| (value * weight).abs()).sum();
            [parts.max(total.abs()), gradient.iter().fold(0.0, |most, g| g.abs().max(most))]
        }
    };
    Golden {
        name: word(&case["name"]).to_owned(),
        loss,
        input,
        total,
        gradient,
        terms: values,
        parts: case.get("parts").map(numbers),
        scales,
        problem,
        relative: case.get("relative").map(number),
    }
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
        target_shape: None,
        labels: Labels::I64,
        weights: given.get("weights").map(numbers),
        prior: given.get("prior").map(numbers),
        strided: false,
    }
}

fn problem(input: &Input, activation: oracle::Activation, ignore: Option<i64>) -> Problem {
    let [samples, classes, pixels] = input.lengths();
    Problem {
        samples,
        classes,
        pixels,
        activation,
        logits: input.logits.clone(),
        target: input.target.clone(),
        ignore: ignore.into_iter().collect(),
        weights: input.weights.clone(),
    }
}

/// A term's options for the oracle; `None` where it has no such option.
fn oracle_term(term: &Value, input: &Input) -> Option<(f64, Term)> {
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
    let activation = options.get("activation").map(|_| match said("activation", "softmax") {
        true => oracle::Activation::Softmax,
        false => oracle::Activation::Sigmoid,
    });
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
    let proportion = || {
        let prior = match options.get("target") {
            // The oracle has one prior for all samples.
            Some(Value::String(_)) if input.shape[0] == 1 => Some(input.prior.clone()),
            Some(Value::String(_)) => None,
            given => Some(given.map(numbers)),
        };
        prior.map(|prior| Proportion {
            temperature: real("temperature", 10.0),
            pooling: pooling(Pooling::Sample),
            prior,
            epsilon: real("epsilon", 1e-10),
            classes: classes.clone(),
            class_weights: class_weights.clone(),
        })
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
        "l1" => Term::L1(proportion()?),
        "db" => Term::DiceBias(proportion()?),
        "kl" => Term::Kl(proportion()?, !said("background", "false")),
        other => panic!("no term {other}"),
    };
    Some((number(&term[0]), term_of))
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
