//! `segloss train`: a small U-Net on the CPU, with the parts of its loss in view.

pub(crate) mod canvas;
mod data;
mod folder;
mod network;
mod notes;
mod pictures;
mod plot;
mod report;
mod run;
mod synthetic;
mod validation;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use burn::module::Module;
use burn::tensor::TensorReadError;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use segloss::{Loss, Note};

use self::data::Dataset;
use self::notes::EpochNotes;
use self::report::{EpochTable, RunFile};
use self::run::{End, EpochRecord, Observer, Outcome, Settings};
use crate::data::DataOptions;
use crate::error::CliError;
use crate::output::{self, Console};

/// Train a small U-Net and watch what each part of the loss does
///
/// Without --data, images of small bright lesions are made up. With it, 2-D images and their masks
/// are read from FOLDER, in all the formats and layouts that `segloss data` reads; look at it with
/// that command first. Images called val validate, else those called test; where nothing is called
/// so, the last quarter by name is held out.
///
/// DIR receives metrics.csv, metrics.png, pictures.png, model.bpk (weights, in Burn's own format)
/// and run.json. Ctrl-C ends the run early and saves the same.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
#[command(after_help = "Examples:
  segloss train
  segloss train --loss 'ce + 0.5 * l1(temperature=10)' --seed 3 --out runs/l1
  segloss train --loss CE+LogDice --data vessels --epochs 12
  segloss train --data leaves --images-in original_images --masks-in binary_mask
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
    /// Side of a patch in pixels, a multiple of 4 [default: 64, with --data 128]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(16..=1024))]
    patch: Option<u32>,
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
        Some(folder) => folder::dataset(folder, &args.reading.options()?)?,
        None => synthetic::dataset(args.images as usize, args.seed),
    };
    let settings = args.settings(&dataset);
    let loss = loss.with_ignore_index(i64::from(data::IGNORED));
    let notes = notes::of_run(&loss, &dataset)?;
    output::prepare_folder(&args.out)?;
    introduce(&loss, &dataset, &settings, &notes, console)?;

    let stop = Arc::new(AtomicBool::new(false));
    listen_for_ctrl_c(&stop);
    let mut watcher = Watcher::new(&settings, console);
    let outcome = run::train(&dataset, &loss, &settings, &stop, &mut watcher)?;
    watcher.bar.finish_and_clear();
    // Ctrl-C during what follows means it: saving takes a moment only.
    let saved = save(&args.out, &loss, &dataset, &settings, &notes, &outcome)?;
    conclude(&args.out, &dataset, &outcome, &saved, console)
}

impl TrainArgs {
    /// What clap cannot say about numbers.
    fn check(&self) -> Result<(), CliError> {
        let refuse = |option, value: String, expected: &str| Err(CliError::Option { option, value, expected: expected.into() });
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return refuse("lr", self.learning_rate.to_string(), "must be above 0 and at most 1");
        }
        for (option, value) in [("patch", self.patch.unwrap_or(64)), ("width", self.width)] {
            if !(value as usize).is_multiple_of(network::STRIDE) {
                return refuse(option, value.to_string(), "must be a multiple of 4");
            }
        }
        Ok(())
    }

    fn settings(&self, dataset: &Dataset) -> Settings {
        let real = self.data.is_some();
        let patch = self.patch.unwrap_or(if real { 128 } else { 64 }) as usize;
        let batch = self.batch as usize;
        let pixels: usize = dataset.train.iter().map(|p| p.pixels.len()).sum();
        Settings {
            epochs: self.epochs.unwrap_or(if real { 8 } else { 40 }) as usize,
            steps: self.steps.map_or_else(|| pixels.div_ceil(batch * patch * patch).clamp(1, 64), |n| n as usize),
            batch,
            patch,
            width: self.width as usize,
            learning_rate: self.learning_rate,
            seed: self.seed,
        }
    }
}

fn introduce(
    loss: &Loss,
    dataset: &Dataset,
    settings: &Settings,
    notes: &[Note],
    console: &mut Console,
) -> Result<(), CliError> {
    let shares = Dataset::shares(&dataset.train, dataset.classes);
    let shares: Vec<String> = shares.iter().map(|share| format!("{:.2} %", 100.0 * share)).collect();
    let Settings { epochs, steps, batch, patch, seed, .. } = settings;
    console.line(&format!("loss      {loss}"))?;
    console.line(&format!(
        "images    {}: {} to train on, {} to validate with",
        dataset.origin,
        dataset.train.len(),
        dataset.validation.len()
    ))?;
    console.line(&format!("classes   {}, of {} of the training pixels", dataset.classes, shares.join(", ")))?;
    for note in dataset.notes.iter().cloned().chain(notes.iter().map(ToString::to_string)) {
        console.line(&format!("note      {note}"))?;
    }
    console.line(&format!("training  {epochs} epochs of {steps} steps of {batch} patches, {patch}x{patch}; seed {seed}"))?;
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
    /// Those of the epoch before.
    notes: Vec<Note>,
    epochs: usize,
    steps: usize,
}

impl<'a> Watcher<'a> {
    fn new(settings: &Settings, console: &'a mut Console) -> Self {
        let bar = ProgressBar::new((settings.epochs * settings.steps) as u64);
        let style = ProgressStyle::with_template("{msg} [{bar:32}] {percent}% {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, console, table: None, notes: Vec::new(), epochs: settings.epochs, steps: settings.steps }
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
        if self.notes != record.notes {
            lines.extend(record.notes.iter().map(|note| format!("note      the patches of epoch {}: {note}", record.epoch)));
            self.notes.clone_from(&record.notes);
        }
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
    notes: &[Note],
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
        report::write_metrics(&metrics, history)?;
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
        learning_rate: settings.learning_rate,
        seed: settings.seed,
        notes,
        data_notes: &dataset.notes,
        epoch_notes: EpochNotes::changes(history),
        foreground_dice: history.last().map(|record| validation::foreground_dice(&record.classes)),
    }
    .write(&out.join("run.json"))?;

    let model = out.join("model.bpk");
    let weights = network.clone().into_record().into_bytes();
    let weights = weights.map_err(|error| CliError::Encode { path: model.clone(), reason: error.to_string() })?;
    output::write_file(&model, &weights)?;

    let shown = pictures::chosen(&dataset.validation);
    let go_on = AtomicBool::new(false);
    let judged = validation::validate(network, &shown, dataset.classes, loss.activation(), settings.patch, &go_on)?;
    if let Some(judged) = judged {
        pictures::write(&out.join("pictures.png"), &shown, &judged.predictions, dataset.classes)?;
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
        console.line(&report::summary(last, dataset.validation.len()))?;
    }
    console.line(&format!("\nsaved in {}: {}", segloss_data::shown(out), saved.join(", ")))?;
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
