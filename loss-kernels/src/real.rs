//! The two types that pixels are computed in.

use loss_core::LossError;
use num_traits::Float;

use crate::Instructions;
use crate::pass::Blocks;
use crate::simd::Vectors;

/// What stands for the class of a pixel that has none.
pub(crate) const NO_CLASS: u32 = u32::MAX;

/// A float that the kernels compute in: `f32` or `f64`.
pub trait Real: Float + Default + Send + Sync + Vectors {
    /// Whether loops over few classes are worth code of their own: not where the exponential is a function that is called.
    const UNROLLED: bool;

    /// From an upstream derivative or an option.
    fn of(value: f64) -> Self;

    /// The number whose bits are a class's, to be compared bit by bit and not to be computed with; `u32::MAX` is none.
    fn of_class(class: u32) -> Self;

    /// The class of such a number.
    fn class(self) -> u32;

    /// For sums.
    fn wide(self) -> f64;

    /// Runs the blocks of a task. Here, and not where it is called, so that the loops are compiled once, in this crate, and not by each
    /// that calls a generic function of it.
    ///
    /// # Errors
    /// Those of the blocks.
    #[doc(hidden)]
    fn run(blocks: Blocks<'_, Self>, instructions: Instructions) -> Result<(), LossError>;
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

            fn run(blocks: Blocks<'_, Self>, instructions: Instructions) -> Result<(), LossError> {
                instructions.run(blocks)
            }
        }
    )*};
}

real! {
    f32, true;
    f64, false;
}
