//! Sums over pixels: of a block in the type that is computed in, and of blocks in `f64`.

use pulp::Simd;

use crate::Real;
use crate::layout::WIDEST;
use crate::simd::{Lanes, Vectors};

/// How many pairs of vectors are added up before they join the lanes' sums: a power of two. One of
/// a lane's 64 numbers then is rounded 1 + 3 + 8 times at most, where one after the other up to 64.
pub(crate) const RUN: usize = 4;

/// Visits the pairs `0..count`, and joins after each run: [`RUN`] pairs or, at the end, fewer.
/// `short`: for loops of few instructions, which are unrolled over a run. `long`: one loop, as
/// around one of runs the compiler would load the constants of a long loop anew for each run.
macro_rules! in_runs {
    (short, $count:expr, |$i:ident| $add:block, $join:block) => {
        let count: usize = $count;
        let mut from = 0;
        while from + crate::sums::RUN <= count {
            for $i in from..from + crate::sums::RUN $add
            $join
            from += crate::sums::RUN;
        }
        for $i in from..count {
            $add
            $join
        }
    };
    (long, $count:expr, |$i:ident| $add:block, $join:block) => {
        let count: usize = $count;
        for $i in 0..count {
            $add
            if ($i + 1) % crate::sums::RUN == 0 || $i + 1 == count $join
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
    pub(crate) fn join<S: Simd, C: Real>(&mut self, simd: S, at: usize, sum: C::Vector<S>) -> bool {
        let zero = C::splat(simd, C::zero());
        if !C::all_equal(simd, <C as Vectors>::mul(simd, sum, zero), zero) {
            return false;
        }
        let lanes: &[C] = bytemuck::cast_slice(std::slice::from_ref(&sum));
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
pub(crate) fn each<T: Copy, const N: usize, const M: usize>(_: &[[usize; N]; M], value: T) -> [[T; N]; M] {
    [[value; N]; M]
}

/// Adds rows of values at the pairs `0..count` to sums, all at once, in `short` or `long` loops.
/// Where a vector is one number, whose lanes would add up many, or the sum of a block is beyond the
/// type, adds number by number in `f64`.
macro_rules! add_up {
    ($loops:ident, $simd:expr, $sums:expr, $places:expr, $count:expr, |$i:ident| $rows:expr) => {{
        let (simd, places, count) = ($simd, $places, $count);
        // −0, which the compiler drops, as −0 + x is x.
        let start = crate::sums::each(&places, C::splat(simd, -C::zero()));
        let mut all = start;
        if S::IS_SCALAR {
            let mut totals = crate::sums::each(&places, 0.0);
            for $i in 0..count {
                let rows = $rows;
                for (totals, row) in totals.iter_mut().zip(&rows) {
                    for (total, value) in totals.iter_mut().zip(row) {
                        *total += value.total();
                    }
                }
            }
            let totals = places.into_iter().flatten().zip(totals.into_iter().flatten());
            for (at, total) in totals.filter(|(at, _)| *at != crate::sums::NOWHERE) {
                $sums.totals[at] += total;
            }
        } else {
            let mut run = start;
            crate::sums::in_runs!(
                $loops,
                count,
                |$i| {
                    let rows = $rows;
                    for (run, row) in run.iter_mut().zip(&rows) {
                        for (run, value) in run.iter_mut().zip(row) {
                            let pair = <C as crate::simd::Vectors>::add(simd, value.pair[0], value.pair[1]);
                            *run = <C as crate::simd::Vectors>::add(simd, *run, pair);
                        }
                    }
                },
                {
                    for (all, run) in all.iter_mut().zip(&run) {
                        for (all, &run) in all.iter_mut().zip(run) {
                            *all = <C as crate::simd::Vectors>::add(simd, *all, run);
                        }
                    }
                    run = start;
                }
            );
            let mut beyond = crate::sums::each(&places, false);
            let mut any = false;
            for ((places, row), beyond) in places.into_iter().zip(all).zip(&mut beyond) {
                for ((at, sum), beyond) in places.into_iter().zip(row).zip(beyond) {
                    *beyond = at != crate::sums::NOWHERE && !$sums.join::<S, C>(simd, at, sum);
                    any |= *beyond;
                }
            }
            if any {
                for $i in 0..count {
                    let values = $rows.into_iter().flatten();
                    let values = places.into_iter().flatten().zip(values).zip(beyond.into_iter().flatten());
                    for ((at, value), _) in values.filter(|(_, beyond)| *beyond) {
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
