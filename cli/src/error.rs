//! What the command can fail with: one line each, naming the file and both sides.

use std::io;
use std::path::{Path, PathBuf};

use segloss::LossError;
use segloss_data::{DataError, plain, shown, words};
use segloss_metrics::MetricError;

/// Every failure of the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The library refused the loss or its input.
    #[error(transparent)]
    Loss(#[from] LossError),
    /// A folder or a file of images that cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A metric's option that is refused.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// Runs of a study that do not go together.
    #[error("study: {0}")]
    Paired(#[from] segloss_study::StudyError),
    /// A prediction and a target that do not go together.
    #[error("{}: {reason}", shown(.path))]
    Unpaired {
        /// The prediction's file or folder.
        path: PathBuf,
        /// What differs, and the way out.
        reason: String,
    },
    /// Some of a folder cannot be used.
    #[error("{}: {count} of its files cannot be used, as listed", shown(.folder))]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// How many.
        count: usize,
    },
    /// The library refused what a file holds.
    #[error("{}: {source}", shown(.path))]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<LossError>,
    },
    /// A file or folder that could not be read or written.
    #[error("{}: {}", shown(.path), words(.source))]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An array of a type that has no meaning in its place.
    #[error("{}: {what} must be {expected}, found {}", shown(.path), plain(.found))]
    WrongDtype {
        /// The file.
        path: PathBuf,
        /// Which argument.
        what: &'static str,
        /// What would do.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
    /// A folder that holds nothing to train on.
    #[error("{}: {reason}", shown(.path))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// An array whose numbers or grid cannot be used.
    #[error("{}: {reason}", shown(.path))]
    Array {
        /// The file.
        path: PathBuf,
        /// What was found, and the way out.
        reason: String,
    },
    /// An option outside its range, which clap cannot know.
    #[error("--{option} {value}: {expected}")]
    Option {
        /// Its name.
        option: &'static str,
        /// The value given.
        value: String,
        /// What would do.
        expected: String,
    },
    /// A picture or table could not be encoded.
    #[error("{}: {reason}", shown(.path))]
    Encode {
        /// The file it was meant for.
        path: PathBuf,
        /// The encoder's words.
        reason: String,
    },
    /// A run that cannot go on as it is asked to.
    #[error("--resume: {0}, or another --out")]
    Resume(String),
    /// A file of a study that cannot be used.
    #[error("{}: {reason}", shown(.path))]
    Plan {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the way out.
        reason: String,
    },
    /// A study that cannot be done as it is asked for.
    #[error("study: {0}")]
    Study(String),
    /// A study was asked to stop.
    #[error("stopped; {done} of {all} runs are kept in {}, and the same command goes on", shown(.out))]
    StudyStopped {
        /// Runs that are done.
        done: usize,
        /// Runs in all.
        all: usize,
        /// Where they are.
        out: PathBuf,
    },
    /// Training ran into NaN or infinity.
    #[error("the loss became {total} in epoch {epoch}, step {step}; what there was is saved in {}; try a smaller --lr", shown(.out))]
    Diverged {
        /// The total.
        total: f64,
        /// Epoch, from 1.
        epoch: usize,
        /// Step in the epoch, from 1.
        step: usize,
        /// Where the results are.
        out: PathBuf,
    },
    /// Training was asked to stop.
    #[error("stopped after {epochs} complete epoch{}; what there was is saved in {}", if *.epochs == 1 { "" } else { "s" }, shown(.out))]
    Interrupted {
        /// Epochs that are complete.
        epochs: usize,
        /// Where the results are.
        out: PathBuf,
    },
    /// A backend differs from the oracle or from another one.
    #[error("conformance: {0}")]
    Disagreement(String),
    /// Burn could not give numbers back.
    #[error("Burn failed: {0}")]
    Tensor(String),
    /// Whoever read our output has gone.
    #[error("standard output was closed")]
    OutputClosed,
    /// Our output cannot be written.
    #[error("standard output: {}", words(.0))]
    Output(io::Error),
}

impl CliError {
    /// A build without LibTorch that is asked for it.
    #[cfg(not(feature = "tch"))]
    pub(crate) fn without_libtorch() -> Self {
        let expected = "this segloss was built without LibTorch; use cargo xtask tch run -p segloss-cli --features tch".into();
        Self::Option { option: "backend", value: "tch".into(), expected }
    }

    /// An input or output failure of a file.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }

    /// A report that cannot be put into JSON.
    pub(crate) fn json(error: serde_json::Error) -> Self {
        Self::Output(io::Error::other(error))
    }

    /// The exit code that goes with it: 1 where a training diverged, a backend is wrong, a tensor
    /// library failed or a file of a folder is damaged; 130 after Ctrl-C; 2 for all else: options,
    /// files and losses that cannot be used, and output that cannot be written.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Diverged { .. } | Self::Disagreement(_) | Self::Tensor(_) | Self::Unusable { .. } => 1,
            // What a shell reports after Ctrl-C.
            Self::Interrupted { .. } | Self::StudyStopped { .. } => 130,
            _ => 2,
        }
    }
}
