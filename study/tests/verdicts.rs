//! Verdicts and their sentences.

use segloss_study::{
    Comparison, Design, Direction, Failure, Interval, LeftOut, Metric, Options, Row, Run, Shortage, Study, Verdict,
};

fn run(loss: &str, seed: u64) -> Run {
    Run { condition: "small".to_owned(), loss: loss.to_owned(), seed }
}

/// Rows of `a` and `b`, where `b` scores 0.5 and `a` differs by what the function gives.
fn rows(seeds: u64, images: usize, difference: impl Fn(u64, usize) -> f64) -> Vec<Row> {
    let mut rows = Vec::new();
    for seed in 0..seeds {
        for image in 0..images {
            let mut push = |loss, score| {
                rows.push(Row { run: run(loss, seed), image: format!("{image:03}"), scores: vec![Some(score)] });
            };
            push("a", 0.5 + difference(seed, image));
            push("b", 0.5);
        }
    }
    rows
}

fn dice() -> Metric {
    Metric::new("Dice", Direction::Larger)
}

fn compare(metric: Metric, rows: Vec<Row>, failures: Vec<Failure>, options: &Options) -> Comparison {
    let name = metric.name.clone();
    let study = Study::new(vec![metric], rows, failures).unwrap();
    study.compare(&name, "b", options).unwrap().remove(0)
}

fn usual(metric: Metric, rows: Vec<Row>) -> Comparison {
    compare(metric, rows, vec![], &Options::default())
}

/// Spread by seeds and images whose sum over them is 0.
fn spread(seed: u64, image: usize) -> f64 {
    [-1.0, 1.0, -0.5, 0.5][seed as usize % 4] * 0.004 + [-1.0, 1.0][image % 2] * 0.01
}

/// What a gain of 0.03 is called, of each kind of metric.
#[test]
fn a_difference_goes_in_the_metrics_direction() {
    for (direction, gain, sentence) in [
        (Direction::Larger, 0.03, "better by 0.0300 m (95 % interval 0.0233 to 0.0367)"),
        (Direction::Larger, -0.03, "worse by 0.0300 m (95 % interval 0.0233 to 0.0367)"),
        (Direction::Smaller, -0.03, "better by 0.0300 m (95 % interval 0.0233 to 0.0367)"),
        (Direction::Smaller, 0.03, "worse by 0.0300 m (95 % interval 0.0233 to 0.0367)"),
        (Direction::Neither, 0.03, "larger by 0.0300 m (95 % interval 0.0233 to 0.0367)"),
        (Direction::Neither, -0.03, "smaller by 0.0300 m (95 % interval 0.0233 to 0.0367)"),
    ] {
        let comparison = usual(Metric::new("m", direction), rows(4, 40, |seed, image| gain + spread(seed, image)));
        assert_eq!(comparison.to_string(), sentence);
        assert!(comparison.verdict.is_difference());
        assert_eq!(comparison.mean_difference.unwrap().signum(), gain.signum());
        assert_eq!((comparison.design, comparison.seeds, comparison.images), (Design::Crossed, 4, 40));
        assert_eq!(comparison.effect.rank_biserial, Some(gain.signum()));
        assert_eq!(comparison.wilcoxon.statistic, 0.0);
    }
}

#[test]
fn a_difference_may_be_too_small_to_matter() {
    let small = rows(4, 40, |seed, image| 0.03 + spread(seed, image));
    let comparison = usual(dice().with_margin(0.05).unwrap(), small);
    assert!(matches!(comparison.verdict, Verdict::Better { within_margin: true, .. }));
    assert_eq!(
        comparison.to_string(),
        "better by 0.0300 Dice (95 % interval 0.0233 to 0.0367), too little to matter: within 0.05"
    );
}

#[test]
fn no_difference_says_up_to_which_size() {
    let none = || rows(4, 40, spread);
    assert_eq!(usual(dice(), none()).to_string(), "no difference larger than 0.0067 Dice (95 % interval -0.0067 to 0.0067)");
    let comparison = usual(dice().with_margin(0.01).unwrap(), none());
    assert!(matches!(comparison.verdict, Verdict::NoLargerThan { difference: 0.01, is_margin: true, .. }));
    assert_eq!(comparison.to_string(), "no difference larger than 0.01 Dice (95 % interval -0.0067 to 0.0067)");
    let equal = usual(dice(), rows(4, 40, |_, _| 0.0));
    assert_eq!(equal.to_string(), "no difference: all 160 pairs have equal Dice");
    assert_eq!((equal.interval, equal.wilcoxon.p, equal.effect.d_z), (Some([0.0, 0.0]), 1.0, None));
}

