//! The bounds of theory.

use proptest::prelude::*;

use crate::scene::{IGNORED, Scene, agree, config, scenes};

/// What rounding may take from an inequality.
const SLACK: f64 = 1e-12;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn jensen_the_matching_of_dice_is_below_the_cross_entropy_of_the_class(scene in scenes()) {
        let sums = scene.sums();
        for k in sums.present() {
            let matching = scene.parts(&format!("dice(form=log, classes=[{k}])"))[1];
            prop_assert!(matching <= -sums.log[k] / sums.target[k] + SLACK, "{matching} > {}", -sums.log[k] / sums.target[k]);
        }
    }

    #[test]
    fn linear_dice_is_below_logarithmic_dice(scene in scenes()) {
        for k in scene.sums().present() {
            let linear = scene.parts(&format!("dice(classes=[{k}])"))[0];
            let log = scene.parts(&format!("dice(form=log, classes=[{k}])"))[0];
            // With x = 1 − D: −log(1 − x) ≥ x + x²/2, so they meet only at D = 1.
            prop_assert!(log >= linear + linear * linear / 2.0 - SLACK, "{linear} and {log}");
        }
    }

    #[test]
    fn pinsker_and_zero_only_where_sizes_match(scene in scenes()) {
        let sums = scene.sums();
        prop_assume!(sums.valid > 0.0);
        let distance: f64 = (0..scene.classes).map(|k| (sums.predicted_share(k) - sums.true_share(k)).abs()).sum();
        let options = "temperature=1, pooling=batch, epsilon=0";
        let divergence = scene.parts(&format!("kl({options})"))[0];
        let l1 = scene.parts(&format!("l1({options})"))[0];
        agree("KL", divergence, sums.divergence())?;
        agree("L1", l1, distance / scene.classes as f64)?;
        prop_assert!(divergence >= 0.5 * distance * distance - SLACK, "{divergence} < ½·{distance}²");
        prop_assert!(divergence >= -SLACK && l1 >= 0.0);
        if distance > 1e-5 {
            prop_assert!(divergence > 0.0 && l1 > 0.0);
        }
    }

    #[test]
    fn penalties_vanish_at_matching_sizes(shares in prop::collection::vec(0.05..1.0f64, 2..5), pixels in 1..6usize) {
        // Every pixel is predicted as the same mixture, and the target is that mixture.
        let total: f64 = shares.iter().sum();
        let shares: Vec<f64> = shares.iter().map(|share| share / total).collect();
        let logits = shares.iter().flat_map(|share| vec![share.ln(); pixels]).collect();
        let scene = Scene { samples: 1, classes: shares.len(), pixels, logits, labels: vec![0; pixels] };
        for name in ["kl", "l1"] {
            let out = scene.run(&format!("{name}(temperature=1, target={shares:?})"));
            prop_assert!(out.total.abs() < 1e-9, "{name}: {}", out.total);
            let other: Vec<f64> = shares.iter().rev().copied().collect();
            let apart: f64 = shares.iter().zip(&other).map(|(a, b)| (a - b).abs()).sum();
            let moved = scene.run(&format!("{name}(temperature=1, target={other:?})")).total;
            prop_assert!(apart < 1e-3 || moved > 1e-8, "{name}: {moved} at sizes {apart} apart");
        }
    }

    #[test]
    fn cross_entropy_is_its_lower_bound_with_the_mutual_information(scene in scenes()) {
        // CE ≥ H + KL − Î, where Î is the matching part with its sign turned: an equality.
        let sums = scene.sums();
        prop_assume!(sums.valid > 0.0);
        let [value, matching, ..] = scene.parts("ce");
        let information = -matching;
        agree("CE", value, sums.entropy() + sums.divergence() - information)?;
    }

    #[test]
    fn the_size_part_of_dice_is_least_at_a_corner(shares in prop::collection::vec(0.0..1.0f64, 3), truth in prop::collection::vec(0.01..1.0f64, 3)) {
        let normal = |values: &[f64]| { let sum: f64 = values.iter().sum(); values.iter().map(|v| v / sum).collect::<Vec<_>>() };
        let (shares, truth) = (normal(&shares), normal(&truth));
        let bias = |share: &[f64]| {
            let logits = share.iter().map(|p| p.max(1e-300).ln()).collect();
            let scene = Scene { samples: 1, classes: 3, pixels: 1, logits, labels: vec![0] };
            scene.run(&format!("db(temperature=1, target={truth:?})")).total
        };
        let corner = |k: usize| [0, 1, 2].map(|j| f64::from(u8::from(j == k)));
        let least = (0..3).map(|k| bias(&corner(k))).fold(f64::INFINITY, f64::min);
        prop_assert!(bias(&shares) >= least - 1e-9, "{} < {least}", bias(&shares));
        // Cross-Entropy's own is least at the true sizes instead.
        let divergence = |share: &[f64]| truth.iter().zip(share).map(|(t, p)| -t * p.ln()).sum::<f64>();
        prop_assert!(divergence(&shares) >= divergence(&truth) - SLACK);
    }

    #[test]
    fn softmax_gradients_sum_to_zero_and_ignored_ones_are_zero(scene in scenes()) {
        for text in ["ce", "focal(activation=softmax)", "dice", "gdice(activation=softmax)", "l1", "kl", "db", "log_recall(temperature=3)"] {
            let out = scene.run(text);
            for (i, &label) in scene.labels.iter().enumerate() {
                let of_pixel: Vec<f64> =
                    (0..scene.classes).map(|k| out.gradient[scene.at(i / scene.pixels, k, i % scene.pixels)]).collect();
                let size: f64 = of_pixel.iter().map(|g| g.abs()).sum();
                prop_assert!(of_pixel.iter().sum::<f64>().abs() <= 1e-14 * size.max(1.0), "{text}: {of_pixel:?}");
                if label == IGNORED {
                    prop_assert!(of_pixel.iter().all(|g| *g == 0.0), "{text}: {of_pixel:?} at an ignored pixel");
                }
            }
        }
    }
}
