//! A loss where all logits of one class are shifted.

use loss_core::expr::Table;
use loss_core::{Loss, LossError, Shifted, Statistics};
use ndarray::{ArrayView, Dimension};

use crate::target::row_major;
use crate::{Element, Target};

/// Sums of a loss over tiles, or over the images of a set, where all logits of one class are
/// shifted by a number: what [`preferred_size`](loss_core::preferred_size) asks for, without a copy
/// of the logits.
///
/// ```
/// use backend_ndarray::{ShiftedSums, Target};
/// use loss_core::{Loss, Preference, preferred_size};
/// use ndarray::{Array2, Array3};
///
/// let loss: Loss = "ce".parse()?;
/// // Two images of two classes, whose logits know nothing: a quarter is of class 1.
/// let images = [8, 12].map(|pixels| {
///     let labels = Array2::from_shape_fn((1, pixels), |(_, s)| u8::from(s % 4 == 0));
///     (Array3::<f32>::zeros((1, 2, pixels)), labels)
/// });
/// let preference = preferred_size(|by| {
///     let mut set = ShiftedSums::new(&loss, 2, 1, by)?;
///     for (logits, labels) in &images {
///         let mut image = ShiftedSums::new(&loss, 2, 1, by)?;
///         image.add(logits.view(), &Target::labels(labels.view()))?;
///         set.stack(image)?;
///     }
///     set.whole(None)
/// })?;
/// let Preference::Size(size) = preference else { panic!() };
/// assert!((size.predicted_ratio().unwrap() - 1.0).abs() < 1e-3);   // ce wants the true proportion
/// # Ok::<(), loss_core::LossError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ShiftedSums {
    sums: Statistics,
    class: usize,
    by: f64,
    /// Weight of the pixels given to the class, and of all that are valid.
    decided: [f64; 2],
}

impl ShiftedSums {
    /// No pixels yet, of logits with so many classes, of which one is shifted.
    ///
    /// # Errors
    /// As [`Loss::statistics`]; [`LossError::ClassIndex`] for a class beyond them.
    pub fn new(loss: &Loss, classes: usize, class: usize, by: f64) -> Result<Self, LossError> {
        if class >= classes {
            return Err(LossError::ClassIndex { class, classes });
        }
        Ok(Self { sums: loss.statistics(classes)?, class, by, decided: [0.0; 2] })
    }

    /// Adds pixels of the same samples: a tile, or whole samples at once.
    ///
    /// # Errors
    /// As [`NdarrayStatistics::add`](crate::NdarrayStatistics::add).
    pub fn add<E: Element, D: Dimension>(&mut self, logits: ArrayView<'_, E, D>, target: &Target<'_>) -> Result<(), LossError> {
        let (loss, values) = (self.sums.loss().clone(), row_major(&logits));
        let problem = target.problem(logits.shape(), loss.ignored(), loss.activation())?.with_shift(self.class, self.by)?;
        let [decided, valid] = loss_kernels::decided(&values, &problem, loss.activation(), self.class)?;
        self.sums.add_on(&mut loss_kernels::Cpu::<E, [E]>::new(&values, problem, None))?;
        self.decided = [self.decided[0] + decided, self.decided[1] + valid];
        Ok(())
    }

    /// Appends the samples of another.
    ///
    /// # Errors
    /// As [`Statistics::stack`].
    pub fn stack(&mut self, other: Self) -> Result<(), LossError> {
        self.sums.stack(other.sums)?;
        self.decided = [self.decided[0] + other.decided[0], self.decided[1] + other.decided[1]];
        Ok(())
    }

    /// The loss of all that was added, and the sizes of the class. The prior is for penalties with
    /// `target=given`.
    ///
    /// # Errors
    /// As [`Statistics::whole`].
    pub fn whole(&self, prior: Option<&Table>) -> Result<Shifted, LossError> {
        let whole = self.sums.whole(prior)?;
        let evaluation = whole.evaluation();
        let classes = evaluation.regions.len();
        let region = evaluation.regions.get(self.class).ok_or(LossError::ClassIndex { class: self.class, classes })?;
        let [decided, valid] = self.decided;
        Ok(Shifted {
            value: evaluation.total,
            target: region.target,
            predicted: region.predicted,
            decided: if valid > 0.0 { decided / valid } else { 0.0 },
        })
    }
}
