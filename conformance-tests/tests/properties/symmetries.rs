//! What may not change a loss, and what its gradient is the slope of.

use loss_core::expr::Table;
use loss_core::{Activation, PRESETS, Plan, Probability, Side, Statistic, Temperature};
use loss_kernels::{Labels, Problem, Target};
use proptest::prelude::*;

use crate::scene::{IGNORED, Scene, agree, agree_all, config, scenes};

const LOSSES: [&str; 8] = [
    "ce(label_smoothing=0.1) + focal",
    "ce(pooling=sample) + l1 + kl",
    "dice + 0.5 * db",
    "dice(form=log, pooling=sample, absent=skip)",
    "tversky(alpha=0.3, beta=0.7) + jaccard(absent=count)",
    "gdice + gdice(weighting=simple, pooling=sample, form=log)",
    "log_recall(temperature=2, smooth=0.1)",
    "focal(activation=softmax, gamma=1.5) + dice(squared=true, smooth_numerator=1, smooth_denominator=1)",
];

fn all_losses() -> impl Iterator<Item = &'static str> {
    LOSSES.into_iter().chain(PRESETS.into_iter().map(|(name, _)| name))
}

/// A scene in another order: `old` says where each pixel's sample, class and pixel come from.
fn reordered(scene: &Scene, old: impl Fn(usize, usize, usize) -> (usize, usize, usize), label: impl Fn(i64) -> i64) -> Scene {
    let mut out = scene.clone();
    for n in 0..scene.samples {
        for s in 0..scene.pixels {
            for k in 0..scene.classes {
                let (m, j, t) = old(n, k, s);
                out.logits[scene.at(n, k, s)] = scene.logits[scene.at(m, j, t)];
                out.labels[n * scene.pixels + s] = label(scene.labels[m * scene.pixels + t]);
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..config() })]

    #[test]
    fn the_order_of_samples_classes_and_pixels_does_not_matter(scene in scenes()) {
        let (samples, classes, pixels) = (scene.samples, scene.classes, scene.pixels);
        let last = classes as i64 - 1;
        let mirror = |n, k, s| (samples - 1 - n, classes - 1 - k, pixels - 1 - s);
        let other = reordered(&scene, mirror, |label| if label == IGNORED { label } else { last - label });
        for text in all_losses() {
            let (a, b) = (scene.run(text), other.run(text));
            agree(text, a.total, b.total)?;
            let back = Scene { logits: b.gradient, ..other.clone() };
            agree_all(text, &a.gradient, &reordered(&back, mirror, |label| label).logits)?;
        }
    }

    #[test]
    fn a_shift_of_all_classes_changes_nothing_under_softmax(scene in scenes(), by in -50.0..50.0f64) {
        let shifted = Scene { logits: scene.logits.iter().map(|z| z + by).collect(), ..scene.clone() };
        let text = "ce + focal(activation=softmax) + dice + l1 + kl + db + log_recall";
        // Adding the shift rounds the logits to 1e-14, and the temperature of 10 sees ten times
        // that.
        let (a, b) = (scene.run(text), shifted.run(text));
        prop_assert!((a.total - b.total).abs() <= 1e-11 * a.total.abs().max(1.0), "{} and {}", a.total, b.total);
    }

    #[test]
    fn statistics_of_tiles_add_up(scene in scenes(), cut in 0..9usize) {
        prop_assume!(scene.pixels > 1);
        let cut = cut.clamp(1, scene.pixels - 1);
        let whole = statistics(&scene);
        let [left, right] = [0..cut, cut..scene.pixels].map(|range| {
            let pick = |values: &[f64]| values.chunks(scene.pixels).flat_map(|row| row[range.clone()].to_vec()).collect();
            let labels = scene.labels.chunks(scene.pixels).flat_map(|row| row[range.clone()].to_vec()).collect();
            Scene { pixels: range.len(), logits: pick(&scene.logits), labels, ..scene.clone() }
        });
        for ((whole, left), right) in whole.iter().zip(statistics(&left)).zip(statistics(&right)) {
            let sum: Vec<f64> = left.values().iter().zip(right.values()).map(|(a, b)| a + b).collect();
            agree_all("statistics", whole.values(), &sum)?;
        }
    }
}

proptest! {
    // Four losses per logit and case: dear.
    #![proptest_config(ProptestConfig { cases: 12, ..config() })]

    #[test]
    fn gradients_are_slopes(scene in scenes()) {
        for text in all_losses() {
            let gradient = scene.run(text).gradient;
            for (i, analytic) in gradient.iter().enumerate() {
                let at = |step: f64| {
                    let mut moved = scene.clone();
                    moved.logits[i] += step;
                    moved.run(text).total
                };
                let h = 2e-4;
                // Of fourth order: its own error is far below the tolerance.
                let slope = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
                prop_assert!((analytic - slope).abs() <= 2e-9 * analytic.abs().max(1.0), "{text} at {i}: {analytic} and {slope}");
            }
        }
    }
}

fn statistics(scene: &Scene) -> Vec<Table> {
    let softmax = Activation::Softmax;
    let wanted = [
        Statistic::VALID_SIZE,
        Statistic::TARGET_SIZE,
        Statistic::predicted_size(Probability::new(softmax, Temperature::ONE, Side::Region)),
        Statistic::intersection(Probability::new(softmax, Temperature::ONE, Side::Region)),
        Statistic::squared_mass(softmax),
        Statistic::log_likelihood(softmax, Side::Region),
    ];
    let plan = Plan::new(scene.classes, wanted).expect("statistics of one activation");
    let shape = [scene.samples, scene.classes, scene.pixels];
    let pixel_shape = [scene.samples, scene.pixels];
    let labels = Target::Labels(Labels::I64(&scene.labels));
    let problem = Problem::new(&shape, (labels, &pixel_shape), None, &[IGNORED], softmax).expect("shapes that fit");
    loss_kernels::statistics(&scene.logits, &problem, &plan).expect("finite logits")
}
