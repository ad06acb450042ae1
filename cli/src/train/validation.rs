//! How well a network does on whole images.

use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use ndarray::{Array4, Axis};
use segloss::{AbsentClass, Activation};
use serde::{Deserialize, Serialize};

use super::data::{IGNORED, Picture, Regions};
use super::network::UNet;
use super::windows::probabilities;
use crate::error::CliError;

/// One class over all validation images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClassReport {
    /// Share of the valid pixels that belong to it.
    #[serde(with = "super::exact")]
    pub(crate) target: f64,
    /// Share of the valid pixels that the network gives it.
    #[serde(with = "super::exact")]
    pub(crate) predicted: f64,
    /// Mean probability that the network gives it.
    #[serde(with = "super::exact")]
    pub(crate) probability: f64,
    /// Dice score of the two regions; NaN where neither has a pixel ([`AbsentClass::SkipEmpty`]).
    #[serde(with = "super::exact")]
    pub(crate) dice: f64,
}

/// How predictions are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Predicting {
    /// What makes logits probabilities.
    pub(crate) activation: Activation,
    /// Size of a window, that of the patches in training.
    pub(crate) window: [usize; 3],
    /// Whether a pixel may belong to several classes.
    pub(crate) overlapping: bool,
}

impl Predicting {
    /// Probabilities [K, D, H, W] on an image's own grid. `None` when told to stop.
    pub(crate) fn image(
        &self,
        network: &UNet,
        input: &Array4<f32>,
        grid: &segloss_data::Grid,
        device: &Device,
        stop: &AtomicBool,
    ) -> Result<Option<Array4<f32>>, CliError> {
        let found = probabilities(network, input.view(), self.window, self.activation, device, stop)?;
        Ok(found.map(|found| if grid.is_same() { found } else { grid.back(&found) }))
    }
}

/// Mean Dice of the classes from `foreground` on, those that occur.
pub(crate) fn foreground_dice(classes: &[ClassReport], foreground: usize) -> f64 {
    let scores: Vec<f64> = classes.iter().skip(foreground).map(|c| c.dice).filter(|d| !d.is_nan()).collect();
    scores.iter().sum::<f64>() / scores.len() as f64
}

/// Mean Dice of the foreground classes of one image; NaN where it has none and none is predicted.
pub(crate) fn image_dice(truth: &Regions, prediction: &Regions, classes: usize) -> f64 {
    let mut sums = Sums::new(classes);
    sums.add(truth, prediction);
    foreground_dice(&sums.report(), usize::from(matches!(truth, Regions::Exclusive(_))))
}

/// Judges a network by some images, one at a time, each on its own grid; gives the classes over all
/// of them, or `None` when told to stop.
pub(crate) fn validate(
    network: &UNet,
    pictures: &[&Picture],
    classes: usize,
    predicting: &Predicting,
    device: &Device,
    stop: &AtomicBool,
) -> Result<Option<Vec<ClassReport>>, CliError> {
    let mut sums = Sums::new(classes);
    for picture in pictures {
        let Some(found) = predicting.image(network, &picture.input, &picture.grid, device, stop)? else { return Ok(None) };
        let prediction = Regions::of(&found.view(), predicting.overlapping);
        sums.add(&picture.own, &prediction);
        sums.add_probabilities(&picture.own, &found);
    }
    Ok(Some(sums.report()))
}

/// Pixels of each class over some images.
pub(crate) struct Sums {
    valid: u64,
    truth: Vec<u64>,
    predicted: Vec<u64>,
    both: Vec<u64>,
    probabilities: Vec<f64>,
}

impl Sums {
    /// Over no image yet.
    pub(crate) fn new(classes: usize) -> Self {
        let none = || vec![0; classes];
        Self { valid: 0, truth: none(), predicted: none(), both: none(), probabilities: vec![0.0; classes] }
    }

    /// Adds the regions of an image.
    pub(crate) fn add(&mut self, truth: &Regions, prediction: &Regions) {
        match (truth, prediction) {
            (Regions::Exclusive(truth), Regions::Exclusive(prediction)) => {
                for (&label, &guess) in truth.iter().zip(prediction) {
                    let [label, guess] = [label, guess].map(usize::from);
                    if label < self.truth.len() && guess < self.truth.len() {
                        self.valid += 1;
                        self.truth[label] += 1;
                        self.predicted[guess] += 1;
                        self.both[label] += u64::from(label == guess);
                    }
                }
            }
            (Regions::Overlapping(truth), Regions::Overlapping(prediction)) => {
                self.valid += truth.index_axis(Axis(0), 0).len() as u64;
                for (k, (truth, prediction)) in truth.axis_iter(Axis(0)).zip(prediction.axis_iter(Axis(0))).enumerate() {
                    for (&label, &guess) in truth.iter().zip(prediction) {
                        self.truth[k] += u64::from(label);
                        self.predicted[k] += u64::from(guess);
                        self.both[k] += u64::from(label & guess);
                    }
                }
            }
            // Both come of one dataset, and so are of one kind.
            _ => {}
        }
    }

