//! What the runs of a study come to: scores of images, means, comparisons, sizes.

use std::collections::BTreeSet;

use segloss_study::{Comparison, Direction, Failure, Mean, Metric, Options, Row, Run, Study as Paired};
use serde::Serialize;

use super::plan::{Condition, Plan};
use super::record::{ClassRecord, Record, Role};
use super::schedule::Study;
use crate::error::CliError;
use crate::train::judge::ClassScore;
use crate::train::scores;

/// What is measured of each image. All but the first may be named in text and page.
pub(crate) const DICE: &str = "Dice";
/// Signed: (predicted − true) ÷ true pixels.
pub(crate) const SIZE: &str = "size error";
/// Without its sign.
pub(crate) const OFF: &str = "size off";
/// The 95th percentile of surface distances, the image's diagonal where one region is empty.
pub(crate) const HD95: &str = "HD95";
/// 1 where a region that is there is missed as a whole.
pub(crate) const MISSED: &str = "missed";

/// All metrics, in the order of a row's scores.
pub(crate) const METRICS: [&str; 5] = [DICE, SIZE, OFF, HD95, MISSED];

/// A study as far as it is run.
#[derive(Debug, Serialize)]
pub(crate) struct Analysis {
    /// Version of this command.
    pub(crate) segloss: String,
    /// The loss that others are compared with.
    pub(crate) reference: String,
    /// Runs in all, and those that are there.
    pub(crate) runs: [usize; 2],
    /// Every condition that has a finished run.
    pub(crate) conditions: Vec<OfCondition>,
}

/// One condition.
#[derive(Debug, Serialize)]
pub(crate) struct OfCondition {
    /// Its name.
    pub(crate) name: String,
    /// How it was trained.
    pub(crate) asked: Vec<(String, String)>,
    /// Names of the classes but the background.
    pub(crate) classes: Vec<String>,
    /// True share of each in the test images.
    pub(crate) shares: Vec<f64>,
    /// Images to learn from, and to be judged by.
    pub(crate) images: [usize; 2],
    /// The losses, in the plan's order.
    pub(crate) losses: Vec<OfLoss>,
    /// Spearman's rank correlation, over losses, of the size error with the preferred size as
    /// decisions: of the first class. None of fewer than three losses that have both.
    pub(crate) order: Option<f64>,
    /// By metric, of each loss but the reference.
    pub(crate) comparisons: Vec<Vec<Compared>>,
}

/// One loss in a condition.
#[derive(Debug, Serialize)]
pub(crate) struct OfLoss {
    /// Its text.
    pub(crate) loss: String,
    /// The learning rate it was given.
    pub(crate) rate: Option<f64>,
    /// Every rate that was tried, with its Dice and the seconds it took.
    pub(crate) tried: Vec<(f64, Option<f64>, f64)>,
    /// Runs that are there.
    pub(crate) runs: usize,
    /// Seconds of one.
    pub(crate) seconds: f64,
    /// Means by metric.
    pub(crate) means: Vec<Mean>,
    /// The size it prefers of each class, means over seeds.
    pub(crate) preferred: Vec<PreferredMean>,
    /// Dice of all test pixels together, by class and seed; none of a class that no image has.
    pub(crate) pooled: Vec<Vec<f64>>,
}

impl OfCondition {
    /// Region sizes, and how many images there are.
    pub(crate) fn what(&self) -> String {
        let share = |(class, share): (&String, &f64)| format!("{class} {:.2} %", 100.0 * share);
        let shares: Vec<String> = self.classes.iter().zip(&self.shares).map(share).collect();
        let [train, test] = self.images;
        format!("{}; {train} images to learn from, {test} to be judged by", shares.join(", "))
    }
}

impl OfLoss {
    /// The mean of a metric.
    pub(crate) fn mean(&self, metric: &str) -> Option<&Mean> {
        METRICS.iter().position(|other| *other == metric).and_then(|place| self.means.get(place))
    }
}

