//! Labelled images, as the trainer has them in memory.
//!
//! Everything has three axes of space [D, H, W]: a picture is a volume of one slice.

use ndarray::{Array2, Array3, Array4, ArrayView4, Axis, s};
use segloss_data::{Common, Grid, Scale};

/// The label of a pixel that does not count.
pub(crate) const IGNORED: u8 = 255;

/// Most classes that the trainer takes, each an output of the network.
pub(crate) const MOST_CLASSES: usize = 64;

/// What a mask says of each pixel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Truth {
    /// One class, or [`IGNORED`]: [D, H, W].
    Labels(Array3<u8>),
    /// The share of each class, in [0, 1]: [K, D, H, W].
    Shares(Array4<f32>),
}

impl Truth {
    /// Lengths along the axes of space.
    pub(crate) fn size(&self) -> [usize; 3] {
        match self {
            Self::Labels(labels) => labels.dim().into(),
            Self::Shares(shares) => {
                let (_, d, h, w) = shares.dim();
                [d, h, w]
            }
        }
    }

    /// On the grid that the network sees.
    pub(crate) fn on(&self, grid: &Grid) -> Self {
        match self {
            Self::Labels(labels) => Self::Labels(grid.labels(labels)),
            Self::Shares(shares) => Self::Shares(grid.image(shares)),
        }
    }

    /// Which class each pixel belongs to, or classes where they overlap: what a prediction is
    /// compared with.
    pub(crate) fn regions(&self, overlapping: bool) -> Regions {
        match self {
            Self::Labels(labels) => Regions::Exclusive(labels.clone()),
            Self::Shares(shares) => Regions::of(&shares.view(), overlapping),
        }
    }

    /// Adds the number of pixels of each class, or of soft classes the sum of the shares; gives the
    /// number of pixels that count.
    pub(crate) fn count(&self, sums: &mut [f64]) -> f64 {
        match self {
            Self::Labels(labels) => {
                let mut valid = 0.0;
                for label in labels {
                    if let Some(sum) = sums.get_mut(usize::from(*label)) {
                        *sum += 1.0;
                        valid += 1.0;
                    }
                }
                valid
            }
            Self::Shares(shares) => {
                for (sum, class) in sums.iter_mut().zip(shares.axis_iter(Axis(0))) {
                    *sum += class.iter().map(|&share| f64::from(share)).sum::<f64>();
                }
                self.size().iter().product::<usize>() as f64
            }
        }
    }
}

/// The pixels of each class, decided.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Regions {
    /// One class each, or [`IGNORED`]: [D, H, W].
    Exclusive(Array3<u8>),
    /// 1 where a pixel belongs to a class: [K, D, H, W].
    Overlapping(Array4<u8>),
}

impl Regions {
    /// Decides by shares or probabilities [K, D, H, W]: the greatest of exclusive classes, the
    /// first of equal ones; of overlapping classes all from 0.5 on.
    pub(crate) fn of(shares: &ArrayView4<f32>, overlapping: bool) -> Self {
        if overlapping {
            return Self::Overlapping(shares.mapv(|share| u8::from(share >= 0.5)));
        }
        let best = |pixel: ndarray::ArrayView1<f32>| {
            let first = (0u8, f32::NEG_INFINITY);
            (0u8..).zip(pixel).fold(first, |best, (k, &share)| if share > best.1 { (k, share) } else { best }).0
        };
        Self::Exclusive(shares.map_axis(Axis(0), best))
    }

    /// Lengths along the axes of space.
    pub(crate) fn size(&self) -> [usize; 3] {
        let shape = match self {
            Self::Exclusive(labels) => labels.shape(),
            Self::Overlapping(classes) => &classes.shape()[1..],
        };
        [0, 1, 2].map(|axis| shape.get(axis).copied().unwrap_or(0))
    }

    /// One slice as labels to be painted; of overlapping classes the last, counted from 1.
    pub(crate) fn slice(&self, z: usize) -> Array2<u8> {
        match self {
            Self::Exclusive(labels) => labels.index_axis(Axis(0), z).to_owned(),
            Self::Overlapping(classes) => {
                let last = |pixel: ndarray::ArrayView1<u8>| pixel.iter().rposition(|&c| c > 0).map_or(0, |k| k as u8 + 1);
                classes.index_axis(Axis(1), z).map_axis(Axis(0), last)
            }
        }
    }

    /// The slice with the most foreground; the middle one where there is none.
    pub(crate) fn fullest(&self) -> usize {
        let depth = self.size()[0];
        let count = |z: usize| self.slice(z).iter().filter(|&&label| label != 0 && label != IGNORED).count();
        let most = (0..depth).map(|z| (count(z), std::cmp::Reverse(z))).max();
        most.filter(|(count, _)| *count > 0).map_or(depth / 2, |(_, z)| z.0)
    }
}

/// An image with what is to be found in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Picture {
    /// What to call it.
    pub(crate) name: String,
    /// The group that it belongs to, such as a patient; its name where it has none.
    pub(crate) group: String,
    /// Grey values to be looked at, on its own grid.
    pub(crate) pixels: Array3<u8>,
    /// What the network sees, [C, D, H, W], on the common grid.
    pub(crate) input: Array4<f32>,
    /// What it learns, there.
    pub(crate) truth: Truth,
    /// The same on the image's own grid, by which it is judged.
    pub(crate) own: Regions,
    /// How the two grids lie to each other.
    pub(crate) grid: Grid,
    /// How far neighbours lie apart on the image's own grid along [D, H, W], in millimetres; 1
    /// where nobody says.
    pub(crate) spacing: [f64; 3],
    /// The file whose grid it is, where that is a volume with a place in space.
    pub(crate) source: Option<std::path::PathBuf>,
}

