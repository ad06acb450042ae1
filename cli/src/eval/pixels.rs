//! What each pixel contributes to a term that is a sum over pixels, as Cross-Entropy and focal are.
//!
//! The library's `elements` gives such a term per sample and class. With every pixel as a sample of
//! its own they are values per pixel, but for a divisor that all pixels of a call share. Pixels
//! come in blocks; a reference pixel for each class, the same in every block, makes the blocks'
//! divisors comparable, and the sample's own element says what its pixels add up to.

use ndarray::{Array2, Array3, ArrayD, ArrayView3, ArrayViewD, IxDyn};
use segloss::backend::Table;
use segloss::ndarray::{NdarrayLoss, Target};
use segloss::{Detail, Loss, LossError, Term};

use super::compute::Scalar;
use super::input::{Input, TargetArray};

/// Pixels of a block.
const BLOCK: usize = 1 << 14;

/// The values per pixel `[N, *spatial]` of each term, where it is a sum over pixels: those of a
/// sample add up to the sample's row in `tables`.
pub(super) fn pixels<E: Scalar>(
    input: &Input,
    logits: &ArrayViewD<'_, E>,
    tables: &[Option<Table>],
) -> Result<Vec<Option<ArrayD<f32>>>, LossError> {
    let classes = logits.shape().get(1).copied().unwrap_or(1);
    let per_term = input.loss.terms().zip(tables).map(|((_, term), table)| match (alone(input, term, classes)?, table) {
        (Some(loss), Some(table)) => of_term(input, &loss, logits, table).map(Some),
        _ => Ok(None),
    });
    per_term.collect()
}

/// A term as a loss over the batch's pixels, where it is a sum over them that reads no map.
fn alone(input: &Input, term: &Term, classes: usize) -> Result<Option<Loss>, LossError> {
    let Term::Matching(term) = term else { return Ok(None) };
    let Some(text) = term.text() else { return Ok(None) };
    let loss: Loss = text.replace("pooling=sample", "pooling=batch").parse()?;
    let loss = input.loss.ignored().iter().fold(loss, |loss, &label| loss.with_ignore_index(label));
    let loss = loss.with_activation(input.loss.activation());
    let program = loss.program(classes, Detail::Total)?;
    Ok((program.target_plan().is_some() && program.plan().maps().is_empty()).then_some(loss))
}

fn of_term<E: Scalar>(input: &Input, loss: &Loss, logits: &ArrayViewD<'_, E>, table: &Table) -> Result<ArrayD<f32>, LossError> {
    let (samples, classes) = (logits.shape()[0], logits.shape()[1]);
    let space = &logits.shape()[2..];
    let pixels: usize = space.iter().product();
    let all = logits.to_shape((samples, classes, pixels)).map_err(unfit)?;
    let mut out = Vec::with_capacity(samples * pixels);
    for n in 0..samples {
        let whole: f64 = (0..table.columns()).filter_map(|k| table.get(n, k)).sum();
        let mut values = Vec::with_capacity(pixels);
        for start in (0..pixels).step_by(BLOCK) {
            block(input, loss, &all.view(), n, start..pixels.min(start + BLOCK), &mut values)?;
        }
        let sum: f64 = values.iter().sum();
        let scale = if sum == 0.0 { 0.0 } else { whole / sum };
        out.extend(values.into_iter().map(|value| (value * scale) as f32));
    }
    ArrayD::from_shape_vec(IxDyn(&[&[samples], space].concat()), out).map_err(unfit)
}

/// Appends the values of some pixels of a sample, in units of the reference pixels.
fn block<E: Scalar>(
    input: &Input,
    loss: &Loss,
    all: &ArrayView3<'_, E>,
    n: usize,
    range: std::ops::Range<usize>,
    values: &mut Vec<f64>,
) -> Result<(), LossError> {
    let (_, classes, pixels) = all.dim();
    let count = range.len();
    // The reference pixels come behind the others, with logits of 0; one channel has two classes.
    let all_count = count + classes.max(2);
    let logits =
        Array3::from_shape_fn(
            (all_count, classes, 1),
            |(i, k, _)| {
                if i < count { all[[n, k, range.start + i]] } else { E::round(0.0) }
            },
        );
    let weights = Array2::from_shape_fn((all_count, 1), |(i, _)| match &input.weights {
        Some(weights) if i < count => weights.at(n * pixels + range.start + i),
        _ => 1.0,
    });
    let target = &input.target;
    let elements = match target {
        TargetArray::Labels(labels) if labels.shape().iter().product::<usize>() == all.dim().0 * pixels => {
            let labels = Array2::from_shape_fn((all_count, 1), |(i, _)| {
                if i < count { labels.at(n * pixels + range.start + i) } else { (i - count) as i64 }
            });
            loss.elements(logits.view(), &Target::labels(labels.view()).weights(weights.view()))?
        }
        _ => {
            let soft = Array3::from_shape_fn((all_count, classes, 1), |(i, k, _)| {
                if i < count {
                    target.at((n * classes + k) * pixels + range.start + i)
                } else {
                    f64::from(u8::from(i - count == k))
                }
            });
            loss.elements(logits.view(), &Target::soft(soft.view()).weights(weights.view()))?
        }
    };
    let Some(Some(table)) = elements.into_iter().next() else { return Ok(()) };
    let row = |i: usize| (0..table.columns()).filter_map(|k| table.get(i, k)).sum::<f64>();
    let reference: f64 = (count..all_count).map(row).sum();
    values.extend((0..count).map(|i| if reference == 0.0 { 0.0 } else { row(i) / reference }));
    Ok(())
}

fn unfit(source: ndarray::ShapeError) -> LossError {
    LossError::Backend { backend: "ndarray", operation: "shaping pixels", source: Box::new(source) }
}
