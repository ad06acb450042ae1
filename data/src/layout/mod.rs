//! Folders as people have them: which file is an image, which a mask, and which go together. Files
//! are opened for their headers alone.

mod divide;
mod images;
mod names;
mod nnunet;
mod pairs;
mod walk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use self::images::{Image, Images, Taken};
pub use self::names::Split;
pub(crate) use self::pairs::{IMAGE_MEMBERS, MASK_MEMBERS};
use self::pairs::{MaskFiles, PairFiles, Pairs};
use self::walk::Tree;
use crate::error::{DataError, shown};
use crate::formats::{Header, Wanted, header_of};
use crate::note::{About, Note};
use crate::options::{ChannelAxis, Options};

/// A file with its header.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself.
    pub header: Header,
    /// Of an array whose shape does not say so: the axis of its channels.
    pub channel_axis: Option<usize>,
}

/// The masks of an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Masks {
    /// All classes in one file.
    One(Source),
    /// One file for each object; all of them are foreground.
    Instances(Vec<Source>),
    /// One file for each class, in the order of the dataset's classes. They may overlap. None where
    /// the image has no file for a class.
    Classes(Vec<Option<Source>>),
}

impl Masks {
    /// All files.
    pub fn sources(&self) -> Vec<&Source> {
        match self {
            Self::One(source) => vec![source],
            Self::Instances(all) => all.iter().collect(),
            Self::Classes(all) => all.iter().flatten().collect(),
        }
    }
}

/// An image with its masks, not read yet.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Pair {
    /// Its name, with the folders that tell it from others.
    pub name: String,
    /// What it is for, where names or a file say so.
    pub split: Option<Split>,
    /// What it belongs to, such as a patient.
    pub group: Option<String>,
    /// The image: one file, or one for each channel.
    pub images: Vec<Source>,
    /// Its masks.
    pub masks: Masks,
    /// Lengths along the axes of space, the slowest first.
    pub size: Vec<usize>,
    /// Channels of the image in its files, without transparency; a palette of colours has 3.
    pub channels: usize,
}

/// What a folder holds, before any pixel is read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Scan {
    /// The folder.
    pub folder: PathBuf,
    /// Images with masks, by split and name.
    pub pairs: Vec<Pair>,
    /// Names of overlapping classes, where each has a mask file of its own.
    pub class_files: Option<Vec<String>>,
    /// Names of classes by value, from `dataset.json`.
    pub described: BTreeMap<i64, String>,
    /// The value that `dataset.json` ignores.
    pub described_ignore: Option<i64>,
    /// Names of channels, from `dataset.json`.
    pub channel_names: Vec<String>,
    /// Channels of every image once it is read.
    pub channels: usize,
    /// What was left out or is odd.
    pub notes: Vec<Note>,
    /// Pairs that cannot be used, and why.
    pub problems: Vec<DataError>,
}

