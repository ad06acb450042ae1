//! `segloss bias`: which size a loss wants, on the user's own logits.

pub(crate) mod batch;
mod images;
mod input;
pub(crate) mod measure;
mod page;
mod picture;
pub(crate) mod text;
mod verdict;

use std::path::PathBuf;

use clap::Args;
use segloss::{Activation, Loss, LossError};
use segloss_data::shown;
use serde::Serialize;

use self::batch::Batch;
use self::images::ModelOptions;
use self::input::{Input, Source};
use self::measure::{Bias, measure};
use crate::data::READING;
use crate::error::CliError;
use crate::eval::ArrayOptions;
use crate::output::{self, Console};

/// Measure which size losses want regions to have, on your predictions
///
/// Predictions are an array of logits beside a target, or those of a network that `segloss train`
/// left in --model on the images with masks in --data, all of which are one question. Images are
/// predicted and judged on their own grids, as by `segloss predict`; their logits are held in
/// memory, 4 bytes for each class and pixel.
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
#[command(mut_args(|arg| if arg.get_help_heading() == Some(READING) { arg.conflicts_with("logits") } else { arg }))]
#[command(after_help = "Examples:
  segloss bias --logits Z.npy --target Y.npy
  segloss bias --model segloss-train --data FOLDER --page bias.html
  segloss bias --loss ce --loss 'ce + 0.5 * l1' --logits Z.npy --target Y.npy --picture bias.png
  segloss bias --loss focal --activation sigmoid --logits Z.npy --target Y.npy --json")]
pub(crate) struct BiasArgs {
    /// A loss, as text or by name; may be given more than once [default: those that are used most]
    #[arg(long, value_name = "SPEC")]
    loss: Vec<String>,
    /// A class to ask about; may be given more than once [default: all but class 0; under sigmoid
    /// all channels]
    #[arg(long, value_name = "K")]
    class: Vec<usize>,
    /// Write a page with tables, curves and what they mean
    #[arg(long, value_name = "OUT.html")]
    page: Option<PathBuf>,
    /// Draw loss and pressure over the size of each class
    #[arg(long, value_name = "OUT.png")]
    picture: Option<PathBuf>,
    /// Print JSON, with the curves
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    arrays: ArrayOptions,
    #[command(flatten)]
    model: ModelOptions,
}

/// The measurement with what it was made of.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    source: &'a Source,
    #[serde(flatten)]
    bias: &'a Bias,
}

/// Runs it.
pub(crate) fn run(args: &BiasArgs, console: &mut Console) -> Result<(), CliError> {
    for path in [&args.picture, &args.page].into_iter().flatten() {
        output::check_writable(path)?;
    }
    let input = Input::open(args)?;
    let losses = input.losses(args)?;
    let classes = args.classes(input.classes(), &losses)?;
    let curves = args.json || args.picture.is_some() || args.page.is_some();
    let bar = output::bar(losses.len(), "measuring [{bar:32}] {percent}% {eta} left");
    let measured = measure(&losses, &input, &classes, curves, &|| bar.inc(1));
    bar.finish_and_clear();
    let mut bias = measured.map_err(|error| input.locate(error))?;
    bias.notes.retain(|note| input.tells(note));
    let source = input.source();
    if let Some(path) = &args.picture {
        picture::write(path, &bias)?;
    }
    if let Some(path) = &args.page {
        output::write_file(path, page::page(&source, &bias).as_bytes())?;
    }
    console.line(&args.shown(&source, &bias)?)
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

    fn shown(&self, source: &Source, bias: &Bias) -> Result<String, CliError> {
        if self.json {
            return serde_json::to_string_pretty(&Report { source, bias }).map_err(CliError::json);
        }
        let mut text = text::text(source, bias);
        for (what, path) in [("picture", &self.picture), ("page", &self.page)] {
            if let Some(path) = path {
                text.push_str(&format!("\n{what} written to {}", shown(path)));
            }
        }
        Ok(text)
    }
}
