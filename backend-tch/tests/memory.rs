//! Memory beyond inputs and gradient, of a volume of 128³ pixels and four classes. A process of
//! its own: the peak is the process's.
#![cfg(target_os = "linux")]

use std::fs;
use std::time::Instant;

use backend_tch::{Path, TchLoss, TchTarget};
use loss_core::Loss;
use tch::{Device, Kind, Tensor};

/// Bytes of the process: at present (`VmRSS`) or at most so far (`VmHWM`).
fn bytes(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the field is there");
    let kilobytes: f64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    1024.0 * kilobytes
}

fn input(side: i64, classes: i64) -> (Tensor, TchTarget) {
    tch::manual_seed(7);
    let logits = Tensor::randn([1, classes, side, side, side], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let labels = Tensor::randint(classes, [1, side, side, side], (Kind::Uint8, Device::Cpu));
    (logits, TchTarget::labels(&labels))
}

/// The peak of forward and backward beyond what was there and the gradient that remains, in units
/// of the logits.
fn beyond(loss: &Loss, path: Path, logits: &Tensor, target: &TchTarget) -> f64 {
    let size = 4.0 * logits.numel() as f64;
    fs::write("/proc/self/clear_refs", "5").expect("the peak can be reset");
    let (before, start) = (bytes("VmRSS"), Instant::now());
    let out = loss.forward_by(path, logits, target).expect("it fits");
    let forward = start.elapsed().as_secs_f64();
    let at_forward = (bytes("VmHWM") - before) / size;
    out.total.backward();
    let beyond = (bytes("VmHWM") - before) / size - 1.0;
    eprintln!(
        "{path:?}: {beyond:.2} times the logits beyond inputs and gradient ({:.2} before backward); forward {forward:.3} s, \
         with backward {:.3} s",
        at_forward - 1.0,
        start.elapsed().as_secs_f64()
    );
    beyond
}

#[test]
fn a_volume_takes_at_most_twice_its_logits_beyond_inputs_and_gradient() {
    // Every kind of statistic, two temperatures, an ignored label.
    let loss: Loss = "ce + dice + focal(activation=softmax) + l1".parse().expect("a loss");
    let loss = loss.with_ignore_index(255);
    for path in [Path::Operations, Path::Fused] {
        // Threads, libraries and code are there after a first call.
        let (small, small_target) = input(16, 4);
        loss.forward_by(path, &small, &small_target).expect("it fits").total.backward();
        let (logits, target) = input(128, 4);
        let beyond = beyond(&loss, path, &logits, &target);
        assert!(beyond < 2.0, "{path:?}: {beyond}");
    }
}
