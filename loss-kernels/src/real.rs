//! The two types that pixels are computed in.

use num_traits::Float;
use pulp::Simd;

use crate::functions::Functions;

/// A float that the kernels compute in: `f32` or `f64`.
pub trait Real: Float + Default + Send + Sync + Functions {
    /// Whether loops over few classes are unrolled: not where the exponential is a call.
    const UNROLLED: bool;

    /// From an upstream derivative or an option.
    fn of(value: f64) -> Self;

    /// A class as the bits of a number: to be compared bit by bit, not to be computed with.
    fn of_class(class: u32) -> Self;

    /// The class whose bits these are.
    fn class(self) -> u32;

    /// As `f64`, for sums.
    fn wide(self) -> f64;
}

macro_rules! real {
    ($($type:ty, $unrolled:expr;)*) => {$(
        impl Real for $type {
            const UNROLLED: bool = $unrolled;

            #[inline(always)]
            fn of(value: f64) -> Self {
                value as Self
            }

            #[inline(always)]
            fn of_class(class: u32) -> Self {
                Self::from_bits(class.into())
            }

            #[inline(always)]
            fn class(self) -> u32 {
                self.to_bits() as u32
            }

            #[inline(always)]
            fn wide(self) -> f64 {
                f64::from(self)
            }
        }
    )*};
}

real! {
    f32, true;
    f64, false;
}

/// Any number of classes, or of groups, where a number would have the loop over them unrolled.
pub(crate) const MANY: usize = 0;

/// How many classes are few.
pub(crate) const MOST_FEW: usize = 4;

/// The number of classes where loops over so few are unrolled, else [`MANY`].
#[inline(always)]
pub(crate) fn few<S: Simd, C: Real>(classes: usize) -> usize {
    if C::UNROLLED && !S::IS_SCALAR && classes <= MOST_FEW { classes } else { MANY }
}
