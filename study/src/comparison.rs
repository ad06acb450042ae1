//! What comes out, as numbers and in words.

use std::fmt::{Display, Formatter};

use serde::Serialize;

use crate::row::Metric;
use crate::sample::{Design, Spread};
use crate::verdict::{Shortage, Verdict};
use crate::wilcoxon::{Effect, Wilcoxon};

/// A run without scores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedRun {
    /// Its seed.
    pub seed: u64,
    /// Why, as the failure said; `None` where there is neither a row nor a failure.
    pub reason: Option<String>,
}

/// How many pairs of scores were left out, in runs that gave scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The loss has no score.
    pub loss: usize,
    /// The reference has none.
    pub reference: usize,
    /// Neither has.
    pub both: usize,
}

/// Two losses in one condition, by one metric. Its text is the verdict with its numbers; those of
/// a verdict of better or worse are positive.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Comparison {
    /// The condition.
    pub condition: String,
    /// The loss.
    pub loss: String,
    /// Which other one it is compared with.
    pub reference: String,
    /// What was measured.
    pub metric: Metric,
    /// How images belong to seeds.
    pub design: Design,
    /// Seeds with a pair.
    pub seeds: usize,
    /// Images with a pair; nested, of all seeds together.
    pub images: usize,
    /// Pairs of scores.
    pub pairs: usize,
    /// Whether all pairs are equal, or there is none.
    pub all_equal: bool,
    /// The loss's score less the reference's: crossed, the mean over images of means over seeds;
    /// nested, the mean over seeds of means over images.
    pub mean_difference: Option<f64>,
    /// Level of the interval.
    pub level: f64,
    /// Of the mean difference; `None` of one seed, or of one image that all seeds share.
    pub interval: Option<[f64; 2]>,
    /// How much differences vary; `None` where there is no interval.
    pub spread: Option<Spread>,
    /// How large the differences of images are, of means over seeds.
    pub effect: Effect,
    /// The test of the differences of images, of means over seeds.
    pub wilcoxon: Wilcoxon,
    /// The test's p by Holm's correction over the condition's comparisons.
    pub p_holm: f64,
    /// How many these are.
    pub comparisons: usize,
    /// Pairs without both scores.
    pub left_out: LeftOut,
    /// The loss's runs without scores.
    pub failed: Vec<FailedRun>,
    /// The reference's.
    pub failed_reference: Vec<FailedRun>,
    /// What may be said.
    pub verdict: Verdict,
}

/// One loss in one condition, by one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Mean {
    /// The condition.
    pub condition: String,
    /// The loss.
    pub loss: String,
    /// What was measured.
    pub metric: Metric,
    /// How images belong to seeds.
    pub design: Design,
    /// Seeds with a score.
    pub seeds: usize,
    /// Images with a score; nested, of all seeds together.
    pub images: usize,
    /// Scores.
    pub scores: usize,
    /// Crossed, the mean over images of means over seeds; nested, the mean over seeds of means over
    /// images. `None` without a score.
    pub mean: Option<f64>,
    /// Level of the interval.
    pub level: f64,
    /// Of the mean; `None` of one seed, or of one image that all seeds share.
    pub interval: Option<[f64; 2]>,
    /// How much scores vary; `None` where there is no interval.
    pub spread: Option<Spread>,
    /// Scores that are left out, in runs that gave scores.
    pub left_out: usize,
    /// Runs without scores.
    pub failed: Vec<FailedRun>,
}

/// As many decimals as leave two digits of the interval's half-width.
fn decimals([low, high]: [f64; 2]) -> usize {
    let half = (high - low) / 2.0;
    if half > 0.0 { (1.0 - half.log10().floor()).clamp(0.0, 12.0) as usize } else { 3 }
}

/// Rounded, and never -0.
fn rounded(value: f64, decimals: usize) -> f64 {
    let unit = 10f64.powi(decimals as i32);
    (value * unit).round() / unit + 0.0
}

