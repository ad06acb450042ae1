//! Which images are for what: by a file, and never a group on both sides.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::names::{Split, folded};
use super::pairs::PairFiles;
use crate::error::{DataError, plain};
use crate::formats::{Format, whole};
use crate::note::{About, Note};
use crate::options::Group;

/// Sets splits as a file says. Images that it does not name are left out, and told of.
pub(super) fn by_file(path: &Path, fold: usize, pairs: &mut Vec<PairFiles>, notes: &mut Vec<Note>) -> Result<(), DataError> {
    let bytes = whole(path)?;
    let text = String::from_utf8(bytes).map_err(|_| DataError::folder(path, "a split file is text or JSON"))?;
    let json = text.trim_start().starts_with(['{', '[']);
    let listed = if json { of_json(path, &text, fold)? } else { of_lines(path, &text)? };
    let mut used = BTreeSet::new();
    let mut left_out = Vec::new();
    pairs.retain_mut(|pair| {
        let keys = [folded(&pair.name), folded(pair.name.rsplit('/').next().unwrap_or_default())];
        let key = keys.into_iter().find(|key| listed.contains_key(key));
        match key.and_then(|key| listed.get(&key).map(|split| (key, *split))) {
            Some((key, split)) => {
                pair.split = Some(split);
                used.insert(key);
                true
            }
            None => {
                left_out.extend(pair.images.first().cloned());
                false
            }
        }
    });
    if let Some(name) = listed.keys().find(|name| !used.contains(*name)) {
        let reason = format!("names {}, but there is no such image with a mask", plain(name));
        return Err(DataError::folder(path, reason));
    }
    if !left_out.is_empty() {
        notes.push(Note::of(About::Split, "images that the split file does not name are left out", &left_out));
    }
    Ok(())
}

/// A name as a split file writes it: with or without its folder and its ending.
fn bare(name: &str) -> String {
    let name = name.trim().trim_matches('"');
    let (folders, last) = name.rsplit_once(['/', '\\']).map_or((None, name), |(folders, last)| (Some(folders), last));
    let last = Format::of_name(last).map_or(last, |(_, stem)| stem);
    folded(&folders.map_or_else(|| last.to_owned(), |folders| format!("{folders}/{last}")))
}

/// `{"train": [..], "val": [..]}`, or a list of such folds, as nnU-Net's `splits_final.json` is.
fn of_json(path: &Path, text: &str, fold: usize) -> Result<BTreeMap<String, Split>, DataError> {
    let json: Value = serde_json::from_str(text).map_err(|error| DataError::folder(path, format!("not JSON: {error}")))?;
    let folds = json.as_array().map_or(1, Vec::len);
    let one = match &json {
        Value::Array(all) => all.get(fold),
        one => (fold == 0).then_some(one),
    };
    let one = one.and_then(Value::as_object);
    let one = one.ok_or_else(|| {
        DataError::option("fold", fold.to_string(), format!("the split file has {folds} folds, counted from 0"))
    })?;
    let mut listed = BTreeMap::new();
    for (word, names) in one {
        let (Some(split), Some(names)) = (Split::of_word(word), names.as_array()) else { continue };
        for name in names.iter().filter_map(Value::as_str) {
            insert(path, &mut listed, bare(name), split)?;
        }
    }
    Ok(listed)
}

/// Lines of a name and a split, divided by a comma, a tab or spaces; a first line may be a heading.
fn of_lines(path: &Path, text: &str) -> Result<BTreeMap<String, Split>, DataError> {
    let mut listed = BTreeMap::new();
    for (i, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let cut = line
            .rsplit_once([',', '\t', ';', ' '])
            .map(|(name, word)| (name.trim_end_matches([',', '\t', ';', ' ']), word.trim()));
        match cut.and_then(|(name, word)| Some((name, Split::of_word(word.trim_matches('"'))?))) {
            Some((name, split)) => insert(path, &mut listed, bare(name), split)?,
            None if i == 0 => {}
            None => {
                let reason = format!("line {}: expected a name and train, val or test, found {}", i + 1, plain(line));
                return Err(DataError::folder(path, reason));
            }
        }
    }
    Ok(listed)
}

fn insert(path: &Path, listed: &mut BTreeMap<String, Split>, name: String, split: Split) -> Result<(), DataError> {
    match listed.insert(name.clone(), split) {
        Some(other) if other != split => {
            Err(DataError::folder(path, format!("has {} both in {other} and in {split}", plain(&name))))
        }
        _ => Ok(()),
    }
}

/// The group of each image. An image without one is a group of its own, which is told.
pub(super) fn groups(group: &Group, pairs: &[PairFiles], notes: &mut Vec<Note>) -> Vec<String> {
    let found: Vec<Option<String>> = pairs.iter().map(|pair| group.of(&pair.name)).collect();
    let none: Vec<_> =
        pairs.iter().zip(&found).filter(|(_, group)| group.is_none()).filter_map(|(p, _)| p.images.first().cloned()).collect();
    if !none.is_empty() {
        notes.push(Note::of(About::Split, "--group does not match these images, each of which is a group of its own", &none));
    }
    found.into_iter().zip(pairs).map(|(group, pair)| group.unwrap_or_else(|| pair.name.clone())).collect()
}

/// Refuses a group that stands on two sides.
pub(super) fn apart(root: &Path, pairs: &[PairFiles], groups: &[String]) -> Result<(), DataError> {
    let mut sides: BTreeMap<&str, Split> = BTreeMap::new();
    for (pair, group) in pairs.iter().zip(groups) {
        let Some(split) = pair.split else { continue };
        if let Some(other) = sides.insert(group, split)
            && other != split
        {
            let reason = format!("group {} stands in {other} and in {split}; divide them anew with --split FILE", plain(group));
            return Err(DataError::folder(root, reason));
        }
    }
    Ok(())
}
