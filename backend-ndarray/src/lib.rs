//! Segmentation losses on [`ndarray`]: value and analytic gradient.
//!
//! ```
//! use backend_ndarray::{NdarrayLoss, Target};
//! use loss_core::Loss;
//! use ndarray::array;
//!
//! let loss: Loss = "ce + 0.5 * l1".parse()?;
//! let logits = array![[[2.0f32, 0.5], [0.0, 1.5]]];   // one sample, two classes, two pixels
//! let labels = array![[0u8, 1]];
//! let result = loss.value_and_gradient(logits.view(), &Target::labels(labels.view()))?;
//! assert_eq!(result.gradient.shape(), logits.shape());
//! assert!((result.value.terms[0].value - 0.2200948).abs() < 1e-6);   // Cross-Entropy
//! # Ok::<(), loss_core::LossError>(())
//! ```
//!
//! Logits are `[N, K, *spatial]` of `f32`, `f64`, `f16` or `bf16`, with any number of spatial axes
//! and any strides. Row-major arrays are read in place; others are copied into that order at each
//! call.

mod loss;
mod shift;
mod sums;
mod target;

pub use loss::{NdarrayLoss, ValueAndGradient};
pub use loss_kernels::Element;
pub use shift::ShiftedSums;
pub use sums::{NdarrayStatistics, NdarrayWhole};
pub use target::{Label, Share, Target};
