//! The whole suite on the outsider's backend.

use conformance_tests::oracle;
use conformance_tests::{Adapter, Dtype, Input, Output, Shares, parts_of};
use loss_core::{Evaluation, Geometry, Loss, LossError, TargetKind};
use outsider::{Plain, Target};

struct Outsider;

/// A call with logits as the type holds them.
fn call(loss: &Loss, input: &Input, dtype: Dtype) -> Result<Plain, LossError> {
    let target_shape = input.target_shape();
    let (kind, labels, shares) = match &input.target {
        oracle::Target::Labels(labels) => {
            let labels = labels.iter().map(|&label| input.labels.number(label)).collect();
            (TargetKind::of_integers(&input.shape, &target_shape), labels, Vec::new())
        }
        oracle::Target::Soft(shares) => (TargetKind::Soft, Vec::new(), shares.clone()),
    };
    let weights_shape = input.weights_shape();
    let weights = input.weights.as_ref().map(|_| weights_shape.as_slice());
    let geometry = Geometry::new(&input.shape, (kind, &target_shape), weights, loss.activation())?;
    let (shape, weights, ignore) = (input.shape.clone(), input.weights.clone(), loss.ignored().to_vec());
    let logits = input.logits.iter().map(|&z| dtype.round(z)).collect();
    input.spacing.as_ref().map_or(Ok(()), |spacing| Geometry::spacing_fits(&input.shape, spacing))?;
    let mut maps = Vec::new();
    for map in &input.maps {
        Geometry::map_fits(&input.shape, &input.map_shape(map))?;
        maps.push((map.name.to_owned(), map.values.clone()));
    }
    let (activation, spacing) = (loss.activation(), input.spacing.clone());
    let target = Target { shape, geometry, activation, kind, labels, shares, weights, ignore, spacing, maps };
    Ok(Plain { logits, target, prior: input.prior_table() })
}

impl Adapter for Outsider {
    fn name(&self) -> &'static str {
        "outsider"
    }

    /// It takes a while for a hundredth of it.
    fn largest_case(&self) -> Option<usize> {
        Some(250_000)
    }

    fn reads_shares(&self, shares: Shares) -> bool {
        shares == Shares::Wide
    }

    fn value_and_gradient(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Output, LossError> {
        let mut call = call(loss, input, dtype)?;
        let mut gradient = vec![0.0; call.logits.len()];
        let value = loss.value_on(&mut call, Some(&mut gradient[..]))?;
        let terms = loss.evaluate_on(&mut call)?.terms.iter().map(parts_of).collect();
        Ok(Output { total: value.total, terms, gradient })
    }

    fn evaluate(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Evaluation, LossError> {
        loss.evaluate_on(&mut call(loss, input, dtype)?)
    }
}

conformance_tests::conformance_suite!(Outsider);
