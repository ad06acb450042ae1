//! Which runs are still to be done, and doing them side by side.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::plan::{Condition, Plan, results};
use super::process::Running;
use super::record::{Job, Record, Role, TUNE_SEED};
use crate::error::CliError;
use crate::output::{self, Console};

/// What is there of a study, and what is to be done.
pub(crate) struct Study<'a> {
    plan: &'a Plan,
    out: &'a Path,
    /// Finished runs, those that find learning rates included.
    pub(crate) records: Vec<Record>,
}

/// What of a condition and a loss is to be done next.
enum Next {
    /// These can run.
    Jobs(Vec<Job>),
    /// All are there.
    Done,
}

impl<'a> Study<'a> {
    /// Reads the runs that are there, which must be of this plan.
    pub(crate) fn open(plan: &'a Plan, out: &'a Path) -> Result<Self, CliError> {
        let mut study = Self { plan, out, records: Vec::new() };
        for condition in &plan.conditions {
            for loss in &plan.losses {
                let folder = results(out, &condition.name, loss);
                output::sweep(&folder)?;
                let files = study.tuning(condition, loss).map(|job| job.file());
                let seeds = (1..=plan.seeds).map(|seed| format!("seed-{seed}.json"));
                for file in files.chain(seeds).collect::<Vec<_>>() {
                    let path = folder.join(file);
                    if path.exists() {
                        study.take(&path, condition, loss)?;
                    }
                }
            }
        }
        Ok(study)
    }

    /// Adds a record that must be of this condition and loss.
    fn take(&mut self, path: &Path, condition: &Condition, loss: &str) -> Result<(), CliError> {
        let record = Record::read(path)?;
        let refuse = |reason: String| Err(CliError::Plan { path: path.to_path_buf(), reason });
        let asked = condition.asked();
        if let Some((name, value)) = asked.iter().find(|pair| !record.asked.contains(pair)) {
            let before = record.asked.iter().find(|(other, _)| other == name).map_or("not given", |(_, before)| before);
            return refuse(format!(
                "{name} was {before} in this run, and now is {value}; give the same, or the condition another name"
            ));
        }
        if let Some((name, before)) = record.asked.iter().find(|pair| !asked.contains(pair)) {
            return refuse(format!("{name} was {before} in this run; give the same, or the condition another name"));
        }
        if record.loss != loss {
            return refuse(format!("is of the loss {:?}, not {loss:?}", record.loss));
        }
        self.records.push(record);
        Ok(())
    }

    /// Runs in all.
    pub(crate) fn count(&self) -> usize {
        let Plan { losses, seeds, rates, conditions, .. } = self.plan;
        let tuning = if rates.len() > 1 { rates.len() } else { 0 };
        conditions.len() * losses.len() * (tuning + *seeds as usize)
    }

    /// The runs that find the learning rate of a loss in a condition; none where there is one rate.
    fn tuning(&self, condition: &Condition, loss: &str) -> impl Iterator<Item = Job> {
        let rates = if self.plan.rates.len() > 1 { &self.plan.rates[..] } else { &[] };
        rates.iter().map(move |&rate| self.job(condition, loss, Role::Tune, TUNE_SEED, rate))
    }

    fn job(&self, condition: &Condition, loss: &str, role: Role, seed: u64, rate: f64) -> Job {
        let (condition, loss) = (condition.clone(), loss.to_owned());
        Job { condition, loss, role, seed, rate, pictures: role == Role::Test && seed == 1 }
    }

