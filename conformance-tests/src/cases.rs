//! Cases as data: losses × situations, each compared with the oracle in total, terms and gradient.

use loss_core::{Activation, Loss, PRESETS};

use crate::oracle::{
    self, Absent, CrossEntropy, Focal, Form, GeneralizedDice, LogRecall, Pooling, Problem, Proportion, Ratio, RatioKind,
    Scaled, Target, Term, Weighting,
};
use crate::semantics::{input, numbers};
use crate::tolerance::{Tolerance, compare, tolerance};
use crate::{Adapter, Dtype, Input};

/// A loss on an input, and what the oracle is to make of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// `loss/situation`
    pub name: String,
    /// The loss, with activation and ignored labels.
    pub loss: Loss,
    /// The same for the oracle.
    pub terms: Vec<(f64, Term)>,
    /// Logits and target.
    pub input: Input,
}

impl Case {
    /// What the oracle sees: logits as the type holds them.
    #[must_use]
    pub fn problem(&self, dtype: Dtype) -> Problem {
        let [samples, classes, pixels] = self.input.lengths();
        Problem {
            samples,
            classes,
            pixels,
            activation: match self.loss.activation() {
                Activation::Softmax => oracle::Activation::Softmax,
                Activation::Sigmoid => oracle::Activation::Sigmoid,
            },
            logits: self.input.logits.iter().map(|&z| dtype.round(z)).collect(),
            target: self.input.target.clone(),
            ignore: self.loss.ignored().to_vec(),
            weights: self.input.weights.clone(),
        }
    }

    /// Compares a backend with the oracle.
    ///
    /// # Errors
    /// The worst disagreement, in words.
    pub fn check(&self, adapter: &dyn Adapter, dtype: Dtype) -> Result<(), String> {
        let problem = self.problem(dtype);
        let want = oracle::answer(&problem, &self.terms);
        let got = adapter.value_and_gradient(&self.loss, &self.input, dtype).map_err(|error| error.to_string())?;
        let allowed = tolerance(dtype);
        let exact = Tolerance { rounding: 0.0, least: 1e-30, ..allowed };
        let one = |what: &str, got: f64, want: Scaled| compare(what, &[got], &[want.value], want.scale, allowed.value, exact);
        one("total", got.total, want.total)?;
        for (i, (got, want)) in got.terms.iter().zip(&want.terms).enumerate() {
            for ((part, got), want) in ["value", "matching", "size", "constant"].into_iter().zip(got).zip(want) {
                one(&format!("{part} of term {i}"), *got, *want)?;
            }
        }
        compare("gradient", &got.gradient, &want.gradient, want.gradient_scale, allowed.gradient, allowed)
    }
}

fn ce(o: CrossEntropy) -> Term {
    Term::CrossEntropy(o)
}

fn dice(kind: RatioKind) -> Ratio {
    Ratio { kind, ..Ratio::default() }
}

/// A loss as text, and as the oracle knows it.
struct Both {
    text: &'static str,
    terms: Vec<(f64, Term)>,
    /// Whether it names three classes.
    three: bool,
}

