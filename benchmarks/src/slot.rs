//! Logits and labels in memory, and what is done to them.

use std::sync::{Mutex, PoisonError};

use backend_ndarray::{Element, NdarrayLoss, Target};
use conformance_tests::inputs::numbers;
use loss_core::expr::Table;
use loss_core::{Geometry, Loss, LossError, Passes, Plan};
use loss_kernels::{Cpu, Labels, Problem};
use ndarray::{ArrayD, IxDyn};
use rayon::prelude::*;

/// Labels of one of three types.
#[derive(Clone, Debug)]
pub enum LabelArray {
    /// Bytes.
    U8(ArrayD<u8>),
    /// Four bytes.
    I32(ArrayD<i32>),
    /// Eight bytes, as PyTorch's.
    I64(ArrayD<i64>),
}

/// Logits −3 to 3 and labels that look random: those of the conformance suite, in one type.
///
/// Neighbours have unrelated labels, which is the hardest for caches and predictions.
pub struct Slot<E> {
    logits: ArrayD<E>,
    labels: LabelArray,
    /// Of the logits' shape, and touched before it is used.
    spare: Option<ArrayD<E>>,
}

/// Labels of logits `[N, K, *spatial]`, in 0..K (0 and 1 for one channel), made by `to` of numbers
/// that depend on the seed alone.
///
/// # Errors
/// [`LossError::Length`] for a shape that no array can have.
pub fn labels_of<L>(shape: &[usize], seed: u64, to: impl Fn(i64) -> L) -> Result<ArrayD<L>, LossError> {
    let classes = shape.get(1).copied().unwrap_or(1).max(2);
    let pixels: Vec<usize> = shape.iter().enumerate().filter(|(axis, _)| *axis != 1).map(|(_, &length)| length).collect();
    let values = numbers(pixels.iter().product(), seed + 1).map(|u| to((u * classes as f64) as i64));
    array(&pixels, values.collect())
}

fn array<T>(shape: &[usize], values: Vec<T>) -> Result<ArrayD<T>, LossError> {
    let got = values.len();
    let refused = |_| LossError::Length { what: "an array", shape: shape.to_vec(), got };
    ArrayD::from_shape_vec(IxDyn(shape), values).map_err(refused)
}

impl<E: Element> Slot<E> {
    /// Logits of a shape, made by `from` of numbers that depend on the seed alone.
    ///
    /// # Errors
    /// [`LossError::Length`] for a shape that no array can have.
    pub fn new(shape: &[usize], seed: u64, from: impl Fn(f64) -> E, labels: LabelArray) -> Result<Self, LossError> {
        let logits = numbers(shape.iter().product(), seed).map(|u| from(6.0 * u - 3.0)).collect();
        Ok(Self { logits: array(shape, logits)?, labels, spare: None })
    }

    /// The logits.
    pub fn logits(&self) -> &ArrayD<E> {
        &self.logits
    }

    /// The labels.
    pub fn labels(&self) -> &LabelArray {
        &self.labels
    }

    /// The array that [`Slot::both_into_spare`] writes to.
    pub fn spare(&mut self) -> &mut ArrayD<E> {
        // A copy, so that the system has given every page of it.
        self.spare.get_or_insert_with(|| self.logits.clone())
    }

