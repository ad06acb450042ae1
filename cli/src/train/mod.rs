//! `segloss train`: a small U-Net on the CPU, with the parts of its loss in view.

mod augment;
pub(crate) mod canvas;
mod data;
mod folder;
mod network;
mod patches;
mod pictures;
mod plot;
mod predictions;
mod report;
mod run;
mod space;
mod synthetic;
mod validation;
mod windows;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use burn::module::Module;
use burn::tensor::{Device, TensorReadError};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use segloss::Loss;

use self::augment::Augment;
use self::data::Dataset;
use self::report::{EpochTable, RunFile};
use self::run::{End, EpochRecord, Observer, Outcome, Settings};
use self::space::Spacing;
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
/// DIR receives metrics.csv, metrics.png, pictures.png, model.bpk (weights, in Burn's own format),
/// run.json and, of volumes, predictions/NAME.nii.gz of those that validate. Ctrl-C ends the run early and saves the same.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
#[command(after_help = "Examples:
  segloss train
  segloss train --loss 'ce + 0.5 * l1(temperature=10)' --seed 3 --out runs/l1
  segloss train --loss CE+LogDice --data vessels --epochs 12
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
    #[command(flatten)]
    reading: DataOptions,
}

/// Runs it.
pub(crate) fn run(args: &TrainArgs, console: &mut Console) -> Result<(), CliError> {
    let loss: Loss = args.loss.parse()?;
    args.check()?;
    let dataset = match &args.data {
        Some(folder) => folder::dataset(folder, &args.reading.options()?, args.spacing()?)?,
        None => synthetic::dataset(args.images as usize, args.seed),
    };
    let settings = args.settings(&dataset)?;
    let loss = fitting(loss, &dataset)?;
    output::prepare_folder(&args.out)?;
    introduce(&loss, &dataset, &settings, console)?;

    let stop = Arc::new(AtomicBool::new(false));
    listen_for_ctrl_c(&stop);
    let mut watcher = Watcher::new(&settings, console);
    let outcome = run::train(&dataset, &loss, &settings, &stop, &mut watcher)?;
    watcher.bar.finish_and_clear();
    // Ctrl-C during what follows means it: saving takes a moment only.
    let words = args.augment(dataset.volumes)?.0;
    let saved = save(&args.out, &loss, &dataset, &settings, words, &outcome)?;
    conclude(&args.out, &dataset, &outcome, &saved, console)
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

fn introduce(loss: &Loss, dataset: &Dataset, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
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
    for note in &dataset.notes {
        console.line(&format!("note      {note}"))?;
    }
    console.line(&format!("training  {epochs} epochs of {steps} steps of {batch} patches, {patch}; seed {seed}"))?;
    console.line("")
}

fn listen_for_ctrl_c(stop: &Arc<AtomicBool>) {
    let stop = Arc::clone(stop);
    // Where no handler can be set, Ctrl-C ends the process as ever.
    let _ = ctrlc::set_handler(move || {
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "\nstopping after this step and saving; Ctrl-C again to leave at once");
    });
}

/// Shows a bar on a terminal and prints a line for each epoch.
struct Watcher<'a> {
    bar: ProgressBar,
    console: &'a mut Console,
    table: Option<EpochTable>,
    epochs: usize,
    steps: usize,
}

impl<'a> Watcher<'a> {
    fn new(settings: &Settings, console: &'a mut Console) -> Self {
        let bar = ProgressBar::new((settings.epochs * settings.steps) as u64);
        let style = ProgressStyle::with_template("{msg} [{bar:32}] {percent}% {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, console, table: None, epochs: settings.epochs, steps: settings.steps }
    }
}

impl Observer for Watcher<'_> {
    fn step(&mut self, epoch: usize, step: usize, total: f64) {
        self.bar.set_message(format!("epoch {}/{} loss {total:.4}", epoch + 1, self.epochs));
        self.bar.set_position((epoch * self.steps + step + 1) as u64);
    }

    fn validating(&mut self, epoch: usize) {
        self.bar.set_message(format!("epoch {}/{} validating", epoch + 1, self.epochs));
    }

    fn epoch(&mut self, record: &EpochRecord) -> Result<(), CliError> {
        let mut lines = Vec::new();
        let table = self.table.get_or_insert_with(|| {
            let table = EpochTable::new(self.epochs, record);
            lines.extend(table.heading());
            table
        });
        lines.push(table.epoch(record));
        let console = &mut *self.console;
        self.bar.suspend(|| lines.iter().try_for_each(|line| console.line(line)))
    }
}

