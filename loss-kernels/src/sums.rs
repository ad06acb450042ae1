//! Sums over pixels: with what each rounding has lost, lane by lane, brought together after a number of blocks.

use pulp::Simd;

use crate::Real;
use crate::pass::{FLUSH, LONGEST};
use crate::simd::{Lanes, Vectors, WIDEST, copied};

/// A power of two that no weight of a block exceeds, and so no summand that is a weight times a number between 0 and 1.
#[derive(Clone, Copy)]
pub(crate) struct Bound<C> {
    weight: C,
    /// Whether sums of as many as are ever joined may be beyond the type.
    overflows: bool,
    /// Whether every weight is 0 or 1.
    whole: bool,
}

/// How many times the largest weight a logarithm's summand is taken to be at most; where it is not, that is seen.
const LOGARITHM: f64 = 1024.0;

impl<C: Real> Bound<C> {
    /// Of weights up to this one.
    pub(crate) fn new(largest: f64, whole: bool) -> Self {
        // Not so small that what is lost of it is not a normal number.
        let weight = (largest.log2().floor() + 1.0).max(-60.0).exp2();
        let all = C::of(weight) * C::of(LOGARITHM * (2 * FLUSH * LONGEST) as f64);
        Self { weight: C::of(weight), overflows: !all.is_finite(), whole }
    }

    /// What is known of sums of weights of pixels that are or are not of a class.
    pub(crate) fn of_weights(self) -> Summands<C> {
        if self.whole { Summands::Whole } else { Summands::Exact(self) }
    }

    /// Where a sum of shares, or of runs of them, begins; or one of logarithms, which are all negative.
    #[inline(always)]
    pub(crate) fn start<S: Simd>(self, simd: S, logarithms: bool) -> Lanes<S, C> {
        Lanes::of(simd, if logarithms { -(self.weight * C::of(LOGARITHM)) } else { self.weight * C::of(RUN as f64) })
    }
}

/// How many rounded numbers are added plainly, before their sum is added with what it loses: a power of two. Each of them is off by a few
/// roundings already, and is so by as many as these in all pixels that are alike.
pub(crate) const RUN: usize = 4;

/// Does something with every run of the pairs `0..count`, from a pair on: `LENGTH` of them, of which there are [`RUN`] or, in the end, 1.
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

/// A sum in every lane, kept as a number and what its roundings have lost, each of which is known exactly: as good as a sum in twice the
/// precision, and with no other instructions than the lanes' own. Kahan's sum, which takes from the next summand what the last has
/// lost, is not: it rounds that difference.
pub(crate) struct Sum<S: Simd, C: Vectors> {
    sum: Lanes<S, C>,
    lost: Lanes<S, C>,
}

copied!(Sum);

impl<S: Simd, C: Real> Sum<S, C> {
    /// From a number on, which is to be at least as far from 0 as any summand, and on the same side.
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

    /// What a run begins with: what is added to −0 stays as it is, so that it costs nothing.
    #[inline(always)]
    pub(crate) fn run(simd: S) -> Lanes<S, C> {
        Lanes::of(simd, -C::zero())
    }

    /// Adds a whole number.
    #[inline(always)]
    pub(crate) fn add_whole(&mut self, value: Lanes<S, C>) {
        self.sum = self.sum + value;
    }

    /// Adds a number that is no further from 0 than the sum (Dekker's sum).
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

    /// What was added since the start that a bound gave; `None` where it may be wrong: sums may overflow, or, where that is
    /// `uncertain`, a summand may have been further from 0 than the start, as the sum of all is.
    #[inline(always)]
    pub(crate) fn checked(self, start: Lanes<S, C>, bound: Bound<C>, uncertain: bool) -> Option<Self> {
        // Exact, as the start is a power of two.
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

    /// Whether twice as many like it as are joined before lanes are brought together add up in every lane.
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

/// Numbers of a slot: the widest pair of vectors of sums, and what they have lost.
const SLOT: usize = 2 * WIDEST;

/// Sums over pixels: lane by lane, and brought together after a number of blocks.
pub(crate) struct Sums<'a, C> {
    /// A slot per sum.
    pub(crate) lanes: &'a mut [C],
    pub(crate) totals: &'a mut [f64],
}

impl<C: Real> Sums<'_, C> {
    /// Slots for so many sums.
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

    /// Brings the lanes together.
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
    /// Weights, or weights times numbers between 0 and 1, as they were given: nothing of them is to be lost.
    Exact(Bound<C>),
    /// Weights times probabilities, which are rounded.
    Shares(Bound<C>),
    /// Weights times logarithms of such, likewise.
    Logarithms(Bound<C>),
    /// Nothing.
    Any,
}

/// What [`add_up`] does of shares or logarithms, for two sums whose summands are made together.
macro_rules! add_up_two {
    ($simd:expr, $sums:expr, $places:expr, $count:expr, $rounded:expr, |$i:ident| $values:expr) => {{
        let (simd, [first, second], count): (_, [usize; 2], usize) = ($simd, $places, $count);
        let (bound, logarithms): (crate::sums::Bound<C>, bool) = $rounded;
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

/// Adds to a sum what is given for an index, over all lanes of the pairs `0..count`. Where the lanes' own type overflows, or would with as
/// many more, or summands are not what they were taken to be, the block is added number by number in `f64`.
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
