//! The CPU path: statistics and gradient by the fused kernels on the tensors' own memory, the
//! algebra in `f64` on the host.

use loss_core::expr::Table;
use loss_core::{Detail, Evaluation, Inputs, Loss, LossError, Plan, Program};
use loss_kernels::{Cpu, DerivedMap, Element, HostTarget, Labels, Memory, Problem, Shares, by_type};
use tch::{Device, Kind, Tensor};

use crate::error::During;
use crate::loss::Call;
use crate::memory::{self, Host};
use crate::surrogate::Edge;
use crate::target::{Checked, TchTarget, Values};

/// Logits in host memory, as the kernels read them.
pub(crate) struct HostLogits(Host);

impl HostLogits {
    /// Where they lie; `None` where they would have to be copied.
    pub(crate) fn in_place(logits: &Tensor) -> Result<Option<Self>, LossError> {
        Ok(Host::in_place(logits)?.map(Self))
    }

    /// Copied where they must be.
    pub(crate) fn of(logits: &Tensor, checked: &Checked) -> Result<Self, LossError> {
        match Self::in_place(logits)? {
            Some(logits) => Ok(logits),
            None => Host::of(logits, checked.kind).map(Self),
        }
    }
}

/// A target in host memory, as it is read beside logits: in place where layout and type allow it,
/// else copied.
pub(crate) fn on_host(target: &TchTarget, checked: &Checked, loss: &Loss) -> Result<HostTarget<Host>, LossError> {
    let values = match &target.values {
        Values::Labels(labels) | Values::OneHot(labels) => {
            let kinds = [Kind::Uint8, Kind::Bool, Kind::Int8, Kind::Int16, Kind::Int, Kind::Int64];
            readable(labels, &kinds, Kind::Int64)?
        }
        Values::Soft(shares) => floats(shares)?,
    };
    let map = |((name, map), shape): (&(String, Tensor), &Vec<usize>)| Ok((name.clone(), floats(map)?, shape.clone()));
    Ok(HostTarget {
        logits: checked.logits.clone(),
        kind: target.kind(),
        values,
        shape: checked.target.clone(),
        weights: target.weights.as_ref().map(floats).transpose()?.map(|weights| (weights, checked.pixels())),
        maps: target.maps.iter().zip(&checked.maps).map(map).collect::<Result<_, LossError>>()?,
        spacing: target.spacing.clone(),
        ignore: loss.ignored().to_vec(),
        activation: loss.activation(),
    })
}

impl Memory for Host {
    fn labels(&self) -> Result<Labels<'_>, LossError> {
        loss_kernels::labels_of!(self, U8, I8, I16, I32, I64).ok_or_else(|| unreadable("labels", self))
    }

    fn shares(&self) -> Result<Shares<'_>, LossError> {
        loss_kernels::shares_of!(self).ok_or_else(|| unreadable("target", self))
    }
}

/// The memory of a tensor, of its own type if that is one of some, else of another.
fn readable(tensor: &Tensor, kinds: &[Kind], otherwise: Kind) -> Result<Host, LossError> {
    let kind = tensor.f_kind().during("reading a type")?;
    Host::of(tensor, if kinds.contains(&kind) { kind } else { otherwise })
}

fn floats(tensor: &Tensor) -> Result<Host, LossError> {
    readable(tensor, &[Kind::Float, Kind::Double, Kind::Half, Kind::BFloat16], Kind::Float)
}

fn unreadable(what: &'static str, tensor: &Host) -> LossError {
    LossError::Unsupported { what, got: format!("memory of {:?}", tensor.kind()), expected: "memory aligned to its type" }
}

/// The statistics of a plan.
pub(crate) fn statistics(logits: &HostLogits, problem: &Problem<'_>, plan: &Plan) -> Result<Vec<Table>, LossError> {
    by_type!(logits.0, |values: &[E]| loss_kernels::statistics::<E>(values, problem, plan), else unreadable("logits", &logits.0))
}

/// Σ_s ∂/∂z of several outputs, given each one's derivatives for the statistics of a plan.
pub(crate) fn gradient_sums(
    logits: &HostLogits,
    problem: &Problem<'_>,
    plan: &Plan,
    upstreams: &[Vec<Option<Table>>],
) -> Result<Vec<Table>, LossError> {
    by_type!(
        logits.0,
        |values: &[E]| loss_kernels::gradient_sums::<E>(values, problem, plan, upstreams),
        else unreadable("logits", &logits.0)
    )
}

/// What the kernels refuse, if anything.
pub(crate) fn validate(logits: &HostLogits, problem: &Problem<'_>) -> Result<(), LossError> {
    by_type!(logits.0, |values: &[E]| loss_kernels::validate::<E>(values, problem), else unreadable("logits", &logits.0))
}

/// The maps of a plan that are not given.
pub(crate) fn derive(logits: &HostLogits, problem: &Problem<'_>, plan: &Plan) -> Result<Vec<DerivedMap>, LossError> {
    let derived = by_type!(logits.0, |values: &[E]| problem.derive::<E>(values, plan), else unreadable("logits", &logits.0))?;
    Ok(derived.into_iter().map(|(_, map)| map).collect())
}

/// The statistics of a plan with the gradient of a program's total, in the type it is computed in,
/// of the logits' shape, row-major.
fn with_gradient(
    logits: &HostLogits,
    problem: Problem<'_>,
    program: &Program,
    plan: &Plan,
    inputs: &Inputs,
    checked: &Checked,
) -> Result<(Vec<Table>, Tensor), LossError> {
    let size: Vec<i64> = checked.logits.iter().map(|&length| length as i64).collect();
    by_type!(logits.0, |values: &[E]| {
        let write = |out: &mut [<E as Element>::Compute]| {
            let call = Cpu::<E, [<E as Element>::Compute]>::new(values, problem, None);
            program.read_on(&call, plan, inputs, Some(out))
        };
        memory::written(&size, checked.compute(), write)
    }, else unreadable("logits", &logits.0))
}

/// Total and parts; the total is on the tape where the logits are.
pub(crate) fn forward(call: &Call<'_>) -> Result<Evaluation<Tensor>, LossError> {
    let Call { loss, logits, target, checked, program, inputs } = call;
    let host = HostLogits::of(logits, checked)?;
    let host_target = on_host(target, checked, loss)?;
    let problem = host_target.problem()?;
    let edge = Edge::behind(logits)?;
    let (statistics, gradient) = if edge.is_some() {
        // The derivatives of the total alone may be known before the logits are read.
        let total = loss.program(checked.geometry.classes, Detail::Total)?;
        let (statistics, gradient) = with_gradient(&host, problem, &total, program.plan(), inputs, checked)?;
        (statistics, Some(gradient))
    } else {
        (statistics(&host, &problem, program.plan())?, None)
    };
    let number = |&value: &f64| Tensor::f_full([0i64; 0], value, (checked.compute(), Device::Cpu)).during("making a number");
    let mut outputs = program.evaluate(&statistics, inputs)?.try_map(number)?;
    if let (Some(edge), Some(gradient)) = (edge, gradient) {
        outputs.total = edge.attach(&outputs.total, &gradient)?;
    }
    Ok(outputs)
}
