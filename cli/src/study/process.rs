//! Runs in processes of their own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::plan::results;
use super::record::Job;
use crate::error::CliError;

/// A run in a process of its own.
pub(super) struct Running {
    pub(super) job: Job,
    child: Child,
    started: Instant,
}

impl Running {
    pub(super) fn start(out: &Path, job: Job) -> Result<Self, CliError> {
        Ok(Self { child: child(out, &job, 1, false)?, job, started: Instant::now() })
    }

    pub(super) fn path(&self, out: &Path) -> PathBuf {
        results(out, &self.job.condition.name, &self.job.loss).join(self.job.file())
    }

    /// Whether it has ended, and well.
    pub(super) fn ended(&mut self) -> Result<bool, CliError> {
        let fail = |what: String, job: &Job| CliError::Study(format!("{}: {what}", job.name()));
        match self.child.try_wait() {
            Ok(None) => Ok(false),
            Ok(Some(status)) if status.success() => Ok(true),
            Ok(Some(status)) => {
                let mut said = String::new();
                if let Some(mut stderr) = self.child.stderr.take() {
                    let _ = std::io::Read::read_to_string(&mut stderr, &mut said);
                }
                let said = said.trim().trim_start_matches("error: ");
                let after = self.started.elapsed().as_secs();
                let what = if said.is_empty() { format!("ended after {after} s with {status}") } else { said.to_owned() };
                Err(fail(what, &self.job))
            }
            Err(error) => Err(fail(error.to_string(), &self.job)),
        }
    }

    pub(super) fn kill(&mut self) {
        // One that has just ended needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// By default glibc returns the memory of a step's tensors to the system, and asks for it again in
/// the next step. That took a fifth of a step. These settings make it keep the memory; other
/// systems ignore them.
const KEEP_MEMORY: [(&str, &str); 3] =
    [("MALLOC_TRIM_THRESHOLD_", "1073741824"), ("MALLOC_MMAP_THRESHOLD_", "33554432"), ("MALLOC_TOP_PAD_", "67108864")];

/// This command once more, for one run on so many threads or for a trial of it. It ends when its
/// standard input does.
pub(super) fn child(out: &Path, job: &Job, threads: usize, trial: bool) -> Result<Child, CliError> {
    let text = serde_json::to_string(job).map_err(CliError::json)?;
    let fail = |error| CliError::Study(format!("a run cannot be started: {error}"));
    let program = std::env::current_exe().map_err(fail)?;
    Command::new(program)
        .args(["study", if trial { "--trial" } else { "--job" }, &text, "--out"])
        .arg(out)
        .env("RAYON_NUM_THREADS", threads.to_string())
        .envs(KEEP_MEMORY)
        .stdin(Stdio::piped())
        .stdout(if trial { Stdio::piped() } else { Stdio::null() })
        .stderr(Stdio::piped())
        .spawn()
        .map_err(fail)
}
