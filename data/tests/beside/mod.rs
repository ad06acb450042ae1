//! Data that lies beside the project, in `../shared`, and is no part of it.

use std::path::{Path, PathBuf};

/// The folder beside the project.
pub(crate) const SHARED: &str = "../shared";

/// Where a file of it is. None where there is no such folder: leave the test out and say so. Where
/// the folder is, the file must be.
pub(crate) fn beside(name: &str) -> Option<PathBuf> {
    in_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(SHARED), name).unwrap()
}

fn in_folder(folder: &Path, name: &str) -> Result<Option<PathBuf>, String> {
    let path = folder.join(name);
    match (folder.exists(), path.exists()) {
        (false, _) => Ok(None),
        (true, true) => Ok(Some(path)),
        (true, false) => Err(format!("{SHARED} is beside the project, but has no {name}")),
    }
}

/// A test may be left out only where the whole folder is missing.
pub(crate) fn rule() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("here"), "").unwrap();
    assert_eq!(in_folder(folder.path(), "here"), Ok(Some(folder.path().join("here"))));
    assert_eq!(in_folder(&folder.path().join("missing"), "here"), Ok(None));
    assert!(in_folder(folder.path(), "not here").is_err());
}
