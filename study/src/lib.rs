//! The analysis of paired experiments in segmentation: which loss is better, by how much, and how
//! sure that is.
//!
//! Runs of one condition and seed share data, initialisation and batches, so that losses are paired
//! by (condition, seed, image). A [`Study`] takes a [`Row`] for each image of each [`Run`], and a
//! [`Failure`] for each run that came to nothing; a score may be missing. It gives
//!
//! - a [`Comparison`] for every two losses that are asked for: the mean difference with an
//!   [`Interval`] over seeds and images, the [`Wilcoxon`] test over images with [`holm`]'s
//!   correction, an [`Effect`] size, and a [`Verdict`] whose text is a sentence;
//! - a [`Mean`] for every loss, with its interval;
//! - from the [`Spread`] of what was run, how many seeds or images a [`Plan`] needs to find a
//!   difference that matters.
//!
//! Nothing depends on the order of rows, and all is a pure function of its arguments.
//!
//! ```
//! use segloss_study::{Direction, Metric, Options, Row, Run, Study};
//!
//! // Two losses, four seeds, eight images that all seeds share.
//! let gains = [0.021, 0.034, 0.018, 0.027];
//! let mut rows = Vec::new();
//! for (seed, gain) in gains.into_iter().enumerate() {
//!     for (loss, gain) in [("ce", 0.0), ("ce + dice", gain)] {
//!         for image in 0..8 {
//!             let score = 0.6 + 0.04 * f64::from(image) + gain * (1.0 + 0.1 * f64::from(image));
//!             let run = Run { condition: "2 %".into(), loss: loss.into(), seed: seed as u64 };
//!             rows.push(Row { run, image: format!("image {image}"), scores: vec![Some(score)] });
//!         }
//!     }
//! }
//! let dice = Metric::new("Dice", Direction::Larger).with_margin(0.01)?;
//! let study = Study::new(vec![dice], rows, vec![])?;
//! let comparisons = study.compare("Dice", "ce", &Options::default())?;
//! assert_eq!(comparisons[0].to_string(), "better by 0.034 Dice (95 % interval 0.018 to 0.050)");
//! # Ok::<(), segloss_study::StudyError>(())
//! ```
//!
//! # How often a difference is found
//!
//! Simulated in `tests/rates.rs`: one loss under two names, 1000 studies, 40 images with a standard
//! deviation of 0.1, seeds with one of 0.008, the rest with 0.03; intervals of 95 %.
//!
//! | | images crossed with seeds | images nested in seeds |
//! |---|---|---|
//! | verdicts of better or worse, 4 seeds | 3.9 % | 3.6 % |
//! | the same by [`Interval::Bootstrap`] | 3.0 % | 3.2 % |
//! | Wilcoxon's test over images alone | 28 % | 31 % |
//! | percentile bootstrap of four seeds | 20 % | 20 % |
//!
//! The last two are why verdicts ask for more. The luck of a seed moves all its images together,
//! and a test over images takes that for a difference of the losses. A bootstrap of four seeds has
//! a standard error that is √(3/4) of what it should be, and takes 1.96 of them where three
//! degrees of freedom need 3.18.
//!
//! Differences that are there are found as often as [`Spread::power`] says.

mod comparison;
mod error;
mod interval;
mod power;
mod row;
mod sample;
mod study;
mod verdict;
mod wilcoxon;

pub use comparison::{Comparison, FailedRun, LeftOut, Mean};
pub use error::StudyError;
pub use interval::Interval;
pub use power::Plan;
pub use row::{Direction, Failure, Metric, Row, Run};
pub use sample::{Design, Spread};
pub use study::{Options, Study};
pub use verdict::{Shortage, Verdict};
pub use wilcoxon::{Effect, Wilcoxon, holm};
