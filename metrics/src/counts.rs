//! Pixels of a class, and what is a function of their counts alone.

use std::ops::AddAssign;

use serde::Serialize;

use crate::empties::{Empties, Presence};

/// How many valid pixels of an image are true, predicted, and both. Counts of several images add
/// up: metrics of the sum are those of the pooled pixels.
///
/// With T true pixels, P predicted ones and I that are both:
///
/// | metric | formula | of whom |
/// |---|---|---|
/// | [`dice`](Self::dice) | 2I / (P + T) | MONAI's `DiceMetric`; F1 over pixels |
/// | [`iou`](Self::iou) | I / (P + T - I) | MONAI's `MeanIoU`; Jaccard |
/// | [`precision`](Self::precision) | I / P | MONAI's `ConfusionMatrixMetric` |
/// | [`recall`](Self::recall) | I / T | the same, also sensitivity |
/// | [`size_error`](Self::size_error) | (P - T) / T | signed; its size is MONAI's `compute_absolute_volume_difference` over T |
///
/// [`Empties`] says what is returned where a region is empty: `None` where the image is left out.
///
/// ```
/// use segloss_metrics::{Counts, Empties};
///
/// let counts = Counts { valid: 100, target: 10, predicted: 15, both: 5 };
/// let usual = Empties::default();
/// assert_eq!(counts.dice(usual), Some(0.4));
/// assert_eq!(counts.iou(usual), Some(0.25));
/// assert_eq!(counts.size_error(usual), Some(0.5)); // half too large
///
/// let missed = Counts { predicted: 0, both: 0, ..counts };
/// assert_eq!((missed.dice(usual), missed.size_error(usual)), (Some(0.0), Some(-1.0)));
/// assert_eq!(missed.dice(Empties::BOTH_PRESENT), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Pixels that count.
    pub valid: u64,
    /// T, those that are true.
    pub target: u64,
    /// P, those that are predicted.
    pub predicted: u64,
    /// I, those that are both.
    pub both: u64,
}

impl Counts {
    /// Which of the two regions have a pixel.
    #[must_use]
    pub fn presence(&self) -> Presence {
        match (self.target > 0, self.predicted > 0) {
            (true, true) => Presence::Both,
            (true, false) => Presence::TruthOnly,
            (false, true) => Presence::PredictionOnly,
            (false, false) => Presence::Neither,
        }
    }

    /// Dice, `2I / (P + T)`.
    #[must_use]
    pub fn dice(&self, empties: Empties) -> Option<f64> {
        let [t, p, i] = self.numbers();
        empties.score(self.presence(), || 2.0 * i / (p + t))
    }

    /// Intersection over union, `I / (P + T - I)`.
    #[must_use]
    pub fn iou(&self, empties: Empties) -> Option<f64> {
        let [t, p, i] = self.numbers();
        empties.score(self.presence(), || i / (p + t - i))
    }

    /// Which part of what is predicted is true, `I / P`.
    #[must_use]
    pub fn precision(&self, empties: Empties) -> Option<f64> {
        let [_, p, i] = self.numbers();
        empties.score(self.presence(), || i / p)
    }

    /// Which part of what is true is predicted, `I / T`.
    #[must_use]
    pub fn recall(&self, empties: Empties) -> Option<f64> {
        let [t, _, i] = self.numbers();
        empties.score(self.presence(), || i / t)
    }

    /// Relative error of the size, `(P - T) / T`: -1 where the region is missed, 0 where it is as
    /// large as it should be, 1 where it is twice as large. None without a true pixel, whose false
    /// pixels [`predicted`](Self::predicted) counts.
    #[must_use]
    pub fn size_error(&self, empties: Empties) -> Option<f64> {
        let [t, p, _] = self.numbers();
        empties.size_error(self.presence(), || (p - t) / t)
    }

    fn numbers(&self) -> [f64; 3] {
        [self.target, self.predicted, self.both].map(|n| n as f64)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.valid += other.valid;
        self.target += other.target;
        self.predicted += other.predicted;
        self.both += other.both;
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, counts| {
            sum += counts;
            sum
        })
    }
}