/// The size of a class that a loss prefers on what its networks predict.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct PreferredMean {
    /// Seeds that have such a size.
    pub(crate) seeds: usize,
    /// As probability ÷ true size.
    pub(crate) predicted: Option<f64>,
    /// As decided pixels ÷ true ones.
    pub(crate) decided: Option<f64>,
    /// What came out where there is none.
    pub(crate) others: Vec<String>,
}

/// A comparison, with its sentence.
#[derive(Debug, Serialize)]
pub(crate) struct Compared {
    /// The numbers.
    #[serde(flatten)]
    pub(crate) numbers: Comparison,
    /// In words.
    pub(crate) words: String,
}

/// Analyses what is there.
pub(crate) fn analysis(plan: &Plan, study: &Study<'_>) -> Result<Analysis, CliError> {
    let mut conditions = Vec::new();
    for condition in &plan.conditions {
        conditions.extend(of_condition(plan, study, condition)?);
    }
    Ok(Analysis {
        segloss: env!("CARGO_PKG_VERSION").into(),
        reference: plan.reference.clone(),
        runs: [study.count(), study.records.len()],
        conditions,
    })
}

fn tests<'a>(study: &'a Study<'_>, condition: &'a str) -> impl Iterator<Item = &'a Record> {
    study.records.iter().filter(move |record| record.role == Role::Test && record.condition == condition)
}

fn of_condition(plan: &Plan, study: &Study<'_>, condition: &Condition) -> Result<Option<OfCondition>, CliError> {
    let records = complete(tests(study, &condition.name).collect());
    let Some(first) = records.iter().find(|record| record.failed.is_none()) else { return Ok(None) };
    same_data(&records)?;
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for record in &records {
        let run = Run { condition: record.condition.clone(), loss: record.loss.clone(), seed: record.seed };
        match &record.failed {
            Some(reason) => failures.push(Failure { run, reason: reason.clone() }),
            None => rows.extend((0..record.images.len()).map(|i| Row {
                run: run.clone(),
                image: image_name(record, i, condition.made_up()),
                scores: scores_of(record, i),
            })),
        }
    }
    let paired = Paired::new(metrics(plan)?, rows, failures)?;
    let options = Options::default();
    let mut means: Vec<Vec<Mean>> = Vec::new();
    for metric in METRICS {
        means.push(paired.means(metric, &options)?);
    }
    let mut comparisons = Vec::new();
    if paired.losses(&condition.name).any(|loss| loss == plan.reference) {
        for metric in METRICS {
            let mut found = paired.compare(metric, &plan.reference, &options)?;
            let place = |loss: &str| plan.losses.iter().position(|other| other == loss);
            found.sort_by_key(|comparison| place(&comparison.loss));
            let told = |numbers: Comparison| Compared { words: numbers.to_string(), numbers };
            comparisons.push(found.into_iter().map(told).collect());
        }
    }
    let of_loss = |loss: &String| {
        let runs: Vec<&&Record> = records.iter().filter(|record| record.loss == *loss).collect();
        let tuned = study.records.iter().filter(|r| r.role == Role::Tune && r.loss == *loss && r.condition == condition.name);
        OfLoss {
            loss: loss.clone(),
            rate: study.rate(&condition.name, loss),
            tried: tuned.map(|record| (record.rate, record.dice(), record.seconds)).collect(),
            runs: runs.len(),
            seconds: runs.iter().map(|record| record.seconds).sum::<f64>() / runs.len() as f64,
            means: means.iter().filter_map(|all| all.iter().find(|mean| mean.loss == *loss).cloned()).collect(),
            preferred: (0..first.classes.len()).map(|k| preferred(&runs, k)).collect(),
            pooled: (0..first.classes.len()).map(|k| pooled(&runs, k)).collect(),
        }
    };
    let share = |k: usize| {
        let sums = records.iter().filter_map(|record| Some((record.classes.get(k)?, record)));
        let (target, valid) = sums.fold((0, 0), |(target, valid), (class, record)| {
            (target + class.target.iter().sum::<u64>(), valid + record.valid.iter().sum::<u64>())
        });
        target as f64 / (valid as f64).max(1.0)
    };
    let there = |loss: &&String| records.iter().any(|record| record.loss == **loss);
    let losses: Vec<OfLoss> = plan.losses.iter().filter(there).map(of_loss).collect();
    Ok(Some(OfCondition {
        name: condition.name.clone(),
        asked: condition.asked(),
        classes: first.classes.iter().map(|class| class.name.clone()).collect(),
        shares: (0..first.classes.len()).map(share).collect(),
        images: [first.trained_on, first.images.len()],
        order: order(&losses),
        losses,
        comparisons,
    }))
}

