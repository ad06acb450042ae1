//! The kernel pair on a `wgpu` device among Burn's own operations: everything as on Flex, whose
//! kernels share no code with it.

use backend_burn::{BurnLoss, BurnTarget, Path, supports};
use burn::tensor::{DType, Device, DeviceKind, Int, Tensor, TensorData};
use conformance_tests::inputs::numbers;
use loss_core::expr::{Expr, PixelFunction, Scalar};
use loss_core::{Evaluation, GroundTruthMatching, InsideTruth, Loss, LossError, Side, matching};

const SHAPE: [usize; 4] = [2, 3, 5, 7];
const MIXED: &str = "ce + focal(gamma=2) + 0.5 * dice + 0.5 * l1 + 0.1 * log_recall + kl";

fn wgpu() -> Device {
    Device::wgpu(DeviceKind::DefaultDevice)
}

fn logits(device: &Device) -> Tensor<4> {
    let values: Vec<f32> = numbers(SHAPE.iter().product(), 1).map(|u| (6.0 * u - 3.0) as f32).collect();
    Tensor::from_data(TensorData::new(values, SHAPE), device)
}

fn target(device: &Device) -> BurnTarget {
    let [samples, classes, height, width] = SHAPE;
    // One class more than there is: that label is ignored.
    let labels: Vec<i32> = numbers(samples * height * width, 2).map(|u| (u * (classes + 1) as f64) as i32).collect();
    BurnTarget::labels(Tensor::<3, Int>::from_data(TensorData::new(labels, [samples, height, width]), (device, DType::I32)))
}

fn loss(text: &str) -> Loss {
    text.parse::<Loss>().unwrap().with_ignore_index(3)
}

fn forward(loss: &Loss, logits: Tensor<4>, device: &Device) -> Evaluation<Tensor<1>> {
    assert_eq!(loss.path(&logits, &target(device)).unwrap(), Path::Fused);
    loss.forward(logits, &target(device)).unwrap()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// Within a few roundings of the largest.
fn assert_close(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    let scale = want.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= 2e-6 * scale, "at {i}: {got} and {want}, of {scale}");
    }
}

/// A function of a tracked leaf, on a device: its gradient.
fn gradient(device: &Device, autodiff: Device, of: impl Fn(Tensor<4>, &Device) -> Tensor<1>) -> Vec<f32> {
    let leaf = logits(&autodiff).require_grad();
    let gradients = of(leaf.clone(), device).backward();
    values(leaf.grad(&gradients).unwrap())
}

fn assert_as_on_flex(of: impl Fn(Tensor<4>, &Device) -> Tensor<1>) {
    let (flex, wgpu) = (Device::flex(), wgpu());
    let want = gradient(&flex, flex.clone().autodiff(), &of);
    assert!(want.iter().any(|g| *g != 0.0));
    assert_close(&gradient(&wgpu, wgpu.clone().autodiff(), &of), &want);
    assert_close(&gradient(&wgpu, wgpu.clone().autodiff().gradient_checkpointing(), &of), &want);
}

#[test]
fn gradients_flow_through_layers_before_and_after() {
    let loss = loss(MIXED);
    assert_as_on_flex(|leaf, device| {
        let total = forward(&loss, (leaf * 1.5).tanh() * 4.0 + 0.25, device).total;
        total.clone() * total.exp()
    });
}

#[test]
fn every_part_can_be_differentiated() {
    let loss = loss("ce + dice(form=log) + l1(temperature=2)");
    for term in 0..3 {
        assert_as_on_flex(|leaf, device| forward(&loss, leaf, device).terms.remove(term).value);
        if term < 2 {
            assert_as_on_flex(|leaf, device| forward(&loss, leaf, device).terms.remove(term).split.unwrap().matching);
        }
        assert_as_on_flex(|leaf, device| forward(&loss, leaf, device).terms.remove(term).split.unwrap().size);
    }
}

#[test]
fn several_maps_are_read_at_once() {
    // One channel, and one for each class.
    let loss = loss("topk + 0.5 * boundary + dice");
    assert_as_on_flex(|leaf, device| forward(&loss, leaf, device).total);
}

#[test]
fn nothing_is_tracked_where_nothing_is_asked_for() {
    let loss = loss(MIXED);
    let total = |logits: Tensor<4>| values(forward(&loss, logits, &wgpu()).total);
    let plain = total(logits(&wgpu()));
    assert_eq!(total(logits(&wgpu().autodiff())), plain);
    assert_eq!(total(logits(&wgpu().autodiff()).require_grad()), plain);
    assert_close(&plain, &values(forward(&loss, logits(&Device::flex()), &Device::flex()).total));
}