#[test]
fn a_wide_interval_says_how_many_runs_would_do() {
    let none = || rows(4, 40, spread);
    let comparison = usual(dice().with_margin(0.005).unwrap(), none());
    let Verdict::NotEnough(Shortage::Runs { power, seeds: Some(seeds), images: None, .. }) = comparison.verdict else {
        panic!("{:?}", comparison.verdict);
    };
    assert_eq!((power * 100.0).round(), 34.0);
    assert_eq!(seeds, 29);
    assert_eq!(
        comparison.to_string(),
        "not enough runs: the losses differ by 0.0000 Dice (95 % interval -0.0067 to 0.0067); \
         4 seeds of 40 images find 0.005 in 34 % of studies, 29 seeds in 80 %"
    );
    // With less of that power wanted, these runs are enough, and unlucky.
    let options = Options { power: 0.3, ..Options::default() };
    let unlucky = compare(dice().with_margin(0.005).unwrap(), none(), vec![], &options).to_string();
    assert!(unlucky.ends_with("in 34 % of studies, this one neither found it nor ruled it out"), "{unlucky}");
    // Images differ and seeds hardly do: seeds do not help.
    let of_images = rows(4, 12, |seed, image| [-0.1, 0.12][image % 2] + 1e-3 * spread(seed, image / 2));
    let comparison = usual(dice().with_margin(0.05).unwrap(), of_images);
    assert!(
        matches!(comparison.verdict, Verdict::NotEnough(Shortage::Runs { seeds: None, images: Some(46), .. })),
        "{:?}",
        comparison.verdict
    );
    assert!(comparison.to_string().ends_with(", 46 images in 80 %, no number of seeds does"));
}

/// 2/2^7 = 0.0156, six times that is above 0.05.
#[test]
fn so_few_images_that_no_p_is_small_enough() {
    let mut all = rows(4, 7, |seed, image| 0.1 + spread(seed, image));
    for other in 1..6 {
        let more = rows(4, 7, |seed, image| 0.1 + spread(seed, image + other)).into_iter().filter(|row| row.run.loss == "a");
        all.extend(more.map(|row| Row { run: run(&format!("a{other}"), row.run.seed), ..row }));
    }
    let study = Study::new(vec![dice()], all.clone(), vec![]).unwrap();
    let comparisons = study.compare("Dice", "b", &Options::default()).unwrap();
    assert_eq!(comparisons.len(), 6);
    for comparison in comparisons {
        assert_eq!((comparison.wilcoxon.p, comparison.p_holm), (2.0 / 128.0, 12.0 / 128.0));
        assert!(comparison.interval.unwrap()[0] > 0.0);
        assert!(!comparison.verdict.is_difference());
        assert_eq!(
            comparison.to_string(),
            "not enough images: with 7, no p can be below 0.094 after correction for 6 comparisons, \
             and 0.05 is asked for; 8 images would do"
        );
    }
    // Of one comparison, seven are enough.
    let one = all.into_iter().filter(|row| row.run.loss.len() == 1).collect();
    assert!(usual(dice(), one).verdict.is_difference());
    let five = usual(dice(), rows(4, 5, |seed, image| 0.1 + spread(seed, image)));
    assert_eq!(
        five.to_string(),
        "not enough images: with 5, no p can be below 0.062, and 0.05 is asked for; 6 images would do"
    );
    // A margin needs no test.
    let five = usual(dice().with_margin(0.05).unwrap(), rows(4, 5, |seed, _| spread(seed, 0) + 0.01));
    assert!(matches!(five.verdict, Verdict::NoLargerThan { is_margin: true, .. }), "{five}");
}

#[test]
fn where_the_test_does_not_agree_there_is_no_verdict() {
    // Eight images of 20 are far better and the others a little worse: a mean far above 0, and
    // signs and ranks that might be chance. Seeds do not differ.
    let skewed = rows(4, 20, |_, image| if image < 8 { 0.1 } else { -0.01 * (1.0 + image as f64 / 100.0) });
    let comparison = usual(dice(), skewed);
    assert!(comparison.interval.unwrap()[0] > 0.0, "{comparison}");
    assert_eq!(comparison.verdict, Verdict::NotEnough(Shortage::Test));
    assert_eq!(
        comparison.to_string(),
        "no verdict: the losses differ by 0.033 Dice (95 % interval 0.007 to 0.059), \
         but Wilcoxon's test over images has p = 0.310"
    );
}

#[test]
fn seeds_that_differ_are_told_from_losses_that_do() {
    // Each seed moves all its images: the test over images is sure of the four, not of others.
    let by_seed = rows(4, 40, |seed, image| [0.05, -0.02, 0.04, -0.01][seed as usize] + 1e-3 * spread(seed, image));
    let comparison = usual(dice(), by_seed);
    assert!(comparison.p_holm < 1e-6);
    assert_eq!(
        comparison.to_string(),
        "no difference larger than 0.071 Dice (95 % interval -0.041 to 0.071); \
         Wilcoxon's test over images (p < 0.001) tells these networks apart, other seeds may turn it round"
    );
}

