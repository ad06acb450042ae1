//! The CPU path: statistics by the fused kernels, the algebra in `f64` on the host, and one custom
//! operation that carries the gradient back.
//!
//! All that can fail happens before the operation is made, so that it can be reported; the
//! operation itself only puts the outputs on the tape, and its backward reads the logits once more.

use std::sync::Arc;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Bytes, DType, FloatDType, IntDType, Shape, Tensor};
use loss_core::expr::Table;
use loss_core::{Activation, Evaluation, Inputs, Loss, LossError, Plan, Program};
use loss_kernels::{DerivedMap, Labels, Problem, Shares, Target, by_type};

use crate::BurnTarget;
use crate::device::{no_kernel, result_type};
use crate::target::{NamedMap, Values};

/// The tensor below a Burn tensor, where it is Flex's.
pub(crate) fn primitive<const D: usize>(tensor: Tensor<D>) -> Option<FlexTensor> {
    tensor.without_autodiff().try_into_primitive::<Flex>().ok()
}

/// A target whose tensors lie in host memory, row-major. Clones share them.
#[derive(Clone, Debug)]
struct HostTarget {
    values: FlexTensor,
    labels: bool,
    shape: Vec<usize>,
    weights: Option<(FlexTensor, Vec<usize>)>,
    spacing: Option<Vec<f64>>,
    maps: Vec<(String, FlexTensor, Vec<usize>)>,
    ignore: Vec<i64>,
    activation: Activation,
}

/// Readable in place: row-major, or copied so.
fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

/// Soft targets or weights as the kernels read them.
fn floats(tensor: FlexTensor) -> FlexTensor {
    match tensor.dtype() {
        DType::F32 | DType::F64 => contiguous(tensor),
        _ => contiguous(Flex::float_cast(tensor, FloatDType::F32)),
    }
}

impl HostTarget {
    fn new(target: &BurnTarget, loss: &Loss) -> Result<Self, LossError> {
        let (values, labels) = match &target.values {
            Values::Labels(labels) => {
                let tensor = labels.clone().try_into_primitive::<Flex>().map_err(|_| no_kernel(&labels.clone().float()))?;
                let tensor = match tensor.dtype() {
                    DType::U8 | DType::I32 | DType::I64 => tensor,
                    _ => Flex::int_cast(tensor, IntDType::I64),
                };
                (contiguous(tensor), true)
            }
            Values::Soft(shares) => (primitive(shares.clone()).map(floats).ok_or_else(|| no_kernel(shares))?, false),
        };
        let weights = match &target.weights {
            Some(weights) => Some(primitive(weights.clone()).map(floats).ok_or_else(|| no_kernel(weights))?),
            None => None,
        };
        let map = |map: &NamedMap| {
            let values = primitive(map.values.clone()).map(floats).ok_or_else(|| no_kernel(&map.values))?;
            Ok((map.name.clone(), values, map.shape.clone()))
        };
        Ok(Self {
            maps: target.maps.iter().map(map).collect::<Result<_, LossError>>()?,
            spacing: target.spacing.clone(),
            values,
            labels,
            shape: target.shape().to_vec(),
            weights: weights.zip(target.weights_shape().map(<[usize]>::to_vec)),
            ignore: loss.ignored().to_vec(),
            activation: loss.activation(),
        })
    }

    fn problem(&self, logits: &[usize]) -> Result<Problem<'_>, LossError> {
        let target = if self.labels {
            let bytes = self.values.as_slice::<u8>().map(Labels::U8);
            let labels = bytes.or_else(|| self.values.as_slice::<i32>().map(Labels::I32));
            let labels = labels.or_else(|| self.values.as_slice::<i64>().map(Labels::I64));
            Target::Labels(labels.ok_or_else(|| unreadable(&self.values))?)
        } else {
            Target::Soft(shares(&self.values)?)
        };
        let weights = match &self.weights {
            Some((weights, shape)) => Some((shares(weights)?, shape.as_slice())),
            None => None,
        };
        let problem = Problem::new(logits, (target, &self.shape), weights, &self.ignore, self.activation)?;
        let problem = self.spacing.iter().try_fold(problem, |problem, spacing| problem.with_spacing(spacing))?;
        self.maps.iter().try_fold(problem, |problem, (name, values, shape)| problem.with_map(name, shares(values)?, shape))
    }
}

