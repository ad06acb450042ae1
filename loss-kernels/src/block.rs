//! A block of pixels of one sample: decoded target, logits, and the probabilities made of them.
//!
//! Everything is a column of the block's pixels, padded to whole vectors by pixels of weight 0 and logit 0.

use std::slice::{ChunksExact, ChunksExactMut};

use loss_core::{LossError, Temperature};
use pulp::Simd;

use crate::problem::{Labels, Target};
use crate::simd::{Column, Lanes, PADDING, Vectors, vectors_mut, write_column};
use crate::{Problem, Real};

/// Columns of one length, one per class; each begins at a line of the cache.
pub(crate) struct Columns<C> {
    data: Vec<C>,
    first: usize,
    stride: usize,
    length: usize,
}

impl<C: Real> Columns<C> {
    /// Room for columns of up to `capacity` pixels, a multiple of the padding.
    pub(crate) fn new(count: usize, capacity: usize) -> Self {
        // A line apart: columns at multiples of 4 KiB would share their place in the cache.
        let stride = capacity + PADDING;
        let data = vec![C::zero(); count * stride + PADDING];
        // The offset is a hint: where there is none, or a strange one, columns are only less well placed.
        let first = data.as_ptr().align_offset(64).min(PADDING);
        Self { data, first, stride, length: capacity }
    }

    fn resize(&mut self, padded: usize) {
        self.length = padded;
    }

    pub(crate) fn column(&self, k: usize) -> &[C] {
        let start = self.first + k * self.stride;
        &self.data[start..start + self.length]
    }

    pub(crate) fn column_mut(&mut self, k: usize) -> &mut [C] {
        let start = self.first + k * self.stride;
        &mut self.data[start..start + self.length]
    }

    /// One column, to be written, and those before it.
    pub(crate) fn column_and_before(&mut self, k: usize) -> (Before<'_, C>, &mut [C]) {
        let start = self.first + k * self.stride;
        let (before, rest) = self.data.split_at_mut(start);
        let before = Before { data: before, first: self.first, stride: self.stride, length: self.length };
        (before, &mut rest[..self.length])
    }

    /// Vector by vector.
    #[inline(always)]
    pub(crate) fn lanes<S: Simd>(&self, simd: S, k: usize) -> Column<'_, S, C> {
        Column::new(simd, self.column(k))
    }

    /// All of them, vector by vector.
    #[inline(always)]
    pub(crate) fn grid<S: Simd>(&self, simd: S) -> Grid<'_, S, C> {
        Grid { simd, vectors: C::vectors::<S>(&self.data[self.first..]), stride: self.stride / C::lanes::<S>() }
    }

    /// All of them, vector by vector, to be written.
    #[inline(always)]
    pub(crate) fn grid_mut<S: Simd>(&mut self, _: S) -> GridMut<'_, S, C> {
        GridMut { vectors: C::vectors_mut::<S>(&mut self.data[self.first..]), stride: self.stride / C::lanes::<S>() }
    }
}

/// Columns, of which the same vector of pixels is read class by class: what is summed over classes then stays in registers.
pub(crate) struct Grid<'a, S: Simd, C: Vectors> {
    simd: S,
    vectors: &'a [C::Vector<S>],
    stride: usize,
}

impl<S: Simd, C: Vectors> Clone for Grid<'_, S, C> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Simd, C: Vectors> Copy for Grid<'_, S, C> {}

impl<'a, S: Simd, C: Vectors> Grid<'a, S, C> {
    /// The vector `b` of the class `k`.
    #[inline(always)]
    pub(crate) fn at(self, k: usize, b: usize) -> Lanes<S, C> {
        Lanes::new(self.simd, self.vectors[k * self.stride + b])
    }

    /// The classes, one after another.
    #[inline(always)]
    pub(crate) fn rows(self) -> ChunksExact<'a, C::Vector<S>> {
        self.vectors.chunks_exact(self.stride)
    }
}

/// Columns that are written in that order.
pub(crate) struct GridMut<'a, S: Simd, C: Vectors> {
    vectors: &'a mut [C::Vector<S>],
    stride: usize,
}

impl<S: Simd, C: Vectors> GridMut<'_, S, C> {
    /// The classes, one after another.
    #[inline(always)]
    pub(crate) fn rows(&mut self) -> ChunksExactMut<'_, C::Vector<S>> {
        self.vectors.chunks_exact_mut(self.stride)
    }
}

/// The columns before one that is written.
pub(crate) struct Before<'a, C> {
    data: &'a [C],
    first: usize,
    stride: usize,
    length: usize,
}

