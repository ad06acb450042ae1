//! The numbers of scipy and statsmodels on the same scores: golden/make.py.

use segloss_study::{Design, Direction, Effect, Metric, Options, Plan, Row, Run, Spread, Study, Wilcoxon, holm};
use serde_json::Value;

/// Both round sums of up to some hundred terms.
const F64: f64 = 1e-12;
/// The error function of statrs is off by up to 1.03e-10 of its value: measured at steps of 0.01
/// of the normal distribution.
const NORMAL: f64 = 1.1e-10;
/// Least squares here end where a sweep gains less than 1e-9 of the sum of squares.
const SQUARES: f64 = 1e-8;
/// Integrals over 13 to 84 points, of steps as steep as a difference of 70 standard errors makes.
const INTEGRAL: f64 = 1e-4;

/// The rule of make.py.
fn noise(seed: u64, index: u64) -> f64 {
    let mut x = (index * 2_654_435_761 + seed * 40_503 + 12_345) & 0xffff_ffff;
    for _ in 0..2 {
        x ^= x >> 16;
        x = (x * 0x045d_9f3b) & 0xffff_ffff;
    }
    x ^= x >> 16;
    x as f64 / 4_294_967_296.0
}

fn differences(kind: u64, n: u64) -> Vec<f64> {
    let difference = |i: u64| {
        let mut d = noise(4 * n + kind, i) - 0.375;
        if kind % 2 == 1 {
            d = (8.0 * d).floor() / 8.0;
            if kind == 1 && d == 0.0 {
                d = 0.125;
            }
        }
        if kind >= 2 && i % 5 == 2 { 0.0 } else { d }
    };
    (0..n).map(difference).collect()
}

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/golden.json")).unwrap()
}

fn cases(name: &str) -> Vec<Value> {
    golden()[name].as_array().unwrap().clone()
}

fn number(case: &Value, name: &str) -> f64 {
    case[name].as_f64().unwrap()
}

fn close(ours: f64, theirs: f64, tolerance: f64, what: &dyn std::fmt::Debug) {
    assert!((ours - theirs).abs() <= tolerance * theirs.abs().max(1e-3), "{what:?}: {ours} {theirs}");
}

#[test]
fn wilcoxon_has_scipys_numbers() {
    let cases = cases("wilcoxon");
    // 60 of each kind, but one of a single 0.
    assert_eq!(cases.len(), 239);
    let (mut exact, mut exact_with_ties, mut normal) = (0, 0, 0);
    for case in &cases {
        let (kind, n) = (case["kind"].as_u64().unwrap(), case["n"].as_u64().unwrap());
        let differences = differences(kind, n);
        let test = Wilcoxon::of(&differences);
        assert_eq!(test.statistic, number(case, "statistic"), "{kind} {n}");
        close(test.p, number(case, "p"), if test.exact { F64 } else { NORMAL }, case);
        let effect = Effect::of(&differences);
        close(effect.rank_biserial.unwrap(), number(case, "rank_biserial"), F64, case);
        match case["d_z"].as_f64() {
            Some(theirs) => close(effect.d_z.unwrap(), theirs, F64, case),
            None => assert_eq!(effect.d_z, None),
        }
        match (test.exact, kind) {
            (true, 0) => exact += 1,
            (true, _) => exact_with_ties += 1,
            (false, _) => normal += 1,
        }
    }
    assert_eq!((exact, normal), (50, 239 - 50 - exact_with_ties));
    assert!(exact_with_ties >= 3 * 12 && normal >= 100);
}

#[test]
fn holm_has_the_numbers_of_statsmodels() {
    let numbers = |value: &Value| value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<f64>>();
    let cases = cases("holm");
    assert_eq!(cases.len(), 6);
    for case in &cases {
        let (ours, theirs) = (holm(&numbers(&case["p"])), numbers(&case["corrected"]));
        assert_eq!(ours.len(), theirs.len());
        ours.into_iter().zip(theirs).for_each(|(ours, theirs)| close(ours, theirs, F64, case));
    }
}

fn table(design: Design, seeds: u64, images: u64, missing: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for s in 0..seeds {
        for i in 0..images {
            let nested = design == Design::Nested;
            let of_image = noise(if nested { 900 + s } else { 900 }, i);
            let value = 0.02 * noise(901, s) + 0.1 * of_image + 0.05 * noise(902 + s, i);
            let score = if missing && noise(990 + s, i) < 0.15 { None } else { Some(value) };
            let image = if nested { format!("{s} {i}") } else { i.to_string() };
            for (loss, score) in [("a", score), ("zero", Some(0.0))] {
                let run = Run { condition: String::new(), loss: loss.to_owned(), seed: s };
                rows.push(Row { run, image: image.clone(), scores: vec![score] });
            }
        }
    }
    rows
}

#[test]
fn intervals_are_of_the_mean_squares_of_statsmodels() {
    let cases = cases("anova");
    assert_eq!(cases.len(), 6);
    for case in &cases {
        let design = if case["design"] == "crossed" { Design::Crossed } else { Design::Nested };
        let (seeds, images) = (case["seeds"].as_u64().unwrap(), case["images"].as_u64().unwrap());
        let rows = table(design, seeds, images, case["missing"].as_bool().unwrap());
        let study = Study::new(vec![Metric::new("score", Direction::Larger)], rows, vec![]).unwrap();
        let mean = &study.means("score", &Options::default()).unwrap()[0];
        let comparison = &study.compare("score", "zero", &Options::default()).unwrap()[0];
        assert_eq!((mean.design, mean.left_out), (design, (seeds * images) as usize - mean.scores));
        assert_eq!(case["missing"].as_bool().unwrap(), mean.left_out > 0);
        assert_eq!(comparison.left_out.loss, mean.left_out);
        // Against a loss that scores 0 the difference is the score.
        assert_eq!((mean.mean, mean.interval), (comparison.mean_difference, comparison.interval));
        assert_eq!(mean.spread, comparison.spread);

        let ([low, high], spread) = (mean.interval.unwrap(), mean.spread.unwrap());
        close(mean.mean.unwrap(), number(case, "mean"), F64, case);
        close((high - low) / 2.0, number(case, "half"), SQUARES, case);
        close(spread.seeds, number(case, "sd_seeds"), SQUARES, case);
        close(spread.images, number(case, "sd_images"), SQUARES, case);
        close(spread.rest, number(case, "sd_rest"), SQUARES, case);
    }
}

#[test]
fn power_of_seeds_alone_is_that_of_scipys_noncentral_t() {
    let cases = cases("power");
    assert_eq!(cases.len(), 72);
    for case in &cases {
        let seeds = case["seeds"].as_u64().unwrap() as usize;
        for design in [Design::Crossed, Design::Nested] {
            let spread = Spread { design, seeds: 1.0, images: 0.0, rest: 0.0 };
            // So many images, without spread, that the test is never in the way.
            let plan = Plan { seeds, images: 60, comparisons: 1, level: number(case, "level") };
            let power = spread.power(number(case, "effect"), &plan);
            assert!((power - number(case, "power")).abs() <= INTEGRAL, "{case}: {power}");
        }
    }
}
