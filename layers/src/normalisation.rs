//! Normalisation by groups of channels, with the rectifier that follows.

use rayon::prelude::*;

use crate::{LengthError, check};

/// Group normalisation, then the rectifier:
///
/// ```text
/// output = max(0, scale_c (input − mean) / √(variance + epsilon) + offset_c)
/// ```
///
/// with mean and variance of each image over the pixels of each group of channels, summed in `f64`.
///
/// Wu & He, "Group Normalization" (2018).
///
/// ```
/// use segloss_layers::Normalisation;
///
/// let layer = Normalisation { samples: 1, channels: 1, groups: 1, pixels: 4, epsilon: 0.0 };
/// let output = layer.forward(&[1.0, 1.0, 3.0, 3.0], &[2.0], &[0.5])?;
/// assert_eq!(output, [0.0, 0.0, 2.5, 2.5]);
/// # Ok::<(), segloss_layers::LengthError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// Images.
    pub samples: usize,
    /// Channels, a multiple of the groups.
    pub channels: usize,
    /// Groups of neighbouring channels.
    pub groups: usize,
    /// Pixels of a channel.
    pub pixels: usize,
    /// Added to variances.
    pub epsilon: f64,
}

/// Numbers that are added in `f32` before they go into `f64`.
const RUN: usize = 64;

impl Normalisation {
    fn group(&self) -> usize {
        self.channels / self.groups.max(1)
    }

    fn check(&self, what: &'static str, numbers: &[f32]) -> Result<(), LengthError> {
        check(what, numbers, self.samples * self.group() * self.groups * self.pixels)
    }

    /// The output of an input `[N, C, ...]`.
    ///
    /// # Errors
    /// [`LengthError`] where input, scale or offset have another number of elements.
    pub fn forward(&self, input: &[f32], scale: &[f32], offset: &[f32]) -> Result<Vec<f32>, LengthError> {
        self.check("input", input)?;
        check("scale", scale, self.channels)?;
        check("offset", offset, self.channels)?;
        let mut out = vec![0.0; input.len()];
        let length = self.group() * self.pixels;
        if length == 0 {
            return Ok(out);
        }
        let groups = out.par_chunks_exact_mut(length).zip(input.par_chunks_exact(length)).enumerate();
        let of_group = |(i, (out, input)): (usize, (&mut [f32], &[f32]))| {
            let [mean, rate] = self.moments(input);
            let first = i % self.groups * self.group();
            let channels = out.chunks_exact_mut(self.pixels).zip(input.chunks_exact(self.pixels));
            for ((out, input), (scale, offset)) in channels.zip(scale[first..].iter().zip(&offset[first..])) {
                let factor = scale * rate;
                let constant = offset - mean * factor;
                out.iter_mut().zip(input).for_each(|(out, x)| *out = (x * factor + constant).max(0.0));
            }
        };
        groups.for_each(of_group);
        Ok(out)
    }

    /// Mean, and 1 / √(variance + epsilon).
    #[inline(always)]
    fn moments(&self, input: &[f32]) -> [f32; 2] {
        let count = input.len() as f64;
        let runs_of = || input.chunks(RUN);
        let mean = (runs(runs_of().map(|run| lanes(run.iter().copied()))) / count) as f32;
        // Around the rounded mean: the little that is left of it is taken off again.
        let left = runs(runs_of().map(|run| lanes(run.iter().map(|x| x - mean)))) / count;
        let squares = runs(runs_of().map(|run| lanes(run.iter().map(|x| (x - mean) * (x - mean)))));
        let variance = (squares / count - left * left).max(0.0);
        [mean, (1.0 / (variance + self.epsilon).sqrt()) as f32]
    }

