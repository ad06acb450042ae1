//! A step of each loss on CUDA by each path: agreement with the CPU, time, calls that wait and
//! memory. Part of the bundle of `cargo xtask device`: see `docs/cuda.md`.
//!
//! `device_tch bench|memory [--cpu] [--small] [--only TEXT]`; `--cpu` does on the CPU what can be
//! done there.

mod common;

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs};

use backend_tch::{Path, TchLoss, TchTarget};
use common::{Case, Failed, LOSSES, Outcome, Run, SCALE, Taken, median, stride};
use loss_core::Loss;
use serde_json::json;
use tch::{Cuda, Device, Kind, Tensor};

const KINDS: [(Kind, &str); 3] = [(Kind::Float, "f32"), (Kind::Half, "f16"), (Kind::BFloat16, "bf16")];

/// Logits in memory; one of every 101 numbers, so that no type rounds them. Runs of 64 pixels have
/// a label.
fn inputs(case: &Case, kind: Kind, device: Device) -> Result<(Tensor, Tensor), Failed> {
    let row = |count: usize| Tensor::f_arange(count as i64, (Kind::Int64, device));
    let sizes = |sizes: &[usize]| sizes.iter().map(|&size| size as i64).collect::<Vec<_>>();
    let numbers = row(case.logits())?.f_mul_scalar(37)?.f_add_scalar(11)?.f_remainder(101)?.f_to_kind(Kind::Float)?;
    let logits = numbers.f_sub_scalar(50.0)?.f_mul_scalar(0.0625)?.f_to_kind(kind)?.f_reshape(sizes(case.shape))?;
    let labels = row(case.size().iter().product())?.f_floor_divide_scalar(64)?.f_remainder(case.labels() as i64)?;
    Ok((logits, labels.f_reshape(sizes(&case.size()))?))
}

/// A loss on numbers of a type.
struct Work {
    loss: Loss,
    logits: Tensor,
    target: TchTarget,
}

impl Work {
    fn step(&self, path: Path) -> Result<(Tensor, Tensor), Failed> {
        let leaf = self.logits.f_detach()?.f_set_requires_grad(true)?;
        let out = self.loss.forward_by(path, &leaf, &self.target)?;
        out.total.f_mul_scalar(SCALE)?.f_backward()?;
        Ok((out.total.f_detach()?, leaf.f_grad()?))
    }

    fn value(&self, path: Path) -> Result<Tensor, Failed> {
        tch::no_grad(|| Ok(self.loss.forward_by(path, &self.logits, &self.target)?.total))
    }

    fn outcome(&self, path: Path) -> Result<Outcome, Failed> {
        let (value, gradient) = self.step(path)?;
        let flat = gradient.f_reshape([-1])?;
        let largest = flat.f_abs()?.f_max()?.f_double_value(&[])? / SCALE;
        let some = flat.f_slice(0, None, None, stride(flat.numel()) as i64)?.f_to_kind(Kind::Double)?;
        let sample = Vec::<f64>::try_from(some.f_to_device(Device::Cpu)?.f_contiguous()?)?;
        let sample = sample.into_iter().map(|number| number / SCALE).collect();
        Ok(Outcome { value: value.f_double_value(&[])?, largest, sample })
    }

    /// What `forward` takes, and what else there is.
    fn paths(&self) -> Result<Vec<Path>, Failed> {
        let first = self.loss.path(&self.logits)?;
        Ok(if first == Path::Operations { vec![first] } else { vec![first, Path::Operations] })
    }
}

fn by(path: Path) -> &'static str {
    match path {
        Path::Fused => "tch, fused",
        Path::Operations => "tch, operations",
    }
}

/// The last line of `libcount.so`, which it writes at each [`wait`].
fn counted() -> Option<HashMap<String, f64>> {
    let log = fs::read_to_string(env::var_os("CUDA_COUNT_LOG")?).ok()?;
    let field = |word: &str| word.split_once('=').and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
    Some(log.lines().last()?.split_whitespace().filter_map(field).collect())
}

fn field(counts: &HashMap<String, f64>, name: &str) -> f64 {
    counts.get(name).copied().unwrap_or(0.0)
}

fn waits(counts: &HashMap<String, f64>) -> u64 {
    (field(counts, "waits") + field(counts, "copies_to_host")) as u64
}

fn wait(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}

/// So many steps: by the events that `libcount.so` records, else by the clock.
fn batch(device: Device, steps: usize, mut step: impl FnMut() -> Result<(), Failed>) -> Result<Taken, Failed> {
    wait(device);
    let start = Instant::now();
    for _ in 0..steps {
        step()?;
    }
    wait(device);
    let clock = 1e3 * start.elapsed().as_secs_f64();
    let counts = if device == Device::Cpu { None } else { counted() };
    let events = counts.as_ref().and_then(|counts| counts.get("events_ms").copied());
    Ok(Taken { milliseconds: events.unwrap_or(clock), waits: counts.as_ref().map(waits) })
}

/// Which types of logits a case is measured in: a gigabyte of them in single precision alone.
fn kinds(case: &Case, loss: &str) -> &'static [(Kind, &'static str)] {
    if loss == LOSSES[0].0 && case.logits() < 100_000_000 { &KINDS } else { &KINDS[..1] }
}

