//! Which class a pixel is of: labels as they come, and y·x and (1 − y)·x of a block's.

use loss_core::Side;
use pulp::Simd;

use crate::Real;
use crate::columns::Grid;
use crate::simd::{Column, Lanes, Vectors, copied};

/// Whether pixels are of a class. `class` is its number, in all lanes.
pub(crate) trait Membership<S: Simd, C: Real>: Copy {
    /// The first of its pairs.
    fn first(self, count: usize) -> Self;
    /// y·x, on the background side (1 − y)·x, at the pair `b` of the class `k`.
    fn of<const BACKGROUND: bool>(self, at: (usize, usize), class: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C>;
}

/// Labels.
pub(crate) struct HardTarget<'a, S: Simd, C: Vectors>(pub(crate) Column<'a, S, C>);

/// Shares, class by class.
pub(crate) struct SoftTarget<'a, S: Simd, C: Vectors>(pub(crate) Grid<'a, S, C>);

copied!(HardTarget<'_>, SoftTarget<'_>);

impl<S: Simd, C: Real> Membership<S, C> for HardTarget<'_, S, C> {
    #[inline(always)]
    fn first(self, count: usize) -> Self {
        Self(self.0.first(count))
    }

    #[inline(always)]
    fn of<const BACKGROUND: bool>(self, (_, b): (usize, usize), class: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C> {
        let (label, zero) = (self.0.at(b), x.splat(C::zero()));
        if BACKGROUND { label.if_same(class, zero, x) } else { label.if_same(class, x, zero) }
    }
}

impl<S: Simd, C: Real> Membership<S, C> for SoftTarget<'_, S, C> {
    #[inline(always)]
    fn first(self, _: usize) -> Self {
        self
    }

    #[inline(always)]
    fn of<const BACKGROUND: bool>(self, (k, b): (usize, usize), _: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C> {
        let share = self.0.at(k, b);
        if BACKGROUND { (x.splat(C::one()) - share) * x } else { share * x }
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
    /// y·x, on the background side (1 − y)·x.
    #[inline(always)]
    pub(crate) fn of(&self, side: Side, b: usize, x: Lanes<S, C>) -> Lanes<S, C> {
        // Shares need no number in lanes.
        match (self, side) {
            (Self::Hard(label, class), Side::Region) => label.of::<false>((0, b), *class, x),
            (Self::Hard(label, class), Side::Background) => label.of::<true>((0, b), *class, x),
            (Self::Soft(share, k), Side::Region) => share.of::<false>((*k, b), x, x),
            (Self::Soft(share, k), Side::Background) => share.of::<true>((*k, b), x, x),
        }
    }
}

/// An integer that labels are given in.
pub(crate) trait Label: Copy {
    /// Its lower 32 bits: of a class, itself.
    fn low(self) -> u32;
    /// Its higher bits: 0 for a class.
    fn high(self) -> u32;
    /// Itself.
    fn wide(self) -> i64;
}

macro_rules! label {
    ($($type:ty, $high:expr;)*) => {$(
        impl Label for $type {
            #[inline(always)]
            fn low(self) -> u32 {
                self as u32
            }
            #[inline(always)]
            fn high(self) -> u32 {
                $high(self)
            }
            #[inline(always)]
            fn wide(self) -> i64 {
                i64::from(self)
            }
        }
    )*};
}

label! {
    u8, |_| 0;
    // A negative one has a large lower half.
    i32, |_| 0;
    i64, |label| (label >> 32) as u32;
}
