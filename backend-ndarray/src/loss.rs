//! What a loss can do with ndarray views.

use loss_core::expr::Table;
use loss_core::{Evaluation, Loss, LossError, Value};
use loss_kernels::Cpu;
use ndarray::{Array, ArrayView, ArrayViewMut, Dimension};

use crate::target::row_major;
use crate::{Element, Target};

/// A loss with its gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueAndGradient<E, D: Dimension> {
    /// Total and terms.
    pub value: Value,
    /// Derivative of the total for every logit.
    pub gradient: Array<E, D>,
}

/// Evaluation of a [`Loss`] on ndarray views. Implemented for `Loss` alone.
///
/// Logits have the shape `[N, K, *spatial]`. Every method returns a [`LossError`] for shapes that do not fit, labels outside the
/// classes, non-finite logits at valid pixels, and terms that do not fit the classes or the activation.
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

    /// Total and terms; the gradient is written to the caller's array of the logits' shape (any strides). On an error the array
    /// may have been written in part.
    ///
    /// # Errors
    /// See the trait.
    fn value_and_gradient_into<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
        gradient: ArrayViewMut<'_, E, D>,
    ) -> Result<Value, LossError>;

    /// The total, every term with its matching, size and constant part, and the proportions of the classes.
    ///
    /// # Errors
    /// See the trait.
    fn evaluate<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<Evaluation, LossError>;

    /// Every term per sample and class before its reduction, where it has such a form; one row where it is pooled over the batch.
    ///
    /// # Errors
    /// See the trait.
    fn elements<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<Vec<Option<Table>>, LossError>;
}

impl NdarrayLoss for Loss {
    fn value<E: Element, D: Dimension>(&self, logits: ArrayView<'_, E, D>, target: &Target<'_>) -> Result<f64, LossError> {
        let problem = target.problem(logits.shape(), self.ignored(), self.activation())?;
        let values = row_major(&logits);
        let data = (&*values, &problem);
        self.value_on(&Cpu::default(), data, problem.geometry(), target.given_prior(), None).map(|value| value.total)
    }

    fn value_and_gradient<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<ValueAndGradient<E, D>, LossError> {
        let mut gradient = zeros(logits.raw_dim())?;
        let value = self.value_and_gradient_into(logits, target, gradient.view_mut())?;
        Ok(ValueAndGradient { value, gradient })
    }

    fn value_and_gradient_into<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
        gradient: ArrayViewMut<'_, E, D>,
    ) -> Result<Value, LossError> {
        let problem = target.problem(logits.shape(), self.ignored(), self.activation())?;
        let values = row_major(&logits);
        let data = (&*values, &problem);
        written(logits.shape(), gradient, |out| {
            self.value_on(&Cpu::default(), data, problem.geometry(), target.given_prior(), Some(out))
        })
    }

    fn evaluate<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<Evaluation, LossError> {
        let problem = target.problem(logits.shape(), self.ignored(), self.activation())?;
        let values = row_major(&logits);
        self.evaluate_on(&Cpu::default(), (&*values, &problem), problem.geometry(), target.given_prior())
    }

    fn elements<E: Element, D: Dimension>(
        &self,
        logits: ArrayView<'_, E, D>,
        target: &Target<'_>,
    ) -> Result<Vec<Option<Table>>, LossError> {
        let problem = target.problem(logits.shape(), self.ignored(), self.activation())?;
        let values = row_major(&logits);
        self.elements_on(&Cpu::default(), (&*values, &problem), problem.geometry(), target.given_prior())
    }
}

/// Has a gradient of the logits' shape written to an array, in place where that is row-major.
pub(crate) fn written<E: Element, D: Dimension, R>(
    logits: &[usize],
    mut gradient: ArrayViewMut<'_, E, D>,
    write: impl FnOnce(&mut [E]) -> Result<R, LossError>,
) -> Result<R, LossError> {
    if gradient.shape() != logits {
        let (logits, got) = (logits.to_vec(), gradient.shape().to_vec());
        return Err(LossError::ShapeMismatch { what: "gradients", expected: logits.clone(), logits, got });
    }
    if let Some(out) = gradient.as_slice_mut() {
        return write(out);
    }
    let mut out = E::zeros(gradient.len());
    let result = write(&mut out)?;
    gradient.iter_mut().zip(out).for_each(|(to, from)| *to = from);
    Ok(result)
}

/// An array of zeros.
pub(crate) fn zeros<E: Element, D: Dimension>(shape: D) -> Result<Array<E, D>, LossError> {
    let zeros = E::zeros(shape.size());
    Array::from_shape_vec(shape, zeros).map_err(|source| LossError::Backend {
        backend: "ndarray",
        operation: "making the gradient",
        source: Box::new(source),
    })
}
