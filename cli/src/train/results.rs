//! What a run leaves.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use segloss::{Loss, Note};
use segloss_data::shown;

use super::checkpoints::Checkpoints;
use super::data::Dataset;
use super::judge::{ImageScores, Judged, judge};
use super::notes::{self, EpochNotes};
use super::run::{End, Outcome, Settings};
use super::run_file::RunFile;
use super::scores::ClassScores;
use super::validation::foreground_dice;
use super::{pictures, plot, predictions, report, scores, weights};
use crate::error::CliError;
use crate::output::{self, Console};

/// The images that validate, by the network as it was last.
pub(super) fn judged(loss: &Loss, dataset: &Dataset, settings: &Settings, outcome: &Outcome) -> Result<Vec<Judged>, CliError> {
    let (device, go_on) = (outcome.device.clone().inner(), AtomicBool::new(false));
    let predicting = settings.predicting(dataset, loss);
    let all = judge(&outcome.network, &dataset.validation, dataset.classes, &predicting, false, &device, &go_on)?;
    Ok(all.unwrap_or_default())
}

fn scores_of(judged: &[Judged]) -> Vec<&ImageScores> {
    judged.iter().map(|image| &image.scores).collect()
}

/// What run.json says of it.
pub(super) fn run_file(
    loss: &Loss,
    dataset: &Dataset,
    settings: &Settings,
    words: &str,
    told: &[Note],
    outcome: &Outcome,
    judged: &[Judged],
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
        scores: scores::means(&scores_of(judged), &dataset.class_names, dataset.foreground()),
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
    judged: &[Judged],
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
    let mut rows = Vec::new();
    for (picture, image) in dataset.validation.iter().zip(judged) {
        if dataset.volumes {
            let path = predictions::path(&out.join("predictions"), &picture.name);
            predictions::write(&path, &image.prediction, picture.source.as_deref())?;
        }
        if shown.iter().any(|other| std::ptr::eq(*other, picture)) {
            rows.push(image.prediction.clone());
        }
    }
    let names: Vec<String> = dataset.validation.iter().map(|picture| picture.name.clone()).collect();
    scores::write(&out.join("images.csv"), &names, &scores_of(judged), &dataset.class_names, dataset.foreground())?;
    pictures::write(&out.join("pictures.png"), &shown, &rows, dataset.classes)?;
    if dataset.volumes {
        saved.push("predictions");
    }
    saved.extend(["images.csv", "pictures.png", "run.json"]);
    Ok(saved)
}

/// Says how it ended.
pub(super) fn conclude(
    out: &Path,
    dataset: &Dataset,
    outcome: &Outcome,
    checkpoints: &Checkpoints,
    saved: &[&str],
    scored: &[ClassScores],
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
        console.line(&scores::table(scored).to_string())?;
    }
    console.line(&format!("\nsaved in {}: {}", shown(out), saved.join(", ")))?;
    if outcome.end == End::Stopped {
        return Err(CliError::Interrupted { epochs: outcome.history.len(), out: out.to_path_buf() });
    }
    Ok(())
}
