//! The whole suite on the outsider's backend.

use conformance_tests::oracle;
use conformance_tests::{Adapter, Dtype, Input, Maps, Output};
use loss_core::{Evaluation, Geometry, Loss, LossError, TargetKind};
use outsider::{Plain, Target};

struct Outsider;

/// Logits as the type holds them, and the target.
fn read(loss: &Loss, input: &Input, dtype: Dtype) -> Result<(Vec<f64>, Target), LossError> {
    let (kind, labels, shares) = match &input.target {
        oracle::Target::Labels(labels) => (TargetKind::Labels, Some(labels.clone()), Vec::new()),
        oracle::Target::Soft(shares) => (TargetKind::Soft, None, shares.clone()),
    };
    let pixel_shape = input.pixel_shape();
    let weights = input.weights.as_ref().map(|_| pixel_shape.as_slice());
    let geometry = Geometry::new(&input.shape, (kind, &input.target_shape()), weights, loss.activation())?;
    let (shape, weights, ignore) = (input.shape.clone(), input.weights.clone(), loss.ignored().to_vec());
    let logits = input.logits.iter().map(|&z| dtype.round(z)).collect();
    Ok((logits, Target { shape, geometry, labels, shares, weights, ignore }))
}

impl Adapter for Outsider {
    fn name(&self) -> &'static str {
        "outsider"
    }

    fn maps(&self) -> Maps {
        Maps::None
    }

    /// It takes a while for a hundredth of it.
    fn largest_case(&self) -> Option<usize> {
        Some(250_000)
    }

    fn value_and_gradient(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Output, LossError> {
        let (logits, target) = read(loss, input, dtype)?;
        let prior = input.prior_table();
        let mut gradient = vec![0.0; logits.len()];
        let into = Some(&mut gradient[..]);
        let value = loss.value_on(&Plain, (&logits, &target), target.geometry, prior.as_ref(), into)?;
        let parts = loss.evaluate_on(&Plain, (&logits, &target), target.geometry, prior.as_ref())?;
        let terms = parts.terms.iter().map(|t| vec![t.value, t.matching, t.size, t.constant]).collect();
        Ok(Output { total: value.total, terms, gradient })
    }

    fn evaluate(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Evaluation, LossError> {
        let (logits, target) = read(loss, input, dtype)?;
        loss.evaluate_on(&Plain, (&logits, &target), target.geometry, input.prior_table().as_ref())
    }
}

conformance_tests::conformance_suite!(Outsider);
