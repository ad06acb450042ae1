//! Functions of log p, of `f32` logits.

mod common;

use common::{problem, sum};
use loss_core::expr::{Expr, Pixel, PixelFunction};
use loss_core::{Activation, Side, Statistic};
use loss_kernels::Labels;

/// A function of one pixel of the first class, whose log p this is nearly.
fn at(log_p: f32, function: impl FnOnce(Expr<Pixel>) -> Expr<Pixel>) -> f64 {
    let of = Statistic::pixel_sum(Activation::Softmax, Side::Region, PixelFunction::new(function));
    sum(&[log_p, 0.0], &problem(Activation::Softmax, 2, Labels::U8(&[0]), None, &[]), of)[0]
}

#[test]
fn exponentials_of_other_numbers_than_logarithms_keep_their_range() {
    let small = at(-18.0, |log_p| (log_p * Expr::constant(4.0)).exp());
    assert!((small / (-72f64).exp() - 1.0).abs() < 1e-5, "{small:e}");
    // Beyond the range of f32, where a sum saturates.
    assert_eq!(at(-100.0, |log_p| (-log_p).exp_m1()), 1e299);
    let large = at(-80.0, |log_p| (-log_p).exp_m1());
    assert!((large / 80f64.exp() - 1.0).abs() < 1e-5, "{large:e}");
}
