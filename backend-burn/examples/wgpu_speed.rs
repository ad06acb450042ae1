//! The kernel pair beside ordinary operations on the machine's default `wgpu` device: time of a
//! training step's loss, forward and backward, and the most memory that the process has needed.
//!
//! ```text
//! cargo xtask wgpu run -p backend-burn --features wgpu --example wgpu_speed -- fused
//! cargo xtask wgpu run -p backend-burn --features wgpu --example wgpu_speed -- operations
//! ```
//!
//! Where Vulkan is in software the numbers say how much work either is, not how fast a GPU does it.

use std::time::Instant;

use backend_burn::{BurnLoss, BurnTarget, Path};
use burn::tensor::{Device, DeviceKind, Distribution, Int, Tensor};
use loss_core::{Loss, LossError};

const SHAPE: [usize; 4] = [4, 8, 512, 512];

fn main() -> Result<(), LossError> {
    let path = match std::env::args().nth(1).as_deref() {
        Some("operations") => Path::Operations,
        _ => Path::Fused,
    };
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    let loss: Loss = "ce + dice + l1".parse()?;
    let [samples, classes, height, width] = SHAPE;
    let logits = Tensor::<4>::random(SHAPE, Distribution::Normal(0.0, 2.0), &device.clone().autodiff());
    let labels = Tensor::<1>::random([samples * height * width], Distribution::Uniform(0.0, classes as f64), &device);
    let labels: Tensor<3, Int> = labels.int().clamp(0, classes as i64 - 1).reshape([samples, height, width]);
    let target = BurnTarget::labels(labels);
    for round in 0..4 {
        let leaf = logits.clone().require_grad();
        let start = Instant::now();
        let total = loss.forward_by(path, leaf.clone(), &target)?.total;
        let value = total.clone().into_scalar::<f32>();
        let forward = start.elapsed();
        let gradients = total.backward();
        let sum = leaf.grad(&gradients).map_or(f32::NAN, |gradient| gradient.abs().sum().into_scalar());
        let both = start.elapsed();
        println!(
            "{path:?}, round {round}: total {value}, sum of |gradient| {sum}: forward {forward:.0?}, with backward {both:.0?}"
        );
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM unknown"));
    Ok(())
}
