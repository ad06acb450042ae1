//! A block of pixels of one sample: decoded target, logits, and the probabilities made of them.

use loss_core::{Activation, LossError, Side, Temperature};

use crate::problem::{Labels, Target};
use crate::{Element, Problem, Real};

/// Bytes of one buffer of a block: a few of them stay in the cache together.
const BUFFER: usize = 16 * 1024;

/// Segments of a sample at most; their partial sums are all that is kept.
const SEGMENTS: usize = 64;

/// How the pixels of a sample are cut up: by shape and type alone, never by the number of threads.
#[derive(Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) block: usize,
    pub(crate) segment: usize,
}

impl Cut {
    pub(crate) fn new<C>(classes: usize, pixels: usize) -> Self {
        let fitting = BUFFER / (classes * size_of::<C>());
        let block = (fitting / 16 * 16).clamp(16, 512);
        let segment = pixels.div_ceil(SEGMENTS).div_ceil(block) * block;
        Self { block, segment }
    }
}

/// Buffers of one block; columns of `len` values, one per class where they depend on it.
pub(crate) struct Block<C> {
    classes: usize,
    capacity: usize,
    pub(crate) len: usize,
    /// Class of each pixel where the target is hard; negative where none of the channels is its class.
    pub(crate) class: Vec<i32>,
    /// Whether the target is hard.
    pub(crate) hard: bool,
    /// Weight of each pixel; 0 where it is not valid.
    pub(crate) weight: Vec<C>,
    /// w·y per class.
    weighted_target: Vec<C>,
    /// y per class, soft targets only.
    soft: Vec<C>,
    /// z per class; 0 where the pixel is not valid.
    logits: Vec<C>,
    /// max_k z.
    max: Vec<C>,
    /// log Σ_k e^(z − max).
    log_sum: Vec<C>,
    /// p(τ) per class.
    probability: Vec<C>,
    /// log p per class, or log(1 − p).
    log: Vec<C>,
    /// One column.
    scratch: Vec<C>,
}

impl<C: Real> Block<C> {
    pub(crate) fn new(classes: usize, capacity: usize) -> Self {
        let columns = || vec![C::zero(); classes * capacity];
        let column = || vec![C::zero(); capacity];
        Self {
            classes,
            capacity,
            len: 0,
            class: vec![-1; capacity],
            hard: true,
            weight: column(),
            weighted_target: columns(),
            soft: Vec::new(),
            logits: columns(),
            max: column(),
            log_sum: column(),
            probability: columns(),
            log: columns(),
            scratch: column(),
        }
    }

    fn column(buffer: &[C], k: usize, capacity: usize, len: usize) -> &[C] {
        &buffer[k * capacity..k * capacity + len]
    }

    /// w·y of a class.
    pub(crate) fn weighted_target(&self, k: usize) -> &[C] {
        Self::column(&self.weighted_target, k, self.capacity, self.len)
    }

    /// w·y² of a class, pixel by pixel.
    pub(crate) fn squared_target(&self, k: usize, b: usize) -> C {
        let weighted = self.weighted_target(k)[b];
        if self.hard { weighted } else { weighted * self.soft[k * self.capacity + b] }
    }

    /// p(τ) of a class, as last computed.
    pub(crate) fn probability(&self, k: usize) -> &[C] {
        Self::column(&self.probability, k, self.capacity, self.len)
    }

    /// log p or log(1 − p) of a class, as last computed.
    pub(crate) fn log(&self, k: usize) -> &[C] {
        Self::column(&self.log, k, self.capacity, self.len)
    }

    /// The logits of a class.
    pub(crate) fn logits(&self, k: usize) -> &[C] {
        Self::column(&self.logits, k, self.capacity, self.len)
    }

    /// Weights of the pixels.
    pub(crate) fn weights(&self) -> &[C] {
        &self.weight[..self.len]
    }

    /// Decodes the pixels `start..start + len` of a sample, and refuses what must not be there.
    pub(crate) fn load<E: Element<Compute = C>>(
        &mut self,
        problem: &Problem<'_>,
        logits: &[E],
        sample: usize,
        start: usize,
        len: usize,
    ) -> Result<(), LossError> {
        self.len = len;
        let (pixels, labels) = (problem.geometry.pixels, problem.geometry.labels());
        let first = sample * pixels + start;
        for b in 0..len {
            self.weight[b] = match problem.weights {
                None => C::one(),
                Some(weights) => {
                    let weight = weights.at(first + b);
                    if !(weight >= 0.0 && weight.is_finite()) {
                        return Err(LossError::ValueOutOfRange {
                            what: "pixel weight",
                            value: weight,
                            expected: "finite numbers >= 0",
                            position: problem.pixel_position(sample, start + b),
                        });
                    }
                    C::of(weight)
                }
            };
        }
        self.hard = matches!(problem.target, Target::Labels(_));
        if let Target::Labels(given) = problem.target {
            for b in 0..len {
                let label = match given {
                    Labels::U8(v) => i64::from(v[first + b]),
                    Labels::I32(v) => i64::from(v[first + b]),
                    Labels::I64(v) => v[first + b],
                };
                self.class[b] = -1;
                if problem.ignore.contains(&label) {
                    self.weight[b] = C::zero();
                } else if (0..labels as i64).contains(&label) {
                    // A single channel is the class 1; its background has no channel of its own.
                    self.class[b] = if self.classes == 1 { label as i32 - 1 } else { label as i32 };
                } else {
                    let position = problem.pixel_position(sample, start + b);
                    return Err(LossError::LabelOutOfRange { label, classes: labels, position });
                }
            }
        }
        for k in 0..self.classes {
            let plane = (sample * self.classes + k) * pixels + start;
            let column = k * self.capacity;
            for (b, &value) in logits[plane..plane + len].iter().enumerate() {
                // What a pixel without weight holds must not even be multiplied by 0: it may be NaN.
                let value = if self.weight[b] == C::zero() { C::zero() } else { value.load() };
                if !value.is_finite() {
                    let position = problem.logit_position(sample, k, start + b);
                    return Err(LossError::NonFiniteLogit { value: value.wide(), position });
                }
                self.logits[column + b] = value;
            }
            match problem.target {
                Target::Labels(_) => {
                    let class = k as i32;
                    let target = &mut self.weighted_target[column..column + len];
                    for ((target, &weight), &label) in target.iter_mut().zip(&self.weight).zip(&self.class) {
                        *target = if label == class { weight } else { C::zero() };
                    }
                }
                Target::Soft(shares) => {
                    self.soft.resize(self.classes * self.capacity, C::zero());
                    for b in 0..len {
                        let valid = self.weight[b] != C::zero();
                        let share = if valid { shares.at(plane + b) } else { 0.0 };
                        if !(0.0..=1.0).contains(&share) {
                            let position = problem.logit_position(sample, k, start + b);
                            return Err(LossError::ValueOutOfRange {
                                what: "soft target",
                                value: share,
                                expected: "[0, 1]",
                                position,
                            });
                        }
                        self.soft[column + b] = C::of(share);
                        self.weighted_target[column + b] = self.weight[b] * C::of(share);
                    }
                }
            }
        }
        Ok(())
    }

