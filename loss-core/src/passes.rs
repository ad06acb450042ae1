//! A loss on a backend that keeps its small arrays on the host.

use crate::expr::Table;
use crate::{Detail, Evaluation, Inputs, Loss, LossError, Passes};

impl Loss {
    /// Value of the loss with its parts and notes, and its [`Pressure`](crate::Pressure) on the
    /// classes, on a backend that keeps its small arrays on the host. It reads the logits twice.
    ///
    /// # Errors
    /// Where the loss does not fit classes or activation: [`LossError::NoTerms`],
    /// [`LossError::Weight`], [`LossError::OptionCount`], [`LossError::OptionClass`],
    /// [`LossError::ClassCount`], [`LossError::ClassIndex`],
    /// [`LossError::NotForActivation`], [`LossError::PriorNotDistribution`]. Where a prior or a map
    /// is missing or does not fit: [`LossError::MissingPrior`], [`LossError::MissingMap`],
    /// [`LossError::GivenPriorShape`], [`LossError::ValueOutOfRange`]. What [`Passes::statistics`]
    /// reports of logits and target, such as [`LossError::LabelOutOfRange`] and
    /// [`LossError::NonFiniteLogit`]. What a term, or a derived map, refuses.
    pub fn evaluate_on<P: Passes + ?Sized>(&self, call: &mut P) -> Result<Evaluation, LossError> {
        let program = self.program(call.geometry().classes, Detail::Parts)?;
        let facts = call.facts();
        call.derive(program.plan())?;
        let (statistics, inputs) = (call.statistics(program.plan())?, Inputs { facts, ..self.inputs_of(call) });
        let pressure = program.pressure_on(call, &statistics, &inputs)?;
        Ok(Evaluation { pressure: Some(pressure), ..program.evaluate(&statistics, &inputs)? })
    }

    /// Total and values of the terms; and, written to `gradient` where one is given, the gradient
    /// of the total.
    ///
    /// # Errors
    /// As [`Loss::evaluate_on`].
    pub fn value_on<P: Passes + ?Sized>(
        &self,
        call: &mut P,
        gradient: Option<&mut P::Gradient>,
    ) -> Result<Evaluation, LossError> {
        let program = self.program(call.geometry().classes, Detail::Total)?;
        call.derive(program.plan())?;
        let inputs = self.inputs_of(call);
        let statistics = program.read_on(call, program.plan(), &inputs, gradient)?;
        program.evaluate(&statistics, &inputs)
    }

    /// Each term per sample and class before its reduction, where it has such a form; one row where
    /// it is pooled over the batch.
    ///
    /// # Errors
    /// As [`Loss::evaluate_on`].
    pub fn elements_on<P: Passes + ?Sized>(&self, call: &mut P) -> Result<Vec<Option<Table>>, LossError> {
        let program = self.program(call.geometry().classes, Detail::Parts)?;
        call.derive(program.plan())?;
        program.elements(&call.statistics(program.plan())?, &self.inputs_of(call))
    }

    pub(crate) fn inputs_of<P: Passes + ?Sized>(&self, call: &P) -> Inputs {
        self.inputs(call.geometry().samples, call.prior().cloned())
    }

    /// What a program needs beside statistics, at the present epoch; without facts.
    #[must_use]
    pub fn inputs(&self, samples: usize, prior: Option<Table>) -> Inputs {
        Inputs { samples, weights: self.weights(), prior, facts: None }
    }
}
