//! Sums over pixels: compensated, lane by lane, and added up after a number of blocks.

use pulp::Simd;

use crate::Real;
use crate::layout::{FLUSH, LONGEST, WIDEST};
use crate::simd::{Lanes, Vectors, copied};

/// A power of two that no weight of a block exceeds, nor a weight times a number in [0, 1].
#[derive(Clone, Copy)]
pub(crate) struct Bound<C> {
    weight: C,
    /// Whether the sum of as many weights as a lane ever adds up may overflow.
    overflows: bool,
    /// Whether every weight is 0 or 1.
    whole: bool,
}

/// Summands of logarithms are assumed to be at most so many times the largest weight;
/// [`Sum::checked`] detects where they are not.
const LOGARITHM: f64 = 1024.0;

impl<C: Real> Bound<C> {
    /// Of weights up to the largest.
    pub(crate) fn new(largest: f64, whole: bool) -> Self {
        // Large enough for its rounding errors to be normal numbers.
        let weight = (largest.log2().floor() + 1.0).max(-60.0).exp2();
        let all = C::of(weight) * C::of(LOGARITHM * (2 * FLUSH * LONGEST) as f64);
        Self { weight: C::of(weight), overflows: !all.is_finite(), whole }
    }

    /// The summands of a sum of weights.
    pub(crate) fn of_weights(self) -> Summands<C> {
        if self.whole { Summands::Whole } else { Summands::Exact(self) }
    }

    /// Where a sum of runs of shares starts, or one of logarithms, which are all negative.
    #[inline(always)]
    pub(crate) fn start<S: Simd>(self, simd: S, logarithms: bool) -> Lanes<S, C> {
        Lanes::of(simd, if logarithms { -(self.weight * C::of(LOGARITHM)) } else { self.weight * C::of(RUN as f64) })
    }
}

/// How many rounded numbers are added plainly before their sum is added with compensation: a power
/// of two. Each of them has a few roundings already, and the same ones in all pixels that are
/// alike.
pub(crate) const RUN: usize = 4;

/// Visits the pairs `0..count` in runs: `LENGTH` pairs from `from` on, which is [`RUN`] or, at the
/// end, 1.
macro_rules! in_runs {
    ($count:expr, |$from:ident, $length:ident| $add:block) => {
        let count: usize = $count;
        let mut $from = 0;
        while $from + crate::sums::RUN <= count {
            const $length: usize = crate::sums::RUN;
            $add
            $from += $length;
        }
        while $from < count {
            const $length: usize = 1;
            $add
            $from += $length;
        }
    };
}
pub(crate) use in_runs;

/// A compensated sum in every lane: the sum, and the sum of its rounding errors, each of which is
/// exact. As good as a sum in twice the precision, in the lanes' own instructions. (Kahan's sum is
/// not: it corrects the next summand, and rounds that.)
pub(crate) struct Sum<S: Simd, C: Vectors> {
    sum: Lanes<S, C>,
    lost: Lanes<S, C>,
}

copied!(Sum);

impl<S: Simd, C: Real> Sum<S, C> {
    /// Starting from a number at least as far from 0 as any summand, on the same side.
    #[inline(always)]
    pub(crate) fn from(start: Lanes<S, C>) -> Self {
        Self { sum: start, lost: start.splat(C::zero()) }
    }

    #[inline(always)]
    fn load(simd: S, slot: &[C]) -> Self {
        let (sum, lost) = slot.split_at(WIDEST);
        Self { sum: Lanes::new(simd, C::pairs::<S>(sum)[0]), lost: Lanes::new(simd, C::pairs::<S>(lost)[0]) }
    }

    #[inline(always)]
    fn store(self, slot: &mut [C]) {
        let (sum, lost) = slot.split_at_mut(WIDEST);
        C::pairs_mut::<S>(sum)[0] = self.sum.pair;
        C::pairs_mut::<S>(lost)[0] = self.lost.pair;
    }

    /// The start of a run: −0, which the compiler drops, as −0 + x is x.
    #[inline(always)]
    pub(crate) fn run(simd: S) -> Lanes<S, C> {
        Lanes::of(simd, -C::zero())
    }

    /// Adds a whole number.
    #[inline(always)]
    pub(crate) fn add_whole(&mut self, value: Lanes<S, C>) {
        self.sum = self.sum + value;
    }

    /// Adds a number no further from 0 than the sum (Dekker's sum).
    #[inline(always)]
    pub(crate) fn add(&mut self, value: Lanes<S, C>) {
        let sum = self.sum + value;
        self.lost = self.lost + (value - (sum - self.sum));
        self.sum = sum;
    }

    /// Adds any number (Knuth's sum).
    #[inline(always)]
    pub(crate) fn add_any(&mut self, value: Lanes<S, C>) {
        let sum = self.sum + value;
        let added = sum - self.sum;
        self.lost = self.lost + ((self.sum - (sum - added)) + (value - added));
        self.sum = sum;
    }

    /// The sum without the start that a bound gave; `None` where it may be wrong: it may overflow,
    /// or, where `uncertain`, a summand may have been further from 0 than the start.
    #[inline(always)]
    pub(crate) fn checked(self, start: Lanes<S, C>, bound: Bound<C>, uncertain: bool) -> Option<Self> {
        // Exact: the start is a power of two.
        let sum = self.sum - start;
        if bound.overflows {
            return None;
        }
        if uncertain {
            let zero = start.splat(C::zero());
            if !start.abs().if_greater(sum.abs(), zero, start).all_equal(zero) {
                return None;
            }
        }
        Some(Self { sum, lost: self.lost })
    }

