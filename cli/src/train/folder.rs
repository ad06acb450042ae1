//! Images and label maps from a folder, as far as the trainer can take them.

use std::path::Path;

use ndarray::{Array2, Array3, Axis, Ix2, Ix3};
use segloss_data::{Counts, Item, Options, Split, Target};

use super::data::{Dataset, IGNORED, MOST_CLASSES, Picture};
use crate::error::CliError;

/// Reads a folder. Where names or a file divide it, validates with what is called val, else with
/// test; where nothing does, holds out the last quarter by name, groups as a whole.
pub(crate) fn dataset(folder: &Path, options: &Options) -> Result<Dataset, CliError> {
    let refuse = |reason: String| CliError::Folder { path: folder.to_path_buf(), reason };
    let mut data = segloss_data::Dataset::open(folder, options)?;
    if !data.scan.problems.is_empty() {
        return Err(data.scan.problems.remove(0).into());
    }
    if let Some(pair) = data.scan.pairs.iter().find(|pair| pair.size.len() != 2) {
        let size: Vec<String> = pair.size.iter().rev().map(usize::to_string).collect();
        let what = if pair.size.len() == 3 { "a volume of" } else { "an array of" };
        let reason =
            format!("{} is {what} {}; train takes 2-D images alone, segloss data looks at volumes", pair.name, size.join("x"));
        return Err(refuse(reason));
    }
    if data.classes.len() > MOST_CLASSES {
        return Err(refuse(format!("has {} classes; train takes at most {MOST_CLASSES}", data.classes.len())));
    }
    let mut notes: Vec<String> = data.scan.notes.iter().map(|note| note.line(folder)).collect();
    notes.extend(ignored(&data));
    let [train, validation] = divided(&data, &mut notes).map_err(refuse)?;
    let one = |i: &usize| picture(folder, data.item(*i)?, data.image(*i)?);
    let read = |all: &[usize]| all.iter().map(one).collect::<Result<Vec<Picture>, CliError>>();
    let (train, validation) = (read(&train)?, read(&validation)?);
    for (pictures, what) in [(&train, "to learn from"), (&validation, "to validate with")] {
        if pictures.iter().all(|picture| picture.labels.iter().all(|label| *label == IGNORED)) {
            return Err(refuse(format!("every pixel of the images {what} is ignored")));
        }
    }
    Ok(Dataset {
        origin: segloss_data::shown(folder),
        classes: data.classes.len(),
        channels: data.scan.channels,
        notes,
        train,
        validation,
    })
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
    let mut groups: Vec<&str> = pairs.iter().map(|pair| pair.group.as_deref().unwrap_or(&pair.name)).collect();
    let of = groups.clone();
    groups.sort_unstable();
    groups.dedup();
    let grouped = pairs.iter().any(|pair| pair.group.is_some());
    if groups.len() < 2 {
        let thing = if grouped { "group" } else { "pair" };
        return Err(format!("holds one {thing}; two are needed, one to learn from and one to validate with"));
    }
    let count = ((groups.len() as f64 / 4.0).round() as usize).max(1);
    let last = groups.get(groups.len() - count).copied().unwrap_or_default();
    Ok([false, true].map(|held| (0..pairs.len()).filter(|i| (of[*i] >= last) == held).collect()))
}

fn picture(folder: &Path, item: Item, plain: ndarray::ArrayD<f32>) -> Result<Picture, CliError> {
    let name = item.name;
    let refuse = |what: &str| {
        let reason = format!("{name}: train cannot learn from {what} yet; segloss data looks at them");
        CliError::Folder { path: folder.to_path_buf(), reason }
    };
    let labels = match item.target {
        Target::Labels(labels) => labels,
        Target::Soft(_) => return Err(refuse("votes or probabilities")),
        _ => return Err(refuse("classes that overlap")),
    };
    let flat = |_| refuse("an array of this shape");
    let labels: Array2<i32> = labels.into_dimensionality::<Ix2>().map_err(flat)?;
    let input: Array3<f32> = item.image.into_dimensionality::<Ix3>().map_err(flat)?;
    let plain: Array3<f32> = plain.into_dimensionality::<Ix3>().map_err(flat)?;
    // What does not count is IGNORED, and so is -1.
    let labels = labels.mapv(|label| u8::try_from(label).unwrap_or(IGNORED));
    Ok(Picture { pixels: grey(&plain), name, labels, input })
}

/// Grey values to be looked at: the mean of the channels, 8-bit images as they are, others from
/// their least to their greatest number.
fn grey(image: &Array3<f32>) -> Array2<u8> {
    let Some(mean) = image.mean_axis(Axis(0)) else { return Array2::default([0, 0]) };
    let [low, high] = mean.iter().fold([f32::INFINITY, f32::NEG_INFINITY], |[a, b], &v| [a.min(v), b.max(v)]);
    let bytes = low >= 0.0 && high <= 255.0 && high > 1.0;
    let (low, scale) = if bytes { (0.0, 1.0) } else { (low, 255.0 / (high - low).max(f32::MIN_POSITIVE)) };
    mean.mapv(|v| ((v - low) * scale).round() as u8)
}