/// The runs of the seeds that all losses have which are there at all: the others are under way, and
/// neither lost nor paired.
fn complete(records: Vec<&Record>) -> Vec<&Record> {
    let losses: BTreeSet<&str> = records.iter().map(|record| record.loss.as_str()).collect();
    let of = |seed: u64| records.iter().filter(|record| record.seed == seed).count();
    records.iter().filter(|record| of(record.seed) == losses.len()).copied().collect()
}

/// Runs of one seed must have seen the same images, or they are no pairs.
fn same_data(records: &[&Record]) -> Result<(), CliError> {
    for (i, record) in records.iter().enumerate() {
        if let Some(other) = records[..i].iter().find(|other| other.seed == record.seed && other.data != record.data) {
            return Err(CliError::Study(format!(
                "condition {:?}, seed {}: {:?} and {:?} saw different images; remove the runs of one of them, or give the \
                 condition another name",
                record.condition, record.seed, other.loss, record.loss
            )));
        }
    }
    Ok(())
}

/// Made-up images of different seeds are different images.
pub(crate) fn image_name(record: &Record, i: usize, made_up: bool) -> String {
    let name = record.images.get(i).cloned().unwrap_or_default();
    if made_up { format!("{name}, seed {}", record.seed) } else { name }
}

/// The metrics with what matters of them.
fn metrics(plan: &Plan) -> Result<Vec<Metric>, CliError> {
    let directions = [Direction::Larger, Direction::Neither, Direction::Smaller, Direction::Smaller, Direction::Smaller];
    let mut metrics: Vec<Metric> =
        METRICS.iter().zip(directions).map(|(name, direction)| Metric::new(*name, direction)).collect();
    if let Some(dice) = metrics.first_mut() {
        *dice = dice.clone().with_margin(plan.margin)?;
    }
    Ok(metrics)
}

