//! The probabilities of a block and their logarithms.

use loss_core::{Activation, Side, Temperature};
use pulp::Simd;

use super::Block;
use crate::Real;
use crate::functions::Math;
use crate::logarithm::{AnyLogarithms, LogSigmoid, LogSoftmax};
use crate::real::{MANY, few};
use crate::simd::{Lanes, apart, pairs_mut, write_column};

impl<C: Real> Block<C> {
    /// p(τ) by softmax, and on request the part of log p at τ = 1 that all classes share.
    #[inline(always)]
    pub(crate) fn softmax<S: Simd>(&mut self, math: Math<'_, S, C>, temperature: Temperature, logarithms: bool) {
        match (if self.classes == 2 { 2 } else { few::<S, C>(self.classes) }, logarithms) {
            (2, false) => apart!(math.simd, self.powers::<S, false, 2>(math, temperature)),
            (3, false) => apart!(math.simd, self.powers::<S, false, 3>(math, temperature)),
            (4, false) => apart!(math.simd, self.powers::<S, false, 4>(math, temperature)),
            (_, false) => apart!(math.simd, self.powers::<S, false, MANY>(math, temperature)),
            (2, true) => apart!(math.simd, self.powers::<S, true, 2>(math, temperature)),
            (3, true) => apart!(math.simd, self.powers::<S, true, 3>(math, temperature)),
            (4, true) => apart!(math.simd, self.powers::<S, true, 4>(math, temperature)),
            (_, true) => apart!(math.simd, self.powers::<S, true, MANY>(math, temperature)),
        }
        if logarithms && self.classes != 2 {
            let largest = self.log_largest.column_mut(0);
            if self.classes <= 4 {
                apart!(math.simd, write_column!(math.simd, largest, |_b, rest| -C::log_1p_of_three(rest, math.constants)));
            } else {
                apart!(math.simd, write_column!(math.simd, largest, |_b, rest| -C::log_1p(rest, math.constants)));
            }
        }
    }

    /// The powers, the reciprocal of their sum, and, in place of its logarithm, the sum − 1. For
    /// two classes the logarithm itself.
    #[inline(always)]
    fn powers<S: Simd, const LOGARITHMS: bool, const K: usize>(&mut self, math: Math<'_, S, C>, temperature: Temperature) {
        let (simd, rate) = (math.simd, &C::rate(math.simd, temperature.value()));
        let (zero, one) = (Lanes::of(simd, C::zero()), Lanes::of(simd, C::one()));
        let (weight, weighted) = (self.weight.lanes(simd, 0), pairs_mut(simd, self.weighted_scale.column_mut(0)));
        let (scale, log) = (pairs_mut(simd, self.scale.column_mut(0)), pairs_mut(simd, self.log_largest.column_mut(0)));
        let (depth, mut powers) = (self.depth.grid(simd), self.power.grid_mut(simd));
        let weight = weight.first(scale.len());
        let rows = if K == MANY { depth.rows().min(powers.rows()) } else { K };
        let lanes = C::lanes::<S>();
        for (b, ((scale, weighted), log)) in scale.iter_mut().zip(weighted).zip(log).enumerate() {
            self.ahead.bring(b, lanes);
            let sum = if K == 2 {
                // The likelier class has the power 1, the other e^−τ|z₁ − z₀|: one depth
                // is 0.
                let (first, second) = (depth.at(0, b), depth.at(1, b));
                let beyond = C::exp_of_minus(first + second, rate, math.constants);
                powers.set(0, b, first.if_same(zero, one, beyond));
                powers.set(1, b, second.if_same(zero, one, beyond));
                if LOGARITHMS {
                    *log = (-C::log_1p_of_share(beyond, math.constants)).pair;
                }
                one + beyond
            } else {
                // The largest power is 1. The sum starts there, so the rounding error of each
                // addition is exact, and the sum − 1 is accurate however small it is.
                let (mut sum, mut lost) = (if LOGARITHMS { one } else { zero }, zero);
                for k in 0..rows {
                    let p = C::exp_of_minus(depth.at(k, b), rate, math.constants);
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

    /// p(τ) by sigmoid, and on request 1 − p(τ) and the logarithms of the larger of both at τ
    /// = 1.
    #[inline(always)]
    pub(crate) fn sigmoid<S: Simd>(
        &mut self,
        math: Math<'_, S, C>,
        temperature: Temperature,
        complements: bool,
        logarithms: bool,
    ) {
        match (complements, logarithms) {
            (false, false) => apart!(math.simd, self.sides::<S, false, false>(math, temperature)),
            (false, true) => apart!(math.simd, self.sides::<S, false, true>(math, temperature)),
            (true, false) => apart!(math.simd, self.sides::<S, true, false>(math, temperature)),
            (true, true) => apart!(math.simd, self.sides::<S, true, true>(math, temperature)),
        }
    }

    #[inline(always)]
    fn sides<S: Simd, const COMPLEMENTS: bool, const LOGARITHMS: bool>(
        &mut self,
        math: Math<'_, S, C>,
        temperature: Temperature,
    ) {
        let (simd, rate) = (math.simd, &C::rate(math.simd, temperature.value()));
        let one = Lanes::of(simd, C::one());
        for k in 0..self.classes {
            let (p, q) = (pairs_mut(simd, self.power.column_mut(k)), pairs_mut(simd, self.complement.column_mut(k)));
            let (z, log) = (self.logits.lanes(simd, k).first(p.len()), pairs_mut(simd, self.log_largest.column_mut(k)));
            let lanes = C::lanes::<S>();
            for (i, ((p, q), log)) in p.iter_mut().zip(q).zip(log).enumerate() {
                // σ(τ|z|) = 1/(1 + e^−τ|z|) and σ(−τ|z|) = e^−τ|z|/(1 + e^−τ|z|) do
                // not overflow.
                self.ahead.bring(i, lanes);
                let z = z.at(i);
                let e = C::exp_of_minus(z.abs(), rate, math.constants);
                let large = one / (one + e);
                let small = e * large;
                *p = z.if_negative(small, large).pair;
                if COMPLEMENTS {
                    *q = z.if_negative(large, small).pair;
                }
                if LOGARITHMS {
                    *log = C::log_1p_of_share(e, math.constants).pair;
                }
            }
        }
    }

    /// log p by softmax.
    #[inline(always)]
    pub(crate) fn log_softmax<S: Simd>(&self, simd: S) -> LogSoftmax<'_, S, C> {
        LogSoftmax { depth: self.depth.grid(simd), largest: self.log_largest.lanes(simd, 0) }
    }

    /// log p by sigmoid, or log(1 − p) for the background.
    #[inline(always)]
    pub(crate) fn log_sigmoid<S: Simd, const BACKGROUND: bool>(&self, simd: S) -> LogSigmoid<'_, S, C, BACKGROUND> {
        LogSigmoid { z: self.logits.grid(simd), largest: self.log_largest.grid(simd) }
    }

    /// Any of them.
    #[inline(always)]
    pub(crate) fn log<S: Simd>(&self, simd: S, activation: Activation, side: Side) -> AnyLogarithms<'_, S, C> {
        match (activation, side) {
            (Activation::Softmax, _) => AnyLogarithms::Softmax(self.log_softmax(simd)),
            (Activation::Sigmoid, Side::Region) => AnyLogarithms::Region(self.log_sigmoid(simd)),
            (Activation::Sigmoid, Side::Background) => AnyLogarithms::Background(self.log_sigmoid(simd)),
        }
    }
}
