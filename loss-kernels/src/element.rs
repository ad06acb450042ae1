//! The types that logits are stored in.

use half::{bf16, f16};

use crate::Real;

/// A type of logits, and the type they are computed in.
pub trait Element: Copy + Send + Sync + 'static {
    /// `f32` for half precision, else the type itself.
    type Compute: Real;

    /// As computed with; exact.
    fn load(self) -> Self::Compute;

    /// Rounded to the nearest.
    fn store(value: Self::Compute) -> Self;
}

macro_rules! element {
    ($($type:ty, $compute:ty, $load:expr, $store:expr;)*) => {$(
        impl Element for $type {
            type Compute = $compute;
            #[inline]
            fn load(self) -> $compute {
                $load(self)
            }
            #[inline]
            fn store(value: $compute) -> Self {
                $store(value)
            }
        }
    )*};
}

element! {
    f32, f32, std::convert::identity, std::convert::identity;
    f64, f64, std::convert::identity, std::convert::identity;
    f16, f32, f16::to_f32, f16::from_f32;
    bf16, f32, bf16::to_f32, bf16::from_f32;
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
