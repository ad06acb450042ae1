//! Labelled images, and the batches of patches that training sees of them.

use ndarray::{Array2, Array3, Axis, s};
use rand::RngExt;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The label of a pixel that does not count.
pub(crate) const IGNORED: u8 = 255;

/// Most classes that the trainer takes, each an output of the network.
pub(crate) const MOST_CLASSES: usize = 64;

/// An image with the class of each of its pixels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Picture {
    /// What to call it.
    pub(crate) name: String,
    /// Grey values, to be looked at.
    pub(crate) pixels: Array2<u8>,
    /// Classes, or [`IGNORED`].
    pub(crate) labels: Array2<u8>,
    /// What the network sees, [C, H, W]: each channel by the rule of the options, or with mean 0
    /// and standard deviation 1 over the valid pixels.
    pub(crate) input: Array3<f32>,
}

impl Picture {
    /// An image of one channel. Standardises the pixels, so that exposure and contrast of an image
    /// do not matter.
    pub(crate) fn new(name: String, pixels: Array2<u8>, labels: Array2<u8>) -> Self {
        let valid = || pixels.iter().zip(&labels).filter(|&(_, &l)| l != IGNORED).map(|(&p, _)| f64::from(p));
        let count = (valid().count() as f64).max(1.0);
        let mean = valid().sum::<f64>() / count;
        let variance = valid().map(|p| (p - mean).powi(2)).sum::<f64>() / count;
        // An image of one grey value has nothing to scale.
        let scale = 1.0 / variance.sqrt().max(1.0);
        let input = pixels.mapv(|p| ((f64::from(p) - mean) * scale) as f32).insert_axis(Axis(0));
        Self { name, pixels, labels, input }
    }

    /// Height and width.
    pub(crate) fn size(&self) -> [usize; 2] {
        [self.pixels.nrows(), self.pixels.ncols()]
    }
}

/// Images to learn from and images to be judged by.
#[derive(Debug)]
pub(crate) struct Dataset {
    /// Where they come from, in words.
    pub(crate) origin: String,
    /// Number of classes.
    pub(crate) classes: usize,
    /// Number of channels.
    pub(crate) channels: usize,
    /// What was left out or guessed when they were read.
    pub(crate) notes: Vec<String>,
    /// Images to learn from.
    pub(crate) train: Vec<Picture>,
    /// Images to be judged by.
    pub(crate) validation: Vec<Picture>,
}

impl Dataset {
    /// A checksum of all that the network sees and is judged by, and of the order of it.
    pub(crate) fn checksum(&self) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        for picture in self.train.iter().chain(&self.validation) {
            picture.input.shape().iter().for_each(|length| sum.update(&length.to_le_bytes()));
            picture.input.iter().for_each(|value| sum.update(&value.to_le_bytes()));
            picture.labels.iter().for_each(|label| sum.update(&[*label]));
        }
        sum.update(&self.train.len().to_le_bytes());
        sum.finalize()
    }

    /// Share of the valid pixels that each class has.
    pub(crate) fn shares(pictures: &[Picture], classes: usize) -> Vec<f64> {
        let mut counts = vec![0.0; classes];
        for label in pictures.iter().flat_map(|p| &p.labels) {
            if let Some(count) = counts.get_mut(usize::from(*label)) {
                *count += 1.0;
            }
        }
        let total = counts.iter().sum::<f64>().max(1.0);
        counts.iter().map(|count| count / total).collect()
    }
}

/// Square patches, in memory order [n, c, y, x] and [n, y, x].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Batch {
    /// What the network sees.
    pub(crate) inputs: Vec<f32>,
    /// Classes, or [`IGNORED`].
    pub(crate) labels: Vec<i32>,
}

/// All that chance decides after the network's first weights: kept, it goes on where it stopped.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chance {
    /// The numbers.
    pub(crate) rng: ChaCha8Rng,
    /// Images still to be seen in this pass, the next one last.
    pub(crate) order: Vec<usize>,
}

impl Chance {
    /// Of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(SAMPLER_STREAM);
        Self { rng, order: Vec::new() }
    }
}

/// Draws random patches: every image equally often, any place equally likely, turned and mirrored
/// at random.
///
/// Places are drawn without regard to what they show. Crops centred on rare classes would change
/// the very proportions whose bias a loss is chosen for.
pub(crate) struct Sampler<'a> {
    pictures: &'a [Picture],
    patch: usize,
    /// What is random in it.
    pub(crate) chance: Chance,
}

impl<'a> Sampler<'a> {
    /// A sampler of patches of this side.
    pub(crate) fn new(pictures: &'a [Picture], patch: usize, chance: Chance) -> Self {
        Self { pictures, patch, chance }
    }

    /// The next so many patches.
    pub(crate) fn batch(&mut self, size: usize) -> Batch {
        let mut batch = Batch::default();
        for _ in 0..size {
            if self.chance.order.is_empty() {
                self.chance.order.extend(0..self.pictures.len());
                self.chance.order.shuffle(&mut self.chance.rng);
            }
            if let Some(picture) = self.chance.order.pop().and_then(|at| self.pictures.get(at)) {
                self.push(picture, &mut batch);
            }
        }
        batch
    }

