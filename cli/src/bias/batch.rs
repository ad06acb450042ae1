//! What a loss is asked about: one batch, whose samples need not be of one size.

use ndarray::{ArrayD, ArrayViewD};
use segloss::ndarray::Target;
use segloss::{Loss, LossError};

/// Logits of some samples, `[N, K, *spatial]`.
pub(crate) type Logits<'a> = ArrayViewD<'a, f64>;

/// What sees a part of a batch.
pub(crate) type See<'s> = dyn FnMut(Logits<'_>, &Target<'_>) -> Result<(), LossError> + 's;

/// A batch in parts of whole samples.
pub(crate) trait Batch {
    /// Classes, or channels, of the logits.
    fn classes(&self) -> usize;

    /// What a class is called, where that is known.
    fn class_name(&self, _class: usize) -> Option<String> {
        None
    }

    /// Shows the parts one after the other, always in the same order.
    ///
    /// # Errors
    /// The first of `see`.
    fn each(&self, see: &mut See<'_>) -> Result<(), LossError>;
}

/// A batch in one array.
pub(crate) struct One<'a> {
    pub(crate) logits: Logits<'a>,
    pub(crate) target: Target<'a>,
}

impl Batch for One<'_> {
    fn classes(&self) -> usize {
        self.logits.shape().get(1).copied().unwrap_or(1)
    }

    fn each(&self, see: &mut See<'_>) -> Result<(), LossError> {
        see(self.logits.view(), &self.target)
    }
}

/// A batch with the maps that a loss derives from the target alone, made once.
pub(crate) struct Mapped<'a> {
    batch: &'a dyn Batch,
    /// Of each part.
    maps: Vec<Vec<(String, ArrayD<f32>)>>,
}

impl<'a> Mapped<'a> {
    /// For a loss.
    pub(crate) fn new(loss: &Loss, batch: &'a dyn Batch) -> Result<Self, LossError> {
        let mut maps = Vec::new();
        batch.each(&mut |logits, target| {
            maps.push(target.derived_maps(loss, logits.shape())?);
            Ok(())
        })?;
        Ok(Self { batch, maps })
    }
}

impl Batch for Mapped<'_> {
    fn classes(&self) -> usize {
        self.batch.classes()
    }

    fn each(&self, see: &mut See<'_>) -> Result<(), LossError> {
        let mut of_parts = self.maps.iter();
        self.batch.each(&mut |logits, target| match of_parts.next() {
            Some(maps) if !maps.is_empty() => {
                let mut mapped = target.clone();
                for (id, map) in maps {
                    mapped = mapped.map(id, map.view());
                }
                see(logits, &mapped)
            }
            _ => see(logits, target),
        })
    }
}
