//! What may be said of two losses.

use serde::Serialize;

use crate::power::{Plan, can_reach, smallest_p};
use crate::row::{Direction, Metric};
use crate::sample::Spread;

/// What may be said of a loss, against the other.
///
/// | interval | Wilcoxon's p after Holm | verdict |
/// |---|---|---|
/// | leaves out 0 | at most 1 - level, same sign | [`Better`], [`Worse`], [`Larger`], [`Smaller`] |
/// | within ± the margin | any other | [`NoLargerThan`] the margin |
/// | any | cannot be so small of so few images | not enough: [`Shortage::Images`] |
/// | leaves out 0 | larger | not enough: [`Shortage::Test`] |
/// | holds 0, no margin is given | any | [`NoLargerThan`] its end that is farther from 0 |
/// | holds 0, beyond the margin | any | not enough: [`Shortage::Runs`] |
///
/// [`Better`]: Self::Better
/// [`Worse`]: Self::Worse
/// [`Larger`]: Self::Larger
/// [`Smaller`]: Self::Smaller
/// [`NoLargerThan`]: Self::NoLargerThan
///
/// The first row that fits counts. Where there is no interval, of one seed or one image, there is
/// not enough. A loss of which more runs came to nothing than of the other is called neither better
/// nor no different by those that did not: [`Failures`](Self::Failures).
///
/// Both are asked, for each knows what the other does not. The interval is of seeds and images that
/// one did not try: a test over images takes the luck of a seed, which all its images share, for a
/// difference of the losses. The test needs no normal scores, and Holm's correction counts how many
/// losses were tried. The closed form's interval leaves out 0 only where a t-test over images would
/// too, so the two rarely disagree but for the correction.
///
/// An interval of level 0.95 within ± the margin is an equivalence test at 2.5 % a side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// Better; all the interval may still be smaller than what matters.
    #[non_exhaustive]
    Better {
        /// Whether the interval lies within ± the margin.
        within_margin: bool,
    },
    /// Worse.
    #[non_exhaustive]
    Worse {
        /// Whether the interval lies within ± the margin.
        within_margin: bool,
    },
    /// Larger, of a metric of which neither direction is better.
    #[non_exhaustive]
    Larger {
        /// Whether the interval lies within ± the margin.
        within_margin: bool,
    },
    /// Smaller, of such a metric.
    #[non_exhaustive]
    Smaller {
        /// Whether the interval lies within ± the margin.
        within_margin: bool,
    },
    /// The interval lies within ± this.
    #[non_exhaustive]
    NoLargerThan {
        /// The margin, or the end of the interval that is farther from 0.
        difference: f64,
        /// Whether it is the margin.
        is_margin: bool,
    },
    /// Too little was run to tell.
    NotEnough(Shortage),
    /// More runs of the one came to nothing than of the other.
    #[non_exhaustive]
    Failures {
        /// Whether they are the loss's, not the reference's.
        of_loss: bool,
    },
}

/// What there is too little of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "of", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Shortage {
    /// No image has a score of both losses with one seed.
    Pairs,
    /// One seed tells nothing of others.
    Seeds,
    /// So few images that no p of the test can be small enough.
    #[non_exhaustive]
    Images {
        /// The smallest p there can be, after Holm's correction.
        smallest_p: f64,
        /// How many images would do.
        needed: usize,
    },
    /// The interval leaves out 0 and the test does not agree.
    Test,
    /// The interval holds 0, and differences that matter.
    #[non_exhaustive]
    Runs {
        /// How often such a study would find a difference as large as the margin.
        power: f64,
        /// How often it should.
        wanted: f64,
        /// How many seeds would do, with these images; `None` where no number of them would.
        seeds: Option<usize>,
        /// How many images of each seed would do, with these seeds; `None` where none would.
        images: Option<usize>,
    },
}

