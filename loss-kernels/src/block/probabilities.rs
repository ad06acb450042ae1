//! The probabilities of a block, made of its logits, and what their logarithms need.

use loss_core::{Activation, Side, Temperature};
use pulp::Simd;

use super::{Block, MANY, few};
use crate::Real;
use crate::logarithm::{AnyLogarithms, LogSigmoid, LogSoftmax};
use crate::simd::{Lanes, apart, pairs_mut, write_column};

impl<C: Real> Block<C> {
    /// p(τ) by softmax, and on request what the logarithms at τ = 1 need.
    #[inline(always)]
    pub(crate) fn softmax<S: Simd>(
        &mut self,
        (simd, constants): (S, &C::Constants<S>),
        temperature: Temperature,
        logarithms: bool,
    ) {
        match (if self.classes == 2 { 2 } else { few::<S, C>(self.classes) }, logarithms) {
            (2, false) => apart!(simd, self.powers::<S, false, 2>((simd, constants), temperature)),
            (2, true) => apart!(simd, self.powers::<S, true, 2>((simd, constants), temperature)),
            (3, false) => apart!(simd, self.powers::<S, false, 3>((simd, constants), temperature)),
            (4, false) => apart!(simd, self.powers::<S, false, 4>((simd, constants), temperature)),
            (_, false) => apart!(simd, self.powers::<S, false, MANY>((simd, constants), temperature)),
            (classes, true) => {
                match classes {
                    3 => apart!(simd, self.powers::<S, true, 3>((simd, constants), temperature)),
                    4 => apart!(simd, self.powers::<S, true, 4>((simd, constants), temperature)),
                    _ => apart!(simd, self.powers::<S, true, MANY>((simd, constants), temperature)),
                }
                let largest = self.log_largest.column_mut(0);
                apart!(simd, write_column!(simd, largest, |_b, rest| -Lanes::<S, C>::ln_1p(rest, constants)));
            }
        }
    }

    /// The powers, their sum's reciprocal, and in place of its logarithm what the sum is beyond 1; of two classes the logarithm itself.
    #[inline(always)]
    fn powers<S: Simd, const LOGARITHMS: bool, const K: usize>(
        &mut self,
        (simd, constants): (S, &C::Constants<S>),
        temperature: Temperature,
    ) {
        let rate = &C::rate(simd, temperature.value());
        let (zero, one) = (Lanes::of(simd, C::zero()), Lanes::of(simd, C::one()));
        let (weight, weighted) = (self.weight.lanes(simd, 0), pairs_mut(simd, self.weighted_scale.column_mut(0)));
        let (scale, log) = (pairs_mut(simd, self.scale.column_mut(0)), pairs_mut(simd, self.log_largest.column_mut(0)));
        let (depth, mut powers) = (self.depth.grid(simd), self.power.grid_mut(simd));
        let weight = weight.first(scale.len());
        let rows = if K == MANY { depth.rows().min(powers.rows()) } else { K };
        for (b, ((scale, weighted), log)) in scale.iter_mut().zip(weighted).zip(log).enumerate() {
            let sum = if K == 2 {
                // The likelier has the power 1, and the other's, e^−τ|z₁ − z₀|, is what the sum is beyond it: one of the two depths is 0.
                let (first, second) = (depth.at(0, b), depth.at(1, b));
                let beyond = (first + second).exp_of_minus(rate, constants);
                powers.set(0, b, first.if_same(zero, one, beyond));
                powers.set(1, b, second.if_same(zero, one, beyond));
                if LOGARITHMS {
                    *log = (-beyond.ln_1p_of_share(constants)).pair;
                }
                one + beyond
            } else {
                // The largest power is 1. From there on up, what each addition loses is known exactly: what the sum is beyond 1, and so its
                // logarithm, is then right however small it is.
                let (mut sum, mut lost) = (if LOGARITHMS { one } else { zero }, zero);
                for k in 0..rows {
                    let p = depth.at(k, b).exp_of_minus(rate, constants);
                    powers.set(k, b, p);
                    let before = sum;
                    sum = before + p;
                    if LOGARITHMS {
                        lost = lost + (p - (sum - before));
                    }
                }
                if LOGARITHMS {
                    let beyond = (sum - (one + one)) + lost;
                    *log = beyond.pair;
                    sum = beyond + one;
                }
                sum
            };
            let inverse = one / sum;
            *scale = inverse.pair;
            *weighted = (weight.at(b) * inverse).pair;
        }
    }

