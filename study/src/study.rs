//! Runs of losses, and what is computed of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::comparison::{Comparison, FailedRun, LeftOut, Mean};
use crate::error::StudyError;
use crate::interval::Interval;
use crate::power::Plan;
use crate::row::{Failure, Metric, Row, Run, check_margin};
use crate::sample::{Design, Sample};
use crate::verdict::Evidence;
use crate::wilcoxon::{Effect, Wilcoxon, holm};

/// How a study is analysed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Level of intervals; what it leaves is the level of tests.
    pub level: f64,
    /// How intervals are made.
    pub interval: Interval,
    /// How often a plan should find the smallest difference that matters.
    pub power: f64,
    /// How images belong to seeds. `None`: as their names tell, in each condition. Crossed where
    /// all seeds have the same names, nested where no two seeds share one, and an error in between.
    /// Made-up images that are another with each seed must be named so, or `Nested` given.
    pub design: Option<Design>,
}

impl Default for Options {
    /// Intervals of 95 % in closed form, plans of 80 % power, the design by images' names.
    fn default() -> Self {
        Self { level: 0.95, interval: Interval::default(), power: 0.8, design: None }
    }
}

impl Options {
    /// # Errors
    /// [`StudyError::Option`] for a level outside [0.5, 0.9999], a power outside (0, 0.9999], or
    /// fewer than 100 or more than a million resamples.
    pub fn check(&self) -> Result<(), StudyError> {
        if !(self.power > 0.0 && self.power <= 0.9999) {
            return Err(StudyError::option("power", self.power, "a number above 0 and up to 0.9999, such as 0.8"));
        }
        self.interval.check(self.level)
    }
}

/// What one run gave.
#[derive(Clone, Debug)]
enum Outcome {
    /// Scores by image.
    Scores(BTreeMap<String, Vec<Option<f64>>>),
    Failed(String),
}

#[derive(Clone, Debug, Default)]
struct Condition {
    /// Of any loss.
    seeds: BTreeSet<u64>,
    losses: BTreeMap<String, BTreeMap<u64, Outcome>>,
}

/// The runs of a study, checked and in order: nothing depends on the order in which they came.
///
/// ```
/// use segloss_study::{Direction, Failure, Metric, Options, Row, Run, Study};
///
/// let run = |loss: &str, seed| Run { condition: "2 %".into(), loss: loss.into(), seed };
/// let row = |loss, seed, dice| {
///     Row { run: run(loss, seed), image: "07".into(), scores: vec![Some(dice)] }
/// };
/// let rows = vec![row("ce", 0, 0.7), row("dice", 0, 0.8), row("ce", 1, 0.6)];
/// let failed = Failure { run: run("dice", 1), reason: "diverged in epoch 3".into() };
/// let study = Study::new(vec![Metric::new("Dice", Direction::Larger)], rows, vec![failed])?;
///
/// let comparison = &study.compare("Dice", "ce", &Options::default())?[0];
/// assert!((comparison.mean_difference.expect("one pair") - 0.1).abs() < 1e-12);
/// assert_eq!(
///     comparison.to_string(),
///     "not enough runs: one seed tells nothing of others; four tell something; \
///      dice failed with seed 1: diverged in epoch 3"
/// );
/// # Ok::<(), segloss_study::StudyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Study {
    metrics: Vec<Metric>,
    conditions: BTreeMap<String, Condition>,
}

impl Study {
    /// Of rows, one for each image of each run, and of the runs that came to nothing. A run that a
    /// loss lacks, and of which no failure tells, counts as failed too.
    ///
    /// # Errors
    /// [`StudyError::MetricTwice`], [`StudyError::Option`] for a margin;
    /// [`StudyError::Scores`], [`StudyError::Score`] and [`StudyError::RowTwice`] for a row;
    /// [`StudyError::Failure`] for a failure.
    pub fn new(metrics: Vec<Metric>, rows: Vec<Row>, failures: Vec<Failure>) -> Result<Self, StudyError> {
        for (index, metric) in metrics.iter().enumerate() {
            metric.margin.map_or(Ok(()), check_margin)?;
            if metrics[..index].iter().any(|other| other.name == metric.name) {
                return Err(StudyError::MetricTwice { name: metric.name.clone() });
            }
        }
        let mut study = Self { metrics, conditions: BTreeMap::new() };
        for row in rows {
            study.add(row)?;
        }
        for Failure { run, reason } in failures {
            let runs = study.runs(&run);
            match runs.get(&run.seed) {
                None => drop(runs.insert(run.seed, Outcome::Failed(reason))),
                Some(Outcome::Scores(_)) => return Err(StudyError::Failure { run, also: "and has scores" }),
                Some(Outcome::Failed(_)) => return Err(StudyError::Failure { run, also: "twice" }),
            }
        }
        Ok(study)
    }