#[test]
fn one_seed_one_image_and_no_pair_have_no_interval() {
    let one = usual(dice(), rows(1, 40, |seed, image| 0.1 + spread(seed, image)));
    assert_eq!((one.interval, one.verdict), (None, Verdict::NotEnough(Shortage::Seeds)));
    assert_eq!(one.to_string(), "not enough runs: one seed tells nothing of others; four tell something");
    let one = usual(dice(), rows(4, 1, |seed, image| 0.1 + spread(seed, image)));
    assert_eq!(one.interval, None);
    assert_eq!(one.to_string(), "not enough images: with 1, no p can be below 1.000, and 0.05 is asked for; 6 images would do");
    // Unless each seed has another.
    let options = Options { design: Some(Design::Nested), ..Options::default() };
    let one = compare(dice(), rows(8, 1, |seed, image| 0.1 + spread(seed, image)), vec![], &options);
    assert_eq!((one.images, one.design), (8, Design::Nested));
    assert!(one.verdict.is_difference(), "{one}");
    let apart = vec![
        Row { run: run("a", 0), image: "0".to_owned(), scores: vec![Some(0.5)] },
        Row { run: run("b", 0), image: "0".to_owned(), scores: vec![None] },
    ];
    let none = usual(dice(), apart);
    assert_eq!((none.mean_difference, none.seeds, none.pairs), (None, 0, 0));
    assert_eq!(none.left_out, LeftOut { loss: 0, reference: 1, both: 0 });
    assert_eq!(none.to_string(), "not enough runs: no image has scores of both losses; 1 of 1 pairs left out");
}

/// Which runs failed decides whether the others may speak.
#[test]
fn failures_are_said_and_do_not_help_a_loss() {
    let gone = |loss: &'static str| move |row: &Row| row.run.loss != loss || row.run.seed != 2;
    let failure = |loss| Failure { run: run(loss, 2), reason: "diverged in epoch 3".to_owned() };
    for (gain, failed, expected) in [
        (0.03, "a", None),
        (-0.03, "a", Some("worse by 0.0300 Dice")),
        (0.03, "b", Some("better by 0.0300 Dice")),
        (-0.03, "b", None),
        (0.0, "a", None),
        (0.0, "b", None),
    ] {
        let mut all = rows(7, 40, |seed, image| gain + spread(seed, image));
        all.retain(gone(failed));
        let comparison = compare(dice(), all, vec![failure(failed)], &Options::default());
        let text = comparison.to_string();
        assert!(text.ends_with(&format!("; {failed} failed with seed 2: diverged in epoch 3")), "{text}");
        assert_eq!(comparison.seeds, 6);
        match expected {
            Some(words) => assert!(text.starts_with(words), "{text}"),
            None => {
                assert!(matches!(comparison.verdict, Verdict::Failures { of_loss, .. } if of_loss == (failed == "a")));
                let other = if failed == "a" { "b" } else { "a" };
                let begin = format!("no verdict: more runs of {failed} than of {other} gave no scores; the others differ by ");
                assert!(text.starts_with(&begin), "{text}");
            }
        }
    }
    // Where both failed as often, the others speak for both.
    let mut all = rows(7, 40, |seed, image| 0.03 + spread(seed, image));
    all.retain(|row| row.run.seed != 2);
    let comparison = compare(dice(), all.clone(), vec![failure("a"), failure("b")], &Options::default());
    assert!(matches!(comparison.verdict, Verdict::Better { .. }));
    assert_eq!((comparison.failed.len(), comparison.failed_reference.len()), (1, 1));
    // A run of which nothing is known counts as failed.
    all.retain(|row| row.run.loss == "b" || row.run.seed != 3);
    let comparison = compare(dice(), all, vec![], &Options::default());
    assert!(matches!(comparison.verdict, Verdict::Failures { of_loss: true, .. }));
    assert!(comparison.to_string().ends_with("; a has no run with seed 3"));
}

#[test]
fn missing_scores_leave_pairs_out_and_are_counted() {
    let mut all = rows(4, 40, |seed, image| 0.03 + spread(seed, image));
    for row in &mut all {
        let (a, image) = (row.run.loss == "a", row.image.as_str());
        if image == "002" || image == "001" && a || image == "000" && row.run.seed == 0 && !a {
            row.scores = vec![None];
        }
    }
    let comparison = usual(dice(), all.clone());
    assert_eq!(comparison.left_out, LeftOut { loss: 4, reference: 1, both: 4 });
    assert_eq!((comparison.images, comparison.pairs), (38, 151));
    assert!(comparison.to_string().ends_with("; 9 of 160 pairs left out"), "{comparison}");
    let study = Study::new(vec![dice()], all, vec![]).unwrap();
    let means = study.means("Dice", &Options::default()).unwrap();
    assert_eq!((means[0].scores, means[0].left_out), (152, 8));
    assert_eq!(means[1].to_string(), "0.500 Dice (95 % interval 0.500 to 0.500); 5 of 160 scores left out");
}

