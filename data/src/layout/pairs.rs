//! Which mask goes with which image.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::names::{Role, Split, beyond_split, channel, folded, role_of_folder, role_of_stem, split_of_folder};
use super::walk::Found;
use crate::error::{DataError, plain};
use crate::formats::{Format, names_in};
use crate::options::Options;

/// Names of an image in an archive, and of a mask.
pub(crate) const IMAGE_MEMBERS: &[&str] = &["image", "images", "img", "data", "x", "ct", "input"];
pub(crate) const MASK_MEMBERS: &[&str] = &["mask", "masks", "label", "labels", "seg", "segmentation", "gt", "target", "y"];

/// The masks of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MaskFiles {
    /// All classes in one file.
    One(PathBuf),
    /// One file for each object.
    Instances(Vec<PathBuf>),
    /// One file for each class, which may overlap.
    Classes(Vec<(String, PathBuf)>),
}

/// An image with its masks, before any of them is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PairFiles {
    pub(super) name: String,
    pub(super) split: Option<Split>,
    /// One, or one for each channel.
    pub(super) images: Vec<PathBuf>,
    pub(super) masks: MaskFiles,
}

/// What pairing comes to.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub(super) pairs: Vec<PairFiles>,
    pub(super) images_alone: Vec<PathBuf>,
    pub(super) masks_alone: Vec<PathBuf>,
    /// Images and masks outside of the places that options give.
    pub(super) elsewhere: Vec<PathBuf>,
}

/// A file and what its names say.
#[derive(Clone, Debug)]
struct Candidate {
    found: Found,
    role: Option<Role>,
    /// The folder or ending that gave the role.
    by: String,
    split: Option<Split>,
    /// Folders that say neither role nor split, without case.
    folders: Vec<String>,
    /// The name without what says the role, as it is written and without case.
    name: String,
    key: String,
    /// Whether its names give it a role that options give to another place.
    elsewhere: bool,
}

/// Where a role is looked for, as an option gives it.
enum Place {
    Folder(Vec<String>),
    Ending(String),
}

impl Place {
    fn of(text: &str) -> Self {
        if text.starts_with('_') {
            return Self::Ending(folded(text));
        }
        let parts = text.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".");
        Self::Folder(parts.map(folded).collect())
    }

    /// Where in the folders of a file this place is; of an ending, the name without it.
    fn find(&self, found: &Found) -> Option<(std::ops::Range<usize>, Option<String>)> {
        match self {
            Self::Ending(ending) => {
                let name = folded(&found.stem);
                let rest = name.strip_suffix(ending.as_str()).filter(|rest| !rest.is_empty())?;
                // Lower case may have another length.
                Some((0..0, Some(found.stem.get(..rest.len()).unwrap_or(rest).to_owned())))
            }
            Self::Folder(parts) => {
                let folders: Vec<String> = found.folders.iter().map(|folder| folded(folder)).collect();
                let at = folders.windows(parts.len().max(1)).position(|window| window == &parts[..])?;
                Some((at..at + parts.len(), None))
            }
        }
    }
}

fn candidate(found: &Found, images: Option<&Place>, masks: Option<&Place>) -> Candidate {
    let given = [(Role::Mask, masks), (Role::Image, images)];
    let told = given.iter().find_map(|(role, place)| place.and_then(|place| place.find(found)).map(|at| (*role, at)));
    let mut role = told.as_ref().map(|(role, _)| *role);
    let used = told.as_ref().map_or(0..0, |(_, (range, _))| range.clone());
    let mut by = found.folders.get(used.clone()).map(|folders| folders.join("/")).unwrap_or_default();
    // Where a role's place is given, nothing else has that role.
    let open = |of: Role| given.iter().all(|(role, place)| *role != of || place.is_none());
    let mut split = None;
    let mut folders = Vec::new();
    let mut elsewhere = false;
    for (i, folder) in found.folders.iter().enumerate() {
        if used.contains(&i) {
            split = split.or_else(|| split_of_folder(folder));
            continue;
        }
        let says = split_of_folder(folder);
        split = split.or(says);
        elsewhere |= told.is_none() && role_of_folder(folder).is_some_and(|of| !open(of));
        match role_of_folder(folder).filter(|of| open(*of)) {
            Some(of) if told.is_none() => {
                (role, by) = (Some(of), folder.clone());
            }
            Some(_) => {}
            // What is beyond the split's word tells folders apart: test_patient7.
            None if says.is_some() => folders.extend(beyond_split(folder)),
            None => folders.push(folded(folder)),
        }
    }
    let ending = told.and_then(|(_, (_, name))| name);
    let name = ending.unwrap_or_else(|| match role_of_stem(&found.stem) {
        // In a folder of masks, a_mask is the mask of a; an image may be called so too.
        Some((of, rest, word)) if role.is_none_or(|role| role == of) && (role.is_some() || open(of)) => {
            if role.is_none() {
                (role, by) = (Some(of), format!("_{word}"));
            }
            rest
        }
        Some((of, ..)) if role.is_none() && !open(of) => {
            elsewhere = true;
            found.stem.clone()
        }
        _ => found.stem.clone(),
    });
    let key = folded(&name);
    Candidate { found: found.clone(), role, by, split, folders, name, key, elsewhere }
}

