//! What was dropped, guessed or looks odd: values in a result, never prints.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::plain;

/// Files that a note names at most; it counts them all.
const NAMED: usize = 3;

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum About {
    /// Hidden files, which are skipped.
    Hidden,
    /// Files of no use here.
    OtherFiles,
    /// Files of a kind that is recognised and not read.
    NotRead,
    /// Images without a mask, or masks without an image.
    Unpaired,
    /// A channel or colour of transparency, which is dropped.
    Alpha,
    /// A camera's turn, which is not done.
    Turned,
    /// Grey and colour images in one folder, or another change of channels.
    Channels,
    /// How values of masks were understood.
    Labels,
    /// Spacing or orientation that is missing, or not the same everywhere.
    Space,
    /// How images were divided.
    Split,
}

/// Something that a reader of the result should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Note {
    /// What it is about.
    pub about: About,
    /// One sentence.
    pub text: String,
    /// The first of the files that it concerns.
    pub files: Vec<PathBuf>,
    /// How many there are.
    pub count: usize,
}

impl Note {
    pub(crate) fn new(about: About, text: impl Into<String>) -> Self {
        Self { about, text: plain(&text.into()), files: Vec::new(), count: 0 }
    }

    pub(crate) fn of(about: About, text: impl Into<String>, files: &[PathBuf]) -> Self {
        let mut note = Self::new(about, text);
        note.count = files.len();
        note.files = files.iter().take(NAMED).cloned().collect();
        note
    }

    /// The note in a line, its files as seen from a folder.
    pub fn line(&self, folder: &Path) -> String {
        let name = |path: &PathBuf| crate::error::shown(path.strip_prefix(folder).unwrap_or(path));
        let names: Vec<String> = self.files.iter().map(name).collect();
        match self.count {
            0 => self.text.clone(),
            count if count > names.len() => format!("{} ({}, … {count} in all)", self.text, names.join(", ")),
            _ => format!("{} ({})", self.text, names.join(", ")),
        }
    }
}
