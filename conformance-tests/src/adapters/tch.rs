use backend_tch::{Path, TchLoss, TchTarget};
use loss_core::{Evaluation, Loss, LossError};
use tch::{Device, Kind, TchError, Tensor};

use crate::adapter::parts_of;
use crate::oracle;
use crate::{Adapter, Dtype, Input, Labels, Output, Shares};

/// `backend-tch`: one path on one device.
pub struct Tch {
    name: &'static str,
    path: Path,
    device: Device,
}

impl Tch {
    /// On the tensors' own memory.
    pub const FUSED: Self = Self { name: "tch-fused", path: Path::Fused, device: Device::Cpu };
    /// By ordinary operations.
    pub const OPERATIONS: Self = Self { name: "tch-operations", path: Path::Operations, device: Device::Cpu };
    /// By ordinary operations on CUDA.
    pub const CUDA: Self = Self { name: "tch-cuda", path: Path::Operations, device: Device::Cuda(0) };
    /// By the kernels for CUDA.
    pub const CUDA_FUSED: Self = Self { name: "tch-cuda-fused", path: Path::Fused, device: Device::Cuda(0) };

    /// The adapters that this machine can run.
    #[must_use]
    pub fn here() -> &'static [&'static dyn Adapter] {
        if !tch::Cuda::is_available() {
            &[&Self::FUSED, &Self::OPERATIONS]
        } else if has_kernels() {
            &[&Self::FUSED, &Self::OPERATIONS, &Self::CUDA, &Self::CUDA_FUSED]
        } else {
            &[&Self::FUSED, &Self::OPERATIONS, &Self::CUDA]
        }
    }
}

/// Whether the kernels for CUDA can be compiled here: the path of a loss tells.
fn has_kernels() -> bool {
    let logits = Tensor::f_zeros([1, 2, 1], (Kind::Float, Device::Cuda(0)));
    let path = logits.map(|logits| "dice".parse::<Loss>().and_then(|loss| loss.path(&logits)));
    matches!(path, Ok(Ok(Path::Fused)))
}

fn float(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F64 => Kind::Double,
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::Bf16 => Kind::BFloat16,
    }
}

/// A tensor of a shape; `strided` stores it with its first and last axis exchanged.
fn shaped(flat: &Tensor, shape: &[usize], kind: Kind, strided: bool, device: Device) -> Result<Tensor, TchError> {
    let shape: Vec<i64> = shape.iter().map(|&length| length as i64).collect();
    let tensor = flat.f_reshape(shape)?.f_to_kind(kind)?.f_to_device(device)?;
    if strided && tensor.dim() > 1 { tensor.f_transpose(0, -1)?.f_contiguous()?.f_transpose(0, -1) } else { Ok(tensor) }
}

fn failed(operation: &'static str) -> impl Fn(TchError) -> LossError {
    move |error| super::failed("LibTorch", operation)(error.into())
}

impl Tch {
    fn logits(&self, input: &Input, dtype: Dtype) -> Result<Tensor, TchError> {
        // Each rounded once: LibTorch's own conversion of `f64` to half precision goes through
        // `f32`.
        let values: Vec<f64> = input.logits.iter().map(|&z| dtype.round(z)).collect();
        shaped(&Tensor::f_from_slice(&values)?, &input.shape, float(dtype), input.strided, self.device)
    }

