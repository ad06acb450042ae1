//! What a folder holds, in numbers: before anything is trained.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::dataset::Dataset;
use crate::labels::Coding;
use crate::layout::{Masks, Split};
use crate::note::Note;

/// A class over all images.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClassSurvey {
    /// Its name.
    pub name: String,
    /// Its pixels; of soft masks the sum of the shares.
    pub pixels: f64,
    /// Its share of the pixels that count.
    pub share: f64,
    /// In how many images it occurs.
    pub images: usize,
    /// Its share of the pixels that count, in each image where it occurs, ascending.
    pub shares: Vec<f64>,
    /// Its share of the pixels that count, by split.
    pub splits: BTreeMap<Split, f64>,
}

/// An image with its mask.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FileSurvey {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub split: Option<Split>,
    /// What it belongs to.
    pub group: Option<String>,
    /// Lengths along the axes of space, the slowest first.
    pub size: Vec<usize>,
    /// The part of its pixels that does not count.
    pub ignored: f64,
    /// The share of each class of the pixels that count.
    pub shares: Vec<f64>,
    /// The least intensity, the mean and the greatest, by channel.
    pub intensities: Vec<[f64; 3]>,
}

/// How often something is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Kind {
    /// What.
    pub what: String,
    /// In how many files.
    pub count: usize,
}

/// What a folder holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Survey {
    /// The folder.
    pub folder: String,
    /// Images with masks that can be read.
    pub pairs: usize,
    /// How many of them are for what; empty where nothing says so.
    pub splits: BTreeMap<Split, usize>,
    /// How many groups there are, where a pattern makes them.
    pub groups: Option<usize>,
    /// How masks lie beside images.
    pub masks: String,
    /// What their values mean.
    pub coding: Coding,
    /// Sizes, the width first.
    pub sizes: Vec<Kind>,
    /// The least and the greatest length along each axis, the width first; empty where images are
    /// of different ranks.
    pub lengths: Vec<[usize; 2]>,
    /// Formats and types of images.
    pub image_types: Vec<Kind>,
    /// Formats and types of masks.
    pub mask_types: Vec<Kind>,
    /// Spacings in millimetres, the fastest axis first.
    pub spacings: Vec<Kind>,
    /// Where axes run to.
    pub orientations: Vec<Kind>,
    /// Channels that a network sees.
    pub channels: usize,
    /// The least intensity, the mean over images and the greatest, by channel.
    pub intensities: Vec<[f64; 3]>,
    /// The part of all pixels that does not count.
    pub ignored: f64,
    /// The classes.
    pub classes: Vec<ClassSurvey>,
    /// The shares of the classes as an option of a size penalty.
    pub prior: Option<String>,
    /// The images, in order.
    pub files: Vec<FileSurvey>,
    /// What was left out, or was guessed.
    pub notes: Vec<Note>,
    /// What should be looked at before training.
    pub warnings: Vec<String>,
    /// What cannot be read or used.
    pub problems: Vec<String>,
}

/// Above this part of ignored pixels an image is worth a word.
const MUCH_IGNORED: f64 = 0.9;

/// Below this share a class is hard to find by chance.
const RARE: f64 = 0.001;

/// Images named in a warning.
const NAMED: usize = 5;

