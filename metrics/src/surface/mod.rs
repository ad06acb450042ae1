//! Distances between the surfaces of two regions.

mod border;
mod distances;
mod elements;

use std::thread;

use serde::Serialize;

pub use self::distances::SurfaceDistances;
use self::distances::{Directed, Percentile};
pub(crate) use self::distances::{check_percent, check_tolerance};
use crate::error::MetricError;
use crate::region::{PREDICTED, Region, TRUE};

/// What the surface of a region is. Libraries differ in it, and so in every surface distance: the
/// table in `docs/metrics.md` shows by how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    /// Pixels of the region with a neighbour outside of it, across a face; beyond the image is
    /// outside. Distances are between pixel centres, each border pixel counts once, and percentiles
    /// are interpolated linearly between ranks.
    ///
    /// Source: MONAI 1.6 (`get_mask_edges`, `compute_hausdorff_distance`,
    /// `compute_average_surface_distance`, `compute_surface_dice`).
    #[default]
    Border,
    /// Corners of pixels at which the region and its outside meet, each with the length or area of
    /// the surface that marching squares or cubes put there. Distances are between corners, and
    /// everything is weighted by that area; a percentile is the least distance within which that
    /// share of the area lies.
    ///
    /// Source: `surface-distance` 0.1 of DeepMind (Nikolov et al., arXiv 1809.04430), which has 2-D
    /// and 3-D. In 1-D an end of a segment is a corner of weight 1.
    Elements,
    /// No surface: all pixels of the region, so that a pixel that lies in the other region is at a
    /// distance of 0. The Hausdorff distance of sets.
    ///
    /// Source: SimpleITK 2.5 (`HausdorffDistanceImageFilter`), whose average distance is the mean
    /// of [`mean_to_target`](SurfaceDistances::mean_to_target) and
    /// [`mean_to_prediction`](SurfaceDistances::mean_to_prediction).
    Pixels,
}

/// Points of a surface on a grid of any size: what a point weighs, 0 where there is none.
struct Points {
    shape: Vec<usize>,
    /// Codes of predicted and true points.
    predicted: Vec<u8>,
    target: Vec<u8>,
    /// Weight of each code; 0 for those that are no point.
    weights: Vec<f64>,
    /// Codes that are a point.
    is_point: Vec<bool>,
    percentile: Percentile,
}

impl Surface {
    pub(crate) fn distances(self, region: &Region, spacing: &[f64]) -> Result<Option<SurfaceDistances>, MetricError> {
        if !(region.has(PREDICTED) && region.has(TRUE)) {
            return Ok(None);
        }
        let points = match self {
            Self::Border => Points::of_bits(&border::border(region), &region.shape),
            Self::Pixels => Points::of_bits(&region.members, &region.shape),
            Self::Elements => elements::points(region, spacing),
        };
        // The two directions at once: one in a thread of its own, where the system gives one.
        let (predicted, target) = (&points.predicted, &points.target);
        let [to_target, to_prediction] = thread::scope(|scope| {
            let towards_target = || points.directed(predicted, target, spacing);
            let spawned = thread::Builder::new().spawn_scoped(scope, towards_target);
            let to_prediction = points.directed(target, predicted, spacing);
            let joined = spawned.ok().and_then(|thread| thread.join().ok());
            [joined.unwrap_or_else(towards_target), to_prediction]
        });
        Ok(Some(SurfaceDistances { to_target: to_target?, to_prediction: to_prediction?, percentile: points.percentile }))
    }
}

impl Points {
    /// Pixels that count once each, by the bits of a region.
    fn of_bits(members: &[u8], shape: &[usize]) -> Self {
        let side = |bit: u8| members.iter().map(|member| u8::from(member & bit != 0)).collect();
        Self {
            shape: shape.to_vec(),
            predicted: side(PREDICTED),
            target: side(TRUE),
            weights: vec![0.0, 1.0],
            is_point: vec![false, true],
            percentile: Percentile::Interpolated,
        }
    }

    /// From every point of one surface to the nearest of the other.
    fn directed(&self, from: &[u8], to: &[u8], spacing: &[f64]) -> Result<Directed, MetricError> {
        let is_point = |code: u8| self.is_point.get(usize::from(code)).copied().unwrap_or(false);
        let seeds = to.iter().map(|&code| is_point(code));
        let squared = loss_core::distance::squared_distances(seeds, &self.shape, spacing)?;
        let points = from.iter().zip(squared).filter(|(code, _)| is_point(**code));
        Ok(Directed::new(points.map(|(&code, squared)| (squared.sqrt(), self.weights[usize::from(code)]))))
    }
}
