//! What a loss can do with LibTorch tensors.

use std::sync::Arc;

use loss_core::backend::{Path, Table};
use loss_core::{Detail, Evaluation, Facts, Inputs, Loss, LossError, Precision, Pressure, Program};
use tch::{Device, Kind, Tensor};

use crate::fused::{self, HostLogits};
use crate::readback::{OnDevice, OnHost, ReadBack};
use crate::target::{Checked, TchTarget, shape_of};
use crate::{cuda, operations};

/// Evaluation of a [`Loss`] on LibTorch tensors. Implemented for `Loss` alone.
///
/// Logits have the shape `[N, K, *spatial]`, any strides, and the type `Double`, `Float`, `Half` or
/// `BFloat16`; half precision is computed in `Float`, and its gradient rounded once. Every method
/// returns a [`LossError`] for shapes, types and devices that do not fit, and for whatever LibTorch
/// reports.
///
/// **Gradient.** tch has no custom autograd functions, so the gradient of the total is computed in
/// `forward`, beside its value, and `.backward()` multiplies it by what comes in: any number of
/// times, with any factor. It differentiates once: a second derivative (`create_graph`) does not
/// see the logits. Terms and parts are values; to differentiate one, call `forward` on a loss of
/// that term alone. Where the logits need no gradient, or inside `tch::no_grad`, the total has none
/// either, and its cost is saved.
///
/// **Target and logits** are checked on the CPU. Elsewhere `forward` does not wait for the device:
/// a logit that is not finite makes the total NaN, labels outside the classes count as none of
/// them, and soft targets beyond `[0, 1]` as 0 or 1, whatever they add up to, unless
/// [`TchLoss::validate`] is called.
///
/// [`Path::Fused`] are the passes on the tensors' own memory: on the CPU, and on CUDA where its
/// driver and NVRTC are found. [`Path::Operations`] takes any device and any strides.
pub trait TchLoss {
    /// Total, terms and their splits as tensors without axes on the logits' device, `Double` for
    /// `Double` logits, else `Float`; by [`TchLoss::path`].
    ///
    /// # Errors
    /// See the trait.
    fn forward(&self, logits: &Tensor, target: &TchTarget) -> Result<Evaluation<Tensor>, LossError>;

    /// The same along a chosen path. On the CPU [`Path::Fused`] copies logits that are not
    /// contiguous; on CUDA it copies those whose spatial axes are no single one in memory.
    ///
    /// # Errors
    /// [`LossError::Unsupported`] for [`Path::Fused`] on a device that has none, with the reason,
    /// and for a loss that its kernels cannot compute; [`LossError::Backend`] where a kernel is not
    /// compiled or launched; else as [`TchLoss::forward`].
    fn forward_by(&self, path: Path, logits: &Tensor, target: &TchTarget) -> Result<Evaluation<Tensor>, LossError>;

    /// The path that [`TchLoss::forward`] takes. [`Path::Fused`] where the logits are contiguous in
    /// CPU memory (no copy of them is made), or on a CUDA device with its driver, NVRTC and kernels
    /// for the loss; else [`Path::Operations`].
    ///
    /// # Errors
    /// Whatever LibTorch reports, and on CUDA as [`Loss::program`].
    fn path(&self, logits: &Tensor) -> Result<Path, LossError>;

    /// The total, every term with its parts, the proportions of the classes, the pressure on their
    /// sizes, and notes, on the host. Waits for the device.
    ///
    /// # Errors
    /// See the trait.
    fn evaluate(&self, logits: &Tensor, target: &TchTarget) -> Result<Evaluation, LossError>;

    /// Every term per sample and class before its reduction, where it has such a form, on the host;
    /// one row where it is pooled over the batch. Waits for the device.
    ///
    /// # Errors
    /// See the trait.
    fn elements(&self, logits: &Tensor, target: &TchTarget) -> Result<Vec<Option<Table>>, LossError>;

    /// What the loss, and each of its terms, does to the size of each class: the slope for a shift
    /// of all its logits. Costs a gradient; on the CPU it is not stored, elsewhere each term's is
    /// while it is summed up. Waits for the device.
    ///
    /// # Errors
    /// See the trait.
    fn pressure(&self, logits: &Tensor, target: &TchTarget) -> Result<Pressure, LossError>;

