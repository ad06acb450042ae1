use crate::row::Run;

/// What a study can be refused for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// An option outside its range.
    #[error("{option} {value}: expected {expected}")]
    #[non_exhaustive]
    Option {
        /// Its name.
        option: &'static str,
        /// The value given.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// Two metrics of one name.
    #[error("two metrics are named {name:?}; expected a name for each")]
    #[non_exhaustive]
    MetricTwice {
        /// The name.
        name: String,
    },
    /// A row with another number of scores than there are metrics.
    #[error("{found} scores for {metrics} metrics at {run}, image {image:?}; expected one for each, None where there is none")]
    #[non_exhaustive]
    Scores {
        /// The row's run.
        run: Run,
        /// The row's image.
        image: String,
        /// Its scores.
        found: usize,
        /// Metrics of the study.
        metrics: usize,
    },
    /// A score that is not finite, or too large to square.
    #[error("{metric} {value} at {run}, image {image:?}; expected a number within ±1e100, or None where there is no score")]
    #[non_exhaustive]
    Score {
        /// The metric's name.
        metric: String,
        /// What was found.
        value: f64,
        /// The row's run.
        run: Run,
        /// The row's image.
        image: String,
    },
    /// Two rows of one image in one run.
    #[error("two rows for {run}, image {image:?}; expected one: are images named by their seed alone?")]
    #[non_exhaustive]
    RowTwice {
        /// The rows' run.
        run: Run,
        /// The rows' image.
        image: String,
    },
    /// A run that is said to have failed twice, or that has scores as well.
    #[error("{run} is said to have failed, {also}; expected one failure and no row for a run that failed")]
    #[non_exhaustive]
    Failure {
        /// The run.
        run: Run,
        /// What speaks against it.
        also: &'static str,
    },
    /// A name that the study does not have.
    #[error("{what} {name:?} is not there{place}; expected one of {known:?}")]
    #[non_exhaustive]
    Unknown {
        /// What it should be the name of.
        what: &'static str,
        /// The name.
        name: String,
        /// Where it was looked for, as text: empty for all of the study.
        place: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// Images some of which several seeds share, and some not.
    #[error(
        "condition {condition:?}: image {shared:?} is there with several seeds and image {missing:?} is not with seed {seed}; state the design: crossed (the images are the same, some scores are missing) or nested (each seed has its own)"
    )]
    #[non_exhaustive]
    Design {
        /// The condition.
        condition: String,
        /// An image of more than one seed.
        shared: String,
        /// An image that a seed lacks.
        missing: String,
        /// That seed.
        seed: u64,
    },
}

impl StudyError {
    pub(crate) fn option(option: &'static str, value: impl ToString, expected: &'static str) -> Self {
        Self::Option { option, value: value.to_string(), expected }
    }
}
