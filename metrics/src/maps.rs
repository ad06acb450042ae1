//! A prediction and a target of one image.

use std::collections::BTreeSet;

use loss_core::Geometry;
use ndarray::{ArrayView, ArrayViewD, Dimension};

use crate::counts::Counts;
use crate::error::MetricError;
use crate::label::Label;
use crate::lesions::{Connectivity, Lesions, Matching};
use crate::region::Region;
use crate::surface::{Surface, SurfaceDistances};

/// The predicted and the true label of every pixel of one image, of one to three axes, with the
/// distance between neighbours along each.
///
/// Labels are any integers; a class is the label that stands for it, and need not be numbered from
/// 0. The two maps may be of different integer types and in any memory order; nothing is copied
/// here.
///
/// Pixels whose *target* is an ignored label count nowhere: they are in neither region, whatever is
/// predicted there. Both regions are cut alike, so that where both reach into ignored pixels their
/// surfaces there coincide.
///
/// ```
/// use ndarray::arr2;
/// use segloss_metrics::{Empties, LabelMaps, Surface};
///
/// let target = arr2(&[[0u8, 1, 1, 0], [0, 1, 1, 255]]);
/// let prediction = arr2(&[[0i64, 1, 1, 1], [0, 1, 1, 1]]);
/// // Rows 2 mm apart, columns 1 mm.
/// let maps = LabelMaps::new(prediction.view(), target.view())?;
/// let maps = maps.with_spacing(&[2.0, 1.0])?.with_ignored(&[255]);
///
/// let counts = maps.counts(1);
/// assert_eq!((counts.valid, counts.target, counts.predicted, counts.both), (7, 4, 5, 4));
/// assert_eq!(counts.dice(Empties::default()), Some(8.0 / 9.0));
///
/// let distances = maps.surface_distances(1, Surface::Border)?.expect("both regions have a pixel");
/// assert_eq!(distances.hausdorff(), 1.0); // mm
/// # Ok::<(), segloss_metrics::MetricError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LabelMaps<'a, P, T> {
    prediction: ArrayViewD<'a, P>,
    target: ArrayViewD<'a, T>,
    spacing: Vec<f64>,
    ignored: Vec<i64>,
}

impl<'a, P: Label, T: Label> LabelMaps<'a, P, T> {
    /// Maps of pixels at a distance of 1 of which all count.
    ///
    /// # Errors
    /// [`MetricError::Shape`] for maps of different shapes, [`MetricError::Axes`] for other than
    /// one to three axes or one of length 0.
    pub fn new<D: Dimension, E: Dimension>(
        prediction: ArrayView<'a, P, D>,
        target: ArrayView<'a, T, E>,
    ) -> Result<Self, MetricError> {
        if prediction.shape() != target.shape() {
            let (found, target) = (prediction.shape().to_vec(), target.shape().to_vec());
            return Err(MetricError::Shape { what: "prediction", found, target, expected: "one shape" });
        }
        if !(1..=3).contains(&target.ndim()) || target.shape().contains(&0) {
            return Err(MetricError::Axes { shape: target.shape().to_vec() });
        }
        let spacing = vec![1.0; target.ndim()];
        Ok(Self { prediction: prediction.into_dyn(), target: target.into_dyn(), spacing, ignored: Vec::new() })
    }

    /// Neighbours at these distances along each axis, usually in millimetres: the unit of all
    /// distances that come out.
    ///
    /// # Errors
    /// [`MetricError::Spacings`] for another number of them than there are axes,
    /// [`MetricError::Distance`] for one outside `[1e-18, 1e18]`.
    pub fn with_spacing(mut self, spacing: &[f64]) -> Result<Self, MetricError> {
        if spacing.len() != self.shape().len() {
            return Err(MetricError::Spacings { found: spacing.len(), shape: self.shape().to_vec() });
        }
        Geometry::spacing_fits(&[&[1, 1], self.shape()].concat(), spacing)?;
        self.spacing = spacing.to_vec();
        Ok(self)
    }

    /// Pixels of these target labels count nowhere.
    #[must_use]
    pub fn with_ignored(mut self, labels: &[i64]) -> Self {
        self.ignored = labels.to_vec();
        self
    }

