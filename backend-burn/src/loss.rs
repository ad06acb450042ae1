//! What a loss can do with Burn tensors.

use std::sync::Arc;

use burn::tensor::{DType, Tensor};
use loss_core::backend::{Algebra, Path, Table};
use loss_core::{
    Detail, Evaluation, Facts, Inputs, Loss, LossError, Plan, Precision, Preference, Pressure, Program, Shifted, preferred_size,
};

#[cfg(feature = "cube")]
use crate::cube;
use crate::device::{no_kernel, result_type, wide};
use crate::host::OnHost;
use crate::operations::Operations;
use crate::target::flatten;
use crate::{BurnTarget, operations};

/// Evaluation of a [`Loss`] on Burn tensors. Implemented for `Loss` alone.
///
/// Logits have the shape `[N, K, *spatial]` and a type that [`supports`](crate::supports) knows of
/// their device; half precision is computed in `f32`. Results are `f64` for `f64` logits, else
/// `f32`. Every method returns a [`LossError`] for shapes, types and devices that do not fit. On
/// the CPU target and logits are checked too; elsewhere `forward` does not wait for the device: a
/// NaN logit makes the total NaN, labels outside the classes count as none of them, and soft
/// targets beyond `[0, 1]` as 0 or 1, whatever they add up to, unless [`BurnLoss::validate`] is
/// called.
///
/// [`Path::Fused`] are kernels, on the CPU (Flex) and on devices that CubeCL compiles for;
/// [`Path::Operations`] is differentiated by Burn, on any device.
pub trait BurnLoss {
    /// Total, terms and their splits as tensors of shape `[1]`, ready for `.backward()`.
    ///
    /// # Errors
    /// See the trait.
    fn forward<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<Evaluation<Tensor<1>>, LossError>;

    /// The same along a chosen path.
    ///
    /// # Errors
    /// [`LossError::Unsupported`] for [`Path::Fused`] where there is no kernel for the device; else
    /// as [`BurnLoss::forward`].
    fn forward_by<const D: usize>(
        &self,
        path: Path,
        logits: Tensor<D>,
        target: &BurnTarget,
    ) -> Result<Evaluation<Tensor<1>>, LossError>;

    /// The path that [`BurnLoss::forward`] takes.
    ///
    /// # Errors
    /// See the trait.
    fn path<const D: usize>(&self, logits: &Tensor<D>, target: &BurnTarget) -> Result<Path, LossError>;

    /// The total, every term with its parts, the proportions of the classes, the pressure on their
    /// sizes, and notes, on the host. Waits for the device.
    ///
    /// # Errors
    /// See the trait.
    fn evaluate<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<Evaluation, LossError>;

    /// Every term per sample and class before its reduction, where it has such a form, on the host;
    /// one row where it is pooled over the batch. Waits for the device.
    ///
    /// # Errors
    /// See the trait.
    fn elements<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<Vec<Option<Table>>, LossError>;

    /// What the loss, and each of its terms, does to the size of each class: the slope for a shift
    /// of all its logits. Costs a gradient; on the CPU (Flex) it is not stored, elsewhere each
    /// term's is while it is summed up. Waits for the device.
    ///
    /// # Errors
    /// See the trait.
    fn pressure<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<Pressure, LossError>;

    /// The size of a class at which the loss is least, all else equal: along the shift of all its
    /// logits, by about a hundred values. Waits for the device.
    ///
    /// # Errors
    /// See the trait; [`LossError::ClassIndex`] for a class that the logits do not have,
    /// [`LossError::ShiftedLoss`] where the loss is not finite along the shift.
    fn preferred_size<const D: usize>(
        &self,
        logits: Tensor<D>,
        target: &BurnTarget,
        class: usize,
    ) -> Result<Preference, LossError>;

    /// Reads target and logits back and refuses labels, soft targets, weights and logits out of
    /// range. Waits for the device.
    ///
    /// # Errors
    /// [`LossError::LabelOutOfRange`], [`LossError::ValueOutOfRange`], [`LossError::SharesSum`],
    /// [`LossError::NonFiniteLogit`], with positions.
    fn validate<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<(), LossError>;
}

impl BurnLoss for Loss {
    fn forward<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<Evaluation<Tensor<1>>, LossError> {
        Call::new(self, &logits, target, Detail::Terms)?.forward()
    }

    fn forward_by<const D: usize>(
        &self,
        path: Path,
        logits: Tensor<D>,
        target: &BurnTarget,
    ) -> Result<Evaluation<Tensor<1>>, LossError> {
        let call = Call::new(self, &logits, target, Detail::Terms)?;
        match path {
            Path::Fused => call.fused(kernel(&logits, call.program.plan())?),
            Path::Operations => call.interpret(call.by_operations()?),
        }
    }

    fn path<const D: usize>(&self, logits: &Tensor<D>, target: &BurnTarget) -> Result<Path, LossError> {
        let (_, geometry) = target.beside(logits, self)?;
        let program = self.program(geometry.classes, Detail::Terms)?;
        Ok(if kernel(logits, program.plan()).is_ok() { Path::Fused } else { Path::Operations })
    }