#[test]
fn every_pair_is_corrected_for_all_of_its_condition() {
    let mut all = rows(4, 40, |seed, image| 0.03 + spread(seed, image));
    let third = rows(4, 40, |seed, image| 0.06 + spread(seed, image + 1)).into_iter().filter(|row| row.run.loss == "a");
    all.extend(third.map(|row| Row { run: run("c", row.run.seed), ..row }));
    let elsewhere: Vec<Row> = all.iter().filter(|row| row.run.loss != "c").cloned().collect();
    all.extend(elsewhere.into_iter().map(|row| Row { run: Run { condition: "large".to_owned(), ..row.run }, ..row }));
    let study = Study::new(vec![dice()], all, vec![]).unwrap();
    assert_eq!(study.conditions().collect::<Vec<_>>(), ["large", "small"]);
    assert_eq!(study.losses("small").collect::<Vec<_>>(), ["a", "b", "c"]);
    let comparisons = study.compare_all("Dice", &Options::default()).unwrap();
    let named = |one: &Comparison| (one.condition.clone(), one.loss.clone(), one.reference.clone(), one.comparisons);
    let names: Vec<_> = comparisons.iter().map(named).collect();
    let name =
        |condition: &str, loss: &str, reference: &str, of| (condition.to_owned(), loss.to_owned(), reference.to_owned(), of);
    assert_eq!(
        names,
        [name("large", "b", "a", 1), name("small", "b", "a", 3), name("small", "c", "a", 3), name("small", "c", "b", 3)]
    );
    assert_eq!(comparisons[0].p_holm, comparisons[0].wilcoxon.p);
    assert!(comparisons[1].p_holm > comparisons[1].wilcoxon.p);
}

#[test]
fn the_bootstraps_interval_is_about_that_of_variances_and_follows_its_seed() {
    let of = |interval| {
        let options = Options { interval, ..Options::default() };
        let skewed = rows(6, 30, |seed, image| 0.01 * spread(seed, 1) + if image < 3 { 0.3 } else { 0.0 });
        compare(dice(), skewed, vec![], &options).interval.unwrap()
    };
    let closed = of(Interval::Variances);
    let [a, b, c] = [0, 0, 1].map(|seed| of(Interval::Bootstrap { resamples: 2000, seed }));
    assert_eq!(a, b);
    assert_ne!(a, c);
    let width = |[low, high]: [f64; 2]| high - low;
    assert!((width(a) / width(closed) - 1.0).abs() < 0.1, "{a:?} {closed:?}");
    // Three images of 30 are far above: there may be more of them, but hardly fewer than none.
    assert!(a[0] > closed[0] && a[1] > closed[1], "{a:?} {closed:?}");
}

/// Of eight seeds alone, the stretch is by 1.21 for Student's t and 1.07 for the bootstrap's own
/// narrowness.
#[test]
fn the_bootstrap_is_as_wide_as_students_t_where_seeds_alone_differ() {
    let of_seeds = || rows(8, 10, |seed, _| [-1.4, -0.9, -0.5, -0.2, 0.2, 0.5, 0.9, 1.4][seed as usize]);
    for design in [Design::Crossed, Design::Nested] {
        let width = |interval| {
            let options = Options { interval, design: Some(design), ..Options::default() };
            let [low, high] = compare(dice(), of_seeds(), vec![], &options).interval.unwrap();
            high - low
        };
        let ratio = width(Interval::Bootstrap { resamples: 20_000, seed: 0 }) / width(Interval::Variances);
        assert!((ratio - 1.0).abs() < 0.03, "{design:?}: {ratio}");
    }
}

#[test]
fn what_comes_out_serialises() {
    let comparison = usual(dice().with_margin(0.005).unwrap(), rows(4, 40, spread));
    let value = serde_json::to_value(&comparison).unwrap();
    assert_eq!(value["verdict"]["is"], "not_enough");
    assert_eq!(value["verdict"]["of"], "runs");
    assert_eq!(value["verdict"]["seeds"], 29);
    assert_eq!(value["metric"]["direction"], "larger");
    assert_eq!(value["design"], "crossed");
    assert_eq!(value["interval"].as_array().unwrap().len(), 2);
    let options: Options = serde_json::from_str(r#"{"interval": {"bootstrap": {"resamples": 100, "seed": 1}}}"#).unwrap();
    assert_eq!(options, Options { interval: Interval::Bootstrap { resamples: 100, seed: 1 }, ..Options::default() });
}
