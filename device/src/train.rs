//! `segloss train` on a device: what a step takes, and the loss in it.

// The images, the patches and the network of that command.
#[allow(dead_code)]
#[path = "../../cli/src/train/augment.rs"]
mod augment;
#[allow(dead_code)]
#[path = "../../cli/src/train/data.rs"]
mod data;
#[allow(dead_code)]
#[path = "../../cli/src/train/network/mod.rs"]
mod network;
#[allow(dead_code)]
#[path = "../../cli/src/train/patches.rs"]
mod patches;
#[path = "../../cli/src/train/synthetic.rs"]
mod synthetic;

use std::time::Instant;

use backend_burn::{BurnLoss, BurnTarget};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use loss_core::Loss;
use serde_json::json;

use crate::common::{Failed, LOSSES, Run, median};
use crate::{Work, by, wait};
use augment::Augment;
use data::{Picture, Truth};
use network::{Shape, UNet};
use patches::{Batch, Chance, Sampler};

/// Side of a patch, and of a made-up image.
const SIDE: usize = 64;

/// How much is trained.
pub(crate) struct Settings {
    pub(crate) epochs: usize,
    pub(crate) images: usize,
    /// Patches of a step.
    pub(crate) batch: usize,
    /// Channels of the network's first level.
    pub(crate) width: usize,
}

/// Pictures as volumes of one slice: [N, C, 1, H, W], and labels [N, 1, H, W].
fn tensors(batch: Batch, device: &Device) -> (Tensor<5>, Tensor<4, Int>) {
    let count = batch.labels.len() / (SIDE * SIDE);
    let images = Tensor::from_data(TensorData::new(batch.inputs, [count, 1, 1, SIDE, SIDE]), device);
    (images, Tensor::from_data(TensorData::new(batch.labels, [count, 1, SIDE, SIDE]), device))
}

/// Dice of the foreground over all pixels, of the most likely class.
fn dice(network: &UNet, pictures: &[Picture], device: &Device) -> f64 {
    let inputs = pictures.iter().flat_map(|picture| picture.input.iter().copied()).collect();
    let mut labels = Vec::new();
    for picture in pictures {
        if let Truth::Labels(classes) = &picture.truth {
            labels.extend(classes.iter().map(|&label| i32::from(label)));
        }
    }
    let (images, labels) = tensors(Batch { inputs, labels, ..Batch::default() }, device);
    let predicted = network.forward(images).argmax(1).reshape([-1, 1, SIDE as i64, SIDE as i64]).float();
    let truth = labels.float();
    let both = (predicted.clone() * truth.clone()).sum();
    f64::from((both * 2.0 / (predicted + truth).sum()).into_scalar::<f32>())
}

/// Trains, and writes a result for each epoch and one for the loss alone.
pub(crate) fn train(run: &Run, settings: &Settings, plain: Device) -> Result<(), Failed> {
    let &Settings { epochs, images, batch: size, width } = settings;
    let device = plain.clone().autodiff();
    let dataset = synthetic::dataset([images, images.div_ceil(4)], 0, None);
    let loss: Loss = LOSSES[0].1.parse()?;
    device.seed(0);
    let shape = Shape { channels: dataset.channels, classes: dataset.classes, width, volumes: dataset.volumes };
    let mut network = UNet::new(shape, &device);
    let mut optimizer = AdamWConfig::new().with_epsilon(1e-8).init();
    // As the command does by default on these images.
    let augment = Augment { flips: [true; 3], turns: true, ..Augment::default() };
    let mut sampler = Sampler::new(&dataset.train, [1, SIDE, SIDE], 0.0, dataset.foreground(), augment, Chance::new(0));
    let steps = images.div_ceil(size);
    let mut last = None;
    let mut milliseconds = 0.0;
    for epoch in 0..epochs {
        let batches: Vec<Batch> = (0..steps).map(|_| sampler.batch(size)).collect();
        let mut total = Tensor::<1>::zeros([1], &plain);
        wait(&plain)?;
        let start = Instant::now();
        for (step, batch) in batches.into_iter().enumerate() {
            let done = (epoch * steps + step + 1) as f64 / (epochs * steps) as f64;
            let rate = 0.005 * (done / 0.05).min(1.0) * (0.505 + 0.495 * (std::f64::consts::PI * done).cos());
            let (images, labels) = tensors(batch, &device);
            let target = BurnTarget::labels(labels);
            let logits = network.forward(images);
            let out = loss.forward(logits.clone(), &target)?;
            total = total + out.total.clone().without_autodiff();
            let gradients = GradientsParams::from_grads(out.total.backward(), &network);
            network = optimizer.step(rate, network, gradients);
            last = Some((logits.without_autodiff(), target));
        }
        wait(&plain)?;
        milliseconds = 1e3 * start.elapsed().as_secs_f64() / steps as f64;
        let mean = f64::from(total.into_scalar::<f32>()) / steps as f64;
        let dice = dice(&burn::module::Module::valid(&network), &dataset.validation, &plain);
        run.write(&json!({"train": "Burn", "epoch": epoch + 1, "ms_step": milliseconds, "loss": mean, "dice": dice}))?;
    }
    let Some((logits, target)) = last else { return Ok(()) };
    let path = loss.path(&logits, &target)?;
    let work = Work { loss, logits, target, device: plain };
    let (alone, _) = median(|steps| work.batch(steps, || work.step(path).map(drop)))?;
    let percent = 100.0 * alone / milliseconds;
    run.write(&json!({"train": "Burn", "by": by(path), "ms_step": milliseconds, "ms_loss": alone, "percent": percent}))
}
