//! Segmentation losses composed from a ground-truth matching term and an explicit region-size penalty.
//!
//! All of [`loss_core`] is at the root; each backend is a module behind its feature: [`ndarray`] (default), `burn` (with kernels for
//! GPUs: `burn-wgpu`, `burn-cuda`; metrics: `burn-train`) and `tch` (LibTorch; it must be there when the feature is built: see `backend-tch`).
//!
//! ```
//! # #[cfg(feature = "ndarray")] {
//! use segloss::ndarray::{NdarrayLoss, Target};
//! let loss: segloss::Loss = "ce + 0.5 * kl(temperature=10)".parse()?;
//! let logits = ndarray::array![[[2.0f32, 0.5], [0.0, 1.5]]];
//! let labels = ndarray::array![[0u8, 1]];
//! let total = loss.value(logits.view(), &Target::labels(labels.view()))?;
//! assert!(total > 0.0);
//! # }
//! # Ok::<(), segloss::LossError>(())
//! ```

pub use loss_core::*;

#[cfg(feature = "burn")]
pub use backend_burn as burn;
#[cfg(feature = "ndarray")]
pub use backend_ndarray as ndarray;
#[cfg(feature = "tch")]
pub use backend_tch as tch;
