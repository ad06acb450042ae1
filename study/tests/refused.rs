//! What is refused, in which words.

use segloss_study::{Design, Direction, Failure, Interval, Metric, Options, Plan, Row, Run, Spread, Study, StudyError};

fn run(loss: &str, seed: u64) -> Run {
    Run { condition: "2 %".to_owned(), loss: loss.to_owned(), seed }
}

fn row(loss: &str, seed: u64, image: &str, scores: &[Option<f64>]) -> Row {
    Row { run: run(loss, seed), image: image.to_owned(), scores: scores.to_vec() }
}

fn dice() -> Vec<Metric> {
    vec![Metric::new("Dice", Direction::Larger)]
}

fn refused(rows: Vec<Row>, failures: Vec<Failure>) -> String {
    Study::new(dice(), rows, failures).unwrap_err().to_string()
}

#[test]
fn rows_that_do_not_fit_name_their_run_and_image() {
    assert_eq!(
        refused(vec![row("ce", 3, "07", &[])], vec![]),
        "0 scores for 1 metrics at condition \"2 %\", loss \"ce\", seed 3, image \"07\"; \
         expected one for each, None where there is none"
    );
    for value in [f64::NAN, f64::INFINITY, -1.1e100] {
        assert_eq!(
            refused(vec![row("ce", 3, "07", &[Some(value)])], vec![]),
            format!(
                "Dice {value} at condition \"2 %\", loss \"ce\", seed 3, image \"07\"; \
                 expected a number within ±1e100, or None where there is no score"
            )
        );
    }
    assert_eq!(
        refused(vec![row("ce", 3, "07", &[None]), row("ce", 3, "07", &[None])], vec![]),
        "two rows for condition \"2 %\", loss \"ce\", seed 3, image \"07\"; \
         expected one: are images named by their seed alone?"
    );
}

#[test]
fn a_run_fails_once_and_without_scores() {
    let failure = || Failure { run: run("ce", 3), reason: "diverged".to_owned() };
    let expected = "; expected one failure and no row for a run that failed";
    assert_eq!(
        refused(vec![row("ce", 3, "07", &[None])], vec![failure()]),
        format!("condition \"2 %\", loss \"ce\", seed 3 is said to have failed, and has scores{expected}")
    );
    assert_eq!(
        refused(vec![], vec![failure(), failure()]),
        format!("condition \"2 %\", loss \"ce\", seed 3 is said to have failed, twice{expected}")
    );
}

#[test]
fn names_that_are_not_there_come_with_those_that_are() {
    let study = Study::new(dice(), vec![row("ce", 0, "07", &[None]), row("dice", 0, "07", &[None])], vec![]).unwrap();
    let options = Options::default();
    let metric = "metric \"dice\" is not there; expected one of [\"Dice\"]";
    assert_eq!(study.compare("dice", "ce", &options).unwrap_err().to_string(), metric);
    assert_eq!(study.means("dice", &options).unwrap_err().to_string(), metric);
    assert_eq!(
        study.compare("Dice", "topk", &options).unwrap_err().to_string(),
        "loss \"topk\" is not there in condition \"2 %\"; expected one of [\"ce\", \"dice\"]"
    );
    let twice = Study::new([dice(), dice()].concat(), vec![], vec![]).unwrap_err();
    assert_eq!(twice.to_string(), "two metrics are named \"Dice\"; expected a name for each");
    assert_eq!(study.losses("8 %").count(), 0);
}

