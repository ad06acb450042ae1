//! Sums over pixels: with what each rounding has lost, lane by lane, brought together after a number of blocks.

use pulp::Simd;

use crate::pass::FLUSH;
use crate::simd::{Lanes, PADDING, Vectors, copied};

/// A sum in every lane, kept as a number and what its roundings have lost, each of which is known exactly (Knuth's two-sum): as good
/// as a sum in twice the precision, and with no other instructions than the lanes' own. Kahan's shorter sum, which takes from the next
/// summand what the last has lost, is not: it rounds that difference.
pub(crate) struct Sum<S: Simd, C: Vectors> {
    sum: Lanes<S, C>,
    lost: Lanes<S, C>,
}

copied!(Sum);

impl<S: Simd, C: crate::Real> Sum<S, C> {
    #[inline(always)]
    pub(crate) fn new(simd: S) -> Self {
        let zero = Lanes::of(simd, C::zero());
        Self { sum: zero, lost: zero }
    }

    #[inline(always)]
    fn load(simd: S, slot: &[C]) -> Self {
        let vectors = C::vectors::<S>(slot);
        Self { sum: Lanes::new(simd, vectors[0]), lost: Lanes::new(simd, vectors[vectors.len() / 2]) }
    }

    #[inline(always)]
    fn store(self, slot: &mut [C]) {
        let vectors = C::vectors_mut::<S>(slot);
        let half = vectors.len() / 2;
        vectors[0] = self.sum.vector;
        vectors[half] = self.lost.vector;
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, value: Lanes<S, C>) {
        let sum = self.sum + value;
        let added = sum - self.sum;
        self.lost = self.lost + ((self.sum - (sum - added)) + (value - added));
        self.sum = sum;
    }

    #[inline(always)]
    pub(crate) fn join(&mut self, other: Self) {
        self.add(other.sum);
        self.lost = self.lost + other.lost;
    }

    /// Whether twice as many like it as are joined before lanes are brought together add up in every lane.
    #[inline(always)]
    pub(crate) fn fits(&self) -> bool {
        let zero = self.sum.splat(C::zero());
        let all = self.sum * self.sum.splat(C::of((2 * FLUSH) as f64));
        C::all_equal(zero.simd, (all * zero).vector, zero.vector)
    }
}

impl<S: Simd, C: crate::Real> Lanes<S, C> {
    /// The sum of its numbers.
    pub(crate) fn total(self) -> f64 {
        C::numbers::<S>(&self.vector).iter().map(|number| number.wide()).sum()
    }
}

/// Numbers of a slot: the widest vector of sums, and what they have lost.
const SLOT: usize = 2 * PADDING;

/// Sums over pixels: lane by lane, and brought together after a number of blocks.
pub(crate) struct Sums<'a, C> {
    /// A slot per sum.
    pub(crate) lanes: &'a mut [C],
    pub(crate) totals: &'a mut [f64],
}

impl<C: crate::Real> Sums<'_, C> {
    /// Slots for so many sums.
    pub(crate) fn slots(count: usize) -> Vec<C> {
        vec![C::zero(); count * SLOT]
    }

    /// Adds to a sum, lane by lane.
    #[inline(always)]
    pub(crate) fn join<S: Simd>(&mut self, simd: S, at: usize, other: Sum<S, C>) {
        let slot = &mut self.lanes[at * SLOT..(at + 1) * SLOT];
        let mut sum = Sum::load(simd, slot);
        sum.join(other);
        sum.store(slot);
    }

    /// Brings the lanes together.
    pub(crate) fn flush(&mut self) {
        for (slot, total) in self.lanes.chunks_exact_mut(SLOT).zip(self.totals.iter_mut()) {
            let (sums, lost) = slot.split_at(PADDING);
            *total += sums.iter().zip(lost).map(|(sum, lost)| sum.wide() + lost.wide()).sum::<f64>();
            slot.fill(C::zero());
        }
    }
}

/// Adds to a sum what is given for an index, over all lanes of the vectors `0..count`. `checked`: where the lanes' own type overflows,
/// as with logarithms near its limit, or would with as many more, the block is added number by number in `f64`.
macro_rules! add_up {
    ($simd:expr, $sums:expr, $at:expr, $count:expr, $checked:expr, |$i:ident| $value:expr) => {{
        let (simd, at, count): (_, usize, usize) = ($simd, $at, $count);
        // Two sums, so that not every addition waits for the one before it.
        let (mut even, mut odd) = (Sum::new(simd), Sum::new(simd));
        let mut $i = 0;
        while $i + 2 <= count {
            even.add($value);
            $i += 1;
            odd.add($value);
            $i += 1;
        }
        if $i < count {
            even.add($value);
        }
        even.join(odd);
        if $checked && !even.fits() {
            for $i in 0..count {
                $sums.totals[at] += $value.total();
            }
        } else {
            $sums.join(simd, at, even);
        }
    }};
}
pub(crate) use add_up;
