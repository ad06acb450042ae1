//! What reading can fail with: the file, what was expected, and the way out, in one sentence.

use std::io;
use std::path::{Path, PathBuf};

pub use loss_core::plain;

use crate::formats::Format;

/// Every failure of this crate. Paths are shown with their control characters escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder that could not be read.
    #[error("{}: {}", shown(.path), words(.source))]
    #[non_exhaustive]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is not what it claims to be, or whose bytes are damaged.
    #[error("{}: not a readable {format}: {reason}", shown(.path))]
    #[non_exhaustive]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What its name or its first bytes say it is.
        format: Format,
        /// What is wrong with it.
        reason: String,
    },
    /// Fewer bytes than the header promises.
    #[error("{}: truncated: its header promises {expected} bytes of data, it holds {found}", shown(.path))]
    #[non_exhaustive]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes promised.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// A header that claims more than the file can hold, or more than is allowed to be read.
    #[error("{}: its header claims {claimed} bytes of pixels, {limit}", shown(.path))]
    #[non_exhaustive]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes claimed.
        claimed: u128,
        /// What they are above, in words.
        limit: String,
    },
    /// A format, or a kind of a format, that is not read.
    #[error("{}: {kind} is not read; {way_out}", shown(.path))]
    #[non_exhaustive]
    NotRead {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: String,
        /// How to convert it.
        way_out: String,
    },
    /// Elements of a type that has no meaning in their place.
    #[error("{}: {what} must be {expected}, found {}", shown(.path), plain(.found))]
    #[non_exhaustive]
    WrongType {
        /// The file.
        path: PathBuf,
        /// Which elements.
        what: &'static str,
        /// What would do.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
    /// An image and its mask that do not belong together.
    #[error("{}: {what} {found}, but {} has {expected}", shown(.mask), shown(.image))]
    #[non_exhaustive]
    Mismatch {
        /// The mask.
        mask: PathBuf,
        /// What differs.
        what: &'static str,
        /// The mask's.
        found: String,
        /// The image.
        image: PathBuf,
        /// The image's.
        expected: String,
    },
    /// A value of a mask, or a number of an image, that cannot be used.
    #[error("{}: {reason}", shown(.path))]
    #[non_exhaustive]
    Values {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the way out.
        reason: String,
    },
    /// A folder, or a file that describes one, in which nothing was found, or more than one thing
    /// could be meant.
    #[error("{}: {reason}", shown(.path))]
    #[non_exhaustive]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is missing or ambiguous, with the option that says it.
        reason: String,
    },
    /// An option that does not fit.
    #[error("--{option} {value}: {expected}")]
    #[non_exhaustive]
    Option {
        /// Its name.
        option: &'static str,
        /// The value given.
        value: String,
        /// What would do.
        expected: String,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }

    pub(crate) fn damaged(path: &Path, format: Format, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_path_buf(), format, reason: plain(&reason.into()) }
    }

    pub(crate) fn values(path: &Path, reason: impl Into<String>) -> Self {
        Self::Values { path: path.to_path_buf(), reason: plain(&reason.into()) }
    }

    pub(crate) fn folder(path: &Path, reason: impl Into<String>) -> Self {
        Self::Folder { path: path.to_path_buf(), reason: plain(&reason.into()) }
    }

    pub(crate) fn option(option: &'static str, value: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Option { option, value: plain(&value.into()), expected: expected.into() }
    }

    pub(crate) fn not_read(path: &Path, kind: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self::NotRead { path: path.to_path_buf(), kind: plain(&kind.into()), way_out: way_out.into() }
    }
}

/// A path for a message: on one line, its control characters escaped, whatever it is called.
///
/// ```
/// assert_eq!(segloss_data::shown("scan\n1.nii".as_ref()), "scan\\n1.nii");
/// ```
#[must_use]
pub fn shown(path: &Path) -> String {
    plain(&path.display().to_string())
}

/// The system's message in the manner of this crate's: in lower case, without its "(os error 2)".
///
/// ```
/// let missing = std::fs::read("no such place").unwrap_err();
/// assert_eq!(segloss_data::words(&missing), "no such file or directory");
/// ```
#[must_use]
pub fn words(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        // Where the system's own words are lost, the library's are "entity not found".
        return "no such file or directory".into();
    }
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_and_crosses_threads() {
        fn sound<T: Send + Sync + std::error::Error>() {}
        sound::<DataError>();
        let error = DataError::io(Path::new("a\nb\u{1b}[31m"), io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(error.to_string(), "a\\nb\\u{1b}[31m: no such file or directory");
    }
}