/// Writes the results and names them.
fn save(
    out: &Path,
    loss: &Loss,
    dataset: &Dataset,
    settings: &Settings,
    words: &str,
    outcome: &Outcome,
) -> Result<Vec<&'static str>, CliError> {
    let Outcome { network, history, .. } = outcome;
    let mut saved = Vec::new();
    let [metrics, plot] = ["metrics.csv", "metrics.png"].map(|name| out.join(name));
    if history.is_empty() {
        // Those of an earlier run would not belong to the other files.
        output::remove_file(&metrics)?;
        output::remove_file(&plot)?;
    } else {
        report::write_metrics(&metrics, history, dataset.foreground())?;
        plot::write(&plot, &loss.to_string(), &dataset.origin, history)?;
        saved.extend(["metrics.csv", "metrics.png"]);
    }
    RunFile {
        segloss: env!("CARGO_PKG_VERSION"),
        loss: loss.to_string(),
        data: dataset.origin.clone(),
        training_images: dataset.train.iter().map(|p| p.name.as_str()).collect(),
        validation_images: dataset.validation.iter().map(|p| p.name.as_str()).collect(),
        channels: dataset.channels,
        classes: dataset.classes,
        width: settings.width,
        epochs: settings.epochs,
        epochs_done: history.len(),
        steps: settings.steps,
        batch: settings.batch,
        patch: settings.patch,
        volumes: dataset.volumes,
        overlapping: dataset.overlapping,
        spacing: dataset.common.spacing,
        orientation: dataset.common.orientation.as_deref(),
        rare: settings.rare,
        augment: words,
        learning_rate: settings.learning_rate,
        seed: settings.seed,
        foreground_dice: history.last().map(|record| validation::foreground_dice(&record.classes, dataset.foreground())),
    }
    .write(&out.join("run.json"))?;

    let model = out.join("model.bpk");
    let weights = network.clone().into_record().into_bytes();
    let weights = weights.map_err(|error| CliError::Encode { path: model.clone(), reason: error.to_string() })?;
    output::write_file(&model, &weights)?;

    let shown = pictures::chosen(&dataset.validation);
    let predicting = settings.predicting(dataset, loss);
    let go_on = AtomicBool::new(false);
    let mut rows = Vec::new();
    for picture in &dataset.validation {
        let is_shown = shown.iter().any(|other| std::ptr::eq(*other, picture));
        if !(is_shown || dataset.volumes) {
            continue;
        }
        let found = predicting.image(network, &picture.input, &picture.grid, &Device::flex(), &go_on)?;
        let Some(found) = found.map(|found| data::Regions::of(&found.view(), dataset.overlapping)) else { continue };
        if dataset.volumes {
            let path = predictions::path(&out.join("predictions"), &picture.name);
            predictions::write(&path, &found, picture.source.as_deref())?;
        }
        if is_shown {
            rows.push(found);
        }
    }
    pictures::write(&out.join("pictures.png"), &shown, &rows, dataset.classes)?;
    if dataset.volumes {
        saved.push("predictions");
    }
    saved.extend(["pictures.png", "model.bpk", "run.json"]);
    Ok(saved)
}

fn conclude(out: &Path, dataset: &Dataset, outcome: &Outcome, saved: &[&str], console: &mut Console) -> Result<(), CliError> {
    if let End::Diverged { total, epoch, step } = outcome.end {
        return Err(CliError::Diverged { total, epoch, step, out: out.to_path_buf() });
    }
    if let Some(last) = outcome.history.last() {
        console.line("")?;
        console.line(&report::summary(last, dataset.validation.len(), dataset.foreground()))?;
    }
    console.line(&format!("\nsaved in {}: {}", out.display(), saved.join(", ")))?;
    if outcome.end == End::Stopped {
        return Err(CliError::Interrupted { epochs: outcome.history.len(), out: out.to_path_buf() });
    }
    Ok(())
}

/// Reading numbers out of a tensor does not fail on the CPU; if it does, it is said rather than
/// panicked about.
fn read_failure(error: TensorReadError) -> CliError {
    CliError::Tensor(error.to_string())
}
