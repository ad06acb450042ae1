//! Metrics by name, and all of them for one image.

use std::fmt::{Display, Formatter};

use serde::Serialize;

use crate::counts::Counts;
use crate::empties::Empties;
use crate::error::MetricError;
use crate::label::Label;
use crate::lesions::{Connectivity, Lesions, Matching};
use crate::maps::LabelMaps;
use crate::surface::{Surface, check_percent, check_tolerance};

/// A metric of one class in one image.
///
/// Its text is its name in tables: `dice`, `hd95`, `surface_dice@2`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// [`Counts::dice`]
    Dice,
    /// [`Counts::iou`]
    Iou,
    /// [`Counts::precision`]
    Precision,
    /// [`Counts::recall`]
    Recall,
    /// [`Counts::size_error`]
    SizeError,
    /// [`SurfaceDistances::hausdorff`](crate::SurfaceDistances::hausdorff)
    Hausdorff,
    /// [`SurfaceDistances::hausdorff_percentile`](crate::SurfaceDistances::hausdorff_percentile)
    HausdorffPercentile(f64),
    /// [`SurfaceDistances::average`](crate::SurfaceDistances::average)
    AverageSurfaceDistance,
    /// [`SurfaceDistances::surface_dice`](crate::SurfaceDistances::surface_dice) at a tolerance
    SurfaceDice(f64),
    /// [`Lesions::precision`]
    LesionPrecision,
    /// [`Lesions::recall`]
    LesionRecall,
    /// [`Lesions::f1`]
    LesionF1,
}

impl Metric {
    /// All, with HD95 and surface Dice at a tolerance of 1.
    pub const ALL: [Self; 12] = [
        Self::Dice,
        Self::Iou,
        Self::Precision,
        Self::Recall,
        Self::SizeError,
        Self::Hausdorff,
        Self::HausdorffPercentile(95.0),
        Self::AverageSurfaceDistance,
        Self::SurfaceDice(1.0),
        Self::LesionPrecision,
        Self::LesionRecall,
        Self::LesionF1,
    ];

    /// Whether it is a distance, in units of the spacing.
    #[must_use]
    pub fn is_distance(self) -> bool {
        matches!(self, Self::Hausdorff | Self::HausdorffPercentile(_) | Self::AverageSurfaceDistance)
    }

    /// Whether it is a function of [`Counts`] alone.
    #[must_use]
    pub fn is_of_counts(self) -> bool {
        self.of_counts(&Counts::default(), Empties::default()).is_some()
    }

    /// Of counts, of one image or pooled; `None` for a metric that is of more than counts, and
    /// `Some(None)` where the image is left out.
    #[must_use]
    pub fn of_counts(self, counts: &Counts, empties: Empties) -> Option<Option<f64>> {
        match self {
            Self::Dice => Some(counts.dice(empties)),
            Self::Iou => Some(counts.iou(empties)),
            Self::Precision => Some(counts.precision(empties)),
            Self::Recall => Some(counts.recall(empties)),
            Self::SizeError => Some(counts.size_error(empties)),
            _ => None,
        }
    }

    fn of_lesions(self, lesions: &Lesions, empties: Empties) -> Option<f64> {
        match self {
            Self::LesionPrecision => lesions.precision(empties),
            Self::LesionRecall => lesions.recall(empties),
            _ => lesions.f1(empties),
        }
    }

    fn needs_surface(self) -> bool {
        self.is_distance() || matches!(self, Self::SurfaceDice(_))
    }

    fn needs_lesions(self) -> bool {
        matches!(self, Self::LesionPrecision | Self::LesionRecall | Self::LesionF1)
    }
}

impl Display for Metric {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dice => f.write_str("dice"),
            Self::Iou => f.write_str("iou"),
            Self::Precision => f.write_str("precision"),
            Self::Recall => f.write_str("recall"),
            Self::SizeError => f.write_str("size_error"),
            Self::Hausdorff => f.write_str("hausdorff"),
            Self::HausdorffPercentile(percent) => write!(f, "hd{percent}"),
            Self::AverageSurfaceDistance => f.write_str("assd"),
            Self::SurfaceDice(tolerance) => write!(f, "surface_dice@{tolerance}"),
            Self::LesionPrecision => f.write_str("lesion_precision"),
            Self::LesionRecall => f.write_str("lesion_recall"),
            Self::LesionF1 => f.write_str("lesion_f1"),
        }
    }
}

/// Reads the text of a metric; `nsd` is `surface_dice`, and needs a tolerance as that does.
impl std::str::FromStr for Metric {
    type Err = MetricError;

