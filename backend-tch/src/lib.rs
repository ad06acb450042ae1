//! Segmentation losses on LibTorch tensors ([tch]), CPU and CUDA, with autograd.
//!
//! ```
//! use backend_tch::{TchLoss, TchTarget};
//! use loss_core::Loss;
//! use tch::Tensor;
//!
//! let loss: Loss = "ce + 0.5 * l1".parse()?;
//! let logits = Tensor::from_slice(&[2.0f32, 0.5, 0.0, 1.5]).reshape([1, 2, 2]).set_requires_grad(true);
//! let labels = Tensor::from_slice(&[0i64, 1]).reshape([1, 2]);
//! let out = loss.forward(&logits, &TchTarget::labels(&labels))?;
//! out.total.backward();
//! assert_eq!(logits.grad().size(), [1, 2, 2]);
//! # Ok::<(), loss_core::LossError>(())
//! ```
//!
//! On contiguous memory of the CPU the fused passes of `loss-kernels` read the logits where they
//! lie, and allocate nothing of their size beside the gradient, which is there twice while
//! `.backward()` runs. On CUDA kernels made for the loss do the same, where its driver and NVRTC
//! are found. Elsewhere tensor operations do, in chunks. [`TchLoss::forward`] never waits for the
//! device; `evaluate`, `elements` and `validate`, which give numbers on the host, do.
//! [`TchLoss::forward_by`] takes either path where both exist, and [`TchLoss::path`] tells which
//! `forward` takes.

mod algebra;
mod backward;
mod chunk;
#[doc(hidden)]
pub mod cuda;
mod error;
mod fused;
mod loss;
mod memory;
mod operations;
mod pixels;
mod readback;
mod surrogate;
mod target;

pub use loss::TchLoss;
pub use loss_core::backend::Path;
pub use target::TchTarget;
