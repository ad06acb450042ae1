//! Convolutions three pixels wide.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::planes::{Planes, SLACK};
use crate::{LengthError, check};

/// Channels that are computed at once.
const BLOCK: usize = 4;

/// A convolution of stride 1 without offset, whose output is as large as its input: 3x3x3 on
/// volumes, 1x3x3 on pictures, zeros around the image.
///
/// ```text
/// output[n, o, s] = Σ_c Σ_t weights[o, c, t] input[n, c, s + t]    t from -1 to 1 by axis
/// ```
///
/// Weights are `[O, C, 1 or 3, 3, 3]`. Sums are those of `f32`, of the weights' gradient too.
///
/// ```
/// use segloss_layers::Convolution;
///
/// let blur = Convolution { samples: 1, channels: [1, 1], size: [1, 2, 3], volumes: false };
/// let output = blur.forward(&[1.0, 0.0, 0.0, 0.0, 0.0, 2.0], &[1.0; 9])?;
/// assert_eq!(output, [1.0, 3.0, 2.0, 1.0, 3.0, 2.0]);
/// # Ok::<(), segloss_layers::LengthError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Images.
    pub samples: usize,
    /// Channels of the input and of the output.
    pub channels: [usize; 2],
    /// Lengths along the axes of space, [D, H, W].
    pub size: [usize; 3],
    /// Whether the kernel is three slices thick.
    pub volumes: bool,
}

impl Convolution {
    fn taps(&self) -> usize {
        if self.volumes { 27 } else { 9 }
    }

    fn pixels(&self) -> usize {
        self.size.iter().product()
    }

    fn planes(&self) -> Planes {
        Planes::new(self.size, self.volumes)
    }

    fn check(&self, what: &'static str, numbers: &[f32], side: usize) -> Result<(), LengthError> {
        check(what, numbers, self.samples * self.channels[side] * self.pixels())
    }

    fn check_weights(&self, weights: &[f32]) -> Result<(), LengthError> {
        check("weights", weights, self.channels[0] * self.channels[1] * self.taps())
    }

    /// The output `[N, O, D, H, W]` of an input `[N, C, D, H, W]`.
    ///
    /// # Errors
    /// [`LengthError`] where input or weights have another number of elements.
    pub fn forward(&self, input: &[f32], weights: &[f32]) -> Result<Vec<f32>, LengthError> {
        self.check("input", input, 0)?;
        self.check_weights(weights)?;
        Ok(self.correlate(input, weights, self.channels))
    }

    /// The gradient of the input, given that of the output.
    ///
    /// # Errors
    /// [`LengthError`] where gradient or weights have another number of elements.
    pub fn input_gradient(&self, gradient: &[f32], weights: &[f32]) -> Result<Vec<f32>, LengthError> {
        self.check("gradient", gradient, 1)?;
        self.check_weights(weights)?;
        let ([channels, outputs], taps) = (self.channels, self.taps());
        // What a pixel gave to its neighbours comes back from the opposite side.
        let mut back = vec![0.0; weights.len()];
        for (place, weight) in weights.iter().enumerate() {
            let (o, c, t) = (place / (channels * taps), place / taps % channels, place % taps);
            back[(c * outputs + o) * taps + taps - 1 - t] = *weight;
        }
        Ok(self.correlate(gradient, &back, [outputs, channels]))
    }

