//! Where a training computes.

use std::fmt::{Display, Formatter};

use burn::tensor::Device;
use clap::ValueEnum;

use crate::error::CliError;

/// A kind of device, as it is named on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceName {
    /// All cores
    #[default]
    Cpu,
    /// The graphics card, by Vulkan, Metal, DirectX or WebGPU; needs the feature wgpu
    Wgpu,
    /// The first NVIDIA card, by CUDA; needs the feature cuda
    Cuda,
}

impl Display for DeviceName {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        })
    }
}

impl DeviceName {
    /// Burn's device; or how to get a command that has it.
    pub(crate) fn device(self) -> Result<Device, CliError> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(Device::cuda(0)),
            #[cfg(not(all(feature = "wgpu", feature = "cuda")))]
            other => Err(CliError::Option {
                option: "device",
                value: other.to_string(),
                expected: format!(
                    "this segloss was built without it; cargo install segloss-cli --features {other} makes one with it"
                ),
            }),
        }
    }

    /// Whether kept moments of an optimizer can be read: Burn reads them on the device that it
    /// takes by default, a graphics card where it was built for one, and moves them afterwards.
    pub(crate) fn check_resume(self) -> Result<(), CliError> {
        let built_for_cards = cfg!(any(feature = "wgpu", feature = "cuda"));
        if self == Self::Cpu && built_for_cards && std::env::var("BURN_DEVICE").as_deref() != Ok("flex") {
            return Err(CliError::Option {
                option: "device",
                value: self.to_string(),
                expected: "to resume on the CPU with a segloss that is built for graphics cards, set BURN_DEVICE=flex in the \
                           environment"
                    .into(),
            });
        }
        Ok(())
    }
}
