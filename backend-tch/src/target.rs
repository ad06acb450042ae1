//! Targets from LibTorch tensors, and what is asked of every tensor before any work.

use loss_core::expr::Table;
use loss_core::{Activation, Geometry, LossError, TargetKind};
use loss_kernels::DerivedMap;
use tch::{Device, Kind, Tensor};

use crate::error::During;

/// What logits are compared with: labels or soft targets, and on request pixel weights and a prior.
/// No gradient flows into it. It shares the memory of the tensors it is made of.
///
/// ```
/// use backend_tch::TchTarget;
/// use tch::{Device, Kind, Tensor};
/// let labels = Tensor::zeros([2, 8, 8], (Kind::Uint8, Device::Cpu));
/// let weights = Tensor::ones([2, 8, 8], (Kind::Float, Device::Cpu));
/// let target = TchTarget::labels(&labels).weights(&weights);
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
    /// `[N, *spatial]`
    Labels(Tensor),
    /// `[N, K, *spatial]`
    Soft(Tensor),
}

impl TchTarget {
    /// Class indices, `[N, *spatial]`, of any integer type or `Bool`.
    #[must_use]
    pub fn labels(labels: &Tensor) -> Self {
        Self::new(Values::Labels(labels.shallow_clone()))
    }

    /// Shares of every class in `[0, 1]`, `[N, K, *spatial]`, of any real type. To ignore a pixel,
    /// give it the weight 0.
    #[must_use]
    pub fn soft(shares: &Tensor) -> Self {
        Self::new(Values::Soft(shares.shallow_clone()))
    }

    fn new(values: Values) -> Self {
        Self { values, weights: None, prior: None, spacing: None, maps: Vec::new() }
    }

    /// Weights ≥ 0 of the pixels, `[N, *spatial]`, of any real type.
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
    /// Shape of the target.
    pub(crate) target: Vec<usize>,
    /// Shape of the weights.
    pub(crate) weights: Option<Vec<usize>>,
    /// Shapes of the maps.
    pub(crate) maps: Vec<Vec<usize>>,
    /// Type of the logits.
    pub(crate) kind: Kind,
    /// Where all of it lies.
    pub(crate) device: Device,
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
            Values::Labels(labels) => beside("labels", labels, &[INTEGERS], "an integer type or Bool")?,
            Values::Soft(shares) => beside("soft targets", shares, &[FLOATS, INTEGERS], "a real type")?,
        };
        let weights = target.weights.as_ref();
        let weights = weights.map(|w| beside("pixel weights", w, &[FLOATS, INTEGERS], "a real type")).transpose()?;
        let map = |(_, map): &(String, Tensor)| beside("map", map, &[FLOATS, INTEGERS], "a real type");
        let maps = target.maps.iter().map(map).collect::<Result<Vec<_>, _>>()?;
        maps.iter().try_for_each(|map| Geometry::map_fits(&shape, map))?;
        target.spacing.as_ref().map_or(Ok(()), |spacing| Geometry::spacing_fits(&shape, spacing))?;
        let geometry = Geometry::new(&shape, (target.kind(), &target_shape), weights.as_deref(), activation)?;
        Ok(Self { geometry, logits: shape, target: target_shape, weights, maps, kind, device })
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
