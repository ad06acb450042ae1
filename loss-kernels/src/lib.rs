//! The passes over logits on the CPU: [`statistics`], [`logit_gradient`], and both in one read
//! where possible.
//!
//! Plain slices in, numbers out; no tensor library. Each pass reads the logits once and allocates
//! nothing of their size. It is compiled for several sets of [`Instructions`], of which the
//! machine's fastest runs. Blocks of pixels stay in the cache; how the work is cut depends on
//! shapes, type and plan alone, so sums are added up in a fixed order and results do not depend on
//! the number of threads. Half-precision logits are computed in `f32`; blocks are added in `f64`.

mod backend;
mod block;
mod blocks;
mod channels;
mod columns;
mod cut;
mod decisions;
mod element;
mod few;
mod functions;
mod gradient;
mod groups;
mod host;
mod instructions;
mod layout;
mod logarithm;
mod membership;
mod memory;
mod pass;
mod pixel;
mod polynomials;
mod prefetch;
mod problem;
mod real;
mod simd;
mod slopes;
mod statistics;
mod sums;
mod target;
mod upstream;

pub use backend::Cpu;
pub use decisions::decided;
pub use element::Element;
pub use half::{bf16, f16};
pub use host::{HostTarget, Memory};
pub use instructions::{INSTRUCTIONS_VARIABLE, Instructions};
pub use memory::Gradient;
pub use pass::{gradient_sums, logit_gradient, statistics, statistics_and_gradient, validate};
pub use problem::{DerivedMap, Problem};
pub use real::Real;
pub use target::{Labels, Shares, Target};
