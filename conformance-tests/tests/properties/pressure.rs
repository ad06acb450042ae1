//! Size pressure: a slope along the shift of a class, whatever the loss.

use conformance_tests::Input;
use conformance_tests::oracle::Target;
use loss_core::expr::{Expr, Scalar};
use loss_core::{Loss, Pressure, RegionSizePenalty, RegionSizes, Temperature, penalty};
use proptest::prelude::*;

use crate::scene::{Scene, config, scenes};

/// A user's term: proportions above a cap cost the square of what is above.
struct SizeCap;

impl RegionSizePenalty for SizeCap {
    fn penalty(&self, sizes: &RegionSizes) -> Expr<Scalar> {
        (sizes.predicted(Temperature::ONE) - 0.2).relu().squared().sum_classes().mean_samples()
    }
}

/// Every built-in term with options of its own, and a user's.
fn losses() -> Vec<Loss> {
    let texts = [
        "ce",
        "ce(pooling=sample, label_smoothing=0.1)",
        "ce(activation=sigmoid)",
        "focal",
        "focal(activation=softmax, gamma=1.5)",
        "log_recall",
        "topk",
        "dice",
        "dice(form=log)",
        "gdice(activation=softmax)",
        "jaccard",
        "tversky(alpha=0.3, beta=0.7)",
        "l1",
        "kl",
        "db",
        "boundary",
        "ce + 0.5 * dice - 0.25 * kl(temperature=1)",
    ];
    texts.iter().map(|text| Scene::loss(text)).chain([penalty(SizeCap).with_ignore_index(crate::scene::IGNORED)]).collect()
}

fn pressure(loss: &Loss, input: &Input) -> Pressure {
    use backend_ndarray::{NdarrayLoss, Target as Labels};
    let [samples, classes, pixels] = input.lengths();
    let logits = ndarray::Array3::from_shape_vec([samples, classes, pixels], input.logits.clone()).unwrap();
    let Target::Labels(labels) = &input.target else { unreachable!("scenes have labels") };
    let labels = ndarray::Array2::from_shape_vec([samples, pixels], labels.clone()).unwrap();
    loss.pressure(logits.view(), &Labels::labels(labels.view())).unwrap()
}

/// The scene with a class's logits shifted.
fn shifted(scene: &Scene, class: usize, by: f64) -> Scene {
    let mut scene = scene.clone();
    let (pixels, classes) = (scene.pixels, scene.classes);
    for (plane, logits) in scene.logits.chunks_mut(pixels).enumerate() {
        if plane % classes == class {
            logits.iter_mut().for_each(|z| *z += by);
        }
    }
    scene
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn of_cross_entropy_it_is_predicted_less_true(scene in scenes()) {
        let (pressure, sums) = (pressure(&Scene::loss("ce"), &scene.input()), scene.sums());
        for k in 0..scene.classes {
            let lacks = if sums.valid == 0.0 { 0.0 } else { (sums.predicted[k] - sums.target[k]) / sums.valid };
            prop_assert!((pressure.total[k] - lacks).abs() < 1e-12, "{k}: {} and {lacks}", pressure.total[k]);
        }
    }

    #[test]
    fn under_softmax_the_classes_add_up_to_zero(scene in scenes()) {
        for loss in losses().iter().filter(|loss| !loss.to_string().contains("sigmoid")) {
            let pressure = pressure(loss, &scene.input());
            for (term, name) in pressure.terms.iter().zip(loss.to_string().split(" + ")) {
                if name.starts_with("focal") && !name.contains("softmax") {
                    continue;
                }
                let size: f64 = term.iter().map(|s| s.abs()).sum();
                prop_assert!(term.iter().sum::<f64>().abs() <= 1e-12 * size.max(1.0), "{loss}: {term:?}");
            }
        }
    }

    #[test]
    fn it_is_the_slope_along_a_shift(scene in scenes()) {
        const STEP: f64 = 1e-5;
        for loss in losses() {
            // The hardest pixels change along the shift, and the map that marks them is held.
            if loss.to_string().contains("topk") {
                continue;
            }
            let pressure = pressure(&loss, &scene.input());
            for k in 0..scene.classes {
                let [below, above] = [-STEP, STEP].map(|by| shifted(&scene, k, by).try_run(&loss).unwrap().total);
                let [less, more] = [-STEP, STEP].map(|by| {
                    self::pressure(&loss, &shifted(&scene, k, by).input()).total[k]
                });
                let slope = (above - below) / (2.0 * STEP);
                // A kink (l1, relu) has slopes on both sides; the truth lies between them.
                let [low, high] = [less.min(more), less.max(more)];
                let slack = 1e-6 * slope.abs().max(1.0);
                prop_assert!(slope >= low - slack && slope <= high + slack, "{loss}, {k}: {slope}, not {}", pressure.total[k]);
                prop_assert!((less..=more).contains(&pressure.total[k]) || (slope - pressure.total[k]).abs() < 1e-4, "{loss}, {k}: {slope}, not {}", pressure.total[k]);
            }
        }
    }
}
