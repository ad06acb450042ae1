//! Which pixels are given to a class.

use loss_core::backend::Pixels;
use loss_core::{Activation, Geometry, LossError};
use rayon::prelude::*;

use crate::problem::Numbers;
use crate::{Element, Problem, Real};

/// Pixels that are looked at together.
const BLOCK: usize = 1024;

/// The weight of the valid pixels that are given to a class, and that of all valid pixels. Under
/// softmax a pixel is given to the class of its largest logit, the first of several; under sigmoid
/// to every class whose logit is above 0.
///
/// # Errors
/// [`LossError::Length`] where the logits are not as long as the problem says;
/// [`LossError::ClassIndex`] for a class that they do not have.
pub fn decided<E: Element>(
    logits: &[E],
    problem: &Problem<'_>,
    activation: Activation,
    class: usize,
) -> Result<[f64; 2], LossError> {
    problem.logits_fit(logits.len())?;
    let Geometry { samples, classes, pixels } = problem.geometry();
    if class >= classes {
        return Err(LossError::ClassIndex { class, classes });
    }
    let numbers = Numbers { problem, logits };
    let blocks: Vec<(usize, usize)> =
        (0..samples).flat_map(|n| (0..pixels).step_by(BLOCK).map(move |start| (n, start))).collect();
    let of_block = |&(n, start): &(usize, usize)| {
        let length = BLOCK.min(pixels - start);
        let load = |k: usize, to: &mut [E::Compute]| {
            let first = (n * classes + k) * pixels + start;
            E::load(&logits[first..first + to.len()], to);
            let by = E::Compute::of(problem.shift_of(k));
            to.iter_mut().for_each(|z| *z = *z + by);
        };
        let mut own = vec![E::Compute::default(); length];
        load(class, &mut own);
        let mut given: Vec<bool> = match activation {
            Activation::Sigmoid => own.iter().map(|z| *z > E::Compute::default()).collect(),
            Activation::Softmax => vec![true; length],
        };
        if activation == Activation::Softmax {
            let mut other = vec![E::Compute::default(); length];
            for k in (0..classes).filter(|&k| k != class) {
                load(k, &mut other);
                let beats = |own: E::Compute, other: E::Compute| if k < class { own > other } else { own >= other };
                given.iter_mut().zip(&own).zip(&other).for_each(|((given, own), other)| *given &= beats(*own, *other));
            }
        }
        given.iter().enumerate().fold([0.0, 0.0], |[decided, all], (s, given)| {
            let weight = numbers.weight(n, start + s);
            [decided + if *given { weight } else { 0.0 }, all + weight]
        })
    };
    // Collected in order, so that sums do not depend on the number of threads.
    let sums: Vec<[f64; 2]> = blocks.par_iter().map(of_block).collect();
    Ok(sums.into_iter().fold([0.0, 0.0], |[a, b], [c, d]| [a + c, b + d]))
}
