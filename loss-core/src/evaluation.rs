//! What a loss comes to, term by term, on the host.

use serde::Serialize;

use crate::expr::Table;
use crate::program::Outputs;
use crate::{Inputs, Loss, Role, SplitOf};

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
    /// Soft Dice score 2I/(P+T); 0 for a class without a true pixel.
    pub dice: f64,
}

impl Loss {
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
            let report = |class| RegionReport {
                class,
                target: at(target, class),
                predicted: at(predicted, class),
                dice: at(dice, class),
            };
            (0..classes).map(report).collect()
        });
        Evaluation { total: outputs.total.first(), terms, regions }
    }
}
