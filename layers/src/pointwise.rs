//! Convolutions one pixel wide.

use pulp::Arch;
use rayon::prelude::*;

use crate::{LengthError, check};

/// Pixels that are computed at once, so that their numbers stay in the nearest cache.
const BLOCK: usize = 256;

/// A convolution of one pixel, with offset:
///
/// ```text
/// output[n, o, s] = offset[o] + Σ_c weights[o, c] input[n, c, s]
/// ```
///
/// Weights are `[O, C]`. Sums are those of `f32`.
///
/// ```
/// use segloss_layers::Pointwise;
///
/// let layer = Pointwise { samples: 1, channels: [2, 1], pixels: 3 };
/// let output = layer.forward(&[1.0, 2.0, 3.0, 10.0, 20.0, 30.0], &[1.0, 0.5], &[0.25])?;
/// assert_eq!(output, [6.25, 12.25, 18.25]);
/// # Ok::<(), segloss_layers::LengthError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointwise {
    /// Images.
    pub samples: usize,
    /// Channels of the input and of the output.
    pub channels: [usize; 2],
    /// Pixels of a channel.
    pub pixels: usize,
}

impl Pointwise {
    fn check(&self, what: &'static str, numbers: &[f32], side: usize) -> Result<(), LengthError> {
        check(what, numbers, self.samples * self.channels[side] * self.pixels)
    }

    fn check_weights(&self, weights: &[f32]) -> Result<(), LengthError> {
        check("weights", weights, self.channels[0] * self.channels[1])
    }

    /// The output `[N, O, ...]` of an input `[N, C, ...]`.
    ///
    /// # Errors
    /// [`LengthError`] where an argument has another number of elements.
    pub fn forward(&self, input: &[f32], weights: &[f32], offset: &[f32]) -> Result<Vec<f32>, LengthError> {
        let [channels, outputs] = self.channels;
        self.check("input", input, 0)?;
        self.check_weights(weights)?;
        check("offset", offset, outputs)?;
        Ok(self.mixed(input, self.channels, offset, &|o, c| weights[o * channels + c]))
    }

    /// The gradients of input, weights and offset, given that of the output.
    ///
    /// # Errors
    /// [`LengthError`] where an argument has another number of elements.
    pub fn gradients(&self, input: &[f32], weights: &[f32], gradient: &[f32]) -> Result<[Vec<f32>; 3], LengthError> {
        let [channels, outputs] = self.channels;
        self.check("input", input, 0)?;
        self.check("gradient", gradient, 1)?;
        self.check_weights(weights)?;
        let of_input = self.mixed(gradient, [outputs, channels], &vec![0.0; channels], &|c, o| weights[o * channels + c]);
        let (mut of_weights, mut of_offset) = (vec![0.0; weights.len()], vec![0.0; outputs]);
        if input.is_empty() || gradient.is_empty() {
            return Ok([of_input, of_weights, of_offset]);
        }
        let images = input.par_chunks_exact(channels * self.pixels).zip(gradient.par_chunks_exact(outputs * self.pixels));
        let parts = images.map(|(input, gradient)| Arch::new().dispatch(|| self.products(input, gradient)));
        // Added in order, whoever computed them.
        for [weights, offset] in parts.collect::<Vec<_>>() {
            of_weights.iter_mut().zip(weights).for_each(|(sum, part)| *sum += part);
            of_offset.iter_mut().zip(offset).for_each(|(sum, part)| *sum += part);
        }
        Ok([of_input, of_weights, of_offset])
    }

    /// Sums of channels with weights by output and input channel.
    fn mixed(
        &self,
        input: &[f32],
        [from, to]: [usize; 2],
        offset: &[f32],
        weight: &(dyn Fn(usize, usize) -> f32 + Sync),
    ) -> Vec<f32> {
        let pixels = self.pixels;
        let mut out = vec![0.0; self.samples * to * pixels];
        if out.is_empty() {
            return out;
        }
        let of_image = |(n, out): (usize, &mut [f32])| {
            let input = &input[n * from * pixels..][..from * pixels];
            Arch::new().dispatch(|| {
                for start in (0..pixels).step_by(BLOCK) {
                    let length = BLOCK.min(pixels - start);
                    for (o, out) in out.chunks_exact_mut(pixels).enumerate() {
                        let out = &mut out[start..][..length];
                        out.fill(offset[o]);
                        for (c, input) in input.chunks_exact(pixels).enumerate() {
                            let factor = weight(o, c);
                            out.iter_mut().zip(&input[start..][..length]).for_each(|(out, x)| *out += factor * x);
                        }
                    }
                }
            });
        };
        out.par_chunks_exact_mut(to * pixels).enumerate().for_each(of_image);
        out
    }

    /// Of one image, the gradients of weights and offset.
    #[inline(always)]
    fn products(&self, input: &[f32], gradient: &[f32]) -> [Vec<f32>; 2] {
        let ([channels, outputs], pixels) = (self.channels, self.pixels);
        let (mut weights, mut offset) = (vec![0.0; channels * outputs], vec![0.0; outputs]);
        for start in (0..pixels).step_by(BLOCK) {
            let length = BLOCK.min(pixels - start);
            for (o, gradient) in gradient.chunks_exact(pixels).enumerate() {
                let gradient = &gradient[start..][..length];
                offset[o] += lanes(gradient, |i| gradient[i]);
                for (c, input) in input.chunks_exact(pixels).enumerate() {
                    let input = &input[start..][..length];
                    weights[o * channels + c] += lanes(gradient, |i| gradient[i] * input[i]);
                }
            }
        }
        [weights, offset]
    }
}

/// A sum over a block in sixteen lanes, which the compiler makes vectors of.
#[inline(always)]
fn lanes(block: &[f32], number: impl Fn(usize) -> f32) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [0.0f32; LANES];
    let whole = block.len() / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += number(start + lane);
        }
    }
    lanes.iter().sum::<f32>() + (whole..block.len()).map(number).sum::<f32>()
}
