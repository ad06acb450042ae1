//! The kernels as a backend of loss-core: what ndarray, and every framework whose tensors lie in host memory, build on.

use std::marker::PhantomData;

use loss_core::expr::{OnHost, Table};
use loss_core::{Backend, LogitGradient, LossError, Plan};

use crate::{Element, Gradient, Problem};

/// Row-major logits of type `E` in host memory, with a [`Problem`] beside them and a [`Gradient`] that is put in a `G`; small arrays are
/// `f64` on the host.
pub struct Cpu<'a, E, G: ?Sized = [E]>(PhantomData<(&'a (), E)>, PhantomData<G>);

impl<E> Default for Cpu<'_, E> {
    fn default() -> Self {
        Self::with_gradient()
    }
}

impl<E, G: ?Sized> Cpu<'_, E, G> {
    /// With a gradient of a type of its own; [`Cpu::default`] writes numbers like the logits to where they are given.
    pub const fn with_gradient() -> Self {
        Self(PhantomData, PhantomData)
    }
}

impl<E, G: ?Sized> OnHost for Cpu<'_, E, G> {}

impl<'a, E: Element, G: ?Sized> Backend for Cpu<'a, E, G> {
    type Logits = [E];
    type Target = Problem<'a>;

    fn statistics(&self, logits: &[E], target: &Problem<'a>, plan: &Plan) -> Result<Vec<Table>, LossError> {
        crate::statistics(logits, target, plan)
    }
}

impl<E: Element, G: Gradient<Element: Element<Compute = E::Compute>> + ?Sized> LogitGradient for Cpu<'_, E, G> {
    type Gradient = G;

    fn logit_gradient(
        &self,
        logits: &[E],
        target: &Self::Target,
        plan: &Plan,
        upstream: &[Option<Table>],
        gradient: &mut G,
    ) -> Result<(), LossError> {
        crate::logit_gradient(logits, target, plan, upstream, gradient)
    }

    fn statistics_and_gradient(
        &self,
        logits: &[E],
        target: &Self::Target,
        plan: &Plan,
        upstream: &[Option<Table>],
        gradient: &mut G,
    ) -> Result<Vec<Table>, LossError> {
        crate::statistics_and_gradient(logits, target, plan, upstream, gradient)
    }
}
