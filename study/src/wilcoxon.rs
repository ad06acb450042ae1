//! Wilcoxon's signed-rank test.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal};

/// Up to so many differences without ties or zeros the distribution is exact.
const EXACT: usize = 50;
/// Up to so many differences, it is exact with ties and zeros too.
const EXACT_WITH_TIES: usize = 13;

/// Wilcoxon's signed-rank test, two-sided: are differences as often and as far above 0 as below?
///
/// Zeros are left out, as Wilcoxon did. The others are ranked by their size, ties at the mean of
/// their ranks; W₊ is the sum of ranks of those above 0, W₋ of those below. Under the
/// hypothesis each sign is a coin of its own: every way to sign the ranks is as likely as the
/// others, and p is twice the share of those with a sum as small as min(W₊, W₋), 1 at most.
///
/// The share is counted for up to 50 differences without ties or zeros, and up to 13 with them.
/// Otherwise W₊ is taken as normal, with mean n(n+1)/4 and variance
/// (n(n+1)(2n+1) - Σ(t³-t)/2)/24 for ties of t, without correction for continuity. These are the
/// choices of `scipy.stats.wilcoxon`, and so are the numbers. Of no difference but zeros p is 1
/// (scipy has NaN where there are more than 13).
///
/// Sources: Wilcoxon, "Individual comparisons by ranking methods" (1945); Hollander, Wolfe and
/// Chicken, "Nonparametric Statistical Methods" (2013), section 3.1.
///
/// ```
/// use segloss_study::Wilcoxon;
///
/// let test = Wilcoxon::of(&[0.3, -0.1, 0.4, 0.2, 0.5]);
/// assert_eq!((test.above, test.below, test.exact), (14.0, 1.0, true));
/// assert_eq!(test.p, 4.0 / 32.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Wilcoxon {
    /// The smaller of the two sums of ranks, as in tables.
    pub statistic: f64,
    /// Sum of the ranks of differences above 0.
    pub above: f64,
    /// Sum of the ranks of differences below 0.
    pub below: f64,
    /// Differences that are not 0.
    pub differences: usize,
    /// Differences that are 0.
    pub zeros: usize,
    /// Whether p is counted, not approximated.
    pub exact: bool,
    /// Two-sided.
    pub p: f64,
}

impl Wilcoxon {
    /// Of finite differences; others count as 0.
    #[must_use]
    pub fn of(differences: &[f64]) -> Self {
        let mut ordered: Vec<f64> = differences.iter().copied().filter(|d| d.is_finite() && *d != 0.0).collect();
        ordered.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        let (n, zeros) = (ordered.len(), differences.len() - ordered.len());
        // Twice the ranks: whole numbers, also for ties.
        let (mut doubled, mut above, mut below, mut of_ties) = (Vec::with_capacity(n), 0, 0, 0.0);
        for tied in ordered.chunk_by(|a, b| a.abs() == b.abs()) {
            let rank = 2 * doubled.len() + tied.len() + 1;
            let positive = tied.iter().filter(|d| **d > 0.0).count();
            above += rank * positive;
            below += rank * (tied.len() - positive);
            let t = tied.len() as f64;
            of_ties += t * t * t - t;
            doubled.extend(tied.iter().map(|_| rank));
        }
        let exact = differences.len() <= if zeros == 0 && of_ties == 0.0 { EXACT } else { EXACT_WITH_TIES };
        let p = if n == 0 {
            1.0
        } else if exact {
            counted(&doubled, above.min(below))
        } else {
            let n = n as f64;
            let variance = (n * (n + 1.0) * (2.0 * n + 1.0) - of_ties / 2.0) / 24.0;
            let z = (above.min(below) as f64 / 2.0 - n * (n + 1.0) / 4.0) / variance.sqrt();
            (2.0 * Normal::standard().cdf(z)).min(1.0)
        };
        let [above, below] = [above, below].map(|doubled| doubled as f64 / 2.0);
        Self { statistic: above.min(below), above, below, differences: n, zeros, exact, p }
    }
}

