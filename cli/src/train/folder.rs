//! Images and label maps from a folder, as far as the trainer can take them.

use std::path::Path;

use ndarray::{Array3, Array4, ArrayD, Axis, IxDyn};
use segloss_data::{Common, Counts, Item, Options, Pair, Split, Target};

use super::data::{Dataset, IGNORED, MOST_CLASSES, Picture, Reading, Truth};
use super::space::{Spacing, common};
use crate::error::CliError;

/// Reads a folder. Where names or a file divide it, validates with what is called val, else with
/// test; where nothing does, holds out the last quarter by name, groups as a whole.
pub(crate) fn dataset(folder: &Path, options: &Options, spacing: Spacing) -> Result<Dataset, CliError> {
    let refuse = |reason: String| CliError::Folder { path: folder.to_path_buf(), reason };
    let mut data = segloss_data::Dataset::open(folder, options)?;
    if !data.scan.problems.is_empty() {
        return Err(data.scan.problems.remove(0).into());
    }
    let volumes = ranks(&data.scan.pairs).map_err(refuse)?;
    if data.classes.len() > MOST_CLASSES {
        return Err(refuse(format!("has {} classes; train takes at most {MOST_CLASSES}", data.classes.len())));
    }
    let mut notes: Vec<String> = data.scan.notes.iter().map(|note| note.line(folder)).collect();
    notes.extend(ignored(&data));
    let [train, validation] = divided(&data, &mut notes).map_err(refuse)?;
    let common = common(&data.scan.pairs, &train, spacing, &mut notes)?;
    let one = |i: &usize| picture(&data, *i, &common);
    let read = |all: &[usize]| all.iter().map(one).collect::<Result<Vec<Picture>, CliError>>();
    let (train, validation) = (read(&train)?, read(&validation)?);
    for (pictures, what) in [(&train, "to learn from"), (&validation, "to validate with")] {
        if pictures.iter().all(|picture| picture.truth.count(&mut vec![0.0; data.classes.len()]) == 0.0) {
            return Err(refuse(format!("every pixel of the images {what} is ignored")));
        }
    }
    Ok(Dataset {
        origin: segloss_data::shown(folder),
        classes: data.classes.len(),
        class_names: std::mem::take(&mut data.classes),
        reading: Reading {
            colour: data.scan.channels == 3
                && data.scan.pairs.iter().flat_map(|pair| &pair.images).any(|image| image.header.colour),
            grey: options.grey,
            scale: options.scale,
        },
        overlapping: matches!(data.coding, segloss_data::Coding::Overlapping),
        channels: data.scan.channels,
        volumes,
        common,
        notes,
        train,
        validation,
    })
}

/// Whether the images are volumes, all of them.
fn ranks(pairs: &[Pair]) -> Result<bool, String> {
    let odd = pairs.iter().find(|pair| !matches!(pair.size.len(), 2 | 3));
    if let Some(pair) = odd {
        let size: Vec<String> = pair.size.iter().rev().map(usize::to_string).collect();
        return Err(format!("{} is an array of {}; train takes pictures and volumes", pair.name, size.join("x")));
    }
    let of = |rank: usize| pairs.iter().find(|pair| pair.size.len() == rank);
    match (of(2), of(3)) {
        (Some(picture), Some(volume)) => Err(format!(
            "{} is a picture and {} a volume, which one network cannot take; put them in folders of their own",
            picture.name, volume.name
        )),
        (_, volume) => Ok(volume.is_some()),
    }
}

/// The share of pixels that do not count, and the mask that has most of them.
fn ignored(data: &segloss_data::Dataset) -> Option<String> {
    let [pixels, ignored] =
        [|c: &Counts| c.pixels, |c: &Counts| c.ignored].map(|of| data.counts.iter().map(of).sum::<u64>() as f64);
    let share = |counts: &Counts| counts.ignored as f64 / (counts.pixels as f64).max(1.0);
    let (pair, worst) = data.scan.pairs.iter().zip(&data.counts).max_by(|a, b| share(a.1).total_cmp(&share(b.1)))?;
    let [all, most] = [ignored / pixels.max(1.0), share(worst)].map(|share| 100.0 * share);
    (ignored > 0.0).then(|| format!("{all:.1} % of the pixels are ignored, most in {} ({most:.1} %)", pair.name))
}

/// Which images are to learn from and which to validate with.
fn divided(data: &segloss_data::Dataset, notes: &mut Vec<String>) -> Result<[Vec<usize>; 2], String> {
    let pairs = &data.scan.pairs;
    let of = |split: Split| -> Vec<usize> { (0..pairs.len()).filter(|i| pairs[*i].split == Some(split)).collect() };
    let [train, validation, test] = [Split::Train, Split::Validation, Split::Test].map(of);
    let none = pairs.iter().filter(|pair| pair.split.is_none()).count();
    match (train.is_empty(), validation.is_empty(), test.is_empty()) {
        (true, true, true) => held_out(data),
        (true, ..) => Err("has images to validate or test with but none to learn from (train)".into()),
        (false, true, true) => Err("has images to learn from (train) but none to validate with (val or test)".into()),
        (false, without, _) => {
            if none > 0 {
                notes.push(format!("{none} images that are called neither train nor val nor test are left out"));
            }
            if !without && !test.is_empty() {
                notes.push(format!("images to test with are not touched ({})", test.len()));
            }
            Ok([train, if without { test } else { validation }])
        }
    }
}

