//! Logits and targets in host memory, as the kernels read them: Flex's own, or read back from a
//! device.

use burn::tensor::kind::Basic;
use burn::tensor::{DType, Element, Tensor, TensorData};
use bytemuck::Pod;
#[cfg(feature = "flex")]
use loss_core::expr::Table;
use loss_core::{Loss, LossError, Plan};
use loss_kernels::{DerivedMap, HostTarget, Labels, Memory, Shares, by_type};

use crate::BurnTarget;
#[cfg(feature = "flex")]
use crate::fused::contiguous;
use crate::target::{NamedMap, Values};

#[cfg(feature = "flex")]
use burn::backend::{BackendTensor, DispatchTensorKind, flex::FlexTensor};

/// A tensor in host memory, row-major.
#[derive(Clone, Debug)]
pub(crate) enum Host {
    #[cfg(feature = "flex")]
    Flex(FlexTensor),
    Read(TensorData),
}

impl Host {
    /// A tensor off the tape, of its own type if that is one of some, else of another.
    fn of<const D: usize, K: Basic>(tensor: &Tensor<D, K>, types: &[DType], otherwise: DType) -> Result<Self, LossError> {
        let tensor = tensor.clone();
        let dtype = if types.contains(&tensor.dtype()) { tensor.dtype() } else { otherwise };
        #[cfg(feature = "flex")]
        if let (DispatchTensorKind::Flex(BackendTensor::Float(flex) | BackendTensor::Int(flex)), true) =
            (tensor.clone().into_dispatch().kind, tensor.dtype() == dtype)
        {
            return Ok(Self::Flex(contiguous(flex)));
        }
        tensor.try_into_data_dtype(dtype).map(Self::Read).map_err(read_error)
    }

    fn floats<const D: usize>(tensor: &Tensor<D>) -> Result<Self, LossError> {
        Self::of(tensor, &[DType::F32, DType::F64], DType::F32)
    }

    fn as_slice<E: Element + Pod>(&self) -> Option<&[E]> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex(tensor) => tensor.as_slice(),
            Self::Read(data) => data.as_slice().ok(),
        }
    }

    fn unreadable(&self) -> LossError {
        let dtype = match self {
            #[cfg(feature = "flex")]
            Self::Flex(tensor) => tensor.dtype(),
            Self::Read(data) => data.dtype(),
        };
        LossError::Unsupported { what: "tensor", got: format!("{dtype:?}"), expected: "memory that the kernels read" }
    }
}

impl Memory for Host {
    fn labels(&self) -> Result<Labels<'_>, LossError> {
        let bytes = self.as_slice().map(Labels::U8);
        let labels = bytes.or_else(|| self.as_slice().map(Labels::I32)).or_else(|| self.as_slice().map(Labels::I64));
        labels.ok_or_else(|| self.unreadable())
    }

    fn shares(&self) -> Result<Shares<'_>, LossError> {
        let single = self.as_slice().map(Shares::F32);
        single.or_else(|| self.as_slice().map(Shares::F64)).ok_or_else(|| self.unreadable())
    }
}

impl BurnTarget {
    /// In host memory. Waits for a device.
    fn on_host(&self, loss: &Loss, logits: &[usize]) -> Result<HostTarget<Host>, LossError> {
        let values = match &self.values {
            Values::Labels(labels) => Host::of(labels, &[DType::U8, DType::I32, DType::I64], DType::I64)?,
            Values::Soft(shares) => Host::floats(shares)?,
        };
        let weights = self.weights.as_ref().map(Host::floats).transpose()?;
        let map = |map: &NamedMap| Ok((map.name.clone(), Host::floats(&map.values)?, map.shape.clone()));
        Ok(HostTarget {
            logits: logits.to_vec(),
            kind: self.kind(),
            values,
            shape: self.shape().to_vec(),
            weights: weights.zip(self.weights_shape().map(<[usize]>::to_vec)),
            maps: self.maps.iter().map(map).collect::<Result<_, LossError>>()?,
            spacing: self.spacing.clone(),
            ignore: loss.ignored().to_vec(),
            activation: loss.activation(),
        })
    }
}

impl BurnTarget {
    /// The pixels that count, for logits of a shape. Waits for a device.
    pub(crate) fn valid_pixels(&self, loss: &Loss, logits: &[usize]) -> Result<usize, LossError> {
        let mut without_maps = self.clone();
        without_maps.maps.clear();
        Ok(without_maps.on_host(loss, logits)?.problem()?.valid_pixels())
    }
}

/// Logits and target of a call in host memory.
pub(crate) struct OnHost {
    logits: Host,
    pub(crate) target: HostTarget<Host>,
}

impl OnHost {
    /// Waits for a device.
    pub(crate) fn new<const D: usize>(loss: &Loss, logits: &Tensor<D>, target: &BurnTarget) -> Result<Self, LossError> {
        let types = [DType::F64, DType::F32, DType::F16, DType::BF16];
        let target = target.on_host(loss, &logits.dims())?;
        Ok(Self { logits: Host::of(&logits.clone().without_autodiff(), &types, DType::F32)?, target })
    }

    /// The statistics of a plan.
    #[cfg(feature = "flex")]
    pub(crate) fn statistics(&self, plan: &Plan) -> Result<Vec<Table>, LossError> {
        let (logits, problem) = (&self.logits, self.target.problem()?);
        by_type!(logits, |values: &[E]| loss_kernels::statistics::<E>(values, &problem, plan), else logits.unreadable())
    }

    /// The maps of a plan that are not given.
    pub(crate) fn derive(&self, plan: &Plan) -> Result<Vec<DerivedMap>, LossError> {
        let (logits, problem) = (&self.logits, self.target.problem()?);
        let derived = by_type!(logits, |values: &[E]| problem.derive::<E>(values, plan), else logits.unreadable())?;
        Ok(derived.into_iter().map(|(_, map)| map).collect())
    }

    /// Lets the kernels' own checks look at everything.
    pub(crate) fn validate(&self) -> Result<(), LossError> {
        let (logits, problem) = (&self.logits, self.target.problem()?);
        by_type!(logits, |values: &[E]| loss_kernels::validate::<E>(values, &problem), else logits.unreadable())
    }
}

/// What reading a tensor back reports.
pub(crate) fn read_error(source: impl std::error::Error + Send + Sync + 'static) -> LossError {
    LossError::Backend { backend: "burn", operation: "reading a tensor back", source: Box::new(source) }
}
