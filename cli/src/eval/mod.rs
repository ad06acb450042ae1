//! `segloss eval`: a loss on arrays from files.

mod arrays;
mod compute;
mod decided;
mod elements;
mod input;
#[cfg(feature = "tch")]
mod libtorch;
mod pixels;
mod probabilities;
mod read;
mod report;
mod shared;
mod values;

use std::path::PathBuf;

use clap::Args;
use half::{bf16, f16};
use segloss::{Argument, LossError};
use segloss_data::{Array, shown};

use self::arrays::ArrayArg;
use self::compute::{Gradient, Output, compute};
use self::elements::Elements;
use self::input::Input;
use self::report::Found;
pub(crate) use self::shared::{ArrayOptions, Arrays};
use self::values::{ActivationArg, Backend, DeviceArg, Dtype, Given, MapArg};
use crate::error::CliError;
use crate::metrics::{Definitions, USUAL};
use crate::output::{self, Console};
use crate::{npy, npz};

/// Evaluate a loss on arrays from .npy, .npz and NIfTI files, term by term and class by class
///
/// Logits have the shape [N, K, *spatial] and are float16, float32 or float64. The target is either
/// labels [N, *spatial] or [N, 1, *spatial] of any integer type or bool, or one-hot integers [N, K,
/// *spatial], or soft targets [N, K, *spatial] of a float type, which under softmax add up to 1.
/// The loss is computed in the type of the logits unless --dtype says otherwise: float64 logits in
/// float64.
///
/// FILE.npz:NAME is an array of an archive; one that holds a single array needs no name. NIfTI is
/// one sample, its axes in the order [Z, Y, X]: labels [X, Y, Z] become [1, Z, Y, X], and logits
/// [X, Y, Z, K] become [1, K, Z, Y, X]. Beside NIfTI, other arrays may lack the axis of samples.
///
/// "soft Dice" is of probabilities. --metrics adds scores of what the logits decide for, by the
/// definitions of `segloss metrics`: the class of the largest logit, or under sigmoid each class
/// whose logit is above 0, against a target of labels.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
#[command(mut_group("Definitions", |group| group.requires("metrics")))]
#[command(after_help = "Examples:
  segloss eval --loss ce+dice --logits Z.npy --target Y.npy
  segloss eval --loss 'ce + 0.5 * l1(temperature=10)' --logits Z.npy --target Y.npy --ignore-index 255 --json
  segloss eval --loss focal --activation sigmoid --logits Z.npy --target Y.npy --grad G.npy
  segloss eval --loss ce --logits case7.npz:probabilities --from probabilities --target case7.nii.gz
  segloss eval --loss ce+dice --logits Z.npy --target Y.npy --elements E.npz
  segloss eval --loss ce+dice --logits Z.npy --target Y.npy --metrics dice,size_error,hd95
  segloss eval --loss 'dice + 0.01 * boundary' --logits Z.npy --target Y.npy --spacing 3,0.8,0.8")]
pub(crate) struct EvalArgs {
    /// The loss, as text or by name (see `segloss losses`)
    #[arg(long, value_name = "SPEC")]
    loss: String,
    /// Array of logits
    #[arg(long, value_name = "Z.npy")]
    logits: ArrayArg,
    /// Array of labels, one-hot integers or soft targets
    #[arg(long, value_name = "Y.npy")]
    target: ArrayArg,
    /// Array of pixel weights >= 0, [N, *spatial] or [N, 1, *spatial]
    #[arg(long, value_name = "W.npy")]
    weights: Option<ArrayArg>,
    /// What the array of logits holds: logits, or probabilities, of which logits are made
    #[arg(long, value_enum, default_value_t = Given::Logits)]
    from: Given,
    /// Distance of neighbouring pixels along each spatial axis, for losses of distances [default:
    /// that of a NIfTI file, else 1]
    #[arg(long, value_name = "D,H,W", value_delimiter = ',')]
    spacing: Vec<f64>,
    /// Array that the loss reads under a name, [N, K, *spatial] or [N, 1, *spatial], such as
    /// signed_distances of `boundary`; may be given more than once
    #[arg(long, value_name = "NAME=M.npy")]
    map: Vec<MapArg>,
    /// Backend to compute with
    #[arg(long, value_enum, default_value_t = Backend::Ndarray)]
    backend: Backend,
    /// Device of the backend tch: cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceArg::Cpu)]
    device: DeviceArg,
    /// How logits become probabilities; one channel needs sigmoid [default: what SPEC says, else
    /// softmax]
    #[arg(long, value_enum)]
    activation: Option<ActivationArg>,
    /// A label whose pixels do not count; may be given more than once
    #[arg(long, value_name = "I", allow_negative_numbers = true)]
    ignore_index: Vec<i64>,
    /// The type that logits are converted to before anything is computed
    #[arg(long, value_enum, default_value_t = Dtype::Keep)]
    dtype: Dtype,
    /// Write the gradient of the total by the logits to this file (float64 if computed so, else
    /// float32)
    #[arg(long, value_name = "G.npy")]
    grad: Option<PathBuf>,
    /// Also values per sample and class, and with a file, written there as arrays, per pixel
    #[arg(long, value_name = "E.npz", num_args = 0..=1)]
    elements: Option<Option<PathBuf>>,
    /// Also metrics of the decided labels; names are those of `segloss metrics`, all without names
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', num_args = 0..=1, default_missing_value = USUAL)]
    metrics: Option<Vec<String>>,
    /// Most bytes of numbers that are read of one file [default: the file's length, and of
    /// compressed files 4 GiB]
    #[arg(long, value_name = "BYTES")]
    limit: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    definitions: Definitions,
}

