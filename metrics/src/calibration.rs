//! Whether probabilities are as often right as they say.

use ndarray::{ArrayView, ArrayViewD, Dimension};
use serde::Serialize;

use crate::error::MetricError;
use crate::label::Label;

/// One interval of probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bin {
    /// Probabilities that lie in it.
    pub count: u64,
    /// Their sum.
    pub probability: f64,
    /// How many of them were of something that is so.
    pub correct: u64,
}

impl Bin {
    /// How far the mean probability is from the share that is so; 0 of an empty bin.
    fn error(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.probability - self.correct as f64).abs() / self.count as f64 }
    }
}

/// Probabilities in bins of equal width, `(i/B, (i+1)/B]`; 0 is in the first. Bins of several
/// images add up.
///
/// With n_b probabilities in bin b, of mean p̄_b, of which the share ȳ_b is so, and n in all:
///
/// | error | formula |
/// |---|---|
/// | [`expected`](Self::expected) (ECE) | Σ_b n_b / n · \|p̄_b - ȳ_b\| |
/// | [`average`](Self::average) (ACE) | the mean of \|p̄_b - ȳ_b\| over bins that are not empty |
/// | [`maximum`](Self::maximum) (MCE) | the greatest \|p̄_b - ȳ_b\| |
///
/// Each is `None` where nothing was added.
///
/// Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, for
/// [`top_label`](Self::top_label) (15 bins there); MONAI 1.6's `CalibrationErrorMetric` for
/// [`class`](Self::class) (20 bins there).
///
/// ```
/// use ndarray::{arr1, arr2};
/// use segloss_metrics::Calibration;
///
/// // Two classes, four pixels, [K, *spatial].
/// let probabilities = arr2(&[[0.9, 0.2, 0.6, 0.3], [0.1, 0.8, 0.4, 0.7]]);
/// let target = arr1(&[0u8, 1, 1, 255]);
/// let mut calibration = Calibration::new(10)?;
/// calibration.top_label(probabilities.view(), target.view(), &[255])?;
/// // Sure by 0.9, 0.8 and 0.6; the last one is wrong.
/// let expected = calibration.expected().expect("three pixels");
/// assert!((expected - (0.1 + 0.2 + 0.6) / 3.0).abs() < 1e-12);
/// # Ok::<(), segloss_metrics::MetricError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    bins: Vec<Bin>,
}

impl Calibration {
    /// Empty bins.
    ///
    /// # Errors
    /// [`MetricError::Option`] for no bins or more than a million.
    pub fn new(bins: usize) -> Result<Self, MetricError> {
        if !(1..=1_000_000).contains(&bins) {
            return Err(MetricError::option("bins", bins, "a number from 1 to 1000000"));
        }
        Ok(Self { bins: vec![Bin::default(); bins] })
    }

    /// The bins, from low to high probabilities: the points of a reliability diagram.
    #[must_use]
    pub fn bins(&self) -> &[Bin] {
        &self.bins
    }

    /// Adds the greatest probability of every pixel, and whether its class is the target's. Of
    /// equal probabilities the first class is taken.
    ///
    /// `probabilities` are `[K, *spatial]`, `target` `[*spatial]`, whose labels are the channels.
    ///
    /// # Errors
    /// [`MetricError::Shape`]; [`MetricError::Probability`] for a number outside `[0, 1]` at a
    /// pixel that counts; [`MetricError::Label`] for a label without a channel that is not ignored.
    /// Nothing is added then.
    pub fn top_label<T: Label, D: Dimension, E: Dimension>(
        &mut self,
        probabilities: ArrayView<'_, f64, D>,
        target: ArrayView<'_, T, E>,
        ignored: &[i64],
    ) -> Result<(), MetricError> {
        self.each_pixel(probabilities.into_dyn(), target.into_dyn(), ignored, |bins, pixel, label| {
            let first = (0, f64::NEG_INFINITY);
            let best = pixel.iter().enumerate().fold(first, |best, (k, &p)| if p > best.1 { (k, p) } else { best });
            bins.add(best.1, best.0 == label);
        })
    }

