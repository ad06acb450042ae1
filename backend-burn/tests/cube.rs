//! The suite on the kernel pair of CubeCL devices, by `wgpu`: `cargo xtask wgpu` runs it, where
//! there is no GPU over a software Vulkan.

use burn::tensor::{Device, DeviceKind};
use conformance_tests::adapters::BurnOn;

fn device() -> Device {
    Device::wgpu(DeviceKind::DefaultDevice)
}

static KERNELS: BurnOn = BurnOn::kernels(device);
static OPERATIONS: BurnOn = BurnOn::operations(device);

conformance_tests::conformance_suite!(KERNELS, OPERATIONS);
