//! `run.json`: what a run was, and what is needed to use its weights.

use std::path::Path;

use segloss::Loss;
use serde::{Deserialize, Serialize};

use super::network::Shape;
use super::notes::EpochNotes;
use super::scores::ClassScores;
use super::validation::Predicting;
use crate::error::CliError;
use crate::output;

/// What is needed to run the same again, and to load the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunFile {
    /// Version of this command.
    pub(crate) segloss: String,
    /// The loss.
    pub(crate) loss: String,
    /// Where the images come from.
    pub(crate) data: String,
    /// Names of the images to learn from.
    pub(crate) training_images: Vec<String>,
    /// Names of the images to be judged by.
    pub(crate) validation_images: Vec<String>,
    /// Number of channels, which is the number of the network's inputs.
    pub(crate) channels: usize,
    /// Number of classes, which is the number of the network's outputs.
    pub(crate) classes: usize,
    /// Their names.
    pub(crate) class_names: Vec<String>,
    /// Whether the images have colours; grey ones among them are read as such.
    pub(crate) colour: bool,
    /// Whether colours are made grey.
    pub(crate) grey: bool,
    /// The rule by which intensities are scaled, as text.
    pub(crate) scale: String,
    /// Channels of the network's first level.
    pub(crate) width: usize,
    /// Epochs asked for.
    pub(crate) epochs: usize,
    /// Epochs done.
    pub(crate) epochs_done: usize,
    /// Steps of an epoch.
    pub(crate) steps: usize,
    /// Patches of a step.
    pub(crate) batch: usize,
    /// Size of a patch, [D, H, W].
    pub(crate) patch: [usize; 3],
    /// Whether images are volumes.
    pub(crate) volumes: bool,
    /// Whether classes overlap.
    pub(crate) overlapping: bool,
    /// Millimetres between neighbours of the grid that the network sees, along [D, H, W].
    pub(crate) spacing: Option<[f64; 3]>,
    /// Where the axes of that grid run to, the fastest first.
    pub(crate) orientation: Option<String>,
    /// Share of the patches that are centred on a class.
    pub(crate) rare: f64,
    /// What happens to patches, as text.
    pub(crate) augment: String,
    /// Greatest learning rate.
    pub(crate) learning_rate: f64,
    /// Seed.
    pub(crate) seed: u64,
    /// Mean Dice of the foreground classes after the last complete epoch.
    pub(crate) foreground_dice: Option<f64>,
    /// The epoch in which it was greatest.
    pub(crate) best_epoch: Option<usize>,
    /// What it was then.
    pub(crate) best_foreground_dice: Option<f64>,
    /// The images that validate, each judged by its decided pixels and surfaces after the last
    /// epoch: means by class.
    pub(crate) scores: Vec<ClassScores>,
    /// What is to be told of the loss and of the training images.
    pub(crate) notes: Vec<serde_json::Value>,
    /// What was left out or guessed when the images were read.
    pub(crate) data_notes: Vec<String>,
    /// What is to be told of the patches of an epoch, where that changes.
    pub(crate) epoch_notes: Vec<EpochNotes>,
}

impl RunFile {
    /// Writes it as JSON.
    pub(crate) fn write(&self, path: &Path) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| CliError::Encode { path: path.to_path_buf(), reason: error.to_string() })?;
        output::write_file(path, format!("{text}\n").as_bytes())
    }

    /// Reads it.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let text = std::fs::read(path).map_err(|error| CliError::io(path, error))?;
        serde_json::from_slice(&text).map_err(|error| CliError::Folder {
            path: path.to_path_buf(),
            reason: format!("is not what segloss train writes ({error}); train the model with this version"),
        })
    }

    /// The network.
    pub(crate) fn shape(&self) -> Shape {
        Shape { channels: self.channels, classes: self.classes, width: self.width, volumes: self.volumes }
    }

    /// How images are predicted by a network that was trained with this loss.
    pub(crate) fn predicting(&self, loss: &Loss) -> Predicting {
        Predicting { activation: loss.activation(), window: self.patch, overlapping: self.overlapping }
    }
}
