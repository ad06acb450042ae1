//! The same training step in Burn and in tch: both losses agree before and after it, and fall.

use std::error::Error;

use segloss::matching::CrossEntropy;
use segloss::overlap::Dice;
use segloss::penalty::L1;
use segloss::{Loss, matching, overlap, penalty};

const SAMPLES: usize = 2;
const FEATURES: usize = 3;
const CLASSES: usize = 2;
const PIXELS: usize = 64;
const RATE: f64 = 0.1;

/// Features `[N, F, S]` and labels `[N, S]`. The first feature is larger in class 1, the rest is
/// noise.
fn data() -> (Vec<f32>, Vec<i64>) {
    let labels: Vec<i64> = (0..SAMPLES * PIXELS).map(|i| i64::from(i % 5 == 0)).collect();
    let feature = |i: usize| {
        let (sample, rest) = (i / (FEATURES * PIXELS), i % (FEATURES * PIXELS));
        let (feature, pixel) = (rest / PIXELS, rest % PIXELS);
        let signal = if feature == 0 { labels[sample * PIXELS + pixel] as f32 } else { 0.0 };
        (i * 37 % 101) as f32 / 25.0 - 2.0 + signal
    };
    ((0..SAMPLES * FEATURES * PIXELS).map(feature).collect(), labels)
}

/// Weights of a 1×1 convolution, `[1, K, F]`, to begin with.
fn weights() -> Vec<f32> {
    (0..CLASSES * FEATURES).map(|i| 0.1 * i as f32 - 0.2).collect()
}

/// The loss before and after a step of gradient descent in Burn. Traits of both backends have
/// methods of the same names, so each function takes its own into scope.
fn burn_step(loss: &Loss) -> Result<[f64; 2], Box<dyn Error>> {
    use burn::tensor::{Device, Int, Tensor, TensorData};
    use segloss::burn::{BurnLoss, BurnTarget};

    let device = Device::flex().autodiff();
    let (features, labels) = data();
    let features = Tensor::<3>::from_data(TensorData::new(features, [SAMPLES, FEATURES, PIXELS]), &device);
    let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [SAMPLES, PIXELS]), &device);
    let target = BurnTarget::labels(labels);
    let total = |weights: &Tensor<3>| loss.forward(weights.clone().matmul(features.clone()), &target);

    let weights = Tensor::<3>::from_data(TensorData::new(weights(), [1, CLASSES, FEATURES]), &device);
    let weights = weights.require_grad();
    let before = total(&weights)?.total;
    let gradient = weights.grad(&before.clone().backward()).ok_or("the total depends on the weights")?;
    let weights = Tensor::from_inner(weights.inner() - gradient.mul_scalar(RATE));
    Ok([before, total(&weights)?.total].map(|total| f64::from(total.into_scalar::<f32>())))
}

/// The same in tch.
fn tch_step(loss: &Loss) -> Result<[f64; 2], Box<dyn Error>> {
    use segloss::tch::{TchLoss, TchTarget};
    use tch::Tensor;

    let (features, labels) = data();
    let shape = |lengths: [usize; 3]| lengths.map(|length| length as i64);
    let features = Tensor::f_from_slice(&features)?.f_reshape(shape([SAMPLES, FEATURES, PIXELS]))?;
    let labels = Tensor::f_from_slice(&labels)?.f_reshape([SAMPLES as i64, PIXELS as i64])?;
    let target = TchTarget::labels(&labels);

    let weights = Tensor::f_from_slice(&weights())?.f_reshape(shape([1, CLASSES, FEATURES]))?;
    let weights = weights.set_requires_grad(true);
    let before = loss.forward(&weights.f_matmul(&features)?, &target)?.total;
    before.f_backward()?;
    let weights = tch::no_grad(|| Ok::<_, tch::TchError>(&weights - weights.f_grad()? * RATE))?;
    let after = loss.forward(&weights.f_matmul(&features)?, &target)?.total;
    Ok([before.f_double_value(&[])?, after.f_double_value(&[])?])
}

fn main() -> Result<(), Box<dyn Error>> {
    let loss = matching(CrossEntropy::new()) + overlap(Dice::new()) + 0.5 * penalty(L1::new());
    let (burn, tch) = (burn_step(&loss)?, tch_step(&loss)?);
    println!("{loss}\nburn {:.6} -> {:.6}\ntch  {:.6} -> {:.6}", burn[0], burn[1], tch[0], tch[1]);
    for (burn, tch) in burn.into_iter().zip(tch) {
        assert!((burn - tch).abs() < 1e-5, "Burn and tch disagree: {burn} and {tch}");
    }
    for [before, after] in [burn, tch] {
        assert!(after < before, "the loss rises from {before} to {after}");
    }
    Ok(())
}
