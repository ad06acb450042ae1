use loss_core::LossError;

/// What a metric can be refused for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// Two arrays that must be of one shape.
    #[error("{what} of shape {found:?} for a target of shape {target:?}; expected {expected}")]
    #[non_exhaustive]
    Shape {
        /// Which array does not fit.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The target's.
        target: Vec<usize>,
        /// What would do.
        expected: &'static str,
    },
    /// Maps that have no axis, more than three, or one of length 0.
    #[error("label maps of shape {shape:?}; expected one to three axes of length 1 or more")]
    #[non_exhaustive]
    Axes {
        /// The shape.
        shape: Vec<usize>,
    },
    /// Another number of spacings than there are axes.
    #[error("{found} spacings for label maps of shape {shape:?}; expected one for each axis")]
    #[non_exhaustive]
    Spacings {
        /// How many.
        found: usize,
        /// The maps' shape.
        shape: Vec<usize>,
    },
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
    /// A probability that is none.
    #[error("probability {value} at {position:?}: expected a number in [0, 1]; give probabilities, not logits")]
    #[non_exhaustive]
    Probability {
        /// What was found.
        value: f64,
        /// Where, in `[K, *spatial]`.
        position: Vec<usize>,
    },
    /// A target's label for which there is no channel of probabilities.
    #[error(
        "label {label} at {position:?} of the target, with {classes} channels of probabilities; ignore it, or renumber the labels from 0"
    )]
    #[non_exhaustive]
    Label {
        /// The label.
        label: i64,
        /// Where, in `[*spatial]`.
        position: Vec<usize>,
        /// Number of channels.
        classes: usize,
    },
    /// The distance transform refused its grid or spacing.
    #[error(transparent)]
    Distance(#[from] LossError),
}

impl MetricError {
    pub(crate) fn option(option: &'static str, value: impl ToString, expected: &'static str) -> Self {
        Self::Option { option, value: value.to_string(), expected }
    }
}
