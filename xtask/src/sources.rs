//! A copy of the sources, to be built under other conditions than the workspace is.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Command;

use crate::libtorch::workspace;

/// Copies all files that git does not ignore. They keep their age, so cargo builds only what has
/// changed.
pub(crate) fn copy_sources(to: &Path) -> Result<(), String> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(workspace());
    let listed = git.output().map_err(|error| format!("cannot run git: {error}"))?;
    if !listed.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr).trim()));
    }
    let copy = |name: &str| -> io::Result<()> {
        let (from, to) = (workspace().join(name), to.join(name));
        // What was removed is listed until that is committed.
        let Ok(about) = fs::metadata(&from) else { return Ok(()) };
        fs::create_dir_all(to.parent().unwrap_or(&to))?;
        fs::copy(&from, &to)?;
        File::options().append(true).open(&to)?.set_modified(about.modified()?)
    };
    let all = || clear(to).and_then(|()| String::from_utf8_lossy(&listed.stdout).split_terminator('\0').try_for_each(copy));
    all().map_err(|error| format!("cannot copy the sources: {error}"))
}

/// Runs a command.
pub(crate) fn succeed(command: &mut Command, what: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("{what} failed")),
        Err(error) => Err(format!("cannot run {what}: {error}")),
    }
}

/// Removes a folder that may not be there.
pub(crate) fn clear(folder: &Path) -> io::Result<()> {
    if folder.exists() { fs::remove_dir_all(folder) } else { Ok(()) }
}
