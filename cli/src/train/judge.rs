//! How well a network does on each of some images: pixels, surfaces, and the size that a loss
//! prefers on what it predicts.

use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use ndarray::{Array3, Array4, ArrayView3, Axis};
use segloss::ndarray::{ShiftedSums, Target};
use segloss::{Activation, Loss, LossError, Preference, preferred_size};
use segloss_metrics::{Counts, LabelMaps, MetricError, Surface};

use super::data::{IGNORED, Picture, Regions};
use super::network::UNet;
use super::validation::Predicting;
use crate::error::CliError;

/// A class in an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ClassScore {
    /// Its pixels.
    pub(crate) counts: Counts,
    /// The 95th percentile of the distances of either surface to the other, in units of the
    /// image's spacing; none where a region is empty.
    pub(crate) hd95: Option<f64>,
}

/// All classes in an image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ImageScores {
    /// The image's diagonal, which no distance exceeds.
    pub(crate) diagonal: f64,
    /// Every class.
    pub(crate) classes: Vec<ClassScore>,
}

/// An image, judged on its own grid.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judged {
    /// What was predicted.
    pub(crate) prediction: Regions,
    /// The slice with the most true foreground.
    pub(crate) shown: usize,
    /// How well.
    pub(crate) scores: ImageScores,
    /// Probabilities [K, D, H, W], where they are kept.
    pub(crate) probabilities: Option<Array4<f32>>,
}

/// Predicts images one at a time and compares them with their masks; `None` when told to stop.
/// Probabilities, which need K times 4 bytes for each pixel, are kept on demand.
pub(crate) fn judge(
    network: &UNet,
    pictures: &[Picture],
    classes: usize,
    predicting: &Predicting,
    keep: bool,
    device: &Device,
    stop: &AtomicBool,
) -> Result<Option<Vec<Judged>>, CliError> {
    let mut all = Vec::new();
    for picture in pictures {
        let Some(probabilities) = predicting.image(network, &picture.input, &picture.grid, device, stop)? else {
            return Ok(None);
        };
        let prediction = Regions::of(&probabilities.view(), predicting.overlapping);
        let scores = ImageScores::of(&picture.own, &prediction, classes, picture.spacing)?;
        let shown = picture.own.fullest();
        all.push(Judged { prediction, shown, scores, probabilities: keep.then_some(probabilities) });
    }
    Ok(Some(all))
}

impl ImageScores {
    /// Of a prediction beside a mask, with the image's spacing.
    pub(crate) fn of(truth: &Regions, prediction: &Regions, classes: usize, spacing: [f64; 3]) -> Result<Self, MetricError> {
        let diagonal = truth.size().iter().zip(spacing).map(|(&n, s)| (n as f64 * s).powi(2)).sum::<f64>().sqrt();
        Ok(Self { diagonal, classes: scores(truth, prediction, classes, spacing)? })
    }
}

/// The classes of one image.
fn scores(truth: &Regions, prediction: &Regions, classes: usize, spacing: [f64; 3]) -> Result<Vec<ClassScore>, MetricError> {
    let one = |truth: ArrayView3<u8>, prediction: ArrayView3<u8>, class: i64| {
        let maps = LabelMaps::new(prediction, truth)?.with_spacing(&spacing)?.with_ignored(&[i64::from(IGNORED)]);
        let distances = maps.surface_distances(class, Surface::Border)?;
        let hd95 = distances.map(|distances| distances.hausdorff_percentile(95.0)).transpose()?;
        Ok(ClassScore { counts: maps.counts(class), hd95 })
    };
    match (truth, prediction) {
        (Regions::Exclusive(truth), Regions::Exclusive(prediction)) => {
            (0..classes).map(|k| one(truth.view(), prediction.view(), k as i64)).collect()
        }
        (Regions::Overlapping(truth), Regions::Overlapping(prediction)) => {
            truth.axis_iter(Axis(0)).zip(prediction.axis_iter(Axis(0))).map(|(t, p)| one(t, p, 1)).collect()
        }
        // Both come of one dataset, and so are of one kind.
        _ => Ok(Vec::new()),
    }
}

