//! `segloss data`: what a folder holds, before anything is trained on it.

mod options;
pub(crate) mod page;
mod text;

use std::path::PathBuf;

use clap::Args;
use segloss_data::{Dataset, Survey};

pub(crate) use self::options::{DataOptions, READING, ReadOptions};
use crate::error::CliError;
use crate::output::{self, Console};

/// Look at a folder of images and masks before training on it
///
/// Finds which images and masks go together, reads all of them, and prints sizes, types, spacing,
/// the share of each class, in how many images it occurs and how large it is there, what was left
/// out or guessed, what looks wrong, and the shares as a prior for a loss. Nothing is written
/// beside the page that --report asks for. Exit code 1 says that a file cannot be used.
///
/// Formats: PNG, JPEG, TIFF, NIfTI (.nii, .nii.gz), .npy, .npz. Layouts: images/ and masks/ or
/// labels/, NAME_image and NAME_mask side by side, train/ val/ test/, nnU-Net's imagesTr and
/// labelsTr, a folder of masks for each image. docs/data.md has them all.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
#[command(after_help = "Examples:
  segloss data vessels
  segloss data leaves --images-in original_images --masks-in binary_mask --report leaves.html
  segloss data leaves --masks-in votes --soft
  segloss data Task04_Hippocampus --group 'hippocampus_\\d+' --json")]
pub(crate) struct DataArgs {
    /// Folder of images and masks
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Write a page with pictures to this file
    #[arg(long, value_name = "OUT.html")]
    report: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: DataOptions,
}

/// Runs it.
pub(crate) fn run(args: &DataArgs, console: &mut Console) -> Result<(), CliError> {
    let options = args.options.options()?;
    if let Some(path) = &args.report {
        output::check_writable(path)?;
    }
    let dataset = Dataset::open(&args.folder, &options)?;
    let survey = watched(&dataset);
    if let Some(path) = &args.report {
        output::write_file(path, page::page(&dataset, &survey)?.as_bytes())?;
    }
    if args.json {
        console.line(&serde_json::to_string_pretty(&survey).map_err(CliError::json)?)?;
    } else {
        console.line(&text::text(&dataset, &survey))?;
        if let Some(path) = &args.report {
            console.line(&format!("\npage written to {}", segloss_data::shown(path)))?;
        }
    }
    match survey.problems.len() {
        0 => Ok(()),
        count => Err(CliError::Unusable { folder: args.folder.clone(), count }),
    }
}

/// Reads all images under a bar, which shows only on a terminal.
fn watched(dataset: &Dataset) -> Survey {
    let bar = output::bar(dataset.len(), "[{bar:32}] {percent}% {eta} left");
    let survey = dataset.survey(|done, _| bar.set_position(done as u64));
    bar.finish_and_clear();
    survey
}

/// Places of a scale of shares from 0.001 % to all, two for each power of ten.
const PLACES: usize = 10;

/// How many of these shares lie in each place of a logarithmic scale; the first has all that are
/// smaller.
fn histogram(shares: &[f64]) -> [usize; PLACES] {
    let mut places = [0; PLACES];
    for share in shares {
        let place = (2.0 * (share.max(1e-9).log10() + 5.0)).floor().clamp(0.0, (PLACES - 1) as f64);
        places[place as usize] += 1;
    }
    places
}

/// A share for a reader: enough digits for the small ones.
fn percent(share: f64) -> String {
    let value = 100.0 * share;
    if share == 0.0 {
        "0 %".into()
    } else if value >= 10.0 {
        format!("{value:.1} %")
    } else if value >= 0.1 {
        format!("{value:.2} %")
    } else {
        format!("{value:.4} %")
    }
}

/// The middle of sorted numbers.
fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { *upper } else { (sorted.get(middle.wrapping_sub(1))? + upper) / 2.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_by_hand() {
        assert_eq!([0.0, 0.31234, 0.01, 0.000123].map(percent), ["0 %", "31.2 %", "1.00 %", "0.0123 %"]);
        assert_eq!(histogram(&[1e-12, 1e-5, 0.009, 0.011, 0.5, 1.0]), [2, 0, 0, 0, 0, 1, 1, 0, 0, 2]);
        assert_eq!(
            (median(&[]), median(&[1.0]), median(&[1.0, 2.0]), median(&[1.0, 2.0, 9.0])),
            (None, Some(1.0), Some(1.5), Some(2.0))
        );
    }
}