impl<C> Before<'_, C> {
    pub(crate) fn column(&self, k: usize) -> &[C] {
        let start = self.first + k * self.stride;
        &self.data[start..start + self.length]
    }
}

/// Which buffers a pass needs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Needs {
    /// Softmax.
    pub(crate) softmax: bool,
    /// Sigmoid.
    pub(crate) sigmoid: bool,
    /// Soft targets.
    pub(crate) soft: bool,
}

/// Buffers of one block.
pub(crate) struct Block<C> {
    classes: usize,
    needs: Needs,
    /// Pixels.
    pub(crate) len: usize,
    /// Whether all of them are valid.
    all_valid: bool,
    /// Which of the first 64 classes is the label of any pixel.
    present: u64,
    /// y per class, soft targets only; a column of labels (−1 where no channel has the pixel's class) where the target is hard.
    target: Columns<C>,
    /// w; 0 where the pixel is not valid.
    pub(crate) weight: Columns<C>,
    /// z per class; 0 where the pixel is not valid.
    logits: Columns<C>,
    /// max_k z.
    max: Columns<C>,
    /// The class that has it, the first of several.
    pub(crate) top: Columns<C>,
    /// p(τ) = `power · scale`; under softmax the powers are e^(τ(z − max)), under sigmoid the probabilities.
    pub(crate) power: Columns<C>,
    /// 1/Σ_k e^(τ(z − max)), or 1.
    pub(crate) scale: Columns<C>,
    /// `w · scale`.
    pub(crate) weighted_scale: Columns<C>,
    /// 1 − p(τ), sigmoid only.
    pub(crate) complement: Columns<C>,
    /// log Σ_k e^(z − max) in one column; under sigmoid log(1 + e^−|z|) per class.
    log_sum: Columns<C>,
}

/// Largest vector of labels that a set of 64 bits stands for.
const SET: usize = u64::BITS as usize;

impl<C: Real> Block<C> {
    pub(crate) fn new(classes: usize, capacity: usize, needs: Needs) -> Self {
        let columns = |count| Columns::new(count, capacity);
        let only = |needed: bool, count: usize| columns(if needed { count } else { 0 });
        let any = needs.softmax || needs.sigmoid;
        Self {
            classes,
            needs,
            len: 0,
            all_valid: true,
            present: 0,
            target: columns(if needs.soft { classes } else { 1 }),
            weight: columns(1),
            logits: only(any, classes),
            max: only(needs.softmax, 1),
            top: only(needs.softmax, 1),
            power: only(any, classes),
            scale: columns(1),
            weighted_scale: columns(1),
            complement: only(needs.sigmoid, classes),
            log_sum: columns(if needs.sigmoid { classes.max(1) } else { 1 }),
        }
    }

    fn each(&mut self) -> [&mut Columns<C>; 10] {
        [
            &mut self.target,
            &mut self.weight,
            &mut self.logits,
            &mut self.max,
            &mut self.top,
            &mut self.power,
            &mut self.scale,
            &mut self.weighted_scale,
            &mut self.complement,
            &mut self.log_sum,
        ]
    }

    /// Pixels with those that fill up the last vector.
    pub(crate) fn padded(&self) -> usize {
        self.len.next_multiple_of(PADDING)
    }

    /// Whether the target is labels.
    pub(crate) fn is_hard(&self) -> bool {
        !self.needs.soft
    }

    /// Whether there is any softmax.
    pub(crate) fn is_softmax(&self) -> bool {
        self.needs.softmax
    }

    /// Whether any pixel can be of the class.
    #[inline(always)]
    pub(crate) fn has(&self, k: usize) -> bool {
        self.needs.soft || self.classes > SET || self.present >> k & 1 == 1
    }

