//! Data that lies beside the project, in `../shared`, and is no part of it.

use std::path::{Path, PathBuf};

/// The folder beside the project.
pub const SHARED: &str = "../shared";

/// Where a file of it is. None where there is no such folder: leave the test out and say so. Where
/// the folder is, the file must be.
pub fn beside(name: &str) -> Option<PathBuf> {
    in_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(SHARED), name)
}

fn in_folder(folder: &Path, name: &str) -> Option<PathBuf> {
    let path = folder.join(name);
    assert!(path.exists() || !folder.exists(), "{SHARED} is beside the project, but has no {name}");
    path.exists().then_some(path)
}

/// A test may be left out only where the whole folder is missing.
pub fn rule() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("here"), "").unwrap();
    assert_eq!(in_folder(folder.path(), "here"), Some(folder.path().join("here")));
    assert_eq!(in_folder(&folder.path().join("missing"), "here"), None);
    assert!(std::panic::catch_unwind(|| in_folder(folder.path(), "not here")).is_err());
}
