//! The exact splits.

use backend_burn::{BurnLoss, BurnTarget, Path};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use proptest::prelude::*;

use crate::scene::{Scene, Sums, agree, agree_all, config, scenes};

/// −(1/M) Σ_k Σ_{s∈Ω_k} log(p_ks / p̂_k), pixel by pixel.
fn matching_of_cross_entropy(scene: &Scene, sums: &Sums) -> f64 {
    let pixel = |(n, s, k): (usize, usize, usize)| (scene.probabilities(n, s)[k] / sums.predicted_share(k)).ln();
    -scene.valid().map(pixel).sum::<f64>() / sums.valid
}

/// A line of theory's table of relatives.
struct Relative {
    name: &'static str,
    /// Its own options, each with a comma behind it.
    options: &'static str,
    score: fn(&Sums, usize) -> f64,
    /// Size part of −log(score), with the constant.
    size: fn(&Sums, usize) -> f64,
}

impl Relative {
    /// The term for one class.
    fn of_class(&self, k: usize, form: &str) -> String {
        format!("{}({}classes=[{k}], form={form})", self.name, self.options)
    }
}

fn relatives() -> [Relative; 4] {
    let relative =
        |name, options, score: fn(&Sums, usize) -> f64, size: fn(&Sums, usize) -> f64| Relative { name, options, score, size };
    [
        relative(
            "dice",
            "",
            |s, k| 2.0 * s.both[k] / (s.predicted[k] + s.target[k]),
            |s, k| ((s.predicted[k] + s.target[k]) / (2.0 * s.target[k])).ln(),
        ),
        relative(
            "tversky",
            "alpha=0.3, beta=0.7, ",
            |s, k| s.both[k] / (s.both[k] + 0.3 * (s.predicted[k] - s.both[k]) + 0.7 * (s.target[k] - s.both[k])),
            |s, k| ((0.3 * s.predicted[k] + 0.7 * s.target[k]) / s.target[k]).ln(),
        ),
        relative(
            "tversky",
            "alpha=0.2, beta=0.5, ",
            |s, k| s.both[k] / (s.both[k] + 0.2 * (s.predicted[k] - s.both[k]) + 0.5 * (s.target[k] - s.both[k])),
            |s, k| ((0.3 * s.both[k] + 0.2 * s.predicted[k] + 0.5 * s.target[k]) / s.target[k]).ln(),
        ),
        relative(
            "jaccard",
            "",
            |s, k| s.both[k] / (s.predicted[k] + s.target[k] - s.both[k]),
            |s, k| ((s.predicted[k] + s.target[k] - s.both[k]) / s.target[k]).ln(),
        ),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn cross_entropy_is_matching_plus_divergence_plus_entropy(scene in scenes()) {
        let sums = scene.sums();
        prop_assume!(sums.valid > 0.0);
        let [value, matching, size, constant] = scene.parts("ce");
        agree("CE", value, -sums.log.iter().sum::<f64>() / sums.valid)?;
        agree("matching", matching, matching_of_cross_entropy(&scene, &sums))?;
        agree("size", size, sums.divergence())?;
        agree("constant", constant, sums.entropy())?;
        agree("sum", value, matching + size + constant)?;
    }

    #[test]
    fn cross_entropy_per_sample_is_the_mean_of_the_samples(scene in scenes()) {
        let samples: Vec<[f64; 4]> = (0..scene.samples).map(|n| scene.sample(n).parts("ce")).collect();
        let parts = scene.parts("ce(pooling=sample)");
        for (i, name) in ["value", "matching", "size", "constant"].into_iter().enumerate() {
            agree(name, parts[i], samples.iter().map(|sample| sample[i]).sum::<f64>() / scene.samples as f64)?;
        }
    }

    #[test]
    fn the_logarithm_of_each_relative_splits_exactly(scene in scenes()) {
        let sums = scene.sums();
        for relative in relatives() {
            for k in sums.present() {
                let score = (relative.score)(&sums, k);
                let [value, matching, size, constant] = scene.parts(&relative.of_class(k, "log"));
                agree(relative.name, value, -score.ln())?;
                agree("matching", matching, -(sums.both[k] / sums.target[k]).ln())?;
                agree("size with its constant", size + constant, (relative.size)(&sums, k))?;
                agree("sum", value, matching + size + constant)?;
                // The linear form reports the same parts.
                let linear = scene.parts(&relative.of_class(k, "linear"));
                agree("linear", linear[0], 1.0 - score)?;
                agree_all("parts of the linear form", &linear[1..], &[matching, size, constant])?;
            }
        }
    }

    #[test]
    fn the_size_part_of_dice_is_the_logarithm_of_the_proportions(scene in scenes()) {
        let sums = scene.sums();
        for k in sums.present() {
            let [_, _, size, constant] = scene.parts(&format!("dice(form=log, classes=[{k}])"));
            agree("size", size, (sums.predicted_share(k) + sums.true_share(k)).ln())?;
            agree("constant", constant, -(2.0 * sums.true_share(k)).ln())?;
        }
    }

    #[test]
    fn the_linear_gradient_is_the_logarithmic_one_times_the_score(scene in scenes()) {
        let sums = scene.sums();
        for relative in relatives() {
            for k in sums.present() {
                let score = (relative.score)(&sums, k);
                let linear = scene.run(&relative.of_class(k, "linear")).gradient;
                let log = scene.run(&relative.of_class(k, "log")).gradient;
                let scaled: Vec<f64> = log.iter().map(|g| score * g).collect();
                agree_all(relative.name, &linear, &scaled)?;
            }
        }
    }

    #[test]
    fn jaccard_is_dice_over_two_minus_dice(scene in scenes()) {
        for k in scene.sums().present() {
            let dice = 1.0 - scene.parts(&format!("dice(classes=[{k}])"))[0];
            agree("jaccard", 1.0 - scene.parts(&format!("jaccard(classes=[{k}])"))[0], dice / (2.0 - dice))?;
        }
    }

    #[test]
    fn tversky_holds_dice_and_jaccard(scene in scenes()) {
        for (tversky, other) in [("tversky(alpha=0.5, beta=0.5)", "dice"), ("tversky(alpha=1, beta=1)", "jaccard")] {
            let (a, b) = (scene.run(tversky), scene.run(other));
            agree(other, a.total, b.total)?;
            agree_all(other, &a.gradient, &b.gradient)?;
        }
    }

    #[test]
    fn recall_is_the_matching_part_of_every_relative(scene in scenes()) {
        let recall = scene.parts("log_recall")[0];
        for relative in relatives() {
            agree(relative.name, scene.parts(&format!("{}({}form=log)", relative.name, relative.options))[1], recall)?;
        }
    }
}

fn on_burn(scene: &Scene) -> (Tensor<3>, BurnTarget) {
    let shape = [scene.samples, scene.classes, scene.pixels];
    let logits = TensorData::new(scene.logits.clone(), shape);
    let logits = Tensor::<3>::from_data(logits, (&Device::flex().autodiff(), DType::F64));
    let labels = TensorData::new(scene.labels.clone(), [scene.samples, scene.pixels]);
    let labels = Tensor::<2, Int>::from_data(labels, (&Device::flex(), DType::I64));
    (logits.require_grad(), BurnTarget::labels(labels))
}

/// Gradients of value, matching, size and constant of a loss of one term.
fn gradients(scene: &Scene, text: &str, path: Path) -> [Vec<f64>; 4] {
    [0, 1, 2, 3].map(|part| {
        let (logits, target) = on_burn(scene);
        let out = Scene::loss(text).forward_by(path, logits.clone(), &target).expect("a loss that fits");
        let term = &out.terms[0];
        let split = term.split.as_ref().expect("a term that splits");
        let part = [&term.value, &split.matching, &split.size, &split.constant][part].clone();
        // Along ordinary operations the constant is no part of the graph.
        let gradients = (part + term.value.clone() * 0.0).backward();
        let none = || vec![0.0; scene.logits.len()];
        logits.grad(&gradients).map_or_else(none, |gradient| gradient.into_data().try_into_vec().expect("f64"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..config() })]

    #[test]
    fn the_gradient_splits_the_same_way(scene in scenes()) {
        for path in [Path::Fused, Path::Operations] {
            for text in ["ce", "ce(pooling=sample, label_smoothing=0.1)", "dice(form=log)", "tversky(form=log, alpha=0.3, beta=0.7)"] {
                let [value, matching, size, constant] = gradients(&scene, text, path);
                let sum: Vec<f64> = matching.iter().zip(&size).map(|(m, s)| m + s).collect();
                agree_all(text, &value, &sum)?;
                prop_assert!(constant.iter().all(|g| *g == 0.0), "{text}: the constant has a gradient");
            }
        }
    }
}
