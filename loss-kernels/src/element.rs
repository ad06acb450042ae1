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
