//! What is kept of a run: one small file of JSON.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::plan::Condition;
use crate::error::CliError;
use crate::output;

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Finds the learning rate, on images that are not tested.
    Tune,
    /// Is tested.
    Test,
}

/// The seed of the runs that find learning rates.
pub(crate) const TUNE_SEED: u64 = 1000;

/// A run to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Where.
    pub(crate) condition: Condition,
    /// Of which loss.
    pub(crate) loss: String,
    /// For what.
    pub(crate) role: Role,
    /// Seed of data, weights and batches.
    pub(crate) seed: u64,
    /// Greatest learning rate.
    pub(crate) rate: f64,
    /// Whether predictions are kept, to be drawn.
    pub(crate) pictures: bool,
}

impl Job {
    /// The file of its record, below the folder of a loss.
    pub(crate) fn file(&self) -> String {
        match self.role {
            Role::Tune => format!("tune-{}.json", self.rate),
            Role::Test => format!("seed-{}.json", self.seed),
        }
    }

    /// In words.
    pub(crate) fn name(&self) -> String {
        let Self { condition, loss, seed, rate, .. } = self;
        match self.role {
            Role::Tune => format!("{}, {loss}, rate {rate}", condition.name),
            Role::Test => format!("{}, {loss}, seed {seed}", condition.name),
        }
    }
}

/// A run that was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Version of this command.
    pub(crate) segloss: String,
    /// Where.
    pub(crate) condition: String,
    /// Options of `segloss train` that the condition sets, but where the data lie.
    pub(crate) asked: Vec<(String, String)>,
    /// Of which loss.
    pub(crate) loss: String,
    /// For what.
    pub(crate) role: Role,
    /// Seed.
    pub(crate) seed: u64,
    /// Greatest learning rate.
    pub(crate) rate: f64,
    /// Checksum of the images.
    pub(crate) data: String,
    /// Images to learn from.
    pub(crate) trained_on: usize,
    /// Why it came to nothing, if it did.
    pub(crate) failed: Option<String>,
    /// Seconds it took.
    pub(crate) seconds: f64,
    /// Every epoch.
    pub(crate) curve: Vec<Epoch>,
    /// Names of the images it was judged by.
    pub(crate) images: Vec<String>,
    /// Their diagonals.
    pub(crate) diagonals: Vec<f64>,
    /// Their valid pixels.
    pub(crate) valid: Vec<u64>,
    /// The classes but the background, image by image.
    pub(crate) classes: Vec<ClassRecord>,
}

/// An epoch of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Epoch {
    /// Mean loss.
    pub(crate) loss: f64,
    /// Of each class but the background on the first images it is judged by: Dice of all pixels.
    pub(crate) dice: Vec<Option<f64>>,
    /// Predicted ÷ true pixels there.
    pub(crate) size: Vec<Option<f64>>,
    /// Mean pressure of the loss on it in training.
    pub(crate) pressure: Vec<f64>,
}

/// A class in all images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClassRecord {
    /// Its number.
    pub(crate) class: usize,
    /// Its name.
    pub(crate) name: String,
    /// True pixels by image.
    pub(crate) target: Vec<u64>,
    /// Predicted ones.
    pub(crate) predicted: Vec<u64>,
    /// Those that are both.
    pub(crate) both: Vec<u64>,
    /// The 95th percentile of surface distances; none where a region is empty.
    pub(crate) hd95: Vec<Option<f64>>,
    /// The size that the loss prefers on all images together; none where it was not measured.
    pub(crate) preferred: Option<Preferred>,
}

/// The size of a class that a loss prefers, as multiples of the true size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Preferred {
    /// `size`, `nothing`, `everything`, `extremes` or `indifferent`.
    pub(crate) outcome: String,
    /// As probability.
    pub(crate) predicted: Option<f64>,
    /// As pixels that would be decided for it.
    pub(crate) decided: Option<f64>,
}

impl Record {
    /// Reads one.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let text = std::fs::read(path).map_err(|error| CliError::io(path, error))?;
        serde_json::from_slice(&text).map_err(|error| CliError::Plan {
            path: path.to_path_buf(),
            reason: format!("is no run of this version ({error}); remove it, and the study does it again"),
        })
    }

    /// Writes it whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<(), CliError> {
        let text = serde_json::to_string(self)
            .map_err(|error| CliError::Encode { path: path.to_path_buf(), reason: error.to_string() })?;
        output::write_durably(path, format!("{text}\n").as_bytes())
    }

    /// Mean Dice over images and classes, of which a missed region counts 0 and one that is neither
    /// there nor predicted nothing: what a learning rate is chosen by.
    pub(crate) fn dice(&self) -> Option<f64> {
        let usual = segloss_metrics::Empties::default();
        let scores: Vec<f64> = self
            .classes
            .iter()
            .flat_map(|class| (0..self.images.len()).filter_map(|i| class.counts(i, self.valid.get(i)).dice(usual)))
            .collect();
        (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
    }
}

impl ClassRecord {
    /// Its pixels in one image.
    pub(crate) fn counts(&self, image: usize, valid: Option<&u64>) -> segloss_metrics::Counts {
        let at = |counts: &[u64]| counts.get(image).copied().unwrap_or(0);
        segloss_metrics::Counts {
            valid: valid.copied().unwrap_or(0),
            target: at(&self.target),
            predicted: at(&self.predicted),
            both: at(&self.both),
        }
    }
}
