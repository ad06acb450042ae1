//! Distances of one surface's points to another surface, and what is made of them.

use crate::error::MetricError;

/// What a percentile of weighted distances is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Percentile {
    /// Between the ranks of points that count once each.
    Interpolated,
    /// The least distance within which so much of the area lies.
    OfArea,
}

/// The distances from every point of one surface to the other one, with weights; by distance.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Directed {
    points: Vec<(f64, f64)>,
    weight: f64,
}

impl Directed {
    pub(super) fn new(points: impl Iterator<Item = (f64, f64)>) -> Self {
        // Where regions agree most distances are 0: they are one entry.
        let mut touching = 0.0;
        let mut all = vec![(0.0, 0.0)];
        for (distance, weight) in points {
            if distance == 0.0 {
                touching += weight;
            } else {
                all.push((distance, weight));
            }
        }
        all[0].1 = touching;
        all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let weight = all.iter().map(|point| point.1).sum();
        Self { points: all, weight }
    }

    fn greatest(&self) -> f64 {
        self.points.last().map_or(0.0, |point| point.0)
    }

    fn sum(&self) -> f64 {
        self.points.iter().map(|(distance, weight)| distance * weight).sum()
    }

    fn within(&self, tolerance: f64) -> f64 {
        self.points.iter().take_while(|point| point.0 <= tolerance).map(|point| point.1).sum()
    }

    /// The first distance at which the weight of all up to it is as `enough` says.
    fn reached(&self, enough: impl Fn(f64) -> bool) -> f64 {
        let mut weight = 0.0;
        let reached = self.points.iter().find(|point| {
            weight += point.1;
            point.1 > 0.0 && enough(weight)
        });
        reached.map_or_else(|| self.greatest(), |point| point.0)
    }

    fn percentile(&self, percent: f64, kind: Percentile) -> f64 {
        let share = percent / 100.0;
        match kind {
            Percentile::OfArea => self.reached(|weight| weight / self.weight >= share),
            Percentile::Interpolated => {
                let rank = share * (self.weight - 1.0);
                let [low, high] = [rank.floor(), rank.ceil()].map(|rank| self.reached(|weight| weight > rank));
                low + (high - low) * (rank - rank.floor())
            }
        }
    }
}

/// How far each of two surfaces is from the other, in units of the spacing.
///
/// Made by [`LabelMaps::surface_distances`](crate::LabelMaps::surface_distances), for two regions
/// that have a pixel each. Every distance is exact and Euclidean.
///
/// ```
/// use ndarray::arr1;
/// use segloss_metrics::{LabelMaps, Surface};
///
/// let prediction = arr1(&[0, 1, 1, 1, 0, 0, 0, 0]);
/// let target = arr1(&[0, 0, 1, 1, 1, 1, 1, 0]);
/// let maps = LabelMaps::new(prediction.view(), target.view())?;
/// let distances = maps.surface_distances(1, Surface::Border)?.expect("two regions");
/// // Ends 1 and 3 are 1 from end 2; ends 2 and 6 are 1 and 3 from 1 and 3.
/// assert_eq!((distances.mean_to_target(), distances.mean_to_prediction()), (1.0, 2.0));
/// assert_eq!((distances.average(), distances.hausdorff()), (1.5, 3.0));
/// assert_eq!(distances.hausdorff_percentile(50.0)?, 2.0);
/// assert_eq!(distances.surface_dice(1.0)?, 0.75);
/// # Ok::<(), segloss_metrics::MetricError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SurfaceDistances {
    pub(super) to_target: Directed,
    pub(super) to_prediction: Directed,
    pub(super) percentile: Percentile,
}

impl SurfaceDistances {
    /// The Hausdorff distance: the greatest distance from a point of one surface to the other,
    /// `max(max_p d(p, T), max_t d(t, P))`. One stray pixel decides it.
    #[must_use]
    pub fn hausdorff(&self) -> f64 {
        self.to_target.greatest().max(self.to_prediction.greatest())
    }

    /// The greater of the two directions' percentiles; 95 gives the usual HD95.
    ///
    /// # Errors
    /// [`MetricError::Option`] for a percentage outside `[0, 100]`.
    pub fn hausdorff_percentile(&self, percent: f64) -> Result<f64, MetricError> {
        check_percent(percent)?;
        Ok(self.to_target.percentile(percent, self.percentile).max(self.to_prediction.percentile(percent, self.percentile)))
    }

    /// Average symmetric surface distance: the mean over the points of both surfaces together,
    /// `(Σ_p d(p, T) + Σ_t d(t, P)) / (|P| + |T|)`, by weight.
    ///
    /// The mean of the two directed means, which some call so too, is another number where the
    /// surfaces are of different sizes.
    #[must_use]
    pub fn average(&self) -> f64 {
        (self.to_target.sum() + self.to_prediction.sum()) / (self.to_target.weight + self.to_prediction.weight)
    }

    /// The mean distance of the predicted surface's points to the true surface.
    #[must_use]
    pub fn mean_to_target(&self) -> f64 {
        self.to_target.sum() / self.to_target.weight
    }

    /// The mean distance of the true surface's points to the predicted surface.
    #[must_use]
    pub fn mean_to_prediction(&self) -> f64 {
        self.to_prediction.sum() / self.to_prediction.weight
    }

    /// Normalised surface Dice: which part of both surfaces lies within the tolerance of the
    /// other, in `[0, 1]`.
    ///
    /// # Errors
    /// [`MetricError::Option`] for a tolerance that is not a finite number ≥ 0.
    pub fn surface_dice(&self, tolerance: f64) -> Result<f64, MetricError> {
        check_tolerance(tolerance)?;
        let within = self.to_target.within(tolerance) + self.to_prediction.within(tolerance);
        Ok(within / (self.to_target.weight + self.to_prediction.weight))
    }
}

pub(crate) fn check_percent(percent: f64) -> Result<(), MetricError> {
    let fits = (0.0..=100.0).contains(&percent);
    if fits { Ok(()) } else { Err(MetricError::option("percentile", percent, "a number in [0, 100]")) }
}

pub(crate) fn check_tolerance(tolerance: f64) -> Result<(), MetricError> {
    let fits = tolerance.is_finite() && tolerance >= 0.0;
    if fits { Ok(()) } else { Err(MetricError::option("tolerance", tolerance, "a finite number of at least 0")) }
}
