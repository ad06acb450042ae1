//! Proportions that are wanted: what they have to be.

use crate::expr::Table;
use crate::{Activation, Argument, LossError};

/// Those given with the target, `[N, K]` or `[1, K]`, for samples and classes.
pub(crate) fn given(
    prior: Option<&Table>,
    samples: usize,
    classes: usize,
    activation: Activation,
) -> Result<&Table, LossError> {
    let prior = prior.ok_or(LossError::MissingPrior)?;
    if prior.columns() != classes || ![1, samples].contains(&prior.rows()) {
        return Err(LossError::GivenPriorShape { samples, classes, got: [prior.rows(), prior.columns()] });
    }
    if let Some(i) = prior.values().iter().position(|v| !(0.0..=1.0).contains(v)) {
        let (value, position) = (prior.values()[i], vec![i / classes, i % classes]);
        return Err(LossError::ValueOutOfRange { what: Argument::Prior, value, expected: "[0, 1]", position });
    }
    if activation == Activation::Softmax {
        let of =
            |n: usize| if prior.rows() == 1 { "the prior given".to_owned() } else { format!("the prior given for sample {n}") };
        prior.values().chunks(classes.max(1)).enumerate().try_for_each(|(n, row)| distribution(row, || of(n)))?;
    }
    Ok(prior)
}

/// Refuses proportions that do not add up to 1, as those of softmax do; `of` says whose they are.
pub(crate) fn distribution(prior: &[f64], of: impl FnOnce() -> String) -> Result<(), LossError> {
    let sum: f64 = prior.iter().sum();
    if (sum - 1.0).abs() > 1e-6 { Err(LossError::PriorNotDistribution { of: of(), sum }) } else { Ok(()) }
}
