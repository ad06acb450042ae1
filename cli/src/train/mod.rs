//! `segloss train`: a small U-Net on the CPU, with the parts of its loss in view.

mod augment;
pub(crate) mod begin;
pub(crate) mod canvas;
mod checkpoint;
mod checkpoints;
pub(crate) mod data;
pub(crate) mod device;
mod exact;
pub(crate) mod folder;
pub(crate) mod judge;
pub(crate) mod network;
mod notes;
mod options;
mod patches;
mod pictures;
mod plot;
pub(crate) mod predictions;
pub(crate) mod report;
mod results;
pub(crate) mod run;
pub(crate) mod run_file;
pub(crate) mod scores;
pub(crate) mod space;
pub(crate) mod state;
mod synthetic;
pub(crate) mod validation;
pub(crate) mod watch;
pub(crate) mod weights;
mod windows;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::TensorReadError;
use segloss::Loss;

use self::begin::Resumed;
use self::checkpoints::Checkpoints;
use self::data::Dataset;
pub(crate) use self::options::TrainArgs;
use self::run::Settings;
use self::state::State;
use self::watch::Watcher;
use crate::error::CliError;
use crate::output::{self, Console};

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
    let dataset = args.dataset(args.validation_images())?;
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
    watch::listen_for_ctrl_c(&stop, "stopping after this step and saving");
    let mut watcher = Watcher::new(&settings, loss.activation(), asked, &mut checkpoints, console);
    let outcome = run::train(&dataset, &loss, &settings, state, &stop, &mut watcher)?;
    watcher.finish();
    // Ctrl-C during what follows means it: saving takes a moment only.
    let words = args.augment(dataset.volumes)?.0;
    let judged = results::judged(&loss, &dataset, &settings, &outcome)?;
    let run_file = results::run_file(&loss, &dataset, &settings, words, &loss_notes, &outcome, &judged)?;
    let saved = results::save(&args.out, &loss, &dataset, &run_file, &outcome, &judged)?;
    results::conclude(&args.out, &dataset, &outcome, &checkpoints, &saved, &run_file.scores, console)
}

/// The loss for these images, if it can learn from them.
pub(crate) fn fitting(loss: Loss, dataset: &Dataset) -> Result<Loss, CliError> {
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
