//! Targets from Burn tensors.

use burn::tensor::{Int, Tensor};
use loss_core::expr::Table;
use loss_core::{Activation, Geometry, LossError, TargetKind};

/// What logits are compared with: labels or soft targets, and on request pixel weights and a prior. No gradient flows into it.
///
/// ```
/// use backend_burn::BurnTarget;
/// use burn::tensor::{Device, Int, Tensor};
/// let device = Device::flex();
/// let labels = Tensor::<3, Int>::zeros([2, 8, 8], &device);
/// let weights = Tensor::<3>::ones([2, 8, 8], &device);
/// let target = BurnTarget::labels(labels).weights(weights);
/// ```
#[derive(Clone, Debug)]
pub struct BurnTarget {
    pub(crate) values: Values,
    shape: Vec<usize>,
    /// `[N, S]`
    pub(crate) weights: Option<Tensor<2>>,
    weights_shape: Vec<usize>,
    pub(crate) prior: Option<Table>,
}

/// With the spatial axes flattened.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    /// `[N, S]`
    Labels(Tensor<2, Int>),
    /// `[N, K, S]`
    Soft(Tensor<3>),
}

/// Lengths of the leading axes, and the product of the others.
fn flattened<const R: usize>(shape: &[usize]) -> [usize; R] {
    let mut out = [1; R];
    for (i, &length) in shape.iter().enumerate() {
        out[i.min(R - 1)] *= length;
    }
    out
}

pub(crate) fn flatten<const D: usize>(logits: Tensor<D>) -> Tensor<3> {
    let shape = flattened::<3>(&logits.dims());
    logits.reshape(shape)
}

impl BurnTarget {
    /// Class indices, `[N, *spatial]`, of any integer type.
    #[must_use]
    pub fn labels<const L: usize>(labels: Tensor<L, Int>) -> Self {
        let shape = labels.dims().to_vec();
        let values = Values::Labels(labels.without_autodiff().reshape(flattened::<2>(&shape)));
        Self { values, shape, weights: None, weights_shape: Vec::new(), prior: None }
    }

    /// Shares of every class in `[0, 1]`, `[N, K, *spatial]`. To ignore a pixel, give it the weight 0.
    #[must_use]
    pub fn soft<const D: usize>(shares: Tensor<D>) -> Self {
        let shape = shares.dims().to_vec();
        let values = Values::Soft(shares.without_autodiff().reshape(flattened::<3>(&shape)));
        Self { values, shape, weights: None, weights_shape: Vec::new(), prior: None }
    }

    /// Weights ≥ 0 of the pixels, `[N, *spatial]`.
    #[must_use]
    pub fn weights<const L: usize>(self, weights: Tensor<L>) -> Self {
        let weights_shape = weights.dims().to_vec();
        let weights = weights.without_autodiff().reshape(flattened::<2>(&weights_shape));
        Self { weights: Some(weights), weights_shape, ..self }
    }

    /// Proportions for penalties with `target=given`: per sample and class, `[N, K]`, or per class for all samples, `[1, K]`.
    #[must_use]
    pub fn prior(self, prior: Table) -> Self {
        Self { prior: Some(prior), ..self }
    }

    pub(crate) fn kind(&self) -> TargetKind {
        match self.values {
            Values::Labels(_) => TargetKind::Labels,
            Values::Soft(_) => TargetKind::Soft,
        }
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(crate) fn weights_shape(&self) -> Option<&[usize]> {
        self.weights.as_ref().map(|_| self.weights_shape.as_slice())
    }

    pub(crate) fn geometry(&self, logits: &[usize], activation: Activation) -> Result<Geometry, LossError> {
        Geometry::new(logits, (self.kind(), &self.shape), self.weights_shape(), activation)
    }
}
