//! Training with Burn: the fused path against ordinary operations, and inside burn-train.

use std::sync::Arc;

use backend_burn::metric::{ClassDice, ClassSize, RegionCounts};
use backend_burn::{BurnLoss, BurnTarget, Path};
use burn::backend::ExecutionError;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder, batcher::Batcher};
use burn::data::dataset::InMemDataset;
use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn::train::metric::{Adaptor, LossInput, LossMetric};
use burn::train::{InferenceStep, ItemLazy, Learner, SupervisedTraining, TrainOutput, TrainStep};
use conformance_tests::inputs::numbers;
use loss_core::Loss;

const SIDE: usize = 12;

/// Two convolutions.
#[derive(Module, Debug)]
struct Net {
    first: Conv2d,
    second: Conv2d,
}

impl Net {
    fn new(device: &Device) -> Self {
        device.seed(3);
        let same = |from, to| Conv2dConfig::new([from, to], [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        Self { first: same(1, 6).init(device), second: same(6, 3).init(device) }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        self.second.forward(relu(self.first.forward(images)))
    }
}

/// An image of two bright squares on a noisy ground, a pixel in ten ignored.
fn image(seed: u64) -> (Vec<f32>, Vec<i64>) {
    let corners: Vec<usize> = numbers(4, seed).map(|u| (u * (SIDE - 4) as f64) as usize).collect();
    let inside = |x: usize, y: usize, c: &[usize]| (c[0]..c[0] + 4).contains(&x) && (c[1]..c[1] + 3).contains(&y);
    let mut random = numbers(2 * SIDE * SIDE, seed + 1000);
    let mut next = || random.next().unwrap_or(0.0);
    let pixel = |i: usize| {
        let (x, y) = (i % SIDE, i / SIDE);
        let class = if inside(x, y, &corners[..2]) { 1 } else { 2 * i64::from(inside(x, y, &corners[2..])) };
        let label = if next() < 0.1 { 255 } else { class };
        ((class as f64 - 0.8 + 0.3 * next()) as f32, label)
    };
    (0..SIDE * SIDE).map(pixel).unzip()
}

#[derive(Clone, Debug)]
struct Batch {
    images: Tensor<4>,
    labels: Tensor<3, Int>,
}

#[derive(Clone)]
struct Images;

impl Batcher<u64, Batch> for Images {
    fn batch(&self, seeds: Vec<u64>, device: &Device) -> Batch {
        let (values, labels): (Vec<_>, Vec<_>) = seeds.iter().map(|&seed| image(seed)).unzip();
        let shape = [seeds.len(), SIDE, SIDE];
        let images = Tensor::<3>::from_data(TensorData::new(values.concat(), shape), device).unsqueeze_dim(1);
        Batch { images, labels: Tensor::from_data(TensorData::new(labels.concat(), shape), device) }
    }
}

fn loss() -> Loss {
    "ce + dice + l1(temperature=2)".parse::<Loss>().unwrap().with_ignore_index(255)
}

/// Totals of 50 steps.
fn curve(path: Path, mut net: Net, device: &Device) -> Vec<f64> {
    let mut optimizer = AdamConfig::new().init();
    let mut totals = Vec::new();
    for step in 0..50 {
        let batch = Images.batch((4 * step..4 * step + 4).collect(), device);
        let out = loss().forward_by(path, net.forward(batch.images), &BurnTarget::labels(batch.labels)).unwrap();
        totals.push(out.total.clone().into_scalar::<f64>());
        let gradients = GradientsParams::from_grads(out.total.backward(), &net);
        net = optimizer.step(0.01, net, gradients);
    }
    totals
}

#[test]
fn both_paths_train_alike() {
    let device = Device::flex().autodiff();
    let net = Net::new(&device);
    let (fused, operations) = (curve(Path::Fused, net.clone(), &device), curve(Path::Operations, net, &device));
    assert!(fused[49] < 0.7 * fused[0], "it learns: {} to {}", fused[0], fused[49]);
    for (step, (a, b)) in fused.iter().zip(&operations).enumerate() {
        // Each step starts from weights that the roundings of the steps before have moved apart.
        let allowed = 1e-6 * (1 + step) as f64;
        assert!((a - b).abs() < allowed * a.abs(), "step {step}: {a} and {b}");
    }
}

/// What a step hands to the metrics.
struct Output {
    total: Tensor<1>,
    counts: RegionCounts,
}

impl ItemLazy for Output {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(Self { total: self.total.without_autodiff(), ..self })
    }
}

impl Adaptor<LossInput> for Output {
    fn adapt(&self) -> LossInput {
        LossInput::new(self.total.clone())
    }
}

impl Adaptor<RegionCounts> for Output {
    fn adapt(&self) -> RegionCounts {
        self.counts.clone()
    }
}

impl Net {
    fn output(&self, batch: Batch) -> Output {
        let (logits, target) = (self.forward(batch.images), BurnTarget::labels(batch.labels));
        let counts = RegionCounts::new(&loss(), &logits, &target).unwrap();
        Output { total: loss().forward(logits, &target).unwrap().total, counts }
    }
}

impl TrainStep for Net {
    type Input = Batch;
    type Output = Output;

    fn step(&self, batch: Batch) -> TrainOutput<Output> {
        let output = self.output(batch);
        TrainOutput::new(self, output.total.backward(), output)
    }
}

impl InferenceStep for Net {
    type Input = Batch;
    type Output = Output;

    fn step(&self, batch: Batch) -> Output {
        self.output(batch)
    }
}

fn loader(seeds: std::ops::Range<u64>) -> Arc<dyn DataLoader<Batch>> {
    DataLoaderBuilder::new(Images).batch_size(4).build(InMemDataset::new(seeds.collect()))
}

#[test]
fn it_trains_inside_burn_train_with_its_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let training = SupervisedTraining::new(folder.path(), loader(0..64), loader(1000..1008))
        .metric_train_numeric(LossMetric::new())
        .metric_valid_numeric(LossMetric::new())
        .metric_valid_numeric(ClassSize::new(1))
        .metric_valid_numeric(ClassDice::new(1))
        .with_application_logger(None)
        .num_epochs(5);
    let net = Net::new(&Device::flex().autodiff());
    let before = net.clone().valid();
    let result = training.launch(Learner::new(net, AdamConfig::new().init(), 0.02));
    assert!(result.error.is_none());

    // What the dashboard wrote is what the masses of all validation images come to.
    let whole = |net: &Net| net.output(Images.batch((1000..1008).collect(), &Device::flex()));
    let (before, after) = (whole(&before), whole(&result.model));
    assert!(after.counts.dice(1) > before.counts.dice(1) + 0.2, "{} to {}", before.counts.dice(1), after.counts.dice(1));
    let logged = |metric: &str| {
        let path = folder.path().join("valid").join("epoch-5").join(metric);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let last = text.lines().last().unwrap().split(',').next().unwrap();
        last.parse::<f64>().unwrap_or_else(|error| panic!("{text}: {error}"))
    };
    assert!((logged("Dice_of_class_1.log") - 100.0 * after.counts.dice(1)).abs() < 1e-3);
    assert!((logged("Size_difference_of_class_1.log") - 100.0 * after.counts.size_difference(1)).abs() < 1e-3);
}
