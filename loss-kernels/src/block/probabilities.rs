//! The probabilities of a block and their logarithms.

use loss_core::{Activation, Side, Temperature};
use pulp::Simd;

use super::Block;
use crate::Real;
use crate::columns::Columns;
use crate::functions::Math;
use crate::logarithm::{AnyLogarithms, LogSigmoid, LogSoftmax};
use crate::real::{MOST_FEW, few};
use crate::simd::{Column, Lanes, Pair, apart, pairs_mut, write_column};

impl<C: Real> Block<C> {
    /// p(τ) by softmax, and on request the part of log p at τ = 1 that all classes share.
    #[inline(always)]
    pub(crate) fn softmax<S: Simd>(&mut self, math: Math<'_, S, C>, temperature: Temperature, logarithms: bool) {
        match (if self.classes == 2 { 2 } else { few::<S, C>(self.classes) }, logarithms) {
            (2, false) => apart!(math.simd, self.few_powers::<S, false, 2>(math, temperature)),
            (3, false) => apart!(math.simd, self.few_powers::<S, false, 3>(math, temperature)),
            (4, false) => apart!(math.simd, self.few_powers::<S, false, 4>(math, temperature)),
            (_, false) => apart!(math.simd, self.many_powers::<S, false>(math, temperature)),
            (2, true) => apart!(math.simd, self.few_powers::<S, true, 2>(math, temperature)),
            (3, true) => apart!(math.simd, self.few_powers::<S, true, 3>(math, temperature)),
            (4, true) => apart!(math.simd, self.few_powers::<S, true, 4>(math, temperature)),
            (_, true) => apart!(math.simd, self.many_powers::<S, true>(math, temperature)),
        }
    }

    #[inline(always)]
    fn few_powers<S: Simd, const LOGARITHMS: bool, const K: usize>(&mut self, math: Math<'_, S, C>, temperature: Temperature) {
        let Math { simd, constants } = math;
        let (rate, zero) = (&C::rate(simd, temperature.value()), Lanes::of(simd, C::zero()));
        let (depth, mut to) = (self.depth.grid(simd), self.power.grid_mut(simd));
        let log = pairs_mut(simd, self.log_largest.column_mut(0));
        let mut scales = Scales::new(simd, &self.weight, &mut self.scale, &mut self.weighted_scale);
        let lanes = C::lanes::<S>();
        for (b, log) in log.iter_mut().enumerate() {
            self.ahead.bring(b, lanes);
            let mut depths = [zero; K];
            for (k, to) in depths.iter_mut().enumerate() {
                *to = depth.at(k, b);
            }
            let Powers { each, sum, largest } = powers::<S, C, LOGARITHMS, K>(&depths, rate, constants);
            for (k, power) in each.into_iter().enumerate() {
                to.set(k, b, power);
            }
            if LOGARITHMS {
                *log = largest.pair;
            }
            scales.set(b, sum);
        }
    }

