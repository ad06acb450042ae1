//! Gradients, by hand: of single statistics, and where derivatives and weights are far from 1.

mod common;

use common::{problem, size};
use loss_core::expr::Table;
use loss_core::{Activation, Plan, Probability, Side, Statistic, Temperature};
use loss_kernels::{Labels, Problem, Shares, Target, logit_gradient};

const SIZE: Statistic = Statistic::predicted_size(Probability::new(Activation::Softmax, Temperature::ONE, Side::Region));

/// The gradient of two-class samples of one pixel each, with the same logits, from derivatives of a
/// statistic.
fn handed(statistic: Statistic, derivatives: &[[f64; 2]], logits: [f32; 2], weight: f32) -> Vec<f32> {
    let samples = derivatives.len();
    let (labels, weights, shape) = (vec![0u8; samples], vec![weight; samples], [samples, 1]);
    let target = (Target::Labels(Labels::U8(&labels)), &shape[..]);
    let weights = Some((Shares::F32(&weights), &shape[..]));
    let problem = Problem::new(&[samples, 2, 1], target, weights, &[], Activation::Softmax).unwrap();
    let plan = Plan::new(2, [statistic]).unwrap();
    let upstream = Table::new(samples, 2, derivatives.as_flattened().to_vec()).unwrap();
    let mut gradient = vec![f32::NAN; 2 * samples];
    logit_gradient(&logits.repeat(samples), &problem, &plan, &[Some(upstream)], &mut gradient).unwrap();
    gradient
}

/// p·(1 − p) of the first class.
fn slope(logits: [f32; 2]) -> f64 {
    let e = f64::from(logits[1] - logits[0]).exp();
    e / (1.0 + e).powi(2)
}

fn assert_near(got: f32, want: f64) {
    assert!((f64::from(got) / want - 1.0).abs() < 2e-6, "{got:e}, not {want:e}");
}

#[test]
fn derivatives_beyond_the_logits_type_are_kept() {
    let logits = [0.5, -0.25];
    for (derivative, weight) in [(1.2345e-43, 1e10), (-1.2345e-43, 1e10), (1.2345e40, 1e-10), (-1.2345e40, 1e-10)] {
        let want = derivative * f64::from(weight) * slope(logits);
        let got = handed(SIZE, &[[derivative, 0.0]], logits, weight);
        assert_near(got[0], want);
        assert_near(got[1], -want);
    }
}

#[test]
fn a_sample_without_a_finite_derivative_leaves_the_others_alone() {
    let logits = [12.5, -12.5];
    let got = handed(SIZE, &[[f64::INFINITY, 0.0], [1.0, 0.0]], logits, 1.0);
    assert!(!got[0].is_finite());
    assert_near(got[2], slope(logits));
    assert_near(got[3], -slope(logits));
}

#[test]
fn an_ignored_pixel_has_no_gradient_whatever_the_derivative() {
    for activation in [Activation::Softmax, Activation::Sigmoid] {
        let problem = problem(activation, 2, Labels::U8(&[0, 255, 1]), None, &[255]);
        let plan = Plan::new(2, [size(activation)]).unwrap();
        let mut gradient = [f32::NAN; 6];
        let upstream = Some(Table::filled(1, 2, f64::INFINITY));
        logit_gradient(&[0.5, f32::NAN, 1.0, -0.25, f32::INFINITY, 2.0], &problem, &plan, &[upstream], &mut gradient[..])
            .unwrap();
        assert_eq!([gradient[1].to_bits(), gradient[4].to_bits()], [0; 2], "{gradient:?}");
        assert!(!gradient[0].is_finite() && !gradient[5].is_finite(), "{gradient:?}");
    }
}

#[test]
fn what_is_below_the_least_normal_number_is_zero() {
    let logits = [12.5, -12.5];
    assert_eq!(handed(SIZE, &[[1e-30, 0.0]], logits, 1.0), [0.0; 2]);
    let got = handed(SIZE, &[[1e-24, 0.0]], logits, 1.0);
    assert_near(got[0], 1e-24 * slope(logits));
}

#[test]
fn nothing_handed_down_is_a_gradient_of_zero() {
    assert_eq!(handed(SIZE, &[[0.0; 2]; 2], [0.5, -0.25], 1.0), [0.0; 4]);
}

#[test]
fn squared_masses_of_all_classes_hand_down() {
    let (logits, [a, b]) = ([0.5, -0.25], [3.0, -2.0]);
    let first = 1.0 / (1.0 + f64::from(logits[1] - logits[0]).exp());
    let want = 2.0 * (a * first - b * (1.0 - first)) * slope(logits);
    let got = handed(Statistic::squared_mass(Activation::Softmax), &[[a, b]], logits, 1.0);
    assert_near(got[0], want);
    assert_near(got[1], -want);
}