    fn push(&mut self, picture: &Picture, batch: &mut Batch) {
        let corner = self.corner(picture);
        let (mut input, mut labels) = crop(picture, corner, self.patch);
        if self.chance.rng.random() {
            input.swap_axes(1, 2);
            labels.swap_axes(0, 1);
        }
        for axis in [0, 1] {
            if self.chance.rng.random() {
                input.invert_axis(Axis(axis + 1));
                labels.invert_axis(Axis(axis));
            }
        }
        batch.inputs.extend(&input);
        batch.labels.extend(labels.iter().map(|&label| i32::from(label)));
    }

    /// A random place, tried again a few times where little of it is valid (outside a camera's
    /// field of view).
    fn corner(&mut self, picture: &Picture) -> [isize; 2] {
        const TRIES: usize = 10;
        let mut corner = [0; 2];
        for _ in 0..TRIES {
            corner = picture.size().map(|length| {
                if length > self.patch {
                    self.chance.rng.random_range(0..=length - self.patch) as isize
                } else {
                    // A small image is centred.
                    -((self.patch - length) as isize / 2)
                }
            });
            let [y, x] = corner.map(|at| at.max(0) as usize);
            let [height, width] = picture.size();
            let inside = s![y..(y + self.patch).min(height), x..(x + self.patch).min(width)];
            let inside = picture.labels.slice(inside);
            let valid = inside.iter().filter(|&&label| label != IGNORED).count();
            if 2 * valid >= inside.len() {
                break;
            }
        }
        corner
    }
}

/// Keeps the sampler's random numbers apart from those that make the images.
const SAMPLER_STREAM: u64 = u64::MAX;

/// A square of an image. What lies beyond its borders repeats the border and is ignored.
pub(crate) fn crop(picture: &Picture, corner: [isize; 2], side: usize) -> (Array3<f32>, Array2<u8>) {
    let size = picture.size();
    let place = |[y, x]: [usize; 2]| {
        let at = [corner[0] + y as isize, corner[1] + x as isize];
        let nearest = [0, 1].map(|axis| at[axis].clamp(0, size[axis] as isize - 1));
        (nearest.map(|i| i as usize), nearest == at)
    };
    let channels = picture.input.len_of(Axis(0));
    let input = Array3::from_shape_fn([channels, side, side], |(c, y, x)| {
        let [y, x] = place([y, x]).0;
        picture.input[[c, y, x]]
    });
    let labels = Array2::from_shape_fn([side, side], |(y, x)| match place([y, x]) {
        (at, true) => picture.labels[at],
        _ => IGNORED,
    });
    (input, labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(height: usize, width: usize) -> Picture {
        let pixels = Array2::from_shape_fn([height, width], |(y, x)| (y * width + x) as u8);
        Picture::new("ramp".into(), pixels.clone(), pixels.mapv(|p| p % 3))
    }

    #[test]
    fn standardised_over_valid_pixels_only() {
        let mut labels = Array2::zeros([2, 3]);
        labels[[0, 0]] = IGNORED;
        let pixels = ndarray::arr2(&[[200, 10, 20], [10, 20, 15]]);
        let picture = Picture::new("p".into(), pixels, labels);
        let valid: Vec<f32> = picture.input.iter().copied().skip(1).collect();
        assert!(valid.iter().sum::<f32>().abs() < 1e-5);
        assert!((valid.iter().map(|v| v * v).sum::<f32>() / 5.0 - 1.0).abs() < 1e-5);
        let flat = Picture::new("flat".into(), Array2::from_elem([2, 2], 7), Array2::zeros([2, 2]));
        assert!(flat.input.iter().all(|&v| v == 0.0));
    }

    #[test]
    fn crops_repeat_the_border_and_ignore_it() {
        let picture = ramp(2, 3);
        let (input, labels) = crop(&picture, [-1, -1], 4);
        assert_eq!(labels, ndarray::arr2(&[[255; 4], [255, 0, 1, 2], [255, 0, 1, 2], [255; 4]]));
        assert_eq!(input[[0, 0, 0]], picture.input[[0, 0, 0]]);
        assert_eq!(input[[0, 3, 3]], picture.input[[0, 1, 2]]);
    }

    #[test]
    fn the_same_seed_draws_the_same_patches() {
        let pictures = [ramp(9, 7), ramp(5, 12)];
        let draw = |seed| {
            let mut sampler = Sampler::new(&pictures, 4, Chance::new(seed));
            [sampler.batch(3), sampler.batch(3)]
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }

    #[test]
    fn image_and_labels_stay_together() {
        let pictures = [ramp(8, 8)];
        let mut sampler = Sampler::new(&pictures, 4, Chance::new(0));
        let batch = sampler.batch(16);
        assert_eq!(batch.inputs.len(), 16 * 4 * 4);
        for (value, label) in batch.inputs.iter().zip(&batch.labels) {
            let at = pictures[0].input.iter().position(|v| v == value).unwrap();
            assert_eq!(i32::from(pictures[0].labels.as_slice().unwrap()[at]), *label);
        }
    }

    #[test]
    fn invalid_places_are_avoided() {
        let mut picture = ramp(8, 32);
        picture.labels.slice_mut(s![.., 16..]).fill(IGNORED);
        let pictures = [picture];
        let batch = Sampler::new(&pictures, 8, Chance::new(1)).batch(20);
        for patch in batch.labels.chunks(64) {
            assert!(patch.iter().filter(|&&l| l != 255).count() >= 32);
        }
    }
}