    /// y of a class.
    #[inline(always)]
    pub(crate) fn target<S: Simd>(&self, simd: S, k: usize) -> TargetColumn<'_, S, C> {
        let (hard, soft) = self.targets(simd);
        if self.needs.soft {
            TargetColumn::Soft(soft, k)
        } else {
            TargetColumn::Hard(hard, Lanes::of(simd, C::of_class(k as i32)))
        }
    }

    /// The labels, or the shares of all classes.
    #[inline(always)]
    pub(crate) fn targets<S: Simd>(&self, simd: S) -> (HardTarget<'_, S, C>, SoftTarget<'_, S, C>) {
        (HardTarget(self.target.lanes(simd, 0)), SoftTarget(self.target.grid(simd)))
    }

    /// Decodes the pixels `start..start + len` of a sample, and refuses what must not be there. `read` brings `len` logits, from an
    /// index on.
    #[inline(always)]
    pub(crate) fn load<S: Simd>(
        &mut self,
        simd: S,
        problem: &Problem<'_>,
        read: &dyn Fn(usize, &mut [C]),
        (sample, start, len): (usize, usize, usize),
    ) -> Result<(), LossError> {
        self.len = len;
        let padded = self.padded();
        for columns in self.each() {
            columns.resize(padded);
        }
        self.load_target(problem, sample, start)?;
        if self.needs.softmax || self.needs.sigmoid {
            self.load_logits(simd, problem, read, sample, start)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn load_target(&mut self, problem: &Problem<'_>, sample: usize, start: usize) -> Result<(), LossError> {
        let (len, pixels) = (self.len, problem.geometry.pixels);
        let first = sample * pixels + start;
        let weight = self.weight.column_mut(0);
        weight[len..].fill(C::zero());
        self.all_valid = true;
        match problem.weights {
            None => weight[..len].fill(C::one()),
            Some(weights) => {
                for (b, to) in weight[..len].iter_mut().enumerate() {
                    let value = weights.at(first + b);
                    if !(value >= 0.0 && value.is_finite()) {
                        return Err(LossError::ValueOutOfRange {
                            what: "pixel weight",
                            value,
                            expected: "finite numbers >= 0",
                            position: problem.pixel_position(sample, start + b),
                        });
                    }
                    *to = C::of(value);
                    self.all_valid &= *to != C::zero();
                }
            }
        }
        match problem.target {
            Target::Labels(labels) => {
                match labels {
                    Labels::U8(v) => self.load_labels(problem, &v[first..first + len]),
                    Labels::I32(v) => self.load_labels(problem, &v[first..first + len]),
                    Labels::I64(v) => self.load_labels(problem, &v[first..first + len]),
                }
                .map_err(|(label, b)| LossError::LabelOutOfRange {
                    label,
                    classes: problem.geometry.labels(),
                    position: problem.pixel_position(sample, start + b),
                })?;
            }
            Target::Soft(shares) => {
                for k in 0..self.classes {
                    let plane = (sample * self.classes + k) * pixels + start;
                    let column = self.target.column_mut(k);
                    column[len..].fill(C::zero());
                    for (b, (to, &weight)) in column[..len].iter_mut().zip(self.weight.column(0)).enumerate() {
                        let share = if weight == C::zero() { 0.0 } else { shares.at(plane + b) };
                        if !(0.0..=1.0).contains(&share) {
                            return Err(LossError::ValueOutOfRange {
                                what: "soft target",
                                value: share,
                                expected: "[0, 1]",
                                position: problem.logit_position(sample, k, start + b),
                            });
                        }
                        *to = C::of(share);
                    }
                }
            }
        }
        Ok(())
    }

    /// The labels of a block as numbers; or the first that is out of range, and where.
    #[inline(always)]
    fn load_labels<L: Label>(&mut self, problem: &Problem<'_>, labels: &[L]) -> Result<(), (i64, usize)> {
        let count = problem.geometry.labels();
        // A single channel is the class 1; its background has no channel of its own.
        let first = i32::from(self.classes == 1);
        let column = self.target.column_mut(0);
        column[labels.len()..].fill(-C::one());
        // Nearly always every label is a class: looked at and read without a branch.
        let ignored_class = problem.ignore.iter().any(|&label| (0..count as i64).contains(&label));
        let inside = !ignored_class && labels.iter().fold(true, |all, label| all & label.is_below(count));
        let mut present = 0;
        if inside {
            for (to, label) in column.iter_mut().zip(labels) {
                *to = C::of_class(label.number() - first);
                present |= 1u64.wrapping_shl(label.number() as u32);
            }
        } else {
            for (b, (to, label)) in column.iter_mut().zip(labels).enumerate() {
                if problem.ignore.contains(&label.wide()) {
                    self.weight.column_mut(0)[b] = C::zero();
                    self.all_valid = false;
                    *to = -C::one();
                } else if label.is_below(count) {
                    *to = C::of_class(label.number() - first);
                    present |= 1u64.wrapping_shl(label.number() as u32);
                } else {
                    return Err((label.wide(), b));
                }
            }
        }
        self.present = present >> first;
        Ok(())
    }

    #[inline(always)]
    fn load_logits<S: Simd>(
        &mut self,
        simd: S,
        problem: &Problem<'_>,
        read: &dyn Fn(usize, &mut [C]),
        sample: usize,
        start: usize,
    ) -> Result<(), LossError> {
        let (len, pixels) = (self.len, problem.geometry.pixels);
        let (zero, one) = (Lanes::of(simd, C::zero()), Lanes::of(simd, C::one()));
        for k in 0..self.classes {
            let column = self.logits.column_mut(k);
            read((sample * self.classes + k) * pixels + start, &mut column[..len]);
            column[len..].fill(C::zero());
            if !self.all_valid {
                // What a pixel without weight holds must not even be multiplied by 0: it may be NaN.
                let weight = self.weight.lanes(simd, 0);
                write_column!(simd, column, |i, z| weight.at(i).if_equal(zero, zero, z));
            }
        }
        // NaN from what is not finite, else 0.
        let mut odd = zero;
        let z = self.logits.grid(simd);
        if self.needs.softmax {
            let (max, top) = (vectors_mut(simd, self.max.column_mut(0)), vectors_mut(simd, self.top.column_mut(0)));
            for (b, (max, top)) in max.iter_mut().zip(top).enumerate() {
                let (mut largest, mut its_class, mut class) = (z.at(0, b), zero, zero);
                for row in z.rows() {
                    let z = Lanes::new(simd, row[b]);
                    odd = z.mul_add(zero, odd);
                    its_class = z.if_greater(largest, class, its_class);
                    largest = z.if_greater(largest, z, largest);
                    class = class + one;
                }
                (*max, *top) = (largest.vector, its_class.vector);
            }
        } else {
            for k in 0..self.classes {
                for b in 0..self.weight.lanes(simd, 0).len() {
                    odd = z.at(k, b).mul_add(zero, odd);
                }
            }
        }
        if C::numbers::<S>(&odd.vector).iter().all(|x| *x == C::zero()) {
            Ok(())
        } else {
            Err(self.odd(problem, sample, start))
        }
    }

    /// The first logit that is not finite.
    #[cold]
    fn odd(&self, problem: &Problem<'_>, sample: usize, start: usize) -> LossError {
        let values = (0..self.classes).flat_map(|k| self.logits.column(k).iter().enumerate().map(move |(b, &z)| (k, b, z)));
        let (k, b, value) = values.filter(|(.., z)| !z.is_finite()).min_by_key(|&(k, b, _)| (k, b)).unwrap_or_default();
        LossError::NonFiniteLogit { value: value.wide(), position: problem.logit_position(sample, k, start + b) }
    }

    /// p(τ) by softmax, and on request what the logarithms at τ = 1 need.
    #[inline(always)]
    pub(crate) fn softmax<S: Simd>(&mut self, simd: S, temperature: Temperature, logarithms: bool) {
        if logarithms { self.powers::<S, true>(simd, temperature) } else { self.powers::<S, false>(simd, temperature) }
    }

    #[inline(always)]
    fn powers<S: Simd, const LOGARITHMS: bool>(&mut self, simd: S, temperature: Temperature) {
        let tau = Lanes::of(simd, C::of(temperature.value()));
        let (zero, one) = (Lanes::of(simd, C::zero()), Lanes::of(simd, C::one()));
        let (max, top) = (self.max.lanes(simd, 0), self.top.lanes(simd, 0));
        let (weight, weighted) = (self.weight.lanes(simd, 0), vectors_mut(simd, self.weighted_scale.column_mut(0)));
        let (scale, log_sum) = (vectors_mut(simd, self.scale.column_mut(0)), vectors_mut(simd, self.log_sum.column_mut(0)));
        let (z, mut powers) = (self.logits.grid(simd), self.power.grid_mut(simd));
        for (b, ((scale, weighted), log_sum)) in scale.iter_mut().zip(weighted).zip(log_sum).enumerate() {
            let (max, top) = (max.at(b), top.at(b));
            // Σ e^(τ(z − max)). For its logarithm it is 1 + rest: kept apart, a rest far below 1 loses nothing.
            let (mut sum, mut class) = (zero, zero);
            for (z, power) in z.rows().zip(powers.rows()) {
                // The difference first: τ·z may overflow, τ·(z − max) goes to −∞ at worst.
                let p = ((Lanes::new(simd, z[b]) - max) * tau).exp_nonpositive();
                power[b] = p.vector;
                if LOGARITHMS {
                    sum = top.if_equal(class, sum, sum + p);
                    class = class + one;
                } else {
                    sum = sum + p;
                }
            }
            if LOGARITHMS {
                *log_sum = sum.ln_1p().vector;
                sum = sum + one;
            }
            let inverse = sum.reciprocal();
            *scale = inverse.vector;
            *weighted = (weight.at(b) * inverse).vector;
        }
    }

    /// p(τ) and 1 − p(τ) by sigmoid, and on request what the logarithms at τ = 1 need.
    #[inline(always)]
    pub(crate) fn sigmoid<S: Simd>(&mut self, simd: S, temperature: Temperature, logarithms: bool) {
        let tau = Lanes::of(simd, C::of(temperature.value()));
        let (zero, one) = (Lanes::of(simd, C::zero()), Lanes::of(simd, C::one()));
        for k in 0..self.classes {
            let z = self.logits.lanes(simd, k);
            let (p, q) = (vectors_mut(simd, self.power.column_mut(k)), vectors_mut(simd, self.complement.column_mut(k)));
            let log = vectors_mut(simd, self.log_sum.column_mut(k));
            for (i, ((p, q), log)) in p.iter_mut().zip(q).zip(log).enumerate() {
                // From the side that does not overflow: σ(x) = 1/(1 + e^−x), and e^−x/(1 + e^−x) for the other sign.
                let x = z.at(i) * tau;
                let e = (zero - x.abs()).exp_nonpositive();
                let large = (one + e).reciprocal();
                let small = e * large;
                *p = zero.if_greater(x, small, large).vector;
                *q = zero.if_greater(x, large, small).vector;
                if logarithms {
                    *log = e.ln_1p().vector;
                }
            }
        }
        self.scale.column_mut(0).fill(C::one());
        let weight = self.weight.lanes(simd, 0);
        write_column!(simd, self.weighted_scale.column_mut(0), |i| weight.at(i));
    }

    /// log p of a class, with softmax.
    #[inline(always)]
    pub(crate) fn log_softmax<S: Simd>(&self, simd: S, k: usize) -> LogSoftmax<'_, S, C> {
        let [z, max, log_sum] = [&self.logits, &self.max, &self.log_sum];
        LogSoftmax { z: z.lanes(simd, k), max: max.lanes(simd, 0), log_sum: log_sum.lanes(simd, 0) }
    }

    /// log p of a class, or log(1 − p), with sigmoid.
    #[inline(always)]
    pub(crate) fn log_sigmoid<S: Simd>(&self, simd: S, k: usize, background: bool) -> LogSigmoid<'_, S, C> {
        let sign = Lanes::of(simd, if background { -C::one() } else { C::one() });
        LogSigmoid { z: self.logits.lanes(simd, k), log_sum: self.log_sum.lanes(simd, k), sign }
    }
}

