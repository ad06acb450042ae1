//! Segmentation losses on [Burn](burn) tensors, on any device, with autodiff.
//!
//! ```
//! use backend_burn::{BurnLoss, BurnTarget};
//! use burn::tensor::{Device, Int, Tensor};
//! use loss_core::Loss;
//!
//! let device = Device::flex().autodiff();
//! let loss: Loss = "ce + 0.5 * l1".parse()?;
//! let logits = Tensor::<3>::from_data([[[2.0f32, 0.5], [0.0, 1.5]]], &device).require_grad();
//! let labels = Tensor::<2, Int>::from_data([[0, 1]], &device);
//! let out = loss.forward(logits.clone(), &BurnTarget::labels(labels))?;
//! let gradients = out.total.backward();
//! assert_eq!(logits.grad(&gradients).unwrap().dims(), [1, 2, 2]);
//! # Ok::<(), loss_core::LossError>(())
//! ```
//!
//! On Burn's CPU backend (Flex, feature `flex`) a loss is one operation with a hand-written
//! backward: two reads of the logits, and nothing of their size beside the gradient, but for a
//! row-major copy of logits that are not so. On devices that CubeCL compiles for (features `wgpu`
//! and `cuda`) the same holds for its statistics, and the algebra on them runs on the device.
//! Elsewhere all is composed of ordinary operations, differentiated by Burn. Beside the CPU
//! `forward` waits for the device only where a loss derives a map; `evaluate`, `elements`,
//! `validate` and the metrics' `RegionCounts`, which give numbers on the host, always do.
//! [`BurnLoss::forward_by`] takes either path where both exist.

#[cfg(feature = "cube")]
mod cube;
mod device;
mod forms;
#[cfg(feature = "flex")]
mod fused;
mod host;
mod loss;
#[cfg(feature = "train")]
pub mod metric;
mod operations;
mod target;

pub use device::supports;
pub use loss::BurnLoss;
pub use loss_core::backend::Path;
pub use target::{BurnTarget, LabelTensor};