    fn evaluate<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<Evaluation, LossError> {
        let call = Call::new(self, &logits, target, Detail::Parts)?;
        let (statistics, inputs) =
            (call.tables()?, Inputs { facts: Some(facts(self, &logits, target)?), ..call.inputs.clone() });
        let pressure = Some(call.pressure(&statistics)?);
        Ok(Evaluation { pressure, ..call.program.evaluate(&statistics, &inputs)? })
    }

    fn elements<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<Vec<Option<Table>>, LossError> {
        let call = Call::new(self, &logits, target, Detail::Parts)?;
        call.program.elements(&call.tables()?, &call.inputs)
    }

    fn pressure<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<Pressure, LossError> {
        let call = Call::new(self, &logits, target, Detail::Total)?;
        call.pressure(&call.tables()?)
    }

    fn preferred_size<const D: usize>(
        &self,
        logits: Tensor<D>,
        target: &BurnTarget,
        class: usize,
    ) -> Result<Preference, LossError> {
        let classes = target.beside(&logits, self)?.1.classes;
        if class >= classes {
            return Err(LossError::ClassIndex { class, classes });
        }
        // In the type that is computed in, so that a small shift is not rounded away.
        let logits = logits.without_autodiff();
        let logits = logits.clone().cast(result_type(logits.dtype()));
        preferred_size(|by| {
            let shifted = logits.clone().narrow(1, class, 1) + by;
            let shifted = logits.clone().slice_assign(of_class(&logits, class), shifted);
            let call = Call::new(self, &shifted, target, Detail::Parts)?;
            let evaluation = call.program.evaluate(&call.tables()?, &call.inputs)?;
            let region = evaluation.regions.get(class).ok_or(LossError::ClassIndex { class, classes })?;
            let decided =
                operations::decided(&flatten(shifted.clone()), &call.target, self.ignored(), self.activation(), class)?;
            Ok(Shifted { value: evaluation.total, target: region.target, predicted: region.predicted, decided })
        })
    }

    fn validate<const D: usize>(&self, logits: Tensor<D>, target: &BurnTarget) -> Result<(), LossError> {
        let (target, _) = target.beside(&logits, self)?;
        OnHost::new(self, &logits, &target)?.validate()
    }
}

/// One call of a loss: what is the same for every path, checked and made once.
struct Call<'a, const D: usize> {
    loss: &'a Loss,
    logits: &'a Tensor<D>,
    /// As it is read beside the logits, with the maps that the program derives.
    target: BurnTarget,
    program: Arc<Program>,
    inputs: Inputs,
}

impl<'a, const D: usize> Call<'a, D> {
    fn new(loss: &'a Loss, logits: &'a Tensor<D>, target: &BurnTarget, detail: Detail) -> Result<Self, LossError> {
        let (mut target, geometry) = target.beside(logits, loss)?;
        let program = loss.program(geometry.classes, detail)?;
        let there = target.maps.iter().map(|map| map.name.as_str());
        if program.plan().underived(there).next().is_some() {
            let derived = OnHost::new(loss, logits, &target)?.derive(program.plan())?;
            target = target.with_derived(derived, logits);
        }
        let inputs = loss.inputs(geometry.samples, target.prior.clone());
        Ok(Self { loss, logits, target, program, inputs })
    }

    fn forward(&self) -> Result<Evaluation<Tensor<1>>, LossError> {
        match kernel(self.logits, self.program.plan()) {
            Ok(kernel) => self.fused(kernel),
            Err(_) => self.interpret(self.by_operations()?),
        }
    }

    fn fused(&self, kernel: Kernel) -> Result<Evaluation<Tensor<1>>, LossError> {
        match kernel {
            #[cfg(feature = "flex")]
            Kernel::Flex => {
                crate::fused::forward(self.loss, self.logits, &self.target, Arc::clone(&self.program), &self.inputs)
            }
            #[cfg(feature = "cube")]
            Kernel::Cube => {
                let flat = flatten(self.logits.clone());
                self.interpret(cube::statistics(&flat, &self.target, self.program.plan(), self.loss.ignored())?)
            }
        }
    }

    fn by_operations(&self) -> Result<Vec<Tensor<2>>, LossError> {
        operations::statistics(&flatten(self.logits.clone()), &self.target, self.program.plan(), self.loss.ignored())
    }

    /// Runs the program on the device, on the given statistics.
    fn interpret(&self, statistics: Vec<Tensor<2>>) -> Result<Evaluation<Tensor<1>>, LossError> {
        let outputs = self.program.outputs(&Operations::for_logits(self.logits), &statistics, &self.inputs)?;
        let result = result_type(self.logits.dtype());
        outputs.try_map(|value| Ok(value.clone().reshape([1]).cast(result)))
    }

    fn tables(&self) -> Result<Vec<Table>, LossError> {
        tables(self.loss, self.logits, &self.target, self.program.plan())
    }

