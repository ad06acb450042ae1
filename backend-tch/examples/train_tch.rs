//! A small U-Net learns to find made-up lesions: `cargo xtask tch run --release -p backend-tch
//! --example train_tch`.
//!
//! Options, each followed by its value: `--device cpu|cuda|cuda:1`, `--loss TEXT`, `--epochs N`,
//! `--images N`, `--batch N`, `--width N`, `--seed N`. At the end it tells how much of a step the
//! loss is. Where `RESULTS` names a folder, its `results.jsonl` gets the same numbers.

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use backend_tch::{TchLoss, TchTarget};
use loss_core::Loss;
use tch::nn::{self, ModuleT, OptimizerConfig};
use tch::{Cuda, Device, Kind, Tensor};

// The images of `segloss train`, and the same batches of them.
#[allow(dead_code)]
#[path = "../../cli/src/train/augment.rs"]
mod augment;
#[allow(dead_code)]
#[path = "../../cli/src/train/data.rs"]
mod data;
#[allow(dead_code)]
#[path = "../../cli/src/train/patches.rs"]
mod patches;
#[path = "../../cli/src/train/synthetic.rs"]
mod synthetic;

use augment::Augment;
use data::{Picture, Truth};
use patches::{Batch, Chance, Sampler};

/// Side of a patch, and of a made-up image.
const SIDE: usize = 64;

/// Greatest learning rate.
const RATE: f64 = 0.005;

struct Options {
    device: Device,
    loss: Loss,
    epochs: usize,
    images: usize,
    /// Patches of a step.
    batch: usize,
    /// Channels of the network's first level.
    width: i64,
    seed: u64,
}

impl Options {
    fn read() -> Result<Self, Box<dyn Error>> {
        let loss = "ce + dice + l1".parse()?;
        let mut options = Self { device: Device::Cpu, loss, epochs: 40, images: 160, batch: 8, width: 8, seed: 0 };
        let mut words = env::args().skip(1);
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--device" => options.device = device(&value)?,
                "--loss" => options.loss = value.parse()?,
                "--epochs" => options.epochs = value.parse()?,
                "--images" => options.images = value.parse()?,
                "--batch" => options.batch = value.parse()?,
                "--width" => options.width = value.parse()?,
                "--seed" => options.seed = value.parse()?,
                _ => {
                    return Err(
                        format!("{name} is not --device, --loss, --epochs, --images, --batch, --width or --seed").into()
                    );
                }
            }
        }
        Ok(options)
    }
}

fn device(text: &str) -> Result<Device, Box<dyn Error>> {
    let device = match text.split_once(':') {
        None if text == "cpu" => Device::Cpu,
        None if text == "cuda" => Device::Cuda(0),
        Some(("cuda", index)) => Device::Cuda(index.parse()?),
        _ => return Err(format!("{text} is not cpu, cuda or cuda:N").into()),
    };
    match device {
        Device::Cuda(index) if index as i64 >= Cuda::device_count() => Err(format!("there is no {text} here").into()),
        device => Ok(device),
    }
}

/// Images `[N, 1, SIDE, SIDE]` and labels `[N, SIDE, SIDE]`.
fn tensors(grey: &[f32], labels: &[i32], device: Device) -> Result<(Tensor, Tensor), Box<dyn Error>> {
    let side = SIDE as i64;
    let images = Tensor::f_from_slice(grey)?.f_reshape([-1, 1, side, side])?.f_to_device(device)?;
    Ok((images, Tensor::f_from_slice(labels)?.f_reshape([-1, side, side])?.f_to_device(device)?))
}

/// All of some pictures at once.
fn whole(pictures: &[Picture], device: Device) -> Result<(Tensor, Tensor), Box<dyn Error>> {
    let grey: Vec<f32> = pictures.iter().flat_map(|picture| picture.input.iter().copied()).collect();
    let mut labels: Vec<i32> = Vec::new();
    for picture in pictures {
        let Truth::Labels(truth) = &picture.truth else { return Err("a made-up image has labels".into()) };
        labels.extend(truth.iter().map(|&label| i32::from(label)));
    }
    tensors(&grey, &labels, device)
}

/// Two 3x3 convolutions, each normalised by groups and rectified.
fn block(path: nn::Path, from: i64, to: i64) -> nn::SequentialT {
    let three = nn::ConvConfig { padding: 1, bias: false, ..Default::default() };
    [("first", from), ("second", to)].into_iter().fold(nn::seq_t(), |block, (name, from)| {
        let path = &path / name;
        block
            .add(nn::conv2d(&path / "convolution", from, to, 3, three))
            .add(nn::group_norm(&path / "norm", to / 4, to, Default::default()))
            .add_fn(Tensor::relu)
    })
}

/// A U-Net of three levels; coarse features are narrowed, enlarged, and added to the fine ones.
#[derive(Debug)]
struct UNet {
    inward: [nn::SequentialT; 3],
    narrow: [nn::Conv2D; 2],
    outward: [nn::SequentialT; 2],
    head: nn::Conv2D,
}

impl UNet {
    fn new(path: &nn::Path, classes: i64, width: i64) -> Self {
        let widths = [1, width, 2 * width, 4 * width];
        let point = |name: String, from, to| nn::conv2d(path / name, from, to, 1, Default::default());
        Self {
            inward: [0, 1, 2].map(|i| block(path / format!("inward {i}"), widths[i], widths[i + 1])),
            narrow: [0, 1].map(|i| point(format!("narrow {i}"), widths[i + 2], widths[i + 1])),
            outward: [0, 1].map(|i| block(path / format!("outward {i}"), widths[i + 1], widths[i + 1])),
            head: point("head".to_owned(), width, classes),
        }
    }
}