impl Picture {
    /// A picture of one channel. Standardises the pixels, so that exposure and contrast of an image
    /// do not matter.
    pub(crate) fn new(name: String, pixels: Array2<u8>, labels: Array2<u8>) -> Self {
        let valid = || pixels.iter().zip(&labels).filter(|&(_, &l)| l != IGNORED).map(|(&p, _)| f64::from(p));
        let count = (valid().count() as f64).max(1.0);
        let mean = valid().sum::<f64>() / count;
        let variance = valid().map(|p| (p - mean).powi(2)).sum::<f64>() / count;
        // An image of one grey value has nothing to scale.
        let scale = 1.0 / variance.sqrt().max(1.0);
        let input = pixels.mapv(|p| ((f64::from(p) - mean) * scale) as f32);
        let labels = labels.insert_axis(Axis(0));
        Self {
            group: name.clone(),
            name,
            grid: Grid::same(labels.dim().into()),
            pixels: pixels.insert_axis(Axis(0)),
            own: Regions::Exclusive(labels.clone()),
            truth: Truth::Labels(labels),
            input: input.insert_axis(Axis(0)).insert_axis(Axis(0)),
            spacing: [1.0; 3],
            source: None,
        }
    }

    /// Lengths on the common grid.
    pub(crate) fn size(&self) -> [usize; 3] {
        self.truth.size()
    }

    /// Its middle, no longer than these sides; whole where it was turned or resampled.
    pub(crate) fn middle(&self, sides: [usize; 3]) -> Self {
        if !self.grid.is_same() {
            return self.clone();
        }
        let size = self.size();
        let [d, h, w] = [0, 1, 2].map(|axis| {
            let length = size[axis].min(sides[axis]);
            let start = (size[axis] - length) / 2;
            start..start + length
        });
        let space = s![d.clone(), h.clone(), w.clone()];
        let all = s![.., d.clone(), h.clone(), w.clone()];
        Self {
            name: self.name.clone(),
            group: self.group.clone(),
            pixels: self.pixels.slice(space).to_owned(),
            input: self.input.slice(all).to_owned(),
            truth: match &self.truth {
                Truth::Labels(labels) => Truth::Labels(labels.slice(space).to_owned()),
                Truth::Shares(shares) => Truth::Shares(shares.slice(all).to_owned()),
            },
            own: match &self.own {
                Regions::Exclusive(labels) => Regions::Exclusive(labels.slice(space).to_owned()),
                Regions::Overlapping(classes) => Regions::Overlapping(classes.slice(all).to_owned()),
            },
            grid: Grid::same([d.len(), h.len(), w.len()]),
            spacing: self.spacing,
            source: None,
        }
    }
}

/// How the numbers of a file become what the network sees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Reading {
    /// Whether some have colours: grey ones are then read as such.
    pub(crate) colour: bool,
    /// Whether colours are made grey.
    pub(crate) grey: bool,
    /// The rule for intensities.
    pub(crate) scale: Scale,
}

/// Images to learn from and images to be judged by.
#[derive(Debug)]
pub(crate) struct Dataset {
    /// Where they come from, in words.
    pub(crate) origin: String,
    /// Number of classes.
    pub(crate) classes: usize,
    /// Names of the classes.
    pub(crate) class_names: Vec<String>,
    /// How they were read.
    pub(crate) reading: Reading,
    /// Whether a pixel may belong to several classes, or to none.
    pub(crate) overlapping: bool,
    /// Number of channels.
    pub(crate) channels: usize,
    /// Whether they are volumes rather than pictures.
    pub(crate) volumes: bool,
    /// The grid that images are brought to.
    pub(crate) common: Common,
    /// What was left out or guessed when they were read.
    pub(crate) notes: Vec<String>,
    /// Images to learn from.
    pub(crate) train: Vec<Picture>,
    /// Images to be judged by.
    pub(crate) validation: Vec<Picture>,
}

impl Dataset {
    /// Share of the valid pixels that each class has.
    pub(crate) fn shares(pictures: &[Picture], classes: usize) -> Vec<f64> {
        let mut sums = vec![0.0; classes];
        let valid: f64 = pictures.iter().map(|picture| picture.truth.count(&mut sums)).sum();
        sums.iter().map(|sum| sum / valid.max(1.0)).collect()
    }

    /// The first class that is not background: classes that overlap have none.
    pub(crate) fn foreground(&self) -> usize {
        usize::from(!self.overlapping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_picture() {
        let pixels = Array2::from_shape_fn([5, 4], |(h, w)| (10 * h + w) as u8);
        let picture = Picture::new("a".into(), pixels.clone(), pixels.mapv(|pixel| pixel % 2));
        assert_eq!(picture.middle([1, 8, 4]), picture);
        let middle = picture.middle([1, 2, 3]);
        assert_eq!(middle.pixels, ndarray::arr3(&[[[10, 11, 12], [20, 21, 22]]]));
        let labels = ndarray::arr3(&[[[0, 1, 0], [0, 1, 0]]]);
        assert_eq!(middle.truth, Truth::Labels(labels.clone()));
        assert_eq!(middle.own, Regions::Exclusive(labels));
        assert_eq!(middle.input, picture.input.slice(s![.., .., 1..3, 0..3]));
        assert_eq!(middle.size(), [1, 2, 3]);
    }
}
