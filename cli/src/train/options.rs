//! What `segloss train` is asked for.

use std::path::PathBuf;

use clap::Args;

use super::augment::Augment;
use super::data::Dataset;
use super::device::DeviceName;
use super::run::Settings;
use super::space::Spacing;
use super::synthetic::{self, Lesions};
use super::{folder, network};
use crate::data::DataOptions;
use crate::error::CliError;

/// Train a small U-Net and watch what each part of the loss does
///
/// Without --data, images of small bright lesions are made up. With it, pictures or volumes and
/// their masks are read from FOLDER, in all the formats and layouts that `segloss data` reads; look
/// at it with that command first. Images called val validate, else those called test; where nothing
/// is called so, the last quarter by name is held out.
///
/// Volumes get 3-D patches and convolutions. They are turned and resampled to a common grid for the
/// network, and predicted and judged on their own. docs/training.md has it all.
///
/// DIR receives metrics.csv, metrics.png, pictures.png, run.json and the weights in the format
/// safetensors: model.safetensors after the last epoch, best.safetensors after that with the
/// greatest Dice on the validation images. `segloss predict` uses them. Of volumes it receives
/// predictions/NAME.nii.gz of those that validate. Ctrl-C ends the run early and saves the same.
/// After every epoch the run is kept in DIR/checkpoints for --resume.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
#[command(after_help = "Examples:
  segloss train
  segloss train --loss 'ce + 0.5 * l1(temperature=10)' --seed 3 --out runs/l1
  segloss train --loss CE+LogDice --data vessels --epochs 12
  segloss train --loss CE+LogDice --data vessels --epochs 12 --resume
  segloss train --data leaves --images-in original_images --masks-in binary_mask
  segloss train --data Task04_Hippocampus --patch 32 --rare 0.5 --augment intensity,scale
  segloss train --data leaves --images-in original_images --masks-in votes --soft
  segloss train --loss 'ce + grow(1, factor=5, every=10, cap=100) * l1'")]
pub(crate) struct TrainArgs {
    /// The loss, as text or by name (see `segloss losses`)
    #[arg(long, value_name = "SPEC", default_value = "ce + dice + l1")]
    pub(crate) loss: String,
    /// Folder of images and masks; made-up lesions without it
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Passes over the training images [default: 40, with --data 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    epochs: Option<u32>,
    /// Seed of everything random; the same seed gives the same metrics
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "segloss-train")]
    pub(crate) out: PathBuf,
    /// Greatest learning rate
    #[arg(long = "lr", value_name = "RATE", default_value_t = 0.005)]
    pub(crate) learning_rate: f64,
    /// Patches in a batch
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,
    /// Side of a patch in pixels, a multiple of 4, or of volumes slices,rows,columns [default: 64,
    /// with --data 128, of volumes 32]
    #[arg(long, value_name = "PIXELS")]
    patch: Option<String>,
    /// Share of the patches, 0 to 1, whose middle is a pixel of a class drawn from those of the
    /// image, so that rare classes are seen; the others are anywhere [default: 0, with --data 0.33]
    #[arg(long, value_name = "SHARE")]
    rare: Option<f64>,
    /// Random changes of patches: flips (along all axes) or flips:x, flips:y, flips:z; turns (rows
    /// and columns exchanged); intensity; scale; or none [default: flips,turns, of volumes
    /// intensity,scale]
    #[arg(long, value_name = "WORDS")]
    augment: Option<String>,
    /// Millimetres between neighbours that volumes are resampled to: one number, or
    /// slices,rows,columns; or own [default: the median of the images to learn from]
    #[arg(long, value_name = "MM", requires = "data")]
    spacing: Option<String>,
    /// Steps in an epoch [default: as many as cover the images once, at most 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    steps: Option<u32>,
    /// Channels of the network's first level, a multiple of 4
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(4..=128))]
    width: u32,
    /// Made-up images to train on; a quarter as many validate
    #[arg(
        long, value_name = "N", default_value_t = 160, conflicts_with = "data",
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    pub(crate) images: u32,
    /// Share of each made-up image that is lesion, in percent: one number, or LOW:HIGH, between
    /// which the images' shares lie evenly by their logarithm [default: one to three small lesions,
    /// some 2.4 % of the pixels]
    #[arg(long, value_name = "PERCENT", conflicts_with = "data")]
    lesions: Option<Lesions>,
    /// Where to compute
    #[arg(long, value_enum, default_value_t)]
    pub(crate) device: DeviceName,
    /// Go on after the last epoch of a run in DIR that was stopped or killed: the same command with
    /// --resume ends in the same numbers as a run without a stop. A greater --epochs is allowed
    #[arg(long)]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) reading: DataOptions,
}

