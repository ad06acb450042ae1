//! The CPU path: statistics and gradient by the fused kernels on the tensors' own memory, the algebra in `f64` on the host.

use loss_core::expr::{HostAlgebra, Table};
use loss_core::{Activation, Detail, Inputs, Loss, LossError, Outputs, Plan, Program};
use loss_kernels::{Cpu, Element, Labels, Problem, Shares, Target, by_type};
use tch::{Device, Kind, Tensor};

use crate::error::During;
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

/// A target in host memory, as the kernels read it.
pub(crate) struct HostTarget<'a> {
    values: Host,
    labels: bool,
    weights: Option<Host>,
    maps: Vec<(&'a str, Host)>,
    checked: &'a Checked,
    ignore: &'a [i64],
    activation: Activation,
}

impl<'a> HostTarget<'a> {
    /// Read in place where layout and type allow it, else copied.
    pub(crate) fn new(target: &'a TchTarget, checked: &'a Checked, loss: &'a Loss) -> Result<Self, LossError> {
        let (values, labels) = match &target.values {
            Values::Labels(labels) => {
                (readable(labels, &[Kind::Uint8, Kind::Bool, Kind::Int, Kind::Int64], Kind::Int64)?, true)
            }
            Values::Soft(shares) => (floats(shares)?, false),
        };
        let weights = target.weights.as_ref().map(floats).transpose()?;
        let maps = target.maps.iter().map(|(name, map)| Ok((name.as_str(), floats(map)?)));
        let maps = maps.collect::<Result<_, LossError>>()?;
        Ok(Self { values, labels, weights, maps, checked, ignore: loss.ignored(), activation: loss.activation() })
    }

    pub(crate) fn problem(&self) -> Result<Problem<'_>, LossError> {
        let target = if self.labels {
            let labels = self.values.as_slice::<u8>().map(Labels::U8);
            let labels = labels.or_else(|| self.values.as_slice::<i32>().map(Labels::I32));
            let labels = labels.or_else(|| self.values.as_slice::<i64>().map(Labels::I64));
            Target::Labels(labels.ok_or_else(|| unreadable("labels", &self.values))?)
        } else {
            Target::Soft(shares("soft targets", &self.values)?)
        };
        let weights = match (&self.weights, &self.checked.weights) {
            (Some(weights), Some(shape)) => Some((shares("pixel weights", weights)?, shape.as_slice())),
            _ => None,
        };
        let target = (target, self.checked.target.as_slice());
        let problem = Problem::new(&self.checked.logits, target, weights, self.ignore, self.activation)?;
        let maps = self.maps.iter().zip(&self.checked.maps);
        maps.into_iter().try_fold(problem, |problem, ((name, map), shape)| problem.with_map(name, shares("map", map)?, shape))
    }
}

/// The memory of a tensor, of its own type if that is one of some, else of another.
fn readable(tensor: &Tensor, kinds: &[Kind], otherwise: Kind) -> Result<Host, LossError> {
    let kind = tensor.f_kind().during("reading a type")?;
    Host::of(tensor, if kinds.contains(&kind) { kind } else { otherwise })
}

fn floats(tensor: &Tensor) -> Result<Host, LossError> {
    readable(tensor, &[Kind::Float, Kind::Double], Kind::Float)
}

fn unreadable(what: &'static str, tensor: &Host) -> LossError {
    LossError::Unsupported { what, got: format!("memory of {:?}", tensor.kind()), expected: "memory aligned to its type" }
}

fn shares<'a>(what: &'static str, tensor: &'a Host) -> Result<Shares<'a>, LossError> {
    let single = tensor.as_slice::<f32>().map(Shares::F32);
    single.or_else(|| tensor.as_slice::<f64>().map(Shares::F64)).ok_or_else(|| unreadable(what, tensor))
}

/// The statistics of a plan.
pub(crate) fn statistics(logits: &HostLogits, problem: &Problem<'_>, plan: &Plan) -> Result<Vec<Table>, LossError> {
    by_type!(logits.0, |values: &[E]| loss_kernels::statistics::<E>(values, problem, plan), else unreadable("logits", &logits.0))
}

/// What the kernels refuse, if anything.
pub(crate) fn validate(logits: &HostLogits, problem: &Problem<'_>) -> Result<(), LossError> {
    by_type!(logits.0, |values: &[E]| loss_kernels::validate::<E>(values, problem), else unreadable("logits", &logits.0))
}

/// The statistics of a plan with the gradient of a program's total, in the type it is computed in, of the logits' shape, row-major.
fn with_gradient(
    (logits, problem): (&HostLogits, &Problem<'_>),
    (program, plan): (&Program, &Plan),
    inputs: &Inputs,
    checked: &Checked,
) -> Result<(Vec<Table>, Tensor), LossError> {
    let size: Vec<i64> = checked.logits.iter().map(|&length| length as i64).collect();
    by_type!(logits.0, |values: &[E]| {
        let write = |out: &mut [<E as Element>::Compute]| {
            let backend = Cpu::<E, [<E as Element>::Compute]>::with_gradient();
            program.read_on(&backend, (values, problem), plan, inputs, Some(out))
        };
        memory::written(&size, checked.compute(), write)
    }, else unreadable("logits", &logits.0))
}

/// Total and parts; the total is on the tape where the logits are.
pub(crate) fn forward(
    loss: &Loss,
    logits: &Tensor,
    target: &TchTarget,
    checked: &Checked,
) -> Result<Outputs<Tensor>, LossError> {
    let host = HostLogits::of(logits, checked)?;
    let host_target = HostTarget::new(target, checked, loss)?;
    let problem = host_target.problem()?;
    let program = loss.program(checked.geometry.classes, Detail::Terms)?;
    let inputs = loss.inputs(checked.geometry.samples, target.prior.clone());
    let edge = Edge::behind(logits)?;
    let (statistics, gradient) = if edge.is_some() {
        // The derivatives of the total alone may be known before the logits are read.
        let total = loss.program(checked.geometry.classes, Detail::Total)?;
        let (statistics, gradient) = with_gradient((&host, &problem), (&total, program.plan()), &inputs, checked)?;
        (statistics, Some(gradient))
    } else {
        (statistics(&host, &problem, program.plan())?, None)
    };
    let outputs = program.outputs(&HostAlgebra, &statistics, &inputs)?;
    let number = |table: &Table| {
        let value = table.values().first().copied().unwrap_or(f64::NAN);
        Tensor::f_full([0i64; 0], value, (checked.compute(), Device::Cpu)).during("making a number")
    };
    let mut outputs = crate::loss::all(outputs.map(number))?;
    if let (Some(edge), Some(gradient)) = (edge, gradient) {
        outputs.total = edge.attach(&outputs.total, &gradient)?;
    }
    Ok(outputs)
}
