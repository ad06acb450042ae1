//! What a loss can do with ndarray views.

use loss_core::expr::Table;
use loss_core::{Argument, Evaluation, Loss, LossError, Preference, Pressure, preferred_size};
use ndarray::{Array, ArrayView, ArrayViewMut, Dimension};

use crate::target::row_major;
use crate::{Element, ShiftedSums, Target};

/// A loss with its gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueAndGradient<E, D: Dimension> {
    /// Total and terms.
    pub value: Evaluation,
    /// Derivative of the total for every logit.
    pub gradient: Array<E, D>,
}

/// Evaluation of a [`Loss`] on ndarray views. Implemented for `Loss` alone.
///
/// Logits have the shape `[N, K, *spatial]`. Every method returns a [`LossError`] for shapes that
/// do not fit, labels outside the classes, non-finite logits at valid pixels, and terms that do not
/// fit the classes or the activation.
pub trait NdarrayLoss {
    /// The total.
    ///
    /// # Errors
    /// See the trait.
    fn value<E: Element, D: Dimension>(&self, logits: ArrayView<'_, E, D>, target: &Target<'_>) -> Result<f64, LossError>;

    /// Total and gradient.
    ///
    /// # Errors
    /// See the trait.
    fn value_and_gradient<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<ValueAndGradient<E, D>, LossError>;

    /// Total and terms; the gradient is written to the caller's array of the logits' shape (any
    /// strides). On an error the array may have been written in part.
    ///
    /// # Errors
    /// See the trait.
    fn value_and_gradient_into<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
        gradient: ArrayViewMut<'_, E, D>,
    ) -> Result<Evaluation, LossError>;

    /// The total, every term with its matching, size and constant part, the proportions of the
    /// classes, the pressure on their sizes, and notes on what these numbers do not show.
    ///
    /// # Errors
    /// See the trait.
    fn evaluate<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<Evaluation, LossError>;

    /// Every term per sample and class before its reduction, where it has such a form; one row
    /// where it is pooled over the batch.
    ///
    /// # Errors
    /// See the trait.
    fn elements<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<Vec<Option<Table>>, LossError>;

    /// What the loss, and each of its terms, does to the size of each class: the slope for a shift
    /// of all its logits. Costs a gradient, and stores none.
    ///
    /// ```
    /// use backend_ndarray::{NdarrayLoss, Target};
    /// use loss_core::Loss;
    /// use ndarray::array;
    ///
    /// let loss: Loss = "ce".parse()?;
    /// let logits = array![[[0.0f64, 0.0], [2.0, 0.0]]];   // one sample, two classes, two pixels
    /// let labels = array![[1u8, 0]];
    /// let pressure = loss.pressure(logits.view(), &Target::labels(labels.view()))?;
    /// let predicted = (1.0 / (1.0 + (-2.0f64).exp()) + 0.5) / 2.0;
    /// assert!((pressure.total[1] - (predicted - 0.5)).abs() < 1e-12);   // class 1 is to shrink
    /// # Ok::<(), loss_core::LossError>(())
    /// ```
    ///
    /// # Errors
    /// See the trait.
    fn pressure<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<Pressure, LossError>;

    /// The size of a class at which the loss is least, all else equal: along the shift of all its
    /// logits, by about a hundred values. Tiles and sets of images: [`ShiftedSums`].
    ///
    /// ```
    /// use backend_ndarray::{NdarrayLoss, Target};
    /// use loss_core::{Loss, Preference};
    /// use ndarray::{Array2, Array3};
    ///
    /// // A rare class, a twentieth of the pixels, of which the logits know little.
    /// let labels = Array2::from_shape_fn((1, 400), |(_, s)| u8::from(s % 20 == 0));
    /// let logits = Array3::from_shape_fn((1, 2, 400), |(_, k, s)| k as f64 * (s % 5) as f64 * -0.5);
    /// let target = Target::labels(labels.view());
    /// let preferred = |loss: &str| -> Result<f64, loss_core::LossError> {
    ///     match loss.parse::<Loss>()?.preferred_size(logits.view(), &target, 1)? {
    ///         Preference::Size(size) => Ok(size.predicted_ratio().unwrap_or(0.0)),
    ///         other => panic!("{other:?}"),
    ///     }
    /// };
    /// assert!((preferred("ce")? - 1.0).abs() < 1e-4);
    /// assert!(preferred("dice")? > 1.6);   // vague predictions: Dice wants more than there is
    /// # Ok::<(), loss_core::LossError>(())
    /// ```
    ///
    /// # Errors
    /// See the trait; [`LossError::ClassIndex`] for a class that the logits do not have,
    /// [`LossError::ShiftedLoss`] where the loss is not finite along the shift.
    fn preferred_size<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
        class: usize,
    ) -> Result<Preference, LossError>;
}

