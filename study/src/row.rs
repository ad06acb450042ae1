//! What goes in: rows of scores, runs that failed, metrics.

use std::fmt::{Display, Formatter};

use serde::{Deserialize, Serialize};

use crate::error::StudyError;

/// One training: a loss in a condition, with a seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The data and the way to train, such as `lesions of 2 %`.
    pub condition: String,
    /// The loss.
    pub loss: String,
    /// What decides all chance of it. Runs of one condition and seed are paired.
    pub seed: u64,
}

impl Display for Run {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "condition {:?}, loss {:?}, seed {}", self.condition, self.loss, self.seed)
    }
}

/// The scores of one test image in one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Whose scores.
    pub run: Run,
    /// Which image, by a name of its own within the condition: see [`Design`](crate::Design).
    pub image: String,
    /// One for each metric of the study, `None` where a policy leaves the image out.
    pub scores: Vec<Option<f64>>,
}

/// A run that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which.
    pub run: Run,
    /// Why, in few words: `diverged in epoch 3`.
    pub reason: String,
}

/// Which scores are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The larger, as of Dice.
    Larger,
    /// The smaller, as of distances and sizes of errors.
    Smaller,
    /// Neither, as of a signed error: verdicts say larger or smaller.
    Neither,
}

/// What was measured.
///
/// ```
/// use segloss_study::{Direction, Metric};
///
/// let hd95 = Metric::from("hd95".parse::<segloss_metrics::Metric>()?).with_margin(0.5)?;
/// assert_eq!((hd95.name.as_str(), hd95.direction), ("hd95", Direction::Smaller));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metric {
    /// As sentences have it.
    pub name: String,
    /// Which scores are better.
    pub direction: Direction,
    /// The smallest difference that matters: see [`with_margin`](Self::with_margin).
    pub margin: Option<f64>,
}

impl Metric {
    /// A metric without a margin.
    #[must_use]
    pub fn new(name: impl Into<String>, direction: Direction) -> Self {
        Self { name: name.into(), direction, margin: None }
    }

    /// The smallest difference that matters, in the metric's unit. With it, a verdict of no
    /// difference needs an interval within ± the margin, and where it is wider, the verdict says
    /// how many runs would do.
    ///
    /// # Errors
    /// [`StudyError::Option`] for a margin that is not finite or not above 0.
    pub fn with_margin(self, margin: f64) -> Result<Self, StudyError> {
        check_margin(margin)?;
        Ok(Self { margin: Some(margin), ..self })
    }
}

pub(crate) fn check_margin(margin: f64) -> Result<(), StudyError> {
    if margin > 0.0 && margin.is_finite() {
        return Ok(());
    }
    Err(StudyError::option("margin", margin, "a finite number above 0, in the metric's unit"))
}

/// By the metric's text; distances are better the smaller they are, and of signed size errors
/// neither is better.
impl From<segloss_metrics::Metric> for Metric {
    fn from(metric: segloss_metrics::Metric) -> Self {
        let direction = match metric {
            segloss_metrics::Metric::SizeError => Direction::Neither,
            metric if metric.is_distance() => Direction::Smaller,
            _ => Direction::Larger,
        };
        Self::new(metric.to_string(), direction)
    }
}
