//! Targets from Burn tensors.

use burn::tensor::kind::Basic;
use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use loss_core::backend::ignored_classes;
use loss_core::expr::Table;
use loss_core::{Activation, Geometry, Loss, LossError, Map, TargetKind};
use loss_kernels::DerivedMap;

use crate::device;

/// What logits are compared with: labels, one-hot integers or soft targets, and on request pixel
/// weights and a prior. No gradient flows into it.
///
/// Labels and weights are taken as they come, with a channel axis of length 1 or without, and
/// labels as integers of any type or as booleans:
///
/// ```
/// use backend_burn::{BurnLoss, BurnTarget};
/// use burn::tensor::{Device, Int, Tensor};
/// let device = Device::flex();
/// let loss: loss_core::Loss = "ce + dice".parse()?;
/// let logits = Tensor::<3>::from_data([[[2.0, 0.5], [0.0, 1.5]]], &device);   // [N, K, S]
/// let total = |target: &BurnTarget| {
///     loss.evaluate(logits.clone(), target).map(|value| value.total)
/// };
/// let labels = Tensor::<2, Int>::from_data([[0, 1]], &device);
/// let weights = Tensor::<2>::from_data([[1.0, 0.5]], &device);
/// let value = total(&BurnTarget::labels(labels.clone()).weights(weights.clone()))?;
/// // With a channel axis, [N, 1, S], and as booleans.
/// let labels = labels.equal_elem(1).unsqueeze_dim::<3>(1);
/// let weights = weights.unsqueeze_dim::<3>(1);
/// assert_eq!(total(&BurnTarget::labels(labels).weights(weights.clone()))?, value);
/// // One-hot integers, of the logits' shape.
/// let one_hot = Tensor::<3, Int>::from_data([[[1, 0], [0, 1]]], &device);
/// assert!((total(&BurnTarget::labels(one_hot).weights(weights))? - value).abs() < 1e-6);
/// # Ok::<(), loss_core::LossError>(())
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
    /// `[N, S]`; before the logits are known also one-hot `[N, K·S]`.
    Labels(Tensor<2, Int>),
    /// `[N, K, S]`
    OneHot(Tensor<3, Int>),
    /// `[N, K, S]`
    Soft(Tensor<3>),
}

/// A tensor that labels can be given in: of integers, of any type, or of booleans. Sealed.
pub trait LabelTensor<const D: usize>: sealed::Integers<D> {}

mod sealed {
    use super::{Bool, Int, Tensor};

    pub trait Integers<const D: usize> {
        fn integers(self) -> Tensor<D, Int>;
    }

    impl<const D: usize> Integers<D> for Tensor<D, Int> {
        fn integers(self) -> Tensor<D, Int> {
            self
        }
    }

    impl<const D: usize> Integers<D> for Tensor<D, Bool> {
        fn integers(self) -> Tensor<D, Int> {
            self.int()
        }
    }
}

