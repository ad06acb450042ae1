//! Sums over many pixels, and of large numbers.

mod common;

use common::{problem, size, sum};
use loss_core::{Activation, Over, Plan, Probability, Quantity, Side, Statistic, Temperature};
use loss_kernels::{Labels, Problem, Shares, Target, logit_gradient, statistics, statistics_and_gradient};

const SOFTMAX: Activation = Activation::Softmax;

/// A statistic of two-class pixels that all have the given logits.
fn first(logits: [f32; 2], labels: &[u8], weights: Option<&[f32]>, statistic: Statistic) -> Vec<f64> {
    let logits: Vec<f32> = logits.iter().flat_map(|&z| vec![z; labels.len()]).collect();
    sum(&logits, &problem(SOFTMAX, 2, Labels::U8(labels), weights, &[]), statistic)
}

/// The relative error of three additions in a run of four numbers, each half a unit in the last
/// place.
const OF_A_RUN: f64 = 3.0 / 16_777_216.0;

#[test]
fn what_roundings_cost_is_not_lost() {
    // Sums of f32 alone would be off by about a millionth.
    let numbers: Vec<f32> = (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0).collect();
    let (pixels, exact): (_, f64) = (numbers.len(), numbers.iter().map(|&number| f64::from(number)).sum());
    let labels = vec![0; pixels];
    for statistic in [Statistic::VALID_SIZE, Statistic::TARGET_SIZE] {
        let got = first([0.0, 0.0], &labels, Some(&numbers), statistic.clone());
        assert!((got[0] / exact - 1.0).abs() < 1e-12, "{statistic} of weights: {} for {exact}", got[0]);
    }
    // Shares, which are exact, and a size that is half of the weights, whose summands are rounded.
    let rest = numbers.iter().map(|number| 1.0 - number).collect();
    let (shares, shape) = ([numbers.clone(), rest].concat(), [1, 2, pixels]);
    let target = (Target::Soft(Shares::F32(&shares)), &shape[..]);
    let problem = Problem::new(&shape, target, None, &[], SOFTMAX).unwrap();
    let got = sum(&vec![0.0f32; 2 * pixels], &problem, Statistic::TARGET_SIZE)[0];
    assert!((got / exact - 1.0).abs() < 1e-12, "shares: {got} for {exact}");
    let got = first([0.0, 0.0], &labels, Some(&numbers), size(SOFTMAX));
    assert!((got[0] / (0.5 * exact) - 1.0).abs() < OF_A_RUN, "a size: {} for {}", got[0], 0.5 * exact);
}

#[test]
fn logarithms_near_the_limit_add_up() {
    let pixels = 3000;
    let large = f32::MAX / 4.0;
    let likelihood = Statistic::log_likelihood(SOFTMAX, Side::Region);
    let got = first([large, -large], &vec![1; pixels], None, likelihood);
    let exact = -2.0 * f64::from(large) * pixels as f64;
    assert!((got[1] / exact - 1.0).abs() < 1e-6, "{} for {exact}", got[1]);
    assert_eq!(got[0], 0.0);
}

#[test]
fn logarithms_of_all_sizes_add_up() {
    // One pixel that is surely wrong among many that are not, and its like among many.
    for wrong in [3.0f32, 900.0, 1.0e4, 3.0e6] {
        let (pixels, classes) = (1000, 2);
        let logits: Vec<f32> =
            (0..classes).flat_map(|k| (0..pixels).map(move |s| if k == 0 && s % 500 == 7 { wrong } else { 0.0 })).collect();
        let labels = vec![1u8; pixels];
        let problem = problem(SOFTMAX, classes, Labels::U8(&labels), None, &[]);
        let got = sum(&logits, &problem, Statistic::log_likelihood(SOFTMAX, Side::Region))[1];
        let one = f64::from((-(f64::from(wrong) + (-f64::from(wrong)).exp().ln_1p())) as f32);
        let exact = 998.0 * f64::from(-std::f32::consts::LN_2) + 2.0 * one;
        assert!((got / exact - 1.0).abs() < OF_A_RUN, "{wrong}: {got} for {exact}");
    }
}

