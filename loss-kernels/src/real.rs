//! The two types that pixels are computed in.

use num_traits::Float;

use crate::simd::Vectors;

/// A float that the kernels compute in: `f32` or `f64`.
pub trait Real: Float + Default + Send + Sync + Vectors {
    /// From an upstream derivative or an option.
    fn of(value: f64) -> Self;

    /// From a class; exact up to 2²⁴.
    fn of_class(class: i32) -> Self;

    /// For sums.
    fn wide(self) -> f64;
}

macro_rules! real {
    ($($type:ty),*) => {$(
        impl Real for $type {
            #[inline(always)]
            fn of(value: f64) -> Self {
                value as Self
            }

            #[inline(always)]
            fn of_class(class: i32) -> Self {
                class as Self
            }

            #[inline(always)]
            fn wide(self) -> f64 {
                f64::from(self)
            }
        }
    )*};
}

real!(f32, f64);
