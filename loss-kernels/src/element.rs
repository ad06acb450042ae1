//! The types that logits are stored in.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::Real;

/// A type of logits, and the type they are computed in.
pub trait Element: bytemuck::Zeroable + Copy + Send + Sync + 'static {
    /// `f32` for half precision, else the type itself.
    type Compute: Real;

    /// Brings numbers to the type they are computed in; exact. What is beyond the shorter slice stays as it is.
    fn load(from: &[Self], to: &mut [Self::Compute]);

    /// Rounds numbers to the nearest. What is beyond the shorter slice stays as it is.
    fn store(from: &[Self::Compute], to: &mut [Self]);

    /// As many zeros, fresh from the system where they are many: memory that nothing has been written to.
    #[must_use]
    fn zeros(length: usize) -> Vec<Self> {
        bytemuck::zeroed_vec(length)
    }
}

macro_rules! element {
    ($($type:ty, $compute:ty, $load:expr, $store:expr;)*) => {$(
        impl Element for $type {
            type Compute = $compute;
            #[inline]
            fn load(from: &[Self], to: &mut [$compute]) {
                let length = from.len().min(to.len());
                $load(&from[..length], &mut to[..length]);
            }
            #[inline]
            fn store(from: &[$compute], to: &mut [Self]) {
                let length = from.len().min(to.len());
                $store(&from[..length], &mut to[..length]);
            }
        }
    )*};
}

fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    to.copy_from_slice(from);
}

element! {
    f32, f32, copy, copy;
    f64, f64, copy, copy;
    f16, f32, <[f16]>::convert_to_f32_slice, |from, to: &mut [f16]| to.convert_from_f32_slice(from);
    bf16, f32, <[bf16]>::convert_to_f32_slice, |from, to: &mut [bf16]| to.convert_from_f32_slice(from);
}

/// Calls `$call` with the numbers of a tensor as a slice of their own type, which is [`Element`]: the tensor says by a method
/// `as_slice::<T>()` whether they are of type `T`. Where they are of none, the result is `Err($otherwise)`.
#[macro_export]
macro_rules! by_type {
    ($tensor:expr, |$slice:ident: &[$element:ident]| $call:expr, else $otherwise:expr) => {{
        if let Some($slice) = $tensor.as_slice::<f32>() {
            type $element = f32;
            $call
        } else if let Some($slice) = $tensor.as_slice::<f64>() {
            type $element = f64;
            $call
        } else if let Some($slice) = $tensor.as_slice::<$crate::f16>() {
            type $element = $crate::f16;
            $call
        } else if let Some($slice) = $tensor.as_slice::<$crate::bf16>() {
            type $element = $crate::bf16;
            $call
        } else {
            Err($otherwise)
        }
    }};
}
