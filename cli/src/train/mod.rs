//! `segloss train`: a small U-Net on the CPU, with the parts of its loss in view.

mod augment;
mod begin;
pub(crate) mod canvas;
mod checkpoint;
mod checkpoints;
pub(crate) mod data;
pub(crate) mod device;
mod exact;
pub(crate) mod folder;
pub(crate) mod network;
mod notes;
mod patches;
mod pictures;
mod plot;
pub(crate) mod predictions;
pub(crate) mod report;
mod results;
mod run;
pub(crate) mod run_file;
pub(crate) mod space;
mod state;
mod synthetic;
pub(crate) mod validation;
mod watch;
pub(crate) mod weights;
mod windows;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::TensorReadError;
use clap::Args;
use segloss::Loss;

use self::augment::Augment;
use self::begin::Resumed;
use self::checkpoints::Checkpoints;
use self::data::Dataset;
use self::device::DeviceName;
use self::run::Settings;
use self::space::Spacing;
use self::state::State;
use self::watch::Watcher;
use crate::data::DataOptions;
use crate::error::CliError;
use crate::output::{self, Console};

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
    loss: String,
    /// Folder of images and masks; made-up lesions without it
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Passes over the training images [default: 40, with --data 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    epochs: Option<u32>,
    /// Seed of everything random; the same seed gives the same metrics
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "segloss-train")]
    out: PathBuf,
    /// Greatest learning rate
    #[arg(long = "lr", value_name = "RATE", default_value_t = 0.005)]
    learning_rate: f64,
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
    images: u32,
    /// Where to compute
    #[arg(long, value_enum, default_value_t)]
    device: DeviceName,
    /// Go on after the last epoch of a run in DIR that was stopped or killed: the same command with
    /// --resume ends in the same numbers as a run without a stop. A greater --epochs is allowed
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    reading: DataOptions,
}

/// Runs it.
pub(crate) fn run(args: &TrainArgs, console: &mut Console) -> Result<(), CliError> {
    let loss: Loss = args.loss.parse()?;
    args.check()?;
    let device = args.device.device()?;
    let mut checkpoints = Checkpoints::of(&args.out);
    let found = if args.resume {
        args.device.check_resume()?;
        checkpoints.newest()?
    } else {
        checkpoints.refuse_unfinished()?;
        None
    };
    let dataset = match &args.data {
        Some(folder) => folder::dataset(folder, &args.reading.options()?, args.spacing()?)?,
        None => synthetic::dataset(args.images as usize, args.seed),
    };
    let settings = args.settings(&dataset)?;
    let loss = fitting(loss, &dataset)?;
    let asked = begin::asked(&dataset, &loss, &settings, args.device);
    let loss_notes = notes::of_run(&loss, &dataset)?;
    let Resumed { state, notes } = if args.resume {
        begin::resume(found, &mut checkpoints, &asked, &dataset, &settings, &device)?
    } else {
        Resumed { state: State::new(&dataset, &settings, &device), notes: Vec::new() }
    };
    output::prepare_folder(&args.out)?;
    let told: Vec<String> = notes.into_iter().chain(loss_notes.iter().map(ToString::to_string)).collect();
    introduce(&loss, &dataset, &settings, &told, console)?;

    let stop = Arc::new(AtomicBool::new(false));
    watch::listen_for_ctrl_c(&stop);
    let mut watcher = Watcher::new(&settings, loss.activation(), asked, &mut checkpoints, console);
    let outcome = run::train(&dataset, &loss, &settings, state, &stop, &mut watcher)?;
    watcher.finish();
    // Ctrl-C during what follows means it: saving takes a moment only.
    let words = args.augment(dataset.volumes)?.0;
    let run_file = results::run_file(&loss, &dataset, &settings, words, &loss_notes, &outcome)?;
    let saved = results::save(&args.out, &loss, &dataset, &run_file, &outcome)?;
    results::conclude(&args.out, &dataset, &outcome, &checkpoints, &saved, console)
}

impl TrainArgs {
    /// What clap cannot say about numbers.
    fn check(&self) -> Result<(), CliError> {
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
    fn augment(&self, volumes: bool) -> Result<(&str, Augment), CliError> {
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

    fn settings(&self, dataset: &Dataset) -> Result<Settings, CliError> {
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

/// The loss for these images, if it can learn from them.
fn fitting(loss: Loss, dataset: &Dataset) -> Result<Loss, CliError> {
    let soft = dataset.train.iter().any(|picture| matches!(picture.truth, data::Truth::Shares(_)));
    if dataset.overlapping && loss.activation() != segloss::Activation::Sigmoid {
        let reason = "classes overlap, which softmax cannot predict; add `with activation=sigmoid` to --loss, or give masks of \
                      one file whose values are the classes";
        return Err(CliError::Folder { path: dataset.origin.clone().into(), reason: reason.into() });
    }
    // Shares have no value that means ignored.
    Ok(if soft { loss } else { loss.with_ignore_index(i64::from(data::IGNORED)) })
}

fn introduce(
    loss: &Loss,
    dataset: &Dataset,
    settings: &Settings,
    notes: &[String],
    console: &mut Console,
) -> Result<(), CliError> {
    let shares = Dataset::shares(&dataset.train, dataset.classes);
    let shares: Vec<String> = shares.iter().map(|share| format!("{:.2} %", 100.0 * share)).collect();
    let Settings { epochs, steps, batch, seed, .. } = settings;
    let [slices, rows, columns] = settings.patch;
    let patch = if dataset.volumes { format!("{columns}x{rows}x{slices}") } else { format!("{columns}x{rows}") };
    console.line(&format!("loss      {loss}"))?;
    console.line(&format!(
        "images    {}: {} to train on, {} to validate with",
        dataset.origin,
        dataset.train.len(),
        dataset.validation.len()
    ))?;
    console.line(&format!("classes   {}, of {} of the training pixels", dataset.classes, shares.join(", ")))?;
    for note in dataset.notes.iter().chain(notes) {
        console.line(&format!("note      {note}"))?;
    }
    console.line(&format!("training  {epochs} epochs of {steps} steps of {batch} patches, {patch}; seed {seed}"))?;
    console.line("")
}

/// Reading numbers out of a tensor does not fail on the CPU; if it does, it is said rather than
/// panicked about.
fn read_failure(error: TensorReadError) -> CliError {
    CliError::Tensor(error.to_string())
}