impl Dataset {
    /// Reads every image once, one at a time, and sums up. `progress` is told how many are done.
    /// What cannot be read becomes a problem.
    pub fn survey(&self, mut progress: impl FnMut(usize, usize)) -> Survey {
        let mut problems: Vec<String> = self.scan.problems.iter().map(ToString::to_string).collect();
        let mut files = Vec::new();
        let mut seen: BTreeMap<u64, (usize, Option<Split>)> = BTreeMap::new();
        let mut twice = Vec::new();
        for (i, (pair, counts)) in self.scan.pairs.iter().zip(&self.counts).enumerate() {
            progress(i, self.len());
            let intensities = match self.image(i) {
                Ok(image) => {
                    let print = fingerprint(&image);
                    match seen.get(&print) {
                        Some(&(other, split)) => twice.push((other, i, split != pair.split)),
                        None => {
                            seen.insert(print, (i, pair.split));
                        }
                    }
                    image.outer_iter().map(|channel| range(channel.iter().copied())).collect()
                }
                Err(error) => {
                    problems.push(error.to_string());
                    Vec::new()
                }
            };
            let valid = (counts.pixels - counts.ignored) as f64;
            files.push(FileSurvey {
                name: pair.name.clone(),
                split: pair.split,
                group: pair.group.clone(),
                size: pair.size.clone(),
                ignored: counts.ignored as f64 / (counts.pixels as f64).max(1.0),
                shares: counts.classes.iter().map(|count| count / valid.max(1.0)).collect(),
                intensities,
            });
        }
        progress(self.len(), self.len());
        let classes = self.class_surveys();
        let mut warnings = self.warnings(&classes, &files);
        warnings.extend(self.repeated(&twice));
        let pixels: f64 = self.counts.iter().map(|counts| counts.pixels as f64).sum();
        let ignored: f64 = self.counts.iter().map(|counts| counts.ignored as f64).sum();
        let groups: BTreeSet<&String> = self.scan.pairs.iter().filter_map(|pair| pair.group.as_ref()).collect();
        let mut splits = BTreeMap::new();
        for split in self.scan.pairs.iter().filter_map(|pair| pair.split) {
            *splits.entry(split).or_default() += 1;
        }
        let images = || self.scan.pairs.iter().flat_map(|pair| &pair.images).map(|source| &source.header);
        let masks = || self.scan.pairs.iter().flat_map(|pair| pair.masks.sources()).map(|source| &source.header);
        let reversed = |lengths: &[f64]| {
            lengths
                .iter()
                .rev()
                .map(|v| format!("{v:.3}").trim_end_matches('0').trim_end_matches('.').to_owned())
                .collect::<Vec<_>>()
                .join(" x ")
        };
        Survey {
            folder: crate::error::shown(&self.scan.folder),
            pairs: self.len(),
            splits,
            groups: (!groups.is_empty()).then_some(groups.len()),
            masks: self.mask_layout().to_owned(),
            coding: self.coding.clone(),
            sizes: kinds(
                self.scan.pairs.iter().map(|pair| pair.size.iter().rev().map(usize::to_string).collect::<Vec<_>>().join("x")),
            ),
            lengths: self.lengths(),
            image_types: kinds(images().map(describe)),
            mask_types: kinds(masks().map(describe)),
            spacings: kinds(
                images().filter_map(|header| header.spacing.as_deref()).map(|spacing| format!("{} mm", reversed(spacing))),
            ),
            orientations: kinds(images().filter_map(|header| header.orientation.clone())),
            channels: self.scan.channels,
            intensities: over_images(&files),
            ignored: ignored / pixels.max(1.0),
            prior: self.prior(&classes),
            classes,
            files,
            notes: self.scan.notes.clone(),
            warnings,
            problems,
        }
    }

    fn lengths(&self) -> Vec<[usize; 2]> {
        let mut lengths: Option<Vec<[usize; 2]>> = None;
        for pair in &self.scan.pairs {
            let size = pair.size.iter().rev();
            let lengths = lengths.get_or_insert_with(|| size.clone().map(|n| [*n; 2]).collect());
            if lengths.len() != pair.size.len() {
                return Vec::new();
            }
            lengths.iter_mut().zip(size).for_each(|([low, high], n)| (*low, *high) = ((*low).min(*n), (*high).max(*n)));
        }
        lengths.unwrap_or_default()
    }

