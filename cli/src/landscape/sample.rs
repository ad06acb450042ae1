//! Predictions of a known quality, without data and without chance.

use ndarray::{Array2, Array3, ArrayD, Axis};
use serde::Serialize;

/// What a prediction is like.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Setting {
    /// True proportion of each foreground class.
    #[serde(rename = "true")]
    pub(super) share: f64,
    /// Between the means of neighbouring classes' features, in standard deviations.
    pub(super) distance: f64,
    /// What the calibrated logits are multiplied by.
    pub(super) sharpness: f64,
    /// Channels of the logits; a single one is of sigmoid.
    #[serde(rename = "channels")]
    pub(super) classes: usize,
}

/// Logits `[1, K, pixels]`, labels and weights `[1, pixels]`.
pub(super) struct Sample {
    pub(super) logits: ArrayD<f64>,
    pub(super) labels: Array2<i64>,
    pub(super) weights: Array2<f64>,
}

/// Standard deviations to either side of a mean, and places within each.
const REACH: i32 = 8;
const PLACES: i32 = 400;

/// Pixels of the whole. Smoothing constants of losses vanish beside so many.
const PIXELS: f64 = 1e6;

impl Setting {
    /// The pixels of class c have a feature x that is normal with mean c·d and deviation 1. Their
    /// logits are those of Bayes' rule, which are calibrated, times the sharpness:
    ///
    /// ```text
    /// z_k = sharpness · (log t_k + k d x − (k d)² / 2)
    /// ```
    ///
    /// Each class is a grid of features, each of the weight that the normal density gives it.
    pub(super) fn sample(&self) -> Sample {
        let classes = self.classes.max(2);
        let foreground = (classes - 1) as f64 * self.share;
        let share = |class: usize| if class == 0 { 1.0 - foreground } else { self.share };
        let places = REACH * PLACES;
        let density: Vec<(f64, f64)> = (-places..=places)
            .map(|place| f64::from(place) / f64::from(PLACES))
            .map(|deviation| (deviation, (-0.5 * deviation * deviation).exp()))
            .collect();
        let whole: f64 = density.iter().map(|(_, density)| density).sum();
        let pixels = classes * density.len();
        let mut logits = Array3::zeros((1, classes, pixels));
        let mut labels = Array2::zeros((1, pixels));
        let mut weights = Array2::zeros((1, pixels));
        let points = (0..classes).flat_map(|class| density.iter().map(move |point| (class, point)));
        for (s, (class, (deviation, density))) in points.enumerate() {
            let feature = class as f64 * self.distance + deviation;
            for k in 0..classes {
                let mean = k as f64 * self.distance;
                logits[[0, k, s]] = self.sharpness * (share(k).ln() + mean * feature - 0.5 * mean * mean);
            }
            labels[[0, s]] = class as i64;
            weights[[0, s]] = PIXELS * share(class) * density / whole;
        }
        let logits = if self.classes == 1 {
            // One channel knows the difference alone.
            (&logits.index_axis(Axis(1), 1) - &logits.index_axis(Axis(1), 0)).insert_axis(Axis(1))
        } else {
            logits
        };
        Sample { logits: logits.into_dyn(), labels, weights }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proportions_are_true_and_calibrated_logits_predict_them() {
        for (classes, share) in [(2, 0.005), (2, 0.3), (3, 0.02)] {
            let Sample { logits, labels, weights } = Setting { share, distance: 2.5, sharpness: 1.0, classes }.sample();
            let [mut truth, mut predicted] = [0.0, 0.0];
            for (s, (&label, weight)) in labels.iter().zip(&weights).enumerate() {
                truth += if label == 1 { weight / PIXELS } else { 0.0 };
                let all: f64 = (0..classes).map(|k| (logits[[0, k, s]] - logits[[0, 1, s]]).exp()).sum();
                predicted += weight / PIXELS / all;
            }
            assert!((truth - share).abs() < 1e-12 && (predicted - share).abs() < 1e-9, "{truth} {predicted}");
        }
    }

    #[test]
    fn a_single_channel_says_what_two_classes_say() {
        let setting = Setting { share: 0.1, distance: 1.0, sharpness: 2.0, classes: 2 };
        let [two, one] = [setting, Setting { classes: 1, ..setting }].map(|setting| setting.sample());
        assert_eq!(one.logits.shape(), [1, 1, two.labels.len()]);
        assert!((one.logits[[0, 0, 7]] - (two.logits[[0, 1, 7]] - two.logits[[0, 0, 7]])).abs() < 1e-12);
    }
}
