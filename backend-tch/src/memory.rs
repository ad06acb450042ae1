//! Tensors' own memory as slices: with `cuda`, what this crate has of `unsafe`.
#![allow(unsafe_code)]

use half::{bf16, f16};
use loss_core::LossError;
use tch::{Device, Kind, TchError, Tensor};

use crate::error::During;

mod sealed {
    /// A Rust type of the same size, alignment and meaning as the elements of tensors of some
    /// types, and for which every pattern of bits is a value.
    pub(crate) trait Element: Copy {
        fn is(kind: tch::Kind) -> bool;
    }
}

pub(crate) use sealed::Element;

macro_rules! element {
    ($($type:ty: $($kind:ident)|+;)*) => {$(
        impl Element for $type {
            fn is(kind: Kind) -> bool {
                matches!(kind, $(Kind::$kind)|+)
            }
        }
    )*};
}

element! {
    f64: Double;
    f32: Float;
    f16: Half;
    bf16: BFloat16;
    i64: Int64;
    i32: Int;
    i16: Int16;
    i8: Int8;
    u8: Uint8 | Bool;
}

/// A tensor in host memory, row-major, whose numbers are what its memory holds.
#[derive(Debug)]
pub(crate) struct Host {
    /// One axis of stride 1. Shares its memory with the tensor it comes from.
    flat: Tensor,
    kind: Kind,
    length: usize,
}

impl Host {
    /// The memory of a tensor as it is; `None` where it is not row-major in host memory, and would
    /// have to be copied.
    pub(crate) fn in_place(tensor: &Tensor) -> Result<Option<Self>, LossError> {
        if tensor.device() != Device::Cpu {
            return Ok(None);
        }
        // What cannot be seen as one axis is not contiguous.
        let Ok(flat) = tensor.f_detach().and_then(|tensor| tensor.f_view([-1])) else { return Ok(None) };
        let as_stored = |flat: &Tensor| -> Result<bool, TchError> {
            // A view whose sign is kept apart from its memory, and zeros without any memory.
            Ok(!flat.f_is_neg()? && !flat.f_internal_is_zerotensor()?)
        };
        let length = usize::try_from(flat.size().iter().product::<i64>()).unwrap_or(0);
        let dense = length < 2 || flat.stride() == [1];
        if !dense || !as_stored(&flat).during("looking at a tensor's memory")? {
            return Ok(None);
        }
        let kind = flat.f_kind().during("looking at a tensor's memory")?;
        Ok(Some(Self { flat, kind, length }))
    }

    /// The memory of a tensor, brought to the host, to row-major order and to another type where it
    /// must be.
    pub(crate) fn of(tensor: &Tensor, kind: Kind) -> Result<Self, LossError> {
        let converted = tensor.f_detach().and_then(|tensor| tensor.f_to_device_(Device::Cpu, kind, false, false));
        let converted = converted.during("bringing a tensor to the host")?;
        if let Some(host) = Self::in_place(&converted)? {
            return Ok(host);
        }
        // Adding to fresh zeros resolves whatever kept it from being read.
        let copy = || {
            let mut copy = Tensor::f_zeros(converted.size(), (kind, Device::Cpu))?;
            copy.f_copy_(&converted)?;
            Ok(copy)
        };
        let copy = copy().during("copying a tensor")?;
        Self::in_place(&copy)?.ok_or_else(|| LossError::Unsupported {
            what: "tensor",
            got: format!("{kind:?} without memory of its own"),
            expected: "a dense tensor",
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Its elements; `None` where they are of another type.
    pub(crate) fn as_slice<T: Element>(&self) -> Option<&[T]> {
        if !T::is(self.kind) {
            return None;
        }
        if self.length == 0 {
            return Some(&[]);
        }
        let pointer = self.flat.data_ptr().cast::<T>().cast_const();
        if !usable(pointer) {
            return None;
        }
        // SAFETY: `in_place` saw a dense CPU tensor of one axis with `length` elements of stride 1,
        // so LibTorch guarantees that many elements from its data pointer on; `T` has their layout
        // and any bits make one (`Element`); pointer and alignment were checked just now. `self`
        // holds the storage, so it outlives the slice. Nothing here writes to it while the slice
        // lives; a clone of the tensor written to from another thread at the same time is a race of
        // the caller's, as in LibTorch itself.
        Some(unsafe { std::slice::from_raw_parts(pointer, self.length) })
    }
}

/// Whether elements may lie there.
fn usable<T>(pointer: *const T) -> bool {
    !pointer.is_null() && pointer.is_aligned()
}

/// A new row-major CPU tensor, its elements written by `write`, behind what that returns.
pub(crate) fn written<T: Element, R>(
    size: &[i64],
    kind: Kind,
    write: impl FnOnce(&mut [T]) -> Result<R, LossError>,
) -> Result<(R, Tensor), LossError> {
    let tensor = Tensor::f_empty(size, (kind, Device::Cpu)).during("allocating a gradient")?;
    let length = usize::try_from(size.iter().product::<i64>()).unwrap_or(0);
    let pointer = tensor.data_ptr().cast::<T>();
    if !(T::is(kind) && usable(pointer)) {
        return Err(LossError::Unsupported { what: "gradient", got: format!("{kind:?}"), expected: "the type computed in" });
    }
    // SAFETY: LibTorch has just allocated `length` contiguous elements here, and any bits make a
    // `T` (`Element`); pointer, type and alignment were checked. The tensor was made above and
    // nobody else has it, so this is the only access to its memory.
    let elements = unsafe { std::slice::from_raw_parts_mut(pointer, length) };
    Ok((write(elements)?, tensor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_only_where_elements_may_lie() {
        let number = 0f64;
        let inside = std::ptr::from_ref(&number).wrapping_byte_add(1);
        assert!(usable(&raw const number) && !usable(inside) && !usable(std::ptr::null::<f64>()));
        // Nor where they are of another type.
        let write = |_: &mut [f32]| Ok(());
        assert!(written(&[2], Kind::Float, write).is_ok() && written(&[2], Kind::Int, write).is_err());
        let host = Host::of(&Tensor::zeros([2], (Kind::Float, Device::Cpu)), Kind::Float).unwrap();
        assert!(host.as_slice::<f32>().is_some() && host.as_slice::<f64>().is_none());
    }
}
