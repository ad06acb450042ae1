//! A block of pixels of one sample: decoded target, logits, and the probabilities made of them.
//!
//! Everything is a column of the block's pixels, padded to whole vectors by pixels of weight 0 and logit 0.

use loss_core::{Activation, LossError, Side, Temperature};
use pulp::Simd;

use crate::columns::Columns;
use crate::logarithm::{LogColumn, LogSigmoid, LogSoftmax};
use crate::membership::{HardTarget, Label, SoftTarget, TargetColumn};
use crate::problem::{Labels, Target};
use crate::simd::{Lanes, PADDING, vectors_mut, write_column};
use crate::{Problem, Real};

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

    /// log p of a class, or, on the background side of sigmoid, log(1 − p).
    #[inline(always)]
    pub(crate) fn log<S: Simd>(&self, simd: S, activation: Activation, side: Side, k: usize) -> LogColumn<'_, S, C> {
        let [z, max, log_sum] = [&self.logits, &self.max, &self.log_sum];
        match activation {
            Activation::Softmax => {
                LogColumn::Softmax(LogSoftmax { z: z.lanes(simd, k), max: max.lanes(simd, 0), log_sum: log_sum.lanes(simd, 0) })
            }
            Activation::Sigmoid => {
                let sign = Lanes::of(simd, if side == Side::Background { -C::one() } else { C::one() });
                LogColumn::Sigmoid(LogSigmoid { z: z.lanes(simd, k), log_sum: log_sum.lanes(simd, k), sign })
            }
        }
    }
}
