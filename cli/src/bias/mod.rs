//! `segloss bias`: which size a loss wants, on the user's own logits.

pub(crate) mod measure;
mod picture;
pub(crate) mod text;

use std::path::PathBuf;

use clap::Args;
use segloss::{Activation, Loss, LossError};
use segloss_data::shown;
use serde::Serialize;

use self::measure::{Bias, measure};
use crate::error::CliError;
use crate::eval::{ArrayOptions, Arrays};
use crate::output::{self, Console};

/// Measure which size losses want regions to have, on logits and a target
///
/// All logits of a class are shifted by one number, which changes the size of its region and
/// nothing else. The size at which a loss is least along this shift is the size it prefers; its
/// slope now is the pressure: above 0 gradient descent shrinks the region, below 0 it grows it.
/// This works for every loss, and depends on the logits: on vague predictions most losses want
/// another size than on sharp ones. Sizes are read twice: as probability (the mean of the class's
/// probabilities) and as decisions (pixels where the class wins).
///
/// Everything is computed in float64 by ndarray, each class in some hundred evaluations.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
#[command(after_help = "Examples:
  segloss bias --logits Z.npy --target Y.npy
  segloss bias --loss ce --loss 'ce + 0.5 * l1' --logits Z.npy --target Y.npy --picture bias.png
  segloss bias --loss focal --activation sigmoid --logits Z.npy --target Y.npy --json")]
pub(crate) struct BiasArgs {
    /// A loss, as text or by name; may be given more than once [default: those that are used most]
    #[arg(long, value_name = "SPEC")]
    loss: Vec<String>,
    #[command(flatten)]
    arrays: ArrayOptions,
    /// A class to ask about; may be given more than once [default: all but class 0; under sigmoid
    /// all channels]
    #[arg(long, value_name = "K")]
    class: Vec<usize>,
    /// Draw loss and pressure over the size of each class
    #[arg(long, value_name = "OUT.png")]
    picture: Option<PathBuf>,
    /// Print JSON, with the curves
    #[arg(long)]
    json: bool,
}

/// What is measured where no loss is named.
const USUAL: [&str; 9] =
    ["ce", "dice", "ce + dice", "ce + log_dice", "focal", "ce + l1", "ce + kl", "tversky(alpha=0.3, beta=0.7)", "topk"];

/// Needs labels, and axes to measure distances along.
const OF_DISTANCES: &str = "boundary";

/// The measurement with what it was made of.
#[derive(Serialize)]
struct Report<'a> {
    logits: &'a str,
    target: &'a str,
    #[serde(flatten)]
    bias: &'a Bias,
}

/// Runs it.
pub(crate) fn run(args: &BiasArgs, console: &mut Console) -> Result<(), CliError> {
    if let Some(path) = &args.picture {
        output::check_writable(path)?;
    }
    let named = args.loss.iter().map(String::as_str);
    let mut losses: Vec<(String, Loss)> = named.map(|spec| args.arrays.loss(spec)).collect::<Result<_, _>>()?;
    let arrays = args.arrays.read(args.loss.first().map_or(USUAL[0], String::as_str))?;
    let logits = arrays.logits();
    if losses.is_empty() {
        let distances = arrays.has_labels() && (3..=5).contains(&logits.ndim());
        let usual = USUAL.into_iter().chain(distances.then_some(OF_DISTANCES));
        losses = usual.map(|spec| args.arrays.loss(spec)).collect::<Result<_, _>>()?;
    }
    let channels = logits.shape().get(1).copied().unwrap_or(1);
    let classes = args.classes(channels, &losses)?;
    let target = arrays.target();
    let bias = measure(&losses, logits.view(), &target, &classes, args.json || args.picture.is_some())
        .map_err(|error| arrays.locate(error))?;
    if let Some(path) = &args.picture {
        picture::write(path, &bias)?;
    }
    console.line(&args.shown(&arrays, &bias)?)
}

impl BiasArgs {
    /// The classes asked about.
    fn classes(&self, channels: usize, losses: &[(String, Loss)]) -> Result<Vec<usize>, CliError> {
        if let Some(&class) = self.class.iter().find(|&&class| class >= channels) {
            return Err(LossError::ClassIndex { class, classes: channels }.into());
        }
        if !self.class.is_empty() {
            let mut classes = self.class.clone();
            classes.sort_unstable();
            classes.dedup();
            return Ok(classes);
        }
        let background = losses.iter().all(|(_, loss)| loss.activation() == Activation::Softmax);
        Ok((usize::from(background)..channels).collect())
    }

    fn shown(&self, arrays: &Arrays, bias: &Bias) -> Result<String, CliError> {
        let [logits, target] = arrays.files();
        if self.json {
            let report = Report { logits: &logits, target: &target, bias };
            return serde_json::to_string_pretty(&report).map_err(CliError::json);
        }
        let mut text = text::text(&logits, &target, bias);
        if let Some(path) = &self.picture {
            text.push_str(&format!("\npicture written to {}", shown(path)));
        }
        Ok(text)
    }
}
