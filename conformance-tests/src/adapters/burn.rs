use backend_burn::{BurnLoss, BurnTarget, Path};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use loss_core::{Evaluation, Loss, LossError};

use crate::adapter::parts_of;
use crate::oracle;
use crate::{Adapter, Dtype, Input, Labels, Output, Shares};

/// `backend-burn` on the CPU: one operation with a hand-written backward.
pub struct BurnFused;

/// `backend-burn` with ordinary operations and Burn's autodiff.
pub struct BurnOperations;

/// `backend-burn` on another device than the CPU, along one path.
pub struct BurnOn {
    /// Name in test names.
    pub name: &'static str,
    /// The path.
    pub path: Path,
    /// The device.
    pub device: fn() -> Device,
    /// Types of logits, as far as the device has them.
    pub types: &'static [Dtype],
    /// Pixels of the largest case: see [`Adapter::largest_case`].
    pub largest: Option<usize>,
    /// Text of its ledger: see [`Adapter::known_differences`].
    pub ledger: &'static str,
}

impl BurnOn {
    /// The kernel pair of CubeCL's devices.
    #[must_use]
    pub const fn kernels(device: fn() -> Device) -> Self {
        Self {
            name: "burn-cube",
            path: Path::Fused,
            device,
            types: &Dtype::ALL,
            largest: Some(1_000_000),
            ledger: include_str!("../../ledgers/burn-cube.txt"),
        }
    }

    /// Ordinary operations on such a device. Half precision is cast to `f32` before all else.
    #[must_use]
    pub const fn operations(device: fn() -> Device) -> Self {
        Self {
            name: "burn-cube-operations",
            path: Path::Operations,
            device,
            types: &[Dtype::F32],
            largest: None,
            ledger: include_str!("../../ledgers/burn-cube-operations.txt"),
        }
    }
}

fn float(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::Bf16 => DType::BF16,
    }
}

/// The type of soft targets, where it is not the widest.
fn share(shares: Shares) -> Option<DType> {
    match shares {
        Shares::Wide => None,
        Shares::F16 => Some(DType::F16),
        Shares::Bf16 => Some(DType::BF16),
    }
}

/// A float tensor of rank `D`; `strided` stores it with its first and last axis exchanged.
fn tensor<const D: usize>(shape: &[usize], values: &[f64], dtype: DType, strided: bool, device: &Device) -> Tensor<D> {
    let tensor = Tensor::<D>::from_data(TensorData::new(values.to_vec(), shape.to_vec()), (device, dtype));
    if strided && D > 1 {
        // A copy in the other order, seen through exchanged axes.
        let swapped = tensor.swap_dims(0, D - 1);
        let data = swapped.into_data();
        return Tensor::<D>::from_data(data, (device, dtype)).swap_dims(0, D - 1);
    }
    tensor
}

/// Logits of a type, each rounded once: Burn's own conversion of `f64` goes through `f32`.
fn logits<const D: usize>(input: &Input, dtype: Dtype, device: &Device) -> Tensor<D> {
    let values: Vec<f64> = input.logits.iter().map(|&z| dtype.round(z)).collect();
    tensor::<D>(&input.shape, &values, float(dtype), input.strided, device)
}

fn integer(labels: Labels) -> DType {
    match labels {
        Labels::U8 => DType::U8,
        Labels::I8 => DType::I8,
        Labels::U16 => DType::U16,
        Labels::I16 => DType::I16,
        Labels::U32 => DType::U32,
        Labels::I32 => DType::I32,
        Labels::U64 => DType::U64,
        Labels::Bool | Labels::I64 => DType::I64,
    }
}

fn integers<const D: usize>(shape: &[usize], values: &[i64], kind: Labels, strided: bool, device: &Device) -> Tensor<D, Int> {
    // Not every device has every type; one that has no other has `i32`.
    let dtype = if device.supports_dtype(integer(kind)) { integer(kind) } else { DType::I32 };
    let shape = shape.to_vec();
    let data = match dtype {
        // Burn's own conversion panics at a number that is negative, or too large.
        DType::U8 => TensorData::new(values.iter().map(|&label| label as u8).collect::<Vec<_>>(), shape),
        DType::I8 => TensorData::new(values.iter().map(|&label| label as i8).collect::<Vec<_>>(), shape),
        DType::U16 => TensorData::new(values.iter().map(|&label| label as u16).collect::<Vec<_>>(), shape),
        DType::I16 => TensorData::new(values.iter().map(|&label| label as i16).collect::<Vec<_>>(), shape),
        DType::U32 => TensorData::new(values.iter().map(|&label| label as u32).collect::<Vec<_>>(), shape),
        DType::U64 => TensorData::new(values.iter().map(|&label| label as u64).collect::<Vec<_>>(), shape),
        _ => TensorData::new(values.to_vec(), shape),
    };
    let tensor = Tensor::<D, Int>::from_data(data, (device, dtype));
    if strided && D > 1 {
        let data = tensor.swap_dims(0, D - 1).into_data();
        return Tensor::<D, Int>::from_data(data, (device, dtype)).swap_dims(0, D - 1);
    }
    tensor
}

fn labels<const D: usize>(input: &Input, shape: &[usize], values: &[i64], device: &Device) -> BurnTarget {
    let integers = integers::<D>(shape, values, input.labels, input.strided, device);
    if input.labels == Labels::Bool { BurnTarget::labels(integers.equal_elem(1)) } else { BurnTarget::labels(integers) }
}