    /// max_k z, once per block, before any softmax.
    pub(crate) fn find_max(&mut self) {
        let (len, capacity) = (self.len, self.capacity);
        self.max[..len].copy_from_slice(&self.logits[..len]);
        for k in 1..self.classes {
            let column = Self::column(&self.logits, k, capacity, len);
            self.max.iter_mut().zip(column).for_each(|(max, &z)| *max = if z > *max { z } else { *max });
        }
    }

    /// p(τ), and with softmax at τ = 1 also log Σ e^(z − max) for the logarithms.
    pub(crate) fn probabilities(&mut self, activation: Activation, temperature: Temperature, side: Side) {
        let (len, capacity) = (self.len, self.capacity);
        let tau = C::of(temperature.value());
        match activation {
            Activation::Softmax => {
                let sum = &mut self.scratch[..len];
                sum.fill(C::zero());
                for k in 0..self.classes {
                    let z = Self::column(&self.logits, k, capacity, len);
                    let p = &mut self.probability[k * capacity..k * capacity + len];
                    for (((p, &z), &max), sum) in p.iter_mut().zip(z).zip(&self.max).zip(sum.iter_mut()) {
                        // The difference first: τ·z may overflow, τ·(z − max) goes to −∞ at worst.
                        *p = (tau * (z - max)).exp_nonpositive();
                        *sum = *sum + *p;
                    }
                }
                if temperature == Temperature::ONE {
                    self.log_sum.iter_mut().zip(sum.iter()).for_each(|(log, &sum)| *log = sum.ln());
                }
                sum.iter_mut().for_each(|sum| *sum = sum.recip());
                for k in 0..self.classes {
                    let p = &mut self.probability[k * capacity..k * capacity + len];
                    p.iter_mut().zip(sum.iter()).for_each(|(p, &inverse)| *p = *p * inverse);
                }
            }
            Activation::Sigmoid => {
                // 1 − σ(x) = σ(−x), without cancelling.
                let tau = if side == Side::Background { -tau } else { tau };
                for k in 0..self.classes {
                    let z = Self::column(&self.logits, k, capacity, len);
                    let p = &mut self.probability[k * capacity..k * capacity + len];
                    p.iter_mut().zip(z).for_each(|(p, &z)| *p = sigmoid(tau * z));
                }
            }
        }
    }

    /// log p of each class; with softmax [`Self::probabilities`] at τ = 1 goes before. `background` (sigmoid): log(1 − p).
    pub(crate) fn logarithms(&mut self, activation: Activation, background: bool) {
        let (len, capacity) = (self.len, self.capacity);
        for k in 0..self.classes {
            let z = Self::column(&self.logits, k, capacity, len);
            let log = &mut self.log[k * capacity..k * capacity + len];
            match activation {
                Activation::Softmax => {
                    for (((log, &z), &max), &log_sum) in log.iter_mut().zip(z).zip(&self.max).zip(&self.log_sum) {
                        *log = (z - max) - log_sum;
                    }
                }
                Activation::Sigmoid => {
                    log.iter_mut().zip(z).for_each(|(log, &z)| *log = log_sigmoid(if background { -z } else { z }));
                }
            }
        }
    }

    /// log p of each pixel's own class; of class 0 where it has none.
    pub(crate) fn own_log(&self, out: &mut [C]) {
        for (b, (out, &class)) in out.iter_mut().zip(&self.class[..self.len]).enumerate() {
            *out = self.log[class.max(0) as usize * self.capacity + b];
        }
    }
}

/// `1/(1 + e^−x)`, from the side that does not overflow.
#[inline]
pub(crate) fn sigmoid<C: Real>(x: C) -> C {
    let e = (-x.abs()).exp_nonpositive();
    let small = (C::one() + e).recip();
    if x >= C::zero() { small } else { e * small }
}

/// `log(1/(1 + e^−x))` = min(x, 0) − log(1 + e^−|x|).
#[inline]
pub(crate) fn log_sigmoid<C: Real>(x: C) -> C {
    x.min(C::zero()) - (-x.abs()).exp_nonpositive().ln_1p()
}
