//! Whether logits, target and weights fit each other: checked once, before any work, the same for
//! every backend.

use crate::target::{is_of_pixels, without_classes};
use crate::{Activation, Argument, LossError, TargetKind};

/// Samples, classes and pixels of logits `[N, K, *spatial]`, whatever their number of spatial axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Samples N.
    pub samples: usize,
    /// Classes (channels) K.
    pub classes: usize,
    /// Pixels S of one sample, spatial axes flattened; 1 where there is none.
    pub pixels: usize,
}

impl Geometry {
    /// Checks shapes and the activation, and returns the three lengths. Which shapes a target may
    /// have, its [`TargetKind`] says; pixel weights are `[N, *spatial]` or `[N, 1, *spatial]`.
    ///
    /// # Errors
    /// [`LossError::LogitsRank`], [`LossError::Empty`], [`LossError::TooFewClasses`],
    /// [`LossError::ShapeMismatch`], and [`LossError::Unsupported`] for more numbers than can be
    /// counted.
    pub fn new(
        logits: &[usize],
        target: (TargetKind, &[usize]),
        weights: Option<&[usize]>,
        activation: Activation,
    ) -> Result<Self, LossError> {
        let [samples, classes, spatial @ ..] = logits else {
            return Err(LossError::LogitsRank { shape: logits.to_vec() });
        };
        let (kind, target) = target;
        if !kind.fits(logits, target) {
            return Err(mismatch(kind.argument(), logits, &kind.shape(logits), target));
        }
        if let Some(weights) = weights.filter(|weights| !is_of_pixels(logits, weights)) {
            return Err(mismatch(Argument::PixelWeights, logits, &without_classes(logits), weights));
        }
        if logits.contains(&0) {
            return Err(LossError::Empty { what: "logits", shape: logits.to_vec() });
        }
        if activation == Activation::Softmax && *classes < 2 {
            return Err(LossError::TooFewClasses { classes: *classes });
        }
        if logits.iter().try_fold(1usize, |all, &length| all.checked_mul(length)).is_none() {
            return Err(LossError::Unsupported {
                what: "logits",
                got: format!("shape {logits:?}"),
                expected: "no more numbers than can be counted",
            });
        }
        Ok(Self { samples: *samples, classes: *classes, pixels: spatial.iter().product() })
    }

    /// Checks that a map's shape fits logits of a shape: theirs, or that of one class.
    ///
    /// # Errors
    /// [`LossError::ShapeMismatch`].
    pub fn map_fits(logits: &[usize], map: &[usize]) -> Result<(), LossError> {
        let axis_fits = |axis: usize| map[axis] == logits[axis] || (axis == 1 && map[axis] == 1);
        if map.len() == logits.len() && map.len() > 1 && (0..map.len()).all(axis_fits) {
            return Ok(());
        }
        Err(mismatch(Argument::Map, logits, logits, map))
    }

    /// Checks that there is a spacing for every spatial axis of logits, each in `[1e-18, 1e18]`.
    ///
    /// # Errors
    /// [`LossError::Unsupported`] for another number of them, [`LossError::ValueOutOfRange`].
    pub fn spacing_fits(logits: &[usize], spacing: &[f64]) -> Result<(), LossError> {
        let axes = logits.len().saturating_sub(2);
        if spacing.len() != axes {
            let (what, got) = ("number of spacings", format!("{} for logits of shape {logits:?}", spacing.len()));
            return Err(LossError::Unsupported { what, got, expected: "one per spatial axis" });
        }
        match spacing.iter().position(|spacing| !SPACINGS.contains(spacing)) {
            None => Ok(()),
            Some(axis) => {
                let (value, position) = (spacing[axis], vec![axis]);
                Err(LossError::ValueOutOfRange { what: Argument::Spacing, value, expected: "[1e-18, 1e18]", position })
            }
        }
    }

    /// How many labels there are: K, or two where a single channel stands for both.
    #[must_use]
    pub fn labels(&self) -> usize {
        self.classes.max(2)
    }

    /// The index that a flat position has in an array of this shape.
    #[must_use]
    pub fn position(shape: &[usize], flat: usize) -> Vec<usize> {
        let mut rest = flat;
        let mut position = vec![0; shape.len()];
        for (at, &length) in position.iter_mut().zip(shape).rev() {
            let length = length.max(1);
            (*at, rest) = (rest % length, rest / length);
        }
        position
    }
}

/// Spacings for which squared distances stay finite and above 0 in `f64`, and distances in `f32`,
/// on any grid that an address space can hold.
pub(crate) const SPACINGS: std::ops::RangeInclusive<f64> = 1e-18..=1e18;

fn mismatch(what: Argument, logits: &[usize], expected: &[usize], got: &[usize]) -> LossError {
    LossError::ShapeMismatch { what, logits: logits.to_vec(), expected: expected.to_vec(), got: got.to_vec() }
}