/// Finds the images and masks of a folder and reads their headers.
///
/// # Errors
/// A folder that cannot be read or holds no image with a mask; a layout that leaves two readings
/// open, with the option that says which is meant. What is wrong with one pair alone is in
/// [`Scan::problems`].
pub fn scan(folder: &Path, options: &Options) -> Result<Scan, DataError> {
    if !folder.is_dir() {
        let error = std::fs::read_dir(folder).err();
        return Err(error.map_or_else(|| DataError::folder(folder, "not a folder"), |error| DataError::io(folder, error)));
    }
    let mut notes = Vec::new();
    let tree = walk::walk(folder)?;
    let described = nnunet::described(folder, &mut notes)?;
    let Pairs { mut pairs, images_alone, masks_alone, elsewhere } = pairs::pair(folder, &tree.files, options)?;
    if pairs.is_empty() {
        return Err(nothing(folder, &tree, &images_alone, &masks_alone));
    }
    left_out(&tree, options, &mut notes);
    let outside = "images and masks outside of --images-in and --masks-in are left alone";
    for (files, text) in [
        (&elsewhere, outside),
        (&images_alone, "images without a mask are left out"),
        (&masks_alone, "masks without an image are left out"),
    ] {
        if !files.is_empty() {
            notes.push(Note::of(About::Unpaired, text, files));
        }
    }
    if let Some(path) = &options.split {
        divide::by_file(path, options.fold, &mut pairs, &mut notes)?;
        if pairs.is_empty() {
            return Err(DataError::folder(path, "names none of the images"));
        }
    }
    let groups = options.group.as_ref().map(|group| divide::groups(group, &pairs, &mut notes));
    if let Some(groups) = &groups {
        divide::apart(folder, &pairs, groups)?;
    }
    let class_files = class_names(&pairs);
    let mut scan = Scan {
        folder: folder.to_path_buf(),
        pairs: Vec::new(),
        class_files,
        described: BTreeMap::new(),
        described_ignore: None,
        channel_names: Vec::new(),
        channels: 1,
        notes,
        problems: Vec::new(),
    };
    if let Some(described) = described {
        (scan.described, scan.described_ignore, scan.channel_names) = (described.classes, described.ignore, described.channels);
    }
    for (i, files) in pairs.iter().enumerate() {
        let group = groups.as_ref().and_then(|groups| groups.get(i).cloned());
        match opened(files, group, scan.class_files.as_deref(), options) {
            Ok(pair) => scan.pairs.push(pair),
            Err(error) => scan.problems.push(error),
        }
    }
    scan.look(options);
    Ok(scan)
}

/// The words for a folder without a pair, as exact as can be.
fn nothing(folder: &Path, tree: &Tree, images: &[PathBuf], masks: &[PathBuf]) -> DataError {
    let name = |path: &PathBuf| shown(path.strip_prefix(folder).unwrap_or(path));
    if let (Some(image), Some(mask)) = (images.first(), masks.first()) {
        let reason = format!(
            "no image has the name of a mask ({} images such as {}, {} masks such as {}); \
             names must be the same but for an ending such as _image or _mask",
            images.len(),
            name(image),
            masks.len(),
            name(mask)
        );
        return DataError::folder(folder, reason);
    }
    if let Some((foreign, path)) = tree.foreign.first() {
        return DataError::not_read(path, foreign.kind, foreign.way_out);
    }
    let found = match (images.first(), masks.first()) {
        (Some(image), _) => format!("{} images such as {} but no masks", images.len(), name(image)),
        (_, Some(mask)) => format!("{} masks such as {} but no images", masks.len(), name(mask)),
        _ => "no images and masks".to_owned(),
    };
    let reason = format!(
        "{found}; expected images/ and masks/ (or --images-in FOLDER --masks-in FOLDER), or NAME_image and NAME_label side by side, \
         as PNG, JPEG, TIFF, NIfTI, .npy or .npz"
    );
    DataError::folder(folder, reason)
}

/// Tells of files that are of no use.
fn left_out(tree: &Tree, options: &Options, notes: &mut Vec<Note>) {
    if !tree.hidden.is_empty() {
        notes.push(Note::of(About::Hidden, "hidden files are skipped", &tree.hidden));
    }
    let mut kinds: BTreeMap<_, Vec<PathBuf>> = BTreeMap::new();
    for (kind, path) in &tree.foreign {
        kinds.entry(*kind).or_default().push(path.clone());
    }
    for (kind, files) in kinds {
        notes.push(Note::of(About::NotRead, format!("{} is not read; {}", kind.kind, kind.way_out), &files));
    }
    let known = |path: &&PathBuf| {
        let described = path.file_name().is_some_and(|name| name == "dataset.json");
        !described && options.split.as_ref() != Some(*path)
    };
    let others: Vec<PathBuf> = tree.others.iter().filter(known).cloned().collect();
    if !others.is_empty() {
        notes.push(Note::of(About::OtherFiles, "files that are neither images nor masks are left alone", &others));
    }
}

/// Names of classes that have a file each, in the order of their names.
fn class_names(pairs: &[PairFiles]) -> Option<Vec<String>> {
    let names = pairs.iter().filter_map(|pair| match &pair.masks {
        MaskFiles::Classes(files) => Some(files.iter().map(|(name, _)| name.clone())),
        _ => None,
    });
    let mut names: Vec<String> = names.flatten().collect();
    names.sort_by_key(|name| name.to_lowercase());
    names.dedup_by_key(|name| name.to_lowercase());
    (!names.is_empty()).then_some(names)
}