    /// Brings target and logits to the host and refuses labels, soft targets, weights and logits
    /// out of range. Waits for the device.
    ///
    /// # Errors
    /// [`LossError::LabelOutOfRange`], [`LossError::ValueOutOfRange`], [`LossError::SharesSum`],
    /// [`LossError::NonFiniteLogit`], with positions.
    fn validate(&self, logits: &Tensor, target: &TchTarget) -> Result<(), LossError>;
}

impl TchLoss for Loss {
    fn forward(&self, logits: &Tensor, target: &TchTarget) -> Result<Evaluation<Tensor>, LossError> {
        self.forward_by(self.path(logits)?, logits, target)
    }

    fn forward_by(&self, path: Path, logits: &Tensor, target: &TchTarget) -> Result<Evaluation<Tensor>, LossError> {
        let checked = Checked::new(logits, target, self.activation())?;
        let device = checked.device;
        let compiler = if path == Path::Fused { compiler(device)? } else { None };
        let call = Call::new(self, logits, target, checked, Detail::Terms)?;
        match (path, compiler) {
            (Path::Fused, Some(compiler)) => cuda::forward(&call, &compiler),
            (Path::Fused, None) => fused::forward(&call),
            (Path::Operations, _) => operations::forward(&call),
        }
    }

    fn path(&self, logits: &Tensor) -> Result<Path, LossError> {
        let fused = match logits.device() {
            Device::Cpu => HostLogits::in_place(logits)?.is_some(),
            Device::Cuda(index) => cuda::compiler(index).is_ok() && has_kernels(self, logits)?,
            Device::Mps | Device::Vulkan => false,
        };
        Ok(if fused { Path::Fused } else { Path::Operations })
    }

    fn evaluate(&self, logits: &Tensor, target: &TchTarget) -> Result<Evaluation, LossError> {
        let checked = Checked::new(logits, target, self.activation())?;
        let facts = facts(self, target, &checked)?;
        let call = Call::new(self, logits, target, checked, Detail::Parts)?;
        call.reading(|passes| call.evaluate_on(passes, facts))
    }

    fn elements(&self, logits: &Tensor, target: &TchTarget) -> Result<Vec<Option<Table>>, LossError> {
        let call = Call::checking(self, logits, target, Detail::Parts)?;
        call.program.elements(&call.reading(|passes| passes.statistics(&call))?, &call.inputs)
    }

    fn pressure(&self, logits: &Tensor, target: &TchTarget) -> Result<Pressure, LossError> {
        let call = Call::checking(self, logits, target, Detail::Total)?;
        call.reading(|passes| call.pressure_on(passes, &passes.statistics(&call)?))
    }

    fn validate(&self, logits: &Tensor, target: &TchTarget) -> Result<(), LossError> {
        let checked = Checked::new(logits, target, self.activation())?;
        validate(self, logits, &target.beside(&checked, self)?, &checked)
    }
}

/// What notes are made of beside statistics.
pub(crate) fn facts(loss: &Loss, target: &TchTarget, checked: &Checked) -> Result<Facts, LossError> {
    let precision = match checked.kind {
        Kind::Double => Precision::F64,
        Kind::Half => Precision::F16,
        Kind::BFloat16 => Precision::Bf16,
        _ => Precision::F32,
    };
    let beside = target.beside(checked, loss)?;
    let count = || {
        let without_maps = TchTarget { maps: Vec::new(), ..beside.shallow_clone() };
        Ok::<_, LossError>(fused::on_host(&without_maps, checked, loss)?.problem()?.valid_pixels())
    };
    let valid = beside.weights.is_some().then(count).transpose()?;
    let facts = Facts::new(precision, checked.geometry, beside.kind(), loss.ignored()).with_valid(valid);
    Ok(facts.with_given(target.maps.iter().map(|(name, _)| name.as_str()), target.spacing.is_some()))
}

/// Whether the kernels for CUDA can compute a loss of these logits.
fn has_kernels(loss: &Loss, logits: &Tensor) -> Result<bool, LossError> {
    // Without a class axis there is nothing to compile for; `forward` says so.
    let Some(classes) = shape_of("logits", logits)?.get(1).copied() else { return Ok(false) };
    Ok(cuda::computes(loss.program(classes, Detail::Terms)?.plan(), loss.ignored().len()))
}

/// What compiles the fused path for a device; `None` on the CPU, where it is there already.
fn compiler(device: Device) -> Result<Option<Arc<cuda::Compiler>>, LossError> {
    let reason = match device {
        Device::Cpu => return Ok(None),
        Device::Cuda(index) => match cuda::compiler(index) {
            Ok(compiler) => return Ok(Some(compiler)),
            Err(reason) => format!(" ({reason})"),
        },
        Device::Mps | Device::Vulkan => String::new(),
    };
    Err(LossError::Unsupported {
        what: "the fused path",
        got: format!("a tensor on {device:?}{reason}"),
        expected: "logits and target on the CPU, or on CUDA with its driver and NVRTC",
    })
}