/// The scores of an image: means over its classes that have one.
fn scores_of(record: &Record, i: usize) -> Vec<Option<f64>> {
    let of = |score: &dyn Fn(&ClassRecord) -> Option<f64>| {
        let scores: Vec<f64> = record.classes.iter().filter_map(score).collect();
        (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
    };
    METRICS.iter().map(|metric| of(&|class| score(record, class, i, metric))).collect()
}

/// One score of one class in an image.
pub(crate) fn score(record: &Record, class: &ClassRecord, i: usize, metric: &str) -> Option<f64> {
    let one = ClassScore { counts: class.counts(i, record.valid.get(i)), hd95: class.hd95.get(i).copied().flatten() };
    let of = |name: &str| scores::score(&one, record.diagonals.get(i).copied().unwrap_or(f64::NAN), name);
    match metric {
        DICE => of("dice"),
        SIZE => of("size_error"),
        OFF => of("size_error").map(f64::abs),
        HD95 => of("hd95"),
        MISSED => of("missed"),
        _ => None,
    }
}

fn order(losses: &[OfLoss]) -> Option<f64> {
    let place = METRICS.iter().position(|metric| *metric == SIZE)?;
    let both = |loss: &OfLoss| Some([loss.means.get(place)?.mean?, loss.preferred.first()?.decided?]);
    let pairs: Vec<[f64; 2]> = losses.iter().filter_map(both).collect();
    if pairs.len() < 3 {
        return None;
    }
    // Ranks of equal numbers are their mean.
    let rank = |side: usize, of: &[f64; 2]| {
        let less = pairs.iter().filter(|other| other[side] < of[side]).count() as f64;
        let equal = pairs.iter().filter(|other| other[side] == of[side]).count() as f64;
        less + (equal - 1.0) / 2.0
    };
    let middle = (pairs.len() - 1) as f64 / 2.0;
    let sum = |a: usize, b: usize| pairs.iter().map(|of| (rank(a, of) - middle) * (rank(b, of) - middle)).sum::<f64>();
    let spread = (sum(0, 0) * sum(1, 1)).sqrt();
    (spread > 0.0).then(|| sum(0, 1) / spread)
}

fn preferred(runs: &[&&Record], k: usize) -> PreferredMean {
    let mut mean = PreferredMean::default();
    let (mut predicted, mut decided) = (Vec::new(), Vec::new());
    for size in runs.iter().filter_map(|record| record.classes.get(k)?.preferred.as_ref()) {
        match (size.predicted, size.decided) {
            (Some(p), Some(d)) => {
                predicted.push(p);
                decided.push(d);
            }
            _ => mean.others.push(size.outcome.clone()),
        }
    }
    let over = |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    PreferredMean { seeds: predicted.len(), predicted: over(&predicted), decided: over(&decided), ..mean }
}

fn pooled(runs: &[&&Record], k: usize) -> Vec<f64> {
    let classes = runs.iter().filter_map(|record| record.classes.get(k));
    let sums = classes.map(|class| [&class.both, &class.target, &class.predicted].map(|all| all.iter().sum::<u64>()));
    let there = sums.filter(|[_, target, _]| *target > 0);
    there.map(|[both, target, predicted]| 2.0 * both as f64 / (target + predicted) as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(size_error: f64, decided: f64) -> OfLoss {
        let row = |image: &str| Row {
            run: Run { condition: "c".into(), loss: "ce".into(), seed: 1 },
            image: image.into(),
            scores: vec![Some(size_error); METRICS.len()],
        };
        let metrics = METRICS.map(|name| Metric::new(name, Direction::Neither)).into();
        let paired = Paired::new(metrics, vec![row("a"), row("b")], Vec::new()).unwrap();
        let mean = |metric: &&str| paired.means(metric, &Options::default()).unwrap().remove(0);
        OfLoss {
            loss: "ce".into(),
            rate: None,
            tried: Vec::new(),
            runs: 1,
            seconds: 1.0,
            means: METRICS.iter().map(mean).collect(),
            preferred: vec![PreferredMean { seeds: 1, decided: Some(decided), ..PreferredMean::default() }],
            pooled: Vec::new(),
        }
    }

    #[test]
    fn rank_correlation_by_hand() {
        let of = |pairs: &[[f64; 2]]| order(&pairs.iter().map(|[a, b]| loss(*a, *b)).collect::<Vec<_>>());
        assert_eq!(of(&[[0.1, 1.0], [0.2, 1.1], [0.3, 5.0]]), Some(1.0));
        assert_eq!(of(&[[0.1, 3.0], [0.2, 2.0], [0.3, 1.0]]), Some(-1.0));
        // scipy.stats.spearmanr([1, 2, 3, 4], [2, 1, 3, 3])
        assert!((of(&[[1.0, 2.0], [2.0, 1.0], [3.0, 3.0], [4.0, 3.0]]).unwrap() - 0.737_864_787_372_622).abs() < 1e-12);
        assert_eq!((of(&[[0.1, 3.0], [0.2, 2.0]]), of(&[[0.1, 3.0], [0.1, 2.0], [0.1, 1.0]])), (None, None));
    }
}
