//! Metrics of segmentations, on label maps of one to three axes with spacing: what a network's
//! decisions are worth, beside the loss that it was trained with.
//!
//! | | of | |
//! |---|---|---|
//! | [`Counts`] | pixels | Dice, IoU, precision, recall, signed size error |
//! | [`SurfaceDistances`] | surfaces | Hausdorff, HD95 and other percentiles, average distance, surface Dice |
//! | [`Lesions`] | connected components | recall, precision and F1 per lesion |
//! | [`Calibration`] | probabilities | expected, average and maximum calibration error |
//!
//! [`LabelMaps`] gives the first three of a class, [`Settings`] all that is wanted of several
//! classes, [`Summary`] means over images, or pooled over them, with intervals. One policy,
//! [`Empties`], says what an image counts where a region is empty; a value is a number or `None`,
//! never NaN, and what is left out is counted. Everything is a pure function of its arguments.
//!
//! ```
//! use ndarray::arr2;
//! use segloss_metrics::{Bootstrap, LabelMaps, Metric, Settings, Summary};
//!
//! let target = arr2(&[[0u8, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]);
//! let predictions = [
//!     arr2(&[[0u8, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]),
//!     arr2(&[[0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]),
//!     arr2(&[[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]), // missed
//! ];
//! let metrics = vec![Metric::Dice, Metric::SizeError, Metric::Hausdorff];
//! let wanted = Settings { metrics, ..Settings::default() };
//! let mut dice = Vec::new();
//! for prediction in &predictions {
//!     let maps = LabelMaps::new(prediction.view(), target.view())?;
//!     let scores = wanted.scores(&maps, &[1])?;
//!     dice.push(scores[0].values[0]);
//! }
//! assert_eq!(dice, [Some(0.8), Some(2.0 / 3.0), Some(0.0)]);
//! let summary = Summary::of_images(&dice, &Bootstrap::default());
//! assert_eq!((summary.images, summary.left_out), (3, 0));
//! # Ok::<(), segloss_metrics::MetricError>(())
//! ```

mod bootstrap;
mod calibration;
mod counts;
mod empties;
mod error;
mod label;
mod lesions;
mod maps;
mod metric;
mod region;
mod surface;

pub use bootstrap::{Bootstrap, Draws, Summary};
pub use calibration::{Bin, Calibration};
pub use counts::Counts;
pub use empties::{Empties, OneEmpty, Presence};
pub use error::MetricError;
pub use label::Label;
pub use lesions::{Connectivity, Lesions, Matching};
pub use loss_core::AbsentClass;
pub use maps::LabelMaps;
pub use metric::{ClassScores, Metric, Settings};
pub use surface::{Surface, SurfaceDistances};