    fn add(&mut self, row: Row) -> Result<(), StudyError> {
        let Row { run, image, scores } = row;
        if scores.len() != self.metrics.len() {
            return Err(StudyError::Scores { run, image, found: scores.len(), metrics: self.metrics.len() });
        }
        // What is larger has no finite square.
        let wrong = |score: &Option<f64>| score.is_some_and(|score| score.is_nan() || score.abs() > 1e100);
        if let Some((metric, Some(value))) = self.metrics.iter().zip(&scores).find(|(_, score)| wrong(score)) {
            return Err(StudyError::Score { metric: metric.name.clone(), value: *value, run, image });
        }
        let outcome = self.runs(&run).entry(run.seed).or_insert_with(|| Outcome::Scores(BTreeMap::new()));
        let Outcome::Scores(images) = outcome else {
            return Err(StudyError::Failure { run, also: "and has scores" });
        };
        if images.contains_key(&image) {
            return Err(StudyError::RowTwice { run, image });
        }
        images.insert(image, scores);
        Ok(())
    }

    /// The runs of a run's loss in its condition.
    fn runs(&mut self, run: &Run) -> &mut BTreeMap<u64, Outcome> {
        let condition = self.conditions.entry(run.condition.clone()).or_default();
        condition.seeds.insert(run.seed);
        condition.losses.entry(run.loss.clone()).or_default()
    }

    /// The metrics, as they were given.
    #[must_use]
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// The conditions, in order.
    pub fn conditions(&self) -> impl Iterator<Item = &str> {
        self.conditions.keys().map(String::as_str)
    }

    /// The losses of a condition, in order; none of one that is not there.
    pub fn losses(&self, condition: &str) -> impl Iterator<Item = &str> {
        self.conditions.get(condition).into_iter().flat_map(|condition| condition.losses.keys().map(String::as_str))
    }

    /// Every loss of every condition against a reference, which each condition must have; in the
    /// order of conditions, then losses. Holm's correction is over the losses of a condition; each
    /// metric and each condition is a question of its own, so choose what counts beforehand.
    ///
    /// # Errors
    /// As [`Options::check`]; [`StudyError::Unknown`] for a metric or reference that is not there;
    /// [`StudyError::Design`] for images that some seeds share and some do not.
    pub fn compare(&self, metric: &str, reference: &str, options: &Options) -> Result<Vec<Comparison>, StudyError> {
        self.comparisons(metric, options, |condition, runs| {
            if !runs.losses.contains_key(reference) {
                return Err(StudyError::Unknown {
                    what: "loss",
                    name: reference.to_owned(),
                    place: format!(" in condition {condition:?}"),
                    known: runs.losses.keys().cloned().collect(),
                });
            }
            Ok(runs.losses.keys().filter(|loss| *loss != reference).map(|loss| (loss.as_str(), reference)).collect())
        })
    }

    /// Every two losses of every condition, the later name against the earlier one. Holm's
    /// correction is over all pairs of a condition.
    ///
    /// # Errors
    /// As [`compare`](Self::compare).
    pub fn compare_all(&self, metric: &str, options: &Options) -> Result<Vec<Comparison>, StudyError> {
        self.comparisons(metric, options, |_, runs| {
            let names: Vec<&str> = runs.losses.keys().map(String::as_str).collect();
            let mut pairs = Vec::new();
            for (later, &loss) in names.iter().enumerate() {
                pairs.extend(names[..later].iter().map(|&reference| (loss, reference)));
            }
            Ok(pairs)
        })
    }

