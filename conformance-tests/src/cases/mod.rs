//! Cases as data: losses × situations, each compared with the oracle in total, terms, parts and
//! gradient.

mod large;
mod losses;
mod reference;
mod situations;

use loss_core::{Activation, Loss, LossError};

pub use large::Large;
use losses::losses;
pub use reference::Reference;
use situations::{Situation, of_maps, of_targets, situations};

use crate::check::run;
use crate::inputs::input;
use crate::oracle::{self, Problem, Term};
use crate::tolerance::{Compared, tolerance};
use crate::{Adapter, Dtype, Input, Output};

/// The label that every case ignores.
pub const IGNORED: i64 = 255;

/// A loss on an input, and what the oracle is to make of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Text of the loss.
    pub text: &'static str,
    /// Activation and situation.
    pub situation: &'static str,
    /// Activation of the model.
    pub activation: Activation,
    /// The loss for the oracle.
    pub terms: Vec<(f64, Term)>,
    /// Logits and target.
    pub input: Input,
    /// The one type it is for, if it is for one.
    pub only: Option<Dtype>,
}

impl Case {
    /// `loss/activation/situation`
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.text, self.situation)
    }

    /// The loss, with the activation and with [`IGNORED`] pixels left out.
    ///
    /// # Errors
    /// Where its text is none.
    pub fn loss(&self) -> Result<Loss, LossError> {
        Ok(self.text.parse::<Loss>()?.with_activation(self.activation).with_ignore_index(IGNORED))
    }

    /// What the oracle sees: logits as the type holds them.
    #[must_use]
    pub fn problem(&self, dtype: Dtype) -> Problem {
        let activation = match self.activation {
            Activation::Softmax => oracle::Activation::Softmax,
            Activation::Sigmoid => oracle::Activation::Sigmoid,
        };
        let logits = self.input.logits.iter().map(|&z| dtype.round(z)).collect();
        Problem { logits, ..self.input.problem(activation, vec![IGNORED]) }
    }

    /// Whether a backend must read maps for it.
    #[must_use]
    pub fn reads_maps(&self) -> bool {
        self.terms.iter().any(|(_, term)| term.map().is_some())
    }

    /// The types it is for.
    pub fn dtypes(&self) -> impl Iterator<Item = Dtype> {
        Dtype::ALL.into_iter().filter(|dtype| self.only.is_none_or(|only| only == *dtype))
    }

    /// What the oracle says of it.
    #[must_use]
    pub fn reference(&self, dtype: Dtype) -> Reference {
        let problem = self.problem(dtype);
        let allowed = tolerance(dtype, [problem.samples, problem.classes, problem.pixels]);
        Reference::new(&oracle::answer(&problem, &self.terms), allowed)
    }

    /// Runs a backend and measures every number against the oracle: the total, value, matching,
    /// size and constant of each term, and the gradient.
    ///
    /// # Errors
    /// What the backend reports, in words.
    pub fn measure(&self, adapter: &dyn Adapter, dtype: Dtype) -> Result<Vec<Compared>, String> {
        let [_, classes, _] = self.input.lengths();
        let reference = self.reference(dtype).with_algebra_in(adapter.algebra(), classes);
        reference.measure(&self.output(adapter, dtype)?)
    }

    /// What a backend computes.
    ///
    /// # Errors
    /// What the backend reports, in words.
    pub fn output(&self, adapter: &dyn Adapter, dtype: Dtype) -> Result<Output, String> {
        run(adapter, &self.loss().map_err(|error| error.to_string())?, &self.input, dtype)
    }

    /// Measures what a backend computed.
    ///
    /// # Errors
    /// Where the numbers are not as many as they should be.
    pub fn against_oracle(&self, got: &Output, dtype: Dtype) -> Result<Vec<Compared>, String> {
        self.reference(dtype).measure(got)
    }
}

/// Every case.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for loss in losses() {
        let of_maps = of_maps().filter(|_| loss.maps().next().is_some());
        for (i, Situation { name, shape, activation, change, only }) in
            situations().chain(of_maps).chain(of_targets()).enumerate()
        {
            let mut input = input(shape, 100 + i as u64);
            if loss.text.contains("given") {
                input.prior = Some(priors(shape[0], shape[1]));
            }
            change(&mut input);
            if loss.takes(&input) {
                cases.push(Case { text: loss.text, situation: name, activation, terms: loss.terms.clone(), input, only });
            }
        }
    }
    cases
}

/// Proportions that add up to 1 in each sample, each another.
fn priors(samples: usize, classes: usize) -> Vec<f64> {
    let sample = |n: usize| {
        let parts: Vec<f64> = (0..classes).map(|k| 1.0 + ((n + 2 * k) % 5) as f64).collect();
        let sum: f64 = parts.iter().sum();
        parts.into_iter().map(move |part| part / sum).collect::<Vec<f64>>()
    };
    (0..samples).flat_map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hardest_pixels_are_so_beyond_the_rounding_of_f32() {
        let mut seen = 0;
        for case in all().iter().filter(|case| case.input.maps.is_empty()) {
            for (dtype, (_, term)) in case.dtypes().flat_map(|dtype| case.terms.iter().map(move |term| (dtype, term))) {
                if let Term::TopK(o) = term {
                    let clearance = oracle::clearance(&case.problem(dtype), o);
                    assert!(clearance > 2e-7, "{}/{dtype}: {clearance:e}", case.name());
                    seen += 1;
                }
            }
        }
        assert!(seen > 500, "{seen}");
    }
}
