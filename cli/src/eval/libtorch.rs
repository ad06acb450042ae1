//! Evaluation by LibTorch.

use ndarray::{ArrayD, ArrayViewD};
use segloss::LossError;
use segloss::tch::{TchLoss, TchTarget};
use tch::{Cuda, Device, Kind, TchError, Tensor};

use super::compute::{Output, Scalar};
use super::input::{Input, TargetArray};
use super::values::DeviceArg;
use crate::error::CliError;

impl From<TchError> for CliError {
    fn from(source: TchError) -> Self {
        LossError::Backend { backend: "tch", operation: "moving arrays", source: Box::new(source) }.into()
    }
}

/// Evaluates a loss, and its gradient where that is asked for.
pub(super) fn evaluate<E: Scalar>(input: &Input, logits: &ArrayViewD<'_, E>) -> Result<Output, CliError> {
    let device = match input.device {
        DeviceArg::Cpu => Device::Cpu,
        DeviceArg::Cuda(n) => {
            let there = if Cuda::is_available() { Cuda::device_count() } else { 0 };
            if n as i64 >= there {
                let expected = format!("LibTorch sees {there} CUDA devices here");
                return Err(CliError::Option { option: "device", value: input.device.to_string(), expected });
            }
            Device::Cuda(n)
        }
    };
    let target = match &input.target {
        TargetArray::Labels(labels) => TchTarget::labels(&tensor(&labels.wide(), device)?),
        TargetArray::Soft(shares) => TchTarget::soft(&tensor(&shares.wide(), device)?),
    };
    let target = match &input.weights {
        Some(weights) => target.weights(&tensor(&weights.wide(), device)?),
        None => target,
    };
    let mut target = input.spacing.iter().fold(target, |target, spacing| target.spacing(spacing));
    for (name, map) in &input.maps {
        target = target.map(name, &tensor(&map.wide(), device)?);
    }
    // Exact: the values are those of the type already.
    let values = tensor(&logits.mapv(Into::<f64>::into), device)?.f_to_kind(E::KIND)?;
    input.loss.validate(&values, &target)?;
    let evaluation = input.loss.evaluate(&values, &target)?;
    let tables = if input.elements { Some(input.loss.elements(&values, &target)?) } else { None };
    let gradient = if input.gradient {
        let leaf = values.f_set_requires_grad(true)?;
        input.loss.forward(&leaf, &target)?.total.f_backward()?;
        let flat = leaf.f_grad()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?.f_reshape([-1])?;
        let flat = Vec::<f64>::try_from(&flat)?.into_iter().map(E::round).collect();
        let gradient = ArrayD::from_shape_vec(logits.raw_dim(), flat).map_err(|error| CliError::Tensor(error.to_string()))?;
        Some(E::gradient(gradient))
    } else {
        None
    };
    Ok(Output { evaluation, gradient, tables, pixels: None })
}

fn tensor<T: tch::kind::Element + Copy>(array: &ArrayD<T>, device: Device) -> Result<Tensor, TchError> {
    let shape: Vec<i64> = array.shape().iter().map(|&length| length as i64).collect();
    Tensor::f_from_slice(&array.iter().copied().collect::<Vec<T>>())?.f_reshape(shape)?.f_to_device(device)
}
