//! All files below a folder, and what is left out of them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::formats::{Foreign, Format, annotations, foreign, is_dicom};

/// Folders within folders that are followed: deeper ones go round in circles.
const DEEPEST: usize = 24;

/// Most entries of a folder and those below it.
const MOST_ENTRIES: usize = 4_000_000;

/// A file of a format that is read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    /// Where it is.
    pub(super) path: PathBuf,
    /// The folders between the root and it.
    pub(super) folders: Vec<String>,
    /// Its name without its ending.
    pub(super) stem: String,
    /// Its format.
    pub(super) format: Format,
}

/// All that is below a folder.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Files that are read, by path.
    pub(super) files: Vec<Found>,
    /// Hidden ones.
    pub(super) hidden: Vec<PathBuf>,
    /// Those of a kind that is recognised and not read.
    pub(super) foreign: Vec<(Foreign, PathBuf)>,
    /// All others.
    pub(super) others: Vec<PathBuf>,
}

/// Names that systems leave behind.
fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || ["__macosx", "thumbs.db", "desktop.ini"].contains(&name.to_lowercase().as_str())
}

/// Lists a folder, in the order of names: that of the file system would not be the same everywhere.
pub(super) fn walk(root: &Path) -> Result<Tree, DataError> {
    let mut tree = Tree::default();
    let mut left = MOST_ENTRIES;
    enter(root, &mut Vec::new(), &mut tree, &mut left)?;
    Ok(tree)
}

/// The files of a folder by their folders and name without an ending, in the order of names.
pub(crate) fn files_by_name(root: &Path) -> Result<Vec<(String, PathBuf)>, DataError> {
    let mut named: Vec<(String, PathBuf)> = Vec::new();
    for found in walk(root)?.files {
        let name = found.folders.iter().chain([&found.stem]).map(String::as_str).collect::<Vec<_>>().join("/");
        named.push((name, found.path));
    }
    named.sort();
    match named.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => {
            let name = |i: usize| pair[i].1.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let reason = format!("holds both {} and {}; leave one of them", name(0), name(1));
            Err(DataError::folder(root, crate::error::plain(&reason)))
        }
        None => Ok(named),
    }
}

fn enter(folder: &Path, folders: &mut Vec<String>, tree: &mut Tree, left: &mut usize) -> Result<(), DataError> {
    let io = |error| DataError::io(folder, error);
    let mut entries = fs::read_dir(folder).map_err(io)?.collect::<Result<Vec<_>, _>>().map_err(io)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        *left = left.checked_sub(1).ok_or_else(|| DataError::folder(folder, "holds more than four million files"))?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_hidden(&name) {
            tree.hidden.push(path);
            continue;
        }
        // Of a link, what it leads to.
        let kind = fs::metadata(&path).map_err(|error| DataError::io(&path, error))?;
        if kind.is_dir() {
            if folders.len() >= DEEPEST {
                return Err(DataError::folder(&path, format!("lies {DEEPEST} folders deep; does a link lead back?")));
            }
            folders.push(name);
            enter(&path, folders, tree, left)?;
            folders.pop();
        } else if let Some((format, stem)) = Format::of_name(&name) {
            let stem = stem.to_owned();
            tree.files.push(Found { path, folders: folders.clone(), stem, format });
        } else if let Some(kind) = unread(&path, &name) {
            tree.foreign.push((kind, path));
        } else {
            tree.others.push(path);
        }
    }
    Ok(())
}

/// What a file is that is not read.
fn unread(path: &Path, name: &str) -> Option<Foreign> {
    foreign(name).or_else(|| {
        let json = name.to_lowercase().ends_with(".json");
        if json { annotations(path) } else { (!name.contains('.')).then(|| is_dicom(path)).flatten() }
    })
}
