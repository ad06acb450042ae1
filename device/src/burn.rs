//! The kernel pair on a `wgpu` device: the suite, a step of each loss, and a training. Part of the
//! bundle of `cargo xtask device`: see `docs/cuda.md`.
//!
//! `device_burn bench [--small] [--only TEXT]`, `device_burn train [--cpu] [EPOCHS IMAGES BATCH
//! WIDTH]`; all else goes to the suite, as `device_burn burn-cube:: --list`.

#[allow(dead_code, reason = "the program for tch uses all of it")]
mod common;
#[cfg(feature = "train")]
mod train;

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use backend_burn::{BurnLoss, BurnTarget, Path, supports};
use burn::tensor::{DType, Device, DeviceKind, Int, Tensor, TensorData};
use common::{Case, Failed, LOSSES, Outcome, Run, SCALE, Taken, median, stride};
use conformance_tests::adapters::BurnOn;
use loss_core::Loss;
use serde_json::{Value, json};

const KINDS: [(DType, &str); 3] = [(DType::F32, "f32"), (DType::F16, "f16"), (DType::BF16, "bf16")];

fn device() -> Device {
    Device::wgpu(DeviceKind::DefaultDevice)
}

static KERNELS: BurnOn = BurnOn::kernels(device);
static OPERATIONS: BurnOn = BurnOn::operations(device);

/// What nobody reads may be left out before it has been handed over.
fn hand_over(device: &Device) -> Result<(), Failed> {
    device.flush().map_err(|error| format!("{error:?}").into())
}

fn wait(device: &Device) -> Result<(), Failed> {
    device.sync().map_err(|error| format!("{error:?}").into())
}

/// A loss on numbers of a type.
struct Work<const D: usize> {
    loss: Loss,
    logits: Tensor<D>,
    target: BurnTarget,
    device: Device,
}

impl<const D: usize> Work<D> {
    /// Logits of which no type rounds any, one of 101 numbers each. Runs of 64 pixels have a label.
    fn new(case: &Case, text: &str, dtype: DType, device: &Device) -> Result<Self, Failed> {
        let numbers: Vec<f32> = (0..case.logits()).map(|i| ((i * 37 + 11) % 101) as f32 / 16.0 - 3.125).collect();
        let logits = Tensor::<D>::from_data(TensorData::new(numbers, case.shape.to_vec()), device).cast(dtype);
        let pixels = case.size().iter().product::<usize>();
        let labels: Vec<i32> = (0..pixels).map(|i| ((i / 64) % case.labels()) as i32).collect();
        let size = case.size();
        let target = match size.len() {
            3 => BurnTarget::labels(Tensor::<3, Int>::from_data(TensorData::new(labels, size), (device, DType::I32))),
            _ => BurnTarget::labels(Tensor::<4, Int>::from_data(TensorData::new(labels, size), (device, DType::I32))),
        };
        Ok(Self { loss: case.loss(text)?, logits, target, device: device.clone() })
    }

    fn step(&self, path: Path) -> Result<(Tensor<1>, Tensor<D>), Failed> {
        let leaf = self.logits.clone().autodiff().require_grad();
        let out = self.loss.forward_by(path, leaf.clone(), &self.target)?;
        let gradients = (out.total.clone() * SCALE).backward();
        let gradient = leaf.grad(&gradients).ok_or("no gradient")?;
        hand_over(&self.device)?;
        Ok((out.total.without_autodiff(), gradient))
    }

    fn outcome(&self, path: Path) -> Result<Outcome, Failed> {
        let (value, gradient) = self.step(path)?;
        let count = self.logits.shape().num_elements();
        let flat = gradient.cast(DType::F32).reshape([count]);
        let largest = f64::from(flat.clone().abs().max().into_scalar::<f32>()) / SCALE;
        let at: Vec<i32> = (0..count).step_by(stride(count)).map(|i| i as i32).collect();
        let length = at.len();
        let at = Tensor::<1, Int>::from_data(TensorData::new(at, [length]), (&self.device, DType::I32));
        let sample = flat.select(0, at).into_data().try_into_vec::<f32>().map_err(|error| format!("{error:?}"))?;
        let sample = sample.into_iter().map(|number| f64::from(number) / SCALE).collect();
        Ok(Outcome { value: f64::from(value.into_scalar::<f32>()), largest, sample })
    }

    fn batch(&self, steps: usize, mut step: impl FnMut() -> Result<(), Failed>) -> Result<Taken, Failed> {
        wait(&self.device)?;
        let start = Instant::now();
        for _ in 0..steps {
            step()?;
        }
        wait(&self.device)?;
        Ok(Taken { milliseconds: 1e3 * start.elapsed().as_secs_f64(), waits: None })
    }

    fn reserved(&self) -> Result<Option<f64>, Failed> {
        wait(&self.device)?;
        Ok(self.device.memory_pool_usage().map(|usage| usage.bytes_reserved as f64 / f64::from(1 << 20)))
    }

