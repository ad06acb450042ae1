//! Which lesions are found: connected components of a class, and which of them meet.

mod components;

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::Serialize;

use self::components::Components;
use crate::empties::{Empties, Presence};
use crate::error::MetricError;
use crate::region::{PREDICTED, Region, TRUE};

/// Which pixels touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Connectivity {
    /// Those that share a face: 4 neighbours in 2-D, 6 in 3-D.
    Faces,
    /// Those that share an edge as well: 8 in 2-D, 18 in 3-D.
    Edges,
    /// Those that share a corner as well: 8 in 2-D, 26 in 3-D.
    #[default]
    Corners,
}

impl Connectivity {
    /// Along how many axes at once neighbours may differ.
    fn axes(self) -> usize {
        match self {
            Self::Faces => 1,
            Self::Edges => 2,
            Self::Corners => 3,
        }
    }
}

/// When a true and a predicted lesion are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    /// When they share a pixel. One predicted lesion may find several true ones, and several
    /// predicted ones the same.
    #[default]
    Overlap,
    /// When their intersection over union is above this number, which is in `[0.5, 1)`: so each has
    /// one partner at most. F1 is then the recognition quality of panoptic segmentation (Kirillov
    /// et al., CVPR 2019).
    Iou(f64),
}

impl Matching {
    /// # Errors
    /// [`MetricError::Option`] for an intersection over union outside `[0.5, 1)`.
    pub fn check(&self) -> Result<(), MetricError> {
        match self {
            Self::Iou(iou) if !(0.5..1.0).contains(iou) => Err(MetricError::option(
                "intersection over union of lesions",
                iou,
                "a number in [0.5, 1), so that no lesion has two partners",
            )),
            _ => Ok(()),
        }
    }
}

/// Numbers of lesions. They add up over images.
///
/// | metric | formula |
/// |---|---|
/// | [`recall`](Self::recall) | found / target: sensitivity per lesion |
/// | [`precision`](Self::precision) | matched / predicted |
/// | [`f1`](Self::f1) | 2 · precision · recall / (precision + recall) |
///
/// ```
/// use ndarray::arr2;
/// use segloss_metrics::{Connectivity, Empties, LabelMaps, Matching};
///
/// let target = arr2(&[[1, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]]);
/// let prediction = arr2(&[[1, 0, 0, 1], [0, 0, 0, 1], [0, 0, 1, 0]]);
/// let maps = LabelMaps::new(prediction.view(), target.view())?;
/// let lesions = maps.lesions(1, Connectivity::Faces, Matching::Overlap);
/// assert_eq!((lesions.target, lesions.found, lesions.predicted, lesions.matched), (3, 2, 3, 2));
/// assert_eq!(lesions.f1(Empties::default()), Some(2.0 / 3.0));
/// # Ok::<(), segloss_metrics::MetricError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lesions {
    /// True lesions.
    pub target: u64,
    /// True lesions that a predicted one matches.
    pub found: u64,
    /// Predicted lesions.
    pub predicted: u64,
    /// Predicted lesions that match a true one.
    pub matched: u64,
}

impl Lesions {
    pub(crate) fn of(region: &Region, connectivity: Connectivity, matching: Matching) -> Self {
        let components = |side| Components::of(region, side, connectivity.axes());
        let (target, predicted) = (components(TRUE), components(PREDICTED));
        let mut shared: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        for (&t, &p) in target.of_pixel.iter().zip(&predicted.of_pixel) {
            if let (Some(t), Some(p)) = (t.checked_sub(1), p.checked_sub(1)) {
                *shared.entry((t as usize, p as usize)).or_default() += 1;
            }
        }
        let mut found = vec![false; target.sizes.len()];
        let mut matched = vec![false; predicted.sizes.len()];
        for (&(t, p), &both) in &shared {
            let union = target.sizes[t] + predicted.sizes[p] - both;
            let same = match matching {
                Matching::Overlap => true,
                Matching::Iou(least) => both as f64 > least * union as f64,
            };
            found[t] |= same;
            matched[p] |= same;
        }
        let count = |all: &[bool]| all.iter().filter(|&&yes| yes).count() as u64;
        Self { target: found.len() as u64, found: count(&found), predicted: matched.len() as u64, matched: count(&matched) }
    }

    /// Which part of the true lesions is found.
    #[must_use]
    pub fn recall(&self, empties: Empties) -> Option<f64> {
        empties.score(self.presence(), || self.found as f64 / self.target as f64)
    }

    /// Which part of the predicted lesions is true.
    #[must_use]
    pub fn precision(&self, empties: Empties) -> Option<f64> {
        empties.score(self.presence(), || self.matched as f64 / self.predicted as f64)
    }

    /// The harmonic mean of both; 0 where nothing is found.
    #[must_use]
    pub fn f1(&self, empties: Empties) -> Option<f64> {
        let [target, found, predicted, matched] = [self.target, self.found, self.predicted, self.matched].map(|n| n as f64);
        let measure = || {
            let (recall, precision) = (found / target, matched / predicted);
            if recall + precision > 0.0 { 2.0 * recall * precision / (recall + precision) } else { 0.0 }
        };
        empties.score(self.presence(), measure)
    }

    fn presence(&self) -> Presence {
        match (self.target > 0, self.predicted > 0) {
            (true, true) => Presence::Both,
            (true, false) => Presence::TruthOnly,
            (false, true) => Presence::PredictionOnly,
            (false, false) => Presence::Neither,
        }
    }
}

impl AddAssign for Lesions {
    fn add_assign(&mut self, other: Self) {
        self.target += other.target;
        self.found += other.found;
        self.predicted += other.predicted;
        self.matched += other.matched;
    }
}