/// Twice the share of all ways to sign the ranks whose positive ones sum up to `sum` at most.
fn counted(ranks: &[usize], sum: usize) -> f64 {
    (2.0 * ways(ranks, sum).iter().sum::<f64>() / 2f64.powi(ranks.len() as i32)).min(1.0)
}

/// How many of the ways to sign the ranks have each sum up to `sum`. Whole numbers up to 2^50,
/// which f64 has exactly.
fn ways(ranks: &[usize], sum: usize) -> Vec<f64> {
    let mut ways = vec![0.0; sum + 1];
    ways[0] = 1.0;
    for &rank in ranks {
        for s in (rank..=sum).rev() {
            ways[s] += ways[s - rank];
        }
    }
    ways
}

/// The largest p up to `level` that the test of so many differences can have, without ties; 0 where
/// it can have none.
pub(crate) fn attained(differences: usize, level: f64) -> f64 {
    if differences > EXACT {
        return level;
    }
    let ranks: Vec<usize> = (1..=differences).collect();
    let all = 2f64.powi(differences as i32);
    let (mut sum, mut largest) = (0.0, 0.0);
    for ways in ways(&ranks, ranks.iter().sum::<usize>() / 2) {
        sum += ways;
        if 2.0 * sum / all <= level {
            largest = 2.0 * sum / all;
        }
    }
    largest
}

/// Holm's correction of several p-values, in their order: with it, the chance that any of those
/// that fall below a level does so by chance is at most that level, however they depend on each
/// other.
///
/// The k-th smallest of m is multiplied by m - k + 1, is at least what the smaller ones are, and at
/// most 1. Those that are NaN count as 1.
///
/// Source: Holm, "A simple sequentially rejective multiple test procedure" (1979).
///
/// ```
/// assert_eq!(segloss_study::holm(&[0.25, 0.01, 0.03]), [0.25, 0.03, 0.06]);
/// ```
#[must_use]
pub fn holm(p: &[f64]) -> Vec<f64> {
    let p: Vec<f64> = p.iter().map(|&p| if p.is_nan() { 1.0 } else { p }).collect();
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let (mut corrected, mut least) = (vec![1.0; p.len()], 0.0);
    for (smaller, &at) in order.iter().enumerate() {
        least = f64::max(least, (p[at] * (p.len() - smaller) as f64).min(1.0));
        corrected[at] = least;
    }
    corrected
}

/// How large a difference is, whatever its unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Effect {
    /// The matched-pairs rank-biserial correlation, (W₊ - W₋)/(W₊ + W₋): 1 where all
    /// differences are above 0, -1 where all are below. `None` where all are 0. Source: Kerby, "The
    /// simple difference formula" (2014).
    pub rank_biserial: Option<f64>,
    /// The standardised mean difference of pairs, mean / standard deviation (of n - 1): d_z. `None`
    /// of fewer than two, or where they do not differ. Source: Lakens, "Calculating and reporting
    /// effect sizes" (2013).
    pub d_z: Option<f64>,
}

impl Effect {
    /// Of differences.
    ///
    /// ```
    /// let effect = segloss_study::Effect::of(&[1.0, 2.0, 3.0]);
    /// assert_eq!((effect.rank_biserial, effect.d_z), (Some(1.0), Some(2.0)));
    /// ```
    #[must_use]
    pub fn of(differences: &[f64]) -> Self {
        let Wilcoxon { above, below, .. } = Wilcoxon::of(differences);
        let rank_biserial = (above + below > 0.0).then(|| (above - below) / (above + below));
        let n = differences.len() as f64;
        let mean = differences.iter().sum::<f64>() / n;
        let deviation = (differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        // Equal differences have a mean that is rounded, and so a deviation that is rounding alone.
        let varies = deviation > 1e-12 * mean.abs();
        Self { rank_biserial, d_z: varies.then(|| mean / deviation) }
    }
}
