//! The two fused passes over logits on the CPU: [`statistics`] and [`logit_gradient`].
//!
//! Plain slices in, numbers out; no tensor library. Each pass reads the logits once and allocates nothing of their size. Pixels are
//! taken in blocks that stay in the cache, blocks in segments whose number depends only on the shape: sums are added up in a fixed
//! order, so results do not depend on the number of threads. Half-precision logits are computed in `f32`; all sums are `f64`.

mod backend;
mod block;
mod element;
mod gradient;
mod problem;
mod real;
mod statistics;

pub use backend::Cpu;
pub use element::Element;
pub use gradient::logit_gradient;
pub use half::{bf16, f16};
pub use problem::{Labels, Problem, Shares, Target};
pub use real::Real;
pub use statistics::statistics;
