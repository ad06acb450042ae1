//! What a loss comes to, term by term, in numbers of any kind: `f64`, or a tensor library's.

use serde::Serialize;

use crate::{AbsentClass, Note, Pressure, Role, SplitOf};

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
    /// What the loss does to the size of each class, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
    /// What the numbers do not show; empty where only a total was asked for, or where the numbers
    /// are on a device.
    pub notes: Vec<Note>,
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
        let terms = terms.collect::<Result<_, E>>()?;
        let (regions, pressure, notes) = (self.regions.clone(), self.pressure.clone(), self.notes.clone());
        Ok(Evaluation { total, terms, regions, pressure, notes })
    }
}

impl RegionReport {
    /// Of a class, from its proportions and `2I/(P+T)`.
    pub(crate) fn new(class: usize, target: f64, predicted: f64, dice: f64) -> Self {
        // `dice` is the finished score; only ask whether the class has one.
        let exists = f64::from(u8::from(target + predicted > 0.0));
        let dice = AbsentClass::SkipEmpty.score(dice, exists, target).unwrap_or(f64::NAN);
        Self { class, target, predicted, dice }
    }
}