#[test]
fn few_classes_are_as_many() {
    // In f32, loops over two, three and four classes are unrolled; in f64, those over two.
    let pixels = 1000;
    let ten = Temperature::new(10.0).unwrap();
    for (activation, classes) in
        (2..=6).map(|k| (Activation::Softmax, k)).chain([(Activation::Sigmoid, 1), (Activation::Sigmoid, 3)])
    {
        let logits: Vec<f32> = (0..classes * pixels).map(|i| ((i * 7919 % 10_007) as f32 - 5000.0) / 1500.0).collect();
        let wide: Vec<f64> = logits.iter().map(|&z| z.into()).collect();
        let labels: Vec<i64> = (0..pixels).map(|i| (i * 5 % classes.max(2)) as i64).collect();
        let problem = problem(activation, classes, Labels::I64(&labels), None, &[]);
        let statistics = [
            size(activation),
            Statistic::predicted_size(Probability::new(activation, ten, Side::Region)),
            Statistic::intersection(Probability::new(activation, Temperature::ONE, Side::Region)),
            Statistic::log_likelihood(activation, Side::Region),
            Statistic::squared_mass(activation),
        ];
        for count in [4, 5] {
            let plan = Plan::new(classes, statistics[..count].iter().cloned()).unwrap();
            let of_class = |i: usize, k: usize| ((3 * i + 5 * k) % 7) as f64 - 3.0;
            let table = |i| Table::new(1, classes, (0..classes).map(|k| of_class(i, k)).collect());
            let upstream: Vec<_> = (0..count).map(|i| Some(table(i).unwrap())).collect();
            let sums = loss_kernels::statistics(&logits, &problem, &plan).unwrap();
            let wide_sums = loss_kernels::statistics(&wide, &problem, &plan).unwrap();
            for (statistic, (a, b)) in plan.statistics().iter().zip(sums.iter().zip(&wide_sums)) {
                for (a, b) in a.values().iter().zip(b.values()) {
                    assert!((a - b).abs() <= 1e-6 * b.abs(), "{statistic} of {classes} classes: {a} for {b}");
                }
            }
            let (mut gradient, mut exact) = (Vec::<f32>::new(), Vec::<f64>::new());
            logit_gradient(&logits, &problem, &plan, &upstream, &mut gradient).unwrap();
            logit_gradient(&wide, &problem, &plan, &upstream, &mut exact).unwrap();
            for (a, b) in gradient.iter().zip(&exact) {
                assert!((f64::from(*a) - b).abs() <= 2e-5, "{activation:?}, {classes} classes: {a} for {b}");
            }
        }
    }
}

#[test]
fn samples_cut_into_segments_have_their_own_gradients() {
    const PIXELS: usize = 10_000;
    let (samples, classes) = (3, 2);
    let numbers = |n: usize| (0..n).map(|i| ((i * 7919 % 1009) as f32 / 250.0) - 2.0).collect::<Vec<f32>>();
    let logits = numbers(samples * classes * PIXELS);
    let labels: Vec<u8> = (0..samples * PIXELS).map(|i| (i * 31 % 7 % 2) as u8).collect();
    let plan = Plan::new(classes, [SIZE]).unwrap();
    let gradient = |samples: usize, logits: &[f32], labels: &[u8], derivatives: &[f64]| {
        let target = (Target::Labels(Labels::U8(labels)), &[samples, PIXELS][..]);
        let problem = Problem::new(&[samples, classes, PIXELS], target, None, &[], Activation::Softmax).unwrap();
        let upstream = Table::new(samples, classes, derivatives.to_vec()).unwrap();
        let mut gradient = Vec::<f32>::new();
        logit_gradient(logits, &problem, &plan, &[Some(upstream)], &mut gradient).unwrap();
        gradient
    };
    // Powers of two, so that the unit they are measured in does not round.
    let derivatives = [1.0, -0.5, 0.25, 0.125, -1.0, 0.5];
    let together = gradient(samples, &logits, &labels, &derivatives);
    for (n, got) in together.chunks_exact(classes * PIXELS).enumerate() {
        let of = |length: usize| n * length..(n + 1) * length;
        let (logits, labels) = (&logits[of(classes * PIXELS)], &labels[of(PIXELS)]);
        assert!(got == gradient(1, logits, labels, &derivatives[of(classes)]), "sample {n}");
    }
}
