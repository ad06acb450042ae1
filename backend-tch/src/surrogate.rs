//! A value on the tape whose backward is a gradient computed beforehand.
//!
//! tch has no custom autograd functions, and ordinary formulas such as
//! `value + (z·g − (z·g).detach()).sum()` read the logits: NaN at an ignored pixel would reach
//! the value, and each would cost passes over memory. Instead one product is put on the tape,
//! `edge · saved`, whose operands are exchanged around it:
//!
//! - `edge` is a view of the logits that is on the tape (its backward is a change of shape). Its
//!   *contents* are then replaced by the value of the loss, a single number; its place on the tape
//!   stays.
//! - `saved` is the number 1 while the product is taken, so that the product is the value itself,
//!   bit for bit. Its contents are then replaced by the gradient; the product's backward multiplies
//!   what comes in by them.
//!
//! So forward costs nothing and never sees the logits, and backward is the product of the incoming
//! gradient and the hand-written one, elementwise, rounded to the logits' type once at the end.

use loss_core::LossError;
use tch::{TchError, Tensor, no_grad};

use crate::error::During;

/// A place on the tape right behind the logits.
#[derive(Debug)]
pub(crate) struct Edge(Tensor);

impl Edge {
    /// `None` where no gradient is recorded: the logits need none, or it is switched off.
    pub(crate) fn behind(logits: &Tensor) -> Result<Option<Self>, LossError> {
        if !logits.requires_grad() {
            return Ok(None);
        }
        // Unlike `view` and `alias` this is not tracked as a view, so that nobody looks for its
        // base again.
        let edge = logits.f_internal_unsafe_view(logits.size()).during("putting the loss on the tape")?;
        Ok(edge.requires_grad().then_some(Self(edge)))
    }

    /// The value, whose backward is `gradient` (of the logits' shape) times the incoming one. Both
    /// are of the type computed in.
    pub(crate) fn attach(self, value: &Tensor, gradient: &Tensor) -> Result<Tensor, LossError> {
        let Self(mut edge) = self;
        let mut attached = || -> Result<Tensor, TchError> {
            no_grad(|| edge.f_set_data(&value.f_detach()?))?;
            let mut saved = no_grad(|| value.f_detach()?.f_ones_like())?;
            let product = edge.f_mul(&saved)?;
            no_grad(|| saved.f_set_data(gradient))?;
            Ok(product)
        };
        attached().during("putting the loss on the tape")
    }
}