    fn mask_layout(&self) -> &'static str {
        match self.scan.pairs.first().map(|pair| &pair.masks) {
            Some(Masks::Instances(_)) => "one file for each object",
            Some(Masks::Classes(_)) => "one file for each class",
            _ => "one file for each image",
        }
    }

    fn class_surveys(&self) -> Vec<ClassSurvey> {
        let valid = |i: usize| self.counts.get(i).map_or(0.0, |counts| (counts.pixels - counts.ignored) as f64);
        let of =
            |class: usize, i: usize| self.counts.get(i).and_then(|counts| counts.classes.get(class)).copied().unwrap_or(0.0);
        let share = |class: usize, images: &[usize]| {
            let [pixels, all] = [&|i: usize| of(class, i), &valid as &dyn Fn(usize) -> f64]
                .map(|of| images.iter().map(|i| of(*i)).sum::<f64>());
            (pixels, pixels / all.max(1.0))
        };
        let all: Vec<usize> = (0..self.len()).collect();
        let mut sides: BTreeMap<Split, Vec<usize>> = BTreeMap::new();
        for (i, pair) in self.scan.pairs.iter().enumerate() {
            if let Some(split) = pair.split {
                sides.entry(split).or_default().push(i);
            }
        }
        let survey = |(class, name): (usize, &String)| {
            let (pixels, part) = share(class, &all);
            let mut shares: Vec<f64> =
                all.iter().filter(|i| of(class, **i) > 0.0).map(|i| of(class, *i) / valid(*i).max(1.0)).collect();
            shares.sort_by(f64::total_cmp);
            let splits = sides.iter().map(|(split, images)| (*split, share(class, images).1)).collect();
            ClassSurvey { name: name.clone(), pixels, share: part, images: shares.len(), shares, splits }
        };
        self.classes.iter().enumerate().map(survey).collect()
    }

    /// `l1(target=[…])` of these shares, rounded so that they add up to 1. Overlapping classes
    /// have none: the wanted sizes of sigmoid channels are each on their own.
    fn prior(&self, classes: &[ClassSurvey]) -> Option<String> {
        if matches!(self.coding, Coding::Overlapping) || classes.len() < 2 {
            return None;
        }
        const UNIT: f64 = 1e6;
        let mut parts: Vec<u64> = classes.iter().map(|class| (class.share * UNIT).round() as u64).collect();
        let sum: u64 = parts.iter().sum();
        // The largest takes what rounding left.
        let largest = parts.iter_mut().max()?;
        *largest = (*largest + UNIT as u64).checked_sub(sum)?;
        let parts: Vec<String> = parts.iter().map(|part| (*part as f64 / UNIT).to_string()).collect();
        Some(format!("l1(target=[{}])", parts.join(", ")))
    }

    fn warnings(&self, classes: &[ClassSurvey], files: &[FileSurvey]) -> Vec<String> {
        let mut warnings = Vec::new();
        for class in classes {
            if class.images == 0 {
                warnings.push(format!("class {} occurs in no image", class.name));
            } else if class.share < RARE {
                warnings.push(format!("class {} has {:.4} % of the pixels", class.name, 100.0 * class.share));
            }
            let without: Vec<String> =
                class.splits.iter().filter(|(_, share)| **share == 0.0).map(|(split, _)| split.to_string()).collect();
            if class.images > 0 && !without.is_empty() {
                warnings.push(format!("class {} does not occur in {}", class.name, without.join(" and ")));
            }
        }
        let ignored: Vec<&FileSurvey> = files.iter().filter(|file| file.ignored >= MUCH_IGNORED).collect();
        if !ignored.is_empty() {
            let names: Vec<String> = ignored
                .iter()
                .take(NAMED)
                .map(|f| format!("{} {:.1} %", crate::error::plain(&f.name), 100.0 * f.ignored))
                .collect();
            let more = if ignored.len() > NAMED { ", …" } else { "" };
            warnings.push(format!(
                "nearly all pixels are ignored in {} of {} masks: {}{more}",
                ignored.len(),
                files.len(),
                names.join(", ")
            ));
        }
        let alone: Vec<&FileSurvey> =
            files.iter().filter(|file| file.shares.iter().skip(1).all(|share| *share == 0.0) && file.ignored < 1.0).collect();
        if !alone.is_empty() && classes.len() > 1 && !matches!(self.coding, Coding::Overlapping) {
            let name = classes.first().map(|class| class.name.as_str()).unwrap_or_default();
            warnings.push(format!("{} of {} masks hold class {name} alone", alone.len(), files.len()));
        }
        let flat: Vec<&FileSurvey> = files
            .iter()
            .filter(|f| !f.intensities.is_empty() && f.intensities.iter().all(|[low, _, high]| low == high))
            .collect();
        if let Some(first) = flat.first() {
            warnings.push(format!(
                "{} images are of one intensity alone, such as {}",
                flat.len(),
                crate::error::plain(&first.name)
            ));
        }
        warnings
    }

    fn repeated(&self, twice: &[(usize, usize, bool)]) -> Option<String> {
        let name = |i: usize| self.scan.pairs.get(i).map_or("", |pair| pair.name.as_str());
        let across = twice.iter().filter(|(_, _, across)| *across).count();
        let (a, b, _) = twice.iter().find(|(_, _, other)| *other || across == 0)?;
        let names = format!("{} and {}", crate::error::plain(name(*a)), crate::error::plain(name(*b)));
        Some(match (across, twice.len()) {
            (0, 1) => format!("{names} are the same image"),
            (0, count) => format!("{count} images are there twice, such as {names}"),
            (1, _) => format!("{names} are the same image, in two splits"),
            (count, _) => format!("{count} images stand in two splits, such as {names}"),
        })
    }
}