#[test]
fn images_that_some_seeds_share_need_a_word_on_the_design() {
    let rows = vec![row("ce", 0, "07", &[Some(0.5)]), row("ce", 0, "08", &[Some(0.6)]), row("ce", 1, "07", &[Some(0.7)])];
    let study = Study::new(dice(), rows, vec![]).unwrap();
    assert_eq!(
        study.means("Dice", &Options::default()).unwrap_err().to_string(),
        "condition \"2 %\": image \"07\" is there with several seeds and image \"08\" is not with seed 1; \
         state the design: crossed (the images are the same, some scores are missing) \
         or nested (each seed has its own)"
    );
    for (design, mean, images) in [(Design::Crossed, (0.6 + 0.6) / 2.0, 2), (Design::Nested, (0.55 + 0.7) / 2.0, 3)] {
        let options = Options { design: Some(design), ..Options::default() };
        let of = &study.means("Dice", &options).unwrap()[0];
        assert!((of.mean.unwrap() - mean).abs() < 1e-12);
        assert_eq!((of.design, of.images, of.scores), (design, images, 3));
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let refused = |options: Options| options.check().unwrap_err().to_string();
    for level in [0.0, 0.49, 1.0, f64::NAN] {
        let expected = format!("level of intervals {level}: expected a number from 0.5 to 0.9999, such as 0.95");
        assert_eq!(refused(Options { level, ..Options::default() }), expected);
    }
    for power in [0.0, 1.0, f64::NAN] {
        let expected = format!("power {power}: expected a number above 0 and up to 0.9999, such as 0.8");
        assert_eq!(refused(Options { power, ..Options::default() }), expected);
    }
    let interval = Interval::Bootstrap { resamples: 99, seed: 0 };
    let expected = "resamples 99: expected a number from 100 to 1000000";
    assert_eq!(refused(Options { interval, ..Options::default() }), expected);
    let study = Study::new(dice(), vec![], vec![]).unwrap();
    assert_eq!(study.means("Dice", &Options { interval, ..Options::default() }).unwrap_err().to_string(), expected);
    for margin in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let expected = format!("margin {margin}: expected a finite number above 0, in the metric's unit");
        assert_eq!(dice()[0].clone().with_margin(margin).unwrap_err().to_string(), expected);
        let given = Metric { margin: Some(margin), ..dice()[0].clone() };
        assert_eq!(Study::new(vec![given], vec![], vec![]).unwrap_err().to_string(), expected);
    }
}

/// No panic, and no NaN.
#[test]
fn what_makes_no_sense_has_no_power() {
    let spread = Spread { design: Design::Crossed, seeds: 0.01, images: 0.0, rest: 0.1 };
    let plan = Plan { seeds: 4, images: 40, comparisons: 1, level: 0.95 };
    assert!(spread.power(0.05, &plan) > 0.9);
    for level in [f64::NAN, 0.0, 1.0, -1.0, 2.0] {
        assert_eq!(spread.power(0.05, &Plan { level, ..plan }), 0.0);
        assert_eq!(spread.seeds_needed(0.05, 0.8, &Plan { level, ..plan }), None);
    }
    for size in [f64::NAN, f64::INFINITY] {
        assert_eq!(spread.power(size, &plan), 0.0);
        assert_eq!(Spread { rest: size, ..spread }.power(0.05, &plan), 0.0);
    }
    for (seeds, images) in [(0, 40), (1, 40), (4, 0), (4, 1)] {
        assert_eq!(spread.power(0.05, &Plan { seeds, images, ..plan }), 0.0);
    }
    for design in [Design::Crossed, Design::Nested] {
        let all = Plan { seeds: usize::MAX, images: usize::MAX, comparisons: usize::MAX, level: 0.95 };
        let power = Spread { design, ..spread }.power(0.05, &all);
        assert!((0.0..=1.0).contains(&power), "{power}");
    }
    let comparisons = Plan { comparisons: 0, ..plan };
    assert_eq!(spread.power(0.05, &comparisons), spread.power(0.05, &plan));
}

#[test]
fn errors_cross_threads() {
    fn is<E: std::error::Error + Send + Sync + 'static>(_: &E) {}
    is(&Options { level: 2.0, ..Options::default() }.check().unwrap_err());
    let error: StudyError = Options { level: 2.0, ..Options::default() }.check().unwrap_err();
    assert_eq!(error, error.clone());
}