fn source(path: &Path, members: &[&str]) -> Result<Source, DataError> {
    let header = header_of(path, Wanted { members })?;
    if header.shape().contains(&0) {
        return Err(DataError::values(path, "has no pixels"));
    }
    Ok(Source { path: path.to_path_buf(), header, channel_axis: None })
}

/// Reads the headers of a pair and compares them.
fn opened(files: &PairFiles, group: Option<String>, classes: Option<&[String]>, options: &Options) -> Result<Pair, DataError> {
    let mut images = files.images.iter().map(|path| source(path, IMAGE_MEMBERS)).collect::<Result<Vec<_>, _>>()?;
    let mask = |path: &PathBuf| source(path, MASK_MEMBERS);
    let mut masks = match &files.masks {
        MaskFiles::One(path) => Masks::One(mask(path)?),
        MaskFiles::Instances(paths) => Masks::Instances(paths.iter().map(mask).collect::<Result<_, _>>()?),
        MaskFiles::Classes(named) => {
            let mut all = vec![None; classes.map_or(0, <[_]>::len)];
            for (name, path) in named {
                let at = classes.into_iter().flatten().position(|class| class.to_lowercase() == name.to_lowercase());
                if let Some(place) = at.and_then(|at| all.get_mut(at)) {
                    *place = Some(mask(path)?);
                }
            }
            Masks::Classes(all)
        }
    };
    let reference: Vec<usize> = masks.sources().first().map(|mask| mask.header.size.clone()).unwrap_or_default();
    for image in &mut images {
        settle(image, &reference, options)?;
    }
    let Some(first) = images.first() else { return Err(DataError::folder(Path::new(&files.name), "has no image")) };
    let size = first.header.size.clone();
    let all = match &mut masks {
        Masks::One(source) => vec![source],
        Masks::Instances(all) => all.iter_mut().collect(),
        Masks::Classes(all) => all.iter_mut().flatten().collect(),
    };
    for mask in all {
        settle(mask, &size, options)?;
        same_space(first, mask)?;
    }
    for image in images.iter().skip(1) {
        same_space(first, image)?;
    }
    let colours = |image: &Source| if image.header.palette && image.header.colour { 3 } else { image.header.channels };
    let channels = images.iter().map(colours).sum();
    Ok(Pair { name: files.name.clone(), split: files.split, group, images, masks, size, channels })
}

/// Decides which axis of an array is channels, by the size of what it goes with.
fn settle(source: &mut Source, size: &[usize], options: &Options) -> Result<(), DataError> {
    let header = &mut source.header;
    if header.axes_known {
        return Ok(());
    }
    let axes = header.size.clone();
    let without =
        |axis: usize| -> Vec<usize> { axes.iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, &n)| n).collect() };
    let fits: Vec<usize> =
        if axes.len() == size.len() + 1 { (0..axes.len()).filter(|&axis| without(axis) == size).collect() } else { Vec::new() };
    let axis = match (fits[..].as_ref(), options.channels) {
        _ if axes == size => return Ok(()),
        ([], _) => return Ok(()),
        ([only], _) => *only,
        (_, Some(ChannelAxis::First)) => 0,
        (_, Some(ChannelAxis::Last)) => axes.len() - 1,
        _ => {
            let reason =
                format!("shape {axes:?}: are channels the first axis or the last? say --channels first or --channels last");
            return Err(DataError::values(&source.path, reason));
        }
    };
    header.channels = axes.get(axis).copied().unwrap_or(1);
    header.size = without(axis);
    source.channel_axis = Some(axis);
    Ok(())
}

/// A size for a message, the width first, as people say it.
fn dimensions(size: &[usize]) -> String {
    let lengths: Vec<String> = size.iter().rev().map(usize::to_string).collect();
    lengths.join("x")
}