#[test]
fn small_probabilities_are_not_lost_beside_large_ones() {
    // A class that no pixel is likely to be of: alone, and where one pixel in a thousand is.
    for (likely, tolerance) in [(0, 3e-7), (1000, OF_A_RUN)] {
        let pixels = 100_000;
        let sure = |s: usize| likely > 0 && s.is_multiple_of(likely);
        let logits: Vec<f32> =
            (0..2).flat_map(|k| (0..pixels).map(move |s| if k == 0 && !sure(s) { 20.0 } else { 0.0 })).collect();
        let labels = vec![0u8; pixels];
        let got = sum(&logits, &problem(SOFTMAX, 2, Labels::U8(&labels), None, &[]), size(SOFTMAX))[1];
        let count = (0..pixels).filter(|&s| sure(s)).count() as f64;
        let exact = (pixels as f64 - count) * 1.0 / (1.0 + 20f64.exp()) + count * 0.5;
        assert!((got / exact - 1.0).abs() < tolerance, "{likely}: {got} for {exact}");
    }
}

#[test]
fn weights_near_the_limit_add_up() {
    let pixels = 3000;
    let weights = vec![f32::MAX / 2.0; pixels];
    let exact = f64::from(f32::MAX / 2.0) * pixels as f64;
    for (statistic, share) in [
        (Statistic::VALID_SIZE, 1.0),
        (Statistic::TARGET_SIZE, 1.0),
        (size(SOFTMAX), 0.5),
        (Statistic::intersection(Probability::new(SOFTMAX, Temperature::ONE, Side::Region)), 0.5),
        (Statistic::squared_mass(SOFTMAX), 0.25),
    ] {
        let got = first([0.0, 0.0], &vec![0; pixels], Some(&weights), statistic.clone());
        assert!((got[0] / (share * exact) - 1.0).abs() < 1e-6, "{statistic}: {} for {}", got[0], share * exact);
    }
}

#[test]
fn masses_and_intersections_near_the_limit_add_up_together() {
    let (pixels, weight) = (3000, f32::MAX / 2.0);
    let labels: Vec<u8> = (0..pixels).map(|i| (i % 2) as u8).collect();
    let weights = vec![weight; pixels];
    let logits: Vec<f32> = [0.0, -(4f32.ln())].iter().flat_map(|&z| vec![z; pixels]).collect();
    let problem = problem(SOFTMAX, 2, Labels::U8(&labels), Some(&weights), &[]);
    let both = [size(SOFTMAX), Statistic::intersection(Probability::new(SOFTMAX, Temperature::ONE, Side::Region))];
    let plan = Plan::new(2, both.clone()).unwrap();
    let got = statistics(&logits, &problem, &plan).unwrap();
    let all = f64::from(weight) * pixels as f64;
    for (statistic, wanted) in both.iter().zip([[0.8, 0.2], [0.4, 0.1]]) {
        let at = plan.statistics().iter().position(|of| of == statistic).unwrap();
        for (sum, wanted) in got[at].values().iter().zip(wanted) {
            assert!((sum / all - wanted).abs() < 1e-6, "{statistic}: {sum} for {}", wanted * all);
        }
    }
}

#[test]
fn sums_of_many_blocks_may_be_beyond_the_type() {
    // 150 blocks of 256 pixels to each of 128 tasks; no block by itself overflows.
    let pixels = 128 * 150 * 256;
    let (labels, logits) = (vec![0u8; pixels], vec![0f32; 2 * pixels]);
    for weight in [f32::MAX / 1000.0, f32::MAX / 4480.0] {
        let weights = vec![weight; pixels];
        let problem = problem(SOFTMAX, 2, Labels::U8(&labels), Some(&weights), &[]);
        let (got, exact) = (sum(&logits, &problem, Statistic::VALID_SIZE)[0], f64::from(weight) * pixels as f64);
        assert!((got / exact - 1.0).abs() < 1e-9, "{got} for {exact}");
    }
}