    /// Whether no lane overflows when twice as many sums like it are joined as between two flushes.
    #[inline(always)]
    pub(crate) fn fits(&self) -> bool {
        let zero = self.sum.splat(C::zero());
        let all = self.sum * self.sum.splat(C::of((2 * FLUSH) as f64));
        (all * zero).all_equal(zero)
    }
}

impl<S: Simd, C: Real> Lanes<S, C> {
    /// The sum of its numbers.
    pub(crate) fn total(self) -> f64 {
        C::numbers::<S>(&self.pair).iter().map(|number| number.wide()).sum()
    }
}

/// Numbers of a slot: the widest pair of vectors of sums, and of their rounding errors.
const SLOT: usize = 2 * WIDEST;

/// The sums of a task.
pub(crate) struct Sums<'a, C> {
    /// A slot per sum.
    pub(crate) lanes: &'a mut [C],
    pub(crate) totals: &'a mut [f64],
}

impl<C: Real> Sums<'_, C> {
    /// Slots for `count` sums.
    pub(crate) fn slots(count: usize) -> Vec<C> {
        vec![C::zero(); count * SLOT]
    }

    /// Adds to a sum, lane by lane.
    #[inline(always)]
    pub(crate) fn join<S: Simd>(&mut self, simd: S, at: usize, other: Sum<S, C>) {
        let slot = &mut self.lanes[at * SLOT..(at + 1) * SLOT];
        let mut sum = Sum::load(simd, slot);
        sum.add_any(other.sum);
        sum.add_any(other.lost);
        sum.store(slot);
    }

    /// Adds the lanes up.
    pub(crate) fn flush(&mut self) {
        for (slot, total) in self.lanes.chunks_exact_mut(SLOT).zip(self.totals.iter_mut()) {
            let (sums, lost) = slot.split_at(WIDEST);
            *total += sums.iter().zip(lost).map(|(sum, lost)| sum.wide() + lost.wide()).sum::<f64>();
            slot.fill(C::zero());
        }
    }
}

/// What is known of the summands of a sum.
#[derive(Clone, Copy)]
pub(crate) enum Summands<C> {
    /// 0 or 1.
    Whole,
    /// Weights, or weights times numbers in [0, 1], as given: summed without loss.
    Exact(Bound<C>),
    /// Weights times probabilities, which are rounded.
    Shares(Bound<C>),
    /// Weights times logarithms of probabilities, which are rounded.
    Logarithms(Bound<C>),
    /// Any numbers.
    Any,
}

/// [`add_up`] for two sums of shares, or of logarithms, whose summands are computed together.
macro_rules! add_up_two {
    ($simd:expr, $sums:expr, $places:expr, $count:expr, $bound:expr, $logarithms:expr, |$i:ident| $values:expr) => {{
        let (simd, [first, second], count): (_, [usize; 2], usize) = ($simd, $places, $count);
        let (bound, logarithms): (crate::sums::Bound<C>, bool) = ($bound, $logarithms);
        let start = bound.start(simd, logarithms);
        let mut both = [Sum::from(start); 2];
        crate::sums::in_runs!(count, |from, LENGTH| {
            let mut runs = [Sum::run(simd); 2];
            for $i in from..from + LENGTH {
                let [a, b] = $values;
                runs = [runs[0] + a, runs[1] + b];
            }
            both[0].add(runs[0]);
            both[1].add(runs[1]);
        });
        match both[0].checked(start, bound, logarithms).zip(both[1].checked(start, bound, logarithms)) {
            Some((a, b)) => {
                $sums.join(simd, first, a);
                $sums.join(simd, second, b);
            }
            None => {
                for $i in 0..count {
                    let [a, b] = $values;
                    $sums.totals[first] += a.total();
                    $sums.totals[second] += b.total();
                }
            }
        }
    }};
}
pub(crate) use add_up_two;

/// Adds the values at the pairs `0..count` to a sum. Where the lanes may overflow, or summands are
/// not what they were assumed to be, adds the block number by number in `f64`.
macro_rules! add_up {
    ($simd:expr, $sums:expr, $at:expr, $count:expr, $summands:expr, |$i:ident| $value:expr) => {{
        let (simd, at, count, summands): (_, usize, usize, Summands<C>) = ($simd, $at, $count, $summands);
        let joined = match summands {
            Summands::Whole => {
                let mut sum = Sum::from(Lanes::of(simd, C::zero()));
                for $i in 0..count {
                    sum.add_whole($value);
                }
                Some(sum)
            }
            Summands::Any => {
                let mut sum = Sum::from(Lanes::of(simd, C::zero()));
                for $i in 0..count {
                    sum.add_any($value);
                }
                sum.fits().then_some(sum)
            }
            Summands::Exact(bound) => {
                let start = bound.start(simd, false);
                let mut sum = Sum::from(start);
                for $i in 0..count {
                    sum.add($value);
                }
                sum.checked(start, bound, false)
            }
            Summands::Shares(bound) | Summands::Logarithms(bound) => {
                let logarithms = matches!(summands, Summands::Logarithms(_));
                let start = bound.start(simd, logarithms);
                let mut sum = Sum::from(start);
                crate::sums::in_runs!(count, |from, LENGTH| {
                    let mut run = Sum::run(simd);
                    for $i in from..from + LENGTH {
                        run = run + $value;
                    }
                    sum.add(run);
                });
                sum.checked(start, bound, logarithms)
            }
        };
        match joined {
            Some(sum) => $sums.join(simd, at, sum),
            None => {
                for $i in 0..count {
                    $sums.totals[at] += $value.total();
                }
            }
        }
    }};
}
pub(crate) use add_up;
