//! The kernels as a backend of loss-core: what ndarray, and every framework whose tensors lie in host memory, build on.

use std::marker::PhantomData;

use loss_core::expr::{OnHost, Table};
use loss_core::{Backend, LogitGradient, LossError, Plan};

use crate::{Element, Problem};

/// Row-major logits of type `E` in host memory, with a [`Problem`] beside them and a gradient of type `G`; small arrays are `f64` on
/// the host.
pub struct Cpu<'a, E, G = E>(PhantomData<(&'a (), E, G)>);

impl<E> Default for Cpu<'_, E> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<E, G> Cpu<'_, E, G> {
    /// With a gradient of a type of its own; [`Cpu::default`] has the logits'.
    pub const fn with_gradient_type() -> Self {
        Self(PhantomData)
    }
}

impl<E, G> OnHost for Cpu<'_, E, G> {}

impl<'a, E: Element, G> Backend for Cpu<'a, E, G> {
    type Logits = [E];
    type Target = Problem<'a>;

    fn statistics(&self, logits: &[E], target: &Problem<'a>, plan: &Plan) -> Result<Vec<Table>, LossError> {
        crate::statistics(logits, target, plan)
    }
}

impl<E: Element, G: Element<Compute = E::Compute>> LogitGradient for Cpu<'_, E, G> {
    type Gradient = [G];

    fn logit_gradient(
        &self,
        logits: &[E],
        target: &Self::Target,
        plan: &Plan,
        upstream: &[Option<Table>],
        gradient: &mut [G],
    ) -> Result<(), LossError> {
        crate::logit_gradient(logits, target, plan, upstream, gradient)
    }

    fn statistics_and_gradient(
        &self,
        logits: &[E],
        target: &Self::Target,
        plan: &Plan,
        upstream: &[Option<Table>],
        gradient: &mut [G],
    ) -> Result<Vec<Table>, LossError> {
        crate::statistics_and_gradient(logits, target, plan, upstream, gradient)
    }
}

/// [`Cpu`] with its gradient in a new array, which is not cleared before it is written.
pub struct NewGradient<'a, E>(PhantomData<(&'a (), E)>);

impl<E> Default for NewGradient<'_, E> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<E> OnHost for NewGradient<'_, E> {}

impl<'a, E: Element> Backend for NewGradient<'a, E> {
    type Logits = [E];
    type Target = Problem<'a>;

    fn statistics(&self, logits: &[E], target: &Problem<'a>, plan: &Plan) -> Result<Vec<Table>, LossError> {
        crate::statistics(logits, target, plan)
    }
}

impl<E: Element> LogitGradient for NewGradient<'_, E> {
    /// What was there is dropped.
    type Gradient = Vec<E>;

    fn logit_gradient(
        &self,
        logits: &[E],
        target: &Self::Target,
        plan: &Plan,
        upstream: &[Option<Table>],
        gradient: &mut Vec<E>,
    ) -> Result<(), LossError> {
        *gradient = crate::new_logit_gradient(logits, target, plan, upstream)?;
        Ok(())
    }

    fn statistics_and_gradient(
        &self,
        logits: &[E],
        target: &Self::Target,
        plan: &Plan,
        upstream: &[Option<Table>],
        gradient: &mut Vec<E>,
    ) -> Result<Vec<Table>, LossError> {
        let (statistics, new) = crate::statistics_and_new_gradient(logits, target, plan, upstream)?;
        *gradient = new;
        Ok(statistics)
    }
}