/// What tells an image from others: its shape and all its numbers.
fn fingerprint(image: &ndarray::ArrayD<f32>) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    image.shape().hash(&mut hasher);
    image.iter().for_each(|value| value.to_bits().hash(&mut hasher));
    hasher.finish()
}

fn range(values: impl Iterator<Item = f32>) -> [f64; 3] {
    let (mut low, mut sum, mut high, mut count) = (f64::INFINITY, 0.0, f64::NEG_INFINITY, 0.0);
    for value in values.map(f64::from) {
        (low, sum, high, count) = (low.min(value), sum + value, high.max(value), count + 1.0);
    }
    [low, sum / f64::max(count, 1.0), high]
}

fn over_images(files: &[FileSurvey]) -> Vec<[f64; 3]> {
    let channels = files.iter().map(|file| file.intensities.len()).max().unwrap_or(0);
    let of = |channel: usize| {
        let all: Vec<[f64; 3]> = files.iter().filter_map(|file| file.intensities.get(channel).copied()).collect();
        let mean = all.iter().map(|[_, mean, _]| mean).sum::<f64>() / (all.len() as f64).max(1.0);
        let low = all.iter().map(|[low, ..]| *low).fold(f64::INFINITY, f64::min);
        let high = all.iter().map(|[.., high]| *high).fold(f64::NEG_INFINITY, f64::max);
        [low, mean, high]
    };
    (0..channels).map(of).collect()
}

fn describe(header: &crate::formats::Header) -> String {
    let channels = match (header.palette, header.colour, header.channels) {
        (true, _, _) => " palette".to_owned(),
        (_, true, _) => " RGB".to_owned(),
        (.., 1) => " grey".to_owned(),
        (.., n) => format!(" {n} channels"),
    };
    let alpha = if header.alpha { " with transparency" } else { "" };
    let scaling = header.scaling.map_or_else(String::new, |[slope, intercept]| format!(", times {slope} plus {intercept}"));
    let channels = if header.size.len() > 2 && header.channels == 1 { "" } else { channels.as_str() };
    format!("{} {}{channels}{alpha}{scaling}", header.format, header.dtype)
}

/// How often each text comes, the commonest first.
fn kinds(texts: impl Iterator<Item = String>) -> Vec<Kind> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for text in texts {
        *counts.entry(text).or_default() += 1;
    }
    let mut kinds: Vec<Kind> = counts.into_iter().map(|(what, count)| Kind { what, count }).collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.count));
    kinds
}