/// One call of a loss: what is the same for every path, checked and made once.
pub(crate) struct Call<'a> {
    pub(crate) loss: &'a Loss,
    pub(crate) logits: &'a Tensor,
    /// As it is read beside the logits, with the maps that the program derives.
    pub(crate) target: TchTarget,
    pub(crate) checked: Checked,
    pub(crate) program: Arc<Program>,
    pub(crate) inputs: Inputs,
}

impl<'a> Call<'a> {
    pub(crate) fn new(
        loss: &'a Loss,
        logits: &'a Tensor,
        target: &TchTarget,
        mut checked: Checked,
        detail: Detail,
    ) -> Result<Self, LossError> {
        let program = loss.program(checked.geometry.classes, detail)?;
        let inputs = loss.inputs(checked.geometry.samples, target.prior.clone());
        let mut target = target.beside(&checked, loss)?;
        if program.plan().underived(target.maps.iter().map(|(name, _)| name.as_str())).next().is_some() {
            let host = fused::on_host(&target, &checked, loss)?;
            let derived = fused::derive(&HostLogits::of(logits, &checked)?, &host.problem()?, program.plan())?;
            checked.maps.extend(target.derive(derived, &checked)?);
        }
        Ok(Self { loss, logits, target, checked, program, inputs })
    }

    /// The same of arguments that have not been checked.
    fn checking(loss: &'a Loss, logits: &'a Tensor, target: &TchTarget, detail: Detail) -> Result<Self, LossError> {
        Self::new(loss, logits, target, Checked::new(logits, target, loss.activation())?, detail)
    }

    pub(crate) fn evaluate_on(&self, passes: &dyn ReadBack, facts: Facts) -> Result<Evaluation, LossError> {
        let (statistics, inputs) = (passes.statistics(self)?, Inputs { facts: Some(facts), ..self.inputs.clone() });
        let pressure = Some(self.pressure_on(passes, &statistics)?);
        Ok(Evaluation { pressure, ..self.program.evaluate(&statistics, &inputs)? })
    }

    fn pressure_on(&self, passes: &dyn ReadBack, statistics: &[Table]) -> Result<Pressure, LossError> {
        let upstreams = self.program.upstream_of_terms(statistics, &self.inputs)?;
        Ok(self.program.pressure(&passes.gradient_sums(self, &upstreams)?, &self.inputs))
    }

    /// Lends the passes whose sums are read on the host: the kernels on the CPU, and on CUDA where
    /// there are some; elsewhere operations.
    fn reading<R>(&self, read: impl FnOnce(&dyn ReadBack) -> Result<R, LossError>) -> Result<R, LossError> {
        match self.checked.device {
            Device::Cpu => return read(&OnHost::new(self)?),
            Device::Cuda(index) if cuda::computes(self.program.plan(), self.loss.ignored().len()) => {
                if let Ok(compiler) = cuda::compiler(index) {
                    return read(&OnDevice(&cuda::passes(self, &compiler)?));
                }
            }
            Device::Cuda(_) | Device::Mps | Device::Vulkan => {}
        }
        read(&OnDevice(&operations::passes(self)?))
    }
}

/// Lets the kernels' own checks look at everything.
pub(crate) fn validate(loss: &Loss, logits: &Tensor, target: &TchTarget, checked: &Checked) -> Result<(), LossError> {
    let host = fused::on_host(target, checked, loss)?;
    fused::validate(&HostLogits::of(logits, checked)?, &host.problem()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_the_fused_path_is_refused_with_the_reason() {
        let error = |device| compiler(device).err().map(|error| error.to_string());
        let expected = "is not supported; expected logits and target on the CPU, or on CUDA with its driver and NVRTC";
        assert_eq!(error(Device::Cpu), None);
        assert_eq!(error(Device::Mps).unwrap(), format!("the fused path: a tensor on Mps {expected}"));
        // The reason there is on CUDA, where nothing is compiled without a driver and NVRTC.
        if let Err(reason) = cuda::compiler(7) {
            assert_eq!(error(Device::Cuda(7)).unwrap(), format!("the fused path: a tensor on Cuda(7) ({reason}) {expected}"));
        }
    }
}
