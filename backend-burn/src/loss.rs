//! What a loss can do with Burn tensors.

use std::sync::Arc;

use burn::tensor::{DType, Tensor};
use loss_core::expr::{HostAlgebra, Table};
use loss_core::{Detail, Evaluation, Inputs, Loss, LossError, Outputs, Plan, Program, Role, SplitOf};

#[cfg(feature = "cube")]
use crate::cube;
use crate::operations::Operations;
use crate::target::flatten;
use crate::{BurnTarget, operations};

/// How a loss was, or is to be, computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Kernels with a hand-written backward: on the CPU (Flex), and on devices that CubeCL compiles for.
    Fused,
    /// Ordinary Burn operations, differentiated by Burn: any device.
    Operations,
}

/// A loss as tensors of shape `[1]` that gradients flow through.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Weighted sum of the terms.
    pub total: Tensor<1>,
    /// The terms in order.
    pub terms: Vec<TermTensors>,
    /// How it was computed.
    pub path: Path,
}

/// One term of a loss, as tensors of shape `[1]`.
#[derive(Clone, Debug)]
pub struct TermTensors {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its present weight.
    pub weight: f64,
    /// Its value, before the weight.
    pub value: Tensor<1>,
    /// Part that pulls the predicted region onto the true one.
    pub matching: Tensor<1>,
    /// Part that biases the size of the predicted region.
    pub size: Tensor<1>,
    /// Part that does not depend on the prediction.
    pub constant: Tensor<1>,
    /// What the three parts add up to.
    pub of: SplitOf,
}

/// Evaluation of a [`Loss`] on Burn tensors. Implemented for `Loss` alone.
///
/// Logits have the shape `[N, K, *spatial]` and a type that [`supports`](crate::supports) knows of their device; half precision is
/// computed in `f32`. Results are `f64` for `f64`
/// logits, else `f32`. Every method returns a [`LossError`] for shapes, types and devices that do not fit. On the CPU labels and
/// logits are checked too; elsewhere `forward` does not wait for the device: a NaN logit makes the total NaN, and labels outside the classes
/// count as none of them, unless [`BurnLoss::validate`] is called.
pub trait BurnLoss {
    /// Total and parts, ready for `.backward()`.
    ///
    /// # Errors
    /// See the trait.
    fn forward<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<Forward, LossError>;

    /// The same along a chosen path.
    ///
    /// # Errors
    /// [`LossError::Unsupported`] for [`Path::Fused`] where there is no kernel for the device; else as [`BurnLoss::forward`].
    fn forward_by<const D: usize>(&self, path: Path, logits: Tensor<D>, target: &BurnTarget) -> Result<Forward, LossError>;

    /// The total, every term with its parts, and the proportions of the classes, on the host. Waits for the device.
    ///
    /// # Errors
    /// See the trait.
    fn evaluate<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<Evaluation, LossError>;

    /// Every term per sample and class before its reduction, where it has such a form, on the host; one row where it is pooled over
    /// the batch. Waits for the device.
    ///
    /// # Errors
    /// See the trait.
    fn elements<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<Vec<Option<Table>>, LossError>;

    /// Reads target and logits back and refuses labels, soft targets, weights and logits out of range. Waits for the device.
    ///
    /// # Errors
    /// [`LossError::LabelOutOfRange`], [`LossError::ValueOutOfRange`], [`LossError::NonFiniteLogit`], with positions.
    fn validate<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<(), LossError>;
}

impl BurnLoss for Loss {
    fn forward<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<Forward, LossError> {
        match kernel(&logits) {
            #[cfg(feature = "cube")]
            Some(Kernel::Cube) => interpret(self, &logits, target, |plan| statistics(self, &logits, target, plan)),
            Some(_) => self.forward_by(Path::Fused, logits, target),
            None => self.forward_by(Path::Operations, logits, target),
        }
    }

    fn forward_by<const D: usize>(&self, path: Path, logits: Tensor<D>, target: &BurnTarget) -> Result<Forward, LossError> {
        target.geometry(&logits, self.activation())?;
        match (path, kernel(&logits)) {
            #[cfg(feature = "flex")]
            (Path::Fused, Some(Kernel::Flex)) => Ok(name(self, path, crate::fused::forward(self, logits, target)?)),
            #[cfg(feature = "cube")]
            (Path::Fused, Some(Kernel::Cube)) => interpret(self, &logits, target, |plan| {
                let statistics = cube::statistics(&flatten(logits.clone()), target, plan, self.ignored())?;
                statistics.map(|statistics| (path, statistics)).ok_or_else(|| no_kernel_for(plan))
            }),
            (Path::Fused, _) => Err(no_kernel(&logits)),
            (Path::Operations, _) => interpret(self, &logits, target, |plan| {
                Ok((path, operations::statistics(&flatten(logits.clone()), target, plan, self.ignored())?))
            }),
        }
    }

    fn evaluate<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<Evaluation, LossError> {
        let (program, statistics, inputs) = on_host(self, &logits, target)?;
        Ok(self.evaluation(&program.outputs(&HostAlgebra, &statistics, &inputs)?))
    }

