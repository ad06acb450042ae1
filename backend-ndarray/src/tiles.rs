//! Volumes that are fed tile by tile.

use loss_core::{LossError, Tiles, Whole};
use loss_kernels::Cpu;
use ndarray::{Array, ArrayView, ArrayViewMut, Dimension};

use crate::loss::{in_place, shaped};
use crate::target::row_major;
use crate::{Element, Target};

/// Adding tiles of ndarray views. Implemented for [`Tiles`] alone.
///
/// ```
/// use backend_ndarray::{NdarrayTiles, NdarrayWhole, Target};
/// use loss_core::Loss;
/// use ndarray::{Array3, Array2, s};
///
/// let (logits, labels) = (Array3::<f32>::zeros((1, 2, 100)), Array2::<u8>::zeros((1, 100)));
/// let loss: Loss = "ce + dice".parse()?;
/// let mut tiles = loss.tiles(2)?;
/// for range in [0..60, 60..100] {
///     let (logits, labels) = (logits.slice(s![.., .., range.clone()]), labels.slice(s![.., range]));
///     tiles.add(logits, &Target::labels(labels))?;
/// }
/// let whole = tiles.whole(None)?;
/// println!("{}", whole.evaluation().total);
/// let (logits, labels) = (logits.slice(s![.., .., ..60]), labels.slice(s![.., ..60]));
/// let gradient = whole.gradient(logits, &Target::labels(labels))?;   // of this tile's logits
/// assert_eq!(gradient.shape(), [1, 2, 60]);
/// # Ok::<(), loss_core::LossError>(())
/// ```
pub trait NdarrayTiles {
    /// Adds a tile, `[N, K, *tile]`, with its target. A prior of the target's is not looked at: [`Tiles::whole`] takes it.
    ///
    /// # Errors
    /// [`LossError::TileMismatch`] where it has other samples or classes than the tiles before it; else as
    /// [`NdarrayLoss`](crate::NdarrayLoss), with positions in the tile. Then nothing is added.
    fn add<E: Element, D: Dimension>(&mut self, logits: ArrayView<'_, E, D>, target: &Target<'_>) -> Result<(), LossError>;
}

/// Gradients of the tiles of a whole. Implemented for [`Whole`] alone.
pub trait NdarrayWhole {
    /// The gradient of the whole's total for the logits of a tile.
    ///
    /// # Errors
    /// As [`NdarrayTiles::add`].
    fn gradient<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<Array<E, D>, LossError>;

    /// The same, written to the caller's array of the tile's shape (any strides).
    ///
    /// # Errors
    /// As [`NdarrayTiles::add`].
    fn gradient_into<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
        gradient: ArrayViewMut<'_, E, D>,
    ) -> Result<(), LossError>;
}

impl NdarrayTiles for Tiles {
    fn add<E: Element, D: Dimension>(&mut self, logits: ArrayView<'_, E, D>, target: &Target<'_>) -> Result<(), LossError> {
        let loss = self.loss().clone();
        let problem = target.problem(logits.shape(), loss.ignored(), loss.activation())?;
        self.add_on(&Cpu::default(), (&*row_major(&logits), &problem), problem.geometry())
    }
}

impl NdarrayWhole for Whole {
    fn gradient<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<Array<E, D>, LossError> {
        let loss = self.loss();
        let problem = target.problem(logits.shape(), loss.ignored(), loss.activation())?;
        let (values, mut out) = (row_major(&logits), Vec::new());
        self.gradient_on(&Cpu::with_gradient(), (&*values, &problem), problem.geometry(), &mut out)?;
        shaped(logits.raw_dim(), out)
    }

    fn gradient_into<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
        mut gradient: ArrayViewMut<'_, E, D>,
    ) -> Result<(), LossError> {
        let loss = self.loss();
        let problem = target.problem(logits.shape(), loss.ignored(), loss.activation())?;
        if let Some(out) = in_place(logits.shape(), &mut gradient)? {
            return self.gradient_on(&Cpu::default(), (&*row_major(&logits), &problem), problem.geometry(), out);
        }
        gradient.assign(&self.gradient(logits, target)?);
        Ok(())
    }
}