    fn target(&self, input: &Input) -> Result<TchTarget, TchError> {
        let shape = input.target_shape();
        let kind = match input.labels {
            Labels::Bool => Kind::Bool,
            Labels::U8 => Kind::Uint8,
            Labels::I8 => Kind::Int8,
            Labels::I16 => Kind::Int16,
            Labels::I32 => Kind::Int,
            Labels::I64 => Kind::Int64,
            Labels::U16 | Labels::U32 | Labels::U64 => {
                return Err(TchError::Kind(format!("tch has no {:?}", input.labels)));
            }
        };
        let share = match input.shares {
            Shares::Wide => Kind::Double,
            Shares::F16 => Kind::Half,
            Shares::Bf16 => Kind::BFloat16,
        };
        let doubles = |values: &[f64], shape: &[usize]| {
            shaped(&Tensor::f_from_slice(values)?, shape, Kind::Double, input.strided, self.device)
        };
        let target = match &input.target {
            oracle::Target::Labels(labels) => {
                TchTarget::labels(&shaped(&Tensor::f_from_slice(labels)?, &shape, kind, input.strided, self.device)?)
            }
            oracle::Target::Soft(shares) => TchTarget::soft(&doubles(shares, &shape)?.f_to_kind(share)?),
        };
        let mut target = match &input.weights {
            Some(weights) => target.weights(&doubles(weights, &input.weights_shape())?),
            None => target,
        };
        target = input.spacing.iter().fold(target, |target, spacing| target.spacing(spacing));
        for map in &input.maps {
            target = target.map(map.name, &doubles(&map.values, &input.map_shape(map))?);
        }
        Ok(match input.prior_table() {
            Some(prior) => target.prior(prior),
            None => target,
        })
    }

    /// Logits and target on the device.
    ///
    /// # Errors
    /// What LibTorch reports, and what [`Input::check`] does.
    pub fn tensors(&self, input: &Input, dtype: Dtype) -> Result<(Tensor, TchTarget), LossError> {
        input.check()?;
        let both = || Ok((self.logits(input, dtype)?, self.target(input)?));
        both().map_err(failed("making tensors of an input"))
    }

    /// [`Adapter::value_and_gradient`] by another way forward.
    ///
    /// # Errors
    /// What that reports, and what LibTorch does.
    pub fn value_and_gradient_by(
        &self,
        input: &Input,
        dtype: Dtype,
        forward: impl FnOnce(&Tensor, &TchTarget) -> Result<Evaluation<Tensor>, LossError>,
    ) -> Result<Output, LossError> {
        let (logits, target) = self.tensors(input, dtype)?;
        let logits = logits.f_set_requires_grad(true).map_err(failed("asking for a gradient"))?;
        let out = forward(&logits, &target)?;
        Self::read(&out, &logits, dtype).map_err(failed("reading the loss and its gradient"))
    }

    /// What the call gives, after it went backward to the logits.
    fn read(out: &Evaluation<Tensor>, logits: &Tensor, dtype: Dtype) -> Result<Output, TchError> {
        out.total.f_backward()?;
        let gradient = logits.f_grad()?;
        if gradient.f_kind()? != float(dtype) {
            return Err(TchError::Kind(format!(
                "the gradient is of {:?}, the logits of {:?}",
                gradient.f_kind()?,
                float(dtype)
            )));
        }
        let gradient = gradient.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?.f_contiguous()?.f_reshape([-1])?;
        let out = out.try_map(|tensor| tensor.f_double_value(&[]))?;
        let terms = out.terms.iter().map(parts_of).collect();
        Ok(Output { total: out.total, terms, gradient: Vec::<f64>::try_from(&gradient)? })
    }
}

impl Adapter for Tch {
    fn name(&self) -> &'static str {
        self.name
    }

    fn versions(&self) -> String {
        super::built_on("tch", option_env!("SEGLOSS_TCH"))
    }

    fn known_differences(&self) -> &'static str {
        include_str!("../../ledgers/tch.txt")
    }

    fn reads_labels(&self, labels: Labels) -> bool {
        !matches!(labels, Labels::U16 | Labels::U32 | Labels::U64)
    }

    fn checks_values(&self) -> bool {
        self.device == Device::Cpu
    }

    fn value_and_gradient(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Output, LossError> {
        self.value_and_gradient_by(input, dtype, |logits, target| loss.forward_by(self.path, logits, target))
    }

    fn evaluate(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Evaluation, LossError> {
        let (logits, target) = self.tensors(input, dtype)?;
        loss.evaluate(&logits, &target)
    }
}
