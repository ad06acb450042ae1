//! How sure a mean over seeds and images is.

use segloss_metrics::{Bootstrap, Draws};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::error::StudyError;
use crate::sample::{Design, Parts, Sample};

/// How intervals are made. Both widen what seeds vary by a quantile of Student's t, for there are
/// few of them: see the crate's documentation for the rates of false differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// Mean ± a half-width from variances, in closed form:
    ///
    /// ```text
    /// h² = max(t_I² V_I, t_S² V_S + t_I² max(0, V_I - V_E))      t_n: quantile of Student's t
    /// ```
    ///
    /// V_S is the mean's variance as seeds alone would tell it (of the means of S seeds, with S - 1
    /// degrees of freedom), V_I as images alone would (crossed: of the means of I images, with
    /// I - 1; nested: within the seeds, with I - S). Both hold the variance of the rest V_E; it is
    /// counted once. Nested, V_S holds all, and the last term is 0.
    ///
    /// Each part is widened by its own quantile. For sums of independent parts of normal numbers it
    /// is proven that such an interval covers at least as often as its level says, whatever their
    /// sizes. Here the rest is taken out of one part; by integration over many spreads, 95 % leave
    /// out the truth in at most 5.0 % with up to 4 seeds, and in at most 5.4 % with more (`cargo
    /// test -p segloss-study intervals_of`). And the interval is never narrower than that of images
    /// alone, by which few seeds that agree by chance would be taken for more than they are.
    ///
    /// Where numbers are missing, the variances are those of the jackknife that leaves out a seed,
    /// or an image.
    ///
    /// Source: Banerjee, "Approximate confidence interval for linear functions of means of k
    /// populations when the population variances are not equal" (1960).
    #[default]
    Variances,
    /// By drawing seeds, then images, with replacement.
    ///
    /// Nested, images are drawn within each drawn seed; crossed, all seeds have the same drawn
    /// images (the pigeonhole bootstrap). What drawing seeds moves is stretched by
    /// t_S/z √(S/(S - 1)), and images alike: a bootstrap of 4 seeds is 1.9 times too narrow. It
    /// follows skewed scores where the closed form is symmetric, and is a little wider, for it
    /// counts the rest with seeds and with images.
    ///
    /// Sources: Owen, "The pigeonhole bootstrap" (2007); Hesterberg, "What teachers should know
    /// about the bootstrap" (2015), section 4 on narrowness.
    Bootstrap {
        /// How often seeds and images are drawn.
        resamples: usize,
        /// Which draws are made.
        seed: u64,
    },
}

impl Interval {
    pub(crate) fn check(self, level: f64) -> Result<(), StudyError> {
        if !(0.5..=0.9999).contains(&level) {
            return Err(StudyError::option("level of intervals", level, "a number from 0.5 to 0.9999, such as 0.95"));
        }
        match self {
            Self::Bootstrap { resamples, .. } if !(100..=1_000_000).contains(&resamples) => {
                Err(StudyError::option("resamples", resamples, "a number from 100 to 1000000"))
            }
            _ => Ok(()),
        }
    }

    /// `None` of one seed, or of one image that all seeds share.
    pub(crate) fn of(self, sample: &Sample, parts: &Parts, level: f64) -> Option<[f64; 2]> {
        let mean = sample.mean()?;
        let half = half_width(sample.design, parts, level)?;
        match self {
            Self::Variances => Some([mean - half, mean + half]),
            Self::Bootstrap { resamples, seed } => drawn(sample, mean, &Bootstrap { resamples, level, seed }),
        }
    }
}

/// The quantile of Student's t that leaves `1 - level` on both sides together.
pub(crate) fn student(freedom: f64, level: f64) -> f64 {
    if freedom > 1e6 {
        // The same to six digits, and sure of its arguments.
        return Normal::standard().inverse_cdf(0.5 + level / 2.0);
    }
    // Never refused: the freedom is above 0.
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, |t| t.inverse_cdf(0.5 + level / 2.0))
}

fn half_width(design: Design, parts: &Parts, level: f64) -> Option<f64> {
    let seeds = parts.seeds?;
    let of_seeds = student(seeds.freedom, level).powi(2) * seeds.variance;
    let images = match (design, parts.images) {
        // One image of each seed: seeds say all there is to say.
        (Design::Nested, None) => return Some(of_seeds.sqrt()),
        (_, images) => images?,
    };
    let t = student(images.freedom, level).powi(2);
    let beyond = t * (images.variance - parts.rest).max(0.0);
    Some((of_seeds + beyond).max(t * images.variance).sqrt())
}

fn drawn(sample: &Sample, mean: f64, bootstrap: &Bootstrap) -> Option<[f64; 2]> {
    let z = Normal::standard().inverse_cdf(0.5 + bootstrap.level / 2.0);
    let stretch = |count: usize| {
        let n = count as f64;
        student(n - 1.0, bootstrap.level) / z * (n / (n - 1.0)).sqrt()
    };
    let mut draws = Draws::new(bootstrap.seed);
    let mut values = Vec::with_capacity(bootstrap.resamples);
    match sample.design {
        Design::Crossed => {
            let [of_seeds, of_images] = [sample.seeds, sample.images].map(stretch);
            let images = sample.image_means();
            for _ in 0..bootstrap.resamples {
                let mut times = vec![0; sample.seeds];
                (0..sample.seeds).for_each(|_| times[draws.index(sample.seeds)] += 1);
                let sum: f64 = (0..images.len()).map(|_| images[draws.index(images.len())]).sum();
                let by_seeds = sample.mean_of_seeds(&times);
                let by_images = sum / images.len() as f64;
                values.extend(by_seeds.map(|drawn| mean + of_seeds * (drawn - mean) + of_images * (by_images - mean)));
            }
        }
        Design::Nested => {
            let (of_seeds, seeds) = (stretch(sample.seeds), sample.by_seed());
            let means = sample.seed_means();
            for _ in 0..bootstrap.resamples {
                let (mut by_seeds, mut within) = (0.0, 0.0);
                for _ in 0..seeds.len() {
                    let seed = draws.index(seeds.len());
                    let images = &seeds[seed];
                    let sum: f64 = (0..images.len()).map(|_| images[draws.index(images.len())]).sum();
                    by_seeds += means[seed];
                    within += sum / images.len() as f64 - means[seed];
                }
                let n = seeds.len() as f64;
                values.push(mean + of_seeds * (by_seeds / n - mean) + within / n);
            }
        }
    }
    bootstrap.between(values)
}
