//! `segloss eval`: a loss on arrays from files.

mod compute;
#[cfg(feature = "tch")]
mod libtorch;
mod shared;

use std::fmt::{Display, Formatter};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use half::{bf16, f16};
use ndarray::ArrayD;
use segloss::{Activation, Argument, Detail, Evaluation, Geometry, Loss, LossError, Map, Role, Split, SplitOf, TargetKind};
use serde::Serialize;

use self::compute::{Gradient, compute};
pub(crate) use self::shared::{ArrayOptions, Arrays};
use crate::error::CliError;
use crate::npy::{self, Array};
use crate::output::{self, Console};
use crate::table::{Table, decimal, fine};

/// Evaluate a loss on arrays from .npy files, term by term and class by class
///
/// Logits have the shape [N, K, *spatial] and are float16, float32 or float64. The target is either
/// labels [N, *spatial] of any integer type, or soft targets [N, K, *spatial] of a float type. The
/// loss is computed in the type of the logits unless --dtype says otherwise: float64 logits in
/// float64.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
#[command(after_help = "Examples:
  segloss eval --loss ce+dice --logits Z.npy --target Y.npy
  segloss eval --loss 'ce + 0.5 * l1(temperature=10)' --logits Z.npy --target Y.npy --ignore-index 255 --json
  segloss eval --loss focal --activation sigmoid --logits Z.npy --target Y.npy --grad G.npy
  segloss eval --loss 'dice + 0.01 * boundary' --logits Z.npy --target Y.npy --spacing 3,0.8,0.8")]
pub(crate) struct EvalArgs {
    /// The loss, as text or by name (see `segloss losses`)
    #[arg(long, value_name = "SPEC")]
    loss: String,
    /// Array of logits
    #[arg(long, value_name = "Z.npy")]
    logits: PathBuf,
    /// Array of labels or soft targets
    #[arg(long, value_name = "Y.npy")]
    target: PathBuf,
    /// Array of pixel weights >= 0, [N, *spatial]
    #[arg(long, value_name = "W.npy")]
    weights: Option<PathBuf>,
    /// Distance of neighbouring pixels along each spatial axis, for losses of distances [default:
    /// 1]
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
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Backend {
    Ndarray,
    Burn,
    Tch,
}

/// Where LibTorch computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeviceArg {
    Cpu,
    Cuda(usize),
}

impl FromStr for DeviceArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", n)) => n.parse().map(Self::Cuda).map_err(|_| "expected cpu or cuda:N".into()),
            _ => Err("expected cpu or cuda:N".into()),
        }
    }
}

