//! A folder that is understood: its images are read one at a time.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::{ArrayD, Axis, IxDyn};

use crate::error::DataError;
use crate::formats::{Raster, Wanted, read_of};
use crate::labels::{Coding, Counted, each_value, resolve};
use crate::layout::{IMAGE_MEMBERS, MASK_MEMBERS, Masks, Pair, Scan, Source, scan};
use crate::options::Options;

/// The label of a pixel that does not count.
pub const IGNORED: i32 = -1;

/// What a mask says of each pixel.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// The class of each pixel, or [`IGNORED`]: `[*size]`.
    Labels(ArrayD<i32>),
    /// The share of each class, which add up to 1 over two classes: [K, *size] in [0, 1].
    Soft(ArrayD<f32>),
    /// Whether a pixel belongs to each class, 0 or 1; classes may overlap: [K, *size].
    Overlapping(ArrayD<f32>),
}

/// An image with its target, as a network takes them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Item {
    /// Its name.
    pub name: String,
    /// Intensities by the rule of the options: [C, *size].
    pub image: ArrayD<f32>,
    /// What is to be found.
    pub target: Target,
    /// Millimetres between neighbours along each axis of size, where the file says so.
    pub spacing: Option<Vec<f64>>,
}

/// A folder that is understood. It holds headers and counts; pixels are read by [`Dataset::item`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Dataset {
    /// What lies in the folder. Pairs whose masks cannot be read are among its problems.
    pub scan: Scan,
    /// What the values of masks mean.
    pub coding: Coding,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// For each pair the number of pixels of each class, and of those that do not count.
    pub counts: Vec<Counts>,
    options: Options,
}

/// How many pixels of an image there are of what.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Counts {
    /// All pixels.
    pub pixels: u64,
    /// Those of each class; of soft masks the sums of the shares. Overlapping classes add up to
    /// more than there are pixels.
    pub classes: Vec<f64>,
    /// Those that do not count.
    pub ignored: u64,
}

impl Dataset {
    /// Finds what is in a folder, reads every mask once, one at a time, and decides what values
    /// mean.
    ///
    /// # Errors
    /// As [`scan`]; and values of masks that leave two readings open, with the option that says
    /// which is meant. What is wrong with one pair alone is in [`Scan::problems`].
    pub fn open(folder: &Path, options: &Options) -> Result<Self, DataError> {
        let mut scan = scan(folder, options)?;
        let told = Coding::told(&scan, options)?;
        if let Some((coding, classes)) = told {
            let mut dataset = Self { scan, coding, classes, counts: Vec::new(), options: options.clone() };
            dataset.count();
            return match none_left(&mut dataset.scan) {
                Some(error) => Err(error),
                None => Ok(dataset),
            };
        }
        let mut counted = Vec::new();
        let mut kept = Vec::new();
        for pair in std::mem::take(&mut scan.pairs) {
            match count_values(&pair, options) {
                Ok(counts) => {
                    counted.push(counts);
                    kept.push(pair);
                }
                Err(error) => scan.problems.push(error),
            }
        }
        scan.pairs = kept;
        if let Some(error) = none_left(&mut scan) {
            return Err(error);
        }
        let mut notes = Vec::new();
        let (coding, classes) = resolve(&scan, &counted, options, &mut notes)?;
        scan.notes.append(&mut notes);
        let counts = counted.iter().map(|file| Counts::of_values(&file.values, &coding, classes.len())).collect();
        Ok(Self { scan, coding, classes, counts, options: options.clone() })
    }

    /// Number of images with masks.
    pub fn len(&self) -> usize {
        self.scan.pairs.len()
    }

    /// Whether no image is left.
    pub fn is_empty(&self) -> bool {
        self.scan.pairs.is_empty()
    }

    /// Reads one image with its mask; nothing of it is kept.
    ///
    /// # Errors
    /// Files that are damaged or not what they were, values without a meaning, an image with NaN;
    /// an index beyond the last.
    pub fn item(&self, index: usize) -> Result<Item, DataError> {
        let pair = self.pair(index)?;
        let target = self.target(pair)?;
        let mut image = intensities(&pair.images, self.scan.channels, &self.options)?;
        self.scale(&mut image, &target);
        let spacing = pair.images.first().and_then(|image| image.header.spacing.clone());
        Ok(Item { name: pair.name.clone(), image, target, spacing })
    }