    /// What the loss does to the size of each class, given the statistics.
    fn pressure(&self, statistics: &[Table]) -> Result<Pressure, LossError> {
        let upstreams = self.program.upstream_of_terms(statistics, &self.inputs)?;
        let sums = match kernel(self.logits, self.program.plan()) {
            #[cfg(feature = "flex")]
            Ok(Kernel::Flex) => {
                OnHost::new(self.loss, self.logits, &self.target)?.gradient_sums(self.program.plan(), &upstreams)?
            }
            _ => upstreams.iter().map(|upstream| self.gradient_sums(upstream)).collect::<Result<_, _>>()?,
        };
        Ok(self.program.pressure(&sums, &self.inputs))
    }

    /// Σ_s ∂/∂z of an output, `[N, K]`, given its derivatives for the statistics, by Burn's
    /// tape.
    fn gradient_sums(&self, upstream: &[Option<Table>]) -> Result<Table, LossError> {
        // In the type that is computed in: half precision would lose the gradient of a large image.
        let logits = flatten(self.logits.clone().without_autodiff()).cast(result_type(self.logits.dtype()));
        let logits = logits.autodiff().require_grad();
        let statistics = match kernel(self.logits, self.program.plan()) {
            #[cfg(feature = "cube")]
            Ok(Kernel::Cube) => cube::statistics(&logits, &self.target, self.program.plan(), self.loss.ignored())?,
            _ => operations::statistics(&logits, &self.target, self.program.plan(), self.loss.ignored())?,
        };
        let algebra = Operations::for_logits(&logits);
        let mut scalar: Option<Tensor<1>> = None;
        for (statistic, upstream) in statistics.into_iter().zip(upstream) {
            let Some(upstream) = upstream else { continue };
            let product = (statistic * algebra.constant(upstream)?).sum();
            scalar = Some(scalar.map_or(product.clone(), |sum| sum + product));
        }
        let [samples, classes, _] = logits.dims();
        match scalar.and_then(|scalar| logits.grad(&scalar.backward())) {
            Some(gradient) => operations::to_table(operations::sum_of_pixels(gradient, wide(&logits.device()))),
            None => Ok(Table::filled(samples, classes, 0.0)),
        }
    }
}

/// All of a class's logits.
fn of_class<const D: usize>(logits: &Tensor<D>, class: usize) -> [std::ops::Range<usize>; D] {
    let mut ranges = logits.dims().map(|length| 0..length);
    if let Some(classes) = ranges.get_mut(1) {
        *classes = class..class + 1;
    }
    ranges
}

/// What notes are made of beside statistics.
fn facts<const D: usize>(loss: &Loss, logits: &Tensor<D>, target: &BurnTarget) -> Result<Facts, LossError> {
    let precision = match logits.dtype() {
        DType::F64 => Precision::F64,
        DType::F16 => Precision::F16,
        DType::BF16 => Precision::Bf16,
        _ => Precision::F32,
    };
    let (beside, geometry) = target.beside(logits, loss)?;
    let valid = beside.weights.is_some().then(|| beside.valid_pixels(loss, &logits.dims())).transpose()?;
    let facts = Facts::new(precision, geometry, beside.kind(), loss.ignored());
    Ok(facts.with_valid(valid).with_given(target.maps.iter().map(|map| map.name.as_str()), target.spacing.is_some()))
}

/// The statistics of a plan on the host, off the tape, on the path that `forward` takes, with a
/// target that lies beside these logits. Waits for the device.
pub(crate) fn tables<const D: usize>(
    loss: &Loss,
    logits: &Tensor<D>,
    target: &BurnTarget,
    plan: &Plan,
) -> Result<Vec<Table>, LossError> {
    let flat = || flatten(logits.clone().without_autodiff());
    let statistics = match kernel(logits, plan) {
        #[cfg(feature = "flex")]
        Ok(Kernel::Flex) => return OnHost::new(loss, logits, target)?.statistics(plan),
        #[cfg(feature = "cube")]
        Ok(Kernel::Cube) => cube::statistics(&flat(), target, plan, loss.ignored())?,
        Err(_) => operations::statistics(&flat(), target, plan, loss.ignored())?,
    };
    statistics.into_iter().map(operations::to_table).collect()
}

/// The kernels there are.
#[derive(Clone, Copy)]
enum Kernel {
    #[cfg(feature = "flex")]
    Flex,
    #[cfg(feature = "cube")]
    Cube,
}

/// Those that read these logits and compute a plan, or why there are none.
fn kernel<const D: usize>(logits: &Tensor<D>, plan: &Plan) -> Result<Kernel, LossError> {
    #[cfg(feature = "flex")]
    if crate::fused::primitive(logits.clone()).is_some() {
        return Ok(Kernel::Flex);
    }
    #[cfg(feature = "cube")]
    if cube::has_kernel(logits) {
        return cube::computes(plan).map(|()| Kernel::Cube);
    }
    let _ = plan;
    Err(no_kernel(logits))
}