    fn measure(&self, path: Path, want: &Outcome, row: &mut Value) -> Result<(), Failed> {
        self.device.memory_cleanup();
        let before = self.reserved()?;
        self.step(path)?;
        let more = self.reserved()?.zip(before).map(|(after, before)| (after - before).round());
        let dtype = row["type"].as_str().unwrap_or_default().to_owned();
        for (name, value) in self.outcome(path)?.off(want, &dtype) {
            row[name] = value;
        }
        if row["agrees"] != json!(true) {
            return Ok(());
        }
        row["peak_mib"] = json!(more);
        row["ms"] = json!(median(|steps| self.batch(steps, || self.step(path).map(drop)))?.0);
        let value = || {
            let out = self.loss.forward_by(path, self.logits.clone(), &self.target)?;
            hand_over(&self.device)?;
            drop(out);
            Ok(())
        };
        row["ms_value"] = json!(median(|steps| self.batch(steps, value))?.0);
        Ok(())
    }
}

const LANGUAGE: &str = if cfg!(feature = "spirv") { "SPIR-V" } else { "WGSL" };

fn by(path: Path) -> String {
    let path = match path {
        Path::Fused => "fused",
        Path::Operations => "operations",
    };
    format!("Burn by {LANGUAGE}, {path}")
}

fn rows<const D: usize>(run: &Run, case: &Case, loss: &str, text: &str, device: &Device) -> Result<(), Failed> {
    let want = match run.get_reference(case, loss)? {
        Some(want) => want,
        // Nobody was here before: Burn's own kernels on the CPU.
        None => Work::<D>::new(case, text, DType::F32, &Device::flex())?.outcome(Path::Fused)?,
    };
    let (main, large) = (loss == LOSSES[0].0, case.logits() > 100_000_000);
    let kinds = if main && !large { &KINDS[..] } else { &KINDS[..1] };
    for &(dtype, name) in kinds.iter().filter(|&&(dtype, _)| supports(device, dtype)) {
        let work = Work::<D>::new(case, text, dtype, device)?;
        let first = work.loss.path(&work.logits, &work.target)?;
        for path in [Path::Fused, Path::Operations] {
            // Ordinary operations on a gigabyte need tens of them.
            if (path == Path::Fused && first != Path::Fused) || (path == Path::Operations && large) {
                continue;
            }
            let mut row = json!({"case": case.name(), "loss": loss, "by": by(path), "type": name});
            if let Err(error) = work.measure(path, &want, &mut row) {
                row["error"] = json!(error.to_string());
            }
            run.write(&row)?;
        }
        if main {
            let copy = || {
                let copy = work.logits.clone() * 1.5;
                hand_over(device)?;
                drop(copy);
                Ok(())
            };
            let (copy, _) = median(|steps| work.batch(steps, copy))?;
            run.write(&json!({"case": case.name(), "loss": "copy", "by": format!("Burn by {LANGUAGE}, copy"), "type": name, "ms": copy}))?;
        }
    }
    Ok(())
}

fn bench(run: &Run) -> Result<(), Failed> {
    let device = device();
    run.write(&json!({"device": format!("{device:?}")}))?;
    for (loss, text) in LOSSES {
        for case in Case::all(run.small).iter().filter(|case| run.takes(case, loss)) {
            match case.shape.len() {
                4 => rows::<4>(run, case, loss, text, &device)?,
                _ => rows::<5>(run, case, loss, text, &device)?,
            }
        }
    }
    Ok(())
}

fn start(words: &[String]) -> Result<(), Failed> {
    let (what, options) = words.split_first().ok_or("bench or train?")?;
    if what == "bench" {
        return bench(&Run::new("bench-burn", options)?);
    }
    train(options)
}

#[cfg(feature = "train")]
fn train(options: &[String]) -> Result<(), Failed> {
    let (cpu, numbers): (Vec<&String>, Vec<&String>) = options.iter().partition(|word| *word == "--cpu");
    let device = if cpu.is_empty() { device() } else { Device::flex() };
    let numbers = numbers.into_iter().map(|word| word.parse()).collect::<Result<Vec<usize>, _>>()?;
    let [epochs, images, batch, width] = *numbers.first_chunk().unwrap_or(&[2, 640, 32, 32]);
    train::train(&Run::new("train-burn", &[])?, &train::Settings { epochs, images, batch, width }, device)
}

#[cfg(not(feature = "train"))]
fn train(_: &[String]) -> Result<(), Failed> {
    Err("this program was built without training".into())
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if !matches!(words.first().map(String::as_str), Some("bench" | "train")) {
        return conformance_tests::run(&[&KERNELS, &OPERATIONS]);
    }
    match start(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("device_burn: {error}");
            ExitCode::FAILURE
        }
    }
}
