//! What a loss comes to, term by term, on the host.

use serde::Serialize;

use crate::expr::Table;
use crate::program::Outputs;
use crate::{AbsentClass, Backend, Detail, Geometry, Inputs, LogitGradient, Loss, LossError, Role, SplitOf};

/// The value of a loss with everything that explains it.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// Weighted sum of the terms.
    pub total: f64,
    /// The terms in order.
    pub terms: Vec<TermEvaluation>,
    /// The classes, pooled over the batch.
    pub regions: Vec<RegionReport>,
}

/// The value of a loss: what a training step needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Weighted sum of the terms.
    pub total: f64,
    /// Value of each term, before its weight.
    pub terms: Vec<f64>,
}

/// One term of a loss.
#[derive(Clone, Debug, Serialize)]
pub struct TermEvaluation {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its present weight.
    pub weight: f64,
    /// Its value, before the weight.
    pub value: f64,
    /// Part that pulls the predicted region onto the true one.
    pub matching: f64,
    /// Part that biases the size of the predicted region.
    pub size: f64,
    /// Part that does not depend on the prediction.
    pub constant: f64,
    /// Whether the three parts add up to the value, or to its logarithmic form.
    pub of: SplitOf,
}

/// One class, pooled over the batch.
#[derive(Clone, Debug, Serialize)]
pub struct RegionReport {
    /// Index of the class (channel).
    pub class: usize,
    /// True proportion of the valid pixels.
    pub target: f64,
    /// Predicted proportion, at temperature 1.
    pub predicted: f64,
    /// Soft Dice score 2I/(P+T); NaN, in JSON `null`, where nothing is true and nothing predicted
    /// ([`AbsentClass::SkipEmpty`]).
    pub dice: f64,
}

impl Loss {
    /// Value of the loss with its parts, on a backend that keeps its small arrays on the host.
    ///
    /// # Errors
    /// Where the loss does not fit classes or activation: [`LossError::NoTerms`], [`LossError::Weight`], [`LossError::ClassCount`],
    /// [`LossError::ClassIndex`], [`LossError::NotForActivation`], [`LossError::PriorNotDistribution`]. Where a prior is missing or does
    /// not fit: [`LossError::MissingPrior`], [`LossError::GivenPriorShape`], [`LossError::ValueOutOfRange`]. What [`Backend::statistics`]
    /// reports of logits and target, such as [`LossError::LabelOutOfRange`] and [`LossError::NonFiniteLogit`]. What a term of the
    /// caller's own refuses.
    pub fn evaluate_on<B: Backend<Array = Table>>(
        &self,
        backend: &B,
        (logits, target): (&B::Logits, &B::Target),
        geometry: Geometry,
        prior: Option<&Table>,
    ) -> Result<Evaluation, LossError> {
        let program = self.program(geometry.classes, Detail::Parts)?;
        let statistics = backend.statistics(logits, target, program.plan())?;
        let inputs = self.inputs(geometry.samples, prior.cloned());
        Ok(self.evaluation(&program.outputs(backend, &statistics, &inputs)?))
    }

    /// Total and values of the terms; and, written to `gradient` where one is given, the gradient of the total.
    ///
    /// # Errors
    /// As [`Loss::evaluate_on`].
    pub fn value_on<B: LogitGradient<Array = Table>>(
        &self,
        backend: &B,
        (logits, target): (&B::Logits, &B::Target),
        geometry: Geometry,
        prior: Option<&Table>,
        gradient: Option<&mut B::Gradient>,
    ) -> Result<Value, LossError> {
        let program = self.program(geometry.classes, Detail::Total)?;
        let inputs = self.inputs(geometry.samples, prior.cloned());
        let statistics = program.read_on(backend, (logits, target), program.plan(), &inputs, gradient)?;
        let outputs = program.outputs(backend, &statistics, &inputs)?;
        Ok(Value { total: outputs.total.first(), terms: outputs.terms.iter().map(|t| t.value.first()).collect() })
    }

    /// Each term per sample and class before its reduction, where it has such a form; one row where it is pooled over the batch.
    ///
    /// # Errors
    /// As [`Loss::evaluate_on`].
    pub fn elements_on<B: Backend<Array = Table>>(
        &self,
        backend: &B,
        (logits, target): (&B::Logits, &B::Target),
        geometry: Geometry,
        prior: Option<&Table>,
    ) -> Result<Vec<Option<Table>>, LossError> {
        let program = self.program(geometry.classes, Detail::Parts)?;
        let statistics = backend.statistics(logits, target, program.plan())?;
        program.elements(&statistics, &self.inputs(geometry.samples, prior.cloned()))
    }

    /// What a program needs beside statistics, at the present epoch.
    #[must_use]
    pub fn inputs(&self, samples: usize, prior: Option<Table>) -> Inputs {
        Inputs { samples, weights: self.weights(), prior }
    }

    /// Puts names to the outputs of [`crate::Program::outputs`].
    #[must_use]
    pub fn evaluation(&self, outputs: &Outputs<Table>) -> Evaluation {
        let terms = self.terms().zip(&outputs.terms).map(|((weight, term), out)| {
            let [matching, size, constant] = out.parts.as_ref().map_or([0.0; 3], |p| [0, 1, 2].map(|i| p[i].first()));
            TermEvaluation {
                name: term.name(),
                role: term.role(),
                weight,
                value: out.value.first(),
                matching,
                size,
                constant,
                of: out.of,
            }
        });
        let terms = terms.collect();
        let regions = outputs.regions.as_ref().map_or_else(Vec::new, |[target, predicted, dice]| {
            let classes = target.columns().max(predicted.columns());
            let at = |table: &Table, class| table.get(0, class).unwrap_or(f64::NAN);
            let report = |class| {
                let [target, predicted, dice] = [target, predicted, dice].map(|table| at(table, class));
                // The score is made already: only whether there is one is asked.
                let exists = f64::from(u8::from(target + predicted > 0.0));
                let dice = AbsentClass::SkipEmpty.score(dice, exists, target).unwrap_or(f64::NAN);
                RegionReport { class, target, predicted, dice }
            };
            (0..classes).map(report).collect()
        });
        Evaluation { total: outputs.total.first(), terms, regions }
    }
}
