//! The suite on the kernel pair of CubeCL devices, by `wgpu`: `cargo xtask wgpu` runs it, where
//! there is no GPU over a software Vulkan.

use backend_burn::Path;
use burn::tensor::{Device, DeviceKind};
use conformance_tests::Dtype;
use conformance_tests::adapters::BurnOn;

fn device() -> Device {
    Device::wgpu(DeviceKind::DefaultDevice)
}

conformance_tests::conformance_suite!(
    BurnOn {
        name: "burn-cube",
        path: Path::Fused,
        device,
        types: &Dtype::ALL,
        largest: Some(1_000_000),
        ledger: include_str!("../../conformance-tests/ledgers/burn-cube.txt"),
    },
    BurnOn {
        name: "burn-cube-operations",
        path: Path::Operations,
        device,
        // Half precision is cast to it before all else.
        types: &[Dtype::F32],
        largest: None,
        ledger: include_str!("../../conformance-tests/ledgers/burn-cube-operations.txt"),
    },
);
