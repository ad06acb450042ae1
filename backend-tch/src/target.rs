//! Targets from LibTorch tensors, and what is asked of every tensor before any work.

use loss_core::backend::ignored_classes;
use loss_core::expr::Table;
use loss_core::{Activation, Geometry, Loss, LossError, TargetKind};
use loss_kernels::DerivedMap;
use tch::{Device, Kind, TchError, Tensor};

use crate::error::During;

/// What logits are compared with: labels, one-hot integers or soft targets, and on request pixel
/// weights and a prior. No gradient flows into it. It shares the memory of the tensors it is made
/// of.
///
/// Labels and weights are taken as they come, with a channel axis of length 1 or without:
///
/// ```
/// use backend_tch::{TchLoss, TchTarget};
/// use tch::{Kind, Tensor};
/// let loss: loss_core::Loss = "ce + dice".parse()?;
/// let logits = Tensor::from_slice(&[2f32, 0.5, 0.0, 1.5]).reshape([1, 2, 2]);   // [N, K, S]
/// let total = |target: &TchTarget| loss.evaluate(&logits, target).map(|value| value.total);
/// let labels = Tensor::from_slice2(&[[0i64, 1]]);
/// let weights = Tensor::from_slice2(&[[1f32, 0.5]]);
/// let value = total(&TchTarget::labels(&labels).weights(&weights))?;
/// // With a channel axis, [N, 1, S], and as booleans.
/// let (labels, weights) = (labels.to_kind(Kind::Bool).unsqueeze(1), weights.unsqueeze(1));
/// assert_eq!(total(&TchTarget::labels(&labels).weights(&weights))?, value);
/// // One-hot integers, of the logits' shape.
/// let one_hot = Tensor::from_slice(&[1i64, 0, 0, 1]).reshape([1, 2, 2]);
/// assert!((total(&TchTarget::labels(&one_hot).weights(&weights))? - value).abs() < 1e-6);
/// # Ok::<(), loss_core::LossError>(())
/// ```
#[derive(Debug)]
pub struct TchTarget {
    pub(crate) values: Values,
    pub(crate) weights: Option<Tensor>,
    pub(crate) prior: Option<Table>,
    pub(crate) spacing: Option<Vec<f64>>,
    pub(crate) maps: Vec<(String, Tensor)>,
}

#[derive(Debug)]
pub(crate) enum Values {
    /// `[N, *spatial]`; before the logits are known also with a channel axis, or one-hot.
    Labels(Tensor),
    /// `[N, K, *spatial]`
    OneHot(Tensor),
    /// `[N, K, *spatial]`
    Soft(Tensor),
}

impl TchTarget {
    /// Class indices, `[N, *spatial]` or `[N, 1, *spatial]`, of any integer type that tch has, or
    /// `Bool`.
    ///
    /// Those of the logits' shape, `[N, K, *spatial]` of K > 1, are read as one-hot: 0 and 1, and
    /// in a softmax loss one 1 for each pixel. An ignored label that is a class leaves out its
    /// pixels there too. With one channel, integers are labels 0 and 1.
    ///
    /// Others make a call on the CPU, and elsewhere
    /// [`TchLoss::validate`](crate::TchLoss::validate), give [`LossError::LabelOutOfRange`],
    /// [`LossError::ValueOutOfRange`] or [`LossError::SharesSum`]; a shape that does not fit, any
    /// call [`LossError::ShapeMismatch`].
    #[must_use]
    pub fn labels(labels: &Tensor) -> Self {
        Self::new(Values::Labels(labels.shallow_clone()))
    }

    /// Shares of every class in `[0, 1]`, `[N, K, *spatial]`; of one class also `[N, *spatial]`; of
    /// any real type. To ignore a pixel, give it the weight 0.
    ///
    /// In a softmax loss those of a pixel add up to 1, to within 1e-3 (1e-2 where they are of half
    /// precision); as far they may be from `[0, 1]`, and are then read as 0 or 1. Others make a
    /// call on the CPU, and elsewhere [`TchLoss::validate`](crate::TchLoss::validate), give
    /// [`LossError::SharesSum`] or [`LossError::ValueOutOfRange`]. It is the activation of the loss
    /// that counts, and not one that a term has of its own: it says whether the classes exclude
    /// each other.
    #[must_use]
    pub fn soft(shares: &Tensor) -> Self {
        Self::new(Values::Soft(shares.shallow_clone()))
    }

    fn new(values: Values) -> Self {
        Self { values, weights: None, prior: None, spacing: None, maps: Vec::new() }
    }

    /// Weights ≥ 0 of the pixels, `[N, *spatial]` or `[N, 1, *spatial]`, of any real type.
    #[must_use]
    pub fn weights(self, weights: &Tensor) -> Self {
        Self { weights: Some(weights.shallow_clone()), ..self }
    }

    /// Proportions for penalties with `target=given`: per sample and class, `[N, K]`, or per class
    /// for all samples, `[1, K]`.
    #[must_use]
    pub fn prior(self, prior: Table) -> Self {
        Self { prior: Some(prior), ..self }
    }

