//! Problems and sums of one sample, and the statistics that most tests take.

#![allow(dead_code, reason = "no test takes all of it")]

use loss_core::{Activation, Plan, Probability, Side, Statistic, Temperature};
use loss_kernels::{Element, Labels, Problem, Shares, Target, statistics};

/// Labels of one sample.
pub(crate) fn problem<'a>(
    activation: Activation,
    classes: usize,
    labels: Labels<'a>,
    weights: Option<&'a [f32]>,
    ignore: &'a [i64],
) -> Problem<'a> {
    let pixels = labels.len();
    let shape = [1, pixels];
    let weights = weights.map(|weights| (Shares::F32(weights), &shape[..]));
    Problem::new(&[1, classes, pixels], (Target::Labels(labels), &shape), weights, ignore, activation).unwrap()
}

/// One statistic, class by class.
pub(crate) fn sum<E: Element>(logits: &[E], problem: &Problem<'_>, statistic: Statistic) -> Vec<f64> {
    let plan = Plan::new(problem.geometry().classes, [statistic]).unwrap();
    statistics(logits, problem, &plan).unwrap()[0].values().to_vec()
}

/// P at temperature 1.
pub(crate) fn size(activation: Activation) -> Statistic {
    Statistic::predicted_size(Probability::new(activation, Temperature::ONE, Side::Region))
}
