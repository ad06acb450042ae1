//! Random scenes and the sums of theory.

use conformance_tests::adapters::Ndarray;
use conformance_tests::oracle::{self, Target};
use conformance_tests::{Adapter, Dtype, Input, Output};
use loss_core::Loss;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Label of pixels without influence.
pub(crate) const IGNORED: i64 = 255;

/// The same cases in every run; more of them with `PROPTEST_CASES`.
pub(crate) fn config() -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(2104_08717), ..ProptestConfig::default() }
}

/// Logits `[N, K, S]` and labels `[N, S]`.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) samples: usize,
    pub(crate) classes: usize,
    pub(crate) pixels: usize,
    pub(crate) logits: Vec<f64>,
    pub(crate) labels: Vec<i64>,
}

/// Scenes of up to 3 samples, 5 classes and 9 pixels, a fifth of the pixels ignored.
pub(crate) fn scenes() -> impl Strategy<Value = Scene> {
    (1..=3usize, 2..=5usize, 1..=9usize).prop_flat_map(|(samples, classes, pixels)| {
        let label = prop_oneof![1 => Just(IGNORED), 4 => 0..classes as i64];
        let logits = prop::collection::vec(-6.0..6.0f64, samples * classes * pixels);
        let labels = prop::collection::vec(label, samples * pixels);
        (logits, labels).prop_map(move |(logits, labels)| Scene { samples, classes, pixels, logits, labels })
    })
}

impl Scene {
    /// A loss that ignores what the scene ignores.
    pub(crate) fn loss(text: &str) -> Loss {
        let loss: Loss = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        loss.with_ignore_index(IGNORED)
    }

    pub(crate) fn input(&self) -> Input {
        Input {
            shape: vec![self.samples, self.classes, self.pixels],
            logits: self.logits.clone(),
            target: Target::Labels(self.labels.clone()),
            ..Input::default()
        }
    }

    /// Total, parts and gradient of a loss.
    pub(crate) fn run(&self, text: &str) -> Output {
        self.try_run(&Self::loss(text)).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The same, or why not.
    pub(crate) fn try_run(&self, loss: &Loss) -> Result<Output, String> {
        Ndarray.value_and_gradient(loss, &self.input(), Dtype::F64).map_err(|error| error.to_string())
    }

    /// Value, matching, size and constant of a loss of one term.
    pub(crate) fn parts(&self, text: &str) -> [f64; 4] {
        let output = self.run(text);
        [0, 1, 2, 3].map(|i| output.terms[0][i])
    }

    /// T, P, I, L per class and M, pooled over the batch.
    pub(crate) fn sums(&self) -> Sums {
        let sums = oracle::statistics(&self.input().problem(oracle::Activation::Softmax, vec![IGNORED]), 1.0);
        let pool = |values: &[f64]| (0..self.classes).map(|k| values.iter().skip(k).step_by(self.classes).sum()).collect();
        Sums {
            valid: sums.valid.iter().sum(),
            target: pool(&sums.target),
            predicted: pool(&sums.predicted),
            both: pool(&sums.intersection),
            log: pool(&sums.log_likelihood),
        }
    }

    /// One sample by itself.
    pub(crate) fn sample(&self, n: usize) -> Self {
        let (count, size) = (self.pixels, self.classes * self.pixels);
        Self {
            samples: 1,
            logits: self.logits[n * size..(n + 1) * size].to_vec(),
            labels: self.labels[n * count..(n + 1) * count].to_vec(),
            ..*self
        }
    }

    /// Probabilities of the classes at a pixel, by the definition.
    pub(crate) fn probabilities(&self, n: usize, s: usize) -> Vec<f64> {
        let exps: Vec<f64> = (0..self.classes).map(|k| self.logits[self.at(n, k, s)].exp()).collect();
        let total: f64 = exps.iter().sum();
        exps.into_iter().map(|e| e / total).collect()
    }

    pub(crate) fn at(&self, n: usize, k: usize, s: usize) -> usize {
        (n * self.classes + k) * self.pixels + s
    }

    /// Valid pixels: sample, pixel, label.
    pub(crate) fn valid(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let pixels = self.pixels;
        let labels = self.labels.iter().enumerate().filter(|(_, label)| **label != IGNORED);
        labels.map(move |(i, &label)| (i / pixels, i % pixels, label as usize))
    }
}

/// Sums per class, over the batch.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    /// M
    pub(crate) valid: f64,
    /// T
    pub(crate) target: Vec<f64>,
    /// P
    pub(crate) predicted: Vec<f64>,
    /// I
    pub(crate) both: Vec<f64>,
    /// L
    pub(crate) log: Vec<f64>,
}

impl Sums {
    /// Classes with a true pixel.
    pub(crate) fn present(&self) -> impl Iterator<Item = usize> {
        (0..self.target.len()).filter(|&k| self.target[k] > 0.0)
    }

    /// t̂
    pub(crate) fn true_share(&self, k: usize) -> f64 {
        self.target[k] / self.valid
    }

    /// p̂
    pub(crate) fn predicted_share(&self, k: usize) -> f64 {
        self.predicted[k] / self.valid
    }

    /// KL(t̂ ‖ p̂)
    pub(crate) fn divergence(&self) -> f64 {
        self.present().map(|k| self.true_share(k) * (self.true_share(k) / self.predicted_share(k)).ln()).sum()
    }

    /// H(t̂)
    pub(crate) fn entropy(&self) -> f64 {
        self.present().map(|k| -self.true_share(k) * self.true_share(k).ln()).sum()
    }
}

/// Fails unless two numbers agree to 1e-12 of the larger, or of 1.
pub(crate) fn agree(what: &str, a: f64, b: f64) -> Result<(), TestCaseError> {
    let scale = a.abs().max(b.abs()).max(1.0);
    prop_assert!((a - b).abs() <= 1e-12 * scale, "{what}: {a} and {b}, off by {:e}", (a - b).abs());
    Ok(())
}

/// The same for arrays, relative to their largest entry.
pub(crate) fn agree_all(what: &str, a: &[f64], b: &[f64]) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.len(), b.len());
    let scale = a.iter().chain(b).fold(1.0f64, |scale, x| scale.max(x.abs()));
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        prop_assert!((a - b).abs() <= 1e-12 * scale, "{what} at {i}: {a} and {b}, off by {:e}", (a - b).abs());
    }
    Ok(())
}
