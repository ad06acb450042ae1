//! How often a study would find a difference.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal};

use crate::interval::student;
use crate::sample::{Design, Spread};
use crate::wilcoxon::attained;

/// More seeds or images than a plan will ask for.
const MOST: usize = 10_000;
/// Logarithm of the density, beside that at its peak, at which an integral ends.
const LEAST: f64 = -14.0;
/// Of Wilcoxon's test beside Student's, for normal differences.
const EFFICIENCY: f64 = 3.0 / std::f64::consts::PI;
/// Points of each integral over a variance, of many degrees of freedom, and more of few: their
/// distribution has a long tail.
const POINTS: [f64; 2] = [12.0, 72.0];

/// A study that is planned: of how many runs, and what is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Seeds.
    pub seeds: usize,
    /// Images of each seed.
    pub images: usize,
    /// Losses that are compared with a reference, for Holm's correction.
    pub comparisons: usize,
    /// Level of intervals.
    pub level: f64,
}

impl Spread {
    /// How often such a study would find a difference that is there: the chance that the closed
    /// form's interval leaves out 0, on the right side, and Wilcoxon's test agrees.
    ///
    /// For normal differences of this spread. Mean and variances are then independent: the chance
    /// given the variances is integrated over their distributions. In Wilcoxon's place the integral
    /// has the t-test of the same means, less efficient by 3/π, at the largest p that Wilcoxon's
    /// can have up to the level of Holm's first step: where even the smallest p is above that, the
    /// power is 0. Without spread of images or rest it is the power of a t-test of seeds' means. It
    /// is 0 too for a level outside (0, 1), and for sizes that are not finite.
    ///
    /// ```
    /// use segloss_study::{Design, Plan, Spread};
    ///
    /// // Dice by seeds ± 0.008 for both losses, images the same for all.
    /// let spread = Spread { design: Design::Crossed, seeds: 0.011, images: 0.01, rest: 0.05 };
    /// let plan = Plan { seeds: 4, images: 40, comparisons: 1, level: 0.95 };
    /// assert_eq!((100.0 * spread.power(0.025, &plan)).round(), 68.0);
    /// assert_eq!(spread.seeds_needed(0.025, 0.8, &plan), Some(5));
    /// assert_eq!(spread.images_needed(0.025, 0.8, &plan), Some(157));
    /// // Six comparisons of seven images: no p can be small enough.
    /// assert_eq!(spread.power(1.0, &Plan { images: 7, comparisons: 6, ..plan }), 0.0);
    /// ```
    #[must_use]
    pub fn power(&self, difference: f64, plan: &Plan) -> f64 {
        let sizes = [self.seeds, self.images, self.rest, difference];
        if !(plan.level > 0.0 && plan.level < 1.0) || sizes.iter().any(|size| !size.is_finite()) {
            return 0.0;
        }
        let images = if self.design == Design::Nested { plan.seeds.saturating_mul(plan.images) } else { plan.images };
        let p = attained(images, (1.0 - plan.level) / plan.comparisons.max(1) as f64);
        if plan.seeds < 2 || images < 2 || p == 0.0 {
            return 0.0;
        }
        self.found(difference, plan, student(images as f64 - 1.0, 1.0 - p) / EFFICIENCY.sqrt())
    }

    /// The chance of a mean that is above the interval's half-width and above `t_tested` standard
    /// errors of images alone.
    fn found(&self, difference: f64, plan: &Plan, t_tested: f64) -> f64 {
        let [s, i] = [plan.seeds, plan.images].map(|n| n as f64);
        let nested = self.design == Design::Nested;
        // What the variances of the mean are expected to be.
        let rest = self.rest.powi(2) / (s * i);
        let seeds = self.seeds.powi(2) / s + rest;
        let images = if nested { rest } else { self.images.powi(2) / i + rest };
        let sd = (seeds + images - rest).sqrt();
        let free_of_images = if nested { s * (i - 1.0) } else { i - 1.0 };
        let free_of_rest = if nested { 0.0 } else { (s - 1.0) * (i - 1.0) };
        let squared = |freedom: f64| if freedom > 0.0 { student(freedom, plan.level).powi(2) } else { 0.0 };
        let (t_seeds, t_images) = (squared(s - 1.0), squared(free_of_images));
        let of_images = variances(images, free_of_images);
        let of_rest = variances(rest, free_of_rest);
        let mut power = 0.0;
        for (v_seeds, w_seeds) in variances(seeds, s - 1.0) {
            for &(v_images, w_images) in &of_images {
                // Nested, all images together vary between the seeds and within.
                let between = (s - 1.0) * v_seeds + free_of_images * v_images;
                let tested = if nested { between / (s * i - 1.0) } else { v_images };
                let least = (t_images * v_images).max(t_tested.powi(2) * tested);
                for &(v_rest, w_rest) in &of_rest {
                    let beyond = if nested { 0.0 } else { t_images * (v_images - v_rest).max(0.0) };
                    let half = (t_seeds * v_seeds + beyond).max(least).sqrt();
                    power += w_seeds * w_images * w_rest * above(difference.abs() - half, sd);
                }
            }
        }
        // The weights' sum is rounded.
        power.clamp(0.0, 1.0)
    }

