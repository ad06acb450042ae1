//! How long the runs of a study take, by a few steps of each condition.

use std::io::Read;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::one;
use super::plan::{Condition, Plan};
use super::process::child;
use super::record::{Job, Role, TUNE_SEED};
use super::schedule::words;
use crate::error::CliError;
use crate::table::Table;
use crate::train::data::Picture;
use crate::train::judge;
use crate::train::run::{self, EpochRecord, Observer};
use crate::train::state::State;

/// Steps that are timed, after those that only warm up.
const STEPS: usize = 8;
const WARM: usize = 2;
/// Images that are judged.
const IMAGES: usize = 2;

/// Seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Trial {
    /// Reading or making the images.
    load: f64,
    /// A step.
    step: f64,
    /// How many of these a run has.
    steps: usize,
    /// Watching all epochs.
    watch: f64,
    /// Judging all images.
    judge: f64,
}

impl Trial {
    /// Seconds of a run.
    fn run(&self) -> f64 {
        self.load + self.steps as f64 * self.step + self.watch + self.judge
    }
}

/// Times a few steps of a job.
pub(super) fn trial(job: &Job) -> Result<Trial, CliError> {
    let started = Instant::now();
    let (mut dataset, loss, mut settings) = one::prepared(job)?;
    let load = started.elapsed().as_secs_f64();
    let (epochs, device, stop) = (settings.epochs, Device::flex(), AtomicBool::new(false));
    let steps = epochs * settings.steps;
    let judged_by = dataset.validation.split_off(0);
    let watched = one::watched(&judged_by, settings.patch);
    dataset.validation = watched.iter().take(IMAGES).cloned().collect();
    (settings.epochs, settings.steps) = (1, WARM + STEPS);
    let mut times = Times(Vec::new());
    let outcome = run::train(&dataset, &loss, &settings, State::new(&dataset, &settings, &device), &stop, &mut times)?;
    let between = |from: usize, to: usize| times.0.get(to).zip(times.0.get(from)).map_or(0.0, |(a, b)| (*a - *b).as_secs_f64());
    let step = between(WARM - 1, WARM + STEPS - 1) / STEPS as f64;
    let watch = times.0.last().map_or(0.0, |last| last.elapsed().as_secs_f64());
    let started = Instant::now();
    let predicting = settings.predicting(&dataset, &loss);
    let some = judged_by.get(..IMAGES).unwrap_or(&judged_by);
    judge::judge(&outcome.network, some, dataset.classes, &predicting, false, &device, &stop)?;
    let judge = started.elapsed().as_secs_f64();
    // Images differ in size.
    let grown = |all: &[Picture], some: &[Picture]| pixels(all) / pixels(some).max(1.0);
    Ok(Trial {
        load,
        step,
        steps,
        watch: watch * epochs as f64 * grown(&watched, &dataset.validation),
        judge: judge * grown(&judged_by, some),
    })
}

/// Pixels of some pictures.
fn pixels(pictures: &[Picture]) -> f64 {
    pictures.iter().map(|picture| picture.size().iter().product::<usize>() as f64).sum()
}

/// When each step ended.
struct Times(Vec<Instant>);

impl Observer for Times {
    fn step(&mut self, _: usize, _: usize, _: f64) {
        self.0.push(Instant::now());
    }
    fn validating(&mut self, _: usize) {}
    fn keep(&mut self, _: &State) -> Result<(), CliError> {
        Ok(())
    }
    fn epoch(&mut self, _: &EpochRecord) -> Result<(), CliError> {
        Ok(())
    }
}

/// Times every condition, side by side and alone on all processors, and says what the missing runs
/// take.
pub(super) fn estimate(plan: &Plan, out: &Path, workers: usize, missing: &[usize]) -> Result<String, CliError> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let side_by_side = format!("{workers} at once");
    let alone = format!("one on {processors} threads");
    let mut table = Table::new(["condition", "runs left", "a step", "a run", &side_by_side, &alone]);
    let mut all = [0.0; 2];
    for (condition, &missing) in plan.conditions.iter().zip(missing) {
        let together = at_once(plan, condition, out, workers, 1)?;
        let apart = at_once(plan, condition, out, 1, processors)?;
        let whole = [together.run() * missing as f64 / workers as f64, apart.run() * missing as f64];
        all.iter_mut().zip(whole).for_each(|(sum, time)| *sum += time);
        let time = |seconds: f64| words(Duration::from_secs_f64(seconds));
        let step = format!("{:.0} ms", 1e3 * together.step);
        table.row([condition.name.clone(), missing.to_string(), step, time(together.run()), time(whole[0]), time(whole[1])]);
    }
    let [together, apart] = all.map(|seconds| words(Duration::from_secs_f64(seconds)));
    let advice = if all[1] < all[0] { "\n--jobs 1 is faster here" } else { "" };
    Ok(format!("{table}\n\nin all {together}, measured by {STEPS} steps of each condition; one at a time {apart}{advice}"))
}

/// The slowest of some trials of a condition that run at once.
fn at_once(plan: &Plan, condition: &Condition, out: &Path, workers: usize, threads: usize) -> Result<Trial, CliError> {
    let job = |place: usize| Job {
        condition: condition.clone(),
        loss: plan.losses[place % plan.losses.len()].clone(),
        role: if plan.rates.len() > 1 { Role::Tune } else { Role::Test },
        seed: TUNE_SEED,
        rate: plan.rates[0],
        pictures: false,
    };
    let children = (0..workers).map(|place| child(out, &job(place), threads, true)).collect::<Result<Vec<_>, _>>()?;
    let mut slowest: Option<Trial> = None;
    for mut child in children {
        let (mut told, mut said) = (String::new(), String::new());
        let fail = |error: std::io::Error| CliError::Study(format!("condition {:?}: {error}", condition.name));
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut told).map_err(fail)?;
        }
        if let Some(mut stderr) = child.stderr.take() {
            stderr.read_to_string(&mut said).map_err(fail)?;
        }
        child.wait().map_err(fail)?;
        let trial: Trial = serde_json::from_str(&told).map_err(|_| {
            let said = said.trim().trim_start_matches("error: ");
            CliError::Study(format!("condition {:?}: {said}", condition.name))
        })?;
        slowest = Some(slowest.filter(|slowest| slowest.run() > trial.run()).unwrap_or(trial));
    }
    slowest.ok_or_else(|| CliError::Study("there is nothing to time".into()))
}