#[test]
fn one_read_is_two() {
    // The sums bit by bit. The gradient up to the rounding of the sum of a pixel's powers, which is
    // exact only where its logarithm is taken.
    let pixels = 5000;
    let logits: Vec<f32> = (0..3 * pixels).map(|i| ((i * 7919 % 10_007) as f32 - 5000.0) / 900.0).collect();
    let labels: Vec<i64> = (0..pixels).map(|i| (i * 7 % 4) as i64).collect();
    let problem = problem(SOFTMAX, 3, Labels::I64(&labels), None, &[3]);
    let likelihood = Statistic::log_likelihood(SOFTMAX, Side::Region);
    let plan = Plan::new(3, [Statistic::VALID_SIZE, likelihood]).unwrap();
    let upstream = [None, Some(loss_core::expr::Table::filled(1, 3, -1.0 / pixels as f64))];
    let (mut one, mut two) = (vec![f32::NAN; logits.len()], vec![f32::NAN; logits.len()]);
    let together = statistics_and_gradient(&logits, &problem, &plan, &upstream, &mut one).unwrap();
    logit_gradient(&logits, &problem, &plan, &upstream, &mut two).unwrap();
    assert_eq!(together, statistics(&logits, &problem, &plan).unwrap());
    let largest = one.iter().fold(0.0f32, |largest, g| largest.max(g.abs()));
    for (a, b) in one.iter().zip(&two) {
        assert!((a - b).abs() <= 2.0 * f32::EPSILON * largest, "{a:e} and {b:e}");
    }
    let ignored = labels.iter().enumerate().filter(|(_, label)| **label == 3);
    assert!(
        ignored.into_iter().all(|(s, _)| (0..3).all(|k| (one[k * pixels + s].to_bits() | two[k * pixels + s].to_bits()) == 0))
    );
}

#[test]
fn sides_of_a_sigmoid_are_summed_apart() {
    let (activation, tau, pixels) = (Activation::Sigmoid, Temperature::ONE, 700);
    for classes in [1, 3] {
        let logits: Vec<f32> = (0..classes * pixels).map(|i| ((i * 7919 % 10_007) as f32 - 5000.0) / 400.0).collect();
        let labels: Vec<u8> = (0..pixels).map(|i| (i * 5 % classes.max(2)) as u8).collect();
        let weights: Vec<f32> = (0..pixels).map(|i| (i % 5) as f32 / 2.0).collect();
        let problem = problem(activation, classes, Labels::U8(&labels), Some(&weights), &[]);
        let of_side = |side| {
            [
                Statistic::log_likelihood(activation, side),
                Statistic::predicted_size(Probability::new(activation, tau, side)),
                Statistic::intersection(Probability::new(activation, tau, side)),
            ]
        };
        let all = [of_side(Side::Region), of_side(Side::Background)].concat();
        let plan = Plan::new(classes, all.clone()).unwrap();
        let together = statistics(&logits, &problem, &plan).unwrap();
        for statistic in all {
            let place = plan.statistics().iter().position(|known| *known == statistic).unwrap();
            let alone = sum(&logits, &problem, statistic.clone());
            for k in 0..classes {
                let summand = |s: usize| {
                    let is_inside = usize::from(labels[s]) == if classes == 1 { 1 } else { k };
                    let Some(Probability { side, .. }) = statistic.probability() else { return f64::NAN };
                    let z = f64::from(logits[k * pixels + s]) * if side == Side::Region { 1.0 } else { -1.0 };
                    let value = match statistic.of {
                        Quantity::Log(..) => -(-z).exp().ln_1p(),
                        _ => 1.0 / (1.0 + (-z).exp()),
                    };
                    let counts = (statistic.over == Over::Valid) || is_inside == (side == Side::Region);
                    if counts { f64::from(weights[s]) * value } else { 0.0 }
                };
                let exact: f64 = (0..pixels).map(summand).sum();
                for got in [together[place].values()[k], alone[k]] {
                    assert!((got / exact - 1.0).abs() < 1e-6, "{statistic}, class {k} of {classes}: {got} for {exact}");
                }
            }
        }
    }
}