    /// A map that terms of the loss read under a name ([`loss_core::Map`]): factors of its
    /// own for every pixel and class, `[N, K, *spatial]`, or one for all classes, `[N, 1,
    /// *spatial]`, of any real type. They may be negative. Of several with one name the last
    /// counts.
    ///
    /// Under the name of a map that a term derives (`signed_distances` of `boundary`,
    /// `hardest_pixels` of `topk`) it is read in its place. One that no term reads is left alone.
    ///
    /// Without a map that a term reads, a call gives [`LossError::MissingMap`]; with one that does
    /// not fit the logits, [`LossError::ShapeMismatch`]. Where a pixel counts, a map is finite: the
    /// CPU refuses others, and elsewhere they make the total NaN.
    #[must_use]
    pub fn map(mut self, name: &str, values: &Tensor) -> Self {
        self.maps.push((name.to_owned(), values.shallow_clone()));
        self
    }

    /// Distance of neighbouring pixels along each spatial axis, for maps of distances; 1 unless
    /// given. One that does not fit the logits makes a call give [`LossError::Unsupported`] or
    /// [`LossError::ValueOutOfRange`].
    #[must_use]
    pub fn spacing(self, spacing: &[f64]) -> Self {
        Self { spacing: Some(spacing.to_vec()), ..self }
    }

    /// The same tensors once more.
    pub(crate) fn shallow_clone(&self) -> Self {
        let values = match &self.values {
            Values::Labels(labels) => Values::Labels(labels.shallow_clone()),
            Values::OneHot(labels) => Values::OneHot(labels.shallow_clone()),
            Values::Soft(shares) => Values::Soft(shares.shallow_clone()),
        };
        Self {
            values,
            weights: self.weights.as_ref().map(Tensor::shallow_clone),
            prior: self.prior.clone(),
            spacing: self.spacing.clone(),
            maps: self.maps.iter().map(|(name, map)| (name.clone(), map.shallow_clone())).collect(),
        }
    }

    /// As it is read beside logits, with the axes that [`Values`] names. Pixels that are one-hot of
    /// an ignored class have the weight 0.
    pub(crate) fn beside(&self, checked: &Checked, loss: &Loss) -> Result<Self, LossError> {
        let (rank, classes) = (checked.logits.len(), checked.geometry.classes);
        let without_channel = |tensor: &Tensor| {
            if tensor.dim() == rank { tensor.f_squeeze_dim(1) } else { Ok(tensor.shallow_clone()) }
        };
        let read = || -> Result<Self, TchError> {
            let mut target = self.shallow_clone();
            target.weights = self.weights.as_ref().map(without_channel).transpose()?;
            target.values = match (&self.values, checked.target_kind) {
                (Values::Labels(one_hot) | Values::OneHot(one_hot), TargetKind::OneHot) => {
                    for class in ignored_classes(loss.ignored(), classes) {
                        let ignored = one_hot.f_select(1, class as i64)?.f_eq(1)?;
                        let weights = target.weights.take();
                        let weights =
                            weights.map_or_else(|| Tensor::f_ones(ignored.size(), (Kind::Float, checked.device)), Ok)?;
                        target.weights = Some(weights.f_masked_fill(&ignored, 0.0)?);
                    }
                    Values::OneHot(one_hot.shallow_clone())
                }
                (Values::Labels(labels) | Values::OneHot(labels), _) => Values::Labels(without_channel(labels)?),
                (Values::Soft(shares), _) if shares.dim() < rank => Values::Soft(shares.f_unsqueeze(1)?),
                (Values::Soft(shares), _) => Values::Soft(shares.shallow_clone()),
            };
            Ok(target)
        };
        read().during("reading a target")
    }

    /// Takes maps that were derived, brought to the logits' device, and returns their shapes.
    pub(crate) fn derive(&mut self, derived: Vec<DerivedMap>, checked: &Checked) -> Result<Vec<Vec<usize>>, LossError> {
        let mut bring = |DerivedMap { id, channels, values }: DerivedMap| {
            let mut shape = checked.logits.clone();
            shape[1] = channels;
            let size: Vec<i64> = shape.iter().map(|&length| length as i64).collect();
            let map = Tensor::f_from_slice(&values).and_then(|map| map.f_reshape(size)?.f_to_device(checked.device));
            self.maps.push((id, map.during("bringing a map to the device")?));
            Ok(shape)
        };
        derived.into_iter().map(&mut bring).collect()
    }

    pub(crate) fn kind(&self) -> TargetKind {
        match self.values {
            Values::Labels(_) => TargetKind::Labels,
            Values::OneHot(_) => TargetKind::OneHot,
            Values::Soft(_) => TargetKind::Soft,
        }
    }
}

/// Shapes, types and device of a call, all known to fit.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) geometry: Geometry,
    /// Shape of the logits.
    pub(crate) logits: Vec<usize>,
    /// What the target is beside them.
    pub(crate) target_kind: TargetKind,
    /// Shape of the target.
    pub(crate) target: Vec<usize>,
    /// Shapes of the maps.
    pub(crate) maps: Vec<Vec<usize>>,
    /// Type of the logits.
    pub(crate) kind: Kind,
    /// Where all of it lies.
    pub(crate) device: Device,
    /// The loss's activation.
    pub(crate) activation: Activation,
}