fn unreadable(tensor: &FlexTensor) -> LossError {
    LossError::Unsupported {
        what: "target",
        got: format!("{:?}", tensor.dtype()),
        expected: "labels of U8, I32 or I64; soft targets and weights of F32 or F64",
    }
}

fn shares(tensor: &FlexTensor) -> Result<Shares<'_>, LossError> {
    let single = tensor.as_slice::<f32>().map(Shares::F32);
    single.or_else(|| tensor.as_slice::<f64>().map(Shares::F64)).ok_or_else(|| unreadable(tensor))
}

fn unreadable_logits(tensor: &FlexTensor) -> LossError {
    LossError::Unsupported { what: "logits", got: format!("{:?}", tensor.dtype()), expected: "F64, F32, F16 or BF16" }
}

fn statistics(logits: &FlexTensor, problem: &Problem<'_>, plan: &Plan) -> Result<Vec<Table>, LossError> {
    by_type!(logits, |values: &[E]| loss_kernels::statistics::<E>(values, problem, plan), else unreadable_logits(logits))
}

fn gradient(
    logits: &FlexTensor,
    problem: &Problem<'_>,
    plan: &Plan,
    upstream: &[Option<Table>],
) -> Result<FlexTensor, LossError> {
    by_type!(logits, |values: &[E]| {
        let mut out = Vec::<E>::new();
        loss_kernels::logit_gradient(values, problem, plan, upstream, &mut out)?;
        Ok(FlexTensor::new(Bytes::from_elems(out), Layout::contiguous(logits.shape()), logits.dtype()))
    }, else unreadable_logits(logits))
}

/// One call of a loss: what its backward needs beside the logits.
#[derive(Clone, Debug)]
pub(crate) struct Call(Arc<CallState>);

#[derive(Debug)]
struct CallState {
    program: Arc<Program>,
    target: HostTarget,
    statistics: Vec<Table>,
    inputs: Inputs,
    outputs: Vec<f64>,
    result: DType,
}

impl CallState {
    fn pull_back(&self, logits: &FlexTensor, seeds: &[f64]) -> Result<FlexTensor, LossError> {
        let problem = self.target.problem(&logits.shape())?;
        let upstream = self.program.upstream(&self.statistics, &self.inputs, seeds)?;
        gradient(logits, &problem, self.program.plan(), &upstream)
    }
}

