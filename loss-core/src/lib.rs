//! Segmentation losses as expressions over region statistics.
//!
//! Cross-Entropy and Dice both split into a **ground-truth matching** term, which pulls the
//! predicted region onto the true one, and a **region-size penalty**, which biases how large the
//! predicted region is (Liu et al., "Do We Really Need Dice?", arXiv 2104.08717). This crate keeps
//! the two apart: a [`GroundTruthMatching`] term is handed only what lies [inside the true
//! regions](InsideTruth), a [`RegionSizePenalty`] only [sizes](RegionSizes), and an [`Overlap`]
//! term, which sees both, must say how it splits.
//!
//! Every term is an [expression](expr::Expr) over a handful of [statistics](Statistic) per sample
//! and class. From that follow its gradient, the [plan](Plan) of what a backend must sum up, and
//! its evaluation on any [`backend`]. No tensor library is needed here: add `segloss` with a
//! backend feature to compute with arrays.
//!
//! ```
//! use loss_core::{Loss, RegionSizePenalty, RegionSizes, Temperature, expr::{Expr, Scalar}, matching, penalty};
//! use loss_core::matching::CrossEntropy;
//!
//! /// Proportions above a cap cost the square of what is above.
//! struct SizeCap(Vec<f64>);
//!
//! impl RegionSizePenalty for SizeCap {
//!     fn penalty(&self, sizes: &RegionSizes) -> Expr<Scalar> {
//!         (sizes.predicted(Temperature::ONE) - Expr::classes(&self.0)).relu().squared().sum_classes().mean_samples()
//!     }
//! }
//!
//! let loss = matching(CrossEntropy::new()) + 0.5 * penalty(SizeCap(vec![1.0, 0.05]));
//! assert_eq!(loss.to_string(), "ce + 0.5 * size_cap");
//! ```

mod activation;
pub mod backend;
mod compose;
mod error;
mod evaluation;
pub mod expr;
mod facts;
mod geometry;
mod layout;
mod maps;
mod note;
mod number;
mod options;
mod passes;
mod plain;
mod plan;
mod preference;
mod pressure;
mod prior;
mod program;
mod regions;
mod schedule;
pub mod spec;
mod statistics;
mod sums;
mod target;
mod term;

pub mod distance;
pub mod matching;
pub mod overlap;
pub mod penalty;
pub mod unsplit;

pub use activation::{Activation, Side};
pub use backend::Passes;
pub use compose::{Loss, matching, overlap, penalty, unsplit};
pub use error::{Argument, LossError};
pub use evaluation::{Evaluation, RegionReport, Split, TermEvaluation};
pub use facts::{Facts, Precision};
pub use geometry::Geometry;
pub use maps::{Derive, Map, Scope};
pub use note::Note;
pub use options::{AbsentClass, Form, Pooling};
pub use plain::plain;
pub use plan::Plan;
pub use preference::{Preference, PreferredSize, Shifted, preferred_size};
pub use pressure::Pressure;
pub use program::{Detail, Inputs, Program};
pub use regions::{AllRegions, InsideTruth, RegionSizes};
pub use schedule::Schedule;
pub use spec::{PRESETS, catalogue};
pub use statistics::{Over, Probability, Quantity, Statistic, Temperature};
pub use sums::{Statistics, Whole};
pub use target::TargetKind;
pub use term::{Decomposition, GroundTruthMatching, Overlap, RegionSizePenalty, Role, SplitOf, Term, Unsplit};
