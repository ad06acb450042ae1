//! Where the numbers of a tensor lie, as the kernels find them.

use loss_core::LossError;
use tch::{TchError, Tensor};

use crate::error::During;

/// A tensor whose spatial axes are one: numbers lie at `n·strides[0] + k·strides[1] +
/// s·strides[2]`.
pub(crate) struct Strided {
    tensor: Tensor,
    strides: [i64; 3],
}

/// The stride of axes that are one in memory; `None` where they are not.
fn merged(size: &[i64], stride: &[i64]) -> Option<i64> {
    let mut axes = size.iter().zip(stride).filter(|(size, _)| **size != 1).rev();
    let Some((size, &innermost)) = axes.next() else { return Some(0) };
    let mut next = size * innermost;
    for (size, &stride) in axes {
        if stride != next {
            return None;
        }
        next *= size;
    }
    Some(innermost)
}

impl Strided {
    /// A tensor `[N, K, *spatial]`, or `[N, *spatial]` without classes. It is copied where its
    /// spatial axes are no single one in memory.
    pub(crate) fn new(tensor: &Tensor, classes: bool) -> Result<Self, LossError> {
        let find = || -> Result<Self, TchError> {
            let tensor = tensor.f_detach()?;
            // A view whose sign is kept apart from its memory, and zeros without any memory.
            let stored = !tensor.f_is_neg()? && !tensor.f_internal_is_zerotensor()?;
            if let Some(strides) = strides(&tensor, classes).filter(|_| stored) {
                return Ok(Self { tensor, strides });
            }
            let mut copy = Tensor::f_zeros(tensor.size(), (tensor.f_kind()?, tensor.device()))?;
            copy.f_copy_(&tensor)?;
            let strides = strides(&copy, classes).ok_or_else(|| TchError::Shape("a copy that is not dense".to_owned()))?;
            Ok(Self { tensor: copy, strides })
        };
        find().during("looking at a tensor's memory")
    }

    /// As the kernels' `struct Strided`. `channels` is 1 where all classes read the same.
    pub(crate) fn words(&self, channels: usize) -> [u64; 4] {
        let [n, k, s] = self.strides;
        let k = if channels == 1 { 0 } else { k };
        [address(&self.tensor), n as u64, k as u64, s as u64]
    }
}

fn strides(tensor: &Tensor, classes: bool) -> Option<[i64; 3]> {
    let (size, stride) = (tensor.size(), tensor.stride());
    let first = if classes { 2 } else { 1 };
    let pixels = merged(size.get(first..)?, stride.get(first..)?)?;
    Some([*stride.first()?, if classes { *stride.get(1)? } else { 0 }, pixels])
}

/// Where a tensor's first number lies.
pub(crate) fn address(tensor: &Tensor) -> u64 {
    tensor.data_ptr() as usize as u64
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn spatial_axes_that_are_one_in_memory_are_read_as_one() {
        let tensor = Tensor::arange(2 * 3 * 4 * 5, (Kind::Float, Device::Cpu)).reshape([2, 3, 4, 5]);
        let strides = |tensor: &Tensor, classes| Strided::new(tensor, classes).unwrap().strides;
        assert_eq!(strides(&tensor, true), [60, 20, 1]);
        assert_eq!(strides(&tensor.select(1, 0), false), [60, 0, 1]);
        // Channels last, samples last, every second pixel, one value seen as many.
        assert_eq!(strides(&tensor.permute([0, 3, 1, 2]), true), [60, 1, 5]);
        assert_eq!(strides(&tensor.permute([3, 0, 1, 2]), true), [1, 60, 5]);
        assert_eq!(strides(&tensor.slice(3, 0, None, 2).slice(2, 0, 1, 1), true), [60, 20, 2]);
        assert_eq!(strides(&Tensor::from(1.0f32).expand([2, 3, 4, 5], false), true), [0, 0, 0]);
        assert_eq!(strides(&tensor.reshape([40, 3]), true), [3, 1, 0]);
        // Copied.
        assert_eq!(strides(&tensor.transpose(2, 3), true), [60, 20, 1]);
        let halves = Strided::new(&tensor.slice(3, 0, None, 2), true).unwrap();
        assert_eq!(halves.strides, [36, 12, 1]);
        assert_eq!(halves.tensor, tensor.slice(3, 0, None, 2));
    }
}