    fn of(&self, condition: &str, loss: &str, role: Role) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |r| r.condition == condition && r.loss == loss && r.role == role)
    }

    /// The learning rate of a loss in a condition: that with the greatest Dice, of equal ones the
    /// smallest; none before all are tried.
    pub(crate) fn rate(&self, condition: &str, loss: &str) -> Option<f64> {
        if let [rate] = self.plan.rates[..] {
            return Some(rate);
        }
        let tried: Vec<&Record> = self.of(condition, loss, Role::Tune).collect();
        if tried.len() < self.plan.rates.len() {
            return None;
        }
        let score = |record: &Record| record.dice().unwrap_or(-1.0);
        let better = |a: &&&Record, b: &&&Record| score(a).total_cmp(&score(b)).then(b.rate.total_cmp(&a.rate));
        tried.iter().max_by(better).map(|record| record.rate)
    }

    fn next(&self, condition: &Condition, loss: &str) -> Result<Next, CliError> {
        let Some(rate) = self.rate(&condition.name, loss) else {
            let there = |job: &Job| self.of(&condition.name, loss, Role::Tune).any(|record| record.rate == job.rate);
            return Ok(Next::Jobs(self.tuning(condition, loss).filter(|job| !there(job)).collect()));
        };
        let tested: Vec<&Record> = self.of(&condition.name, loss, Role::Test).collect();
        if let Some(other) = tested.iter().find(|record| record.rate != rate) {
            return Err(CliError::Plan {
                path: results(self.out, &condition.name, loss),
                reason: format!(
                    "runs of a learning rate of {} are there, and {rate} is chosen now; give the rates of before, or another --out",
                    other.rate
                ),
            });
        }
        let missing = (1..=self.plan.seeds).filter(|seed| tested.iter().all(|record| record.seed != *seed));
        let jobs: Vec<Job> = missing.map(|seed| self.job(condition, loss, Role::Test, seed, rate)).collect();
        Ok(if jobs.is_empty() { Next::Done } else { Next::Jobs(jobs) })
    }

    /// Runs that can begin now, in the order of conditions, learning rates before tests.
    fn ready(&self) -> Result<VecDeque<Job>, CliError> {
        let mut jobs = Vec::new();
        for (place, condition) in self.plan.conditions.iter().enumerate() {
            for loss in &self.plan.losses {
                if let Next::Jobs(more) = self.next(condition, loss)? {
                    jobs.extend(more.into_iter().map(|job| (place, job)));
                }
            }
        }
        jobs.sort_by_key(|(place, job)| (*place, job.role, if job.role == Role::Test { job.seed } else { 0 }));
        Ok(jobs.into_iter().map(|(_, job)| job).collect())
    }

    /// Does what is missing, so many at once; stops when told to, without what has not ended.
    pub(crate) fn run(&mut self, workers: usize, stop: &Arc<AtomicBool>, console: &mut Console) -> Result<(), CliError> {
        let all = self.count();
        let bar = output::bar(all, "{msg} [{bar:32}] {pos}/{len}");
        bar.set_position(self.records.len() as u64);
        let mut running: Vec<Running> = Vec::new();
        let outcome = loop {
            if stop.load(Ordering::Relaxed) {
                break Ok(());
            }
            let mut ready = match self.ready() {
                Ok(ready) => ready,
                Err(error) => break Err(error),
            };
            ready.retain(|job| running.iter().all(|run| run.job != *job));
            while running.len() < workers
                && let Some(job) = ready.pop_front()
            {
                running.push(Running::start(self.out, job)?);
            }
            if running.is_empty() {
                break Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
            let mut failure = None;
            let mut place = 0;
            while let Some(run) = running.get_mut(place) {
                match run.ended() {
                    Ok(false) => place += 1,
                    Ok(true) => {
                        let run = running.swap_remove(place);
                        let path = run.path(self.out);
                        if let Err(error) = self.take(&path, &run.job.condition, &run.job.loss) {
                            failure = Some(error);
                            break;
                        }
                        let line = self.line(&run.job, all, workers);
                        bar.set_position(self.records.len() as u64);
                        if let Err(error) = bar.suspend(|| console.line(&line)) {
                            failure = Some(error);
                            break;
                        }
                    }
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                }
            }
            if let Some(error) = failure {
                // Ctrl-C reaches the runs too, and may end them before it is heard here.
                std::thread::sleep(Duration::from_millis(100));
                if stop.load(Ordering::Relaxed) {
                    continue;
                }
                break Err(error);
            }
            let now: Vec<String> = running.iter().map(|run| run.job.name()).collect();
            bar.set_message(now.join("; "));
        };
        bar.finish_and_clear();
        for mut run in running {
            run.kill();
            // It may have ended after it was last asked.
            let path = run.path(self.out);
            if outcome.is_ok() && path.exists() {
                self.take(&path, &run.job.condition, &run.job.loss)?;
            }
        }
        self.sort();
        outcome?;
        if stop.load(Ordering::Relaxed) {
            return Err(CliError::StudyStopped { done: self.records.len(), all, out: self.out.to_path_buf() });
        }
        Ok(())
    }

    /// In the plan's order, whichever run ended first.
    fn sort(&mut self) {
        let Plan { losses, conditions, .. } = self.plan;
        let place = |record: &Record| {
            let condition = conditions.iter().position(|condition| condition.name == record.condition);
            let loss = losses.iter().position(|loss| *loss == record.loss);
            (condition, loss, record.role, record.seed)
        };
        self.records.sort_by(|a, b| place(a).cmp(&place(b)).then(a.rate.total_cmp(&b.rate)));
    }

    /// What is said of a run that has ended.
    fn line(&self, job: &Job, all: usize, workers: usize) -> String {
        let Some(record) = self.records.last() else { return String::new() };
        let came = match (&record.failed, record.dice()) {
            (Some(failed), _) => failed.clone(),
            (None, Some(dice)) => format!("Dice {dice:.4}"),
            (None, None) => "no Dice".into(),
        };
        let left = self.left(workers).map_or_else(String::new, |left| format!("; {} left", words(left)));
        let digits = all.to_string().len();
        format!("{:>digits$}/{all} {}: {came}, {:.0} s{left}", self.records.len(), job.name(), record.seconds)
    }

    /// Runs that a condition lacks.
    pub(crate) fn missing(&self, condition: &Condition) -> usize {
        let each = self.count() / self.plan.conditions.len().max(1);
        each - self.records.iter().filter(|record| record.condition == condition.name).count().min(each)
    }

    /// Time that the missing runs will take, by those of their condition that are there; none
    /// before every condition has one.
    fn left(&self, workers: usize) -> Option<Duration> {
        let mut seconds = 0.0;
        for condition in &self.plan.conditions {
            let done: Vec<f64> = self.records.iter().filter(|r| r.condition == condition.name).map(|r| r.seconds).collect();
            let missing = self.missing(condition);
            if missing > 0 {
                if done.is_empty() {
                    return None;
                }
                seconds += missing as f64 * done.iter().sum::<f64>() / done.len() as f64;
            }
        }
        Some(Duration::from_secs_f64(seconds / workers as f64))
    }
}

/// A time, roughly.
pub(crate) fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5400 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}
