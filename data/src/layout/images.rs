//! Images without regard to what is to be found in them: what a trained network is used on.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ndarray::ArrayD;

use super::names::channel;
use super::pairs::{IMAGE_MEMBERS, Pairs, pair};
use super::{Source, left_out, same_space, settle, source, walk};
use crate::dataset::intensities;
use crate::error::DataError;
use crate::formats::Format;
use crate::note::Note;
use crate::options::Options;

/// An image, not read yet.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Image {
    /// Its place below the folder, without an ending; of a single file its name.
    pub name: PathBuf,
    /// One file, or one for each channel.
    pub sources: Vec<Source>,
    /// Whether a mask goes with it.
    pub masked: bool,
    /// Lengths along the axes of space, the slowest first.
    pub size: Vec<usize>,
    /// Channels in its files, without transparency; a palette of colours has 3.
    pub channels: usize,
}

/// Images that a network is to be used on.
#[derive(Debug)]
#[non_exhaustive]
pub struct Images {
    /// They, in the order of their names.
    pub all: Vec<Image>,
    /// What was left out.
    pub notes: Vec<Note>,
    options: Options,
}

/// What a network takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Number of axes of space: 2 for pictures, 3 for volumes.
    pub axes: usize,
    /// Number of channels.
    pub channels: usize,
}

impl Images {
    /// Finds the images of a folder, with or without masks, or takes one file. `taken` says which
    /// axis of an array is channels, and how many files with the numbers of channels (`a_0000`,
    /// `a_0001`) are one image.
    ///
    /// # Errors
    /// A folder that cannot be read or has no image, a layout that leaves two readings open, a file
    /// whose header is damaged.
    pub fn open(path: &Path, taken: Taken, options: &Options) -> Result<Self, DataError> {
        let mut images = Self { all: Vec::new(), notes: Vec::new(), options: options.clone() };
        if !path.is_dir() {
            let name = path.file_name().map(PathBuf::from).unwrap_or_default();
            images.push(&name, &[path.to_path_buf()], false, taken)?;
            return Ok(images);
        }
        let tree = walk::walk(path)?;
        left_out(&tree, options, &mut images.notes);
        let Pairs { pairs, images_alone, .. } = pair(path, &tree.files, options)?;
        let alone = together(images_alone, taken.channels).into_iter().map(|files| (files, false));
        for (files, masked) in pairs.into_iter().map(|pair| (pair.images, true)).chain(alone) {
            let first = files.first().map(PathBuf::as_path).unwrap_or(path);
            let name = first.strip_prefix(path).unwrap_or(first).to_path_buf();
            images.push(&name, &files, masked, taken)?;
        }
        if images.all.is_empty() {
            if let Some((foreign, path)) = tree.foreign.first() {
                return Err(DataError::not_read(path, foreign.kind, foreign.way_out));
            }
            return Err(DataError::folder(path, "has no images; PNG, JPEG, TIFF, NIfTI, .npy and .npz are read"));
        }
        images.all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(images)
    }

    fn push(&mut self, name: &Path, files: &[PathBuf], masked: bool, taken: Taken) -> Result<(), DataError> {
        let mut sources = files.iter().map(|path| source(path, IMAGE_MEMBERS)).collect::<Result<Vec<_>, _>>()?;
        for source in &mut sources {
            let reference = space(&source.header.size, taken, files.len());
            settle(source, &reference, &self.options)?;
        }
        let Some(first) = sources.first() else { return Ok(()) };
        for source in sources.iter().skip(1) {
            same_space(first, source)?;
        }
        let colours = |image: &Source| if image.header.palette && image.header.colour { 3 } else { image.header.channels };
        let (size, channels) = (first.header.size.clone(), sources.iter().map(colours).sum());
        let name = name.with_file_name(stem(name.file_name().unwrap_or_default(), files.len() > 1));
        self.all.push(Image { name, sources, masked, size, channels });
        Ok(())
    }

    /// Reads the intensities of one image, not scaled by any rule: [C, *size]. Three channels
    /// become one by ITU-R BT.601 where `channels` is 1, and one becomes three equal ones where it
    /// is 3; otherwise channels are as they are.
    ///
    /// # Errors
    /// A file that is damaged or not what it was, an image with NaN.
    pub fn read(&self, image: &Image, channels: usize) -> Result<ArrayD<f32>, DataError> {
        intensities(&image.sources, channels, &self.options)
    }
}

