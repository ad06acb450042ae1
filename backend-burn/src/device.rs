//! What a device computes in.

use burn::tensor::{DType, Device, Tensor};
use loss_core::LossError;

/// Types of logits.
const TYPES: [DType; 4] = [DType::F64, DType::F32, DType::F16, DType::BF16];

/// Whether losses can be computed of logits of a type on a device.
///
/// ```
/// use backend_burn::supports;
/// use burn::tensor::{DType, Device, Tensor};
/// assert!(supports(&Device::flex(), DType::F16));
/// assert!(!supports(&Device::flex(), DType::I32));
/// ```
///
/// Never for `F64` on wgpu, also where a driver offers that type: shading languages have no
/// exponential and no logarithm of it, and the results are silently wrong.
#[must_use]
pub fn supports(device: &Device, dtype: DType) -> bool {
    TYPES.contains(&dtype) && device.supports_dtype(dtype) && !(dtype == DType::F64 && is_wgpu(device))
}

/// By what it is called: Burn tells the runtime of a device only to those that are built with
/// CubeCL.
pub(crate) fn is_wgpu(device: &Device) -> bool {
    format!("{device:?}").contains("Wgpu")
}

/// Refuses logits that no loss can be computed of.
pub(crate) fn check(device: &Device, dtype: DType) -> Result<(), LossError> {
    if supports(device, dtype) {
        return Ok(());
    }
    Err(LossError::Unsupported {
        what: "logits",
        got: format!("{dtype:?} on {device:?}"),
        expected: "F64, F32, F16 or BF16, as far as the device has them; F64 not on wgpu, where it has no exponential",
    })
}

/// The type that sums are kept in: `f64` where the device computes in it.
pub(crate) fn wide(device: &Device) -> DType {
    if supports(device, DType::F64) { DType::F64 } else { DType::F32 }
}

/// The type of the results: `f64` for `f64` logits, else `f32`.
pub(crate) fn result_type(logits: DType) -> DType {
    if logits == DType::F64 { DType::F64 } else { DType::F32 }
}

/// There is no kernel for a tensor, or for one beside it.
pub(crate) fn no_kernel<const D: usize>(tensor: &Tensor<D>) -> LossError {
    LossError::Unsupported {
        what: "the fused path",
        got: format!("{:?} on {:?}", tensor.dtype(), tensor.device()),
        expected: "logits and target on one device: Flex with the feature `flex`; one of CubeCL's with `wgpu` or `cuda`, not F64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_computed_of_floats() {
        let flex = Device::flex();
        assert!(TYPES.iter().all(|&dtype| supports(&flex, dtype) && check(&flex, dtype).is_ok()));
        assert!(flex.supports_dtype(DType::I32) && !supports(&flex, DType::I32));
        let error = check(&flex, DType::I32).unwrap_err().to_string();
        assert!(error.starts_with("logits: I32 on Device<Flex"), "{error}");
        assert_eq!(wide(&flex), DType::F64);
    }
}