impl<const D: usize> LabelTensor<D> for Tensor<D, Int> {}
impl<const D: usize> LabelTensor<D> for Tensor<D, Bool> {}

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
    /// Class indices, `[N, *spatial]` or `[N, 1, *spatial]`.
    ///
    /// Those of the logits' shape, `[N, K, *spatial]` of K > 1, are read as one-hot: 0 and 1, and
    /// in a softmax loss one 1 for each pixel. An ignored label that is a class leaves out its
    /// pixels there too. With one channel, integers are labels 0 and 1.
    ///
    /// Others make a call on the CPU, and elsewhere
    /// [`BurnLoss::validate`](crate::BurnLoss::validate), give [`LossError::LabelOutOfRange`],
    /// [`LossError::ValueOutOfRange`] or [`LossError::SharesSum`]; a shape that does not fit, any
    /// call [`LossError::ShapeMismatch`].
    #[must_use]
    pub fn labels<const L: usize>(labels: impl LabelTensor<L>) -> Self {
        let labels = labels.integers();
        let shape = labels.dims().to_vec();
        let values = Values::Labels(reshaped(labels.without_autodiff()));
        Self::new(values, shape)
    }

    fn new(values: Values, shape: Vec<usize>) -> Self {
        Self { values, shape, weights: None, weights_shape: Vec::new(), prior: None, spacing: None, maps: Vec::new() }
    }

    /// Shares of every class in `[0, 1]`, `[N, K, *spatial]`; of one class also `[N, *spatial]`. To
    /// ignore a pixel, give it the weight 0.
    ///
    /// In a softmax loss those of a pixel add up to 1, to within 1e-3 (1e-2 where they are of half
    /// precision); as far they may be from `[0, 1]`, and are then read as 0 or 1. Others make a
    /// call on the CPU, and elsewhere [`BurnLoss::validate`](crate::BurnLoss::validate), give
    /// [`LossError::SharesSum`] or [`LossError::ValueOutOfRange`]. It is the activation of the loss
    /// that counts, and not one that a term has of its own: it says whether the classes exclude
    /// each other.
    #[must_use]
    pub fn soft<const D: usize>(shares: Tensor<D>) -> Self {
        let shape = shares.dims().to_vec();
        let values = Values::Soft(reshaped(shares.without_autodiff()));
        Self::new(values, shape)
    }

    /// Weights ≥ 0 of the pixels, `[N, *spatial]` or `[N, 1, *spatial]`.
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
            Values::OneHot(_) => TargetKind::OneHot,
            Values::Soft(_) => TargetKind::Soft,
        }
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(crate) fn weights_shape(&self) -> Option<&[usize]> {
        self.weights.as_ref().map(|_| self.weights_shape.as_slice())
    }

    /// As it is read beside logits, with the axes that [`Values`] names. Pixels that are one-hot of
    /// an ignored class have the weight 0.
    ///
    /// # Errors
    /// Refuses logits of a type that their device does not compute in, a target on another device,
    /// and shapes that do not fit.
    pub(crate) fn beside<const D: usize>(&self, logits: &Tensor<D>, loss: &Loss) -> Result<(Self, Geometry), LossError> {
        let (kind, geometry) = self.geometry(logits, loss.activation())?;
        let Geometry { samples, classes, pixels } = geometry;
        let mut target = self.clone();
        match (&self.values, kind) {
            (Values::Labels(labels), TargetKind::OneHot) => {
                let one_hot = labels.clone().reshape([samples, classes, pixels]);
                if target.weights.is_none() {
                    target.weights_shape = logits.dims().to_vec();
                    target.weights_shape.remove(1);
                }
                for class in ignored_classes(loss.ignored(), classes) {
                    let ignored = one_hot.clone().slice([0..samples, class..class + 1, 0..pixels]).equal_elem(1);
                    let weights = target.weights.unwrap_or_else(|| Tensor::ones([samples, pixels], &one_hot.device()));
                    target.weights = Some(weights.mask_fill(ignored.reshape([samples, pixels]), 0.0));
                }
                target.values = Values::OneHot(one_hot);
            }
            (Values::Soft(shares), _) => target.values = Values::Soft(shares.clone().reshape([samples, classes, pixels])),
            (Values::Labels(_) | Values::OneHot(_), _) => {}
        }
        Ok((target, geometry))
    }

    fn geometry<const D: usize>(
        &self,
        logits: &Tensor<D>,
        activation: Activation,
    ) -> Result<(TargetKind, Geometry), LossError> {
        let device = logits.clone().without_autodiff().device();
        device::check(&device, logits.dtype())?;
        let beside = |what, other: Device| {
            let got = format!("a tensor on {other:?}, with logits on {device:?},");
            let expected = "the device of the logits";
            if other == device { Ok(()) } else { Err(LossError::Unsupported { what, got, expected }) }
        };
        match &self.values {
            Values::Labels(labels) => beside("labels", labels.device())?,
            Values::OneHot(labels) => beside("labels", labels.device())?,
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
        let kind = match self.kind() {
            TargetKind::Labels => TargetKind::of_integers(&logits.dims(), &self.shape),
            kind => kind,
        };
        Ok((kind, Geometry::new(&logits.dims(), (kind, &self.shape), self.weights_shape(), activation)?))
    }
}