/// The lengths of space among those of an array: without the axis that has as many places as there
/// are channels in a file, the first or the last.
fn space(lengths: &[usize], taken: Taken, files: usize) -> Vec<usize> {
    let channels = if files > 1 { 1 } else { taken.channels };
    match lengths {
        [first, space @ ..] if space.len() == taken.axes && *first == channels => space.to_vec(),
        [space @ .., last] if space.len() == taken.axes && *last == channels => space.to_vec(),
        _ => lengths.to_vec(),
    }
}

/// A name without its format's ending, and without the number of a channel.
fn stem(name: &OsStr, numbered: bool) -> String {
    let name = name.to_string_lossy();
    let stem = Format::of_name(&name).map_or(name.as_ref(), |(_, stem)| stem);
    channel(stem).filter(|_| numbered).map_or(stem, |(rest, _)| rest).to_owned()
}

/// Files with the numbers of all channels, 0 and on, are one image; others are one each.
fn together(files: Vec<PathBuf>, channels: usize) -> Vec<Vec<PathBuf>> {
    let mut groups: BTreeMap<PathBuf, Vec<(usize, PathBuf)>> = BTreeMap::new();
    let mut alone = Vec::new();
    for path in files {
        let stem = stem(path.file_name().unwrap_or_default(), false);
        match channel(&stem).filter(|_| channels > 1) {
            Some((rest, number)) => groups.entry(path.with_file_name(rest)).or_default().push((number, path)),
            None => alone.push(vec![path]),
        }
    }
    for (_, mut group) in groups {
        group.sort();
        let complete = group.len() == channels && group.iter().enumerate().all(|(i, (number, _))| i == *number);
        let paths: Vec<PathBuf> = group.into_iter().map(|(_, path)| path).collect();
        if complete { alone.push(paths) } else { alone.extend(paths.into_iter().map(|path| vec![path])) }
    }
    alone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(path: &Path, shape: &str, count: usize) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n");
        let bytes = [b"\x93NUMPY\x01\x00", &[header.len() as u8, 0][..], header.as_bytes(), &vec![7; count]].concat();
        std::fs::write(path, bytes).unwrap();
    }

    fn found(path: &Path, axes: usize, channels: usize) -> Vec<(String, usize, Vec<usize>, bool)> {
        let images = Images::open(path, Taken { axes, channels }, &Options::default()).unwrap();
        images.all.iter().map(|i| (i.name.display().to_string(), i.channels, i.size.clone(), i.masked)).collect()
    }

    #[test]
    fn images_with_and_without_masks() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["images/b.npy", "images/a.npy", "masks/a.npy"] {
            array(&at(name), "(2, 3)", 6);
        }
        let expected = [("images/a".to_owned(), 1, vec![2, 3], true), ("images/b".to_owned(), 1, vec![2, 3], false)];
        assert_eq!(found(folder.path(), 2, 1), expected);
        assert_eq!(found(&at("images"), 2, 1)[0], ("a".to_owned(), 1, vec![2, 3], false));
        assert_eq!(found(&at("images/b.npy"), 2, 1), [("b".to_owned(), 1, vec![2, 3], false)]);
    }

    #[test]
    fn channels_are_an_axis_or_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        array(&at("first.npy"), "(3, 4, 5)", 60);
        array(&at("last.npy"), "(4, 5, 3)", 60);
        array(&at("m_0000.npy"), "(4, 5)", 20);
        array(&at("m_0001.npy"), "(4, 5)", 20);
        array(&at("m_0002.npy"), "(4, 5)", 20);
        array(&at("photo_2024.npy"), "(4, 5)", 20);
        let expected = [("first", 3), ("last", 3), ("m", 3), ("photo_2024", 1)];
        let expected = expected.map(|(name, channels)| (name.to_owned(), channels, vec![4, 5], false));
        assert_eq!(found(folder.path(), 2, 3), expected);
        let volume = Images::open(&at("first.npy"), Taken { axes: 3, channels: 1 }, &Options::default()).unwrap();
        assert_eq!((volume.all[0].channels, &volume.all[0].size), (1, &vec![3, 4, 5]));
        assert_eq!(volume.read(&volume.all[0], 1).unwrap().shape(), [1, 3, 4, 5]);
    }

    #[test]
    fn a_folder_without_images_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("notes.txt"), "").unwrap();
        let taken = Taken { axes: 2, channels: 1 };
        let line = Images::open(folder.path(), taken, &Options::default()).unwrap_err().to_string();
        assert!(line.ends_with(": has no images; PNG, JPEG, TIFF, NIfTI, .npy and .npz are read"), "{line}");
        let line = Images::open(&folder.path().join("gone.png"), taken, &Options::default()).unwrap_err().to_string();
        assert!(line.ends_with("gone.png: no such file or directory"), "{line}");
    }
}