/// A column of logarithms of probabilities.
pub(crate) trait Logarithm<S: Simd, C: Real> {
    /// Some of its vectors.
    fn part(&self, start: usize, end: usize) -> Self;
    /// One of them.
    fn at(&self, i: usize) -> Lanes<S, C>;
}

/// A column of log p = (z − max) − log Σ_k e^(z − max).
pub(crate) struct LogSoftmax<'a, S: Simd, C: Vectors> {
    z: Column<'a, S, C>,
    max: Column<'a, S, C>,
    log_sum: Column<'a, S, C>,
}

impl<S: Simd, C: Real> Logarithm<S, C> for LogSoftmax<'_, S, C> {
    #[inline(always)]
    fn part(&self, start: usize, end: usize) -> Self {
        let [z, max, log_sum] = [self.z, self.max, self.log_sum].map(|column| column.part(start, end));
        Self { z, max, log_sum }
    }

    #[inline(always)]
    fn at(&self, i: usize) -> Lanes<S, C> {
        (self.z.at(i) - self.max.at(i)) - self.log_sum.at(i)
    }
}

/// A column of log p or log(1 − p): ±z, where that is negative, − log(1 + e^−|z|).
pub(crate) struct LogSigmoid<'a, S: Simd, C: Vectors> {
    z: Column<'a, S, C>,
    log_sum: Column<'a, S, C>,
    sign: Lanes<S, C>,
}