fn bench(run: &Run, device: Device) -> Result<(), Failed> {
    if device != Device::Cpu && env::var_os("CUDA_COUNT_LOG").is_some() {
        // Reading a number back waits; a counter that does not see that is not in place.
        wait(device);
        Tensor::f_ones([1], (Kind::Float, device))?.f_double_value(&[0])?;
        wait(device);
        let counts = counted().unwrap_or_default();
        run.write(&json!({"check": "libcount.so sees a wait", "ok": waits(&counts) > 0}))?;
        run.write(&json!({"check": "libcount.so records events", "ok": counts.contains_key("events_ms")}))?;
    }
    for (loss, text) in LOSSES {
        for case in Case::all(run.small).iter().filter(|case| run.takes(case, loss)) {
            let mut want = None;
            for &(kind, dtype) in kinds(case, loss) {
                let (logits, labels) = inputs(case, kind, device)?;
                let work = Work { loss: case.loss(text)?, logits, target: TchTarget::labels(&labels) };
                if want.is_none() {
                    let (logits, labels) = inputs(case, Kind::Float, Device::Cpu)?;
                    let on_cpu = Work { loss: work.loss.clone(), logits, target: TchTarget::labels(&labels) };
                    let outcome = on_cpu.outcome(Path::Fused)?;
                    run.put_reference(case, loss, &outcome)?;
                    want = Some(outcome);
                }
                let Some(want) = &want else { continue };
                for path in work.paths()? {
                    let about = json!({"case": case.name(), "loss": loss, "by": by(path), "type": dtype});
                    one(run, device, &work, path, want, about)?;
                }
                if loss == LOSSES[0].0 {
                    let mut to = work.logits.f_empty_like()?;
                    let (copy, _) = median(|steps| batch(device, steps, || Ok(to.f_copy_(&work.logits)?)))?;
                    run.write(&json!({"case": case.name(), "loss": "copy", "by": "tch, copy", "type": dtype, "ms": copy}))?;
                }
            }
        }
    }
    Ok(())
}

/// One row: whether it agrees, and if so what it costs. A failure is a row too.
fn one(run: &Run, device: Device, work: &Work, path: Path, want: &Outcome, mut row: serde_json::Value) -> Result<(), Failed> {
    let measure = |row: &mut serde_json::Value| -> Result<(), Failed> {
        let dtype = row["type"].as_str().unwrap_or_default().to_owned();
        for (name, value) in work.outcome(path)?.off(want, &dtype) {
            row[name] = value;
        }
        if row["agrees"] != json!(true) {
            return Ok(());
        }
        let (step, waits) = median(|steps| batch(device, steps, || work.step(path).map(drop)))?;
        row["ms"] = json!(step);
        row["waits"] = json!(waits);
        let (value, _) = median(|steps| batch(device, steps, || work.value(path).map(drop)))?;
        row["ms_value"] = json!(value);
        Ok(())
    };
    if let Err(error) = measure(&mut row) {
        row["error"] = json!(error.to_string());
    }
    run.write(&row)
}

/// Most memory of a step beyond logits and labels. LibTorch must keep no memory back in this
/// process (`PYTORCH_NO_CUDA_MEMORY_CACHING`), so that what it asks CUDA for is what it uses.
fn memory(run: &Run, device: Device) -> Result<(), Failed> {
    for (loss, text) in LOSSES {
        for case in Case::all(run.small).iter().filter(|case| run.takes(case, loss)) {
            for &(kind, dtype) in kinds(case, loss) {
                let (logits, labels) = inputs(case, kind, device)?;
                let work = Work { loss: case.loss(text)?, logits, target: TchTarget::labels(&labels) };
                for path in work.paths()? {
                    // What is set up once does not count.
                    drop(work.step(path)?);
                    wait(device);
                    let before = field(&counted().ok_or("nothing was counted: preload libcount.so")?, "live");
                    drop(work.step(path)?);
                    wait(device);
                    let peak = field(&counted().unwrap_or_default(), "peak") - before;
                    let peak = (peak / f64::from(1 << 20)).round();
                    let row = json!({"case": case.name(), "loss": loss, "by": by(path), "type": dtype, "peak_mib": peak});
                    run.write(&row)?;
                }
            }
        }
    }
    Ok(())
}

fn start() -> Result<(), Failed> {
    let mut words: Vec<String> = env::args().skip(1).collect();
    let cpu = words.iter().any(|word| word == "--cpu");
    words.retain(|word| word != "--cpu");
    let device = if cpu { Device::Cpu } else { Device::Cuda(0) };
    if !cpu && !Cuda::is_available() {
        let what = if tch::utils::has_cudart() { "there is no CUDA device" } else { "LibTorch's part for CUDA is not loaded" };
        return Err(format!("{what}: --cpu does what can be done on the CPU").into());
    }
    match words.split_first() {
        Some((what, options)) if what == "bench" => bench(&Run::new("bench-tch", options)?, device),
        Some((what, options)) if what == "memory" => memory(&Run::new("memory-tch", options)?, device),
        _ => Err("bench or memory?".into()),
    }
}

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("device_tch: {error}");
            ExitCode::FAILURE
        }
    }
}
