//! What holds for any rows, and brute force on few differences.

use proptest::prelude::*;
use segloss_study::{
    Comparison, Design, Direction, Effect, Failure, Interval, Metric, Options, Plan, Row, Run, Spread, Study, Verdict,
    Wilcoxon, holm,
};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Rows of three losses, whose scores are whole numbers over 64: sums of them are exact.
#[derive(Clone, Debug)]
struct Scene {
    rows: Vec<Row>,
    failures: Vec<Failure>,
    margin: Option<f64>,
    options: Options,
}

const LOSSES: [&str; 3] = ["a", "b", "c"];

fn scenes() -> impl Strategy<Value = Scene> {
    let shape = (1..6_u64, 1..10_usize, any::<bool>(), any::<bool>());
    let how = (prop::option::of(1..40_u32), prop_oneof![Just(None), (0..9_u64).prop_map(Some)], -40..40_i32);
    (shape, how).prop_flat_map(|((seeds, images, nested, drawn), (margin, failing, gain))| {
        let cells = seeds as usize * images * LOSSES.len();
        prop::collection::vec((-12..13_i32, 0..8_u8), cells).prop_map(move |scores| {
            let (mut rows, mut failures, mut scores) = (Vec::new(), Vec::new(), scores.into_iter());
            for loss in LOSSES {
                for seed in 0..seeds {
                    let run = Run { condition: "one".to_owned(), loss: loss.to_owned(), seed };
                    let of_run: Vec<(i32, u8)> = scores.by_ref().take(images).collect();
                    if loss == "b" && Some(seed) == failing {
                        failures.push(Failure { run, reason: "diverged".to_owned() });
                        continue;
                    }
                    for (image, (score, missing)) in of_run.into_iter().enumerate() {
                        let image = if nested { format!("{seed}/{image}") } else { image.to_string() };
                        let gain = if loss == "a" { gain } else { 0 };
                        let score = (missing > 0).then(|| f64::from(score + gain) / 64.0);
                        rows.push(Row { run: run.clone(), image, scores: vec![score] });
                    }
                }
            }
            let design = Some(if nested { Design::Nested } else { Design::Crossed });
            let interval = if drawn { Interval::Bootstrap { resamples: 100, seed: 3 } } else { Interval::Variances };
            let margin = margin.map(|margin| f64::from(margin) / 64.0);
            Scene { rows, failures, margin, options: Options { design, interval, ..Options::default() } }
        })
    })
}

impl Scene {
    fn study(&self) -> Study {
        let metric = Metric { margin: self.margin, ..Metric::new("m", Direction::Larger) };
        Study::new(vec![metric], self.rows.clone(), self.failures.clone()).unwrap()
    }

    fn all(&self) -> Vec<Comparison> {
        self.study().compare_all("m", &self.options).unwrap()
    }

    fn with(&self, reference: &str) -> Vec<Comparison> {
        self.study().compare("m", reference, &self.options).unwrap()
    }

    fn changed(&self, change: impl Fn(f64) -> f64) -> Self {
        let mut changed = self.clone();
        changed.rows.iter_mut().flat_map(|row| row.scores.iter_mut().flatten()).for_each(|score| *score = change(*score));
        changed
    }
}