    fn comparisons<'a>(
        &'a self,
        metric: &str,
        options: &Options,
        pairs: impl Fn(&'a str, &'a Condition) -> Result<Vec<(&'a str, &'a str)>, StudyError>,
    ) -> Result<Vec<Comparison>, StudyError> {
        options.check()?;
        let index = self.index(metric)?;
        let mut all = Vec::new();
        for (name, condition) in &self.conditions {
            let pairs = pairs(name, condition)?;
            let design = condition.design(name, options)?;
            let paired: Vec<Paired> =
                pairs.iter().map(|&(loss, reference)| condition.paired([loss, reference], index, design)).collect();
            let tests: Vec<Wilcoxon> = paired.iter().map(|paired| Wilcoxon::of(&paired.sample.image_means())).collect();
            let corrected = holm(&tests.iter().map(|test| test.p).collect::<Vec<f64>>());
            for ((paired, wilcoxon), p_holm) in paired.into_iter().zip(tests).zip(corrected) {
                let test = Test { wilcoxon, p_holm, comparisons: pairs.len() };
                all.push(paired.compared(name, &self.metrics[index], test, options));
            }
        }
        Ok(all)
    }

    /// The mean of every loss of every condition, in that order.
    ///
    /// # Errors
    /// As [`compare`](Self::compare).
    pub fn means(&self, metric: &str, options: &Options) -> Result<Vec<Mean>, StudyError> {
        options.check()?;
        let index = self.index(metric)?;
        let mut all = Vec::new();
        for (name, condition) in &self.conditions {
            let design = condition.design(name, options)?;
            for loss in condition.losses.keys() {
                let (values, left_out) = condition.scores(loss, index);
                let sample = Sample::new(design, values);
                let parts = sample.parts();
                all.push(Mean {
                    condition: name.clone(),
                    loss: loss.clone(),
                    metric: self.metrics[index].clone(),
                    design,
                    seeds: sample.seeds,
                    images: sample.images,
                    scores: sample.pairs(),
                    mean: sample.mean(),
                    level: options.level,
                    interval: options.interval.of(&sample, &parts, options.level),
                    spread: parts.spread(design),
                    left_out,
                    failed: condition.failed(loss),
                });
            }
        }
        Ok(all)
    }

    fn index(&self, metric: &str) -> Result<usize, StudyError> {
        self.metrics.iter().position(|one| one.name == metric).ok_or_else(|| StudyError::Unknown {
            what: "metric",
            name: metric.to_owned(),
            place: String::new(),
            known: self.metrics.iter().map(|metric| metric.name.clone()).collect(),
        })
    }
}

/// Two losses' scores, subtracted.
struct Paired<'a> {
    losses: [&'a str; 2],
    sample: Sample,
    left_out: LeftOut,
    failed: [Vec<FailedRun>; 2],
}

struct Test {
    wilcoxon: Wilcoxon,
    p_holm: f64,
    comparisons: usize,
}

impl Paired<'_> {
    fn compared(self, condition: &str, metric: &Metric, test: Test, options: &Options) -> Comparison {
        let Self { losses: [loss, reference], sample, left_out, failed } = self;
        let parts = sample.parts();
        let interval = options.interval.of(&sample, &parts, options.level);
        let spread = parts.spread(sample.design);
        let images = match sample.design {
            Design::Crossed => sample.images,
            Design::Nested => sample.images.div_ceil(sample.seeds.max(1)),
        };
        let evidence = Evidence {
            metric,
            pairs: sample.pairs(),
            images: sample.images,
            interval,
            spread,
            p: test.p_holm,
            ranks: [test.wilcoxon.above, test.wilcoxon.below],
            plan: Plan { seeds: sample.seeds, images, comparisons: test.comparisons, level: options.level },
            power: options.power,
            failed: [failed[0].len(), failed[1].len()],
        };
        let verdict = evidence.verdict();
        let [failed, failed_reference] = failed;
        Comparison {
            condition: condition.to_owned(),
            loss: loss.to_owned(),
            reference: reference.to_owned(),
            metric: metric.clone(),
            design: sample.design,
            seeds: sample.seeds,
            images: sample.images,
            pairs: sample.pairs(),
            all_equal: sample.is_zero(),
            mean_difference: sample.mean(),
            level: options.level,
            interval,
            spread,
            effect: Effect::of(&sample.image_means()),
            wilcoxon: test.wilcoxon,
            p_holm: test.p_holm,
            comparisons: test.comparisons,
            left_out,
            failed,
            failed_reference,
            verdict,
        }
    }
}

