//! Which class a pixel is of: labels as they come, and y·x and (1 − y)·x of a block's.

use pulp::Simd;

use crate::Real;
use crate::columns::Grid;
use crate::simd::{Column, Lanes, Vectors, copied};

/// Whether pixels are of a class. `class` is its number, in all lanes.
pub(crate) trait Membership<S: Simd, C: Real>: Copy {
    /// Some of its vectors.
    fn part(self, start: usize, end: usize) -> Self;
    /// y·x, at the vector `b` of the class `k`.
    fn of(self, at: (usize, usize), class: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C>;
    /// (1 − y)·x
    fn outside(self, at: (usize, usize), class: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C>;
}

/// Labels.
pub(crate) struct HardTarget<'a, S: Simd, C: Vectors>(pub(crate) Column<'a, S, C>);

/// Shares, class by class.
pub(crate) struct SoftTarget<'a, S: Simd, C: Vectors>(pub(crate) Grid<'a, S, C>);

copied!(HardTarget<'_>, SoftTarget<'_>);

impl<S: Simd, C: Real> Membership<S, C> for HardTarget<'_, S, C> {
    #[inline(always)]
    fn part(self, start: usize, end: usize) -> Self {
        Self(self.0.part(start, end))
    }

    #[inline(always)]
    fn of(self, (_, b): (usize, usize), class: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C> {
        self.0.at(b).if_equal(class, x, x.splat(C::zero()))
    }

    #[inline(always)]
    fn outside(self, (_, b): (usize, usize), class: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C> {
        self.0.at(b).if_equal(class, x.splat(C::zero()), x)
    }
}

impl<S: Simd, C: Real> Membership<S, C> for SoftTarget<'_, S, C> {
    #[inline(always)]
    fn part(self, start: usize, _: usize) -> Self {
        Self(self.0.from(start))
    }

    #[inline(always)]
    fn of(self, (k, b): (usize, usize), _: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C> {
        self.0.at(k, b) * x
    }

    #[inline(always)]
    fn outside(self, (k, b): (usize, usize), _: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C> {
        (x.splat(C::one()) - self.0.at(k, b)) * x
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
    /// y·x
    #[inline(always)]
    pub(crate) fn of(&self, i: usize, x: Lanes<S, C>) -> Lanes<S, C> {
        match self {
            Self::Hard(label, class) => label.of((0, i), *class, x),
            Self::Soft(share, k) => share.of((*k, i), x, x),
        }
    }

    /// The former or the latter.
    #[inline(always)]
    pub(crate) fn on_side(&self, background: bool, i: usize, x: Lanes<S, C>) -> Lanes<S, C> {
        if background { self.outside(i, x) } else { self.of(i, x) }
    }

    /// (1 − y)·x
    #[inline(always)]
    pub(crate) fn outside(&self, i: usize, x: Lanes<S, C>) -> Lanes<S, C> {
        match self {
            Self::Hard(label, class) => label.outside((0, i), *class, x),
            Self::Soft(share, k) => share.outside((*k, i), x, x),
        }
    }
}

/// An integer that labels are given in.
pub(crate) trait Label: Copy {
    /// Whether it is one of so many classes.
    fn is_below(self, count: usize) -> bool;
    /// Itself, where it is a class.
    fn number(self) -> i32;
    /// Itself.
    fn wide(self) -> i64;
}

macro_rules! label {
    ($($type:ty, $unsigned:ty;)*) => {$(
        impl Label for $type {
            #[inline(always)]
            fn is_below(self, count: usize) -> bool {
                // As an unsigned number a negative one is large.
                (self as $unsigned) < <$unsigned>::try_from(count).unwrap_or(<$unsigned>::MAX)
            }
            #[inline(always)]
            fn number(self) -> i32 {
                self as i32
            }
            #[inline(always)]
            fn wide(self) -> i64 {
                i64::from(self)
            }
        }
    )*};
}

label! {
    u8, u32;
    i32, u32;
    i64, u64;
}
