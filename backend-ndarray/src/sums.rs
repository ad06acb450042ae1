//! Volumes that are fed tile by tile.

use loss_core::{LossError, Pressure, Statistics, Whole};
use ndarray::{Array, ArrayView, ArrayViewMut, Dimension};

use crate::loss::{in_place, shaped};
use crate::target::row_major;
use crate::{Element, Target};

/// Adding tiles of ndarray views. Implemented for [`Statistics`] alone.
///
/// ```
/// use backend_ndarray::{NdarrayStatistics, NdarrayWhole, Target};
/// use loss_core::Loss;
/// use ndarray::{Array3, Array2, s};
///
/// let (logits, labels) = (Array3::<f32>::zeros((1, 2, 100)), Array2::<u8>::zeros((1, 100)));
/// let loss: Loss = "ce + dice".parse()?;
/// let mut sums = loss.statistics(2)?;
/// for range in [0..60, 60..100] {
///     let (logits, labels) = (logits.slice(s![.., .., range.clone()]), labels.slice(s![.., range]));
///     sums.add(logits, &Target::labels(labels))?;
/// }
/// let whole = sums.whole(None)?;
/// println!("{}", whole.evaluation().total);
/// let (logits, labels) = (logits.slice(s![.., .., ..60]), labels.slice(s![.., ..60]));
/// let gradient = whole.gradient(logits, &Target::labels(labels))?;   // of this tile's logits
/// assert_eq!(gradient.shape(), [1, 2, 60]);
/// # Ok::<(), loss_core::LossError>(())
/// ```
pub trait NdarrayStatistics {
    /// Adds a tile, `[N, K, *tile]`, with its target. A prior of the target's is not looked at:
    /// [`Statistics::whole`] takes it.
    ///
    /// # Errors
    /// [`LossError::TileMismatch`] where it has other samples or classes than the tiles before it;
    /// else as [`NdarrayLoss`](crate::NdarrayLoss), with positions in the tile. Then nothing is
    /// added.
    fn add<E: Element, D: Dimension>(&mut self, logits: ArrayView<'_, E, D>, target: &Target<'_>) -> Result<(), LossError>;
}

/// Gradients of the tiles of a whole. Implemented for [`Whole`] alone.
pub trait NdarrayWhole {
    /// The gradient of the whole's total for the logits of a tile.
    ///
    /// # Errors
    /// As [`NdarrayStatistics::add`].
    fn gradient<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<Array<E, D>, LossError>;

    /// The same, written to the caller's array of the tile's shape (any strides).
    ///
    /// # Errors
    /// As [`NdarrayStatistics::add`].
    fn gradient_into<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
        gradient: ArrayViewMut<'_, E, D>,
    ) -> Result<(), LossError>;

    /// What a tile contributes to the whole's pressure on the classes; [`Pressure::add`] adds tiles
    /// up.
    ///
    /// # Errors
    /// As [`NdarrayStatistics::add`].
    fn pressure<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<Pressure, LossError>;
}

impl NdarrayStatistics for Statistics {
    fn add<E: Element, D: Dimension>(&mut self, logits: ArrayView<'_, E, D>, target: &Target<'_>) -> Result<(), LossError> {
        let loss = self.loss().clone();
        self.add_on(&mut target.call::<E, [E]>(&loss, logits.shape(), &row_major(&logits))?)
    }
}

impl NdarrayWhole for Whole {
    fn gradient<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<Array<E, D>, LossError> {
        let mut out = Vec::new();
        self.gradient_on(&mut target.call(self.loss(), logits.shape(), &row_major(&logits))?, &mut out)?;
        shaped(logits.raw_dim(), out)
    }

    fn gradient_into<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
        mut gradient: ArrayViewMut<'_, E, D>,
    ) -> Result<(), LossError> {
        if let Some(out) = in_place(logits.shape(), &mut gradient)? {
            return self.gradient_on(&mut target.call(self.loss(), logits.shape(), &row_major(&logits))?, out);
        }
        gradient.assign(&self.gradient(logits, target)?);
        Ok(())
    }

    fn pressure<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<Pressure, LossError> {
        self.pressure_on(&mut target.call::<E, [E]>(self.loss(), logits.shape(), &row_major(&logits))?)
    }
}
