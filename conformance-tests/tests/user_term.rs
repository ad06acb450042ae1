//! The term of `examples/size_cap.rs`, written outside of the library, on ndarray and on both paths
//! of Burn.

#[path = "../examples/size_cap.rs"]
#[allow(dead_code, unreachable_pub)]
mod size_cap;

use conformance_tests::adapters::{BurnFused, BurnOperations, Ndarray};
use conformance_tests::inputs::input;
use conformance_tests::{Adapter, Dtype};
use loss_core::{Loss, penalty};
use size_cap::SizeCap;

/// Σ_k max(p̂_k − cap_k, 0)², mean over samples, by the definition.
fn expected(logits: &[f64], [samples, classes, pixels]: [usize; 3], caps: &[f64]) -> f64 {
    let mut total = 0.0;
    for sample in logits.chunks(classes * pixels) {
        let share = |k: usize| {
            let of_pixel = |s: usize| {
                let sum: f64 = (0..classes).map(|j| sample[j * pixels + s].exp()).sum();
                sample[k * pixels + s].exp() / sum
            };
            (0..pixels).map(of_pixel).sum::<f64>() / pixels as f64
        };
        total += (0..classes).map(|k| (share(k) - caps[k]).max(0.0).powi(2)).sum::<f64>();
    }
    total / samples as f64
}

#[test]
fn a_term_of_ones_own_runs_with_its_gradient_on_every_backend() {
    let caps = vec![1.0, 0.2, 0.3];
    let loss: Loss = penalty(SizeCap(caps.clone()));
    assert_eq!(loss.to_string(), "size_cap");
    let input = input(&[2, 3, 4, 5], 77);
    for adapter in [&Ndarray as &dyn Adapter, &BurnFused, &BurnOperations] {
        let out = adapter.value_and_gradient(&loss, &input, Dtype::F64).unwrap();
        let value = |logits: &[f64]| expected(logits, input.lengths(), &caps);
        assert!(out.total > 1e-4, "the caps bind");
        assert!((out.total - value(&input.logits)).abs() < 1e-14, "{}: {}", adapter.name(), out.total);
        assert_eq!(out.terms[0], [out.total, 0.0, out.total, 0.0], "{}: all of it is size", adapter.name());
        for (i, gradient) in out.gradient.iter().enumerate() {
            let at = |step: f64| {
                let mut logits = input.logits.clone();
                logits[i] += step;
                value(&logits)
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((gradient - slope).abs() < 1e-10, "{}: {gradient} and {slope} at {i}", adapter.name());
        }
    }
}

#[test]
fn the_example_runs() {
    size_cap::main().unwrap();
}
