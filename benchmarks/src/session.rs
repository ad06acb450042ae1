//! Runs the jobs: one engine works at a time, in turn.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use indicatif::ProgressBar;

use crate::child::Child;
use crate::floor::Floor;
use crate::instructions;
use crate::plan::{Contender, Job, Side};
use crate::protocol::{Reply, Request};
use crate::results::{Agreement, Instructions, Memory, Results, Series};

/// How far `f32` results may be from each other to be the same work.
const SAME: f64 = 1e-5;

/// Before each turn, so that threads of the one before, which spin for some milliseconds when they have nothing to do, have gone to
/// sleep.
const PAUSE: Duration = Duration::from_millis(20);

/// The engines, and where their numbers go.
pub(crate) struct Session<'a> {
    pub(crate) ours: Child,
    pub(crate) python: Option<Child>,
    pub(crate) floor: Option<Floor>,
    /// Where arrays are handed over.
    pub(crate) folder: &'a Path,
    pub(crate) bar: &'a ProgressBar,
    pub(crate) results: Results,
    /// Where the numbers are kept as they come: a run that is broken off has not been for nothing.
    pub(crate) save_to: &'a Path,
}

impl Session<'_> {
    /// Does a job.
    pub(crate) fn run(&mut self, job: Job) -> Result<(), String> {
        match job {
            Job::Load { slot, shape, sigmoid, dtype, labels, python } => {
                self.bar.set_message(format!("{slot}: making logits"));
                let folder = python.then(|| self.folder.to_path_buf());
                if let Some(floor) = &mut self.floor {
                    floor.load(&shape);
                }
                let request = Request::Load { slot, shape, sigmoid, dtype, labels, folder };
                self.ours.ask(&request)?;
                if python {
                    self.python()?.ask(&request)?;
                }
            }
            Job::Forget => {
                self.ours.ask(&Request::Forget)?;
            }
            Job::Agree { section, case, ours, theirs } => {
                self.bar.set_message(format!("{case}: {} computes the same?", theirs.who));
                let path = self.folder.join("gradient");
                let save = Request::Save { slot: ours.slot, work: ours.work.clone(), path: path.clone() };
                let value = number(self.ours.ask(&save)?.value)?;
                let reply = self.python()?.ask(&Request::Compare { work: theirs.work, value, path })?;
                let (value, gradient) = (number(reply.value)?, number(reply.gradient)?);
                if !(value <= SAME && gradient <= SAME) {
                    return Err(format!(
                        "{case}: {} and `{}` are not the same work: they differ by {value:.1e} of the value and {gradient:.1e} of \
                         the largest gradient, where {SAME:.0e} is allowed",
                        theirs.who, ours.work
                    ));
                }
                self.results.agreement.push(Agreement { section, case, who: theirs.who, value, gradient });
            }
            Job::Measure { section, case, rounds, contenders } => {
                let mut series = Vec::new();
                for (logits, contender) in &contenders {
                    // Once for what is made at a first call (compiled code, above all), once to see how long it takes.
                    self.turn(&case, contender, 1)?;
                    let repeat = repetitions(self.turn(&case, contender, 1)?, self.results.quick);
                    let (case, who, op) = (case.clone(), contender.who.clone(), contender.op);
                    series.push(Series { section, case, logits: *logits, who, op, repeat, seconds: Vec::new() });
                }
                for _ in 0..rounds {
                    for ((_, contender), series) in contenders.iter().zip(&mut series) {
                        series.seconds.push(self.turn(&case, contender, series.repeat)?);
                    }
                }
                self.results.series.extend(series);
                self.results.save(self.save_to)?;
                if self.bar.is_hidden() {
                    eprintln!("segloss-bench: {}, {case}: measured", section.name());
                }
                return Ok(());
            }
            Job::Memory { section, case, gradient, contender } => {
                self.bar.set_message(format!("{case}: memory of {}", contender.who));
                let Contender { who, slot, work, op, side, .. } = contender;
                let Reply { allocated, resident, .. } = self.side(side)?.ask(&Request::Memory { slot, work, op })?;
                self.results.memory.push(Memory { section, case, who, op, gradient, allocated, resident });
            }
            Job::Instructions { case, loss, op } => {
                self.bar.set_message(format!("{}: instructions of {loss}", case.name()));
                let count = instructions::count(&case, &loss, op)?;
                self.results.instructions.push(Instructions { case: case.name(), logits: case.logits(), loss, op, count });
            }
        }
        self.bar.inc(1);
        Ok(())
    }

    fn python(&mut self) -> Result<&mut Child, String> {
        self.python.as_mut().ok_or_else(|| "Python takes no part".to_owned())
    }

    fn side(&mut self, side: Side) -> Result<&mut Child, String> {
        match side {
            Side::Ours => Ok(&mut self.ours),
            Side::Python => self.python(),
            Side::Floor => self.floor.as_mut().ok_or_else(|| "the floor takes no part".to_owned())?.child(),
        }
    }

    /// Seconds of one call.
    fn turn(&mut self, case: &str, contender: &Contender, repeat: usize) -> Result<f64, String> {
        self.bar.set_message(format!("{case}: {}, {}", contender.who, contender.op.words()));
        sleep(PAUSE);
        let Contender { slot, work, op, threads, side, .. } = contender.clone();
        let seconds = self.side(side)?.ask(&Request::Run { slot, work, op, repeat, threads })?.seconds;
        self.bar.inc(1);
        number(seconds)
    }
}

/// How often to repeat a call, so that a turn is long beside a clock's tick and a thread's waking up.
fn repetitions(seconds: f64, quick: bool) -> usize {
    let turn = if quick { 0.01 } else { 0.04 };
    (turn / seconds.max(1e-9)).ceil().clamp(1.0, 10_000.0) as usize
}

fn number(given: Option<f64>) -> Result<f64, String> {
    given.ok_or_else(|| "a reply without its number".to_owned())
}

/// A folder for arrays that is gone when the run is.
pub(crate) struct Scratch(pub(crate) std::path::PathBuf);

impl Scratch {
    pub(crate) fn new(within: &Path) -> Result<Self, String> {
        let path = within.join("arrays");
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        // Python has another working directory in mind when it is given a relative one.
        fs::canonicalize(&path).map(Self).map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is in the output folder for the user to see.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_long_enough() {
        assert_eq!(repetitions(1.5, false), 1);
        assert_eq!(repetitions(1e-3, false), 40);
        assert_eq!(repetitions(0.0, false), 10_000);
    }

    #[test]
    fn arrays_do_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path()).unwrap();
        fs::write(scratch.0.join("logits"), b"1").unwrap();
        drop(scratch);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
