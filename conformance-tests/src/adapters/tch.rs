use backend_tch::{Path, TchLoss, TchTarget};
use loss_core::{Evaluation, Loss, LossError};
use tch::{Device, Kind, Tensor};

use crate::oracle;
use crate::{Adapter, Dtype, Input, Labels, Output};

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

    /// The adapters that this machine can run.
    #[must_use]
    pub fn here() -> &'static [&'static dyn Adapter] {
        if tch::Cuda::is_available() {
            &[&Self::FUSED, &Self::OPERATIONS, &Self::CUDA]
        } else {
            &[&Self::FUSED, &Self::OPERATIONS]
        }
    }
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
fn shaped(flat: Tensor, shape: &[usize], kind: Kind, strided: bool, device: Device) -> Tensor {
    let shape: Vec<i64> = shape.iter().map(|&length| length as i64).collect();
    let tensor = flat.reshape(shape).to_kind(kind).to_device(device);
    if strided && tensor.dim() > 1 { tensor.transpose(0, -1).contiguous().transpose(0, -1) } else { tensor }
}

impl Tch {
    fn logits(&self, input: &Input, dtype: Dtype) -> Tensor {
        // Each rounded once: LibTorch's own conversion of `f64` to half precision goes through `f32`.
        let values: Vec<f64> = input.logits.iter().map(|&z| dtype.round(z)).collect();
        shaped(Tensor::from_slice(&values), &input.shape, float(dtype), input.strided, self.device)
    }

    fn target(&self, input: &Input) -> TchTarget {
        let shape = input.target_shape();
        let kind = match input.labels {
            Labels::U8 => Kind::Uint8,
            Labels::I32 => Kind::Int,
            Labels::I64 => Kind::Int64,
        };
        let doubles = |values: &[f64], shape: &[usize]| {
            shaped(Tensor::from_slice(values), shape, Kind::Double, input.strided, self.device)
        };
        let target = match &input.target {
            oracle::Target::Labels(labels) => {
                TchTarget::labels(&shaped(Tensor::from_slice(labels), &shape, kind, input.strided, self.device))
            }
            oracle::Target::Soft(shares) => TchTarget::soft(&doubles(shares, &shape)),
        };
        let target = match &input.weights {
            Some(weights) => target.weights(&doubles(weights, &input.pixel_shape())),
            None => target,
        };
        match input.prior_table() {
            Some(prior) => target.prior(prior),
            None => target,
        }
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

    fn checks_values(&self) -> bool {
        self.device == Device::Cpu
    }

    fn value_and_gradient(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Output, LossError> {
        let logits = self.logits(input, dtype).set_requires_grad(true);
        let target = self.target(input);
        let out = loss.forward_by(self.path, &logits, &target)?;
        assert_eq!(out.path, self.path, "the call took the path it was asked to take");
        out.total.backward();
        let gradient = logits.grad();
        assert_eq!(gradient.kind(), float(dtype), "the gradient has the type of the logits");
        let gradient = gradient.to_device(Device::Cpu).to_kind(Kind::Double).contiguous().reshape([-1]);
        let number = |tensor: &Tensor| tensor.double_value(&[]);
        let parts = |t: &backend_tch::TermTensors| [&t.value, &t.matching, &t.size, &t.constant].map(number).to_vec();
        let terms = out.terms.iter().map(parts).collect();
        let gradient = Vec::<f64>::try_from(&gradient).expect("a vector of doubles");
        Ok(Output { total: number(&out.total), terms, gradient })
    }

    fn evaluate(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Evaluation, LossError> {
        loss.evaluate(&self.logits(input, dtype), &self.target(input))
    }
}
