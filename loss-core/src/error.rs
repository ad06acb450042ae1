//! What can go wrong, with both sides of every disagreement named.

use crate::activation::Activation;
use crate::layout::way_out;
use crate::number::number;
use crate::plain::plain;

/// Which array of a call an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Argument {
    /// Class indices.
    Labels,
    /// Integers 0 and 1 for every class.
    OneHot,
    /// Shares of every class.
    SoftTargets,
    /// Weights of the pixels.
    PixelWeights,
    /// Proportions for penalties with `target=given`.
    Prior,
    /// The array that the gradient is written to.
    Gradient,
    /// Factors of pixels and classes.
    Map,
    /// Lengths of a voxel along the axes.
    Spacing,
}

impl Argument {
    /// Its name, and that of one of its numbers.
    fn names(self) -> [&'static str; 2] {
        match self {
            Self::Labels => ["labels", "label"],
            Self::OneHot => ["one-hot targets", "one-hot target"],
            Self::SoftTargets => ["soft targets", "soft target"],
            Self::PixelWeights => ["pixel weights", "pixel weight"],
            Self::Prior => ["given priors", "given prior"],
            Self::Gradient => ["gradients", "gradient"],
            Self::Map => ["maps", "map"],
            Self::Spacing => ["spacings", "spacing"],
        }
    }
}

impl std::fmt::Display for Argument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.names()[0])
    }
}