impl Checked {
    pub(crate) fn new(logits: &Tensor, target: &TchTarget, activation: Activation) -> Result<Self, LossError> {
        let kind = kind_of("logits", logits)?;
        if !FLOATS.contains(&kind) {
            return Err(unsupported("logits", &kind, "Double, Float, Half or BFloat16"));
        }
        let shape = shape_of("logits", logits)?;
        let device = logits.device();
        let beside = |what, tensor: &Tensor, kinds: &[&[Kind]], expected| {
            let kind = kind_of(what, tensor)?;
            if !kinds.iter().any(|kinds| kinds.contains(&kind)) {
                return Err(unsupported(what, &kind, expected));
            }
            let shape = shape_of(what, tensor)?;
            same_device(what, tensor.device(), device)?;
            Ok(shape)
        };
        let target_shape = match &target.values {
            Values::Labels(labels) | Values::OneHot(labels) => {
                beside("labels", labels, &[INTEGERS], "an integer type or Bool")?
            }
            Values::Soft(shares) => beside("soft targets", shares, &[FLOATS, INTEGERS], "a real type")?,
        };
        let weights = target.weights.as_ref();
        let weights = weights.map(|w| beside("pixel weights", w, &[FLOATS, INTEGERS], "a real type")).transpose()?;
        let map = |(_, map): &(String, Tensor)| beside("map", map, &[FLOATS, INTEGERS], "a real type");
        let maps = target.maps.iter().map(map).collect::<Result<Vec<_>, _>>()?;
        maps.iter().try_for_each(|map| Geometry::map_fits(&shape, map))?;
        target.spacing.as_ref().map_or(Ok(()), |spacing| Geometry::spacing_fits(&shape, spacing))?;
        let target_kind = match target.kind() {
            TargetKind::Labels => TargetKind::of_integers(&shape, &target_shape),
            kind => kind,
        };
        let geometry = Geometry::new(&shape, (target_kind, &target_shape), weights.as_deref(), activation)?;
        Ok(Self { geometry, logits: shape, target_kind, target: target_shape, maps, kind, device, activation })
    }

    /// `[N, *spatial]`
    pub(crate) fn pixels(&self) -> Vec<usize> {
        self.logits.iter().enumerate().filter(|(axis, _)| *axis != 1).map(|(_, &length)| length).collect()
    }

    /// The type that logits are computed in, and that results have.
    pub(crate) fn compute(&self) -> Kind {
        if self.kind == Kind::Double { Kind::Double } else { Kind::Float }
    }
}

const FLOATS: &[Kind] = &[Kind::Double, Kind::Float, Kind::Half, Kind::BFloat16];
const INTEGERS: &[Kind] = &[Kind::Int64, Kind::Int, Kind::Int16, Kind::Int8, Kind::Uint8, Kind::Bool];

fn unsupported(what: &'static str, got: &dyn std::fmt::Debug, expected: &'static str) -> LossError {
    LossError::Unsupported { what, got: format!("{got:?}"), expected }
}

fn kind_of(what: &'static str, tensor: &Tensor) -> Result<Kind, LossError> {
    if !tensor.defined() {
        return Err(LossError::Unsupported { what, got: "an undefined tensor".to_owned(), expected: "a tensor with elements" });
    }
    tensor.f_kind().map_err(|error| LossError::Unsupported { what, got: error.to_string(), expected: "a type that tch knows" })
}

/// The shape of a dense tensor. Asked through an operation that can fail, as `Tensor::size` panics
/// for a nested one.
pub(crate) fn shape_of(what: &'static str, tensor: &Tensor) -> Result<Vec<usize>, LossError> {
    if tensor.is_sparse() || tensor.is_mkldnn() {
        return Err(LossError::Unsupported { what, got: "a sparse or opaque tensor".to_owned(), expected: "a dense tensor" });
    }
    let lengths =
        tensor.f_internal_shape_as_tensor().and_then(|shape| Vec::<i64>::try_from(&shape)).during("reading a shape")?;
    Ok(lengths.into_iter().map(|length| usize::try_from(length).unwrap_or(0)).collect())
}

fn same_device(what: &'static str, device: Device, logits: Device) -> Result<(), LossError> {
    if device == logits {
        return Ok(());
    }
    let got = format!("a tensor on {device:?}, with logits on {logits:?},");
    Err(LossError::Unsupported { what, got, expected: "the device of the logits" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_device_is_named_with_that_of_the_logits() {
        let error = same_device("labels", Device::Cuda(1), Device::Cpu).unwrap_err().to_string();
        let text = "labels: a tensor on Cuda(1), with logits on Cpu, is not supported; expected the device of the logits";
        assert_eq!(error, text);
        assert!(same_device("labels", Device::Cuda(1), Device::Cuda(1)).is_ok());
    }
}