    /// The fewest seeds with which the plan would find the difference as often as `power` says, its
    /// images being as they are. `None` where 10 000 would not do.
    #[must_use]
    pub fn seeds_needed(&self, difference: f64, power: f64, plan: &Plan) -> Option<usize> {
        fewest(|seeds| self.power(difference, &Plan { seeds, ..*plan }) >= power)
    }

    /// The fewest images of each seed with which the plan would, its seeds being as they are.
    #[must_use]
    pub fn images_needed(&self, difference: f64, power: f64, plan: &Plan) -> Option<usize> {
        fewest(|images| self.power(difference, &Plan { images, ..*plan }) >= power)
    }
}

/// Whether the smallest p of Wilcoxon's test, 2/2^n, is small enough for the first step of Holm's
/// correction.
pub(crate) fn can_reach(images: f64, comparisons: usize, level: f64) -> bool {
    smallest_p(images, comparisons) <= 1.0 - level
}

pub(crate) fn smallest_p(images: f64, comparisons: usize) -> f64 {
    ((1.0 - images).exp2() * comparisons.max(1) as f64).min(1.0)
}

fn above(margin: f64, sd: f64) -> f64 {
    if sd > 0.0 { Normal::standard().cdf(margin / sd) } else { f64::from(margin > 0.0) }
}

/// The least that will do, where all above it do as well.
fn fewest(mut will_do: impl FnMut(usize) -> bool) -> Option<usize> {
    let mut enough = 2;
    while !will_do(enough) {
        enough *= 2;
        if enough > MOST {
            return None;
        }
    }
    let mut too_few = if enough == 2 { 1 } else { enough / 2 };
    while enough - too_few > 1 {
        let middle = usize::midpoint(too_few, enough);
        if will_do(middle) {
            enough = middle;
        } else {
            too_few = middle;
        }
    }
    Some(enough)
}

/// Estimates of a variance with their weights, which are those of χ²/freedom: points at even
/// steps of its logarithm, from 1e-6 of the density at its peak to the same beyond.
fn variances(expected: f64, freedom: f64) -> Vec<(f64, f64)> {
    // Without degrees of freedom it is not estimated; with so many it does not vary.
    if expected <= 0.0 || freedom <= 0.0 || freedom > 1e9 {
        return vec![(expected.max(0.0), 1.0)];
    }
    // Of y = ln(χ²/freedom), but for a constant; 0 at the peak.
    let log_density = |y: f64| freedom / 2.0 * (y - y.exp_m1());
    let end = |sign: f64| {
        let [mut inside, mut outside] = [0.0, sign];
        while log_density(outside) > LEAST {
            outside *= 2.0;
        }
        for _ in 0..40 {
            let middle = 0.5 * (inside + outside);
            *(if log_density(middle) > LEAST { &mut inside } else { &mut outside }) = middle;
        }
        outside
    };
    let (low, high) = (end(-1.0), end(1.0));
    let count = (POINTS[0] + POINTS[1] / freedom).ceil();
    let points: Vec<(f64, f64)> = (0..count as usize)
        .map(|k| low + (high - low) * (k as f64 + 0.5) / count)
        .map(|y| (expected * y.exp(), log_density(y).exp()))
        .collect();
    let sum: f64 = points.iter().map(|(_, weight)| weight).sum();
    points.into_iter().map(|(variance, weight)| (variance, weight / sum)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chance that the closed form's interval leaves out a mean difference of 0, on both sides,
    /// by the integral that is the power.
    fn rate(spread: Spread, seeds: usize, images: usize) -> f64 {
        2.0 * spread.found(0.0, &Plan { seeds, images, comparisons: 1, level: 0.95 }, 0.0)
    }

    /// Beyond the sums for which it is proven: the rest is taken out of one part.
    #[test]
    fn intervals_of_95_percent_leave_out_0_in_hardly_more_than_5_whatever_the_spread() {
        let (mut most, mut most_of_four) = (0.0, 0.0);
        for seeds in [2, 3, 4, 5, 8, 12, 20, 30, 60] {
            for images in [2, 3, 5, 7, 12, 20, 40, 100] {
                for of_seeds in [0.0, 0.1, 0.3, 1.0, 3.0] {
                    for of_images in [0.0, 0.1, 0.3, 0.6, 1.0, 3.0] {
                        let spread = Spread { design: Design::Crossed, seeds: of_seeds, images: of_images, rest: 1.0 };
                        let rate = rate(spread, seeds, images);
                        most = f64::max(most, rate);
                        most_of_four = f64::max(most_of_four, if seeds <= 4 { rate } else { 0.0 });
                    }
                    let spread = Spread { design: Design::Nested, seeds: of_seeds, images: 0.0, rest: 1.0 };
                    most_of_four = f64::max(most_of_four, rate(spread, seeds, images));
                }
            }
        }
        assert!(most <= 0.054 && most > 0.05, "{most}");
        assert!(most_of_four <= 0.0501 && most_of_four > 0.049, "{most_of_four}");
    }
}