/// Runs it.
pub(crate) fn run(args: &EvalArgs, console: &mut Console) -> Result<(), CliError> {
    let settings = args.metrics.as_ref().map(|names| args.definitions.settings(names)).transpose()?;
    let input = args.read()?;
    args.check_outputs()?;
    let dtype = args.dtype.or(&input.logits);
    let run = |input: &Input| match dtype {
        Dtype::F64 => compute::<f64>(input),
        Dtype::F16 => compute::<f16>(input),
        Dtype::Bf16 => compute::<bf16>(input),
        Dtype::F32 | Dtype::Keep => compute::<f32>(input),
    };
    let Output { evaluation, gradient, tables, pixels } =
        run(&input).map_err(|error| args.beyond(dtype, &input.logits, error))?;
    let elements = match tables {
        Some(tables) => {
            let samples = match input.logits.shape()[0] {
                1 => vec![evaluation.clone()],
                samples => {
                    let alone = (0..samples).map(|n| run(&input.sample(n)).map(|output| output.evaluation));
                    alone.collect::<Result<_, _>>()?
                }
            };
            Some(Elements { samples, tables, pixels: pixels.unwrap_or_default() })
        }
        None => None,
    };
    if let (Some(path), Some(gradient)) = (&args.grad, &gradient) {
        match gradient {
            Gradient::F32(gradient) => npy::write(path, gradient.view())?,
            Gradient::F64(gradient) => npy::write(path, gradient.view())?,
        }
    }
    if let (Some(Some(path)), Some(elements)) = (&args.elements, &elements) {
        npz::write(path, &elements.arrays(&evaluation))?;
    }
    let metrics = settings.map(|settings| decided::scores(&input, &settings)).transpose()?;
    let found = Found { evaluation: &evaluation, elements: elements.as_ref(), metrics: metrics.as_ref() };
    let text = if args.json { report::json(&input, dtype, &found)? } else { args.text(&input, dtype, &found) };
    console.line(&text)
}

impl EvalArgs {
    /// Refuses a place for results where they cannot go, or where an input is.
    fn check_outputs(&self) -> Result<(), CliError> {
        let maps = self.map.iter().map(|map| ("map", &map.array.path));
        let weights = self.weights.iter().map(|weights| ("weights", &weights.path));
        let inputs = [("logits", &self.logits.path), ("target", &self.target.path)].into_iter().chain(weights).chain(maps);
        let outputs = [("grad", self.grad.as_ref()), ("elements", self.elements.as_ref().and_then(Option::as_ref))];
        for (option, path) in outputs {
            let Some(path) = path else { continue };
            let same =
                |other: &PathBuf| path.canonicalize().is_ok_and(|path| other.canonicalize().is_ok_and(|other| path == other));
            let refuse = |expected| Err(CliError::Option { option, value: shown(path), expected });
            if let Some((name, _)) = inputs.clone().find(|(_, input)| same(input)) {
                return refuse(format!("would overwrite the file of --{name}"));
            }
            if option == "elements" && !path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npz")) {
                return refuse("arrays of several names go into a file that ends in .npz".into());
            }
            output::check_writable(path)?;
        }
        match (&self.grad, &self.elements) {
            (Some(grad), Some(Some(elements))) if grad == elements => {
                let expected = "is the file of --grad".into();
                Err(CliError::Option { option: "elements", value: shown(elements), expected })
            }
            _ => Ok(()),
        }
    }

    /// Says of a logit that became infinite only by its conversion that it did, and names the file
    /// of any other refusal.
    fn beyond(&self, dtype: Dtype, logits: &Array, error: CliError) -> CliError {
        if let CliError::Loss(LossError::NonFiniteLogit { position, .. }) = &error {
            let logit = logits.floats().get(position.as_slice()).copied().filter(|logit| logit.is_finite());
            if let Some(logit) = logit {
                let expected = format!(
                    "logit {logit:?} at {position:?} of {} is beyond its range; take a wider type",
                    shown(&self.logits.path)
                );
                return CliError::Option { option: "dtype", value: dtype.name().into(), expected };
            }
        }
        self.locate(error)
    }

    /// Names the file that a refusal is about.
    fn locate(&self, error: CliError) -> CliError {
        let CliError::Loss(source) = error else { return error };
        let path = match &source {
            LossError::Empty { .. }
            | LossError::LogitsRank { .. }
            | LossError::TooFewClasses { .. }
            | LossError::NonFiniteLogit { .. } => Some(&self.logits.path),
            LossError::LabelOutOfRange { .. } | LossError::SharesSum { .. } => Some(&self.target.path),
            LossError::ShapeMismatch { what, .. } | LossError::ValueOutOfRange { what, .. } => match what {
                Argument::PixelWeights => self.weights.as_ref().map(|weights| &weights.path),
                Argument::Labels | Argument::OneHot | Argument::SoftTargets => Some(&self.target.path),
                _ => None,
            },
            _ => None,
        };
        match path {
            Some(path) => CliError::Refused { path: path.clone(), source: Box::new(source) },
            None => CliError::Loss(source),
        }
    }
}