    /// Adds the probabilities of an image, [K, D, H, W].
    pub(crate) fn add_probabilities(&mut self, truth: &Regions, found: &Array4<f32>) {
        for (sum, channel) in self.probabilities.iter_mut().zip(found.axis_iter(Axis(0))) {
            *sum += match truth {
                Regions::Exclusive(labels) => {
                    let counts = channel.iter().zip(labels).filter(|(_, label)| **label != IGNORED);
                    counts.map(|(&p, _)| f64::from(p)).sum::<f64>()
                }
                Regions::Overlapping(_) => channel.iter().map(|&p| f64::from(p)).sum(),
            };
        }
    }

    /// What they come to.
    pub(crate) fn report(&self) -> Vec<ClassReport> {
        let valid = self.valid as f64;
        let class = |k: usize| {
            let [truth, predicted, both] = [self.truth[k], self.predicted[k], self.both[k]].map(|pixels| pixels as f64);
            ClassReport {
                target: truth / valid,
                predicted: predicted / valid,
                probability: self.probabilities[k] / valid,
                dice: AbsentClass::SkipEmpty.score(2.0 * both, truth + predicted, truth).unwrap_or(f64::NAN),
            }
        };
        (0..self.truth.len()).map(class).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::network::Shape;
    use ndarray::{Array3, arr3};

    #[test]
    fn dice_and_shares_by_hand() {
        let truth = Regions::Exclusive(arr3(&[[[0, 1, 1, 255]]]));
        let prediction = Regions::Exclusive(arr3(&[[[0, 0, 1, 1]]]));
        let mut sums = Sums::new(3);
        sums.add(&truth, &prediction);
        let found = Array4::from_shape_fn([3, 1, 1, 4], |(k, _, _, x)| [0.6, 0.4, 0.0][k] + if x == 3 { 9.0 } else { 0.0 });
        sums.add_probabilities(&truth, &found);
        let found = sums.report();
        assert_eq!((found[0].target, found[0].predicted, found[0].dice), (1.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0));
        assert_eq!((found[1].target, found[1].predicted, found[1].dice), (2.0 / 3.0, 1.0 / 3.0, 2.0 / 3.0));
        assert!((found[0].probability - 0.6).abs() < 1e-6);
        assert!(found[2].dice.is_nan());
        assert_eq!(foreground_dice(&found, 1), 2.0 / 3.0);
        assert_eq!(image_dice(&truth, &prediction, 3), 2.0 / 3.0);
    }

    #[test]
    fn classes_that_overlap_by_hand() {
        let shares = Array4::from_shape_vec([2, 1, 1, 4], vec![1.0, 0.5, 0.49, 0.0, 0.9, 1.0, 1.0, 0.2]).unwrap();
        let truth = Regions::of(&shares.view(), true);
        assert_eq!(truth, Regions::Overlapping(Array4::from_shape_vec([2, 1, 1, 4], vec![1, 1, 0, 0, 1, 1, 1, 0]).unwrap()));
        let prediction = Regions::Overlapping(Array4::from_shape_vec([2, 1, 1, 4], vec![1, 0, 1, 0, 0, 0, 0, 0]).unwrap());
        let mut sums = Sums::new(2);
        sums.add(&truth, &prediction);
        sums.add_probabilities(&truth, &shares);
        let found = sums.report();
        assert_eq!((found[0].target, found[0].predicted, found[0].dice), (0.5, 0.5, 0.5));
        assert_eq!((found[1].target, found[1].predicted, found[1].dice), (0.75, 0.0, 0.0));
        assert!((found[0].probability - 1.99 / 4.0).abs() < 1e-6);
        assert_eq!(image_dice(&truth, &prediction, 2), 0.25);
        let one = Regions::of(&shares.view(), false);
        assert_eq!(one, Regions::Exclusive(arr3(&[[[0, 1, 1, 1]]])));
        assert_eq!(
            Regions::of(&Array4::from_elem([3, 1, 1, 1], 0.3).view(), false),
            Regions::Exclusive(Array3::zeros([1, 1, 1]))
        );
    }

    #[test]
    fn an_image_is_judged_on_its_own_grid() {
        let device = Device::flex();
        let network = UNet::new(Shape { channels: 1, classes: 2, width: 4, volumes: false }, &device);
        let mut picture = crate::train::synthetic::dataset([1, 1], 3, None).train.remove(0);
        let predicting = Predicting { activation: Activation::Softmax, window: [1, 64, 64], overlapping: false };
        let go = AtomicBool::new(false);
        let judge = |picture: &Picture| validate(&network, &[picture], 2, &predicting, &device, &go).unwrap().unwrap();
        let classes = judge(&picture);
        assert!((classes.iter().map(|c| c.probability).sum::<f64>() - 1.0).abs() < 1e-6);
        // Half of the rows: the network sees a coarser image, and is judged by all its pixels.
        let spacing = segloss_data::Common::new(None, Some([1.0, 2.0, 1.0]));
        picture.grid = segloss_data::Grid::new([1, 64, 64], None, Some([1.0; 3]), &spacing);
        picture.input = picture.grid.image(&picture.input);
        picture.truth = picture.truth.on(&picture.grid);
        assert_eq!(picture.size(), [1, 32, 64]);
        let coarse = judge(&picture);
        let found = predicting.image(&network, &picture.input, &picture.grid, &device, &go).unwrap().unwrap();
        assert_eq!((found.dim(), coarse[1].target), ((2, 1, 64, 64), classes[1].target));
        assert_ne!(coarse[1].probability, classes[1].probability);
    }
}
