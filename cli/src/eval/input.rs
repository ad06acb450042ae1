//! What `eval` computes on: arrays as they were read, and what is asked of them.

use segloss::{Loss, TargetKind};
use segloss_data::Array;

use super::arrays::{Floats, Labels, sample};
use super::values::{Backend, DeviceArg};

/// Everything that was read.
pub(super) struct Input {
    pub(super) loss: Loss,
    pub(super) logits: Array,
    pub(super) target: TargetArray,
    pub(super) weights: Option<Floats>,
    pub(super) spacing: Option<Vec<f64>>,
    pub(super) maps: Vec<(String, Floats)>,
    pub(super) backend: Backend,
    /// Read by LibTorch only.
    #[cfg_attr(not(feature = "tch"), expect(dead_code))]
    pub(super) device: DeviceArg,
    pub(super) gradient: bool,
    /// Whether values per sample and class are wanted.
    pub(super) elements: bool,
    /// Whether values per pixel are.
    pub(super) pixels: bool,
    /// What was read, as it is shown.
    pub(super) shown: Shown,
    /// What was done with the arrays beyond reading them.
    pub(super) told: Vec<String>,
}

/// Names of what was read.
#[derive(Clone, Default)]
pub(super) struct Shown {
    pub(super) logits: String,
    pub(super) target: String,
    /// Which file gave the spacing.
    pub(super) spacing: Option<String>,
}

impl Input {
    /// One sample by itself, for its values alone.
    pub(super) fn sample(&self, n: usize) -> Self {
        Self {
            loss: self.loss.clone(),
            logits: sample(&self.logits, n),
            target: match &self.target {
                TargetArray::Labels(labels) => TargetArray::Labels(labels.sample(n)),
                TargetArray::Soft(shares) => TargetArray::Soft(shares.sample(n)),
            },
            weights: self.weights.as_ref().map(|weights| weights.sample(n)),
            spacing: self.spacing.clone(),
            maps: self.maps.iter().map(|(name, map)| (name.clone(), map.sample(n))).collect(),
            gradient: false,
            elements: false,
            pixels: false,
            shown: self.shown.clone(),
            told: Vec::new(),
            ..*self
        }
    }
}

/// A target in one of the types that all backends read.
pub(super) enum TargetArray {
    Labels(Labels),
    Soft(Floats),
}

impl TargetArray {
    /// The number at a place in row-major order.
    pub(super) fn at(&self, place: usize) -> f64 {
        match self {
            Self::Labels(labels) => labels.at(place) as f64,
            Self::Soft(shares) => shares.at(place),
        }
    }

    /// Lengths of its axes.
    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Self::Labels(labels) => labels.shape(),
            Self::Soft(shares) => shares.shape(),
        }
    }
}

impl TargetArray {
    /// What it is beside logits of a shape, and its own shape.
    pub(super) fn beside(&self, logits: &[usize]) -> (TargetKind, &[usize]) {
        match self {
            Self::Labels(labels) => (TargetKind::of_integers(logits, labels.shape()), labels.shape()),
            Self::Soft(shares) => (TargetKind::Soft, shares.shape()),
        }
    }
}