/// Rounded away from 0, so that what is within the number is within its text.
fn rounded_up(value: f64, decimals: usize) -> f64 {
    let unit = 10f64.powi(decimals as i32);
    (value * unit).ceil() / unit
}

/// A share in percent, without digits that are not there.
fn percent(share: f64) -> f64 {
    (share * 1e4).round() / 100.0
}

/// A p-value as one writes it.
struct P(f64);

impl Display for P {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        if self.0 < 0.001 { f.write_str("p < 0.001") } else { write!(f, "p = {:.3}", self.0) }
    }
}

/// A number with its interval, decimals, unit and level.
struct Of<'a>(f64, [f64; 2], usize, &'a str, f64);

impl Display for Of<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let &Self(value, [low, high], decimals, unit, level) = self;
        let [value, low, high] = [value, low, high].map(|number| rounded(number, decimals));
        let level = percent(level);
        write!(f, "{value:.decimals$} {unit} ({level} % interval {low:.decimals$} to {high:.decimals$})")
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.of_verdict(f)?;
        self.of_the_test(f)?;
        let left_out = self.left_out.loss + self.left_out.reference + self.left_out.both;
        if left_out > 0 {
            write!(f, "; {left_out} of {} pairs left out", left_out + self.pairs)?;
        }
        failures(f, &self.loss, &self.failed)?;
        failures(f, &self.reference, &self.failed_reference)
    }
}

impl Comparison {
    /// The mean with its interval, in the direction in which the mean is positive.
    fn distance(&self) -> Option<Of<'_>> {
        let (mean, [low, high]) = (self.mean_difference?, self.interval?);
        let turned = if mean < 0.0 { [-high, -low] } else { [low, high] };
        Some(Of(mean.abs(), turned, decimals(turned), &self.metric.name, self.level))
    }

    fn of_verdict(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let word = match self.verdict {
            Verdict::Better { .. } => "better",
            Verdict::Worse { .. } => "worse",
            Verdict::Larger { .. } => "larger",
            Verdict::Smaller { .. } => "smaller",
            Verdict::NoLargerThan { difference, is_margin } => return self.of_none(f, difference, is_margin),
            Verdict::NotEnough(shortage) => return self.of_shortage(f, shortage),
            Verdict::Failures { of_loss } => {
                let [more, fewer] = if of_loss { [&self.loss, &self.reference] } else { [&self.reference, &self.loss] };
                write!(f, "no verdict: more runs of {more} than of {fewer} gave no scores; the others ")?;
                return self.of_difference(f);
            }
        };
        if let Some(distance) = self.distance() {
            write!(f, "{word} by {distance}")?;
        }
        match (self.verdict, self.metric.margin) {
            (
                Verdict::Better { within_margin: true }
                | Verdict::Worse { within_margin: true }
                | Verdict::Larger { within_margin: true }
                | Verdict::Smaller { within_margin: true },
                Some(margin),
            ) => write!(f, ", too little to matter: within {margin}"),
            _ => Ok(()),
        }
    }

    /// `differ by` and the signed numbers.
    fn of_difference(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let (Some(mean), Some(interval)) = (self.mean_difference, self.interval) else {
            return f.write_str("have no interval");
        };
        write!(f, "differ by {}", Of(mean, interval, decimals(interval), &self.metric.name, self.level))
    }

    fn of_none(&self, f: &mut Formatter<'_>, difference: f64, is_margin: bool) -> std::fmt::Result {
        if self.all_equal {
            return write!(f, "no difference: all {} pairs have equal {}", self.pairs, self.metric.name);
        }
        let Some([low, high]) = self.interval else { return Ok(()) };
        let (digits, name, level) = (decimals([low, high]), &self.metric.name, percent(self.level));
        let [low, high] = [low, high].map(|end| rounded(end, digits));
        write!(f, "no difference larger than ")?;
        if is_margin {
            write!(f, "{difference}")?;
        } else {
            write!(f, "{:.digits$}", rounded_up(difference, digits))?;
        }
        write!(f, " {name} ({level} % interval {low:.digits$} to {high:.digits$})")
    }

    fn of_shortage(&self, f: &mut Formatter<'_>, shortage: Shortage) -> std::fmt::Result {
        let alpha = (1e6 * (1.0 - self.level)).round() / 1e6;
        let (seeds, images, comparisons) = (self.seeds, self.images, self.comparisons);
        match shortage {
            Shortage::Pairs => f.write_str("not enough runs: no image has scores of both losses"),
            Shortage::Seeds => f.write_str("not enough runs: one seed tells nothing of others; four tell something"),
            Shortage::Images { smallest_p, needed } => {
                write!(f, "not enough images: with {images}, no p can be below {smallest_p:.3}")?;
                if comparisons > 1 {
                    write!(f, " after correction for {comparisons} comparisons")?;
                }
                write!(f, ", and {alpha} is asked for; {needed} images would do")
            }
            Shortage::Test => {
                f.write_str("no verdict: the losses ")?;
                self.of_difference(f)?;
                write!(f, ", but Wilcoxon's test over images has {}", P(self.p_holm))?;
                if comparisons > 1 { write!(f, " for {comparisons} comparisons") } else { Ok(()) }
            }
            Shortage::Runs { power, wanted, seeds: enough, images: enough_images } => {
                f.write_str("not enough runs: the losses ")?;
                self.of_difference(f)?;
                let margin = self.metric.margin.unwrap_or_default();
                let images = if self.design == Design::Nested { images.div_ceil(seeds.max(1)) } else { images };
                let (now, wanted_percent) = ((100.0 * power).round(), percent(wanted));
                write!(f, "; {seeds} seeds of {images} images find {margin} in {now} % of studies")?;
                if power >= wanted {
                    return f.write_str(", this one neither found it nor ruled it out");
                }
                match (enough, enough_images) {
                    (Some(seeds), _) => write!(f, ", {seeds} seeds in {wanted_percent} %"),
                    (None, Some(images)) => write!(f, ", {images} images in {wanted_percent} %, no number of seeds does"),
                    (None, None) => write!(f, ", {wanted_percent} % need more of both seeds and images"),
                }
            }
        }
    }

    /// Where the test alone finds a difference: of these networks, not of the losses.
    fn of_the_test(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let holds_0 = self.interval.is_some_and(|[low, high]| low <= 0.0 && high >= 0.0);
        if holds_0 && self.p_holm <= 1.0 - self.level {
            let p = P(self.p_holm);
            write!(f, "; Wilcoxon's test over images ({p}) tells these networks apart, other seeds may turn it round")?;
        }
        Ok(())
    }
}

