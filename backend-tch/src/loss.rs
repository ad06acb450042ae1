//! What a loss can do with LibTorch tensors.

use std::sync::Arc;

use loss_core::expr::{HostAlgebra, Table};
use loss_core::{Detail, Evaluation, Inputs, Loss, LossError, Outputs, Program, Role, SplitOf, TermOutputs};
use tch::{Device, Tensor};

use crate::fused::{self, HostLogits, HostTarget};
use crate::operations;
use crate::target::{Checked, TchTarget};

/// How a loss was, or is to be, computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// The fused passes on the tensors' own memory: the CPU.
    Fused,
    /// Tensor operations: any device and any strides.
    Operations,
}

/// A loss as tensors without axes, on the logits' device: `Double` for `Double` logits, else `Float`.
#[derive(Debug)]
pub struct Forward {
    /// Weighted sum of the terms. `.backward()` goes through it to the logits, where they need a gradient.
    pub total: Tensor,
    /// The terms in order. Values, without a gradient: see [`TchLoss`].
    pub terms: Vec<TermTensors>,
    /// How it was computed.
    pub path: Path,
}

/// One term of a loss, as tensors without axes and without a gradient.
#[derive(Debug)]
pub struct TermTensors {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its present weight.
    pub weight: f64,
    /// Its value, before the weight.
    pub value: Tensor,
    /// Part that pulls the predicted region onto the true one.
    pub matching: Tensor,
    /// Part that biases the size of the predicted region.
    pub size: Tensor,
    /// Part that does not depend on the prediction.
    pub constant: Tensor,
    /// What the three parts add up to.
    pub of: SplitOf,
}

/// Evaluation of a [`Loss`] on LibTorch tensors. Implemented for `Loss` alone.
///
/// Logits have the shape `[N, K, *spatial]`, any strides, and the type `Double`, `Float`, `Half` or `BFloat16`; half precision is
/// computed in `Float`, and its gradient rounded once. Every method returns a [`LossError`] for shapes, types and devices that do
/// not fit, and for whatever LibTorch reports.
///
/// **Gradient.** tch has no custom autograd functions, so the gradient of the total is computed in `forward`, beside its value, and
/// `.backward()` multiplies it by what comes in: any number of times, with any factor. It differentiates once: a second derivative
/// (`create_graph`) does not see the logits. Terms and parts are values; to differentiate one, call `forward` on a loss of that term
/// alone. Where the logits need no gradient, or inside `tch::no_grad`, the total has none either, and its cost is saved.
///
/// **Labels and logits** are checked on the CPU. Elsewhere `forward` does not wait for the device: a logit that is not finite makes the total
/// NaN, and labels outside the classes count as none of them, unless [`TchLoss::validate`] is called.
pub trait TchLoss {
    /// Total and parts: by [`Path::Fused`] where the logits are contiguous in CPU memory (no copy of them is made), else by
    /// [`Path::Operations`].
    ///
    /// # Errors
    /// See the trait.
    fn forward(&self, logits: &Tensor, target: &TchTarget) -> Result<Forward, LossError>;

    /// The same along a chosen path. [`Path::Fused`] copies logits that are not contiguous.
    ///
    /// # Errors
    /// [`LossError::Unsupported`] for [`Path::Fused`] away from the CPU; else as [`TchLoss::forward`].
    fn forward_by(&self, path: Path, logits: &Tensor, target: &TchTarget) -> Result<Forward, LossError>;

    /// The total, every term with its parts, and the proportions of the classes, on the host. Waits for the device.
    ///
    /// # Errors
    /// See the trait.
    fn evaluate(&self, logits: &Tensor, target: &TchTarget) -> Result<Evaluation, LossError>;

    /// Every term per sample and class before its reduction, where it has such a form, on the host; one row where it is pooled over
    /// the batch. Waits for the device.
    ///
    /// # Errors
    /// See the trait.
    fn elements(&self, logits: &Tensor, target: &TchTarget) -> Result<Vec<Option<Table>>, LossError>;

    /// Brings target and logits to the host and refuses labels, soft targets, weights and logits out of range. Waits for the device.
    ///
    /// # Errors
    /// [`LossError::LabelOutOfRange`], [`LossError::ValueOutOfRange`], [`LossError::NonFiniteLogit`], with positions.
    fn validate(&self, logits: &Tensor, target: &TchTarget) -> Result<(), LossError>;
}

