//! The oracle, against central differences and values by hand.

use super::*;
use crate::Input;

fn problem(activation: Activation, classes: usize, target: Target) -> Problem {
    let logits = (0..2 * classes * 5).map(|i| (i as f64 * 2.399).sin() * 2.0).collect();
    let weights = Some(vec![1.0, 0.5, 2.0, 0.0, 1.0, 1.0, 3.0, 1.0, 0.25, 1.0]);
    Input { shape: vec![2, classes, 5], logits, target, weights, ..Input::default() }.problem(activation, vec![9])
}

fn terms() -> Vec<Term> {
    let ratio = |kind, form, pooling, absent| Term::Ratio(Ratio { kind, form, pooling, absent, ..Ratio::default() });
    vec![
        Term::CrossEntropy(CrossEntropy { label_smoothing: 0.2, ..Default::default() }),
        Term::CrossEntropy(CrossEntropy { pooling: Pooling::Sample, ..Default::default() }),
        Term::Focal(Focal { gamma: 1.5, alpha: Some(0.3), ..Default::default() }),
        Term::Focal(Focal { gamma: 0.5, ..Default::default() }),
        Term::LogRecall(LogRecall { temperature: 2.0, smooth: 0.1, ..Default::default() }),
        ratio(RatioKind::Dice, Form::Linear, Pooling::Batch, Absent::Zero),
        ratio(RatioKind::SquaredDice, Form::Log, Pooling::Sample, Absent::Skip),
        ratio(RatioKind::Tversky(0.3, 0.9), Form::Linear, Pooling::Sample, Absent::Count),
        ratio(RatioKind::Jaccard, Form::Linear, Pooling::Batch, Absent::Zero),
        Term::GeneralizedDice(GeneralizedDice::default()),
        Term::GeneralizedDice(GeneralizedDice { weighting: Weighting::Simple, form: Form::Log, ..Default::default() }),
        Term::L1(Proportion { temperature: 2.0, ..Default::default() }),
        Term::Kl(Proportion { temperature: 3.0, ..Default::default() }, true),
        Term::DiceBias(Proportion { pooling: Pooling::Batch, ..Default::default() }),
        Term::Boundary(Boundary::default()),
        Term::Boundary(Boundary { pooling: Pooling::Sample, classes: Some(vec![0]), ..Default::default() }),
        Term::TopK(TopK { fraction: 0.4, ..Default::default() }),
        Term::TopK(TopK { fraction: 0.3, pooling: Pooling::Sample, ..Default::default() }),
    ]
}

#[test]
fn gradients_agree_with_central_differences() {
    let soft = |classes: usize| Target::Soft((0..10 * classes).map(|i| ((i * 7) % 9) as f64 / 8.0).collect());
    for problem in [
        problem(Activation::Softmax, 3, Target::Labels(vec![0, 1, 2, 0, 9, 1, 1, 0, 2, 1])),
        problem(Activation::Sigmoid, 1, Target::Labels(vec![0, 1, 1, 0, 9, 1, 1, 0, 0, 1])),
        problem(Activation::Sigmoid, 3, soft(3)),
        problem(Activation::Softmax, 2, soft(2)),
    ] {
        let soft = matches!(problem.target, Target::Soft(_));
        for term in terms().into_iter().filter(|term| !soft || !matches!(term, Term::Boundary(_))) {
            let loss = [(1.0, term)];
            let answer = answer(&problem, &loss);
            for i in 0..problem.logits.len() {
                let step = 1e-5;
                let at = |by: f64| {
                    let mut moved = problem.clone();
                    moved.logits[i] += by;
                    super::answer(&moved, &loss).total.value
                };
                let difference = (at(step) - at(-step)) / (2.0 * step);
                let error = (answer.gradient[i] - difference).abs();
                assert!(error < 1e-8, "{:?}: at {i} {} against {difference}", loss[0].1, answer.gradient[i]);
            }
        }
    }
}

#[test]
fn values_by_hand() {
    let target = Target::Labels(vec![0, 0, 1, 255]);
    let uniform = Input { shape: vec![1, 4, 4], logits: vec![0.0; 16], target, ..Input::default() };
    let uniform = uniform.problem(Activation::Softmax, vec![255]);
    let value = |term| answer(&uniform, &[(1.0, term)]).total.value;
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-14, "{a} is not {b}");
    close(value(Term::CrossEntropy(CrossEntropy::default())), 4.0f64.ln());
    // P = 3/4 for all; I = 1/2, T = 2 and I = 1/4, T = 1; two absent classes give 0 and count.
    close(value(Term::Ratio(Ratio::default())), ((1.0 - 1.0 / 2.75) + (1.0 - 0.5 / 1.75)) / 4.0);
    close(value(Term::L1(Proportion { epsilon: 0.0, ..Default::default() })), (5.0 / 12.0 + 1.0 / 12.0 + 0.5) / 4.0);
    // One-vs-all sigmoid focal at p = 1/2: a quarter of ln 2 on each of four channels.
    close(value(Term::Focal(Focal::default())), 2.0f64.ln());
    close(value(Term::LogRecall(LogRecall::default())), 2.0 * 4.0f64.ln() / 4.0);
}

#[test]
fn the_fourteen_names_are_known() {
    let names = [
        "CE",
        "CE+L1",
        "CE+KL",
        "CE+DB",
        "CE+Dice",
        "CE+LogDice",
        "Focal",
        "Focal+L1",
        "Focal+KL",
        "Focal+Dice",
        "Focal+LogDice",
        "Dice",
        "LogDice",
        "GDice",
    ];
    for name in names {
        assert_eq!(named(name).map(|terms| terms.len()), Some(name.split('+').count()), "{name}");
    }
    assert!(named("CE+Nothing").is_none());
}