fn losses() -> Vec<Both> {
    let mut all = Vec::new();
    for (text, _) in PRESETS {
        all.push(Both { text, terms: oracle::named(text).unwrap_or_default(), three: false });
    }
    let mut one = |text, three, term| all.push(Both { text, terms: vec![(1.0, term)], three });
    let c = || Some(vec![0.2, 1.0, 3.0]);
    let only = || Some(vec![1, 2]);
    one("ce(label_smoothing=0.1)", false, ce(CrossEntropy { label_smoothing: 0.1, ..Default::default() }));
    one("ce(class_weights=[0.2, 1, 3])", true, ce(CrossEntropy { class_weights: c(), ..Default::default() }));
    one(
        "ce(class_weights=[0.2, 1, 3], label_smoothing=0.2, pooling=sample)",
        true,
        ce(CrossEntropy { class_weights: c(), label_smoothing: 0.2, pooling: Pooling::Sample, ..Default::default() }),
    );
    one(
        "ce(activation=sigmoid)",
        false,
        ce(CrossEntropy { activation: Some(oracle::Activation::Sigmoid), ..Default::default() }),
    );
    let softmax = Some(oracle::Activation::Softmax);
    one("focal(activation=softmax)", true, Term::Focal(Focal { activation: softmax, ..Default::default() }));
    one(
        "focal(gamma=0.5, activation=softmax, class_weights=[0.2, 1, 3])",
        true,
        Term::Focal(Focal { gamma: 0.5, activation: softmax, class_weights: c(), ..Default::default() }),
    );
    one("focal(gamma=0)", false, Term::Focal(Focal { gamma: 0.0, ..Default::default() }));
    one(
        "focal(gamma=3.5, alpha=0.25, pooling=sample)",
        false,
        Term::Focal(Focal { gamma: 3.5, alpha: Some(0.25), pooling: Pooling::Sample, ..Default::default() }),
    );
    one("log_recall", false, Term::LogRecall(LogRecall::default()));
    one(
        "log_recall(temperature=3, smooth=0.5, pooling=sample, absent=count)",
        false,
        Term::LogRecall(LogRecall {
            temperature: 3.0,
            smooth: 0.5,
            pooling: Pooling::Sample,
            absent: Absent::Count,
            ..Default::default()
        }),
    );
    one("dice(squared=true)", false, Term::Ratio(dice(RatioKind::SquaredDice)));
    one(
        "dice(pooling=sample, absent=skip, smooth_numerator=1, smooth_denominator=2)",
        false,
        Term::Ratio(Ratio {
            pooling: Pooling::Sample,
            absent: Absent::Skip,
            smooth_numerator: 1.0,
            smooth_denominator: 2.0,
            ..Ratio::default()
        }),
    );
    one(
        "dice(form=log, absent=count, temperature=2, smooth_numerator=0.1, smooth_denominator=0.1)",
        false,
        Term::Ratio(Ratio {
            form: Form::Log,
            absent: Absent::Count,
            temperature: 2.0,
            smooth_numerator: 0.1,
            smooth_denominator: 0.1,
            ..Ratio::default()
        }),
    );
    one(
        "dice(classes=[1, 2], class_weights=[0.2, 1, 3])",
        true,
        Term::Ratio(Ratio { classes: only(), class_weights: c(), ..Ratio::default() }),
    );
    one("tversky(alpha=0.3, beta=0.7)", false, Term::Ratio(dice(RatioKind::Tversky(0.3, 0.7))));
    one(
        "tversky(alpha=1.5, beta=0.25, form=log, pooling=sample)",
        false,
        Term::Ratio(Ratio { form: Form::Log, pooling: Pooling::Sample, ..dice(RatioKind::Tversky(1.5, 0.25)) }),
    );
    one("jaccard", false, Term::Ratio(dice(RatioKind::Jaccard)));
    one("jaccard(form=log)", false, Term::Ratio(Ratio { form: Form::Log, ..dice(RatioKind::Jaccard) }));
    let gdice = GeneralizedDice::default;
    one(
        "gdice(form=log, weighting=simple)",
        false,
        Term::GeneralizedDice(GeneralizedDice { form: Form::Log, weighting: Weighting::Simple, ..gdice() }),
    );
    one(
        "gdice(weighting=uniform, pooling=sample, classes=[1, 2], activation=softmax)",
        true,
        Term::GeneralizedDice(GeneralizedDice {
            weighting: Weighting::Uniform,
            pooling: Pooling::Sample,
            classes: only(),
            activation: softmax,
            ..gdice()
        }),
    );
    let size = Proportion::default;
    one(
        "l1(temperature=1, pooling=batch)",
        false,
        Term::L1(Proportion { temperature: 1.0, pooling: Pooling::Batch, ..size() }),
    );
    one("l1(target=[0.2, 0.3, 0.5])", true, Term::L1(Proportion { prior: Some(vec![0.2, 0.3, 0.5]), ..size() }));
    one(
        "l1(classes=[1, 2], class_weights=[0.2, 1, 3], epsilon=0.01)",
        true,
        Term::L1(Proportion { classes: only(), class_weights: c(), epsilon: 0.01, ..size() }),
    );
    one(
        "kl(temperature=1, pooling=batch)",
        false,
        Term::Kl(Proportion { temperature: 1.0, pooling: Pooling::Batch, ..size() }, true),
    );
    one("kl(target=[0.2, 0, 0.8])", true, Term::Kl(Proportion { prior: Some(vec![0.2, 0.0, 0.8]), ..size() }, true));
    one("kl(background=false)", false, Term::Kl(size(), false));
    one("db(temperature=2, epsilon=0.001)", false, Term::DiceBias(Proportion { temperature: 2.0, epsilon: 1e-3, ..size() }));
    all.push(Both {
        text: "ce + 0.5 * dice - 0.25 * kl(temperature=1)",
        terms: vec![
            (1.0, ce(CrossEntropy::default())),
            (0.5, Term::Ratio(Ratio::default())),
            (-0.25, Term::Kl(Proportion { temperature: 1.0, ..size() }, true)),
        ],
        three: false,
    });
    all
}

/// An input with a name: shape, activation, and what is done to it.
type Situation = (&'static str, &'static [usize], Activation, fn(&mut Input));

const SOFTMAX: Activation = Activation::Softmax;
const SIGMOID: Activation = Activation::Sigmoid;