    /// Reads the intensities of one image, not scaled by any rule: [C, *size].
    ///
    /// # Errors
    /// As [`Dataset::item`].
    pub fn image(&self, index: usize) -> Result<ArrayD<f32>, DataError> {
        intensities(&self.pair(index)?.images, self.scan.channels, &self.options)
    }

    fn pair(&self, index: usize) -> Result<&Pair, DataError> {
        let missing =
            || DataError::folder(&self.scan.folder, format!("holds {} images; there is none of number {index}", self.len()));
        self.scan.pairs.get(index).ok_or_else(missing)
    }

    /// Counts the classes of codings that need no values.
    fn count(&mut self) {
        let mut kept = Vec::new();
        for pair in std::mem::take(&mut self.scan.pairs) {
            match self.target(&pair) {
                Ok(target) => {
                    self.counts.push(Counts::of_target(&target, self.classes.len()));
                    kept.push(pair);
                }
                Err(error) => self.scan.problems.push(error),
            }
        }
        self.scan.pairs = kept;
    }

    fn scale(&self, image: &mut ArrayD<f32>, target: &Target) {
        let labels = match target {
            Target::Labels(labels) => labels.as_slice(),
            _ => None,
        };
        for mut channel in image.axis_iter_mut(Axis(0)) {
            let counts = |i: usize| labels.and_then(|labels| labels.get(i)).is_none_or(|label| *label != IGNORED);
            if let Some(values) = channel.as_slice_mut() {
                self.options.scale.channel(values, counts);
            }
        }
    }

    fn target(&self, pair: &Pair) -> Result<Target, DataError> {
        match (&self.coding, &pair.masks) {
            (Coding::Values { classes }, Masks::One(mask)) => {
                let raster = read(mask, MASK_MEMBERS, &self.options)?;
                let mut table = [None; 1 << 10];
                for (value, class) in classes {
                    if let Some(place) = usize::try_from(*value).ok().and_then(|value| table.get_mut(value)) {
                        *place = Some(*class);
                    }
                }
                let mut labels = Vec::with_capacity(raster.values.len());
                let mut odd = None;
                each_value(&mask.path, &raster, |value| {
                    let known = usize::try_from(value).ok().and_then(|value| table.get(value).copied());
                    let class = known.unwrap_or_else(|| classes.get(&value).copied());
                    if class.is_none() {
                        odd.get_or_insert(value);
                    }
                    labels.push(class.flatten().map_or(IGNORED, |class| class as i32));
                })?;
                if let Some(value) = odd {
                    let reason = format!("holds the value {}, which it did not before", crate::labels::value_text(value));
                    return Err(DataError::values(&mask.path, reason));
                }
                Ok(Target::Labels(shaped(mask, labels, &pair.size)?))
            }
            (Coding::Threshold(threshold), Masks::One(mask)) => {
                let raster = read(mask, MASK_MEMBERS, &self.options)?;
                let [slope, intercept] = raster.header.scaling.unwrap_or([1.0, 0.0]);
                let mut labels = Vec::with_capacity(raster.values.len());
                raster.values.each(|v| labels.push(i32::from(v * slope + intercept >= *threshold)));
                Ok(Target::Labels(shaped(mask, labels, &pair.size)?))
            }
            (Coding::Soft(greatest), Masks::One(mask)) => self.soft(pair, mask, *greatest),
            (Coding::Overlapping, Masks::One(mask)) => {
                let raster = read(mask, MASK_MEMBERS, &self.options)?;
                let mut shares = Vec::with_capacity(raster.values.len());
                let mut odd = None;
                raster.values.each(|v| {
                    if v != 0.0 && v != 1.0 && v != 255.0 {
                        odd.get_or_insert(v);
                    }
                    shares.push(if v == 0.0 { 0.0 } else { 1.0 });
                });
                if let Some(value) = odd {
                    let reason = format!(
                        "has a channel for each class, which holds {value} where 0, 1 or 255 is expected; read shares with --soft"
                    );
                    return Err(DataError::values(&mask.path, reason));
                }
                Ok(Target::Overlapping(shaped(mask, shares, &[&[self.classes.len()], &pair.size[..]].concat())?))
            }
            (_, Masks::Classes(masks)) => {
                let mut all = Vec::with_capacity(masks.len());
                for mask in masks {
                    all.push(match mask {
                        Some(mask) => self.foreground(mask, &pair.size)?.mapv(f32::from),
                        None => ArrayD::zeros(IxDyn(&pair.size)),
                    });
                }
                let views: Vec<_> = all.iter().map(|class| class.view()).collect();
                let stacked = ndarray::stack(Axis(0), &views);
                stacked.map(Target::Overlapping).map_err(|error| DataError::folder(&self.scan.folder, error.to_string()))
            }
            (_, Masks::Instances(masks)) => {
                let mut labels = ArrayD::zeros(IxDyn(&pair.size));
                for mask in masks {
                    let objects = self.foreground(mask, &pair.size)?;
                    labels.zip_mut_with(&objects, |label, object| *label |= i32::from(*object));
                }
                Ok(Target::Labels(labels))
            }
            (_, Masks::One(mask)) => Err(DataError::values(&mask.path, "is one mask where others are one for each object")),
        }
    }