    /// The gradient of the weights, given the input and the gradient of the output.
    ///
    /// # Errors
    /// [`LengthError`] where input or gradient have another number of elements.
    pub fn weight_gradient(&self, input: &[f32], gradient: &[f32]) -> Result<Vec<f32>, LengthError> {
        self.check("input", input, 0)?;
        self.check("gradient", gradient, 1)?;
        let ([channels, outputs], planes) = (self.channels, self.planes());
        let offsets = planes.offsets();
        if input.is_empty() || gradient.is_empty() {
            return Ok(vec![0.0; channels * outputs * offsets.len()]);
        }
        let of_sample = |n: usize| {
            let part = |numbers: &[f32], channels: usize| {
                let length = channels * self.pixels();
                let mut wide = planes.widened(&numbers[n * length..][..length]);
                wide.resize(wide.len() + planes.middle() + SLACK, 0.0);
                wide
            };
            let (input, gradient) = (part(input, channels), part(gradient, outputs));
            // Pixels are numbered by their neighbour of the smallest indices, so that the gradient
            // stands where the output stood.
            let products = Products {
                input: &input,
                gradient: &gradient[planes.middle()..],
                channels,
                outputs,
                planes,
                offsets: &offsets,
            };
            Arch::new().dispatch(products)
        };
        // Added in order, whoever computed them.
        let parts: Vec<Vec<f32>> = (0..self.samples).into_par_iter().map(of_sample).collect();
        let mut sums = vec![0.0; channels * outputs * offsets.len()];
        for part in parts {
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        Ok(sums)
    }

    fn correlate(&self, input: &[f32], weights: &[f32], [channels, outputs]: [usize; 2]) -> Vec<f32> {
        let (pixels, planes, taps) = (self.pixels(), self.planes(), self.taps());
        let offsets = planes.offsets();
        // By blocks of outputs, and within a block as they are used.
        let mut packed = vec![[0.0; BLOCK]; outputs.div_ceil(BLOCK) * channels * taps];
        for (place, weight) in weights.iter().enumerate() {
            let (o, ct) = (place / (channels * taps), place % (channels * taps));
            packed[o / BLOCK * channels * taps + ct][o % BLOCK] = *weight;
        }
        let mut out = vec![0.0; self.samples * outputs * pixels];
        if out.is_empty() || channels == 0 {
            return out;
        }
        let samples = out.par_chunks_exact_mut(outputs * pixels).zip(input.par_chunks_exact(channels * pixels));
        samples.for_each(|(out, input)| {
            let input = planes.widened(input);
            let blocks = out.par_chunks_mut(BLOCK * pixels).zip(packed.par_chunks_exact(channels * taps));
            blocks.for_each(|(out, weights)| {
                let extent = planes.extent().next_multiple_of(SLACK);
                let mut sums = vec![0.0; BLOCK * extent];
                let area = planes.area();
                Arch::new().dispatch(Sums { input: &input, weights, offsets: &offsets, area, extent, out: &mut sums });
                for (channel, sums) in out.chunks_exact_mut(pixels).zip(sums.chunks_exact(extent)) {
                    planes.narrowed(sums, channel);
                }
            });
        });
        out
    }
}

/// A block of output channels of one image.
struct Sums<'a> {
    input: &'a [f32],
    weights: &'a [[f32; BLOCK]],
    offsets: &'a [usize],
    area: usize,
    extent: usize,
    out: &'a mut [f32],
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let step = 2 * size_of::<S::f32s>() / size_of::<f32>();
        let zero = simd.splat_f32s(0.0);
        for start in (0..self.extent).step_by(step) {
            let mut sums = [[zero; 2]; BLOCK];
            let mut weights = self.weights.iter();
            let mut plane = start;
            while weights.len() > 0 {
                for (offset, weights) in self.offsets.iter().zip(&mut weights) {
                    // The last reads reach into what follows: they are of no pixel.
                    let Some(values) = self.input.get(plane + offset..plane + offset + step) else { continue };
                    let [a, b] = S::as_simd_f32s(values).0 else { continue };
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        let weight = simd.splat_f32s(*weight);
                        sum[0] = simd.mul_add_e_f32s(weight, *a, sum[0]);
                        sum[1] = simd.mul_add_e_f32s(weight, *b, sum[1]);
                    }
                }
                plane += self.area;
            }
            for (out, sums) in self.out.chunks_exact_mut(self.extent).zip(sums) {
                if let Some([a, b]) = out.get_mut(start..start + step).map(|out| S::as_mut_simd_f32s(out).0) {
                    [*a, *b] = sums;
                }
            }
        }
    }
}

/// Sums over the pixels of one image: of each input channel's neighbours times each output's
/// gradient.
struct Products<'a> {
    input: &'a [f32],
    gradient: &'a [f32],
    channels: usize,
    outputs: usize,
    planes: Planes,
    offsets: &'a [usize],
}

/// Neighbours that are summed at once.
const ROW: usize = 3;

impl WithSimd for Products<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let (area, extent) = (self.planes.area(), self.planes.extent().next_multiple_of(SLACK));
        let taps = self.offsets.len();
        let mut out = vec![0.0; self.channels * self.outputs * taps];
        let zero = simd.splat_f32s(0.0);
        // Vectors of a channel from a place on.
        let count = S::as_simd_f32s(&self.gradient[..extent]).0.len();
        macro_rules! vectors {
            ($numbers:expr, $at:expr) => {
                &S::as_simd_f32s(&$numbers[$at..$at + extent]).0[..count]
            };
        }
        for first in (0..self.outputs).step_by(BLOCK) {
            // Of fewer outputs the last is taken again, and its sums are not kept.
            let of = |i: usize| (first + i).min(self.outputs - 1) * area;
            let [g, h, k, l] = [of(0), of(1), of(2), of(3)];
            let gradients = [
                vectors!(self.gradient, g),
                vectors!(self.gradient, h),
                vectors!(self.gradient, k),
                vectors!(self.gradient, l),
            ];
            for c in 0..self.channels {
                for (group, offsets) in self.offsets.as_chunks::<ROW>().0.iter().enumerate() {
                    let [x, y, z] = offsets.map(|offset| c * area + offset);
                    let values = [vectors!(self.input, x), vectors!(self.input, y), vectors!(self.input, z)];
                    let mut sums = [[zero; ROW]; BLOCK];
                    for at in 0..count {
                        let values = [values[0][at], values[1][at], values[2][at]];
                        for (sums, gradient) in sums.iter_mut().zip(&gradients) {
                            for (sum, value) in sums.iter_mut().zip(values) {
                                *sum = simd.mul_add_e_f32s(gradient[at], value, *sum);
                            }
                        }
                    }
                    for (i, sums) in sums.into_iter().enumerate().take(self.outputs - first) {
                        for (t, sum) in sums.into_iter().enumerate() {
                            out[((first + i) * self.channels + c) * taps + ROW * group + t] = simd.reduce_sum_f32s(sum);
                        }
                    }
                }
            }
        }
        out
    }
}
