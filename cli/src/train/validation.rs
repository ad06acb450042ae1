//! How well a network does on whole images.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Device, Tensor, TensorData};
use ndarray::{Array2, ArrayView1, ArrayView3, Axis};
use segloss::{AbsentClass, Activation};
use serde::{Deserialize, Serialize};

use super::data::{Picture, crop};
use super::network::UNet;
use crate::error::CliError;

/// Margin of a tile whose prediction lacks surroundings and is dropped.
const HALO: usize = 16;

/// Tiles that go through the network together.
const TILES: usize = 8;

/// One class over all validation images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClassReport {
    /// Share of the valid pixels that belong to it.
    #[serde(with = "super::exact")]
    pub(crate) target: f64,
    /// Share of the valid pixels that the network gives it, each pixel to its most probable class.
    #[serde(with = "super::exact")]
    pub(crate) predicted: f64,
    /// Mean probability that the network gives it.
    #[serde(with = "super::exact")]
    pub(crate) probability: f64,
    /// Dice score of the two regions; NaN where neither has a pixel ([`AbsentClass::SkipEmpty`]).
    #[serde(with = "super::exact")]
    pub(crate) dice: f64,
}

/// What a network makes of some images.
pub(crate) struct Judgement {
    /// The most probable class of each pixel of each image.
    pub(crate) predictions: Vec<Array2<u8>>,
    /// The classes over all images.
    pub(crate) classes: Vec<ClassReport>,
}

/// Mean Dice of the classes beyond 0, those that occur.
pub(crate) fn foreground_dice(classes: &[ClassReport]) -> f64 {
    let scores: Vec<f64> = classes.iter().skip(1).map(|c| c.dice).filter(|d| !d.is_nan()).collect();
    scores.iter().sum::<f64>() / scores.len() as f64
}

/// Mean Dice of the foreground classes of one image; NaN where it has none and none is predicted.
pub(crate) fn image_dice(picture: &Picture, prediction: &Array2<u8>, classes: usize) -> f64 {
    foreground_dice(&report(&[picture], std::slice::from_ref(prediction), &vec![0.0; classes]))
}

/// Judges a network by some images, tile by tile. `None` when told to stop.
pub(crate) fn validate(
    network: &UNet,
    pictures: &[&Picture],
    classes: usize,
    activation: Activation,
    tile: usize,
    stop: &AtomicBool,
) -> Result<Option<Judgement>, CliError> {
    let device = Device::flex();
    let mut predictions: Vec<_> = pictures.iter().map(|p| Array2::zeros(p.size())).collect();
    let mut probabilities = vec![0.0; classes];
    let tiles: Vec<Tile> = pictures.iter().enumerate().flat_map(|(of, p)| Tile::cover(of, p.size(), tile)).collect();
    for group in tiles.chunks(TILES) {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let inputs = group.iter().flat_map(|t| crop(pictures[t.of], t.corner, tile).0).collect();
        let channels = group.first().map_or(1, |t| pictures[t.of].input.len_of(Axis(0)));
        let images = Tensor::from_data(TensorData::new(inputs, [group.len(), channels, tile, tile]), &device);
        let logits: Vec<f32> = network.forward(images).try_into_vec_as().map_err(super::read_failure)?;
        for (t, logits) in group.iter().zip(logits.chunks(classes * tile * tile)) {
            let Ok(logits) = ArrayView3::from_shape([classes, tile, tile], logits) else { continue };
            t.keep(&logits, activation, pictures[t.of], &mut predictions[t.of], &mut probabilities);
        }
    }
    let classes = report(pictures, &predictions, &probabilities);
    Ok(Some(Judgement { predictions, classes }))
}

/// A square of an image and the part of it whose prediction counts.
struct Tile {
    of: usize,
    corner: [isize; 2],
    core: [std::ops::Range<usize>; 2],
}

impl Tile {
    /// Tiles whose cores cover an image without overlap.
    fn cover(of: usize, size: [usize; 2], side: usize) -> Vec<Self> {
        let [rows, columns] = size.map(|length| spans(length, side));
        let tile = |(y, core_y): &(isize, std::ops::Range<usize>), (x, core_x): &(isize, std::ops::Range<usize>)| Self {
            of,
            corner: [*y, *x],
            core: [core_y.clone(), core_x.clone()],
        };
        rows.iter().flat_map(|row| columns.iter().map(move |column| tile(row, column))).collect()
    }

    fn keep(
        &self,
        logits: &ArrayView3<f32>,
        activation: Activation,
        picture: &Picture,
        prediction: &mut Array2<u8>,
        sums: &mut [f64],
    ) {
        for y in self.core[0].clone() {
            for x in self.core[1].clone() {
                let at = [y as isize - self.corner[0], x as isize - self.corner[1]].map(|i| i as usize);
                let pixel = logits.index_axis(Axis(2), at[1]);
                let pixel = pixel.index_axis(Axis(1), at[0]);
                let best = pixel
                    .iter()
                    .enumerate()
                    .fold((0, f32::NEG_INFINITY), |best, (k, &z)| if z > best.1 { (k, z) } else { best });
                prediction[[y, x]] = best.0 as u8;
                if usize::from(picture.labels[[y, x]]) < sums.len() {
                    sums.iter_mut().zip(probabilities(&pixel, activation)).for_each(|(sum, p)| *sum += p);
                }
            }
        }
    }
}