/// What identifies an image: its split, its folders and its name.
type Key = (Option<Split>, Vec<String>, String);

fn key(candidate: &Candidate) -> Key {
    (candidate.split, candidate.folders.clone(), candidate.key.clone())
}

/// Puts the files of a folder together.
pub(super) fn pair(root: &Path, files: &[Found], options: &Options) -> Result<Pairs, DataError> {
    let [images, masks] = [&options.images, &options.masks].map(|text| text.as_deref().map(Place::of));
    let mut candidates: Vec<Candidate> = files.iter().map(|found| candidate(found, images.as_ref(), masks.as_ref())).collect();
    given_places_exist(root, options, &candidates)?;
    let mut result = Pairs::default();
    let (kept, elsewhere): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|candidate| !candidate.elsewhere);
    candidates = kept;
    result.elsewhere.extend(elsewhere.into_iter().map(|candidate| candidate.found.path));
    same_names(&mut candidates);
    archives(&mut candidates, &mut result)?;

    let of = |role: Role| candidates.iter().filter(move |c| c.role == Some(role));
    let mut masks: BTreeMap<Key, Vec<&Candidate>> = BTreeMap::new();
    for mask in of(Role::Mask) {
        masks.entry(key(mask)).or_default().push(mask);
    }
    one_kind(root, &masks, "masks")?;
    let mut images: BTreeMap<Key, Vec<&Candidate>> = BTreeMap::new();
    for image in of(Role::Image) {
        images.entry(key(image)).or_default().push(image);
    }
    // Beside a_mask.png, a.png needs no ending; where images have a place of their own, it is not
    // one.
    let unknown: Vec<&Candidate> = candidates.iter().filter(|c| c.role.is_none()).collect();
    let has_images = !images.is_empty();
    for image in unknown {
        if !has_images || masks.contains_key(&key(image)) && !images.contains_key(&key(image)) {
            images.entry(key(image)).or_default().push(image);
        } else {
            result.images_alone.push(image.found.path.clone());
        }
    }
    channels(&mut images, &masks);
    one_kind(root, &images, "images")?;

    let mut alone: Vec<(Key, Vec<&Candidate>)> = Vec::new();
    for (key, files) in &images {
        match masks.remove(key) {
            Some(mask) => {
                let paths = files.iter().map(|file| file.found.path.clone()).collect();
                let mask = mask.first().map(|mask| mask.found.path.clone()).unwrap_or_default();
                let name = shown_name(files, &key.2);
                result.pairs.push(PairFiles { name, split: key.0, images: paths, masks: MaskFiles::One(mask) });
            }
            None => alone.push((key.clone(), files.clone())),
        }
    }
    let left: Vec<&Candidate> = masks.values().flatten().copied().collect();
    many(alone, &left, &mut result);
    result.pairs.sort_by(|a, b| (a.split, &a.images).cmp(&(b.split, &b.images)));
    Ok(result)
}