/// Every failure of this library. One line each; backend failures carry their source.
///
/// # How it grows
/// New failures become new variants, so a `match` needs an arm `_`. Variants that only this crate
/// makes are `#[non_exhaustive]`: they may gain fields, so a pattern ends in `..`. All others are
/// for backends and terms of other crates to make as well; their fields never change.
///
/// ```
/// use loss_core::LossError;
/// fn classes(error: &LossError) -> Option<usize> {
///     match error {
///         LossError::LabelOutOfRange { classes, .. } => Some(*classes),
///         LossError::TooFewClasses { classes, .. } => Some(*classes),
///         _ => None,
///     }
/// }
/// ```
/// ```compile_fail,E0638
/// fn classes(error: &loss_core::LossError) -> Option<usize> {
///     match error {
///         loss_core::LossError::TooFewClasses { classes } => Some(*classes),   // `..` is missing
///         _ => None,
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LossError {
    /// An array has no elements.
    #[error("{what} are empty: shape {shape:?}")]
    Empty {
        /// Which array.
        what: &'static str,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Logits need a sample and a class axis.
    #[error("logits need at least the axes [N, K], got shape {shape:?}")]
    #[non_exhaustive]
    LogitsRank {
        /// The shape given.
        shape: Vec<usize>,
    },
    /// An array does not fit the logits.
    #[error("{what} have shape {got:?}, but logits of shape {logits:?} need {expected:?}{}", way_out(*.what, .logits, .expected, .got))]
    ShapeMismatch {
        /// Which array.
        what: Argument,
        /// Shape of the logits.
        logits: Vec<usize>,
        /// Shape that fits them.
        expected: Vec<usize>,
        /// Shape given.
        got: Vec<usize>,
    },
    /// Numbers that do not fill the shape they are given for, or are too many.
    #[error("{what}: {got} numbers do not fill the shape {shape:?}")]
    Length {
        /// Which numbers.
        what: &'static str,
        /// The shape they are given for.
        shape: Vec<usize>,
        /// How many there are.
        got: usize,
    },
    /// A plan made for another number of classes than the logits have.
    #[error("the plan is for {plan} classes, but the logits have {classes}")]
    PlanClasses {
        /// Classes of the plan.
        plan: usize,
        /// Classes of the logits.
        classes: usize,
    },
    /// An activation that does not exist for this number of classes.
    #[error("softmax needs at least two classes, got {classes}; a single channel is binary: use sigmoid")]
    #[non_exhaustive]
    TooFewClasses {
        /// Number of channels given.
        classes: usize,
    },
    /// A label that is neither a class nor ignored.
    #[error("label {label} at {position:?} is outside 0..{classes} and not ignored; `ignore={label}` leaves its pixels out")]
    LabelOutOfRange {
        /// The label.
        label: i64,
        /// Number of labels allowed.
        classes: usize,
        /// Sample and pixel, `[n, *spatial]`: a channel axis is not counted.
        position: Vec<usize>,
    },
    /// A soft target, a pixel weight or a given prior outside its range.
    #[error("{} {} at {position:?} is outside {expected}", .what.names()[1], number(*.value))]
    ValueOutOfRange {
        /// Which array.
        what: Argument,
        /// The value.
        value: f64,
        /// The range, in words.
        expected: &'static str,
        /// Index into that array; of labels and weights without a channel axis.
        position: Vec<usize>,
    },
    /// Shares of a valid pixel that do not add up to 1 in a softmax loss, whose classes exclude
    /// each other.
    #[error(
        "{what} at the pixel {position:?} add up to {} over the classes, where a softmax loss needs 1: move the class axis to \
         the second place, [N, K, *spatial], if it is at another; divide them by their sum; or, where classes overlap, use \
         activation=sigmoid",
        number((.sum * 1e6).round() / 1e6)
    )]
    SharesSum {
        /// Soft targets, or one-hot.
        what: Argument,
        /// Their sum.
        sum: f64,
        /// Sample and pixel, `[n, *spatial]`.
        position: Vec<usize>,
    },
    /// NaN or infinity among the logits of a valid pixel.
    #[error("logit {} at {position:?} is not finite and its pixel is not ignored; {}", number(*.value), finite(*.value))]
    NonFiniteLogit {
        /// The value.
        value: f64,
        /// Index into the logits.
        position: Vec<usize>,
    },
    /// A loss that is NaN or infinite where its size is to be found.
    #[non_exhaustive]
    #[error("the loss is {} where all logits of a class are shifted by {shift}, so that it has no least value", number(*.value))]
    ShiftedLoss {
        /// The value.
        value: f64,
        /// The shift.
        shift: f64,
    },
    /// A number of values that is not the number of classes.
    #[error("a term has {got} values, one for each class, but there {}", are(*.classes))]
    ClassCount {
        /// Number of classes of the logits.
        classes: usize,
        /// Number of values given.
        got: usize,
    },
    /// An option with a value for each class, of which there are others.
    #[error("{term}: {option} has {got} value{}, but there {}; give one value for each class", if *.got == 1 { "" } else { "s" }, are(*.classes))]
    #[non_exhaustive]
    OptionCount {
        /// Name of the term.
        term: &'static str,
        /// Name of the option.
        option: &'static str,
        /// Number of values given.
        got: usize,
        /// Number of classes of the logits.
        classes: usize,
    },
    /// An option that names a class that does not exist.
    #[error("{term}: {option} names class {class}, but there {}, counted from 0", are(*.classes))]
    #[non_exhaustive]
    OptionClass {
        /// Name of the term.
        term: &'static str,
        /// Name of the option.
        option: &'static str,
        /// The index.
        class: usize,
        /// Number of classes of the logits.
        classes: usize,
    },
    /// A class index that does not exist.
    #[error("class {class} is asked for, but there {}, counted from 0", are(*.classes))]
    ClassIndex {
        /// The index.
        class: usize,
        /// Number of classes of the logits.
        classes: usize,
    },
    /// An option of a term outside its range.
    #[error("{term}: {option} = {value} is not allowed; expected {expected}")]
    OptionOutOfRange {
        /// Name of the term.
        term: &'static str,
        /// Name of the option.
        option: &'static str,
        /// Value given.
        value: String,
        /// The range, in words.
        expected: &'static str,
    },
    /// A prior that is not a distribution over classes.
    #[error(
        "{of} sums to {}, but under softmax the proportions of all classes sum to 1; channels of their own are activation=sigmoid",
        number((.sum * 1e9).round() / 1e9)
    )]
    #[non_exhaustive]
    PriorNotDistribution {
        /// The option of a term, or the prior given with the target.
        of: String,
        /// Its sum.
        sum: f64,
    },
    /// A prior given with the target that does not fit the logits.
    #[error("the prior given has shape {got:?}, but needs [{samples}, {classes}], or [1, {classes}] for all samples")]
    #[non_exhaustive]
    GivenPriorShape {
        /// Samples of the logits.
        samples: usize,
        /// Their classes.
        classes: usize,
        /// Shape given.
        got: [usize; 2],
    },
    /// A term asks for an input that the call did not give.
    #[error(
        "a term with target=given takes proportions for each sample and class, and none came with the target; give some with \
         `.prior(..)`, or write them into the loss: target=[0.9, 0.1]"
    )]
    MissingPrior,
    /// A term reads a map that the call did not give.
    #[error("the loss reads the map `{}`, and the target has {}", plain(.name), given_maps(.given))]
    MissingMap {
        /// Name of the map.
        name: String,
        /// Names of the maps given.
        given: Vec<String>,
    },
    /// Text that names no term.
    #[error("unknown loss `{}`{}", plain(.name), suggestion_or(.instead, .nearest, .known))]
    #[non_exhaustive]
    UnknownTerm {
        /// The name.
        name: String,
        /// The nearest name that exists, if one is near.
        nearest: Option<String>,
        /// What to write instead of a word that other libraries have, as the rest of a sentence.
        instead: Option<String>,
        /// All names that exist.
        known: Vec<String>,
    },
    /// Text that names no option of a term.
    #[error("{term} has no option `{}`{}", plain(.option), suggestion_or(.instead, .nearest, .known))]
    #[non_exhaustive]
    UnknownOption {
        /// Name of the term.
        term: String,
        /// The option.
        option: String,
        /// The nearest option that exists, if one is near.
        nearest: Option<String>,
        /// What to write instead of a word that other libraries have, as the rest of a sentence.
        instead: Option<String>,
        /// All options that exist.
        known: Vec<String>,
    },
    /// Text that is not a loss.
    #[error("at column {column} of `{}`: expected {expected}, found {}", plain(.text), plain(.found))]
    #[non_exhaustive]
    Syntax {
        /// The whole text.
        text: String,
        /// Column, from 1.
        column: usize,
        /// What could stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A term or an option in a text that cannot be.
    #[error("at column {column} of `{}`: {source}", plain(.text))]
    #[non_exhaustive]
    InText {
        /// The whole text.
        text: String,
        /// Column of the term or the option, from 1.
        column: usize,
        /// What is wrong with it.
        source: Box<Self>,
    },
    /// A loss without terms.
    #[error("the loss has no terms")]
    NoTerms,
    /// A whole without a tile.
    #[error("no tile was added")]
    NoTiles,
    /// A tile that does not belong to the others.
    #[error("a tile has {} samples and {} classes; the whole has {} and {}", got[0], got[1], expected[0], expected[1])]
    #[non_exhaustive]
    TileMismatch {
        /// Samples and classes of the whole.
        expected: [usize; 2],
        /// Those of the tile.
        got: [usize; 2],
    },
    /// Statistics of one loss added to, or stacked on, those of another.
    #[error("statistics of {loss} cannot be put together with those of {other}")]
    #[non_exhaustive]
    OtherLoss {
        /// The loss of those that were there.
        loss: String,
        /// The other.
        other: String,
    },
    /// Parts of samples, or of a batch, whose maps are made of the whole.
    #[error("the map `{map}` is made of {of}, not of its parts; give `{name}` with the target of each part")]
    #[non_exhaustive]
    DerivedInParts {
        /// The map, with its options.
        map: String,
        /// The name under which it can be given.
        name: String,
        /// What it is made of.
        of: &'static str,
    },
    /// A weight that is not a finite number.
    #[error("the weight {weight} of a term is not finite")]
    #[non_exhaustive]
    Weight {
        /// The weight.
        weight: f64,
    },
    /// An activation that this term cannot work with.
    #[error("{term}: {option} is not defined for {activation}; leave it out, or give the term activation={}", other(*.activation))]
    NotForActivation {
        /// Name of the term.
        term: &'static str,
        /// The option or the term itself.
        option: &'static str,
        /// The activation.
        activation: Activation,
    },
    /// An element type, device or layout that a backend does not read.
    #[error("{what}: {got} is not supported; expected {expected}")]
    Unsupported {
        /// Which argument.
        what: &'static str,
        /// What was given.
        got: String,
        /// What can be read.
        expected: &'static str,
    },
    /// A failure inside a tensor library.
    #[error("{backend} failed in {operation}: {source}")]
    Backend {
        /// Name of the library.
        backend: &'static str,
        /// What was being done.
        operation: &'static str,
        /// The library's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A state that no call can bring about: a defect of this library.
    #[error("{what}: this is a defect of segloss and not of the call; please report it to its maintainers, with the loss")]
    #[non_exhaustive]
    Internal {
        /// The state, in words.
        what: &'static str,
    },
}

fn given_maps(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { format!("only {}", plain(&names.join(", "))) }
}

/// So many classes, behind "there".
fn are(classes: usize) -> String {
    if classes == 1 { "is 1 class".to_owned() } else { format!("are {classes} classes") }
}

fn other(activation: Activation) -> Activation {
    match activation {
        Activation::Softmax => Activation::Sigmoid,
        Activation::Sigmoid => Activation::Softmax,
    }
}

/// The way out of a logit that is not finite.
fn finite(value: f64) -> &'static str {
    if value.is_nan() {
        "look for what makes it in the network, or leave the pixel out: an ignored label, or weight 0"
    } else if value > 0.0 {
        "use a large finite number, such as 1e9 (1e4 in f16)"
    } else {
        "to switch a class off use a large finite number, such as -1e9 (-1e4 in f16)"
    }
}

/// What to write instead, the nearest name, or all there are.
fn suggestion_or(instead: &Option<String>, nearest: &Option<String>, known: &[String]) -> String {
    match (instead, nearest) {
        (Some(advice), _) => format!("; {advice}"),
        (None, Some(name)) => format!("; did you mean `{name}`?"),
        (None, None) => format!("; known are {}", known.join(", ")),
    }
}
