//! What an image counts in which a region is missing.

use loss_core::AbsentClass;
use serde::Serialize;

use crate::error::MetricError;

/// Which of the two regions of a class have a pixel in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Both the true and the predicted region.
    Both,
    /// The true region alone: it was missed.
    TruthOnly,
    /// The predicted region alone: nothing of it is true.
    PredictionOnly,
    /// None of the two.
    Neither,
}

/// What an image counts where one of the regions is empty and the other is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OneEmpty {
    /// Nothing: the image is left out, and counted as left out.
    Skip,
    /// The worst that there is: 0 for a score; for a distance the image's diagonal,
    /// `√(Σ_a (length_a · spacing_a)²)`, which no distance within the image exceeds.
    #[default]
    Worst,
    /// As `Worst`, with this number ≥ 0 for distances, in units of the spacing: the same penalty
    /// for images of different sizes.
    Distance(f64),
}

/// The policy for empty regions: the same one for every metric.
///
/// `absent` is the losses' own type and says what an image without a true pixel of the class
/// counts; `one_empty` says how bad a miss, or a false region, is where the metric itself has no
/// value.
///
/// | true, predicted | scores (Dice, surface Dice, F1, ...) | distances | size error |
/// |---|---|---|---|
/// | yes, yes | the formula | the formula | the formula |
/// | yes, no | 0 | penalty | -1 |
/// | no, yes | by `absent`: `SkipEmpty`, `Count` 0; `Zero` 1; `Skip` left out | penalty; 0; left out | left out; `Zero` 0 |
/// | no, no | by `absent`: `Skip`, `SkipEmpty` left out; `Zero` 1; `Count` 0 | left out; 0; penalty | left out; `Zero` 0 |
///
/// With [`OneEmpty::Skip`] the second and the third row are left out. What is left out is counted
/// ([`Summary`](crate::Summary)); nothing becomes NaN.
///
/// ```
/// use segloss_metrics::{AbsentClass, Empties, OneEmpty};
///
/// // The default: a miss or a false region is as bad as can be; images without either do not
/// // count.
/// let usual = Empties::default();
/// assert_eq!((usual.absent, usual.one_empty), (AbsentClass::SkipEmpty, OneEmpty::Worst));
/// // Only images in which both are there, as evaluations do that drop failures.
/// assert_eq!(Empties::BOTH_PRESENT.one_empty, OneEmpty::Skip);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Empties {
    /// What a class without a true pixel counts.
    pub absent: AbsentClass,
    /// What a class counts of which one region is empty.
    pub one_empty: OneEmpty,
}

impl Default for Empties {
    fn default() -> Self {
        Self { absent: AbsentClass::SkipEmpty, one_empty: OneEmpty::Worst }
    }
}

/// How an image is to be scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Measured,
    Perfect,
    Worst,
    LeftOut,
}

impl Empties {
    /// Only images that have both regions count. Failures are dropped with the others: read the
    /// number of images left out beside the mean.
    pub const BOTH_PRESENT: Self = Self { absent: AbsentClass::Skip, one_empty: OneEmpty::Skip };

    /// # Errors
    /// [`MetricError::Option`] for a distance that is not a finite number ≥ 0.
    pub fn check(&self) -> Result<(), MetricError> {
        match self.one_empty {
            OneEmpty::Distance(d) if !(d.is_finite() && d >= 0.0) => {
                Err(MetricError::option("distance of a missing region", d, "a finite number of at least 0"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn verdict(&self, presence: Presence) -> Verdict {
        // What the policy of the losses makes of a score of 0: of 0/1 where something is predicted,
        // of 0/0 where nothing is.
        let absent = |denominator| match self.absent.score(0.0, denominator, 0.0) {
            None => Verdict::LeftOut,
            Some(score) if score > 0.0 => Verdict::Perfect,
            Some(_) => Verdict::Worst,
        };
        let skip = self.one_empty == OneEmpty::Skip;
        match presence {
            Presence::Both => Verdict::Measured,
            Presence::TruthOnly | Presence::PredictionOnly if skip => Verdict::LeftOut,
            Presence::TruthOnly => Verdict::Worst,
            Presence::PredictionOnly => absent(1.0),
            Presence::Neither => absent(0.0),
        }
    }

    /// A score in [0, 1], 1 the best.
    pub(crate) fn score(&self, presence: Presence, measure: impl FnOnce() -> f64) -> Option<f64> {
        match self.verdict(presence) {
            Verdict::Measured => Some(measure()),
            Verdict::Perfect => Some(1.0),
            Verdict::Worst => Some(0.0),
            Verdict::LeftOut => None,
        }
    }

    /// A distance, 0 the best.
    pub(crate) fn distance(&self, presence: Presence, diagonal: f64, measure: impl FnOnce() -> f64) -> Option<f64> {
        match (self.verdict(presence), self.one_empty) {
            (Verdict::Measured, _) => Some(measure()),
            (Verdict::Perfect, _) => Some(0.0),
            (Verdict::Worst, OneEmpty::Distance(distance)) => Some(distance),
            (Verdict::Worst, _) => Some(diagonal),
            (Verdict::LeftOut, _) => None,
        }
    }

    /// A relative error of a size, signed: without a true pixel there is no number that is worst.
    pub(crate) fn size_error(&self, presence: Presence, measure: impl FnOnce() -> f64) -> Option<f64> {
        match (self.verdict(presence), presence) {
            (Verdict::Measured, _) => Some(measure()),
            (Verdict::Worst, Presence::TruthOnly) => Some(-1.0),
            (Verdict::Perfect, _) => Some(0.0),
            _ => None,
        }
    }
}
