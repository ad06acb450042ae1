//! Where results go: files that are whole or absent, a standard output whose reader may leave, and
//! a bar meanwhile.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::error::CliError;

/// Writes a file beside its place and renames it, so that a reader sees the old file or the whole
/// new one.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    write(path, bytes, |_| Ok(()))
}

/// The same, and the bytes have reached the disk before the name is given to them: the file
/// survives a power cut as well as a kill.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    write(path, bytes, fs::File::sync_all)?;
    // A name is kept by its folder. Where folders cannot be opened, the system keeps names itself.
    match fs::File::open(folder_of(path)) {
        Ok(folder) if cfg!(unix) => folder.sync_all().map_err(|error| CliError::io(path, error)),
        _ => Ok(()),
    }
}

fn write(path: &Path, bytes: &[u8], settle: impl Fn(&fs::File) -> io::Result<()>) -> Result<(), CliError> {
    let fail = |error| CliError::io(path, error);
    // A link stays one, and a device or pipe is written to rather than replaced.
    let real = fs::canonicalize(path);
    let path = real.as_deref().unwrap_or(path);
    if path.exists() && !path.is_file() {
        return fs::write(path, bytes).map_err(fail);
    }
    let mut file = temporary(&folder_of(path)).map_err(fail)?;
    file.write_all(bytes).and_then(|()| file.flush()).and_then(|()| settle(file.as_file())).map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

/// Removes what killed processes were about to write in a folder.
pub(crate) fn sweep(folder: &Path) -> Result<(), CliError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(CliError::io(folder, error)),
    };
    for entry in entries {
        let path = entry.map_err(|error| CliError::io(folder, error))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY)) {
            remove_file(&path)?;
        }
    }
    Ok(())
}

/// How the names of files begin that are not whole yet.
const TEMPORARY: &str = ".segloss-";

/// Creates a folder for results and makes sure that files can be put there, before any work is done
/// for them.
pub(crate) fn prepare_folder(path: &Path) -> Result<(), CliError> {
    if path.exists() && !path.is_dir() {
        return Err(CliError::io(path, io::Error::from(io::ErrorKind::NotADirectory)));
    }
    fs::create_dir_all(path).and_then(|()| temporary(path)).map_err(|error| CliError::io(path, error))?;
    Ok(())
}

/// Removes a file that may be there.
pub(crate) fn remove_file(path: &Path) -> Result<(), CliError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CliError::io(path, error)),
        _ => Ok(()),
    }
}

/// Makes sure that a file can be put at this place, before any work is done for it.
pub(crate) fn check_writable(path: &Path) -> Result<(), CliError> {
    let fail = |error| CliError::io(path, error);
    if path.is_dir() {
        return Err(fail(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    let real = fs::canonicalize(path);
    let path = real.as_deref().unwrap_or(path);
    if path.exists() && !path.is_file() {
        return Ok(());
    }
    temporary(&folder_of(path)).map_err(fail)?;
    Ok(())
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// A file that vanishes unless it is renamed.
fn temporary(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    // Private permissions would survive the renaming; the umask decides, as for any other file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // The error of `tempfile` names its random path, which nobody asked about.
    builder.tempfile_in(folder).map_err(|error| io::Error::from(error.kind()))
}

/// A bar for work of so many steps, which shows only on a terminal.
pub(crate) fn bar(length: usize, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// Standard output, line by line.
pub(crate) struct Console {
    closed: bool,
}

impl Console {
    /// A console whose reader is still there.
    pub(crate) fn new() -> Self {
        Self { closed: false }
    }

    /// Prints text and a line end. Once the reader has gone (`segloss … | head`), nothing more is
    /// printed.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), CliError> {
        if self.closed {
            return Err(CliError::OutputClosed);
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| {
            self.closed = true;
            if error.kind() == io::ErrorKind::BrokenPipe { CliError::OutputClosed } else { CliError::Output(error) }
        })
    }
}