    /// The gradients of input, scale and offset, given that of the output.
    ///
    /// # Errors
    /// [`LengthError`] where an argument has another number of elements.
    pub fn gradients(
        &self,
        input: &[f32],
        scale: &[f32],
        offset: &[f32],
        gradient: &[f32],
    ) -> Result<[Vec<f32>; 3], LengthError> {
        self.check("input", input)?;
        self.check("gradient", gradient)?;
        check("scale", scale, self.channels)?;
        check("offset", offset, self.channels)?;
        let length = self.group() * self.pixels;
        let mut out = vec![0.0; input.len()];
        if length == 0 {
            return Ok([out, vec![0.0; self.channels], vec![0.0; self.channels]]);
        }
        let groups = out.par_chunks_exact_mut(length).zip(input.par_chunks_exact(length));
        let groups = groups.zip(gradient.par_chunks_exact(length)).enumerate();
        let sums = groups.map(|(i, ((out, input), gradient))| {
            let first = i % self.groups * self.group();
            let parameters = [&scale[first..], &offset[first..]].map(|all| &all[..self.group()]);
            self.group_gradients(out, [input, gradient], parameters)
        });
        let sums: Vec<Vec<[f64; 2]>> = sums.collect();
        let mut of_channels = vec![[0.0; 2]; self.channels];
        for (i, sums) in sums.iter().enumerate() {
            let first = i % self.groups * self.group();
            for (total, sum) in of_channels[first..].iter_mut().zip(sums) {
                total[0] += sum[0];
                total[1] += sum[1];
            }
        }
        let part = |part: usize| of_channels.iter().map(|sums| sums[part] as f32).collect();
        Ok([out, part(1), part(0)])
    }
}

impl Normalisation {
    /// The gradient of one group's input; of each of its channels the sum of the gradient before
    /// the rectifier, and of its product with the normalised number.
    fn group_gradients(&self, out: &mut [f32], [input, gradient]: [&[f32]; 2], [scale, offset]: [&[f32]; 2]) -> Vec<[f64; 2]> {
        let [mean, rate] = self.moments(input);
        let channels: Vec<Channel<'_>> = input
            .chunks_exact(self.pixels)
            .zip(gradient.chunks_exact(self.pixels))
            .zip(scale.iter().zip(offset))
            .map(|((input, gradient), (&scale, &offset))| Channel { input, gradient, mean, rate, scale, offset })
            .collect();
        let sums: Vec<[f64; 2]> = channels.iter().map(Channel::sums).collect();
        let over = |part: usize| {
            let weighted = sums.iter().zip(scale).map(|(sums, &scale)| f64::from(scale) * sums[part]);
            (weighted.sum::<f64>() / input.len() as f64) as f32
        };
        let [plain, product] = [over(0), over(1)];
        for (out, channel) in out.chunks_exact_mut(self.pixels).zip(&channels) {
            for (out, (x, g)) in out.iter_mut().zip(channel.input.iter().zip(channel.gradient)) {
                let [g, normal] = channel.through(*x, *g);
                *out = rate * (g * channel.scale - plain - normal * product);
            }
        }
        sums
    }
}

/// One channel of one image.
struct Channel<'a> {
    input: &'a [f32],
    gradient: &'a [f32],
    mean: f32,
    rate: f32,
    scale: f32,
    offset: f32,
}

impl Channel<'_> {
    /// The gradient where the rectifier lets it through, and the normalised number.
    #[inline(always)]
    fn through(&self, x: f32, g: f32) -> [f32; 2] {
        let normal = (x - self.mean) * self.rate;
        [if normal * self.scale + self.offset > 0.0 { g } else { 0.0 }, normal]
    }

    fn sums(&self) -> [f64; 2] {
        let pairs = || self.input.chunks(RUN).zip(self.gradient.chunks(RUN));
        let plain = pairs().map(|(x, g)| lanes(x.iter().zip(g).map(|(&x, &g)| self.through(x, g)[0])));
        let product = pairs().map(|(x, g)| {
            lanes(x.iter().zip(g).map(|(&x, &g)| {
                let [g, normal] = self.through(x, g);
                g * normal
            }))
        });
        [runs(plain), runs(product)]
    }
}

/// A sum in eight lanes, which the compiler makes vectors of.
#[inline(always)]
fn lanes(numbers: impl ExactSizeIterator<Item = f32>) -> f32 {
    let mut lanes = [0.0f32; 8];
    for (i, number) in numbers.enumerate() {
        lanes[i % 8] += number;
    }
    lanes.iter().sum()
}

#[inline(always)]
fn runs(runs: impl Iterator<Item = f32>) -> f64 {
    runs.map(f64::from).sum()
}