/// The size of a class that a loss prefers on all images together, each a sample of its own.
///
/// Logarithms of the probabilities stand for the logits, which they equal up to a number that all
/// classes of a pixel share; under sigmoid log p − log(1 − p).
pub(crate) fn preferred(loss: &Loss, pictures: &[Picture], judged: &[Judged], class: usize) -> Result<Preference, LossError> {
    let images: Vec<(Array4<f32>, Array3<u8>)> = pictures
        .iter()
        .zip(judged)
        .filter_map(|(picture, judged)| match (&picture.own, &judged.probabilities) {
            (Regions::Exclusive(labels), Some(found)) => Some((logits(found, loss.activation()), labels.clone())),
            _ => None,
        })
        .collect();
    let classes = judged.first().map_or(0, |judged| judged.scores.classes.len());
    preferred_size(|by| {
        let mut set = ShiftedSums::new(loss, classes, class, by)?;
        for (logits, labels) in &images {
            let mut image = ShiftedSums::new(loss, classes, class, by)?;
            let labels = labels.view().insert_axis(Axis(0));
            image.add(logits.view().insert_axis(Axis(0)), &Target::labels(labels))?;
            set.stack(image)?;
        }
        set.whole(None)
    })
}

/// In `f32`, as the probabilities are: a hundred evaluations then take a tenth of the time that
/// they take in `f64`, and the size found differs by less than 1e-3 of itself.
fn logits(probabilities: &Array4<f32>, activation: Activation) -> Array4<f32> {
    // What f32 rounds to 0 or 1 is at most this sure.
    let log = |p: f64| p.max(1e-30).ln();
    probabilities.mapv(|p| match activation {
        Activation::Softmax => log(p.into()) as f32,
        Activation::Sigmoid => (log(p.into()) - log(1.0 - f64::from(p))) as f32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array, arr3};

    #[test]
    fn an_image_by_hand() {
        let truth = Regions::Exclusive(arr3(&[[[0, 1, 1, 255, 0, 0]]]));
        let prediction = Regions::Exclusive(arr3(&[[[0, 0, 1, 1, 1, 0]]]));
        let found = scores(&truth, &prediction, 3, [1.0, 1.0, 0.5]).unwrap();
        assert_eq!(found[1].counts, Counts { valid: 5, target: 2, predicted: 2, both: 1 });
        // From the true 0.5 to the predicted 1.0, and from the predicted 2.0 to the true 1.0.
        assert!(found[1].hd95.unwrap() > 0.5 && found[1].hd95.unwrap() <= 1.0);
        assert_eq!((found[2].counts.target, found[2].hd95), (0, None));
        let [one, two] =
            [[1u8, 0], [1, 1]].map(|v| Regions::Overlapping(Array::from_shape_vec([2, 1, 1, 1], v.to_vec()).unwrap()));
        let found = scores(&one, &two, 2, [1.0; 3]).unwrap();
        assert_eq!((found[0].hd95, found[1].hd95, found[1].counts.predicted), (Some(0.0), None, 1));
    }

    #[test]
    fn cross_entropy_prefers_the_true_proportion_of_a_set() {
        let mut pictures = crate::train::synthetic::dataset([3, 1], 5, None).train;
        let judged: Vec<Judged> = pictures
            .iter_mut()
            .map(|picture| {
                let input = picture.input.index_axis(Axis(0), 0).mapv(|v| 1.0 / (1.0 + (2.0 - v).exp()));
                let probabilities = ndarray::stack(Axis(0), &[input.mapv(|p| 1.0 - p).view(), input.view()]).unwrap();
                let prediction = Regions::of(&probabilities.view(), false);
                let scores = ImageScores::of(&picture.own, &prediction, 2, [1.0; 3]).unwrap();
                Judged { prediction, shown: 0, scores, probabilities: Some(probabilities) }
            })
            .collect();
        let loss: Loss = "ce".parse().unwrap();
        let Preference::Size(size) = preferred(&loss, &pictures, &judged, 1).unwrap() else { panic!() };
        assert!((size.predicted_ratio().unwrap() - 1.0).abs() < 1e-3);
    }
}