/// Where an image and a mask in folders of their own are called the same, nothing of the names is
/// an ending: `images/image1` and `masks/image1`.
fn same_names(candidates: &mut [Candidate]) {
    let whole = |c: &Candidate| (c.split, c.folders.clone(), folded(&c.found.stem));
    let names = |role: Role| -> BTreeSet<Key> { candidates.iter().filter(|c| c.role == Some(role)).map(whole).collect() };
    let both: BTreeSet<Key> = names(Role::Image).intersection(&names(Role::Mask)).cloned().collect();
    for candidate in candidates {
        if candidate.role.is_some() && both.contains(&whole(candidate)) {
            candidate.name.clone_from(&candidate.found.stem);
            candidate.key = folded(&candidate.name);
        }
    }
}

/// The name of an image in lists: with its folders, where it has such.
fn shown_name(files: &[&Candidate], key: &str) -> String {
    let Some(first) = files.first() else { return String::new() };
    // Without the number of a channel, where that was taken off.
    let name = channel(&first.name).map(|(rest, _)| rest).filter(|rest| folded(rest) == key).unwrap_or(&first.name);
    let folders = first.found.folders.iter().filter(|folder| first.folders.contains(&folded(folder)));
    let parts: Vec<&str> = folders.map(String::as_str).chain([name]).collect();
    parts.join("/")
}

fn given_places_exist(root: &Path, options: &Options, candidates: &[Candidate]) -> Result<(), DataError> {
    for (option, role, place) in [("images-in", Role::Image, &options.images), ("masks-in", Role::Mask, &options.masks)] {
        let Some(place) = place else { continue };
        if !candidates.iter().any(|c| c.role == Some(role)) {
            let expected = format!("no file of {} lies in such a folder or has such an ending", crate::error::shown(root));
            return Err(DataError::option(option, place.clone(), expected));
        }
    }
    Ok(())
}

/// Archives that hold an image and its mask are pairs by themselves.
fn archives(candidates: &mut Vec<Candidate>, result: &mut Pairs) -> Result<(), DataError> {
    let mut kept = Vec::new();
    for candidate in candidates.drain(..) {
        if candidate.found.format == Format::Npz {
            let names = names_in(&candidate.found.path)?;
            let has = |of: &[&str]| names.iter().any(|name| of.iter().any(|member| name.eq_ignore_ascii_case(member)));
            if has(IMAGE_MEMBERS) && has(MASK_MEMBERS) {
                let path = candidate.found.path.clone();
                let name = shown_name(&[&candidate], &candidate.key);
                let masks = MaskFiles::One(path.clone());
                result.pairs.push(PairFiles { name, split: candidate.split, images: vec![path], masks });
                continue;
            }
        }
        kept.push(candidate);
    }
    *candidates = kept;
    Ok(())
}

/// Refuses two files for the same thing.
fn one_kind(root: &Path, files: &BTreeMap<Key, Vec<&Candidate>>, what: &'static str) -> Result<(), DataError> {
    for files in files.values() {
        let numbered = || files.iter().all(|file| channel(&file.found.stem).is_some());
        let [first, second, ..] = files[..] else { continue };
        if what == "images" && numbered() {
            continue;
        }
        let places: BTreeSet<&str> = files.iter().map(|file| file.by.as_str()).collect();
        let option = if what == "masks" { "--masks-in" } else { "--images-in" };
        let name = plain(&first.name);
        if places.len() > 1 {
            let places: Vec<String> = places.iter().map(|place| plain(place)).collect();
            let reason = format!("has {what} of {name} in {}; say which are meant with {option}", places.join(" and "));
            return Err(DataError::folder(root, reason));
        }
        let [first, second] =
            [first, second].map(|file| crate::error::shown(file.found.path.strip_prefix(root).unwrap_or(&file.found.path)));
        let reason =
            format!("has two {what} of {name}, {first} and {second}; move one away, or say where they are with {option}");
        return Err(DataError::folder(root, reason));
    }
    Ok(())
}

/// Puts files that end in a channel's number together, where the mask has none.
fn channels<'a>(images: &mut BTreeMap<Key, Vec<&'a Candidate>>, masks: &BTreeMap<Key, Vec<&'a Candidate>>) {
    let numbered: Vec<(Key, Key)> = images
        .keys()
        .filter(|key| !masks.contains_key(*key))
        .filter_map(|key| {
            let (rest, _) = channel(&key.2)?;
            let whole = (key.0, key.1.clone(), rest.to_owned());
            // Images without masks are put together too: they are told of as one.
            Some((key.clone(), whole.clone())).filter(|_| masks.contains_key(&whole))
        })
        .collect();
    for (part, whole) in numbered {
        if let Some(files) = images.remove(&part) {
            images.entry(whole).or_default().extend(files);
        }
    }
}

