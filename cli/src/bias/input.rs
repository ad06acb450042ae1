//! Where the logits come from: two arrays, or a trained network and a folder.

use ndarray::ArrayD;
use segloss::{Argument, Loss, LossError, Note};
use serde::Serialize;

use super::BiasArgs;
use super::batch::{Batch, One, See};
use super::images::Predicted;
use crate::error::CliError;
use crate::eval::Arrays;

/// What is measured where no loss is named.
const USUAL: [&str; 9] =
    ["ce", "dice", "ce + dice", "ce + log_dice", "focal", "ce + l1", "ce + kl", "tversky(alpha=0.3, beta=0.7)", "topk"];

/// The place of the one above that looks at the whole batch, and what it is for images one by one.
const OF_THE_BATCH: (usize, &str) = (8, "topk(pooling=sample)");

/// Needs labels, and axes to measure distances along.
const OF_DISTANCES: &str = "boundary";

/// What was read, and checked.
pub(super) enum Input {
    Arrays { arrays: Box<Arrays>, logits: ArrayD<f64> },
    Images(Box<Predicted>),
}

/// Where logits come from, for a reader.
#[derive(Serialize)]
pub(super) struct Source {
    /// Facts with their names.
    #[serde(flatten, serialize_with = "as_map")]
    pub(super) facts: Vec<(&'static str, String)>,
    /// Names of the images, of a folder.
    #[serde(rename = "names", skip_serializing_if = "Vec::is_empty")]
    pub(super) images: Vec<String>,
    /// What was done with the data beyond reading them.
    #[serde(rename = "data_notes", skip_serializing_if = "Vec::is_empty")]
    pub(super) told: Vec<String>,
}

fn as_map<S: serde::Serializer>(facts: &[(&'static str, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(facts.iter().map(|(name, fact)| (name, fact)))
}

impl Input {
    /// Reads arrays, or predicts images.
    pub(super) fn open(args: &BiasArgs) -> Result<Self, CliError> {
        if let Some(model) = &args.model.model {
            return Predicted::open(model, &args.model).map(|found| Self::Images(Box::new(found)));
        }
        let arrays = args.arrays.read(args.loss.first().map_or(USUAL[0], String::as_str))?;
        let logits = arrays.logits();
        Ok(Self::Arrays { arrays: Box::new(arrays), logits })
    }

    /// The losses that are named, or those that are used most.
    pub(super) fn losses(&self, args: &BiasArgs) -> Result<Vec<(String, Loss)>, CliError> {
        let named: Vec<&str> = args.loss.iter().map(String::as_str).collect();
        let specs = if named.is_empty() { self.usual() } else { named };
        let loss = |spec: &str| match self {
            Self::Arrays { .. } => args.arrays.loss(spec),
            Self::Images(predicted) => predicted.loss(spec),
        };
        specs.into_iter().map(loss).collect()
    }

    fn usual(&self) -> Vec<&'static str> {
        let mut usual = USUAL.to_vec();
        let distances = match self {
            Self::Arrays { arrays, logits } => arrays.has_labels() && (3..=5).contains(&logits.ndim()),
            Self::Images(predicted) => {
                let (place, by_sample) = OF_THE_BATCH;
                usual[place] = by_sample;
                predicted.has_labels()
            }
        };
        usual.extend(distances.then_some(OF_DISTANCES));
        usual
    }

    /// For a reader.
    pub(super) fn source(&self) -> Source {
        match self {
            Self::Arrays { arrays, .. } => {
                let [logits, target] = arrays.files();
                let told = arrays.told().to_vec();
                Source { facts: vec![("logits", logits), ("target", target)], images: Vec::new(), told }
            }
            Self::Images(predicted) => predicted.source(),
        }
    }

    /// Whether a note is to be told: nobody gave the spacing that files of images have.
    pub(super) fn tells(&self, note: &Note) -> bool {
        let of_spacing = matches!(note, Note::Unread { what: Argument::Spacing, .. });
        matches!(self, Self::Arrays { .. }) || !of_spacing
    }

    /// Names the file that a refusal is about.
    pub(super) fn locate(&self, error: LossError) -> CliError {
        match self {
            Self::Arrays { arrays, .. } => arrays.locate(error),
            Self::Images(_) => error.into(),
        }
    }
}

impl Batch for Input {
    fn classes(&self) -> usize {
        match self {
            Self::Arrays { logits, .. } => logits.shape().get(1).copied().unwrap_or(1),
            Self::Images(predicted) => predicted.classes(),
        }
    }

    fn class_name(&self, class: usize) -> Option<String> {
        match self {
            Self::Arrays { .. } => None,
            Self::Images(predicted) => predicted.class_name(class),
        }
    }

    fn each(&self, see: &mut See<'_>) -> Result<(), LossError> {
        match self {
            Self::Arrays { arrays, logits } => One { logits: logits.view(), target: arrays.target() }.each(see),
            Self::Images(predicted) => predicted.each(see),
        }
    }
}
