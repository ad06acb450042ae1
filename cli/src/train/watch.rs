//! What a person sees of a run, and what is kept of it, while it goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::ProgressBar;
use segloss::Activation;

use super::checkpoint::Checkpoint;
use super::checkpoints::Checkpoints;
use super::notes;
use super::report::EpochTable;
use super::run::{EpochRecord, Observer, Settings};
use super::state::State;
use crate::error::CliError;
use crate::output::{self, Console};

/// Sets `stop`, and says what follows; a second time leaves at once.
pub(crate) fn listen_for_ctrl_c(stop: &Arc<AtomicBool>, follows: &'static str) {
    let stop = Arc::clone(stop);
    // Where no handler can be set, Ctrl-C ends the process as ever.
    let _ = ctrlc::set_handler(move || {
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "\n{follows}; Ctrl-C again to leave at once");
    });
}

/// Shows a bar on a terminal, keeps every epoch, and prints a line for it.
pub(super) struct Watcher<'a> {
    bar: ProgressBar,
    asked: Vec<(String, String)>,
    checkpoints: &'a mut Checkpoints,
    console: &'a mut Console,
    table: Option<EpochTable>,
    activation: Activation,
    /// Classes that no patch of the epoch before showed.
    unseen: Vec<usize>,
    epochs: usize,
    steps: usize,
}

impl<'a> Watcher<'a> {
    /// Of a run that was asked for with these options.
    pub(super) fn new(
        settings: &Settings,
        activation: Activation,
        asked: Vec<(String, String)>,
        checkpoints: &'a mut Checkpoints,
        console: &'a mut Console,
    ) -> Self {
        let bar = output::bar(settings.epochs * settings.steps, "{msg} [{bar:32}] {percent}% {eta} left");
        let Settings { epochs, steps, .. } = *settings;
        Self { bar, asked, checkpoints, console, table: None, activation, unseen: Vec::new(), epochs, steps }
    }

    /// Takes the bar away.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Watcher<'_> {
    fn step(&mut self, epoch: usize, step: usize, total: f64) {
        self.bar.set_message(format!("epoch {}/{} loss {total:.4}", epoch + 1, self.epochs));
        self.bar.set_position((epoch * self.steps + step + 1) as u64);
    }

    fn validating(&mut self, epoch: usize) {
        self.bar.set_message(format!("epoch {}/{} validating", epoch + 1, self.epochs));
    }

    fn keep(&mut self, state: &State) -> Result<(), CliError> {
        let path = self.checkpoints.folder().to_path_buf();
        let packed = state.pack().map_err(|error| CliError::Encode { path, reason: error.to_string() })?;
        let checkpoint = Checkpoint { asked: self.asked.clone(), epochs: self.epochs, state: packed };
        self.checkpoints.write(&checkpoint)
    }

    fn epoch(&mut self, record: &EpochRecord) -> Result<(), CliError> {
        let mut lines = Vec::new();
        let table = self.table.get_or_insert_with(|| {
            let table = EpochTable::new(self.epochs, record);
            lines.extend(table.heading());
            table
        });
        lines.push(table.epoch(record));
        if self.unseen != record.unseen {
            let note = notes::of_epoch(record, self.activation);
            lines.extend(note.map(|note| format!("note      the patches of epoch {}: {note}", record.epoch)));
            self.unseen.clone_from(&record.unseen);
        }
        let console = &mut *self.console;
        self.bar.suspend(|| lines.iter().try_for_each(|line| console.line(line)))
    }
}