    /// 1 where a mask is above 0.
    fn foreground(&self, mask: &Source, size: &[usize]) -> Result<ArrayD<u8>, DataError> {
        let raster = read(mask, MASK_MEMBERS, &self.options)?;
        let mut labels = Vec::with_capacity(raster.values.len());
        each_value(&mask.path, &raster, |value| labels.push(u8::from(value != 0)))?;
        shaped(mask, labels, size)
    }

    fn soft(&self, pair: &Pair, mask: &Source, greatest: Option<f64>) -> Result<Target, DataError> {
        let raster = read(mask, MASK_MEMBERS, &self.options)?;
        let [slope, intercept] = raster.header.scaling.unwrap_or([1.0, 0.0]);
        let one = greatest.or(raster.header.greatest).unwrap_or(1.0);
        let mut shares = Vec::with_capacity(raster.values.len());
        let mut odd = None;
        raster.values.each(|v| {
            let share = (v * slope + intercept) / one;
            if !(0.0..=1.0).contains(&share) {
                odd.get_or_insert(v * slope + intercept);
            }
            shares.push(share as f32);
        });
        if let Some(value) = odd {
            let reason = format!("holds {value}, which is outside 0 to {one}; --soft={value} gives the value that means all");
            return Err(DataError::values(&mask.path, reason));
        }
        if self.classes.len() > 2 || mask.header.channels > 1 {
            return Ok(Target::Soft(shaped(mask, shares, &[&[mask.header.channels], &pair.size[..]].concat())?));
        }
        let foreground = shaped(mask, shares, &pair.size)?;
        let background = foreground.mapv(|share| 1.0 - share);
        let both = ndarray::stack(Axis(0), &[background.view(), foreground.view()]);
        both.map(Target::Soft).map_err(|error| DataError::values(&mask.path, error.to_string()))
    }
}

/// The intensities of an image's files, as `wanted` channels where they are colours or grey: [C,
/// *size].
pub(crate) fn intensities(sources: &[Source], wanted: usize, options: &Options) -> Result<ArrayD<f32>, DataError> {
    let mut channels: Vec<ArrayD<f32>> = Vec::new();
    for source in sources {
        let raster = read(source, IMAGE_MEMBERS, options)?;
        let image = as_image(&raster);
        if let Some(bad) = image.iter().find(|v| !v.is_finite()) {
            let reason = format!("holds {bad}; numpy.nan_to_num makes it a number");
            return Err(DataError::values(&source.path, reason));
        }
        channels.push(image);
    }
    let odd = |error: ndarray::ShapeError| {
        let path = sources.first().map(|image| image.path.clone()).unwrap_or_default();
        DataError::values(&path, format!("channels do not fit each other: {error}"))
    };
    let views: Vec<_> = channels.iter().map(|channel| channel.view()).collect();
    let image = if let [one] = &views[..] { one.to_owned() } else { ndarray::concatenate(Axis(0), &views).map_err(odd)? };
    drop(views);
    drop(channels);
    let found = image.shape().first().copied().unwrap_or(0);
    Ok(match (found, wanted) {
        (3, 1) => luminance(&image),
        (1, 3) => ndarray::concatenate(Axis(0), &[image.view(), image.view(), image.view()]).map_err(odd)?,
        _ => image,
    })
}

/// Where no pair is left, the first of the reasons.
fn none_left(scan: &mut Scan) -> Option<DataError> {
    (scan.pairs.is_empty() && !scan.problems.is_empty()).then(|| scan.problems.remove(0))
}