impl Condition {
    /// The rows of a run; none where it failed.
    fn rows(&self, loss: &str, seed: u64) -> Option<&BTreeMap<String, Vec<Option<f64>>>> {
        match self.losses.get(loss)?.get(&seed)? {
            Outcome::Scores(images) => Some(images),
            Outcome::Failed(_) => None,
        }
    }

    fn design(&self, name: &str, options: &Options) -> Result<Design, StudyError> {
        if let Some(design) = options.design {
            return Ok(design);
        }
        let images = |seed: u64| -> BTreeSet<&str> {
            let rows = self.losses.keys().filter_map(|loss| self.rows(loss, seed));
            rows.flat_map(|rows| rows.keys().map(String::as_str)).collect()
        };
        let by_seed: Vec<(u64, BTreeSet<&str>)> =
            self.seeds.iter().map(|&seed| (seed, images(seed))).filter(|(_, images)| !images.is_empty()).collect();
        let mut seen = BTreeMap::new();
        by_seed.iter().flat_map(|(_, images)| images).for_each(|&image| *seen.entry(image).or_insert(0) += 1);
        let Some((shared, _)) = seen.iter().find(|(_, seeds)| **seeds > 1) else {
            // Of one seed both designs are one.
            return Ok(if by_seed.len() > 1 { Design::Nested } else { Design::Crossed });
        };
        let lacks = |(seed, images): &(u64, BTreeSet<&str>)| {
            seen.keys().find(|image| !images.contains(*image)).map(|image| (*seed, (*image).to_owned()))
        };
        match by_seed.iter().find_map(lacks) {
            None => Ok(Design::Crossed),
            Some((seed, missing)) => {
                Err(StudyError::Design { condition: name.to_owned(), shared: (*shared).to_owned(), missing, seed })
            }
        }
    }

    fn failed(&self, loss: &str) -> Vec<FailedRun> {
        let runs = self.losses.get(loss);
        let without = |&seed: &u64| match runs.and_then(|runs| runs.get(&seed)) {
            Some(Outcome::Scores(_)) => None,
            Some(Outcome::Failed(reason)) => Some(FailedRun { seed, reason: Some(reason.clone()) }),
            None => Some(FailedRun { seed, reason: None }),
        };
        self.seeds.iter().filter_map(without).collect()
    }

    fn paired<'a>(&self, losses: [&'a str; 2], metric: usize, design: Design) -> Paired<'a> {
        let [loss, reference] = losses;
        let mut left_out = LeftOut::default();
        let mut differences = Vec::new();
        for &seed in &self.seeds {
            let (Some(of_loss), Some(of_reference)) = (self.rows(loss, seed), self.rows(reference, seed)) else {
                continue;
            };
            let images: BTreeSet<&String> = of_loss.keys().chain(of_reference.keys()).collect();
            for image in images {
                let score = |rows: &BTreeMap<String, Vec<Option<f64>>>| rows.get(image).and_then(|scores| scores[metric]);
                match (score(of_loss), score(of_reference)) {
                    (Some(a), Some(b)) => differences.push((seed, image.as_str(), a - b)),
                    (None, Some(_)) => left_out.loss += 1,
                    (Some(_), None) => left_out.reference += 1,
                    (None, None) => left_out.both += 1,
                }
            }
        }
        Paired { losses, sample: Sample::new(design, differences), left_out, failed: losses.map(|loss| self.failed(loss)) }
    }

    /// The scores of a loss by seed and image, and how many are left out.
    fn scores(&self, loss: &str, metric: usize) -> (Vec<(u64, &str, f64)>, usize) {
        let rows = || self.seeds.iter().filter_map(|&seed| Some((seed, self.rows(loss, seed)?)));
        let all = || rows().flat_map(|(seed, rows)| rows.iter().map(move |(image, scores)| (seed, image, scores[metric])));
        let scores = all().filter_map(|(seed, image, score)| Some((seed, image.as_str(), score?)));
        (scores.collect(), all().filter(|(_, _, score)| score.is_none()).count())
    }
}
