//! How sure a mean over images is.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Serialize;

use crate::error::MetricError;

/// Intervals by drawing images with replacement: the percentile bootstrap.
///
/// As many images as there are are drawn, `resamples` times, and what is asked for is computed of
/// each draw; the interval is from the `(1 - level)/2` to the `(1 + level)/2` quantile of that
/// (linear between ranks). Images that were left out are drawn as the others are; draws of those
/// alone have no value and count in no quantile. The same seed draws the same images, on any
/// machine, for every metric of as many images: differences of metrics are paired.
///
/// Intervals are of the images at hand as a sample of others like them, not of the training's
/// chance; of few images (under 20 or so) they are too narrow.
///
/// Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
///
/// ```
/// use segloss_metrics::{Bootstrap, Summary};
///
/// let dice = [Some(0.9), Some(0.7), None, Some(0.8), Some(0.95)];
/// let summary = Summary::of_images(&dice, &Bootstrap::default());
/// assert!((summary.mean.expect("four images") - 0.8375).abs() < 1e-12);
/// assert_eq!((summary.images, summary.left_out), (4, 1));
/// let [low, high] = summary.interval.expect("more than one");
/// assert!(0.7 <= low && low < 0.8375 && 0.8375 < high && high <= 0.95);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bootstrap {
    /// How often images are drawn.
    pub resamples: usize,
    /// Part of the draws that the interval covers, in (0, 1).
    pub level: f64,
    /// Which draws are made.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// 2000 draws, 95 %, seed 0.
    fn default() -> Self {
        Self { resamples: 2000, level: 0.95, seed: 0 }
    }
}

impl Bootstrap {
    /// # Errors
    /// [`MetricError::Option`] for a level outside (0, 1), or no draw or more than a million.
    pub fn check(&self) -> Result<(), MetricError> {
        if !(self.level > 0.0 && self.level < 1.0) {
            return Err(MetricError::option("level of intervals", self.level, "a number between 0 and 1, such as 0.95"));
        }
        if !(1..=1_000_000).contains(&self.resamples) {
            return Err(MetricError::option("resamples", self.resamples, "a number from 1 to 1000000"));
        }
        Ok(())
    }

    /// The interval of any number that is made of some of `images` images, given by their indices,
    /// with repetitions. `None` for fewer than two images, where no draw has a value, or where the
    /// options are refused by [`check`](Self::check).
    #[must_use]
    pub fn interval(&self, images: usize, mut number: impl FnMut(&[usize]) -> Option<f64>) -> Option<[f64; 2]> {
        if images < 2 || self.check().is_err() {
            return None;
        }
        let mut draws = Draws::new(self.seed);
        let mut drawn = vec![0; images];
        let mut values = Vec::with_capacity(self.resamples);
        for _ in 0..self.resamples {
            drawn.fill_with(|| draws.index(images));
            values.extend(number(&drawn));
        }
        self.between(values)
    }

    /// The interval of what has been computed of each draw: from its `(1 - level)/2` to its
    /// `(1 + level)/2` quantile. `None` of no number.
    #[must_use]
    pub fn between(&self, mut values: Vec<f64>) -> Option<[f64; 2]> {
        values.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - self.level) / 2.0;
        Some([quantile(&values, tail)?, quantile(&values, 1.0 - tail)?])
    }
}

/// Draws with replacement, the same of the same seed on every machine.
///
/// ```
/// use segloss_metrics::Draws;
///
/// let mut draws = Draws::new(0);
/// let drawn: Vec<usize> = (0..100).map(|_| draws.index(3)).collect();
/// assert!((0..3).all(|index| drawn.contains(&index)) && drawn.iter().all(|&index| index < 3));
/// ```
#[derive(Clone, Debug)]
pub struct Draws(ChaCha8Rng);

impl Draws {
    /// Begins anew for a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// One of `0..of`, each as likely as the others but for 2^-64; 0 where there is none.
    pub fn index(&mut self, of: usize) -> usize {
        // By the upper half of a product.
        ((u128::from(self.0.next_u64()) * of as u128) >> 64) as usize
    }
}

/// A quantile of sorted numbers, linear between ranks.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = share * sorted.len().checked_sub(1)? as f64;
    let [low, high] = [rank.floor(), rank.ceil()].map(|rank| sorted.get(rank as usize).copied());
    Some(low? + (high? - low?) * (rank - rank.floor()))
}

/// A metric over images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Mean over the images that count; `None` where none does.
    pub mean: Option<f64>,
    /// Interval of the mean; `None` where fewer than two images count.
    pub interval: Option<[f64; 2]>,
    /// Images that count.
    pub images: usize,
    /// Images that were left out, by the policy for empty regions or because the metric has no
    /// value there.
    pub left_out: usize,
}

impl Summary {
    /// The mean over images, `None` being those that are left out.
    #[must_use]
    pub fn of_images(values: &[Option<f64>], bootstrap: &Bootstrap) -> Self {
        let images = values.iter().flatten().count();
        let all: Vec<usize> = (0..values.len()).collect();
        let mean = |drawn: &[usize]| {
            let (mut sum, mut count) = (0.0, 0.0);
            for value in drawn.iter().filter_map(|&image| values[image]) {
                sum += value;
                count += 1.0;
            }
            (count > 0.0).then(|| sum / count)
        };
        let interval = if images > 1 { bootstrap.interval(values.len(), mean) } else { None };
        Self { mean: mean(&all), interval, images, left_out: values.len() - images }
    }

    /// A number that is made of the sum of what images count, such as the Dice of pooled pixels:
    /// `Summary::pooled(&counts, |counts| counts.dice(empties), &bootstrap)`. Images of which none
    /// is left out.
    #[must_use]
    pub fn pooled<C>(counts: &[C], number: impl Fn(C) -> Option<f64>, bootstrap: &Bootstrap) -> Self
    where
        C: Copy + Default + std::ops::AddAssign,
    {
        let pooled = |drawn: &mut dyn Iterator<Item = usize>| {
            let mut sum = C::default();
            drawn.for_each(|image| sum += counts[image]);
            number(sum)
        };
        let interval = bootstrap.interval(counts.len(), |drawn| pooled(&mut drawn.iter().copied()));
        Self { mean: pooled(&mut (0..counts.len())), interval, images: counts.len(), left_out: 0 }
    }
}
