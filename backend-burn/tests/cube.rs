//! The suite on the kernel pair of CubeCL devices, by `wgpu`: `cargo xtask wgpu` runs it, where there is no GPU over a software Vulkan.

use backend_burn::Path;
use burn::tensor::{Device, DeviceKind};
use conformance_tests::adapters::BurnOn;

fn device() -> Device {
    Device::wgpu(DeviceKind::DefaultDevice)
}

conformance_tests::conformance_suite!(
    BurnOn { name: "burn-cube", path: Path::Fused, device, largest: Some(1_000_000) },
    BurnOn { name: "burn-cube-operations", path: Path::Operations, device, largest: None },
);