impl TrainArgs {
    /// The images to learn from and to be judged by, of which so many are made up.
    pub(crate) fn dataset(&self, validation: usize) -> Result<Dataset, CliError> {
        match &self.data {
            Some(folder) => folder::dataset(folder, &self.reading.options()?, self.spacing()?),
            None => Ok(synthetic::dataset([self.images as usize, validation], self.seed, self.lesions)),
        }
    }

    /// Made-up images to validate with.
    pub(crate) fn validation_images(&self) -> usize {
        (self.images as usize).div_ceil(4)
    }

    /// What clap cannot say about numbers.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        let refuse = |option, value: String, expected: &str| Err(CliError::Option { option, value, expected: expected.into() });
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return refuse("lr", self.learning_rate.to_string(), "must be above 0 and at most 1");
        }
        if !(self.width as usize).is_multiple_of(network::STRIDE) {
            return refuse("width", self.width.to_string(), "must be a multiple of 4");
        }
        if let Some(share) = self.rare.filter(|share| !(0.0..=1.0).contains(share)) {
            return refuse("rare", share.to_string(), "must be from 0 to 1");
        }
        self.spacing()?;
        self.augment(false)?;
        // What the images are is known once they are read.
        if self.patch(true).is_err() {
            self.patch(self.patch.as_ref().is_some_and(|text| text.contains(',')))?;
        }
        Ok(())
    }

    fn spacing(&self) -> Result<Spacing, CliError> {
        let text = self.spacing.as_deref();
        let read = text.map(Spacing::of).transpose();
        read.map(Option::unwrap_or_default).map_err(|expected| CliError::Option {
            option: "spacing",
            value: text.unwrap_or_default().into(),
            expected,
        })
    }

    /// The words of `--augment`, and what they mean. Bodies have a left, a front and a top, so that
    /// volumes are not mirrored unless told.
    pub(super) fn augment(&self, volumes: bool) -> Result<(&str, Augment), CliError> {
        let words = self.augment.as_deref().unwrap_or(if volumes { "intensity,scale" } else { "flips,turns" });
        let refuse = |expected| CliError::Option { option: "augment", value: words.into(), expected };
        Augment::of(words).map(|augment| (words, augment)).map_err(refuse)
    }

    /// Size of a patch, [D, H, W].
    fn patch(&self, volumes: bool) -> Result<[usize; 3], CliError> {
        let Some(text) = &self.patch else {
            return Ok(match (volumes, &self.data) {
                (true, _) => [32; 3],
                (false, Some(_)) => [1, 128, 128],
                (false, None) => [1, 64, 64],
            });
        };
        let refuse = |expected: &str| CliError::Option { option: "patch", value: text.clone(), expected: expected.into() };
        let numbers: Result<Vec<usize>, _> = text.split(',').map(|number| number.trim().parse::<usize>()).collect();
        let sides = match (numbers.as_deref(), volumes) {
            (Ok([side]), true) => [*side; 3],
            (Ok([side]), false) => [1, *side, *side],
            (Ok([d, h, w]), true) => [*d, *h, *w],
            (Ok([_, _, _]), false) => return Err(refuse("pictures have one side, such as 128; three are for volumes")),
            _ => return Err(refuse("expected a number of pixels, or three for volumes: slices,rows,columns")),
        };
        let sound = |(axis, side): (usize, &usize)| {
            let least = if volumes { 8 } else { 16 };
            (!volumes && axis == 0) || (side.is_multiple_of(network::STRIDE) && (least..=1024).contains(side))
        };
        if !sides.iter().enumerate().all(sound) {
            return Err(refuse(if volumes {
                "must be multiples of 4 from 8 to 1024"
            } else {
                "must be a multiple of 4 from 16 to 1024"
            }));
        }
        Ok(sides)
    }

    pub(crate) fn settings(&self, dataset: &Dataset) -> Result<Settings, CliError> {
        let real = self.data.is_some();
        let patch = self.patch(dataset.volumes)?;
        let batch = self.batch as usize;
        let pixels: usize = dataset.train.iter().map(|p| p.size().iter().product::<usize>()).sum();
        let cover = pixels.div_ceil(batch * patch.iter().product::<usize>()).clamp(1, 64);
        Ok(Settings {
            epochs: self.epochs.unwrap_or(if real { 8 } else { 40 }) as usize,
            steps: self.steps.map_or(cover, |n| n as usize),
            batch,
            patch,
            rare: self.rare.unwrap_or(if real { 0.33 } else { 0.0 }),
            augment: self.augment(dataset.volumes)?.1,
            width: self.width as usize,
            learning_rate: self.learning_rate,
            seed: self.seed,
        })
    }
}