impl Verdict {
    /// Whether it says that there is a difference.
    #[must_use]
    pub fn is_difference(&self) -> bool {
        matches!(self, Self::Better { .. } | Self::Worse { .. } | Self::Larger { .. } | Self::Smaller { .. })
    }
}

/// All that a verdict is made of.
pub(crate) struct Evidence<'a> {
    pub(crate) metric: &'a Metric,
    pub(crate) pairs: usize,
    /// Images that the test is of.
    pub(crate) images: usize,
    pub(crate) interval: Option<[f64; 2]>,
    pub(crate) spread: Option<Spread>,
    /// After correction.
    pub(crate) p: f64,
    /// Sums of the ranks above 0 and below.
    pub(crate) ranks: [f64; 2],
    /// Of the study as it is.
    pub(crate) plan: Plan,
    pub(crate) power: f64,
    /// Runs without scores, of the loss and of the reference.
    pub(crate) failed: [usize; 2],
}

impl Evidence<'_> {
    pub(crate) fn verdict(&self) -> Verdict {
        let verdict = self.of_scores();
        let [loss, reference] = self.failed;
        let hides = |favours_loss: bool| match verdict {
            Verdict::Better { .. } => favours_loss,
            Verdict::Worse { .. } => !favours_loss,
            Verdict::Larger { .. } | Verdict::Smaller { .. } | Verdict::NoLargerThan { .. } => true,
            _ => false,
        };
        if loss != reference && hides(loss > reference) {
            return Verdict::Failures { of_loss: loss > reference };
        }
        verdict
    }

    fn of_scores(&self) -> Verdict {
        let ([low, high], Some(spread)) = (match self.interval {
            Some(interval) => (interval, self.spread),
            None if self.pairs == 0 => return Verdict::NotEnough(Shortage::Pairs),
            None if self.plan.seeds < 2 => return Verdict::NotEnough(Shortage::Seeds),
            None => return self.too_few_images(),
        }) else {
            return self.too_few_images();
        };
        let greater_end = low.abs().max(high.abs());
        let within_margin = self.metric.margin.is_some_and(|margin| greater_end <= margin);
        let p_is_small = self.p <= 1.0 - self.plan.level;
        let [above, below] = self.ranks;
        let (is_larger, is_smaller) = (low > 0.0 && above > below, high < 0.0 && above < below);
        if p_is_small && (is_larger || is_smaller) {
            return match (self.metric.direction, is_larger) {
                (Direction::Larger, true) | (Direction::Smaller, false) => Verdict::Better { within_margin },
                (Direction::Larger, false) | (Direction::Smaller, true) => Verdict::Worse { within_margin },
                (Direction::Neither, true) => Verdict::Larger { within_margin },
                (Direction::Neither, false) => Verdict::Smaller { within_margin },
            };
        }
        match self.metric.margin {
            Some(margin) if within_margin => Verdict::NoLargerThan { difference: margin, is_margin: true },
            _ if !can_reach(self.images as f64, self.plan.comparisons, self.plan.level) => self.too_few_images(),
            _ if low > 0.0 || high < 0.0 => Verdict::NotEnough(Shortage::Test),
            None => Verdict::NoLargerThan { difference: greater_end, is_margin: false },
            Some(margin) => Verdict::NotEnough(Shortage::Runs {
                power: spread.power(margin, &self.plan),
                wanted: self.power,
                seeds: spread.seeds_needed(margin, self.power, &self.plan),
                images: spread.images_needed(margin, self.power, &self.plan),
            }),
        }
    }

    fn too_few_images(&self) -> Verdict {
        let (comparisons, level) = (self.plan.comparisons, self.plan.level);
        let smallest_p = smallest_p(self.images as f64, comparisons);
        // Each image halves p: a few dozen more will do.
        let needed = (self.images..).find(|&images| can_reach(images as f64, comparisons, level)).unwrap_or(self.images);
        Verdict::NotEnough(Shortage::Images { smallest_p, needed: needed.max(2) })
    }
}
