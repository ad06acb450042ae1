//! `segloss metrics`: what predictions are worth, image by image and over all.

mod input;
mod options;
pub(crate) mod report;
pub(crate) mod text;

use std::path::PathBuf;

use clap::Args;

use self::options::MetricOptions;
pub(crate) use self::options::{Definitions, USUAL};
use crate::error::CliError;
use crate::output::{self, Console};

/// Score predicted label maps against true ones: overlap, size, surfaces, lesions
///
/// P and T are two files or two folders. A file is one image of one to three axes, or with --batch
/// an array of several. Of folders, files of one name are compared, whatever their formats: PNG,
/// TIFF, NIfTI, .npy, .npz. Spacing comes from the files, or from --spacing; without either it is
/// 1. Labels are compared as they stand.
///
/// Where a region is empty the policy of --empty and --absent decides, and what is left out is
/// counted. docs/metrics.md has the definitions, and whose they are.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
#[command(after_help = "Examples:
  segloss metrics --prediction out --target labelsTs
  segloss metrics --prediction P.npy --target T.npy --batch --class 1,2 --json
  segloss metrics --prediction out --target masks --threshold 1 --metric dice,hd95,surface_dice@2 --csv scores.csv
  segloss metrics --prediction P.nii.gz --target T.nii.gz --surface elements --empty 100")]
pub(crate) struct MetricsArgs {
    /// Predicted label maps: a file or a folder
    #[arg(long, value_name = "P")]
    prediction: PathBuf,
    /// True label maps: a file or a folder
    #[arg(long, value_name = "T")]
    target: PathBuf,
    /// The first axis of arrays is that of images
    #[arg(long)]
    batch: bool,
    /// Score the images that have both a prediction and a target, and count the others
    #[arg(long)]
    subset: bool,
    /// Numbers from this one on are label 1, those below 0, in both maps
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// Distance of neighbouring pixels along each axis, instead of what files say
    #[arg(long, value_name = "D,H,W", value_delimiter = ',')]
    spacing: Vec<f64>,
    /// Classes to score, by label [default: all labels of the targets but 0]
    #[arg(long, value_name = "LABEL", value_delimiter = ',', allow_negative_numbers = true)]
    class: Vec<i64>,
    /// A label of the target whose pixels do not count; may be given more than once
    #[arg(long, value_name = "LABEL", allow_negative_numbers = true)]
    ignore_index: Vec<i64>,
    #[command(flatten)]
    options: MetricOptions,
    /// Write one line for each image and class to this file
    #[arg(long, value_name = "OUT.csv")]
    csv: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) fn run(args: &MetricsArgs, console: &mut Console) -> Result<(), CliError> {
    let (settings, bootstrap) = (args.options.settings()?, args.options.bootstrap()?);
    if let Some(path) = &args.csv {
        output::check_writable(path)?;
    }
    let input = input::find(args)?;
    let report = report::report(args, &input, &settings, &bootstrap)?;
    if let Some(path) = &args.csv {
        output::write_file(path, &report.csv(path)?)?;
    }
    if args.json {
        return console.line(&serde_json::to_string_pretty(&report).map_err(CliError::json)?);
    }
    console.line(&text::text(args, &report))
}
