//! Time, calls that wait and memory of a step on CUDA, and agreement with the CPU: see
//! `docs/cuda.md`, whose `run.sh` runs it.
//!
//! `--cpu` runs small shapes on the CPU, to see that the program works;
//! `backend-tch/cuda/compare.py` prints the same loss from PyTorch.

use std::collections::HashMap;
use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::Instant;
use std::{env, fs};

use backend_tch::{Path, TchLoss, TchTarget};
use loss_core::{Loss, LossError};
use tch::{Cuda, Device, Kind, Tensor};

const LOSS: &str = "ce + dice + l1";

const SHAPES: [&[i64]; 3] = [&[4, 20, 512, 512], &[2, 4, 96, 96, 96], &[8, 4, 256, 256]];
const SMALL: [&[i64]; 3] = [&[2, 20, 32, 64], &[2, 4, 16, 16, 16], &[3, 4, 32, 32]];

const KINDS: [(Kind, &str); 3] = [(Kind::Float, "f32"), (Kind::Half, "f16"), (Kind::BFloat16, "bf16")];

/// Keeps gradients within what half precision holds, as training does. A power of two rounds
/// nothing.
const SCALE: f64 = 65536.0;

const WARM: usize = 3;
const STEPS: usize = 20;

/// What every number of a row is measured on.
struct Case {
    loss: Loss,
    logits: Tensor,
    labels: Tensor,
}

impl Case {
    /// The same numbers as in `compare.py`; runs of 64 pixels have a label.
    fn new(shape: &[i64], kind: Kind, device: Device) -> Result<Self, Box<dyn Error>> {
        let row = |count: i64| Tensor::f_arange(count, (Kind::Int64, device));
        let numbers = row(shape.iter().product())?.f_mul_scalar(37)?.f_add_scalar(11)?.f_remainder(101)?;
        let logits =
            numbers.f_to_kind(Kind::Float)?.f_div_scalar(25.0)?.f_sub_scalar(2.0)?.f_to_kind(kind)?.f_reshape(shape)?;
        let size = [&shape[..1], &shape[2..]].concat();
        let labels = row(size.iter().product())?.f_floor_divide_scalar(64)?.f_remainder(shape[1])?.f_reshape(size)?;
        Ok(Self { loss: LOSS.parse()?, logits, labels })
    }

    /// Value and gradient.
    fn step(&self, path: Path) -> Result<(Tensor, Tensor), LossError> {
        let leaf = self.logits.detach().set_requires_grad(true);
        let out = self.loss.forward_by(path, &leaf, &TchTarget::labels(&self.labels))?;
        (&out.total * SCALE).backward();
        Ok((out.total.detach(), leaf.grad()))
    }

    /// How far value and gradient are from the fused path on the CPU, of the value and of the
    /// largest gradient.
    fn off(&self) -> Result<(f64, [f64; 2]), Box<dyn Error>> {
        let host = |tensor: &Tensor| tensor.to_device(Device::Cpu);
        let wide = |tensor: &Tensor| host(tensor).to_kind(Kind::Float);
        let on_cpu = Self { loss: self.loss.clone(), logits: host(&self.logits), labels: host(&self.labels) };
        let ((value, gradient), (want, wanted)) = (self.step(Path::Operations)?, on_cpu.step(Path::Fused)?);
        let (value, want) = (value.double_value(&[]), want.double_value(&[]));
        let wanted = wide(&wanted);
        let largest = |tensor: &Tensor| tensor.abs().max().double_value(&[]);
        Ok((value, [(value - want).abs() / want.abs(), largest(&(wide(&gradient) - &wanted)) / largest(&wanted)]))
    }

    /// The last of some steps with what was counted since the first.
    fn counted(&self, device: Device, steps: usize) -> Result<(f64, Option<Counts>), Box<dyn Error>> {
        for _ in 0..WARM {
            let _ = self.step(Path::Operations)?;
        }
        wait(device);
        let before = Counts::last().map_or(0, |counts| counts.of("live"));
        let start = Instant::now();
        for _ in 0..steps {
            let _ = self.step(Path::Operations)?;
        }
        wait(device);
        let seconds = start.elapsed().as_secs_f64();
        Ok((1e3 * seconds / steps as f64, Counts::last().map(|counts| Counts { before, ..counts })))
    }
}