/// Calls `$call` with a constant `D` equal to a rank known at run time.
macro_rules! by_rank {
    ($rank:expr, $d:ident => $call:expr) => {
        match $rank {
            1 => {
                const $d: usize = 1;
                $call
            }
            2 => {
                const $d: usize = 2;
                $call
            }
            3 => {
                const $d: usize = 3;
                $call
            }
            4 => {
                const $d: usize = 4;
                $call
            }
            5 => {
                const $d: usize = 5;
                $call
            }
            rank => Err(LossError::Unsupported {
                what: "an input of Burn's",
                got: format!("rank {rank}"),
                expected: "1 to 5 axes, which is what these adapters are compiled for",
            }),
        }
    };
}

fn target(input: &Input, device: &Device) -> Result<BurnTarget, LossError> {
    let shape = input.target_shape();
    let wide = if backend_burn::supports(device, DType::F64) { DType::F64 } else { DType::F32 };
    let mut target = match &input.target {
        oracle::Target::Labels(labels) => by_rank!(shape.len(), D => Ok(self::labels::<D>(input, &shape, labels, device)))?,
        oracle::Target::Soft(shares) => {
            let dtype = share(input.shares).unwrap_or(wide);
            by_rank!(shape.len(), D => Ok(BurnTarget::soft(tensor::<D>(&shape, shares, dtype, input.strided, device))))?
        }
    };
    if let Some(weights) = &input.weights {
        let shape = input.weights_shape();
        target = by_rank!(shape.len(), D => Ok(target.weights(tensor::<D>(&shape, weights, wide, input.strided, device))))?;
    }
    target = input.spacing.iter().fold(target, |target, spacing| target.spacing(spacing));
    for map in &input.maps {
        let (shape, values) = (input.map_shape(map), &map.values);
        target =
            by_rank!(shape.len(), D => Ok(target.map(map.name, tensor::<D>(&shape, values, wide, input.strided, device))))?;
    }
    Ok(match input.prior_table() {
        Some(prior) => target.prior(prior),
        None => target,
    })
}

fn scalar(tensor: Tensor<1>) -> f64 {
    tensor.into_scalar::<f64>()
}

fn forward<const D: usize>(path: Path, device: &Device, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Output, LossError> {
    let leaf = logits::<D>(input, dtype, &device.clone().autodiff()).require_grad();
    let out = loss.forward_by(path, leaf.clone(), &target(input, device)?)?;
    let gradients = out.total.backward();
    let gradient = match leaf.grad(&gradients) {
        Some(gradient) => gradient
            .into_data_as::<f64>()
            .try_into_vec::<f64>()
            .map_err(|error| super::failed("burn", "reading the gradient")(format!("{error:?}").into()))?,
        None => vec![f64::NAN; input.logits.len()],
    };
    let out = out.try_map(|number| Ok::<_, LossError>(scalar(number.clone())))?;
    Ok(Output { total: out.total, terms: out.terms.iter().map(parts_of).collect(), gradient })
}

fn evaluate<const D: usize>(device: &Device, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Evaluation, LossError> {
    loss.evaluate(logits::<D>(input, dtype, device), &target(input, device)?)
}

fn value_and_gradient(path: Path, device: &Device, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Output, LossError> {
    input.check()?;
    by_rank!(input.shape.len(), D => forward::<D>(path, device, loss, input, dtype))
}

fn evaluation(device: &Device, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Evaluation, LossError> {
    input.check()?;
    by_rank!(input.shape.len(), D => evaluate::<D>(device, loss, input, dtype))
}

fn versions() -> String {
    super::built_on("burn", option_env!("SEGLOSS_BURN"))
}

macro_rules! adapter {
    ($name:ident, $text:literal, $path:expr, $checks:literal) => {
        impl Adapter for $name {
            fn name(&self) -> &'static str {
                $text
            }

            fn known_differences(&self) -> &'static str {
                include_str!(concat!("../../ledgers/", $text, ".txt"))
            }

            fn versions(&self) -> String {
                versions()
            }

            fn checks_values(&self) -> bool {
                $checks
            }

            fn value_and_gradient(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Output, LossError> {
                value_and_gradient($path, &Device::flex(), loss, input, dtype)
            }

            fn evaluate(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Evaluation, LossError> {
                evaluation(&Device::flex(), loss, input, dtype)
            }
        }
    };
}

adapter!(BurnFused, "burn-fused", Path::Fused, true);
adapter!(BurnOperations, "burn-operations", Path::Operations, false);

impl Adapter for BurnOn {
    fn name(&self) -> &'static str {
        self.name
    }

    fn versions(&self) -> String {
        versions()
    }

    fn known_differences(&self) -> &'static str {
        self.ledger
    }

    fn supports(&self, dtype: Dtype) -> bool {
        self.types.contains(&dtype) && backend_burn::supports(&(self.device)(), float(dtype))
    }

    fn reads_labels(&self, labels: Labels) -> bool {
        (self.device)().supports_dtype(integer(labels))
    }

    fn reads_shares(&self, shares: Shares) -> bool {
        share(shares).is_none_or(|dtype| (self.device)().supports_dtype(dtype))
    }

    fn algebra(&self) -> Dtype {
        if backend_burn::supports(&(self.device)(), DType::F64) { Dtype::F64 } else { Dtype::F32 }
    }

    fn checks_values(&self) -> bool {
        false
    }

    fn largest_case(&self) -> Option<usize> {
        self.largest
    }

    fn value_and_gradient(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Output, LossError> {
        value_and_gradient(self.path, &(self.device)(), loss, input, dtype)
    }

    fn evaluate(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Evaluation, LossError> {
        evaluation(&(self.device)(), loss, input, dtype)
    }
}
