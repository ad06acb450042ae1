//! What a run leaves.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use segloss::{Loss, Note};
use segloss_data::shown;

use super::checkpoints::Checkpoints;
use super::data::{Dataset, Regions};
use super::notes::{self, EpochNotes};
use super::run::{End, Outcome, Settings};
use super::run_file::RunFile;
use super::validation::foreground_dice;
use super::{pictures, plot, predictions, report, weights};
use crate::error::CliError;
use crate::output::{self, Console};

/// What run.json says of it.
pub(super) fn run_file(
    loss: &Loss,
    dataset: &Dataset,
    settings: &Settings,
    words: &str,
    told: &[Note],
    outcome: &Outcome,
) -> Result<RunFile, CliError> {
    let Outcome { best, history, .. } = outcome;
    Ok(RunFile {
        segloss: env!("CARGO_PKG_VERSION").into(),
        loss: loss.to_string(),
        data: dataset.origin.clone(),
        training_images: dataset.train.iter().map(|p| p.name.clone()).collect(),
        validation_images: dataset.validation.iter().map(|p| p.name.clone()).collect(),
        channels: dataset.channels,
        classes: dataset.classes,
        class_names: dataset.class_names.clone(),
        colour: dataset.reading.colour,
        grey: dataset.reading.grey,
        scale: dataset.reading.scale.to_string(),
        width: settings.width,
        epochs: settings.epochs,
        epochs_done: history.len(),
        steps: settings.steps,
        batch: settings.batch,
        patch: settings.patch,
        volumes: dataset.volumes,
        overlapping: dataset.overlapping,
        spacing: dataset.common.spacing,
        orientation: dataset.common.orientation.clone(),
        rare: settings.rare,
        augment: words.into(),
        learning_rate: settings.learning_rate,
        seed: settings.seed,
        foreground_dice: history.last().map(|record| foreground_dice(&record.classes, dataset.foreground())),
        best_epoch: best.as_ref().map(|best| best.epoch),
        best_foreground_dice: best.as_ref().map(|best| best.dice),
        notes: notes::values(told)?,
        data_notes: dataset.notes.clone(),
        epoch_notes: EpochNotes::changes(history, loss.activation())?,
    })
}

/// Writes the results and names them.
pub(super) fn save(
    out: &Path,
    loss: &Loss,
    dataset: &Dataset,
    run_file: &RunFile,
    outcome: &Outcome,
) -> Result<Vec<&'static str>, CliError> {
    let Outcome { network, best, history, .. } = outcome;
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
    run_file.write(&out.join("run.json"))?;

    let model = |epoch: usize| {
        let activation = if run_file.overlapping { "sigmoid" } else { "softmax" };
        [
            ("loss", run_file.loss.clone()),
            ("channels", run_file.channels.to_string()),
            ("classes", run_file.class_names.join(",")),
            ("width", run_file.width.to_string()),
            ("activation", activation.to_owned()),
            ("epoch", epoch.to_string()),
        ]
    };
    weights::write(&out.join("model.safetensors"), network, &model(history.len()))?;
    saved.push("model.safetensors");
    match best {
        Some(best) => {
            weights::write(&out.join("best.safetensors"), &best.network, &model(best.epoch))?;
            saved.push("best.safetensors");
        }
        None => output::remove_file(&out.join("best.safetensors"))?,
    }

    let shown = pictures::chosen(&dataset.validation);
    let predicting = run_file.predicting(loss);
    let device = outcome.device.clone().inner();
    let go_on = AtomicBool::new(false);
    let mut rows = Vec::new();
    for picture in &dataset.validation {
        let is_shown = shown.iter().any(|other| std::ptr::eq(*other, picture));
        if !(is_shown || dataset.volumes) {
            continue;
        }
        let found = predicting.image(network, &picture.input, &picture.grid, &device, &go_on)?;
        let Some(found) = found.map(|found| Regions::of(&found.view(), dataset.overlapping)) else { continue };
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
    saved.extend(["pictures.png", "run.json"]);
    Ok(saved)
}

/// Says how it ended.
pub(super) fn conclude(
    out: &Path,
    dataset: &Dataset,
    outcome: &Outcome,
    checkpoints: &Checkpoints,
    saved: &[&str],
    console: &mut Console,
) -> Result<(), CliError> {
    if let End::Diverged { total, epoch, step } = outcome.end {
        // Gone on with, it would diverge at the same step.
        checkpoints.clear()?;
        return Err(CliError::Diverged { total, epoch, step, out: out.to_path_buf() });
    }
    if let Some(last) = outcome.history.last() {
        console.line("")?;
        console.line(&report::summary(last, dataset.validation.len(), dataset.foreground()))?;
    }
    console.line(&format!("\nsaved in {}: {}", shown(out), saved.join(", ")))?;
    if outcome.end == End::Stopped {
        return Err(CliError::Interrupted { epochs: outcome.history.len(), out: out.to_path_buf() });
    }
    Ok(())
}