/// Refuses a mask, or a second channel, of another size, spacing or orientation.
fn same_space(image: &Source, mask: &Source) -> Result<(), DataError> {
    let differs = |what, found: String, expected: String| {
        Err(DataError::Mismatch { mask: mask.path.clone(), what, found, image: image.path.clone(), expected })
    };
    let [a, b] = [&image.header, &mask.header];
    if a.size != b.size {
        return differs("is of size", dimensions(&b.size), dimensions(&a.size));
    }
    if let (Some(x), Some(y)) = (&a.orientation, &b.orientation)
        && x != y
    {
        return differs("runs to", y.clone(), x.clone());
    }
    if let (Some(x), Some(y)) = (&a.spacing, &b.spacing)
        && x.iter().zip(y).any(|(x, y)| (x - y).abs() > 1e-3 * x.max(*y))
    {
        return differs("has a spacing of", format!("{y:?} mm"), format!("{x:?} mm"));
    }
    Ok(())
}

impl Scan {
    /// Looks at the headers of all pairs together.
    fn look(&mut self, options: &Options) {
        let images = || self.pairs.iter().flat_map(|pair| &pair.images);
        let named = |keep: &dyn Fn(&Header) -> bool| -> Vec<PathBuf> {
            images().filter(|image| keep(&image.header)).map(|image| image.path.clone()).collect()
        };
        let mut notes = Vec::new();
        let mut tell = |about, text: &str, files: Vec<PathBuf>| {
            if !files.is_empty() {
                notes.push(Note::of(about, text, &files));
            }
        };
        tell(About::Alpha, "transparency is dropped", named(&|header| header.alpha));
        tell(
            About::Turned,
            "the camera asks for these to be turned, which is not done: masks lie on the picture as it is stored",
            named(&|header| header.turned),
        );
        let spaced = named(&|header| header.spacing.is_some());
        if !spaced.is_empty() {
            tell(About::Space, "these have no spacing; 1 is taken", named(&|header| header.spacing.is_none()));
        }
        let mut ways: BTreeMap<&str, usize> = BTreeMap::new();
        for orientation in images().filter_map(|image| image.header.orientation.as_deref()) {
            *ways.entry(orientation).or_default() += 1;
        }
        if ways.len() > 1 {
            let text: Vec<String> = ways.iter().map(|(way, count)| format!("{count} to {way}")).collect();
            let text =
                format!("axes run differently ({}); reading turns nothing, and training turns all to one", text.join(", "));
            notes.push(Note::new(About::Space, text));
        }
        // Colour and grey together become colour.
        let greatest = self.pairs.iter().map(|pair| pair.channels).max().unwrap_or(1);
        let colour = self.pairs.iter().any(|pair| pair.channels == 3 && pair.images.iter().any(|image| image.header.colour));
        let grey: Vec<PathBuf> =
            self.pairs.iter().filter(|p| p.channels == 1).filter_map(|p| p.images.first().map(|i| i.path.clone())).collect();
        self.channels = if options.grey { 1 } else { greatest };
        if !options.grey && colour && greatest == 3 && !grey.is_empty() {
            notes.push(Note::of(
                About::Channels,
                "grey images among colour ones get three equal channels; --grey makes all grey",
                &grey,
            ));
        }
        self.notes.append(&mut notes);
        let channels = self.channels;
        let fits = |pair: &Pair| {
            pair.channels == channels
                || options.grey && pair.channels == 3 && pair.images.iter().any(|image| image.header.colour)
                || colour && channels == 3 && pair.channels == 1
        };
        let (fit, odd): (Vec<Pair>, Vec<Pair>) = std::mem::take(&mut self.pairs).into_iter().partition(fits);
        self.pairs = fit;
        for pair in odd {
            let path = pair.images.first().map(|image| image.path.clone()).unwrap_or_default();
            let reason = if options.grey {
                format!("has {} channels, which are no colour that --grey can make grey", pair.channels)
            } else {
                format!("has {} channels, but others have {channels}", pair.channels)
            };
            self.problems.push(DataError::values(&path, reason));
        }
        let ranks: Vec<usize> = self.pairs.iter().map(|pair| pair.size.len()).collect();
        if let (Some(least), Some(most)) = (ranks.iter().min(), ranks.iter().max())
            && least != most
        {
            self.notes.push(Note::new(About::Space, "pictures and volumes are mixed"));
        }
    }
}