/// Of the runs of a loss that gave no scores.
fn failures(f: &mut Formatter<'_>, loss: &str, failed: &[FailedRun]) -> std::fmt::Result {
    for FailedRun { seed, reason } in failed {
        match reason {
            Some(reason) => write!(f, "; {loss} failed with seed {seed}: {reason}")?,
            None => write!(f, "; {loss} has no run with seed {seed}")?,
        }
    }
    Ok(())
}

impl Display for Mean {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match (self.mean, self.interval) {
            (Some(mean), Some(interval)) => Of(mean, interval, decimals(interval), &self.metric.name, self.level).fmt(f)?,
            (Some(mean), None) => {
                write!(f, "{mean:.3} {} (no interval: {} seeds, {} images)", self.metric.name, self.seeds, self.images)?
            }
            (None, _) => write!(f, "no {}", self.metric.name)?,
        }
        if self.left_out > 0 {
            write!(f, "; {} of {} scores left out", self.left_out, self.left_out + self.scores)?;
        }
        failures(f, &self.loss, &self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_of_the_half_width_are_shown() {
        for (half, expected) in [(0.013, 3), (0.0099, 4), (1.3, 1), (130.0, 0), (0.0, 3), (1e-20, 12)] {
            assert_eq!(decimals([-half, half]), expected, "{half}");
        }
        assert_eq!(rounded_up(0.0341, 3), 0.035);
        assert_eq!(format!("{:.2}", rounded(-0.001, 2)), "0.00");
    }
}
