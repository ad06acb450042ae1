//! What a loss is asked about: one batch, whose samples need not be of one size.

use ndarray::ArrayViewD;
use segloss::LossError;
use segloss::ndarray::Target;

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
