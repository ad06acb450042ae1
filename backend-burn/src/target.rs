//! Targets from Burn tensors.

use burn::tensor::kind::Basic;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use loss_core::expr::Table;
use loss_core::{Activation, Geometry, LossError, Map, TargetKind};
use loss_kernels::DerivedMap;

use crate::device;

/// What logits are compared with: labels or soft targets, and on request pixel weights and a prior.
/// No gradient flows into it.
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
    pub(crate) spacing: Option<Vec<f64>>,
    pub(crate) maps: Vec<NamedMap>,
}

/// Factors of pixels and classes, under a name; derived ones under their id.
#[derive(Clone, Debug)]
pub(crate) struct NamedMap {
    pub(crate) name: String,
    /// `[N, K, S]` or `[N, 1, S]`
    pub(crate) values: Tensor<3>,
    pub(crate) shape: Vec<usize>,
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

/// With all axes from the last of `R` on as one. One number stands for a tensor that has none,
/// whose shape is refused later: to Burn a length of 0 means the length that was there.
fn reshaped<const D: usize, const R: usize, K: Basic>(tensor: Tensor<D, K>) -> Tensor<R, K> {
    let shape = flattened::<R>(&tensor.dims());
    if shape.contains(&0) { Tensor::zeros([1; R], &tensor.device()) } else { tensor.reshape(shape) }
}

pub(crate) fn flatten<const D: usize>(logits: Tensor<D>) -> Tensor<3> {
    reshaped(logits)
}

impl BurnTarget {
    /// Class indices, `[N, *spatial]`, of any integer type.
    #[must_use]
    pub fn labels<const L: usize>(labels: Tensor<L, Int>) -> Self {
        let shape = labels.dims().to_vec();
        let values = Values::Labels(reshaped(labels.without_autodiff()));
        Self::new(values, shape)
    }

    fn new(values: Values, shape: Vec<usize>) -> Self {
        Self { values, shape, weights: None, weights_shape: Vec::new(), prior: None, spacing: None, maps: Vec::new() }
    }

    /// Shares of every class in `[0, 1]`, `[N, K, *spatial]`. To ignore a pixel, give it the weight
    /// 0.
    #[must_use]
    pub fn soft<const D: usize>(shares: Tensor<D>) -> Self {
        let shape = shares.dims().to_vec();
        let values = Values::Soft(reshaped(shares.without_autodiff()));
        Self::new(values, shape)
    }

    /// Weights ≥ 0 of the pixels, `[N, *spatial]`.
    #[must_use]
    pub fn weights<const L: usize>(self, weights: Tensor<L>) -> Self {
        let weights_shape = weights.dims().to_vec();
        let weights = reshaped(weights.without_autodiff());
        Self { weights: Some(weights), weights_shape, ..self }
    }

    /// Proportions for penalties with `target=given`: per sample and class, `[N, K]`, or per class
    /// for all samples, `[1, K]`.
    #[must_use]
    pub fn prior(self, prior: Table) -> Self {
        Self { prior: Some(prior), ..self }
    }

    /// A map that terms of the loss read under a name ([`loss_core::Map`]): factors of its
    /// own for every pixel and class, `[N, K, *spatial]`, or one for all classes, `[N, 1,
    /// *spatial]`. They may be negative. Of several with one name the last counts.
    ///
    /// Under the name of a map that a term derives (`signed_distances` of `boundary`,
    /// `hardest_pixels` of `topk`) it is read in its place. One that no term reads is left alone.
    ///
    /// Without a map that a term reads, a call gives [`LossError::MissingMap`]; with one that does
    /// not fit the logits, [`LossError::ShapeMismatch`]. Where a pixel counts, a map is finite: the
    /// CPU's kernels refuse others, and elsewhere they make the total NaN.
    #[must_use]
    pub fn map<const D: usize>(mut self, name: &str, values: Tensor<D>) -> Self {
        let shape = values.dims().to_vec();
        self.maps.push(NamedMap { name: name.to_owned(), values: reshaped(values.without_autodiff()), shape });
        self
    }

    /// Distance of neighbouring pixels along each spatial axis, for maps of distances; 1 unless
    /// given. One that does not fit the logits makes a call give [`LossError::Unsupported`] or
    /// [`LossError::ValueOutOfRange`].
    #[must_use]
    pub fn spacing(self, spacing: &[f64]) -> Self {
        Self { spacing: Some(spacing.to_vec()), ..self }
    }

    /// With maps that were derived for logits, brought to their device.
    pub(crate) fn with_derived<const D: usize>(mut self, derived: Vec<DerivedMap>, logits: &Tensor<D>) -> Self {
        let (shape, device) = (logits.dims(), logits.clone().without_autodiff().device());
        let [samples, _, pixels] = flattened(&shape);
        for DerivedMap { id, channels, values } in derived {
            let data = TensorData::new(values.to_vec(), [samples, channels, pixels]);
            let mut shape = shape.to_vec();
            shape[1] = channels;
            self.maps.push(NamedMap { name: id, values: Tensor::from_data(data, (&device, DType::F32)), shape });
        }
        self
    }

    /// The factors of a map, `[N, K, S]` or `[N, 1, S]`.
    pub(crate) fn map_of(&self, map: &Map) -> Result<&Tensor<3>, LossError> {
        let place = map.place(self.maps.iter().map(|there| there.name.as_str()))?;
        Ok(&self.maps[place].values)
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

    /// Refuses logits of a type that their device does not compute in, a target on another device,
    /// and shapes that do not fit.
    pub(crate) fn geometry<const D: usize>(&self, logits: &Tensor<D>, activation: Activation) -> Result<Geometry, LossError> {
        let device = logits.clone().without_autodiff().device();
        device::check(&device, logits.dtype())?;
        let beside = |what, other: Device| {
            let got = format!("a tensor on {other:?}, with logits on {device:?},");
            let expected = "the device of the logits";
            if other == device { Ok(()) } else { Err(LossError::Unsupported { what, got, expected }) }
        };
        match &self.values {
            Values::Labels(labels) => beside("labels", labels.device())?,
            Values::Soft(shares) => beside("soft targets", shares.device())?,
        }
        self.weights.as_ref().map_or(Ok(()), |weights| beside("pixel weights", weights.device()))?;
        if let Some(spacing) = &self.spacing {
            Geometry::spacing_fits(&logits.dims(), spacing)?;
        }
        for map in &self.maps {
            beside("map", map.values.device())?;
            Geometry::map_fits(&logits.dims(), &map.shape)?;
        }
        Geometry::new(&logits.dims(), (self.kind(), &self.shape), self.weights_shape(), activation)
    }
}
