//! What a loss can do with LibTorch tensors.

use std::sync::Arc;

use loss_core::backend::{Path, Table};
use loss_core::{Detail, Evaluation, Inputs, Loss, LossError, Program};
use tch::{Device, Tensor};

use crate::fused::{self, HostLogits};
use crate::operations;
use crate::target::{Checked, TchTarget};

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
/// **Labels and logits** are checked on the CPU. Elsewhere `forward` does not wait for the device:
/// a logit that is not finite makes the total NaN, and labels outside the classes count as none of
/// them, unless [`TchLoss::validate`] is called.
///
/// [`Path::Fused`] are the passes on the tensors' own memory, on the CPU; [`Path::Operations`]
/// takes any device and any strides.
pub trait TchLoss {
    /// Total, terms and their splits as tensors without axes on the logits' device, `Double` for
    /// `Double` logits, else `Float`; by [`TchLoss::path`].
    ///
    /// # Errors
    /// See the trait.
    fn forward(&self, logits: &Tensor, target: &TchTarget) -> Result<Evaluation<Tensor>, LossError>;

    /// The same along a chosen path. [`Path::Fused`] copies logits that are not contiguous.
    ///
    /// # Errors
    /// [`LossError::Unsupported`] for [`Path::Fused`] away from the CPU; else as
    /// [`TchLoss::forward`].
    fn forward_by(&self, path: Path, logits: &Tensor, target: &TchTarget) -> Result<Evaluation<Tensor>, LossError>;

    /// The path that [`TchLoss::forward`] takes: [`Path::Fused`] where the logits are contiguous in
    /// CPU memory (no copy of them is made), else [`Path::Operations`].
    ///
    /// # Errors
    /// Whatever LibTorch reports.
    fn path(&self, logits: &Tensor) -> Result<Path, LossError>;

    /// The total, every term with its parts, and the proportions of the classes, on the host. Waits
    /// for the device.
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

    /// Brings target and logits to the host and refuses labels, soft targets, weights and logits
    /// out of range. Waits for the device.
    ///
    /// # Errors
    /// [`LossError::LabelOutOfRange`], [`LossError::ValueOutOfRange`],
    /// [`LossError::NonFiniteLogit`], with positions.
    fn validate(&self, logits: &Tensor, target: &TchTarget) -> Result<(), LossError>;
}

impl TchLoss for Loss {
    fn forward(&self, logits: &Tensor, target: &TchTarget) -> Result<Evaluation<Tensor>, LossError> {
        self.forward_by(self.path(logits)?, logits, target)
    }

    fn forward_by(&self, path: Path, logits: &Tensor, target: &TchTarget) -> Result<Evaluation<Tensor>, LossError> {
        let checked = Checked::new(logits, target, self.activation())?;
        if path == Path::Fused && checked.device != Device::Cpu {
            return Err(LossError::Unsupported {
                what: "the fused path",
                got: format!("a tensor on {:?}", checked.device),
                expected: "logits and target on the CPU",
            });
        }
        let call = Call::new(self, logits, target, checked, Detail::Terms)?;
        match path {
            Path::Fused => fused::forward(&call),
            Path::Operations => operations::forward(&call),
        }
    }

    fn path(&self, logits: &Tensor) -> Result<Path, LossError> {
        Ok(if HostLogits::in_place(logits)?.is_some() { Path::Fused } else { Path::Operations })
    }

    fn evaluate(&self, logits: &Tensor, target: &TchTarget) -> Result<Evaluation, LossError> {
        let call = Call::new(self, logits, target, Checked::new(logits, target, self.activation())?, Detail::Parts)?;
        call.program.evaluate(&call.tables()?, &call.inputs)
    }

    fn elements(&self, logits: &Tensor, target: &TchTarget) -> Result<Vec<Option<Table>>, LossError> {
        let call = Call::new(self, logits, target, Checked::new(logits, target, self.activation())?, Detail::Parts)?;
        call.program.elements(&call.tables()?, &call.inputs)
    }

    fn validate(&self, logits: &Tensor, target: &TchTarget) -> Result<(), LossError> {
        let checked = Checked::new(logits, target, self.activation())?;
        validate(self, logits, target, &checked)
    }
}

/// One call of a loss: what is the same for every path, checked and made once.
pub(crate) struct Call<'a> {
    pub(crate) loss: &'a Loss,
    pub(crate) logits: &'a Tensor,
    /// With the maps that the program derives.
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
        let mut target = target.shallow_clone();
        if program.plan().underived(target.maps.iter().map(|(name, _)| name.as_str())).next().is_some() {
            let host = fused::on_host(&target, &checked, loss)?;
            let derived = fused::derive(&HostLogits::of(logits, &checked)?, &host.problem()?, program.plan())?;
            checked.maps.extend(target.derive(derived, &checked)?);
        }
        Ok(Self { loss, logits, target, checked, program, inputs })
    }

    /// The statistics on the host: from the kernels on the CPU, elsewhere from operations.
    fn tables(&self) -> Result<Vec<Table>, LossError> {
        if self.checked.device == Device::Cpu {
            let host = fused::on_host(&self.target, &self.checked, self.loss)?;
            fused::statistics(&HostLogits::of(self.logits, &self.checked)?, &host.problem()?, self.program.plan())
        } else {
            operations::tables(self)
        }
    }
}

/// Lets the kernels' own checks look at everything.
pub(crate) fn validate(loss: &Loss, logits: &Tensor, target: &TchTarget, checked: &Checked) -> Result<(), LossError> {
    let host = fused::on_host(target, checked, loss)?;
    fused::validate(&HostLogits::of(logits, checked)?, &host.problem()?)
}