const SITUATIONS: &[Situation] = &[
    ("softmax/0d", &[6, 3], SOFTMAX, plain),
    ("softmax/1d", &[2, 3, 7], SOFTMAX, plain),
    ("softmax/2d", &[2, 3, 4, 5], SOFTMAX, plain),
    ("softmax/3d", &[2, 3, 2, 3, 4], SOFTMAX, plain),
    ("softmax/one_pixel", &[1, 3, 1, 1], SOFTMAX, plain),
    ("softmax/batch_of_one", &[1, 3, 4, 4], SOFTMAX, plain),
    ("softmax/ignored", &[2, 3, 4, 5], SOFTMAX, ignored),
    ("softmax/weights", &[2, 3, 4, 5], SOFTMAX, weighted),
    ("softmax/soft", &[2, 3, 4, 5], SOFTMAX, soft),
    ("softmax/soft_and_weights", &[2, 3, 4, 5], SOFTMAX, soft_and_weighted),
    ("softmax/absent_class", &[2, 3, 4, 5], SOFTMAX, absent),
    ("softmax/saturated", &[2, 3, 4, 5], SOFTMAX, saturated),
    ("softmax/confident", &[2, 3, 4, 5], SOFTMAX, confident),
    ("softmax/strided", &[2, 3, 4, 5], SOFTMAX, strided),
    ("softmax/blocks", &[1, 3, 50, 40], SOFTMAX, plain),
    ("sigmoid/one_channel", &[2, 1, 4, 5], SIGMOID, plain),
    ("sigmoid/one_channel_ignored", &[2, 1, 4, 5], SIGMOID, ignored),
    ("sigmoid/one_channel_saturated", &[2, 1, 4, 5], SIGMOID, saturated),
    ("sigmoid/three_channels", &[2, 3, 4, 5], SIGMOID, plain),
    ("sigmoid/multi_label", &[2, 3, 4, 5], SIGMOID, multi_label),
    ("sigmoid/soft_and_weights", &[2, 3, 3, 2, 2], SIGMOID, soft_and_weighted),
];

fn plain(_: &mut Input) {}

fn ignored(input: &mut Input) {
    if let Target::Labels(labels) = &mut input.target {
        for (label, u) in labels.iter_mut().zip(numbers(1000, 31)) {
            if u < 0.3 {
                *label = 255;
            }
        }
    }
}

fn weighted(input: &mut Input) {
    let [samples, _, pixels] = input.lengths();
    // Halves and quarters, and some zeros: exact in every type.
    input.weights = Some(numbers(samples * pixels, 32).map(|u| (u * 9.0).floor() / 4.0).collect());
}

fn soft(input: &mut Input) {
    let [samples, classes, pixels] = input.lengths();
    let mut shares = vec![0.0; samples * classes * pixels];
    let mut random = numbers(samples * classes * pixels, 33);
    for n in 0..samples {
        for s in 0..pixels {
            // Sixteenths that add up to 1.
            let mut left = 16.0;
            for k in 0..classes {
                let share = if k + 1 == classes { left } else { (random.next().unwrap_or(0.0) * (left + 1.0)).floor() };
                shares[(n * classes + k) * pixels + s] = share / 16.0;
                left -= share;
            }
        }
    }
    input.target = Target::Soft(shares);
}

fn soft_and_weighted(input: &mut Input) {
    soft(input);
    weighted(input);
}

fn multi_label(input: &mut Input) {
    let count: usize = input.shape.iter().product();
    input.target = Target::Soft(numbers(count, 34).map(|u| f64::from(u8::from(u < 0.4))).collect());
}

fn absent(input: &mut Input) {
    let [_, _, pixels] = input.lengths();
    if let Target::Labels(labels) = &mut input.target {
        // Class 2 is nowhere, class 1 not in the first sample.
        labels.iter_mut().for_each(|label| *label = (*label).min(1));
        labels.iter_mut().take(pixels).for_each(|label| *label = 0);
    }
}

fn saturated(input: &mut Input) {
    for (z, u) in input.logits.iter_mut().zip(numbers(1000, 35)) {
        if u < 0.5 {
            *z = if u < 0.25 { 1e4 } else { -1e4 };
        }
    }
}

fn confident(input: &mut Input) {
    input.logits.iter_mut().for_each(|z| *z *= 6.0);
}

fn strided(input: &mut Input) {
    input.strided = true;
}

/// Every case.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for Both { text, terms, three } in losses() {
        for (i, (situation, shape, activation, change)) in SITUATIONS.iter().enumerate() {
            // Softmax forms of a term need two channels.
            if shape[1] == 1 && (three || text.contains("softmax")) {
                continue;
            }
            let mut input = input(shape, 100 + i as u64);
            change(&mut input);
            let loss: Loss = match text.parse() {
                Ok(loss) => loss,
                Err(error) => panic!("the suite's own loss `{text}` does not read: {error}"),
            };
            cases.push(Case {
                name: format!("{text}/{situation}"),
                loss: loss.with_activation(*activation).with_ignore_index(255),
                terms: terms.clone(),
                input,
            });
        }
    }
    cases
}
