//! The folder of a run's checkpoints: the last two epochs, each whole or absent.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use segloss_data::shown;

use super::checkpoint::Checkpoint;
use crate::error::CliError;
use crate::output;

/// Its name among the results.
const FOLDER: &str = "checkpoints";

/// How many are kept: should the last be damaged, there is the one before.
const KEPT: usize = 2;

/// The checkpoints of a run.
pub(crate) struct Checkpoints {
    out: PathBuf,
    folder: PathBuf,
    /// Whether those that are there are of an earlier run, to be removed before the first of this.
    others: bool,
}

/// What can be gone on from.
#[derive(Debug)]
pub(crate) struct Found {
    /// The last epoch that can be read.
    pub(crate) checkpoint: Checkpoint,
    /// Later ones that cannot, and why.
    pub(crate) damaged: Vec<String>,
}

impl Checkpoints {
    /// Those among the results in a folder, which need not exist.
    pub(crate) fn of(out: &Path) -> Self {
        Self { out: out.to_path_buf(), folder: out.join(FOLDER), others: true }
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The last that can be read; none where there is none at all.
    pub(crate) fn newest(&self) -> Result<Option<Found>, CliError> {
        let mut damaged = Vec::new();
        for (_, path) in self.all()?.into_iter().rev() {
            let bytes = fs::read(&path).map_err(|error| CliError::io(&path, error))?;
            match Checkpoint::from_bytes(&bytes) {
                Ok(checkpoint) => return Ok(Some(Found { checkpoint, damaged })),
                Err(reason) => damaged.push(format!("{} {reason}", shown(&path))),
            }
        }
        if damaged.is_empty() {
            return Ok(None);
        }
        let reason = format!("no checkpoint can be read ({}); remove the folder to start over", damaged.join("; "));
        Err(CliError::Folder { path: self.folder.clone(), reason })
    }

    /// Refuses to begin anew where a run has not ended.
    pub(crate) fn refuse_unfinished(&self) -> Result<(), CliError> {
        let Some(Found { checkpoint, .. }) = self.newest()? else { return Ok(()) };
        if checkpoint.done() >= checkpoint.epochs {
            return Ok(());
        }
        let reason = format!(
            "holds a run that stopped after epoch {} of {}; go on with the same command and --resume, give another --out, or \
             remove {} to start over",
            checkpoint.done(),
            checkpoint.epochs,
            shown(&self.folder)
        );
        Err(CliError::Folder { path: self.out.clone(), reason })
    }

    /// Those that are there belong to this run.
    pub(crate) fn go_on(&mut self) -> Result<(), CliError> {
        self.others = false;
        output::sweep(&self.folder)
    }

    /// Writes one. When this returns, it is on the disk, and so is the one before; a process that
    /// is killed in here leaves those that were there.
    pub(crate) fn write(&mut self, checkpoint: &Checkpoint) -> Result<(), CliError> {
        let done = checkpoint.done();
        let path = self.folder.join(format!("epoch-{done:06}.ckpt"));
        let bytes = checkpoint.to_bytes();
        let bytes = bytes.map_err(|error| CliError::Encode { path: path.clone(), reason: error.to_string() })?;
        if self.others {
            self.clear()?;
            self.others = false;
        }
        fs::create_dir_all(&self.folder).map_err(|error| CliError::io(&self.folder, error))?;
        output::write_durably(&path, &bytes)?;
        for (epoch, path) in self.all()? {
            if epoch > done || epoch + KEPT <= done {
                output::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Removes all of them.
    pub(crate) fn clear(&self) -> Result<(), CliError> {
        output::sweep(&self.folder)?;
        // The last one last: a process that is killed in here leaves a finished run finished.
        for (_, path) in self.all()? {
            output::remove_file(&path)?;
        }
        match fs::remove_dir(&self.folder) {
            Err(error) if ![io::ErrorKind::NotFound, io::ErrorKind::DirectoryNotEmpty].contains(&error.kind()) => {
                Err(CliError::io(&self.folder, error))
            }
            _ => Ok(()),
        }
    }

    /// Epochs with their files, in order.
    fn all(&self) -> Result<Vec<(usize, PathBuf)>, CliError> {
        let fail = |error| CliError::io(&self.folder, error);
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            // What is wrong with a file in a folder's place is said when something is put there.
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(fail(error)),
        };
        let mut all = Vec::new();
        for entry in entries {
            let path = entry.map_err(fail)?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let number = name.strip_prefix("epoch-").and_then(|name| name.strip_suffix(".ckpt"));
            if let Some(epoch) = number.and_then(|number| number.parse().ok()) {
                all.push((epoch, path));
            }
        }
        all.sort();
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::tests::checkpoint;
    use super::*;

    fn names(checkpoints: &Checkpoints) -> Vec<String> {
        let all = checkpoints.all().unwrap();
        all.iter().map(|(_, path)| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn two_are_kept_and_the_one_before_stands_in() {
        let folder = tempfile::tempdir().unwrap();
        let mut checkpoints = Checkpoints::of(folder.path());
        assert!(checkpoints.newest().unwrap().is_none());
        checkpoints.refuse_unfinished().unwrap();
        for done in 1..=3 {
            checkpoints.write(&checkpoint(done, 4)).unwrap();
        }
        assert_eq!(names(&checkpoints), ["epoch-000002.ckpt", "epoch-000003.ckpt"]);
        assert_eq!(checkpoints.newest().unwrap().unwrap().checkpoint, checkpoint(3, 4));

        let last = checkpoints.folder().join("epoch-000003.ckpt");
        let bytes = fs::read(&last).unwrap();
        fs::write(&last, &bytes[..bytes.len() - 1]).unwrap();
        let Found { checkpoint: found, damaged } = checkpoints.newest().unwrap().unwrap();
        assert_eq!((found.done(), damaged.len()), (2, 1));
        assert!(damaged[0].ends_with("epoch-000003.ckpt is cut short or damaged: its checksum does not fit"), "{damaged:?}");
        // The epoch is done again, and its file is whole again.
        checkpoints.write(&checkpoint(3, 4)).unwrap();
        assert_eq!(fs::read(&last).unwrap(), bytes);

        for name in names(&checkpoints) {
            fs::write(checkpoints.folder().join(name), b"").unwrap();
        }
        let line = checkpoints.newest().unwrap_err().to_string();
        assert!(line.contains("no checkpoint can be read (") && line.ends_with("); remove the folder to start over"), "{line}");
    }

    #[test]
    fn another_run_takes_the_place_of_a_finished_one_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = Checkpoints::of(folder.path());
        first.write(&checkpoint(3, 4)).unwrap();
        let line = Checkpoints::of(folder.path()).refuse_unfinished().unwrap_err().to_string();
        assert!(
            line.contains("holds a run that stopped after epoch 3 of 4; go on with the same command and --resume"),
            "{line}"
        );
        first.write(&checkpoint(4, 4)).unwrap();
        let mut second = Checkpoints::of(folder.path());
        second.refuse_unfinished().unwrap();
        fs::write(second.folder().join(".segloss-left"), b"half").unwrap();
        second.write(&checkpoint(1, 9)).unwrap();
        assert_eq!(names(&second), ["epoch-000001.ckpt"]);
        assert!(!second.folder().join(".segloss-left").exists());

        let mut third = Checkpoints::of(folder.path());
        third.go_on().unwrap();
        third.write(&checkpoint(2, 9)).unwrap();
        assert_eq!(names(&third), ["epoch-000001.ckpt", "epoch-000002.ckpt"]);
        third.clear().unwrap();
        assert!(!third.folder().exists());
    }
}
