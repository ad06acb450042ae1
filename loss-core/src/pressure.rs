//! Size pressure: what a loss does to the size of a region.

use serde::Serialize;

use crate::expr::Table;
use crate::{Detail, Loss, LossError, Passes};

/// What a loss does to the size of each class, all else equal: its derivative for a shift b_k that
/// all logits of class k share.
///
/// ```text
/// s_k = ∂L/∂b_k = Σ_s ∂L/∂z_ks        over the pixels s of all samples
/// ```
///
/// Where s_k is positive, gradient descent shrinks class k; where it is negative, it grows the
/// class; the unit is the loss's per unit of logit. For Cross-Entropy under softmax with
/// `pooling=batch`, without weights and smoothing, it is p̂_k − t̂_k, the predicted less the
/// true proportion: zero where these agree. Under softmax the classes add up to 0 for every term
/// whose own activation is softmax. It depends on the logits at hand, not on the loss alone.
/// Derived maps are held as they are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pressure {
    /// Of the total, by class.
    pub total: Vec<f64>,
    /// Of each term before its weight, in the loss's order, by class.
    pub terms: Vec<Vec<f64>>,
}

impl Pressure {
    /// From the weights of the terms and, for each, Σ_s ∂/∂z as `[N, K]`.
    pub(crate) fn new(weights: &[f64], sums: &[Table], classes: usize) -> Self {
        let by_class = |table: &Table| {
            let of_class = |k| (0..table.rows()).filter_map(|n| table.get(n, k)).sum();
            (0..classes).map(of_class).collect::<Vec<f64>>()
        };
        let terms: Vec<Vec<f64>> = sums.iter().map(by_class).collect();
        let total = |k| weights.iter().zip(&terms).map(|(weight, term): (&f64, &Vec<f64>)| weight * term[k]).sum();
        Self { total: (0..classes).map(total).collect(), terms }
    }

    /// That of other pixels of the same whole added: pressures of tiles add up.
    pub fn add(&mut self, other: &Self) {
        let rows = std::iter::once(&mut self.total).chain(&mut self.terms);
        for (row, more) in rows.zip(std::iter::once(&other.total).chain(&other.terms)) {
            row.iter_mut().zip(more).for_each(|(sum, value)| *sum += value);
        }
    }
}

impl Loss {
    /// The [`Pressure`] of the loss on each class, on a backend that keeps its small arrays on the
    /// host. It reads the logits twice and stores no gradient.
    ///
    /// # Errors
    /// As [`Loss::evaluate_on`].
    pub fn pressure_on<P: Passes + ?Sized>(&self, call: &mut P) -> Result<Pressure, LossError> {
        let program = self.program(call.geometry().classes, Detail::Total)?;
        call.derive(program.plan())?;
        let inputs = self.inputs_of(call);
        program.pressure_on(call, &call.statistics(program.plan())?, &inputs)
    }
}
