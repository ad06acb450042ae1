//! The kernels as a backend of loss-core: what ndarray, and every framework whose tensors lie in host memory, build on.

use std::marker::PhantomData;

use loss_core::expr::{OnHost, Table};
use loss_core::{Backend, LogitGradient, LossError, Plan};

use crate::{Element, Problem};

/// Row-major logits of type `E` in host memory, with a [`Problem`] beside them; small arrays are `f64` on the host.
pub struct Cpu<'a, E>(PhantomData<(&'a (), E)>);

impl<E> Default for Cpu<'_, E> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<E> OnHost for Cpu<'_, E> {}

impl<'a, E: Element> Backend for Cpu<'a, E> {
    type Logits = [E];
    type Target = Problem<'a>;

    fn statistics(&self, logits: &[E], target: &Problem<'a>, plan: &Plan) -> Result<Vec<Table>, LossError> {
        crate::statistics(logits, target, plan)
    }
}

impl<E: Element> LogitGradient for Cpu<'_, E> {
    type Gradient = [E];

    fn logit_gradient(
        &self,
        logits: &[E],
        target: &Self::Target,
        plan: &Plan,
        upstream: &[Option<Table>],
        gradient: &mut [E],
    ) -> Result<(), LossError> {
        crate::logit_gradient(logits, target, plan, upstream, gradient)
    }

    fn statistics_and_gradient(
        &self,
        logits: &[E],
        target: &Self::Target,
        plan: &Plan,
        upstream: &[Option<Table>],
        gradient: &mut [E],
    ) -> Result<Vec<Table>, LossError> {
        crate::statistics_and_gradient(logits, target, plan, upstream, gradient)
    }
}
