//! What is ignored has no part in any sum.

use loss_core::expr::{Expr, PixelFunction};
use loss_core::{Activation, Plan, Side, Statistic};
use loss_kernels::{Labels, Problem, Target, statistics};

/// The statistics of one sample of two classes.
fn of(logits: &[f32], labels: &[u8], ignore: &[i64], wanted: [Statistic; 2]) -> [Vec<f64>; 2] {
    let pixels = labels.len();
    let target = (Target::Labels(Labels::U8(labels)), [1, pixels]);
    let problem = Problem::new(&[1, 2, pixels], (target.0, &target.1), None, ignore, Activation::Softmax).unwrap();
    let plan = Plan::new(2, wanted.clone()).unwrap();
    let tables = statistics(logits, &problem, &plan).unwrap();
    wanted.map(|statistic| {
        let at = plan.statistics().iter().position(|of| *of == statistic).unwrap();
        tables[at].values().to_vec()
    })
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