impl TchLoss for Loss {
    fn forward(&self, logits: &Tensor, target: &TchTarget) -> Result<Forward, LossError> {
        let checked = Checked::new(logits, target, self.activation())?;
        let path = if HostLogits::in_place(logits)?.is_some() { Path::Fused } else { Path::Operations };
        by(self, path, logits, target, &checked)
    }

    fn forward_by(&self, path: Path, logits: &Tensor, target: &TchTarget) -> Result<Forward, LossError> {
        let checked = Checked::new(logits, target, self.activation())?;
        by(self, path, logits, target, &checked)
    }

    fn evaluate(&self, logits: &Tensor, target: &TchTarget) -> Result<Evaluation, LossError> {
        let (program, statistics, inputs) = on_host(self, logits, target)?;
        Ok(self.evaluation(&program.outputs(&HostAlgebra, &statistics, &inputs)?))
    }

    fn elements(&self, logits: &Tensor, target: &TchTarget) -> Result<Vec<Option<Table>>, LossError> {
        let (program, statistics, inputs) = on_host(self, logits, target)?;
        program.elements(&statistics, &inputs)
    }

    fn validate(&self, logits: &Tensor, target: &TchTarget) -> Result<(), LossError> {
        let checked = Checked::new(logits, target, self.activation())?;
        validate(self, logits, target, &checked)
    }
}

/// A program with what it is run on, on the host, by whichever path there is.
fn on_host(loss: &Loss, logits: &Tensor, target: &TchTarget) -> Result<(Arc<Program>, Vec<Table>, Inputs), LossError> {
    let checked = Checked::new(logits, target, loss.activation())?;
    let program = loss.program(checked.geometry.classes, Detail::Parts)?;
    let statistics = if checked.device == Device::Cpu {
        let host = HostTarget::new(target, &checked, loss)?;
        fused::statistics(&HostLogits::of(logits, &checked)?, &host.problem()?, program.plan())?
    } else {
        operations::tables(loss, logits, target, &checked, program.plan())?
    };
    Ok((program, statistics, loss.inputs(checked.geometry.samples, target.prior.clone())))
}

/// Lets the kernels' own checks look at everything.
pub(crate) fn validate(loss: &Loss, logits: &Tensor, target: &TchTarget, checked: &Checked) -> Result<(), LossError> {
    let host = HostTarget::new(target, checked, loss)?;
    fused::validate(&HostLogits::of(logits, checked)?, &host.problem()?)
}

fn by(loss: &Loss, path: Path, logits: &Tensor, target: &TchTarget, checked: &Checked) -> Result<Forward, LossError> {
    let outputs = match path {
        Path::Fused if checked.device != Device::Cpu => {
            return Err(LossError::Unsupported {
                what: "the fused path",
                got: format!("a tensor on {:?}", checked.device),
                expected: "logits and target on the CPU",
            });
        }
        Path::Fused => fused::forward(loss, logits, target, checked)?,
        Path::Operations => operations::forward(loss, logits, target, checked)?,
    };
    name(loss, path, outputs)
}

/// Puts names to outputs.
fn name(loss: &Loss, path: Path, outputs: Outputs<Tensor>) -> Result<Forward, LossError> {
    let Outputs { total, terms, .. } = outputs;
    let nothing = || total.shallow_clone();
    let terms = loss.terms().zip(terms).map(|((weight, term), out)| {
        let [matching, size, constant] = out.parts.unwrap_or_else(|| [nothing(), nothing(), nothing()]);
        TermTensors { name: term.name(), role: term.role(), weight, value: out.value, matching, size, constant, of: out.of }
    });
    let terms = terms.collect();
    Ok(Forward { total, terms, path })
}

/// The outputs, or the first error among them.
pub(crate) fn all<T>(outputs: Outputs<Result<T, LossError>>) -> Result<Outputs<T>, LossError> {
    let three = |[a, b, c]: [Result<T, LossError>; 3]| Ok::<_, LossError>([a?, b?, c?]);
    let term = |t: TermOutputs<Result<T, LossError>>| {
        Ok::<_, LossError>(TermOutputs { value: t.value?, parts: t.parts.map(three).transpose()?, of: t.of })
    };
    let terms = outputs.terms.into_iter().map(term).collect::<Result<_, _>>()?;
    Ok(Outputs { total: outputs.total?, terms, regions: outputs.regions.map(three).transpose()? })
}
