//! Logits and target for commands that read them as `segloss eval` does.

use clap::Args;
use ndarray::ArrayD;
use segloss::ndarray::Target;
use segloss::{Activation, Loss};

use super::EvalArgs;
use super::arrays::ArrayArg;
use super::input::{Input, TargetArray};
use super::values::{ActivationArg, Backend, DeviceArg, Dtype, Given};
use crate::error::CliError;
use crate::metrics::Definitions;

/// Arrays, and how they are read; a command that has these options reads a `--model` instead.
#[derive(Args, Debug)]
#[command(next_help_heading = "Logits from files")]
pub(crate) struct ArrayOptions {
    /// Array of logits, [N, K, *spatial]
    #[arg(long, value_name = "Z.npy", required_unless_present = "model", conflicts_with = "model", requires = "target")]
    logits: Option<ArrayArg>,
    /// Array of labels [N, *spatial], one-hot integers or soft targets [N, K, *spatial]
    #[arg(long, value_name = "Y.npy", required_unless_present = "model", conflicts_with = "model", requires = "logits")]
    target: Option<ArrayArg>,
    /// What the array of logits holds: logits, or probabilities, of which logits are made
    #[arg(long, value_enum, default_value_t = Given::Logits, conflicts_with = "model")]
    from: Given,
    /// Distance of neighbouring pixels along each spatial axis, for losses of distances [default:
    /// that of a NIfTI file, else 1]
    #[arg(long, value_name = "D,H,W", value_delimiter = ',', conflicts_with = "model")]
    spacing: Vec<f64>,
    /// How logits become probabilities; one channel needs sigmoid [default: what SPEC says, else
    /// softmax]
    #[arg(long, value_enum, conflicts_with = "model")]
    activation: Option<ActivationArg>,
    /// A label whose pixels do not count; may be given more than once
    #[arg(long, value_name = "I", allow_negative_numbers = true, conflicts_with = "model")]
    ignore_index: Vec<i64>,
}

/// What was read, and checked.
pub(crate) struct Arrays {
    args: EvalArgs,
    input: Input,
}

impl ArrayOptions {
    /// A loss with what the options say of it, under its name without that.
    pub(crate) fn loss(&self, spec: &str) -> Result<(String, Loss), CliError> {
        let loss: Loss = spec.parse()?;
        let name = loss.to_string();
        let loss = match self.activation {
            Some(ActivationArg::Softmax) => loss.with_activation(Activation::Softmax),
            Some(ActivationArg::Sigmoid) => loss.with_activation(Activation::Sigmoid),
            None => loss,
        };
        Ok((name, self.ignore_index.iter().fold(loss, |loss, &i| loss.with_ignore_index(i))))
    }

    /// Reads both files for losses of which this is one.
    pub(crate) fn read(&self, spec: &str) -> Result<Arrays, CliError> {
        let (Some(logits), Some(target)) = (self.logits.clone(), self.target.clone()) else {
            let expected = "is needed, with --target".into();
            return Err(CliError::Option { option: "logits", value: String::new(), expected });
        };
        let args = EvalArgs {
            loss: spec.into(),
            logits,
            target,
            weights: None,
            from: self.from,
            spacing: self.spacing.clone(),
            map: Vec::new(),
            backend: Backend::Ndarray,
            device: DeviceArg::Cpu,
            activation: self.activation,
            ignore_index: self.ignore_index.clone(),
            dtype: Dtype::F64,
            grad: None,
            elements: None,
            metrics: None,
            limit: None,
            json: false,
            definitions: Definitions::default(),
        };
        let input = args.read()?;
        Ok(Arrays { args, input })
    }
}

impl Arrays {
    /// The logits as float64.
    pub(crate) fn logits(&self) -> ArrayD<f64> {
        self.input.logits.floats()
    }

    /// The target.
    pub(crate) fn target(&self) -> Target<'_> {
        self.input.target()
    }

    /// Whether the target is labels.
    pub(crate) fn has_labels(&self) -> bool {
        matches!(self.input.target, TargetArray::Labels(_))
    }

    /// The files with what they hold, for a reader.
    pub(crate) fn files(&self) -> [String; 2] {
        EvalArgs::files(&self.input)
    }

    /// What was done with the arrays beyond reading them.
    pub(crate) fn told(&self) -> &[String] {
        &self.input.told
    }

    /// Names the file that a refusal is about.
    pub(crate) fn locate(&self, error: impl Into<CliError>) -> CliError {
        self.args.locate(error.into())
    }
}