/// Images with many masks: one of each object, or one of each class.
fn many(alone: Vec<(Key, Vec<&Candidate>)>, masks: &[&Candidate], result: &mut Pairs) {
    // What a mask is called beyond its image, by image.
    let mut groups: BTreeMap<usize, Vec<(String, &Candidate)>> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (at, mask) in masks.iter().enumerate() {
        let owner = alone.iter().position(|(key, _)| *key == below(mask)).map(|i| (i, mask.name.clone()));
        // masks/CLASS/a.png
        let owner = owner.or_else(|| {
            let (class, folders) = mask.folders.split_last()?;
            let key = (mask.split, folders.to_vec(), mask.key.clone());
            let i = alone.iter().position(|(of, _)| *of == key)?;
            let written = mask.found.folders.iter().find(|folder| folded(folder) == *class).unwrap_or(class);
            Some((i, written.clone()))
        });
        // a/images/a.png and a/masks/*.png
        let owner = owner.or_else(|| {
            let mut same = alone.iter().enumerate().filter(|(_, (key, _))| key.0 == mask.split && key.1 == mask.folders);
            let (i, _) = same.next().filter(|_| !mask.folders.is_empty())?;
            same.next().is_none().then(|| (i, mask.name.clone()))
        });
        // masks/a_CLASS.png
        let owner = owner.or_else(|| {
            let of = |(_, (key, _)): &(usize, &(Key, Vec<&Candidate>))| {
                key.0 == mask.split && key.1 == mask.folders && rest(&mask.key, &key.2).is_some()
            };
            let (i, (key, _)) = alone.iter().enumerate().filter(of).max_by_key(|(_, (key, _))| key.2.len())?;
            Some((i, rest(&mask.key, &key.2)?.to_owned()))
        });
        if let Some((i, name)) = owner {
            groups.entry(i).or_default().push((name, mask));
            taken.insert(at);
        }
    }
    let classes = are_classes(&groups);
    for (i, (key, files)) in alone.into_iter().enumerate() {
        let Some(group) = groups.remove(&i) else {
            result.images_alone.extend(files.iter().map(|file| file.found.path.clone()));
            continue;
        };
        let images = files.iter().map(|file| file.found.path.clone()).collect();
        let masks = if classes {
            MaskFiles::Classes(group.into_iter().map(|(name, mask)| (name, mask.found.path.clone())).collect())
        } else {
            MaskFiles::Instances(group.into_iter().map(|(_, mask)| mask.found.path.clone()).collect())
        };
        result.pairs.push(PairFiles { name: shown_name(&files, &key.2), split: key.0, images, masks });
    }
    let left = masks.iter().enumerate().filter(|(at, _)| !taken.contains(at));
    result.masks_alone.extend(left.map(|(_, mask)| mask.found.path.clone()));
}

/// The image that a mask in a folder of the image's name belongs to: masks/a/7.png.
fn below(mask: &Candidate) -> Key {
    let (name, folders) = mask.folders.split_last().map_or((String::new(), &[][..]), |(name, rest)| (name.clone(), rest));
    (mask.split, folders.to_vec(), name)
}

/// What follows an image's name and a mark in that of a mask.
fn rest<'a>(mask: &'a str, image: &str) -> Option<&'a str> {
    let rest = mask.strip_prefix(image)?;
    let mark = rest.chars().next().filter(|letter| !letter.is_alphanumeric())?;
    Some(&rest[mark.len_utf8()..]).filter(|rest| !rest.is_empty())
}

/// Classes have names that come again in other images; objects are numbered, or have names of their
/// own.
fn are_classes(groups: &BTreeMap<usize, Vec<(String, &Candidate)>>) -> bool {
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for (name, _) in groups.values().flatten() {
        *uses.entry(folded(name)).or_default() += 1;
    }
    let worded = |name: &String| name.chars().any(char::is_alphabetic) && name.chars().all(|c| !c.is_ascii_digit());
    let again = uses.iter().filter(|(name, count)| worded(name) && (**count > 1 || groups.len() == 1)).count();
    again > 0 && 2 * again >= uses.len()
}
