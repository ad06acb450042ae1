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
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Bytes, DType, FloatDType, Shape, Tensor};
use loss_core::expr::Table;
use loss_core::{Evaluation, Inputs, Loss, LossError, Plan, Program};
use loss_kernels::{HostTarget, Problem, by_type};

use crate::BurnTarget;
use crate::device::result_type;
use crate::host::{Host, OnHost};

/// The tensor below a Burn tensor, where it is Flex's.
pub(crate) fn primitive<const D: usize>(tensor: Tensor<D>) -> Option<FlexTensor> {
    tensor.without_autodiff().try_into_primitive::<Flex>().ok()
}

/// Readable in place: row-major, or copied so.
pub(crate) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

fn unreadable_logits(tensor: &FlexTensor) -> LossError {
    LossError::Unsupported { what: "logits", got: format!("{:?}", tensor.dtype()), expected: "F64, F32, F16 or BF16" }
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
    target: HostTarget<Host>,
    statistics: Vec<Table>,
    inputs: Inputs,
    outputs: Vec<f64>,
    result: DType,
}

impl CallState {
    fn pull_back(&self, logits: &FlexTensor, seeds: &[f64]) -> Result<FlexTensor, LossError> {
        let problem = self.target.problem()?;
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

/// Total and parts; the backward is hand-written.
pub(crate) fn forward<const D: usize>(
    loss: &Loss,
    logits: &Tensor<D>,
    target: &BurnTarget,
    program: Arc<Program>,
    inputs: &Inputs,
) -> Result<Evaluation<Tensor<1>>, LossError> {
    let host = OnHost::new(loss, logits, target)?;
    let statistics = host.statistics(program.plan())?;
    let outputs = program.evaluate(&statistics, inputs)?;
    let scalars = outputs.scalars().copied().collect();
    let result = result_type(logits.dtype());
    let call = CallState { program, target: host.target, statistics, inputs: inputs.clone(), outputs: scalars, result };
    let packed = Dispatch::attach(logits.clone().into_dispatch(), Call(Arc::new(call)));
    let packed = Tensor::<1>::from_dispatch(packed);
    let mut at = 0;
    outputs.try_map(|_| {
        at += 1;
        Ok(packed.clone().slice(at - 1..at))
    })
}
