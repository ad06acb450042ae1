//! What does not fit is refused, also where no other part of a call would notice; and many classes are.

use loss_core::{Activation, LossError, Plan, Statistic};
use loss_kernels::{Labels, Problem, Target, statistics, validate};

fn problem<'a>(labels: &'a [u8], classes: usize, pixels: usize) -> Result<Problem<'a>, LossError> {
    let target = (Target::Labels(Labels::U8(labels)), [1, pixels]);
    Problem::new(&[1, classes, pixels], (target.0, &target.1), None, &[], Activation::Softmax)
}

#[test]
fn slices_that_are_not_as_long_as_their_shape_are_refused() {
    assert!(matches!(problem(&[0, 1], 2, 3), Err(LossError::ShapeMismatch { .. })));
    let (problem, plan) = (problem(&[0, 1, 0], 2, 3).unwrap(), Plan::new(2, [Statistic::ValidSize]).unwrap());
    for length in [5, 7] {
        let got = statistics(&vec![0f32; length], &problem, &plan);
        assert!(matches!(got, Err(LossError::ShapeMismatch { what: "logits", .. })), "{length}: {got:?}");
    }
}

#[test]
fn validate_names_a_logit_that_is_not_finite() {
    let problem = problem(&[0, 1, 0], 2, 3).unwrap();
    assert!(validate(&[0f32; 6], &problem).is_ok());
    let got = validate(&[0.0, 0.0, 0.0, 0.0, f32::INFINITY, 0.0], &problem);
    assert!(matches!(&got, Err(LossError::NonFiniteLogit { position, .. }) if position[..] == [0, 1, 1]), "{got:?}");
}

#[test]
fn more_than_64_classes_are_counted() {
    let labels: Vec<u8> = (0..70).collect();
    let plan = Plan::new(70, [Statistic::TargetSize]).unwrap();
    let got = statistics(&vec![0f32; 70 * 70], &problem(&labels, 70, 70).unwrap(), &plan).unwrap();
    assert_eq!(got[0].values(), [1.0; 70]);
}