/// The probability of each class at a pixel.
fn probabilities(logits: &ArrayView1<f32>, activation: Activation) -> Vec<f64> {
    if activation == Activation::Sigmoid {
        return logits.iter().map(|&z| 1.0 / (1.0 + f64::from(-z).exp())).collect();
    }
    let greatest = logits.fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let exponentials: Vec<f64> = logits.iter().map(|&z| f64::from(z - greatest).exp()).collect();
    let total: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|e| e / total).collect()
}

/// Where tiles begin along an axis, and which part of the axis each answers for.
fn spans(length: usize, side: usize) -> Vec<(isize, std::ops::Range<usize>)> {
    if length <= side {
        // As small images are placed in training.
        return vec![(-((side - length) as isize / 2), 0..length)];
    }
    // A tile too small for its margins keeps half of itself.
    let halo = HALO.min(side / 4);
    let mut spans = Vec::new();
    let (mut begin, mut done) = (0, 0);
    while done < length {
        begin = begin.min(length - side);
        let end = if begin + side == length { length } else { begin + side - halo };
        spans.push((begin as isize, done..end));
        done = end;
        begin = end - halo;
    }
    spans
}

fn report(pictures: &[&Picture], predictions: &[Array2<u8>], probabilities: &[f64]) -> Vec<ClassReport> {
    let classes = probabilities.len();
    let [mut truth, mut predicted, mut both] = [0, 1, 2].map(|_| vec![0u64; classes]);
    for (picture, prediction) in pictures.iter().zip(predictions) {
        for (&label, &guess) in picture.labels.iter().zip(prediction) {
            let [label, guess] = [label, guess].map(usize::from);
            if label < classes {
                truth[label] += 1;
                predicted[guess] += 1;
                both[label] += u64::from(label == guess);
            }
        }
    }
    let valid = truth.iter().sum::<u64>() as f64;
    let class = |k: usize| {
        let [truth, predicted, both] = [truth[k], predicted[k], both[k]].map(|pixels| pixels as f64);
        ClassReport {
            target: truth / valid,
            predicted: predicted / valid,
            probability: probabilities[k] / valid,
            dice: AbsentClass::SkipEmpty.score(2.0 * both, truth + predicted, truth).unwrap_or(f64::NAN),
        }
    };
    (0..classes).map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_pixel_once_and_stay_inside() {
        for (length, side) in [(5, 8), (8, 8), (9, 8), (64, 16), (65, 16), (100, 64), (584, 128), (1024, 128)] {
            let mut done = 0;
            for (begin, core) in spans(length, side) {
                assert_eq!(core.start, done, "{length} {side}");
                assert!(!core.is_empty());
                assert!(core.start as isize >= begin && core.end as isize <= begin + side as isize);
                assert!(length <= side || (begin >= 0 && begin as usize + side <= length));
                done = core.end;
            }
            assert_eq!(done, length);
        }
    }

    #[test]
    fn dice_and_shares_by_hand() {
        let labels = ndarray::arr2(&[[0, 1, 1, 255]]);
        let picture = Picture::new("p".into(), Array2::zeros([1, 4]), labels);
        let found = report(&[&picture], &[ndarray::arr2(&[[0, 0, 1, 1]])], &[1.8, 1.2, 0.0]);
        assert_eq!((found[0].target, found[0].predicted, found[0].dice), (1.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0));
        assert_eq!((found[1].target, found[1].predicted, found[1].dice), (2.0 / 3.0, 1.0 / 3.0, 2.0 / 3.0));
        assert!((found[0].probability - 0.6).abs() < 1e-12);
        assert!(found[2].dice.is_nan());
        assert_eq!(foreground_dice(&found), 2.0 / 3.0);
        assert_eq!(image_dice(&picture, &ndarray::arr2(&[[0, 0, 1, 1]]), 3), 2.0 / 3.0);
    }

    #[test]
    fn probabilities_by_hand() {
        let logits = ndarray::arr1(&[0.0, 3f32.ln(), f32::NEG_INFINITY]);
        let close = |found: Vec<f64>, expected: [f64; 3]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-7), "{found:?}");
        };
        close(probabilities(&logits.view(), Activation::Softmax), [0.25, 0.75, 0.0]);
        close(probabilities(&logits.view(), Activation::Sigmoid), [0.5, 0.75, 0.0]);
    }

    #[test]
    fn whole_image_equals_one_tile() {
        let device = Device::flex();
        let network = UNet::new(1, 2, 4, &device);
        let picture = super::super::synthetic::dataset(1, 3).train.remove(0);
        let go = AtomicBool::new(false);
        let judge = |stop| validate(&network, &[&picture], 2, Activation::Softmax, 64, stop).unwrap();
        let Judgement { predictions, classes } = judge(&go).unwrap();
        let image = Tensor::from_data(TensorData::new(picture.input.iter().copied().collect(), [1, 1, 64, 64]), &device);
        let logits: Vec<f32> = network.forward(image).try_into_vec_as().unwrap();
        let expected: Vec<u8> = (0..4096).map(|i| u8::from(logits[4096 + i] > logits[i])).collect();
        assert_eq!(predictions[0].iter().copied().collect::<Vec<_>>(), expected);
        assert!((classes.iter().map(|c| c.probability).sum::<f64>() - 1.0).abs() < 1e-6);
        assert!(judge(&AtomicBool::new(true)).is_none());
    }
}