/// The last quarter by name, of groups where there are such.
fn held_out(data: &segloss_data::Dataset) -> Result<[Vec<usize>; 2], String> {
    let pairs = &data.scan.pairs;
    let groups: Vec<&str> = pairs.iter().map(group).collect();
    let Some(held) = last_quarter(&groups) else {
        let thing = if pairs.iter().any(|pair| pair.group.is_some()) { "group" } else { "pair" };
        return Err(format!("holds one {thing}; two are needed, one to learn from and one to validate with"));
    };
    Ok([false, true].map(|side| (0..pairs.len()).filter(|i| held[*i] == side).collect()))
}

/// The group of a pair; its name where it has none.
fn group(pair: &Pair) -> &str {
    pair.group.as_deref().unwrap_or(&pair.name)
}

/// Which images belong to the last quarter of the groups, by name; none where there is one group.
pub(crate) fn last_quarter(groups: &[&str]) -> Option<Vec<bool>> {
    let mut names = groups.to_vec();
    names.sort_unstable();
    names.dedup();
    let count = ((names.len() as f64 / 4.0).round() as usize).max(1);
    let first = names.len().checked_sub(count).filter(|first| *first > 0).and_then(|first| names.get(first))?;
    Some(groups.iter().map(|group| group >= first).collect())
}

/// Reads an image and brings it to the common grid.
fn picture(data: &segloss_data::Dataset, i: usize, common: &Common) -> Result<Picture, CliError> {
    let pair = &data.scan.pairs[i];
    let Item { name, image, target, .. } = data.item(i)?;
    let plain = slices(data.image(i)?);
    let (image, grid) = (slices(image), super::space::grid(pair, common));
    let overlapping = matches!(target, Target::Overlapping(_));
    let refuse = || CliError::Folder { path: data.scan.folder.clone(), reason: format!("{name}: masks of an unknown kind") };
    let truth = truth(target).ok_or_else(refuse)?;
    let own = truth.regions(overlapping);
    let source = pair.images.first().filter(|image| image.header.format == segloss_data::formats::Format::Nifti);
    Ok(Picture {
        name,
        group: group(pair).to_owned(),
        pixels: grey(&plain),
        input: if grid.is_same() { image } else { grid.image(&image) },
        truth: if grid.is_same() { truth } else { truth.on(&grid) },
        own,
        spacing: super::space::spacing(pair).unwrap_or([1.0; 3]),
        source: source.map(|image| image.path.clone()),
        grid,
    })
}

/// A target as the trainer has it; none of a kind that is not known here.
pub(crate) fn truth(target: Target) -> Option<Truth> {
    Some(match target {
        // What does not count is IGNORED, and so is -1.
        Target::Labels(labels) => {
            let labels = slices(labels.mapv(|label| u8::try_from(label).unwrap_or(IGNORED)).insert_axis(Axis(0)));
            Truth::Labels(labels.index_axis_move(Axis(0), 0))
        }
        Target::Soft(shares) | Target::Overlapping(shares) => Truth::Shares(slices(shares)),
        _ => return None,
    })
}

/// [C, D, H, W] of [C, *size]: a picture becomes a volume of one slice. Ranks were looked at
/// before.
pub(crate) fn slices<E: Clone + Default>(array: ArrayD<E>) -> Array4<E> {
    let mut shape = array.shape().to_vec();
    while shape.len() < 4 {
        shape.insert(1.min(shape.len()), 1);
    }
    let array = if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() };
    let shaped = array.into_shape_with_order(IxDyn(&shape)).and_then(|array| array.into_dimensionality());
    shaped.unwrap_or_default()
}

/// Grey values to be looked at: the mean of the channels, 8-bit images as they are, others from
/// their least to their greatest number.
fn grey(image: &Array4<f32>) -> Array3<u8> {
    let Some(mean) = image.mean_axis(Axis(0)) else { return Array3::default([0, 0, 0]) };
    let [low, high] = mean.iter().fold([f32::INFINITY, f32::NEG_INFINITY], |[a, b], &v| [a.min(v), b.max(v)]);
    let bytes = low >= 0.0 && high <= 255.0 && high > 1.0 && image.shape()[1] == 1;
    let (low, scale) = if bytes { (0.0, 1.0) } else { (low, 255.0 / (high - low).max(f32::MIN_POSITIVE)) };
    mean.mapv(|v| ((v - low) * scale).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_held_out_as_a_whole() {
        assert_eq!(last_quarter(&["b", "a", "c", "d", "d"]), Some(vec![false, false, false, true, true]));
        assert_eq!(last_quarter(&["a", "b"]), Some(vec![false, true]));
        let many: Vec<String> = (10..73).map(|i| i.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(last_quarter(&many).unwrap().iter().filter(|held| **held).count(), 16);
        assert_eq!(last_quarter(&["a", "a"]), None);
        assert_eq!(last_quarter(&[]), None);
    }
}
