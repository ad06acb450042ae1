//! What is ignored has no part in any sum.

mod common;

use common::{problem, sum};
use loss_core::expr::{Expr, PixelFunction};
use loss_core::{Activation, Side, Statistic};
use loss_kernels::Labels;

/// The statistics of one sample of two classes.
fn of(logits: &[f32], labels: &[u8], ignore: &[i64], wanted: [Statistic; 2]) -> [Vec<f64>; 2] {
    let problem = problem(Activation::Softmax, 2, Labels::U8(labels), None, ignore);
    wanted.map(|statistic| sum(logits, &problem, statistic))
}

#[test]
fn a_class_can_be_ignored() {
    let [target, valid] = of(&[0.0; 10], &[0, 1, 1, 0, 0], &[7, 1], [Statistic::TARGET_SIZE, Statistic::VALID_SIZE]);
    assert_eq!((target, valid), (vec![3.0, 0.0], vec![3.0]));
}

#[test]
fn a_function_may_overflow_where_nothing_is_looked_at() {
    // Pixels that are sure, but for the last, and for those that fill up a vector.
    let steep = PixelFunction::new(|log_p| (log_p * Expr::constant(-2000.0)).exp());
    let sum = Statistic::pixel_sum(Activation::Softmax, Side::Region, steep);
    let [got, _] =
        of(&[50.0, 50.0, -50.0, 0.0, -50.0, -50.0, 50.0, 0.0], &[0, 0, 1, 255], &[255], [sum, Statistic::VALID_SIZE]);
    assert_eq!(got, [2.0, 1.0]);
}