    fn target(&self) -> Target<'_> {
        match &self.labels {
            LabelArray::U8(labels) => Target::labels(labels.view()),
            LabelArray::I32(labels) => Target::labels(labels.view()),
            LabelArray::I64(labels) => Target::labels(labels.view()),
        }
    }

    /// The value alone.
    ///
    /// # Errors
    /// What the loss reports: see [`NdarrayLoss`].
    pub fn value(&self, loss: &Loss) -> Result<f64, LossError> {
        loss.value(self.logits.view(), &self.target())
    }

    /// Value and gradient, in a new array.
    ///
    /// # Errors
    /// What the loss reports: see [`NdarrayLoss`].
    pub fn both(&self, loss: &Loss) -> Result<f64, LossError> {
        Ok(loss.value_and_gradient(self.logits.view(), &self.target())?.value.total)
    }

    /// Value and gradient, in the spare array.
    ///
    /// # Errors
    /// What the loss reports: see [`NdarrayLoss`].
    pub fn both_into_spare(&mut self, loss: &Loss) -> Result<f64, LossError> {
        let mut spare = self.spare.take().unwrap_or_else(|| self.logits.clone());
        let value = loss.value_and_gradient_into(self.logits.view(), &self.target(), spare.view_mut());
        self.spare = Some(spare);
        Ok(value?.total)
    }

    /// Copies the logits to the spare array, by all threads.
    pub fn copy(&mut self) {
        const CHUNK: usize = 1 << 16;
        let mut spare = self.spare.take().unwrap_or_else(|| self.logits.clone());
        if let (Some(to), Some(from)) = (spare.as_slice_mut(), self.logits.as_slice()) {
            to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(|(to, from)| to.copy_from_slice(from));
        }
        self.spare = Some(spare);
    }

    /// Hands over a function that takes the gradient alone: the statistics are taken at the first
    /// call.
    ///
    /// # Errors
    /// What the loss reports: see [`NdarrayLoss`].
    pub fn with_gradient_pass<R>(
        &mut self,
        loss: &Loss,
        f: impl FnOnce(&mut dyn FnMut() -> Result<f64, LossError>) -> R,
    ) -> Result<R, LossError> {
        let mut spare = self.spare.take().unwrap_or_else(|| self.logits.clone());
        let (labels, shape) = match &self.labels {
            LabelArray::U8(labels) => (labels.as_slice().map(Labels::U8), labels.shape()),
            LabelArray::I32(labels) => (labels.as_slice().map(Labels::I32), labels.shape()),
            LabelArray::I64(labels) => (labels.as_slice().map(Labels::I64), labels.shape()),
        };
        // All three were made row-major.
        let labels = labels.unwrap_or(Labels::U8(&[]));
        let (Some(logits), Some(out)) = (self.logits.as_slice(), spare.as_slice_mut()) else {
            return Err(LossError::Length { what: "row-major values", shape: self.logits.shape().to_vec(), got: 0 });
        };
        let target = (loss_kernels::Target::Labels(labels), shape);
        let problem = Problem::new(self.logits.shape(), target, None, loss.ignored(), loss.activation())?;
        let kernels: Cpu<'_, _> = Cpu::new(logits, problem, None);
        let mut call = Remembering { kernels, statistics: Mutex::default() };
        let mut pass = || loss.value_on(&mut call, Some(&mut *out)).map(|value| value.total);
        pass()?;
        let result = f(&mut pass);
        self.spare = Some(spare);
        Ok(result)
    }
}

/// The kernels, with statistics that are taken once: what is left is the gradient's pass, and the
/// formulas on [N, K] numbers.
struct Remembering<'a, E> {
    kernels: Cpu<'a, E>,
    statistics: Mutex<Vec<(Plan, Vec<Table>)>>,
}

impl<E: Element> Passes for Remembering<'_, E> {
    type Gradient = [E];

    fn geometry(&self) -> Geometry {
        self.kernels.geometry()
    }

    fn prior(&self) -> Option<&Table> {
        self.kernels.prior()
    }

    fn statistics(&self, plan: &Plan) -> Result<Vec<Table>, LossError> {
        let mut known = self.statistics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, tables)) = known.iter().find(|(of, _)| of == plan) {
            return Ok(tables.clone());
        }
        let tables = self.kernels.statistics(plan)?;
        known.push((plan.clone(), tables.clone()));
        Ok(tables)
    }

    fn logit_gradient(&self, plan: &Plan, upstream: &[Option<Table>], gradient: &mut [E]) -> Result<(), LossError> {
        self.kernels.logit_gradient(plan, upstream, gradient)
    }

    fn gradient_sums(&self, plan: &Plan, upstreams: &[Vec<Option<Table>>]) -> Result<Vec<Table>, LossError> {
        self.kernels.gradient_sums(plan, upstreams)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::LOSS;

    #[test]
    fn all_ways_give_the_same_numbers() {
        let shape = [2, 3, 17, 5];
        let labels = LabelArray::U8(labels_of(&shape, 7, |l| l as u8).unwrap());
        let mut slot = Slot::new(&shape, 7, |z| z as f32, labels).unwrap();
        let loss: Loss = LOSS.parse().unwrap();
        let value = slot.value(&loss).unwrap();
        assert_eq!(slot.both(&loss).unwrap(), value);
        assert_eq!(slot.both_into_spare(&loss).unwrap(), value);
        let whole = slot.spare().clone();
        slot.spare().fill(0.0);
        let again = slot.with_gradient_pass(&loss, |pass| pass()).unwrap().unwrap();
        assert_eq!(again, value);
        assert_eq!(*slot.spare(), whole);
        // Where the derivatives are known before the logits are read.
        let ce: Loss = "ce".parse().unwrap();
        let value = slot.value(&ce).unwrap();
        assert_eq!(slot.with_gradient_pass(&ce, |pass| pass()).unwrap().unwrap(), value);
        slot.copy();
        assert_eq!(slot.spare, Some(slot.logits.clone()));
    }

    #[test]
    fn labels_are_of_all_classes() {
        let labels = labels_of(&[2, 5, 20, 20], 3, |l| l).unwrap();
        assert_eq!(labels.shape(), [2, 20, 20]);
        assert!((0..5).all(|k| labels.iter().any(|&l| l == k)));
        assert!(labels.iter().all(|l| (0..5).contains(l)));
        // One channel reads 0 and 1.
        assert_eq!(labels_of(&[1, 1, 64], 3, |l| l).unwrap().iter().max(), Some(&1));
    }
}
