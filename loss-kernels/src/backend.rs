//! The kernels as passes of loss-core: what ndarray, and every framework whose tensors lie in host
//! memory, build on.

use std::marker::PhantomData;

use loss_core::backend::Table;
use loss_core::{Facts, Geometry, LossError, Map, Passes, Plan};

use crate::{DerivedMap, Element, Gradient, Problem};

/// Row-major logits in host memory, a [`Problem`] beside them, and a [`Gradient`] that is put in a
/// `G`.
pub struct Cpu<'a, E, G: ?Sized = [E]> {
    logits: &'a [E],
    problem: Problem<'a>,
    prior: Option<&'a Table>,
    derived: Vec<DerivedMap>,
    gradient: PhantomData<G>,
}

impl<'a, E, G: ?Sized> Cpu<'a, E, G> {
    /// One call of a loss. The prior is for penalties with `target=given`.
    pub const fn new(logits: &'a [E], problem: Problem<'a>, prior: Option<&'a Table>) -> Self {
        Self { logits, problem, prior, derived: Vec::new(), gradient: PhantomData }
    }

    /// The maps that were derived.
    pub fn into_derived(self) -> Vec<DerivedMap> {
        self.derived
    }
}

impl<E: Element, G: Gradient<Element: Element<Compute = E::Compute>> + ?Sized> Passes for Cpu<'_, E, G> {
    type Gradient = G;

    fn geometry(&self) -> Geometry {
        self.problem.geometry()
    }

    fn prior(&self) -> Option<&Table> {
        self.prior
    }

    fn facts(&self) -> Option<Facts> {
        Some(self.problem.facts(E::PRECISION))
    }

    fn derive<'p>(&mut self, plan: &'p Plan) -> Result<Vec<&'p Map>, LossError> {
        let (maps, derived): (Vec<_>, Vec<_>) = self.problem.derive(self.logits, plan)?.into_iter().unzip();
        if !derived.is_empty() {
            self.problem = self.problem.clone().with_derived(&derived);
            self.derived.extend(derived);
        }
        Ok(maps)
    }

    fn statistics(&self, plan: &Plan) -> Result<Vec<Table>, LossError> {
        crate::statistics(self.logits, &self.problem, plan)
    }

    fn logit_gradient(&self, plan: &Plan, upstream: &[Option<Table>], gradient: &mut G) -> Result<(), LossError> {
        crate::logit_gradient(self.logits, &self.problem, plan, upstream, gradient)
    }

    fn gradient_sums(&self, plan: &Plan, upstreams: &[Vec<Option<Table>>]) -> Result<Vec<Table>, LossError> {
        crate::gradient_sums(self.logits, &self.problem, plan, upstreams)
    }

    fn statistics_and_gradient(
        &self,
        plan: &Plan,
        upstream: &[Option<Table>],
        gradient: &mut G,
    ) -> Result<Vec<Table>, LossError> {
        crate::statistics_and_gradient(self.logits, &self.problem, plan, upstream, gradient)
    }
}
