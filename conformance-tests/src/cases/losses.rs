//! Losses as text, beside what they are for the oracle.

use loss_core::PRESETS;

use crate::Input;
use crate::oracle::{
    self, Absent, Boundary, CrossEntropy, Focal, Form, GeneralizedDice, LogRecall, Pooling, Proportion, Ratio, RatioKind,
    SIGNED_DISTANCES, Target, Term, TopK, Wanted, Weighting,
};

fn ce(o: CrossEntropy) -> Term {
    Term::CrossEntropy(o)
}

fn dice(kind: RatioKind) -> Ratio {
    Ratio { kind, ..Ratio::default() }
}

/// A loss as text, and as the oracle knows it.
pub(super) struct Both {
    pub(super) text: &'static str,
    pub(super) terms: Vec<(f64, Term)>,
    /// Whether it names three classes.
    pub(super) three: bool,
}

impl Both {
    /// Names of the maps that it reads.
    pub(super) fn maps(&self) -> impl Iterator<Item = &'static str> {
        self.terms.iter().filter_map(|(_, term)| term.map())
    }

    /// Whether it is defined for an input: softmax forms of a term need two channels, class options
    /// as many as they name, and distances labels on one to three axes.
    pub(super) fn takes(&self, input: &Input) -> bool {
        let classes = input.shape[1];
        let grid = (3..=5).contains(&input.shape.len()) && matches!(input.target, Target::Labels(_));
        (classes == 3 || !self.three)
            && (classes > 1 || !self.text.contains("softmax"))
            && (grid || self.maps().all(|map| map != SIGNED_DISTANCES))
    }
}

/// The losses of the cases: the fourteen names, and every term with its options.
pub(super) fn losses() -> Vec<Both> {
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
        "dice(form=log, absent=count, temperature=2, smooth=0.1)",
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
        "dice(form=log, absent=count, smooth_numerator=1e-11, smooth_denominator=1e-11)",
        false,
        Term::Ratio(Ratio {
            form: Form::Log,
            absent: Absent::Count,
            smooth_numerator: 1e-11,
            smooth_denominator: 1e-11,
            ..Ratio::default()
        }),
    );
    one(
        "jaccard(pooling=sample, absent=skip_empty)",
        false,
        Term::Ratio(Ratio { pooling: Pooling::Sample, absent: Absent::SkipEmpty, ..dice(RatioKind::Jaccard) }),
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
    one("l1(target=[0.2, 0.3, 0.5])", true, Term::L1(Proportion { wanted: Wanted::Prior(vec![0.2, 0.3, 0.5]), ..size() }));
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
    one("kl(target=[0.2, 0, 0.8])", true, Term::Kl(Proportion { wanted: Wanted::Prior(vec![0.2, 0.0, 0.8]), ..size() }, true));
    one("kl(target=given)", false, Term::Kl(Proportion { wanted: Wanted::Given, ..size() }, true));
    one(
        "l1(target=given, pooling=batch)",
        false,
        Term::L1(Proportion { wanted: Wanted::Given, pooling: Pooling::Batch, ..size() }),
    );
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
    all.extend(with_maps());
    all
}

/// Losses of terms with maps.
fn with_maps() -> Vec<Both> {
    let (softmax, sigmoid) = (Some(oracle::Activation::Softmax), Some(oracle::Activation::Sigmoid));
    let (sample, c) = (Pooling::Sample, || Some(vec![0.2, 1.0, 3.0]));
    let boundary = |o: Boundary| Term::Boundary(o);
    let topk = |o: TopK| Term::TopK(o);
    let alone = |text, three, term| Both { text, terms: vec![(1.0, term)], three };
    vec![
        alone("boundary", false, boundary(Boundary::default())),
        alone("boundary(classes=all)", true, boundary(Boundary { classes: Some(vec![0, 1, 2]), ..Default::default() })),
        alone("boundary(pooling=sample)", false, boundary(Boundary { pooling: sample, ..Default::default() })),
        alone(
            "boundary(classes=[0, 2], class_weights=[0.2, 1, 3])",
            true,
            boundary(Boundary { classes: Some(vec![0, 2]), class_weights: c(), ..Default::default() }),
        ),
        alone(
            "boundary(activation=softmax, pooling=sample)",
            false,
            boundary(Boundary { activation: softmax, pooling: sample, ..Default::default() }),
        ),
        alone("boundary(activation=sigmoid)", false, boundary(Boundary { activation: sigmoid, ..Default::default() })),
        alone("topk", false, topk(TopK::default())),
        alone("topk(fraction=0.3, pooling=sample)", false, topk(TopK { fraction: 0.3, pooling: sample, ..Default::default() })),
        alone(
            "topk(fraction=0.25, class_weights=[0.2, 1, 3])",
            true,
            topk(TopK { fraction: 0.25, class_weights: c(), ..Default::default() }),
        ),
        alone(
            "topk(fraction=0.4, class_weights=[0.2, 1, 3], pooling=sample, activation=sigmoid)",
            true,
            topk(TopK { fraction: 0.4, class_weights: c(), pooling: sample, activation: sigmoid }),
        ),
        Both {
            text: "ce + dice + 0.01 * boundary",
            terms: vec![
                (1.0, ce(CrossEntropy::default())),
                (1.0, Term::Ratio(Ratio::default())),
                (0.01, boundary(Boundary::default())),
            ],
            three: false,
        },
        Both {
            text: "topk + l1",
            terms: vec![(1.0, topk(TopK::default())), (1.0, Term::L1(Proportion::default()))],
            three: false,
        },
    ]
}