impl Display for DeviceArg {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

/// A map and the file that it is read from.
#[derive(Clone, Debug)]
struct MapArg {
    name: String,
    path: PathBuf,
}

impl FromStr for MapArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok(Self { name: name.into(), path: path.into() }),
            _ => Err("expected NAME=FILE".into()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ActivationArg {
    Softmax,
    Sigmoid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dtype {
    Keep,
    F32,
    F64,
    F16,
    Bf16,
}

/// Everything that was read.
struct Input {
    loss: Loss,
    logits: Array,
    target: TargetArray,
    weights: Option<ArrayD<f64>>,
    spacing: Option<Vec<f64>>,
    maps: Vec<(String, ArrayD<f64>)>,
    backend: Backend,
    /// Read by LibTorch only.
    #[cfg_attr(not(feature = "tch"), expect(dead_code))]
    device: DeviceArg,
    gradient: bool,
}

/// A target in one of the types that all backends read.
enum TargetArray {
    Labels(ArrayD<i64>),
    Soft(ArrayD<f64>),
}

/// Runs it.
pub(crate) fn run(args: &EvalArgs, console: &mut Console) -> Result<(), CliError> {
    let input = args.read()?;
    args.check_grad()?;
    let dtype = args.dtype.or(&input.logits);
    let result = match dtype {
        Dtype::F64 => compute::<f64>(&input),
        Dtype::F16 => compute::<f16>(&input),
        Dtype::Bf16 => compute::<bf16>(&input),
        Dtype::F32 | Dtype::Keep => compute::<f32>(&input),
    }
    .map_err(|error| args.beyond(dtype, &input.logits, error))?;
    if let (Some(path), Some(gradient)) = (&args.grad, &result.gradient) {
        match gradient {
            Gradient::F32(gradient) => npy::write(path, gradient.view())?,
            Gradient::F64(gradient) => npy::write(path, gradient.view())?,
        }
    }
    let text = if args.json { json(&input, dtype, &result.evaluation)? } else { args.text(&input, dtype, &result.evaluation) };
    console.line(&text)
}

impl EvalArgs {
    fn read(&self) -> Result<Input, CliError> {
        let loss: Loss = self.loss.parse()?;
        if self.backend != Backend::Tch && self.device != DeviceArg::Cpu {
            let expected = "goes with --backend tch".into();
            return Err(CliError::Option { option: "device", value: self.device.to_string(), expected });
        }
        let loss = match self.activation {
            Some(ActivationArg::Softmax) => loss.with_activation(Activation::Softmax),
            Some(ActivationArg::Sigmoid) => loss.with_activation(Activation::Sigmoid),
            None => loss,
        };
        let activation = loss.activation();
        let loss = self.ignore_index.iter().fold(loss, |loss, &i| loss.with_ignore_index(i));
        let logits = npy::read(&self.logits)?;
        if !logits.is_float() {
            return Err(CliError::WrongDtype {
                path: self.logits.clone(),
                what: "logits",
                expected: "float16, float32 or float64",
                found: logits.dtype().into(),
            });
        }
        let target = npy::read(&self.target)?;
        let target = match target.integers() {
            Some(labels) => TargetArray::Labels(labels),
            None if target.shape().len() + 1 == logits.shape().len() => {
                return Err(CliError::WrongDtype {
                    path: self.target.clone(),
                    what: "labels [N, *spatial]",
                    expected: "integers (floats are soft targets [N, K, *spatial])",
                    found: format!("{} of shape {:?}", target.dtype(), target.shape()),
                });
            }
            None => TargetArray::Soft(target.floats()),
        };
        let weights = self.weights.as_deref().map(npy::read).transpose()?.map(|weights| weights.floats());
        // Before the arrays are handed to a backend, so that every backend says the same.
        let (kind, shape) = match &target {
            TargetArray::Labels(labels) => (TargetKind::Labels, labels.shape()),
            TargetArray::Soft(shares) => (TargetKind::Soft, shares.shape()),
        };
        Geometry::new(logits.shape(), (kind, shape), weights.as_ref().map(ArrayD::shape), activation)
            .map_err(|error| self.locate(error.into()))?;
        let spacing = (!self.spacing.is_empty()).then(|| self.spacing.clone());
        if let Some(spacing) = &spacing {
            Geometry::spacing_fits(logits.shape(), spacing)?;
        }
        let mut maps = Vec::new();
        for MapArg { name, path } in &self.map {
            let map = npy::read(path)?.floats();
            Geometry::map_fits(logits.shape(), map.shape())
                .map_err(|source| CliError::Refused { path: path.clone(), source })?;
            maps.push((name.clone(), map));
        }
        let program = loss.program(logits.shape()[1], Detail::Total)?;
        if let Some((name, _)) = maps.iter().find(|(name, _)| program.plan().maps().iter().all(|map| map.name() != name)) {
            let read: Vec<&str> = program.plan().maps().iter().map(Map::name).collect();
            let read = if read.is_empty() { "none".to_owned() } else { read.join(", ") };
            let expected = format!("the loss reads no map of this name; it reads {read}");
            return Err(CliError::Option { option: "map", value: name.clone(), expected });
        }
        let (backend, device, gradient) = (self.backend, self.device, self.grad.is_some());
        Ok(Input { loss, logits, target, weights, spacing, maps, backend, device, gradient })
    }

    /// Refuses a place for the gradient where it cannot go, or where an input is.
    fn check_grad(&self) -> Result<(), CliError> {
        let Some(grad) = &self.grad else { return Ok(()) };
        let maps = self.map.iter().map(|map| ("map", Some(&map.path)));
        let inputs = [("logits", Some(&self.logits)), ("target", Some(&self.target)), ("weights", self.weights.as_ref())];
        let inputs = inputs.into_iter().chain(maps);
        let same = |path: &PathBuf| grad.canonicalize().is_ok_and(|grad| path.canonicalize().is_ok_and(|path| path == grad));
        if let Some((name, _)) = inputs.into_iter().find(|(_, path)| path.is_some_and(same)) {
            let expected = format!("would overwrite the file of --{name}");
            return Err(CliError::Option { option: "grad", value: grad.display().to_string(), expected });
        }
        output::check_writable(grad)
    }

    /// Says of a logit that became infinite only by its conversion that it did, and names the file
    /// of any other refusal.
    fn beyond(&self, dtype: Dtype, logits: &Array, error: CliError) -> CliError {
        if let CliError::Loss(LossError::NonFiniteLogit { position, .. }) = &error {
            let logit = logits.floats().get(position.as_slice()).copied().filter(|logit| logit.is_finite());
            if let Some(logit) = logit {
                let expected = format!("logit {logit:?} at {position:?} of {} is beyond its range", self.logits.display());
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
            | LossError::NonFiniteLogit { .. } => Some(&self.logits),
            LossError::LabelOutOfRange { .. } => Some(&self.target),
            LossError::ShapeMismatch { what, .. } | LossError::ValueOutOfRange { what, .. } => match what {
                Argument::PixelWeights => self.weights.as_ref(),
                Argument::Labels | Argument::SoftTargets => Some(&self.target),
                _ => None,
            },
            _ => None,
        };
        match path {
            Some(path) => CliError::Refused { path: path.clone(), source },
            None => CliError::Loss(source),
        }
    }

    /// Logits and target with what their files hold.
    fn files(&self, input: &Input) -> [String; 2] {
        let name = |path: &Path| path.display().to_string();
        let target = match &input.target {
            TargetArray::Labels(labels) => format!("labels {:?}", labels.shape()),
            TargetArray::Soft(shares) => format!("soft {:?}", shares.shape()),
        };
        let logits = format!("{}  {} {:?}", name(&self.logits), input.logits.dtype(), input.logits.shape());
        [logits, format!("{}  {target}", name(&self.target))]
    }

    fn text(&self, input: &Input, dtype: Dtype, evaluation: &Evaluation) -> String {
        let [logits, target] = self.files(input);
        let mut lines = vec![format!("loss      {}", input.loss)];
        lines.push(format!("logits    {logits}"));
        lines.push(format!("target    {target}"));
        lines.push(format!("computed  by {} in {}, {}", input.backend.name(), dtype.name(), input.loss.activation()));
        lines.push(String::new());

        let mut terms = Table::new(["term", "role", "weight", "value", "matching", "size", "constant"]).left(2);
        let (mut logarithms, mut unsplit) = (false, false);
        for term in &evaluation.terms {
            // A linear score and its logarithm are told apart in the table.
            let logarithm = term.split.as_ref().is_some_and(|split| split.of == SplitOf::Logarithm);
            let mark = if logarithm { " *" } else { "" };
            logarithms |= logarithm;
            let part = |of: fn(&Split) -> f64, exists: bool| match &term.split {
                Some(split) if exists => fine(of(split)),
                Some(_) => String::new(),
                None => "-".to_owned(),
            };
            unsplit |= term.split.is_none();
            let inside = term.role != Role::Size;
            terms.row([
                format!("{}{mark}", term.name),
                term.role.to_string(),
                weight(term.weight),
                fine(term.value),
                part(|split| split.matching, inside),
                part(|split| split.size, true),
                part(|split| split.constant, inside),
            ]);
        }
        let blank = String::new;
        terms.row(["total".into(), blank(), blank(), fine(evaluation.total), blank(), blank(), blank()]);
        lines.push(terms.to_string());
        if logarithms {
            lines.push("  * the parts are those of the logarithmic form, -log of the score".into());
        }
        if unsplit {
            lines.push("  - no exact split into matching and size is known".into());
        }
        lines.push(String::new());

        // Under sigmoid a single channel is the foreground, not class 0.
        let index = if input.loss.activation() == Activation::Sigmoid { "channel" } else { "class" };
        let mut regions = Table::new([index, "true area", "predicted area", "soft Dice", "pressure"]);
        for region in &evaluation.regions {
            let percent = |share: f64| format!("{:.3} %", 100.0 * share);
            let pressure = evaluation.pressure.as_ref().and_then(|pressure| pressure.total.get(region.class));
            regions.row([
                region.class.to_string(),
                percent(region.target),
                percent(region.predicted),
                decimal(region.dice),
                pressure.map_or_else(String::new, |&pressure| decimal(pressure)),
            ]);
        }
        lines.push(regions.to_string());
        lines.push("  pressure > 0: a step of gradient descent shrinks the region; < 0: it grows it".into());
        if let Some(path) = &self.grad {
            lines.push(format!("\ngradient written to {}", path.display()));
        }
        lines.join("\n")
    }
}

/// A weight as short as it is.
fn weight(value: f64) -> String {
    format!("{value}")
}

/// The evaluation with what it was made by.
#[derive(Serialize)]
struct Report<'a> {
    loss: String,
    activation: String,
    backend: &'a str,
    dtype: &'a str,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
}

fn json(input: &Input, dtype: Dtype, evaluation: &Evaluation) -> Result<String, CliError> {
    let report = Report {
        loss: input.loss.to_string(),
        activation: input.loss.activation().to_string(),
        backend: input.backend.name(),
        dtype: dtype.name(),
        evaluation,
    };
    serde_json::to_string_pretty(&report).map_err(CliError::json)
}

impl Backend {
    fn name(self) -> &'static str {
        match self {
            Self::Ndarray => "ndarray",
            Self::Burn => "burn",
            Self::Tch => "tch",
        }
    }
}

impl Dtype {
    fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// The type of the logits, where none is asked for.
    fn or(self, logits: &Array) -> Self {
        match (self, logits) {
            (Self::Keep, Array::F16(_)) => Self::F16,
            (Self::Keep, Array::F64(_)) => Self::F64,
            (Self::Keep, _) => Self::F32,
            (chosen, _) => chosen,
        }
    }
}