/// Rounding of sums of up to 100 terms of at most 1.
fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_rows_does_not_matter(scene in scenes(), order in prop::collection::vec(any::<u32>(), 200)) {
        let mut other = scene.clone();
        let mut keyed: Vec<(u32, Row)> = order.into_iter().cycle().zip(other.rows).collect();
        keyed.sort_by_key(|(key, _)| *key);
        other.rows = keyed.into_iter().rev().map(|(_, row)| row).collect();
        other.failures.reverse();
        prop_assert_eq!(scene.all(), other.all());
        let means = |scene: &Scene| scene.study().means("m", &scene.options).unwrap();
        prop_assert_eq!(means(&scene), means(&other));
    }

    #[test]
    fn losses_may_change_places(scene in scenes()) {
        // By variances: what is drawn has no reason to be symmetric.
        let scene = Scene { options: Options { interval: Interval::Variances, ..scene.options }, ..scene };
        let find = |reference: &str, loss: &str| scene.with(reference).into_iter().find(|one| one.loss == loss).unwrap();
        let (one, other) = (find("a", "b"), find("b", "a"));
        prop_assert_eq!(one.mean_difference, other.mean_difference.map(|mean| 0.0 - mean));
        prop_assert_eq!(one.interval, other.interval.map(|[low, high]| [0.0 - high, 0.0 - low]));
        prop_assert_eq!(one.spread, other.spread);
        prop_assert_eq!((one.wilcoxon.above, one.wilcoxon.below), (other.wilcoxon.below, other.wilcoxon.above));
        prop_assert_eq!(one.wilcoxon.p, other.wilcoxon.p);
        prop_assert_eq!(one.effect.rank_biserial, other.effect.rank_biserial.map(|r| 0.0 - r));
        prop_assert_eq!((one.left_out.loss, &one.failed), (other.left_out.reference, &other.failed_reference));
        // Holm's correction is over other pairs: a verdict may be withheld, but not turned.
        let says = |one: &Comparison| [matches!(one.verdict, Verdict::Better { .. }), matches!(one.verdict, Verdict::Worse { .. })];
        let ([better, worse], [also_better, also_worse]) = (says(&one), says(&other));
        prop_assert!(!(better && also_better || worse && also_worse));
    }

    #[test]
    fn scores_may_be_shifted_and_doubled(scene in scenes(), shift in -100..100_i32, power in -3..4_i32) {
        prop_assert_eq!(scene.all(), scene.changed(|score| score + f64::from(shift)).all());
        let factor = 2f64.powi(power);
        let mut doubled = scene.changed(|score| score * factor);
        doubled.margin = scene.margin.map(|margin| margin * factor);
        for (one, other) in scene.all().into_iter().zip(doubled.all()) {
            prop_assert_eq!(one.mean_difference.map(|mean| mean * factor), other.mean_difference);
            prop_assert_eq!(one.interval.map(|ends| ends.map(|end| end * factor)), other.interval);
            prop_assert_eq!((one.wilcoxon, one.effect), (other.wilcoxon, other.effect));
            prop_assert_eq!(one.verdict.is_difference(), other.verdict.is_difference());
        }
    }

    #[test]
    fn a_verdict_does_not_contradict_its_numbers(scene in scenes()) {
        for comparison in scene.all() {
            let text = comparison.to_string();
            prop_assert!(!text.is_empty() && !text.contains("NaN") && !text.contains("inf"), "{}", text);
            let (is_better, is_worse) = (
                matches!(comparison.verdict, Verdict::Better { .. }),
                matches!(comparison.verdict, Verdict::Worse { .. }),
            );
            if let Some([low, high]) = comparison.interval {
                prop_assert!(low <= high);
                prop_assert!(!is_better || low > 0.0 && comparison.p_holm <= 0.05);
                prop_assert!(!is_worse || high < 0.0 && comparison.p_holm <= 0.05);
                if let Verdict::NoLargerThan { difference, is_margin, .. } = comparison.verdict {
                    prop_assert!(-difference <= low && high <= difference);
                    prop_assert!(is_margin == scene.margin.is_some());
                    prop_assert!(is_margin || low <= 0.0 && high >= 0.0);
                }
            } else {
                prop_assert!(matches!(comparison.verdict, Verdict::NotEnough(_)), "{:?}", comparison.verdict);
            }
            if comparison.failed.len() > comparison.failed_reference.len() {
                prop_assert!(!is_better);
            }
            prop_assert!(comparison.p_holm >= comparison.wilcoxon.p);
        }
    }

    #[test]
    fn the_closed_form_is_around_the_mean_and_wider_at_a_higher_level(scene in scenes()) {
        let at = |level| {
            let options = Options { level, interval: Interval::Variances, ..scene.options };
            scene.study().means("m", &options).unwrap()
        };
        for (usual, higher) in at(0.95).into_iter().zip(at(0.99)) {
            let (Some([low, high]), Some([lower, higher]), Some(mean)) = (usual.interval, higher.interval, usual.mean) else {
                prop_assert!(usual.interval.is_none() && higher.interval.is_none());
                continue;
            };
            prop_assert!(close((low + high) / 2.0, mean));
            prop_assert!(lower <= low && high <= higher);
            prop_assert!(lower < low || low == high);
        }
    }

    /// What leaves out 0 would do so by a t-test over images, if images were all there is to it.
    #[test]
    fn the_closed_form_is_not_narrower_than_of_images_alone(scene in scenes()) {
        let scene = Scene { options: Options { interval: Interval::Variances, ..scene.options }, ..scene };
        for comparison in scene.all() {
            let (Some([low, high]), Some(d_z)) = (comparison.interval, comparison.effect.d_z) else { continue };
            if comparison.design == Design::Crossed && (low > 0.0 || high < 0.0) {
                let n = comparison.images as f64;
                let quantile = StudentsT::new(0.0, 1.0, n - 1.0).unwrap().inverse_cdf(0.975);
                prop_assert!(d_z.abs() * n.sqrt() >= quantile * (1.0 - 1e-9), "{}", comparison);
            }
        }
    }

    #[test]
    fn more_seeds_and_larger_differences_are_found_more_often(
        seeds in 2..12_usize, images in 6..30_usize, comparisons in 1..4_usize, of in prop::array::uniform3(0.0..1.0_f64),
        difference in 0.0..3.0_f64, nested in any::<bool>(),
    ) {
        let design = if nested { Design::Nested } else { Design::Crossed };
        let spread = Spread { design, seeds: of[0], images: if nested { 0.0 } else { of[1] }, rest: of[2] };
        let plan = Plan { seeds, images, comparisons, level: 0.95 };
        let power = spread.power(difference, &plan);
        let with = |seeds| spread.power(difference, &Plan { seeds, ..plan });
        let one_more = spread.power(difference, &Plan { comparisons: comparisons + 1, ..plan });
        prop_assert!((0.0..=1.0 + 1e-12).contains(&power));
        // Rounding of the integral.
        prop_assert!(spread.power(difference * 1.5, &plan) >= power - 1e-4);
        prop_assert!(one_more <= power + 1e-4);
        prop_assert!(spread.power(-difference, &plan) == power);
        if let Some(needed) = spread.seeds_needed(difference, 0.8, &plan) {
            prop_assert!(with(needed) >= 0.8);
            prop_assert!(needed == 2 || with(needed - 1) < 0.8);
        }
    }

    #[test]
    fn wilcoxons_p_is_what_all_signs_give(differences in prop::collection::vec(-6..7_i32, 0..13)) {
        let differences: Vec<f64> = differences.into_iter().map(f64::from).collect();
        let test = Wilcoxon::of(&differences);
        let sizes: Vec<f64> = differences.iter().filter(|d| **d != 0.0).map(|d| d.abs()).collect();
        let rank = |size: &f64| {
            let (below, equal) = (sizes.iter().filter(|s| *s < size).count(), sizes.iter().filter(|s| *s == size).count());
            below as f64 + (equal as f64 + 1.0) / 2.0
        };
        let ranks: Vec<f64> = sizes.iter().map(rank).collect();
        let sum = |signs: u32| (0..ranks.len()).filter(|i| signs >> i & 1 == 1).map(|i| ranks[i]).sum::<f64>();
        let all = 1_u32 << ranks.len();
        let small = (0..all).filter(|&signs| sum(signs) <= test.statistic).count();
        prop_assert!(test.exact);
        prop_assert_eq!(test.p, (2.0 * small as f64 / f64::from(all)).min(1.0));
        prop_assert_eq!(test.above + test.below, ranks.iter().sum::<f64>());
        prop_assert_eq!((test.differences, test.zeros), (ranks.len(), differences.len() - ranks.len()));
        let negated: Vec<f64> = differences.iter().map(|d| -d).collect();
        prop_assert_eq!(Wilcoxon::of(&negated).above, test.below);
        prop_assert_eq!(Effect::of(&negated).rank_biserial, Effect::of(&differences).rank_biserial.map(|r| 0.0 - r));
    }

    #[test]
    fn holms_correction_keeps_the_order_and_is_between_none_and_bonferronis(p in prop::collection::vec(0.0..1.0_f64, 0..12)) {
        let corrected = holm(&p);
        prop_assert_eq!(corrected.len(), p.len());
        for (i, (&raw, &of)) in p.iter().zip(&corrected).enumerate() {
            prop_assert!(raw <= of && of <= (raw * p.len() as f64).min(1.0));
            prop_assert!(p.iter().zip(&corrected).all(|(&other, &of_other)| other <= raw || of_other >= of), "{i}");
        }
        let mut reversed = p.clone();
        reversed.reverse();
        let mut back = holm(&reversed);
        back.reverse();
        prop_assert_eq!(back, corrected);
    }
}