    fn elements<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<Vec<Option<Table>>, LossError> {
        let (program, statistics, inputs) = on_host(self, &logits, target)?;
        program.elements(&statistics, &inputs)
    }

    fn validate<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<(), LossError> {
        target.geometry(&logits, self.activation())?;
        operations::validate(logits, target, self.ignored(), self.activation())
    }
}

/// A program with what it is run on, on the host.
fn on_host<const D: usize>(
    loss: &Loss,
    logits: &Tensor<D>,
    target: &BurnTarget,
) -> Result<(Arc<Program>, Vec<Table>, Inputs), LossError> {
    let geometry = target.geometry(logits, loss.activation())?;
    let program = loss.program(geometry.classes, Detail::Parts)?;
    let statistics = tables(loss, logits, target, program.plan())?;
    Ok((program, statistics, loss.inputs(geometry.samples, target.prior.clone())))
}

/// The statistics of a plan on the host, off the tape, by whichever path there is. Waits for the device.
pub(crate) fn tables<const D: usize>(
    loss: &Loss,
    logits: &Tensor<D>,
    target: &BurnTarget,
    plan: &Plan,
) -> Result<Vec<Table>, LossError> {
    #[cfg(feature = "flex")]
    if let Some(Kernel::Flex) = kernel(logits) {
        return crate::fused::tables(loss, logits, target, plan);
    }
    let (_, statistics) = statistics(loss, &logits.clone().without_autodiff(), target, plan)?;
    statistics.into_iter().map(operations::to_table).collect()
}

/// The statistics of a plan on the device: by the kernels where they can compute them, else by ordinary operations.
fn statistics<const D: usize>(
    loss: &Loss,
    logits: &Tensor<D>,
    target: &BurnTarget,
    plan: &Plan,
) -> Result<(Path, Vec<Tensor<2>>), LossError> {
    let logits = flatten(logits.clone());
    #[cfg(feature = "cube")]
    if let Some(Kernel::Cube) = kernel(&logits)
        && let Some(statistics) = cube::statistics(&logits, target, plan, loss.ignored())?
    {
        return Ok((Path::Fused, statistics));
    }
    Ok((Path::Operations, operations::statistics(&logits, target, plan, loss.ignored())?))
}

/// Runs a loss's program on the device, on statistics that are there.
fn interpret<const D: usize>(
    loss: &Loss,
    logits: &Tensor<D>,
    target: &BurnTarget,
    statistics: impl FnOnce(&Plan) -> Result<(Path, Vec<Tensor<2>>), LossError>,
) -> Result<Forward, LossError> {
    let geometry = target.geometry(logits, loss.activation())?;
    let program = loss.program(geometry.classes, Detail::Terms)?;
    let (path, statistics) = statistics(program.plan())?;
    let inputs = loss.inputs(geometry.samples, target.prior.clone());
    let outputs = program.outputs(&Operations::for_logits(logits), &statistics, &inputs)?;
    let result = result_type(logits.dtype());
    Ok(name(loss, path, outputs.map(|value| value.clone().reshape([1]).cast(result))))
}

/// Puts names to outputs.
fn name(loss: &Loss, path: Path, outputs: Outputs<Tensor<1>>) -> Forward {
    let total = outputs.total;
    let terms = loss.terms().zip(outputs.terms).map(|((weight, term), out)| {
        let nothing = || total.clone().detach().zeros_like();
        let [matching, size, constant] = out.parts.unwrap_or_else(|| [nothing(), nothing(), nothing()]);
        TermTensors { name: term.name(), role: term.role(), weight, value: out.value, matching, size, constant, of: out.of }
    });
    let terms = terms.collect();
    Forward { total, terms, path }
}

pub(crate) fn result_type(logits: DType) -> DType {
    if logits == DType::F64 { DType::F64 } else { DType::F32 }
}

/// The kernels there are.
enum Kernel {
    #[cfg(feature = "flex")]
    Flex,
    #[cfg(feature = "cube")]
    Cube,
}

/// Those that read these logits.
fn kernel<const D: usize>(logits: &Tensor<D>) -> Option<Kernel> {
    #[cfg(feature = "flex")]
    if crate::fused::primitive(logits.clone()).is_some() {
        return Some(Kernel::Flex);
    }
    #[cfg(feature = "cube")]
    if cube::has_kernel(logits) {
        return Some(Kernel::Cube);
    }
    let _ = logits;
    None
}

pub(crate) fn no_kernel<const D: usize>(tensor: &Tensor<D>) -> LossError {
    LossError::Unsupported {
        what: "the fused path",
        got: format!("{:?} on {:?}", tensor.dtype(), tensor.device()),
        expected: "logits and target on one device: Flex with the feature `flex`; one of CubeCL's with `wgpu` or `cuda`, not F64",
    }
}

#[cfg(feature = "cube")]
fn no_kernel_for(plan: &Plan) -> LossError {
    let statistics: Vec<String> = plan.statistics().iter().map(ToString::to_string).collect();
    LossError::Unsupported {
        what: "the fused path",
        got: statistics.join(", "),
        expected: "pixel functions whose constants are finite in F32",
    }
}
