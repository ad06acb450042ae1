//! What a loss comes to, term by term, in numbers of any kind: `f64`, or a tensor library's.

use serde::Serialize;

use crate::expr::Table;
use crate::{AbsentClass, Detail, Inputs, Loss, LossError, Passes, Role, SplitOf};

/// The value of a loss with what explains it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation<T = f64> {
    /// Weighted sum of the terms.
    pub total: T,
    /// The terms in order.
    pub terms: Vec<TermEvaluation<T>>,
    /// The classes, pooled over the batch; none of them where only a total was asked for, or where
    /// the numbers are on a device.
    pub regions: Vec<RegionReport>,
}

/// One term of a loss.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TermEvaluation<T = f64> {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its present weight.
    pub weight: f64,
    /// Its value, before the weight.
    pub value: T,
    /// Its exact split, where it has one and more than a total was asked for.
    #[serde(flatten)]
    pub split: Option<Split<T>>,
}

/// A term as ground-truth matching + region size + constant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Split<T = f64> {
    /// Part that pulls the predicted region onto the true one.
    pub matching: T,
    /// Part that biases the size of the predicted region.
    pub size: T,
    /// Part that does not depend on the prediction.
    pub constant: T,
    /// Whether the three parts add up to the value, or to its logarithmic form.
    pub of: SplitOf,
}

/// One class, pooled over the batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
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

impl<T> Evaluation<T> {
    /// Total, then value (and parts) of each term: all that can be differentiated.
    pub fn scalars(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.total).chain(self.terms.iter().flat_map(|term| {
            let parts = term.split.iter().flat_map(|split| [&split.matching, &split.size, &split.constant]);
            std::iter::once(&term.value).chain(parts)
        }))
    }

    /// The same in numbers of another kind, made in the order of [`Evaluation::scalars`].
    ///
    /// # Errors
    /// The first of `f`.
    pub fn try_map<U, E>(&self, mut f: impl FnMut(&T) -> Result<U, E>) -> Result<Evaluation<U>, E> {
        let total = f(&self.total)?;
        let terms = self.terms.iter().map(|term| {
            let TermEvaluation { name, role, weight, value, split } = term;
            let value = f(value)?;
            let split = match split {
                Some(Split { matching, size, constant, of }) => {
                    Some(Split { matching: f(matching)?, size: f(size)?, constant: f(constant)?, of: *of })
                }
                None => None,
            };
            Ok(TermEvaluation { name: name.clone(), role: *role, weight: *weight, value, split })
        });
        Ok(Evaluation { total, terms: terms.collect::<Result<_, E>>()?, regions: self.regions.clone() })
    }
}

impl RegionReport {
    /// Of a class, from its proportions and `2I/(P+T)`.
    pub(crate) fn new(class: usize, target: f64, predicted: f64, dice: f64) -> Self {
        // The score is made already: only whether there is one is asked.
        let exists = f64::from(u8::from(target + predicted > 0.0));
        let dice = AbsentClass::SkipEmpty.score(dice, exists, target).unwrap_or(f64::NAN);
        Self { class, target, predicted, dice }
    }
}

impl Loss {
    /// Value of the loss with its parts, on a backend that keeps its small arrays on the host.
    ///
    /// # Errors
    /// Where the loss does not fit classes or activation: [`LossError::NoTerms`],
    /// [`LossError::Weight`], [`LossError::ClassCount`], [`LossError::ClassIndex`],
    /// [`LossError::NotForActivation`], [`LossError::PriorNotDistribution`]. Where a prior or a map
    /// is missing or does not fit: [`LossError::MissingPrior`], [`LossError::MissingMap`],
    /// [`LossError::GivenPriorShape`], [`LossError::ValueOutOfRange`]. What [`Passes::statistics`]
    /// reports of logits and target, such as [`LossError::LabelOutOfRange`] and
    /// [`LossError::NonFiniteLogit`]. What a term, or a derived map, refuses.
    pub fn evaluate_on<P: Passes + ?Sized>(&self, call: &mut P) -> Result<Evaluation, LossError> {
        let program = self.program(call.geometry().classes, Detail::Parts)?;
        call.derive(program.plan())?;
        program.evaluate(&call.statistics(program.plan())?, &self.inputs_of(call))
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

    fn inputs_of<P: Passes + ?Sized>(&self, call: &P) -> Inputs {
        self.inputs(call.geometry().samples, call.prior().cloned())
    }

    /// What a program needs beside statistics, at the present epoch.
    #[must_use]
    pub fn inputs(&self, samples: usize, prior: Option<Table>) -> Inputs {
        Inputs { samples, weights: self.weights(), prior }
    }
}
