//! The types that logits are stored in.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use loss_core::Precision;

use crate::blocks::Compiled;

/// A type of logits, and the type they are computed in.
pub trait Element: bytemuck::Zeroable + Copy + Send + Sync + 'static {
    /// `f32` for half precision, else the type itself.
    type Compute: Compiled;

    /// The type by name.
    const PRECISION: Precision;

    /// Converts numbers to the type they are computed in, exactly. Beyond the shorter slice,
    /// nothing changes.
    fn load(from: &[Self], to: &mut [Self::Compute]);

    /// Rounds numbers to the nearest. Beyond the shorter slice, nothing changes.
    fn store(from: &[Self::Compute], to: &mut [Self]);

    /// The numbers themselves, where they are stored in the type they are computed in.
    fn as_computed(values: &[Self]) -> Option<&[Self::Compute]>;

    /// The same, to write.
    fn computed(values: &mut [Self]) -> Option<&mut [Self::Compute]>;
}

macro_rules! element {
    ($($type:ty, $compute:ty, $precision:ident, $load:expr, $store:expr, $as_computed:expr, $computed:expr;)*) => {$(
        impl Element for $type {
            type Compute = $compute;
            const PRECISION: Precision = Precision::$precision;
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
            #[inline]
            fn as_computed(values: &[Self]) -> Option<&[$compute]> {
                $as_computed(values)
            }
            #[inline]
            fn computed(values: &mut [Self]) -> Option<&mut [$compute]> {
                $computed(values)
            }
        }
    )*};
}

fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    to.copy_from_slice(from);
}

/// bf16 is the upper half of an f32. Unlike `half`, without a branch for NaN.
fn widen(from: &[bf16], to: &mut [f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = f32::from_bits(u32::from(from.to_bits()) << 16));
}

/// To the nearest, ties to even; NaN stays NaN.
fn narrow(from: &[f32], to: &mut [bf16]) {
    for (to, from) in to.iter_mut().zip(from) {
        let bits = from.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
        let quiet = bits | 0x0040_0000;
        *to = bf16::from_bits(((if from.is_nan() { quiet } else { rounded }) >> 16) as u16);
    }
}

element! {
    f32, f32, F32, copy, copy, Some, Some;
    f64, f64, F64, copy, copy, Some, Some;
    f16, f32, F16, <[f16]>::convert_to_f32_slice, |from, to: &mut [f16]| to.convert_from_f32_slice(from), |_| None, |_| None;
    bf16, f32, Bf16, widen, narrow, |_| None, |_| None;
}

/// Calls `$call` with the numbers of a tensor as a slice of their type, which is an [`Element`].
/// The tensor's method `as_slice::<T>()` returns a slice where its numbers are of type `T`. For
/// numbers of another type, the result is `Err($otherwise)`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_what_half_makes_of_it() {
        for bits in 0..=u16::MAX {
            let (from, mut wide, mut back) = (bf16::from_bits(bits), [0.0], [bf16::ZERO]);
            bf16::load(&[from], &mut wide);
            bf16::store(&wide, &mut back);
            if from.is_nan() {
                assert!(wide[0].is_nan() && back[0].is_nan());
                continue;
            }
            assert_eq!((wide[0].to_bits(), back[0].to_bits()), (from.to_f32().to_bits(), bits));
            // Around the halfway points.
            for offset in [1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let between = f32::from_bits(from.to_f32().to_bits() | offset);
                bf16::store(&[between], &mut back);
                assert!(between.is_nan() || back[0].to_bits() == bf16::from_f32(between).to_bits(), "{between:e}");
            }
        }
    }

    #[test]
    fn what_is_beyond_the_shorter_stays() {
        let mut to = [7.0f32; 3];
        f16::load(&[f16::ONE], &mut to);
        assert_eq!(to, [1.0, 7.0, 7.0]);
        let mut short = [f16::ZERO];
        f16::store(&to, &mut short);
        assert_eq!(short, [f16::ONE]);
    }
}