impl<S: Simd, C: Real> Logarithm<S, C> for LogSigmoid<'_, S, C> {
    #[inline(always)]
    fn part(&self, start: usize, end: usize) -> Self {
        Self { z: self.z.part(start, end), log_sum: self.log_sum.part(start, end), sign: self.sign }
    }

    #[inline(always)]
    fn at(&self, i: usize) -> Lanes<S, C> {
        (self.z.at(i) * self.sign).min(self.sign.splat(C::zero())) - self.log_sum.at(i)
    }
}

/// Whether pixels are of a class. `class` is its number, in all lanes.
pub(crate) trait Membership<S: Simd, C: Real>: Copy {
    /// Some of its vectors.
    fn part(self, start: usize, end: usize) -> Self;
    /// y·x, at the vector `b` of the class `k`.
    fn of(self, at: (usize, usize), class: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C>;
    /// (1 − y)·x
    fn outside(self, at: (usize, usize), class: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C>;
}

/// Labels.
pub(crate) struct HardTarget<'a, S: Simd, C: Vectors>(Column<'a, S, C>);

/// Shares, class by class.
pub(crate) struct SoftTarget<'a, S: Simd, C: Vectors>(Grid<'a, S, C>);

impl<S: Simd, C: Vectors> Clone for HardTarget<'_, S, C> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Simd, C: Vectors> Copy for HardTarget<'_, S, C> {}

