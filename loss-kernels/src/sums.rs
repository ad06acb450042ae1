//! Sums over pixels: of a block in the type that is computed in, and of blocks in `f64`.

use pulp::Simd;

use crate::Real;
use crate::layout::WIDEST;
use crate::simd::{Lanes, Vectors};

/// How many summands of a lane are added up before they join the lane's sum: a power of two. A
/// number of a block's 32 then is rounded 3 + 8 times at most, where one after the other up to 32.
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

/// Numbers of a slot: the lanes of the widest vector.
const SLOT: usize = WIDEST / 2;

/// The place of a sum that is not wanted.
pub(crate) const NOWHERE: usize = usize::MAX;

/// The sums of a task, lane by lane.
pub(crate) struct Sums<'a> {
    /// A slot per sum.
    pub(crate) lanes: &'a mut [f64],
    pub(crate) totals: &'a mut [f64],
}

impl Sums<'_> {
    /// Slots for `count` sums.
    pub(crate) fn slots(count: usize) -> Vec<f64> {
        vec![0.0; count * SLOT]
    }

    /// Adds a block's sum; false, and nothing is added, where one of its lanes is not finite.
    #[inline(always)]
    pub(crate) fn join<S: Simd, C: Real>(&mut self, at: usize, sum: Lanes<S, C>) -> bool {
        let simd = sum.simd;
        let both = <C as Vectors>::add(simd, sum.pair[0], sum.pair[1]);
        let zero = <C as Vectors>::splat(simd, C::zero());
        if !C::all_equal(simd, <C as Vectors>::mul(simd, both, zero), zero) {
            return false;
        }
        let lanes: &[C] = bytemuck::cast_slice(std::slice::from_ref(&both));
        let slot = &mut self.lanes[at * SLOT..(at + 1) * SLOT];
        slot.iter_mut().zip(lanes).for_each(|(total, lane)| *total += lane.wide());
        true
    }

    /// Adds numbers lane by lane, in `f64`.
    #[inline(always)]
    pub(crate) fn join_wide(&mut self, at: usize, sums: &[f64; WIDEST]) {
        let slot = &mut self.lanes[at * SLOT..(at + 1) * SLOT];
        for half in sums.as_chunks::<SLOT>().0 {
            slot.iter_mut().zip(half).for_each(|(total, lane)| *total += lane);
        }
    }

    /// Adds the lanes up.
    pub(crate) fn finish(&mut self) {
        for (slot, total) in self.lanes.chunks_exact_mut(SLOT).zip(self.totals.iter_mut()) {
            *total += slot.iter().sum::<f64>();
            slot.fill(0.0);
        }
    }
}

impl<S: Simd, C: Real> Lanes<S, C> {
    /// The sum of its numbers.
    pub(crate) fn total(self) -> f64 {
        C::numbers::<S>(&self.pair).iter().map(|number| number.wide()).sum()
    }
}

/// A number for each place.
#[inline(always)]
pub(crate) fn each<T: Copy, const N: usize>(_: &[usize; N], value: T) -> [T; N] {
    [value; N]
}

/// Adds the values at the pairs `0..count` to sums, several at once. Where a vector is one number,
/// whose lanes would add up many, or the sum of a block is beyond the type, adds number by number
/// in `f64`.
macro_rules! add_up {
    ($simd:expr, $sums:expr, $places:expr, $count:expr, |$i:ident| $values:expr) => {{
        let (simd, places, count) = ($simd, $places, $count);
        // −0, which the compiler drops, as −0 + x is x.
        let start = crate::sums::each(&places, crate::simd::Lanes::of(simd, -C::zero()));
        let mut all = start;
        if S::IS_SCALAR {
            let mut totals = crate::sums::each(&places, 0.0);
            for $i in 0..count {
                let values = $values;
                for (total, value) in totals.iter_mut().zip(values) {
                    *total += value.total();
                }
            }
            for (at, total) in places.into_iter().zip(totals).filter(|(at, _)| *at != crate::sums::NOWHERE) {
                $sums.totals[at] += total;
            }
        } else {
            crate::sums::in_runs!(count, |from, LENGTH| {
                let mut run = start;
                for $i in from..from + LENGTH {
                    let values = $values;
                    for (run, value) in run.iter_mut().zip(values) {
                        *run = *run + value;
                    }
                }
                for (all, run) in all.iter_mut().zip(run) {
                    *all = *all + run;
                }
            });
            let mut beyond = crate::sums::each(&places, false);
            for ((at, sum), beyond) in places.into_iter().zip(all).zip(&mut beyond) {
                *beyond = at != crate::sums::NOWHERE && !$sums.join(at, sum);
            }
            if beyond.contains(&true) {
                for $i in 0..count {
                    let values = $values;
                    for ((at, value), _) in places.into_iter().zip(values).zip(beyond).filter(|(_, beyond)| *beyond) {
                        $sums.totals[at] += value.total();
                    }
                }
            }
        }
    }};
}
pub(crate) use add_up;

/// [`add_up`] of one sum in `f64` from the first number on: of what was given and is not rounded,
/// and of what is seldom summed, for which one loop is enough.
macro_rules! add_exactly {
    ($simd:expr, $sums:expr, $at:expr, $count:expr, |$i:ident| $value:expr) => {{
        let mut all = [0.0; crate::layout::WIDEST];
        for $i in 0..$count {
            let value = $value;
            all.iter_mut().zip(C::numbers::<S>(&value.pair)).for_each(|(all, value)| *all += value.wide());
        }
        $sums.join_wide($at, &all);
    }};
}
pub(crate) use add_exactly;
