//! Statistics and gradient on CUDA by a pair of kernels, made for each plan and compiled when it is
//! first met.
//!
//! `source.rs` writes a plan as CUDA C around `pair.cu`; `driver.rs` compiles it by NVRTC and
//! launches it through CUDA's driver, both loaded where they are there; `pair.rs` hands it a call's
//! tensors. The algebra between the two is recorded by `algebra.rs`, and run by a kernel of its
//! own.

#![allow(missing_docs, reason = "hidden: for this package's tests")]

mod algebra;
mod driver;
mod function;
mod launch;
pub mod nvrtc;
mod pair;
mod source;
mod strided;
mod sum;

use loss_core::{Detail, Evaluation, Loss, LossError};
use tch::Tensor;

pub use algebra::source as algebra_source;
pub(crate) use driver::compiler;
pub use launch::{Compiler, Failure, Kernel, Kernels, Launcher};
use pair::Pair;
pub(crate) use source::computes;

use crate::TchTarget;
use crate::loss::{Call, facts};
use crate::operations::{Passes, forward_on};
use crate::readback::OnDevice;
use crate::target::Checked;

/// Total and parts, by the kernels of a compiler.
pub(crate) fn forward(call: &Call<'_>, compiler: &Compiler) -> Result<Evaluation<Tensor>, LossError> {
    let pair = Pair::new(call, compiler)?;
    match pair.forward()? {
        Some(out) => Ok(out),
        None => forward_on(call, &pair),
    }
}

/// The passes by the kernels of a compiler.
pub(crate) fn passes<'a>(call: &'a Call<'a>, compiler: &'a Compiler) -> Result<impl Passes + 'a, LossError> {
    Pair::new(call, compiler)
}

/// `TchLoss::forward` by the kernels of a compiler.
///
/// # Errors
/// As `TchLoss::forward`.
pub fn forward_by(
    compiler: &Compiler,
    loss: &Loss,
    logits: &Tensor,
    target: &TchTarget,
) -> Result<Evaluation<Tensor>, LossError> {
    let checked = Checked::new(logits, target, loss.activation())?;
    forward(&Call::new(loss, logits, target, checked, Detail::Terms)?, compiler)
}

/// `TchLoss::evaluate` by the kernels of a compiler.
///
/// # Errors
/// As `TchLoss::evaluate`.
pub fn evaluate_by(compiler: &Compiler, loss: &Loss, logits: &Tensor, target: &TchTarget) -> Result<Evaluation, LossError> {
    let checked = Checked::new(logits, target, loss.activation())?;
    let facts = facts(loss, target, &checked)?;
    let call = Call::new(loss, logits, target, checked, Detail::Parts)?;
    call.evaluate_on(&OnDevice(&passes(&call, compiler)?), facts)
}