impl ModuleT for UNet {
    /// Logits `[N, K, H, W]` of images `[N, 1, H, W]`.
    fn forward_t(&self, images: &Tensor, train: bool) -> Tensor {
        let fine = self.inward[0].forward_t(images, train);
        let middle = self.inward[1].forward_t(&fine.max_pool2d_default(2), train);
        let coarse = self.inward[2].forward_t(&middle.max_pool2d_default(2), train);
        let up = |i: usize, fine: &Tensor, coarse: &Tensor| {
            let size = fine.size();
            let coarse = coarse.apply(&self.narrow[i]).upsample_nearest2d(&size[2..], None, None);
            self.outward[i].forward_t(&(fine + coarse), train)
        };
        up(0, &fine, &up(1, &middle, &coarse)).apply(&self.head)
    }
}

/// Dice of the foreground over all pixels, of the most likely class.
fn dice(net: &UNet, images: &Tensor, labels: &Tensor) -> f64 {
    tch::no_grad(|| {
        let predicted = net.forward_t(images, false).argmax(1, false).to_kind(Kind::Double);
        let truth = labels.to_kind(Kind::Double);
        let both = (&predicted * &truth).sum(Kind::Double);
        (both * 2.0 / (predicted + truth).sum(Kind::Double)).double_value(&[])
    })
}

fn main() -> ExitCode {
    match train() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("train_tch: {error}");
            ExitCode::FAILURE
        }
    }
}

/// So that a clock says how long the device took.
fn wait(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}

/// Median milliseconds of the loss by itself, forward and backward, on given logits.
fn alone(loss: &Loss, logits: &Tensor, target: &TchTarget) -> Result<f64, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..23 {
        let leaf = logits.f_detach()?.f_set_requires_grad(true)?;
        wait(logits.device());
        let start = Instant::now();
        loss.forward(&leaf, target)?.total.f_backward()?;
        wait(logits.device());
        times.push(1e3 * start.elapsed().as_secs_f64());
    }
    // The first ones set things up.
    times.drain(..3);
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// A line of `results.jsonl`.
fn write(line: &str) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = env::var_os("RESULTS") {
        let mut file = File::options().create(true).append(true).open(PathBuf::from(folder).join("results.jsonl"))?;
        file.write_all(format!("{{\"step\": \"train-tch\", \"train\": \"tch\", {line}}}\n").as_bytes())?;
    }
    Ok(())
}

fn train() -> Result<(), Box<dyn Error>> {
    let Options { device, loss, epochs, images, batch: size, width, seed } = Options::read()?;
    let dataset = synthetic::dataset([images, images.div_ceil(4)], seed, None);
    let lesions = 100.0 * data::Dataset::shares(&dataset.train, dataset.classes)[1];
    println!("{loss} on {images} images of {}, lesions {lesions:.2} % of the pixels, on {device:?}", dataset.origin);
    tch::manual_seed(seed as i64);
    let store = nn::VarStore::new(device);
    let net = UNet::new(&store.root(), dataset.classes as i64, width);
    let mut optimiser = nn::AdamW::default().build(&store, RATE)?;
    let mut sampler = Sampler::new(&dataset.train, [1, SIDE, SIDE], 0.0, 1, Augment::default(), Chance::new(seed));
    let (held_out, held_out_labels) = whole(&dataset.validation, device)?;
    let steps = images.div_ceil(size);
    let mut last = None;
    for epoch in 0..epochs {
        let (begun, loss) = (Instant::now(), loss.at_epoch(epoch));
        let batches: Vec<Batch> = (0..steps).map(|_| sampler.batch(size)).collect();
        let mut total = Tensor::f_zeros([0i64; 0], (Kind::Double, device))?;
        wait(device);
        let start = Instant::now();
        for (step, batch) in batches.into_iter().enumerate() {
            let done = (epoch * steps + step + 1) as f64 / (epochs * steps) as f64;
            // It rises over the first twentieth of the run and falls along a cosine.
            optimiser.set_lr(RATE * (done / 0.05).min(1.0) * (0.505 + 0.495 * (std::f64::consts::PI * done).cos()));
            let (images, labels) = tensors(&batch.inputs, &batch.labels, device)?;
            let target = TchTarget::labels(&labels);
            let logits = net.forward_t(&images, true);
            let out = loss.forward(&logits, &target)?;
            optimiser.backward_step(&out.total);
            // Added up where it is: nothing waits for the device before the epoch ends.
            total += out.total.detach();
            last = Some((logits.detach(), target));
        }
        wait(device);
        let milliseconds = 1e3 * start.elapsed().as_secs_f64() / steps as f64;
        let (mean, dice) = (total.double_value(&[]) / steps as f64, dice(&net, &held_out, &held_out_labels));
        println!(
            "epoch {:2}: loss {mean:.4}, Dice of the foreground {dice:.3} on held-out images; {:.1} s, {milliseconds:.2} ms a step",
            epoch + 1,
            begun.elapsed().as_secs_f64()
        );
        write(&format!("\"epoch\": {}, \"ms_step\": {milliseconds}, \"loss\": {mean}, \"dice\": {dice}", epoch + 1))?;
        if let (true, Some((logits, target))) = (epoch + 1 == epochs, &last) {
            let (alone, path) = (alone(&loss, logits, target)?, loss.path(logits)?);
            let percent = 100.0 * alone / milliseconds;
            println!("the loss by itself takes {alone:.2} ms, {percent:.0} % of a step, by {path:?}");
            write(&format!(
                "\"by\": \"tch, {}\", \"ms_step\": {milliseconds}, \"ms_loss\": {alone}, \"percent\": {percent}",
                format!("{path:?}").to_lowercase()
            ))?;
        }
    }
    Ok(())
}
