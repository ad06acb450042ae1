//! Milliseconds of a step on the CPU: each path of this package, and the kernels by themselves.
//!
//! `cost [STEPS]` prints the median of so many steps, 9 unless told otherwise, taken in turns.

use std::error::Error;
use std::time::Instant;

use backend_tch::{Path, TchLoss, TchTarget};
use loss_core::expr::HostAlgebra;
use loss_core::{Detail, Loss};
use loss_kernels::{Labels, Problem, Target};
use tch::{Device, Kind, Tensor};

const LOSSES: [&str; 2] = ["ce + dice + l1", "0.5 * focal + dice"];
const SHAPES: [&[i64]; 3] = [&[4, 20, 512, 512], &[2, 4, 96, 96, 96], &[8, 4, 256, 256]];

/// Value and gradient by a path, as a training step takes them.
fn step(loss: &Loss, path: Path, logits: &Tensor, target: &TchTarget) -> Result<f64, Box<dyn Error>> {
    let leaf = logits.detach().set_requires_grad(true);
    let start = Instant::now();
    loss.forward_by(path, &leaf, target)?.total.f_backward()?;
    Ok(1e3 * start.elapsed().as_secs_f64())
}

/// The value alone.
fn value(loss: &Loss, logits: &Tensor, target: &TchTarget) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    loss.forward_by(Path::Fused, logits, target)?;
    Ok(1e3 * start.elapsed().as_secs_f64())
}

/// Value and gradient by the kernels, as `backend-ndarray` takes them.
fn kernels(loss: &Loss, shape: &[usize], logits: &[f32], labels: &[u8]) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let size: Vec<usize> = [&shape[..1], &shape[2..]].concat();
    let problem = Problem::new(shape, (Target::Labels(Labels::U8(labels)), &size), None, &[], loss.activation())?;
    let program = loss.program(shape[1], Detail::Total)?;
    let inputs = loss.inputs(shape[0], None);
    let statistics = loss_kernels::statistics(logits, &problem, program.plan())?;
    let outputs = program.outputs(&HostAlgebra, &statistics, &inputs)?;
    let upstream = program.upstream(&statistics, &inputs, &[1.0])?;
    let mut gradient = vec![0f32; logits.len()];
    loss_kernels::logit_gradient(logits, &problem, program.plan(), &upstream, &mut gradient)?;
    std::hint::black_box((outputs, gradient));
    Ok(1e3 * start.elapsed().as_secs_f64())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let steps: usize = std::env::args().nth(1).map_or(Ok(9), |steps| steps.parse())?;
    println!("| loss | logits | operations | fused | fused, value alone | kernels |\n|---|---|---:|---:|---:|---:|");
    for text in LOSSES {
        let loss: Loss = text.parse()?;
        for sizes in SHAPES {
            tch::manual_seed(7);
            let logits = Tensor::randn(sizes, (Kind::Float, Device::Cpu)) * 2.0;
            let size = [&sizes[..1], &sizes[2..]].concat();
            let labels = Tensor::randint(sizes[1], size, (Kind::Uint8, Device::Cpu));
            let target = TchTarget::labels(&labels);
            let (numbers, classes) = (Vec::<f32>::try_from(logits.reshape([-1]))?, Vec::<u8>::try_from(labels.reshape([-1]))?);
            let shape: Vec<usize> = sizes.iter().map(|&length| length as usize).collect();
            let mut times = [const { Vec::new() }; 4];
            for i in 0..=steps {
                let taken = [
                    step(&loss, Path::Operations, &logits, &target)?,
                    step(&loss, Path::Fused, &logits, &target)?,
                    value(&loss, &logits, &target)?,
                    kernels(&loss, &shape, &numbers, &classes)?,
                ];
                // The first time everything is set up.
                if i > 0 {
                    times.iter_mut().zip(taken).for_each(|(times, taken)| times.push(taken));
                }
            }
            let sizes = sizes.iter().map(i64::to_string).collect::<Vec<_>>().join("x");
            let [operations, fused, value, kernels] = times.map(median);
            println!("| {text} | {sizes} | {operations:.1} | {fused:.1} | {value:.1} | {kernels:.1} |");
        }
    }
    Ok(())
}
