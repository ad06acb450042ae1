//! The conformance suite on the kernels of CUDA, compiled for the CPU.

mod shim;

use std::process::ExitCode;
use std::sync::LazyLock;

use backend_tch::cuda::{Compiler, evaluate_by, forward_by};
use conformance_tests::adapters::Tch;
use conformance_tests::{Adapter, Dtype, Input, Labels, Output};
use loss_core::{Evaluation, Loss, LossError};
use shim::Shim;

static COMPILER: LazyLock<Compiler> = LazyLock::new(|| Shim::compiler(7));

struct OnCpu;

impl Adapter for OnCpu {
    fn name(&self) -> &'static str {
        "tch-cuda-on-cpu"
    }

    fn versions(&self) -> String {
        Tch::FUSED.versions()
    }

    fn known_differences(&self) -> &'static str {
        Tch::FUSED.known_differences()
    }

    fn reads_labels(&self, labels: Labels) -> bool {
        Tch::FUSED.reads_labels(labels)
    }

    /// As on a device.
    fn checks_values(&self) -> bool {
        false
    }

    /// A thread at a time takes long.
    fn largest_case(&self) -> Option<usize> {
        Some(500_000)
    }

    fn value_and_gradient(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Output, LossError> {
        Tch::FUSED.value_and_gradient_by(input, dtype, |logits, target| forward_by(&COMPILER, loss, logits, target))
    }

    fn evaluate(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Evaluation, LossError> {
        let (logits, target) = Tch::FUSED.tensors(input, dtype)?;
        evaluate_by(&COMPILER, loss, &logits, &target)
    }
}

fn main() -> ExitCode {
    conformance_tests::run(&[&OnCpu])
}