    /// Lengths of the axes.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        self.target.shape()
    }

    /// Distances between neighbours.
    #[must_use]
    pub fn spacing(&self) -> &[f64] {
        &self.spacing
    }

    /// The image's diagonal, `√(Σ_a (length_a · spacing_a)²)`.
    #[must_use]
    pub fn diagonal(&self) -> f64 {
        self.shape().iter().zip(&self.spacing).map(|(&n, s)| (n as f64 * s).powi(2)).sum::<f64>().sqrt()
    }

    /// All labels of the target that count, and those that are predicted where the target counts.
    #[must_use]
    pub fn labels(&self) -> [BTreeSet<i64>; 2] {
        let mut all = [BTreeSet::new(), BTreeSet::new()];
        // Neighbours are mostly alike: a set is asked only where a label changes.
        let mut last = [None, None];
        self.each(|prediction, target| {
            for ((set, last), label) in all.iter_mut().zip(&mut last).zip([target, prediction]) {
                if *last != Some(label) {
                    *last = Some(label);
                    set.insert(label);
                }
            }
        });
        all
    }

    /// Counts the pixels of a class.
    #[must_use]
    pub fn counts(&self, class: i64) -> Counts {
        let mut counts = Counts::default();
        self.each(|prediction, target| {
            let [p, t] = [prediction == class, target == class].map(u64::from);
            counts += Counts { valid: 1, target: t, predicted: p, both: p & t };
        });
        counts
    }

    /// Counts the pixels of several classes in one reading of the maps.
    #[must_use]
    pub fn counts_of(&self, classes: &[i64]) -> Vec<Counts> {
        let mut counts = vec![Counts::default(); classes.len()];
        let mut valid = 0;
        self.each(|prediction, target| {
            valid += 1;
            for (counts, &class) in counts.iter_mut().zip(classes) {
                let [p, t] = [prediction == class, target == class].map(u64::from);
                counts.target += t;
                counts.predicted += p;
                counts.both += p & t;
            }
        });
        counts.iter_mut().for_each(|counts| counts.valid = valid);
        counts
    }

    /// Distances between the surfaces of the true and the predicted region of a class; `None` where
    /// one of them, or each, has no pixel.
    ///
    /// Takes time linear in the pixels of the box around both regions, but for the sorting of the
    /// surfaces' distances. The two directions are measured at once, in a thread each; memory is
    /// some 20 bytes for each pixel of that box, and 1 for each of the image.
    ///
    /// # Errors
    /// [`MetricError::Distance`] where there is no memory for it.
    pub fn surface_distances(&self, class: i64, surface: Surface) -> Result<Option<SurfaceDistances>, MetricError> {
        self.region(class).map_or(Ok(None), |region| surface.distances(&region, &self.spacing))
    }

    /// Finds the connected components ("lesions") of a class in target and prediction, and which of
    /// them meet.
    #[must_use]
    pub fn lesions(&self, class: i64, connectivity: Connectivity, matching: Matching) -> Lesions {
        self.region(class).map_or_else(Lesions::default, |region| Lesions::of(&region, connectivity, matching))
    }

    fn region(&self, class: i64) -> Option<Region> {
        let mut members = Vec::with_capacity(self.target.len());
        self.pixels(|prediction, target| {
            let valid = !self.ignored.contains(&target);
            members.push(if valid { Region::member(prediction == class, target == class) } else { 0 });
        });
        Region::cut(&members, self.shape())
    }

    /// Every pixel that counts, in row-major order.
    fn each(&self, mut see: impl FnMut(i64, i64)) {
        self.pixels(|prediction, target| {
            if !self.ignored.contains(&target) {
                see(prediction, target);
            }
        });
    }

    fn pixels(&self, mut see: impl FnMut(i64, i64)) {
        match (self.prediction.as_slice(), self.target.as_slice()) {
            (Some(prediction), Some(target)) => prediction.iter().zip(target).for_each(|(p, t)| see(p.value(), t.value())),
            _ => self.prediction.iter().zip(&self.target).for_each(|(p, t)| see(p.value(), t.value())),
        }
    }
}