fn shaped<E>(source: &Source, values: Vec<E>, shape: &[usize]) -> Result<ArrayD<E>, DataError> {
    ArrayD::from_shape_vec(IxDyn(shape), values)
        .map_err(|_| DataError::values(&source.path, "is not of the size that its header gave before"))
}

/// Reads a file again, as its header was understood.
fn read(source: &Source, members: &[&str], options: &Options) -> Result<Raster, DataError> {
    let mut raster = read_of(&source.path, Wanted { members }, &options.limits)?;
    if !source.header.axes_known {
        let shape = [&[1], raster.values.shape()].concat();
        let changed = || DataError::values(&source.path, "is not of the shape that its header gave before");
        raster.values = match source.channel_axis {
            Some(axis) => raster.values.front(axis),
            None => raster.values.reshaped(&shape).ok_or_else(changed)?,
        };
        raster.header = source.header.clone();
    }
    Ok(raster)
}

/// The intensities of a file, [C, *size], with its palette's colours and its slope.
fn as_image(raster: &Raster) -> ArrayD<f32> {
    let [slope, intercept] = raster.header.scaling.unwrap_or([1.0, 0.0]);
    if let Some(palette) = &raster.palette {
        let places = raster.values.cast(|v| v as usize);
        let channel = |c: usize| places.mapv(|place| palette.get(place).map_or(0.0, |colour| f32::from(colour[c])));
        let channels = [0, 1, 2].map(channel);
        let views = channels.each_ref().map(|channel| channel.view());
        return ndarray::concatenate(Axis(0), &views).unwrap_or_default();
    }
    let image = raster.values.cast(|v| (v * slope + intercept) as f32);
    if image.is_standard_layout() { image } else { image.as_standard_layout().into_owned() }
}

/// Grey of colours, by the weights of ITU-R BT.601, as Pillow's `convert("L")` has them.
fn luminance(image: &ArrayD<f32>) -> ArrayD<f32> {
    let mut grey = image.index_axis(Axis(0), 0).mapv(|v| 0.299 * v);
    grey.scaled_add(0.587, &image.index_axis(Axis(0), 1));
    grey.scaled_add(0.114, &image.index_axis(Axis(0), 2));
    grey.insert_axis(Axis(0))
}

fn count_values(pair: &Pair, options: &Options) -> Result<Counted, DataError> {
    let Masks::One(mask) = &pair.masks else { return Ok(Counted::default()) };
    let raster = read(mask, MASK_MEMBERS, options)?;
    let mut small = vec![0u64; 1 << 10];
    let mut values: BTreeMap<i64, u64> = BTreeMap::new();
    each_value(&mask.path, &raster, |value| match usize::try_from(value).ok().and_then(|value| small.get_mut(value)) {
        Some(count) => *count += 1,
        None => *values.entry(value).or_default() += 1,
    })?;
    values.extend((0..).zip(small).filter(|(_, count)| *count > 0));
    Ok(Counted { path: mask.path.clone(), values })
}

impl Counts {
    fn of_values(values: &BTreeMap<i64, u64>, coding: &Coding, classes: usize) -> Self {
        let mut counts = Self { classes: vec![0.0; classes], ..Self::default() };
        let Coding::Values { classes: of } = coding else { return counts };
        for (value, count) in values {
            counts.pixels += count;
            match of.get(value).copied().flatten() {
                Some(class) => counts.classes[class] += *count as f64,
                None => counts.ignored += count,
            }
        }
        counts
    }

    fn of_target(target: &Target, classes: usize) -> Self {
        let mut counts = Self { classes: vec![0.0; classes], ..Self::default() };
        match target {
            Target::Labels(labels) => {
                counts.pixels = labels.len() as u64;
                for label in labels {
                    match usize::try_from(*label).ok().and_then(|label| counts.classes.get_mut(label)) {
                        Some(count) => *count += 1.0,
                        None => counts.ignored += 1,
                    }
                }
            }
            Target::Soft(shares) | Target::Overlapping(shares) => {
                for (count, channel) in counts.classes.iter_mut().zip(shares.axis_iter(Axis(0))) {
                    *count = channel.iter().map(|&share| f64::from(share)).sum();
                    counts.pixels = channel.len() as u64;
                }
            }
        }
        counts
    }
}