    #[inline(always)]
    fn many_powers<S: Simd, const LOGARITHMS: bool>(&mut self, math: Math<'_, S, C>, temperature: Temperature) {
        let Math { simd, constants } = math;
        let (rate, one) = (&C::rate(simd, temperature.value()), Lanes::of(simd, C::one()));
        let (depth, mut powers) = (self.depth.grid(simd), self.power.grid_mut(simd));
        let rows = depth.rows().min(powers.rows());
        let log = pairs_mut(simd, self.log_largest.column_mut(0));
        let mut scales = Scales::new(simd, &self.weight, &mut self.scale, &mut self.weighted_scale);
        let lanes = C::lanes::<S>();
        for (b, log) in log.iter_mut().enumerate() {
            self.ahead.bring(b, lanes);
            let mut sum = Total::<S, C, LOGARITHMS>::new(one);
            for k in 0..rows {
                let p = C::exp_of_minus(depth.at(k, b), rate, constants);
                powers.set(k, b, p);
                sum.add(p);
            }
            let (sum, beyond) = sum.end(one);
            if LOGARITHMS {
                *log = beyond.pair;
            }
            scales.set(b, sum);
        }
        if LOGARITHMS {
            if self.classes <= MOST_FEW {
                write_column!(simd, self.log_largest.column_mut(0), |_b, beyond| -C::log_1p_of_three(beyond, constants));
            } else {
                write_column!(simd, self.log_largest.column_mut(0), |_b, beyond| -C::log_1p(beyond, constants));
            }
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

/// The powers e^−τx of a pixel's few classes, x being how far each is below the likeliest.
pub(crate) struct Powers<S: Simd, C: Real, const K: usize> {
    pub(crate) each: [Lanes<S, C>; K],
    pub(crate) sum: Lanes<S, C>,
    /// The logarithm of the largest probability at τ = 1, where it was asked for.
    pub(crate) largest: Lanes<S, C>,
}

#[inline(always)]
pub(crate) fn powers<S: Simd, C: Real, const LOGARITHMS: bool, const K: usize>(
    depth: &[Lanes<S, C>; K],
    rate: &C::Rate<S>,
    constants: &C::Constants<S>,
) -> Powers<S, C, K> {
    let (zero, one) = (depth[0].splat(C::zero()), depth[0].splat(C::one()));
    let (mut each, mut largest) = ([zero; K], zero);
    if K == 2 {
        // The likelier class has the power 1, the other e^−τ|z₁ − z₀|: one depth is 0.
        let beyond = C::exp_of_minus(depth[0] + depth[1], rate, constants);
        for (power, depth) in each.iter_mut().zip(depth) {
            *power = depth.if_same(zero, one, beyond);
        }
        if LOGARITHMS {
            largest = -C::log_1p_of_share(beyond, constants);
        }
        return Powers { each, sum: one + beyond, largest };
    }
    let mut sum = Total::<S, C, LOGARITHMS>::new(one);
    for (power, &depth) in each.iter_mut().zip(depth) {
        *power = C::exp_of_minus(depth, rate, constants);
        sum.add(*power);
    }
    let (sum, beyond) = sum.end(one);
    if LOGARITHMS {
        largest = -C::log_1p_of_three(beyond, constants);
    }
    Powers { each, sum, largest }
}

/// A sum of powers of which the largest is 1. With `REST` it starts there, so the rounding error of
/// each addition is exact, and the sum − 1 is accurate however small it is.
struct Total<S: Simd, C: Real, const REST: bool> {
    sum: Lanes<S, C>,
    lost: Lanes<S, C>,
}

impl<S: Simd, C: Real, const REST: bool> Total<S, C, REST> {
    #[inline(always)]
    fn new(one: Lanes<S, C>) -> Self {
        let zero = one.splat(C::zero());
        Self { sum: if REST { one } else { zero }, lost: zero }
    }

    #[inline(always)]
    fn add(&mut self, power: Lanes<S, C>) {
        let before = self.sum;
        self.sum = before + power;
        if REST {
            self.lost = self.lost + (power - (self.sum - before));
        }
    }

    /// The sum and, with `REST`, the sum − 1.
    #[inline(always)]
    fn end(self, one: Lanes<S, C>) -> (Lanes<S, C>, Lanes<S, C>) {
        if !REST {
            return (self.sum, self.lost);
        }
        let beyond = (self.sum - (one + one)) + self.lost;
        (beyond + one, beyond)
    }
}

/// The columns of 1/Σ and w/Σ.
struct Scales<'a, S: Simd, C: Real> {
    one: Lanes<S, C>,
    weight: Column<'a, S, C>,
    scale: &'a mut [Pair<S, C>],
    weighted: &'a mut [Pair<S, C>],
}

impl<'a, S: Simd, C: Real> Scales<'a, S, C> {
    #[inline(always)]
    fn new(simd: S, weight: &'a Columns<C>, scale: &'a mut Columns<C>, weighted: &'a mut Columns<C>) -> Self {
        let (weight, scale, weighted) =
            (weight.lanes(simd, 0), pairs_mut(simd, scale.column_mut(0)), pairs_mut(simd, weighted.column_mut(0)));
        Self { one: Lanes::of(simd, C::one()), weight, scale, weighted }
    }

    #[inline(always)]
    fn set(&mut self, b: usize, sum: Lanes<S, C>) {
        let inverse = self.one / sum;
        self.scale[b] = inverse.pair;
        self.weighted[b] = (self.weight.at(b) * inverse).pair;
    }
}