#[test]
fn evaluation_is_as_on_flex() {
    let loss = loss(MIXED);
    let (flex, wgpu) = (Device::flex(), wgpu());
    let want = loss.evaluate(logits(&flex), &target(&flex)).unwrap();
    let got = loss.evaluate(logits(&wgpu), &target(&wgpu)).unwrap();
    assert!((got.total - want.total).abs() <= 2e-6 * want.total.abs(), "{} and {}", got.total, want.total);
    assert_eq!(got.terms.len(), want.terms.len());
}

#[test]
fn views_are_read_in_their_own_order() {
    let loss = loss(MIXED);
    let device = wgpu();
    // The same numbers behind a permutation, and as a slice of something larger.
    let moved = logits(&device).permute([3, 2, 1, 0]).into_data();
    let permuted = Tensor::<4>::from_data(moved, &device).permute([3, 2, 1, 0]);
    let larger = Tensor::cat(vec![logits(&device) + 9.0, logits(&device)], 0);
    let sliced = larger.slice(SHAPE[0]..2 * SHAPE[0]);
    let want = values(forward(&loss, logits(&device), &device).total);
    assert_eq!(values(forward(&loss, permuted, &device).total), want);
    assert_eq!(values(forward(&loss, sliced, &device).total), want);
}

#[test]
fn a_label_outside_the_classes_is_none_of_them() {
    let device = wgpu();
    let loss: Loss = "dice".parse().unwrap();
    let logits = Tensor::<3>::from_data([[[2.0f32, 0.5, -1.0], [0.0, 1.5, 0.5]]], &device);
    let total = |labels: [[i32; 3]; 1]| {
        let labels = Tensor::<2, Int>::from_data(TensorData::from(labels), (&device, DType::I32));
        values(loss.forward(logits.clone(), &BurnTarget::labels(labels)).unwrap().total)
    };
    let none = total([[0, 1, 2]]);
    assert_eq!(total([[0, 1, -7]]), none);
    assert_eq!(total([[0, 1, i32::MAX]]), none);
    assert!(none != total([[0, 1, 0]]) && none != total([[0, 1, 1]]));
}

#[test]
fn tensors_of_two_devices_are_refused() {
    let loss = loss("ce");
    let (wgpu, flex) = (wgpu(), Device::flex());
    for (here, there) in [(&wgpu, &flex), (&flex, &wgpu)] {
        for path in [Path::Fused, Path::Operations] {
            let refused = loss.forward_by(path, logits(here), &target(there)).unwrap_err();
            assert!(matches!(refused, LossError::Unsupported { what: "labels", .. }), "{refused}");
        }
        let refused = loss.evaluate(logits(here), &target(there)).unwrap_err();
        assert!(matches!(refused, LossError::Unsupported { what: "labels", .. }), "{refused}");
    }
}

/// Σ y·min(−log p, 10³⁰⁰) / T: with a number that single precision does not have.
struct Capped;

impl GroundTruthMatching for Capped {
    fn name(&self) -> String {
        "capped".to_owned()
    }

    fn matching(&self, truth: &InsideTruth) -> Expr<Scalar> {
        let capped = PixelFunction::new(|log_p| (-log_p).min(1e300));
        truth.pixel_sum(&capped, Side::Region).ratio(&truth.target_size()).mean_classes().mean_samples()
    }
}

#[test]
fn what_the_kernels_cannot_compute_is_left_to_ordinary_operations() {
    let device = wgpu();
    let loss = matching(Capped);
    assert_eq!(loss.path(&logits(&device), &target(&device)).unwrap(), Path::Operations);
    assert!(loss.forward(logits(&device), &target(&device)).is_ok());
    let refused = loss.forward_by(Path::Fused, logits(&device), &target(&device)).unwrap_err();
    assert!(refused.to_string().contains("pixel functions whose constants are finite in F32"), "{refused}");
}

#[test]
fn double_precision_is_refused_though_a_driver_may_offer_it() {
    let device = wgpu();
    assert!(supports(&device, DType::F32) && !supports(&device, DType::F64));
    if device.supports_dtype(DType::F64) {
        let refused = |result: Result<Evaluation<Tensor<1>>, LossError>| result.unwrap_err().to_string();
        let (loss, logits) = (loss("ce"), logits(&device).cast(DType::F64));
        for path in [Path::Fused, Path::Operations] {
            assert!(refused(loss.forward_by(path, logits.clone(), &target(&device))).contains("F64 not on wgpu"));
        }
        assert!(refused(loss.forward(logits.clone(), &target(&device))).contains("F64 not on wgpu"));
        assert!(loss.evaluate(logits, &target(&device)).is_err());
    }
}