impl<S: Simd, C: Vectors> Clone for SoftTarget<'_, S, C> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Simd, C: Vectors> Copy for SoftTarget<'_, S, C> {}

impl<S: Simd, C: Real> Membership<S, C> for HardTarget<'_, S, C> {
    #[inline(always)]
    fn part(self, start: usize, end: usize) -> Self {
        Self(self.0.part(start, end))
    }

    #[inline(always)]
    fn of(self, (_, b): (usize, usize), class: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C> {
        self.0.at(b).if_equal(class, x, x.splat(C::zero()))
    }

    #[inline(always)]
    fn outside(self, (_, b): (usize, usize), class: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C> {
        self.0.at(b).if_equal(class, x.splat(C::zero()), x)
    }
}

impl<S: Simd, C: Real> Membership<S, C> for SoftTarget<'_, S, C> {
    #[inline(always)]
    fn part(self, start: usize, _: usize) -> Self {
        Self(Grid { vectors: &self.0.vectors[start..], ..self.0 })
    }

    #[inline(always)]
    fn of(self, (k, b): (usize, usize), _: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C> {
        self.0.at(k, b) * x
    }

    #[inline(always)]
    fn outside(self, (k, b): (usize, usize), _: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C> {
        (x.splat(C::one()) - self.0.at(k, b)) * x
    }
}

/// The target of one class.
pub(crate) enum TargetColumn<'a, S: Simd, C: Vectors> {
    /// Labels, and the class.
    Hard(HardTarget<'a, S, C>, Lanes<S, C>),
    /// Shares, and the number of the class.
    Soft(SoftTarget<'a, S, C>, usize),
}

impl<S: Simd, C: Real> TargetColumn<'_, S, C> {
    /// y·x
    #[inline(always)]
    pub(crate) fn of(&self, i: usize, x: Lanes<S, C>) -> Lanes<S, C> {
        match self {
            Self::Hard(label, class) => label.of((0, i), *class, x),
            Self::Soft(share, k) => share.of((*k, i), x, x),
        }
    }

    /// The former or the latter.
    #[inline(always)]
    pub(crate) fn on_side(&self, background: bool, i: usize, x: Lanes<S, C>) -> Lanes<S, C> {
        if background { self.outside(i, x) } else { self.of(i, x) }
    }

    /// (1 − y)·x
    #[inline(always)]
    pub(crate) fn outside(&self, i: usize, x: Lanes<S, C>) -> Lanes<S, C> {
        match self {
            Self::Hard(label, class) => label.outside((0, i), *class, x),
            Self::Soft(share, k) => share.outside((*k, i), x, x),
        }
    }
}

/// An integer that labels are given in.
trait Label: Copy {
    /// Whether it is one of so many classes.
    fn is_below(self, count: usize) -> bool;
    /// Itself, where it is a class.
    fn number(self) -> i32;
    /// Itself.
    fn wide(self) -> i64;
}

macro_rules! label {
    ($($type:ty, $unsigned:ty;)*) => {$(
        impl Label for $type {
            #[inline(always)]
            fn is_below(self, count: usize) -> bool {
                // As an unsigned number a negative one is large.
                (self as $unsigned) < <$unsigned>::try_from(count).unwrap_or(<$unsigned>::MAX)
            }
            #[inline(always)]
            fn number(self) -> i32 {
                self as i32
            }
            #[inline(always)]
            fn wide(self) -> i64 {
                i64::from(self)
            }
        }
    )*};
}

label! {
    u8, u32;
    i32, u32;
    i64, u64;
}
