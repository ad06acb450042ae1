//! What a backend says of a call, so that notes can be made of it.

use serde::{Deserialize, Serialize};

use crate::{Geometry, TargetKind};

/// What a call says of its input beside the statistics: notes are made of both.
///
/// A backend hands it to [`Program::evaluate`](crate::Program::evaluate) with the
/// [`Inputs`](crate::Inputs). Without it an evaluation has no notes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Facts {
    /// Type of the logits, which is that of their gradients.
    pub logits: Precision,
    /// Whether the target is soft.
    pub soft: bool,
    /// Pixels of all samples.
    pub pixels: usize,
    /// Those that count, where pixels have weights. Without weights the statistics say it.
    pub valid: Option<usize>,
    /// Labels to ignore.
    pub ignore: Vec<i64>,
    /// Names of the maps given with the target.
    pub maps: Vec<String>,
    /// Whether spacings were given with it.
    pub spacing: bool,
}

/// Types of logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Double precision.
    F64,
    /// Single precision.
    F32,
    /// IEEE half precision, whose smallest number is 2⁻²⁴.
    F16,
    /// Brain float, whose smallest number is near that of `f32`.
    Bf16,
}

impl Facts {
    /// Of a call without weights, maps and spacings.
    #[must_use]
    pub fn new(logits: Precision, geometry: Geometry, kind: TargetKind, ignore: &[i64]) -> Self {
        Self {
            logits,
            soft: kind == TargetKind::Soft,
            pixels: geometry.samples.saturating_mul(geometry.pixels),
            valid: None,
            ignore: ignore.to_vec(),
            maps: Vec::new(),
            spacing: false,
        }
    }

    /// With the number of pixels that count, for a target with weights.
    #[must_use]
    pub fn with_valid(self, valid: Option<usize>) -> Self {
        Self { valid, ..self }
    }

    /// With maps and spacings that were given.
    #[must_use]
    pub fn with_given<'n>(self, maps: impl Iterator<Item = &'n str>, spacing: bool) -> Self {
        Self { maps: maps.map(str::to_owned).collect(), spacing, ..self }
    }

    /// The pixels that count: counted where they have weights, else their number is their weight.
    pub(crate) fn counted(&self, weight: f64) -> usize {
        // Without a label to ignore, what is missing is rounding: devices sum in `f32`.
        let none_ignored = self.soft || self.ignore.is_empty();
        let rounded = if none_ignored { self.pixels } else { (weight.round() as usize).min(self.pixels) };
        self.valid.unwrap_or(rounded)
    }

    /// Of this input and another, as of tiles.
    pub(crate) fn with(self, other: Self) -> Self {
        let mut maps = self.maps;
        maps.extend(other.maps);
        maps.sort_unstable();
        maps.dedup();
        Self {
            logits: self.logits,
            soft: self.soft && other.soft,
            pixels: self.pixels.saturating_add(other.pixels),
            valid: self.valid.zip(other.valid).map(|(a, b)| a + b),
            ignore: self.ignore,
            maps,
            spacing: self.spacing || other.spacing,
        }
    }
}