/// The last line of `libcount.so`, which it writes at each [`wait`].
struct Counts {
    fields: HashMap<String, u64>,
    before: u64,
}

impl Counts {
    fn last() -> Option<Self> {
        let log = fs::read_to_string(env::var_os("CUDA_COUNT_LOG")?).ok()?;
        let field = |word: &str| word.split_once('=').and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
        Some(Self { fields: log.lines().last()?.split_whitespace().filter_map(field).collect(), before: 0 })
    }

    fn of(&self, name: &str) -> u64 {
        self.fields.get(name).copied().unwrap_or(0)
    }

    fn waits(&self) -> u64 {
        self.of("waits") + self.of("copies_to_host")
    }
}

fn wait(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}

/// Peaks in a process of its own, in which LibTorch keeps no memory back, so that what it asks CUDA
/// for is what it uses.
fn peaks() -> Result<Vec<String>, Box<dyn Error>> {
    let Some(mut log) = env::var_os("CUDA_COUNT_LOG") else { return Ok(Vec::new()) };
    log.push("-memory");
    let mut own = Command::new(env::current_exe()?);
    own.arg("--memory").env("PYTORCH_NO_CUDA_MEMORY_CACHING", "1").env("CUDA_COUNT_LOG", log);
    let output = own.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn cases(shapes: [&'static [i64]; 3]) -> impl Iterator<Item = (&'static [i64], Kind, &'static str)> {
    shapes.into_iter().flat_map(|shape| KINDS.map(|(kind, name)| (shape, kind, name)))
}

fn bench(option: Option<&str>) -> Result<(), Box<dyn Error>> {
    let cuda = Device::Cuda(0);
    match option {
        Some("--memory") => {
            for (shape, kind, _) in cases(SHAPES) {
                let (_, counts) = Case::new(shape, kind, cuda)?.counted(cuda, 1)?;
                let counts = counts.ok_or("nothing was counted")?;
                println!("{}", counts.of("peak").saturating_sub(counts.before) >> 20);
            }
            return Ok(());
        }
        Some("--cpu") | None => {}
        Some(other) => return Err(format!("{other} is not --cpu").into()),
    }
    let (device, shapes) = if option.is_none() { (cuda, SHAPES) } else { (Device::Cpu, SMALL) };
    if device == cuda && !Cuda::is_available() {
        let what = if tch::utils::has_cudart() { "there is no CUDA device" } else { "LibTorch's part for CUDA is not loaded" };
        return Err(format!("{what}: --cpu runs small shapes on the CPU").into());
    }
    if device == cuda && env::var_os("CUDA_COUNT_LOG").is_some() {
        // Reading a number back waits; a counter that does not see that is not in place.
        wait(device);
        Tensor::ones([1], (Kind::Float, device)).double_value(&[0]);
        wait(device);
        if Counts::last().is_none_or(|counts| counts.waits() == 0) {
            return Err("libcount.so sees nothing: preload it".into());
        }
    }
    let mut peaks = if device == cuda { peaks()? } else { Vec::new() }.into_iter();
    println!("{LOSS}; a step is forward and backward; peak beyond logits and labels, gradient included");
    println!("| logits | type | value | value off | gradient off | ms a step | waits in {STEPS} steps | peak, MiB |");
    println!("|---|---|---|---|---|---|---|---|");
    for (shape, kind, name) in cases(shapes) {
        let case = Case::new(shape, kind, device)?;
        let (value, [off, gradient_off]) = case.off()?;
        let (time, counts) = case.counted(device, STEPS)?;
        let waits = counts.map_or("-".to_owned(), |counts| counts.waits().to_string());
        let peak = peaks.next().unwrap_or("-".to_owned());
        let shape = shape.iter().map(i64::to_string).collect::<Vec<_>>().join("x");
        println!("| {shape} | {name} | {value:.7} | {off:.1e} | {gradient_off:.1e} | {time:.3} | {waits} | {peak} |");
    }
    Ok(())
}

fn main() -> ExitCode {
    match bench(env::args().nth(1).as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cuda_bench: {error}");
            ExitCode::FAILURE
        }
    }
}