impl NdarrayLoss for Loss {
    fn value<E: Element, D: Dimension>(&self, logits: ArrayView<'_, E, D>, target: &Target<'_>) -> Result<f64, LossError> {
        self.value_on(&mut target.call::<E, [E]>(self, logits.shape(), &row_major(&logits))?, None).map(|value| value.total)
    }

    fn value_and_gradient<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<ValueAndGradient<E, D>, LossError> {
        let mut out = Vec::new();
        let value = self.value_on(&mut target.call(self, logits.shape(), &row_major(&logits))?, Some(&mut out))?;
        Ok(ValueAndGradient { value, gradient: shaped(logits.raw_dim(), out)? })
    }

    fn value_and_gradient_into<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
        mut gradient: ArrayViewMut<'_, E, D>,
    ) -> Result<Evaluation, LossError> {
        let values = row_major(&logits);
        if let Some(out) = in_place(logits.shape(), &mut gradient)? {
            return self.value_on(&mut target.call(self, logits.shape(), &values)?, Some(out));
        }
        let new = self.value_and_gradient(logits, target)?;
        gradient.assign(&new.gradient);
        Ok(new.value)
    }

    fn evaluate<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<Evaluation, LossError> {
        self.evaluate_on(&mut target.call::<E, [E]>(self, logits.shape(), &row_major(&logits))?)
    }

    fn elements<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<Vec<Option<Table>>, LossError> {
        self.elements_on(&mut target.call::<E, [E]>(self, logits.shape(), &row_major(&logits))?)
    }

    fn pressure<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<Pressure, LossError> {
        self.pressure_on(&mut target.call::<E, [E]>(self, logits.shape(), &row_major(&logits))?)
    }

    fn preferred_size<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
        class: usize,
    ) -> Result<Preference, LossError> {
        let classes = logits.shape().get(1).copied().unwrap_or(1);
        preferred_size(|by| {
            let mut sums = ShiftedSums::new(self, classes, class, by)?;
            sums.add(logits.view(), target)?;
            sums.whole(target.given_prior())
        })
    }
}

/// The numbers of an array of the logits' shape, to be written; `None` where it is not row-major.
pub(crate) fn in_place<'a, E: Element, D: Dimension>(
    logits: &[usize],
    gradient: &'a mut ArrayViewMut<'_, E, D>,
) -> Result<Option<&'a mut [E]>, LossError> {
    if gradient.shape() != logits {
        let (logits, got) = (logits.to_vec(), gradient.shape().to_vec());
        return Err(LossError::ShapeMismatch { what: Argument::Gradient, expected: logits.clone(), logits, got });
    }
    Ok(gradient.as_slice_mut())
}

/// A gradient as an array.
pub(crate) fn shaped<E, D: Dimension>(shape: D, gradient: Vec<E>) -> Result<Array<E, D>, LossError> {
    Array::from_shape_vec(shape, gradient).map_err(|source| LossError::Backend {
        backend: "ndarray",
        operation: "shaping the gradient",
        source: Box::new(source),
    })
}
