//! What a run was made on.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::python::workspace;

/// The machine, the programs and how busy it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Name of the processor.
    pub(crate) processor: String,
    /// Processors that the run could use.
    pub(crate) cores: usize,
    /// Sets of instructions that matter, as found at run time.
    pub(crate) instructions: Vec<String>,
    /// Versions of programs and packages, and the commit.
    pub(crate) versions: BTreeMap<String, String>,
    /// Mean number of processes running in the last minute, before and after: a busy machine's times are no good.
    pub(crate) load: Vec<f64>,
}

impl Machine {
    /// This one.
    pub(crate) fn this() -> Self {
        let said = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).current_dir(workspace()).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let mut versions = BTreeMap::new();
        let number = said("rustc", &["--version"]).and_then(|text| Some(text.split_whitespace().nth(1)?.to_owned()));
        versions.extend(number.map(|number| ("rustc".to_owned(), number)));
        versions.extend(said("uname", &["-sr"]).map(|text| ("system".to_owned(), text)));
        let changed = said("git", &["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
        let commit = said("git", &["rev-parse", "--short=10", "HEAD"]);
        versions.extend(commit.map(|text| ("commit".to_owned(), if changed { text + ", changed" } else { text })));
        let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            processor: model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            instructions: instructions(),
            versions,
            load: load().into_iter().collect(),
        }
    }

    /// Notes how busy it is now.
    pub(crate) fn note_load(&mut self) {
        self.load.extend(load());
    }

    /// In a line.
    pub(crate) fn words(&self) -> String {
        let version = |name: &str| self.versions.get(name).map(|version| format!("{name} {version}"));
        let versions: Vec<String> = ["torch", "monai", "rustc", "commit"].iter().filter_map(|name| version(name)).collect();
        let load: Vec<String> = self.load.iter().map(|load| format!("{load:.1}")).collect();
        let instructions = self.instructions.join(" and ");
        let processor = format!("{}, {} cores, {instructions}", self.processor, self.cores);
        format!("{processor}; {}; load before and after {}", versions.join(", "), load.join(" and "))
    }
}

fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(target_arch = "x86_64")]
fn instructions() -> Vec<String> {
    let sets = [("AVX2", is_x86_feature_detected!("avx2")), ("AVX-512", is_x86_feature_detected!("avx512f"))];
    sets.iter().filter(|(_, there)| *there).map(|(name, _)| (*name).to_owned()).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> Vec<String> {
    vec![std::env::consts::ARCH.to_owned()]
}