    fn from_str(text: &str) -> Result<Self, MetricError> {
        let unknown = || {
            let expected = "dice, iou, precision, recall, size_error, hausdorff, hd95 or another percentile, assd, \
                            surface_dice@TOLERANCE, lesion_precision, lesion_recall or lesion_f1";
            MetricError::option("metric", text, expected)
        };
        if let Some(named) = Self::ALL.into_iter().find(|metric| metric.to_string() == text) {
            return Ok(named);
        }
        if let Some(tolerance) = text.strip_prefix("surface_dice@").or_else(|| text.strip_prefix("nsd@")) {
            let tolerance = tolerance.parse().map_err(|_| unknown())?;
            return check_tolerance(tolerance).map(|()| Self::SurfaceDice(tolerance));
        }
        let percent = text.strip_prefix("hd").and_then(|percent| percent.parse().ok()).ok_or_else(unknown)?;
        check_percent(percent).map(|()| Self::HausdorffPercentile(percent))
    }
}

/// Which metrics are wanted, and what is to be said of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// In the order of the values that come out.
    pub metrics: Vec<Metric>,
    /// What a surface is.
    pub surface: Surface,
    /// Which pixels of a lesion touch.
    pub connectivity: Connectivity,
    /// When lesions are the same.
    pub matching: Matching,
    /// What empty regions count.
    pub empties: Empties,
}

impl Default for Settings {
    /// All metrics with the defaults of the rest.
    fn default() -> Self {
        Self {
            metrics: Metric::ALL.to_vec(),
            surface: Surface::default(),
            connectivity: Connectivity::default(),
            matching: Matching::default(),
            empties: Empties::default(),
        }
    }
}

/// One class of one image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassScores {
    /// Its label.
    pub class: i64,
    /// Its pixels.
    pub counts: Counts,
    /// Its lesions, where a metric of them is wanted.
    pub lesions: Option<Lesions>,
    /// One value for each metric of the settings; `None` where the image is left out.
    pub values: Vec<Option<f64>>,
}

impl Settings {
    /// # Errors
    /// [`MetricError::Option`] for a percentile, tolerance, matching or policy that is refused.
    pub fn check(&self) -> Result<(), MetricError> {
        for metric in &self.metrics {
            match metric {
                Metric::HausdorffPercentile(percent) => check_percent(*percent)?,
                Metric::SurfaceDice(tolerance) => check_tolerance(*tolerance)?,
                _ => {}
            }
        }
        self.matching.check()?;
        self.empties.check()
    }

    /// All metrics of some classes of one image. Surfaces and lesions are looked for only where a
    /// metric needs them, once for all that do.
    ///
    /// ```
    /// use ndarray::arr2;
    /// use segloss_metrics::{LabelMaps, Metric, Settings};
    ///
    /// let target = arr2(&[[0, 1, 1], [0, 1, 1]]);
    /// let prediction = arr2(&[[0, 0, 1], [0, 0, 1]]);
    /// let maps = LabelMaps::new(prediction.view(), target.view())?;
    /// let metrics = vec![Metric::SizeError, "hd95".parse()?];
    /// let settings = Settings { metrics, ..Settings::default() };
    /// let scores = settings.scores(&maps, &[1])?;
    /// assert_eq!(scores[0].values, [Some(-0.5), Some(1.0)]);
    /// # Ok::<(), segloss_metrics::MetricError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Settings::check`], and [`MetricError::Distance`] where memory is short.
    pub fn scores<P: Label, T: Label>(
        &self,
        maps: &LabelMaps<'_, P, T>,
        classes: &[i64],
    ) -> Result<Vec<ClassScores>, MetricError> {
        self.check()?;
        let counts = maps.counts_of(classes);
        classes.iter().zip(counts).map(|(&class, counts)| self.class(maps, class, counts)).collect()
    }

    fn class<P: Label, T: Label>(
        &self,
        maps: &LabelMaps<'_, P, T>,
        class: i64,
        counts: Counts,
    ) -> Result<ClassScores, MetricError> {
        let wanted = |needs: fn(Metric) -> bool| self.metrics.iter().any(|metric| needs(*metric));
        let distances = if wanted(Metric::needs_surface) { maps.surface_distances(class, self.surface)? } else { None };
        let lesions = wanted(Metric::needs_lesions).then(|| maps.lesions(class, self.connectivity, self.matching));
        let (presence, empties, diagonal) = (counts.presence(), self.empties, maps.diagonal());
        let mut values = Vec::with_capacity(self.metrics.len());
        for &metric in &self.metrics {
            let measured = match (&distances, metric) {
                (Some(distances), Metric::Hausdorff) => distances.hausdorff(),
                (Some(distances), Metric::HausdorffPercentile(percent)) => distances.hausdorff_percentile(percent)?,
                (Some(distances), Metric::AverageSurfaceDistance) => distances.average(),
                (Some(distances), Metric::SurfaceDice(tolerance)) => distances.surface_dice(tolerance)?,
                // Without both regions the policy asks for no measure.
                _ => 0.0,
            };
            values.push(match (metric.of_counts(&counts, empties), &lesions) {
                (Some(value), _) => value,
                (None, Some(lesions)) if metric.needs_lesions() => metric.of_lesions(lesions, empties),
                _ if metric.is_distance() => empties.distance(presence, diagonal, || measured),
                _ => empties.score(presence, || measured),
            });
        }
        Ok(ClassScores { class, counts, lesions, values })
    }
}