/// A loss as one operation on Burn's tape: logits in, all scalar outputs out.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait LossOperation: Backend {
    /// The outputs of the call, made dependent on the logits.
    fn attach(logits: FloatTensor<Self>, call: Call) -> FloatTensor<Self>;
    /// The gradient for the logits, given that of the outputs.
    fn pull_back(logits: FloatTensor<Self>, call: Call, gradient: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl LossOperation for Flex {
    fn attach(_: FlexTensor, Call(call): Call) -> FlexTensor {
        let layout = Layout::contiguous(Shape::from([call.outputs.len()]));
        let bytes = if call.result == DType::F64 {
            Bytes::from_elems(call.outputs.clone())
        } else {
            Bytes::from_elems(call.outputs.iter().map(|&v| v as f32).collect::<Vec<_>>())
        };
        FlexTensor::new(bytes, layout, call.result)
    }

    fn pull_back(logits: FlexTensor, Call(call): Call, gradient: FlexTensor) -> FlexTensor {
        let logits = contiguous(logits);
        let gradient = contiguous(Flex::float_cast(gradient, FloatDType::F64));
        let seeds = gradient.as_slice::<f64>().unwrap_or_default();
        // Everything was checked when the call was made; were it to fail all the same, NaN is at
        // least not silent.
        call.pull_back(&logits, seeds).unwrap_or_else(|_| {
            let nan = FlexTensor::filled_typed(logits.shape(), DType::F64, f64::NAN);
            match logits.dtype() {
                DType::F64 => nan,
                DType::F16 => Flex::float_cast(nan, FloatDType::F16),
                DType::BF16 => Flex::float_cast(nan, FloatDType::BF16),
                _ => Flex::float_cast(nan, FloatDType::F32),
            }
        })
    }
}

impl<B: LossOperation, C: CheckpointStrategy> LossOperation for Autodiff<B, C> {
    fn attach(logits: FloatTensor<Self>, call: Call) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct PullBack;

        impl<B: LossOperation> Backward<B, 1> for PullBack {
            type State = (NodeId, Call);

            fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
                let [parent] = ops.parents;
                let gradient = gradients.consume::<B>(&ops.node);
                let (logits, call) = ops.state;
                let logits: FloatTensor<B> = checkpointer.retrieve_node_output(logits);
                if let Some(parent) = parent {
                    gradients.register::<B>(parent.id, B::pull_back(logits, call, gradient));
                }
            }
        }

        match PullBack.prepare::<C>([logits.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let node = prep.checkpoint(&logits);
                let out = B::attach(logits.into_primitive(), call.clone());
                prep.finish((node, call), out)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::attach(logits.into_primitive(), call)),
        }
    }

    fn pull_back(logits: FloatTensor<Self>, call: Call, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        // Burn differentiates once, so nothing is recorded here: the gradient is a constant of the
        // tape.
        let out = B::pull_back(logits.into_primitive(), call, gradient.into_primitive());
        Self::from_inner(out)
    }
}

/// The statistics of a plan on the host.
pub(crate) fn tables<const D: usize>(
    loss: &Loss,
    logits: &Tensor<D>,
    target: &BurnTarget,
    plan: &Plan,
) -> Result<Vec<Table>, LossError> {
    let flex = contiguous(primitive(logits.clone()).ok_or_else(|| no_kernel(logits))?);
    let host = HostTarget::new(target, loss)?;
    statistics(&flex, &host.problem(&flex.shape())?, plan)
}

/// The maps of a plan that are not given, made where the tensors lie.
pub(crate) fn derive<const D: usize>(
    loss: &Loss,
    logits: &Tensor<D>,
    target: &BurnTarget,
    plan: &Plan,
) -> Result<Vec<DerivedMap>, LossError> {
    let flex = contiguous(primitive(logits.clone()).ok_or_else(|| no_kernel(logits))?);
    let host = HostTarget::new(target, loss)?;
    let problem = host.problem(&flex.shape())?;
    let derived = by_type!(flex, |values: &[E]| problem.derive::<E>(values, plan), else unreadable_logits(&flex))?;
    Ok(derived.into_iter().map(|(_, map)| map).collect())
}

/// Total and parts; the backward is hand-written.
pub(crate) fn forward<const D: usize>(
    loss: &Loss,
    logits: &Tensor<D>,
    target: &BurnTarget,
    program: Arc<Program>,
    inputs: &Inputs,
) -> Result<Evaluation<Tensor<1>>, LossError> {
    let flex = contiguous(primitive(logits.clone()).ok_or_else(|| no_kernel(logits))?);
    let host = HostTarget::new(target, loss)?;
    let statistics = statistics(&flex, &host.problem(&flex.shape())?, program.plan())?;
    let outputs = program.evaluate(&statistics, inputs)?;
    let scalars = outputs.scalars().copied().collect();
    let result = result_type(flex.dtype());
    let call = CallState { program, target: host, statistics, inputs: inputs.clone(), outputs: scalars, result };
    let packed = Dispatch::attach(logits.clone().into_dispatch(), Call(Arc::new(call)));
    let packed = Tensor::<1>::from_dispatch(packed);
    let mut at = 0;
    outputs.try_map(|_| {
        at += 1;
        Ok(packed.clone().slice(at - 1..at))
    })
}
