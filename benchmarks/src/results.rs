//! Everything a run measured, as numbers.

use std::fs;
use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::protocol::Op;

/// A part of a run: a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Section {
    /// CE + batch Dice + L1 against PyTorch, its compiler, and one copy of the logits
    Main,
    /// Cross-Entropy alone against PyTorch's own, from 4096 to 21 million logits
    Ce,
    /// Dice + CE against MONAI's DiceCELoss
    Monai,
    /// Memory beyond the inputs
    Memory,
    /// Types of logits and of labels
    Types,
    /// One thread and two
    Threads,
    /// Terms added one by one
    Terms,
    /// Time against pixels, samples and classes
    Growth,
    /// A gigabyte of logits
    Volume,
    /// Instructions per logit, counted by valgrind
    Instructions,
}

impl Section {
    /// Its name, as on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Seconds of one engine's work, round by round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) section: Section,
    pub(crate) case: String,
    pub(crate) logits: usize,
    pub(crate) who: String,
    pub(crate) op: Op,
    /// Calls in a round, of which these are the means.
    pub(crate) repeat: usize,
    pub(crate) seconds: Vec<f64>,
}

/// Memory that one call needed beyond what was in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) section: Section,
    pub(crate) case: String,
    pub(crate) who: String,
    pub(crate) op: Op,
    /// Bytes of logits, and of a gradient.
    pub(crate) gradient: u64,
    /// Exactly, where the allocator counts.
    pub(crate) allocated: Option<u64>,
    /// As the system saw it.
    pub(crate) resident: Option<u64>,
}

/// How far two engines' results are from each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Agreement {
    pub(crate) section: Section,
    pub(crate) case: String,
    pub(crate) who: String,
    /// Relative to the value.
    pub(crate) value: f64,
    /// Relative to the largest number of the gradient.
    pub(crate) gradient: f64,
}

/// Instructions of one call, on one thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instructions {
    pub(crate) case: String,
    pub(crate) logits: usize,
    pub(crate) loss: String,
    pub(crate) op: Op,
    pub(crate) count: u64,
}

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) rounds: usize,
    pub(crate) threads: usize,
    pub(crate) quick: bool,
    pub(crate) agreement: Vec<Agreement>,
    pub(crate) series: Vec<Series>,
    pub(crate) memory: Vec<Memory>,
    pub(crate) instructions: Vec<Instructions>,
}

impl Results {
    /// Writes it to a file.
    pub(crate) fn save(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Reads it from a file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let named = |error: String| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| named(error.to_string()))
    }

    /// The seconds of an engine's work in a case.
    pub(crate) fn seconds(&self, section: Section, case: &str, who: &str, op: Op) -> Option<&[f64]> {
        let is = |s: &&Series| s.section == section && s.case == case && s.who == who && s.op == op;
        self.series.iter().find(is).map(|s| &*s.seconds)
    }

    /// The series of a section.
    pub(crate) fn of(&self, section: Section) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(move |s| s.section == section)
    }

    /// Names of a section's cases, in their order.
    pub(crate) fn cases(&self, section: Section) -> Vec<&str> {
        let series = self.of(section).map(|s| &*s.case);
        let memory = self.memory.iter().filter(|m| m.section == section).map(|m| &*m.case);
        let mut cases = Vec::new();
        for case in series.chain(memory) {
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
        cases
    }
}