    /// p(τ) by sigmoid, and on request 1 − p(τ), and what the logarithms at τ = 1 need.
    #[inline(always)]
    pub(crate) fn sigmoid<S: Simd>(
        &mut self,
        (simd, constants): (S, &C::Constants<S>),
        temperature: Temperature,
        (complements, logarithms): (bool, bool),
    ) {
        match (complements, logarithms) {
            (false, false) => apart!(simd, self.sides::<S, false, false>((simd, constants), temperature)),
            (false, true) => apart!(simd, self.sides::<S, false, true>((simd, constants), temperature)),
            (true, false) => apart!(simd, self.sides::<S, true, false>((simd, constants), temperature)),
            (true, true) => apart!(simd, self.sides::<S, true, true>((simd, constants), temperature)),
        }
    }

    #[inline(always)]
    fn sides<S: Simd, const COMPLEMENTS: bool, const LOGARITHMS: bool>(
        &mut self,
        (simd, constants): (S, &C::Constants<S>),
        temperature: Temperature,
    ) {
        let rate = &C::rate(simd, temperature.value());
        let one = Lanes::of(simd, C::one());
        for k in 0..self.classes {
            let (p, q) = (pairs_mut(simd, self.power.column_mut(k)), pairs_mut(simd, self.complement.column_mut(k)));
            let (z, log) = (self.logits.lanes(simd, k).first(p.len()), pairs_mut(simd, self.log_largest.column_mut(k)));
            for (i, ((p, q), log)) in p.iter_mut().zip(q).zip(log).enumerate() {
                // From the side that does not overflow: σ(τz) = 1/(1 + e^−τz), and e^−τ|z|/(1 + e^−τ|z|) for the other sign.
                let z = z.at(i);
                let e = z.abs().exp_of_minus(rate, constants);
                let large = one / (one + e);
                let small = e * large;
                *p = z.if_negative(small, large).pair;
                if COMPLEMENTS {
                    *q = z.if_negative(large, small).pair;
                }
                if LOGARITHMS {
                    *log = e.ln_1p_of_share(constants).pair;
                }
            }
        }
    }

    /// log p by softmax.
    #[inline(always)]
    pub(crate) fn log_softmax<S: Simd>(&self, simd: S) -> LogSoftmax<'_, S, C> {
        LogSoftmax { depth: self.depth.grid(simd), largest: self.log_largest.lanes(simd, 0) }
    }

    /// log p by sigmoid, or of the background log(1 − p).
    #[inline(always)]
    pub(crate) fn log_sigmoid<S: Simd, const BACKGROUND: bool>(&self, simd: S) -> LogSigmoid<'_, S, C, BACKGROUND> {
        LogSigmoid { z: self.logits.grid(simd), largest: self.log_largest.grid(simd) }
    }

    /// Either.
    #[inline(always)]
    pub(crate) fn log<S: Simd>(&self, simd: S, activation: Activation, side: Side) -> AnyLogarithms<'_, S, C> {
        match (activation, side) {
            (Activation::Softmax, _) => AnyLogarithms::Softmax(self.log_softmax(simd)),
            (Activation::Sigmoid, Side::Region) => AnyLogarithms::Region(self.log_sigmoid(simd)),
            (Activation::Sigmoid, Side::Background) => AnyLogarithms::Background(self.log_sigmoid(simd)),
        }
    }
}