    /// Adds the probability of one class at every pixel, and whether the pixel is of it.
    ///
    /// # Errors
    /// As [`Calibration::top_label`]; [`MetricError::Option`] for a class without a channel.
    pub fn class<T: Label, D: Dimension, E: Dimension>(
        &mut self,
        class: usize,
        probabilities: ArrayView<'_, f64, D>,
        target: ArrayView<'_, T, E>,
        ignored: &[i64],
    ) -> Result<(), MetricError> {
        if class >= probabilities.shape().first().copied().unwrap_or(0) {
            return Err(MetricError::option("class", class, "one of the channels of probabilities"));
        }
        self.each_pixel(probabilities.into_dyn(), target.into_dyn(), ignored, |bins, pixel, label| {
            bins.add(pixel[class], label == class);
        })
    }

    /// Adds the bins of another image, which must be as many.
    ///
    /// # Errors
    /// [`MetricError::Option`] for another number of bins.
    pub fn merge(&mut self, other: &Self) -> Result<(), MetricError> {
        if self.bins.len() != other.bins.len() {
            return Err(MetricError::option("bins", other.bins.len(), "as many as there are here"));
        }
        for (bin, other) in self.bins.iter_mut().zip(&other.bins) {
            bin.count += other.count;
            bin.probability += other.probability;
            bin.correct += other.correct;
        }
        Ok(())
    }

    /// Expected calibration error.
    #[must_use]
    pub fn expected(&self) -> Option<f64> {
        let all: u64 = self.bins.iter().map(|bin| bin.count).sum();
        let sum: f64 = self.bins.iter().map(|bin| bin.count as f64 * bin.error()).sum();
        (all > 0).then(|| sum / all as f64)
    }

    /// Average calibration error.
    #[must_use]
    pub fn average(&self) -> Option<f64> {
        let errors: Vec<f64> = self.errors().collect();
        (!errors.is_empty()).then(|| errors.iter().sum::<f64>() / errors.len() as f64)
    }

    /// Maximum calibration error.
    #[must_use]
    pub fn maximum(&self) -> Option<f64> {
        self.errors().reduce(f64::max)
    }

    fn errors(&self) -> impl Iterator<Item = f64> {
        self.bins.iter().filter(|bin| bin.count > 0).map(Bin::error)
    }

    fn add(&mut self, probability: f64, correct: bool) {
        let count = self.bins.len();
        // The cast saturates: the bin of 0 would be -1.
        let at = ((probability * count as f64).ceil() - 1.0) as usize;
        if let Some(bin) = self.bins.get_mut(at.min(count - 1)) {
            bin.count += 1;
            bin.probability += probability;
            bin.correct += u64::from(correct);
        }
    }

    fn each_pixel<T: Label>(
        &mut self,
        probabilities: ArrayViewD<'_, f64>,
        target: ArrayViewD<'_, T>,
        ignored: &[i64],
        mut see: impl FnMut(&mut Self, &[f64], usize),
    ) -> Result<(), MetricError> {
        let Some((&classes, spatial)) = probabilities.shape().split_first().filter(|(_, spatial)| *spatial == target.shape())
        else {
            let (found, target) = (probabilities.shape().to_vec(), target.shape().to_vec());
            let expected = "one axis of classes before the target's";
            return Err(MetricError::Shape { what: "probabilities", found, target, expected });
        };
        let mut bins = Self { bins: vec![Bin::default(); self.bins.len()] };
        let mut pixel = vec![0.0; classes];
        let channels: Vec<_> = probabilities.outer_iter().collect();
        let mut channels: Vec<_> = channels.iter().map(|channel| channel.iter()).collect();
        for (at, label) in target.iter().enumerate() {
            for (value, channel) in pixel.iter_mut().zip(&mut channels) {
                *value = channel.next().copied().unwrap_or(f64::NAN);
            }
            let label = label.value();
            if ignored.contains(&label) {
                continue;
            }
            let position = || crate::region::places(at, spatial);
            let Some(label) = usize::try_from(label).ok().filter(|label| *label < classes) else {
                return Err(MetricError::Label { label, position: position(), classes });
            };
            if let Some(k) = pixel.iter().position(|p| !(0.0..=1.0).contains(p)) {
                let position = [&[k], &position()[..]].concat();
                return Err(MetricError::Probability { value: pixel[k], position });
            }
            see(&mut bins, &pixel, label);
        }
        self.merge(&bins)
    }
}
