//! Options that several terms share, and what they do to an expression.

use crate::LossError;
use crate::expr::{Broadcast, Classes, Expr, Regions, Samples, Scalar, TINY};
use crate::regions::class_indicator;

/// Over what the statistics are summed before the formula is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Over the whole batch: one value per class.
    Batch,
    /// Per sample; then the mean over all samples, in which a sample without a valid pixel counts
    /// as 0.
    Sample,
}

impl Pooling {
    /// A statistic at the level on which the formula is applied.
    #[must_use]
    pub fn regions(self, statistic: Expr<Regions>) -> Expr<Regions> {
        match self {
            Self::Batch => statistic.sum_samples().broadcast(),
            Self::Sample => statistic,
        }
    }

    /// The same for a value per sample.
    #[must_use]
    pub fn samples(self, statistic: Expr<Samples>) -> Expr<Samples> {
        match self {
            Self::Batch => statistic.sum_samples().broadcast(),
            Self::Sample => statistic,
        }
    }

    /// Reduces contributions that were divided by a pooled divisor but not summed over samples
    /// themselves.
    pub(crate) fn total(self, contributions: &Expr<Regions>) -> Expr<Scalar> {
        let per_sample = contributions.sum_classes();
        match self {
            Self::Batch => per_sample.sum_samples(),
            Self::Sample => per_sample.mean_samples(),
        }
    }
}

/// What a class without a true pixel (in the sample, or in the batch when pooled over it)
/// contributes to a mean over classes, of a loss or of scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AbsentClass {
    /// Nothing, but it counts in the mean over classes: the authors' rule.
    Zero,
    /// Nothing, and it does not count in the mean.
    Skip,
    /// It is scored like any other class where it is predicted: false positives are penalised.
    /// Where nothing is predicted either there is nothing to score, and it does not count in the
    /// mean. What reports and metrics do.
    SkipEmpty,
    /// It is scored like any other class, also where nothing is predicted: then its score is 0
    /// unless smoothed.
    Count,
}

impl AbsentClass {
    /// The score `numerator / denominator` of a class whose true region has this size; `None` where
    /// it does not count. The denominator is 0 where nothing is true and nothing predicted.
    ///
    /// ```
    /// use loss_core::AbsentClass;
    /// // Dice, 2I/(P + T), where nothing is true: of 5 false positives, and of nothing at all.
    /// let dice = |absent: AbsentClass| [5.0, 0.0].map(|p| absent.score(0.0, p, 0.0));
    /// assert_eq!(dice(AbsentClass::SkipEmpty), [Some(0.0), None]);
    /// assert_eq!(dice(AbsentClass::Skip), [None, None]);
    /// assert_eq!(dice(AbsentClass::Count), [Some(0.0), Some(0.0)]);
    /// assert_eq!(dice(AbsentClass::Zero), [Some(1.0), Some(1.0)]); // a loss of 0
    /// ```
    #[must_use]
    pub fn score(self, numerator: f64, denominator: f64, target: f64) -> Option<f64> {
        let (absent, empty) = (target == 0.0, denominator == 0.0);
        match self {
            Self::Zero if absent => Some(1.0),
            Self::Skip if absent => None,
            Self::SkipEmpty if empty => None,
            _ => Some(if empty { 0.0 } else { numerator / denominator }),
        }
    }
}

/// How a score in `[0, 1]` becomes a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `1 − score`
    Linear,
    /// `−log(score)`; of a score without smoothing `−log(max(score, 1e-7))`
    Log,
}

impl Form {
    /// Least score inside the logarithm, and least denominator of a score, where neither is
    /// smoothed.
    pub(crate) const FLOOR: f64 = 1e-7;

    /// The loss of a score whose numerator has so many pixels added.
    pub(crate) fn of<A: Broadcast<A, Output = A>>(self, score: &Expr<A>, smooth: f64) -> Expr<A> {
        match self {
            Self::Linear => 1.0 - score.clone(),
            Self::Log if smooth > 0.0 => -score.ln(),
            Self::Log => -score.max(Self::FLOOR).ln(),
        }
    }
}

/// Which classes a term looks at, and how much each counts. Whether weights are normalised depends
/// on the term: a mean over classes divides by their sum.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ClassOptions {
    pub(crate) only: Option<Vec<usize>>,
    pub(crate) weights: Option<Vec<f64>>,
}

impl ClassOptions {
    pub(crate) fn check(&self, term: &'static str) -> Result<(), LossError> {
        if let Some(only) = &self.only {
            let repeats = only.iter().enumerate().any(|(i, class)| only[..i].contains(class));
            if only.is_empty() || repeats {
                return Err(out_of_range(term, "classes", format!("{only:?}"), "a list of different class indices"));
            }
        }
        let fits = |w: &[f64]| w.iter().all(|w| (0.0..=1e100).contains(w)) && w.iter().any(|w| *w > 0.0);
        match &self.weights {
            Some(w) if !fits(w) => {
                Err(out_of_range(term, "class_weights", format!("{w:?}"), "weights of 0 to 1e100, one of them above 0"))
            }
            _ => Ok(()),
        }
    }

    /// c_k: the weight of each class, 0 for those that do not count.
    pub(crate) fn expr(&self) -> Expr<Classes> {
        let weights = self.weights.as_deref().map_or_else(|| Expr::constant(1.0), Expr::classes);
        match &self.only {
            Some(only) => weights * class_indicator(only),
            None => weights,
        }
    }
}

pub(crate) fn out_of_range(term: &'static str, option: &'static str, value: String, expected: &'static str) -> LossError {
    LossError::OptionOutOfRange { term, option, value, expected }
}

/// Refuses a number outside its range; the term says what it expects.
pub(crate) fn require(
    fits: bool,
    term: &'static str,
    option: &'static str,
    value: f64,
    expected: &'static str,
) -> Result<(), LossError> {
    if fits { Ok(()) } else { Err(out_of_range(term, option, crate::number::number(value), expected)) }
}

/// Refuses smoothing that a device's `f32` cannot hold beside nothing.
pub(crate) fn require_smoothing(term: &'static str, option: &'static str, pixels: f64) -> Result<(), LossError> {
    let fits = pixels == 0.0 || (TINY..=f64::MAX).contains(&pixels);
    require(fits, term, option, pixels, "0, or a finite number >= 1e-30")
}

/// The setters that several terms share. Each is called as its option is in text, and refuses what
/// the text refuses: one that takes numbers returns a `Result`, one that takes a word cannot fail.
/// Options stand in the term's field `[options]`, or `[]` in the term itself.
macro_rules! setters {
    ($type:ident $at:tt: $($option:ident)+) => {
        impl $type {
            $($crate::options::setter!($option $at);)+
        }
    };
}

macro_rules! setter {
    (form [$($at:ident)?]) => {
        /// `1 − score` (default), or `−log(score)`.
        #[must_use]
        pub fn form(mut self, form: $crate::Form) -> Self {
            self.$($at.)?form = form;
            self
        }
    };
    (pooling [$($at:ident)?]) => {
        /// Whether the formula is applied to sums over the batch, or to each sample by itself.
        #[must_use]
        pub fn pooling(mut self, pooling: $crate::Pooling) -> Self {
            self.$($at.)?pooling = pooling;
            self
        }
    };
    (absent [$($at:ident)?]) => {
        /// What a class without a true pixel contributes.
        #[must_use]
        pub fn absent(mut self, absent: $crate::AbsentClass) -> Self {
            self.$($at.)?absent = absent;
            self
        }
    };
    (activation [$($at:ident)?]) => {
        /// Another activation than the loss's own.
        #[must_use]
        pub fn activation(mut self, activation: $crate::Activation) -> Self {
            self.$($at.)?activation = Some(activation);
            self
        }
    };
    (temperature [$($at:ident)?]) => {
        /// Temperature of the probabilities.
        ///
        /// # Errors
        /// [`LossError::OptionOutOfRange`](crate::LossError::OptionOutOfRange) outside `(0, 1e6]`;
        /// at another temperature
        /// than 1 for [`Dice`](crate::overlap::Dice) with squares.
        pub fn temperature(mut self, temperature: f64) -> Result<Self, $crate::LossError> {
            self.$($at.)?temperature = $crate::spec::value::temperature(<Self as Describe>::NAME, temperature)?;
            self.check().map(|()| self)
        }
    };
    (classes [$($at:ident)?]) => {
        /// Only these classes (for example without the background).
        ///
        /// # Errors
        /// [`LossError::OptionOutOfRange`](crate::LossError::OptionOutOfRange) for an empty or
        /// repeating list; [`LossError::OptionClass`](crate::LossError::OptionClass) when the loss
        /// meets its logits.
        pub fn classes(mut self, classes: &[usize]) -> Result<Self, $crate::LossError> {
            self.$($at.)?classes.only = Some(classes.to_vec());
            self.check().map(|()| self)
        }
    };
    (class_weights [$($at:ident)?]) => {
        /// One weight ≥ 0 per class.
        ///
        /// # Errors
        /// [`LossError::OptionOutOfRange`](crate::LossError::OptionOutOfRange) for weights outside
        /// `[0, 1e100]` or all zero; [`LossError::OptionCount`](crate::LossError::OptionCount) when
        /// the loss meets its logits.
        pub fn class_weights(mut self, weights: &[f64]) -> Result<Self, $crate::LossError> {
            self.$($at.)?classes.weights = Some(weights.to_vec());
            self.check().map(|()| self)
        }
    };
    (smooth [$($at:ident)?]) => {
        /// Pixels added to numerator and denominator of the score: a perfect prediction, and a
        /// class that is neither true nor predicted, then score exactly 1.
        ///
        /// # Errors
        /// [`LossError::OptionOutOfRange`](crate::LossError::OptionOutOfRange) unless 0, or finite
        /// and at least 1e-30; beside `smooth_numerator` or `smooth_denominator`.
        pub fn smooth(mut self, pixels: f64) -> Result<Self, $crate::LossError> {
            self.$($at.)?smooth = pixels;
            self.check().map(|()| self)
        }
    };
    (smooth_numerator [$($at:ident)?]) => {
        /// Pixels added to the numerator of the score alone. More than are added to the denominator
        /// can make a score above 1, and a loss below 0; [`smooth`](Self::smooth) adds to both.
        ///
        /// # Errors
        /// [`LossError::OptionOutOfRange`](crate::LossError::OptionOutOfRange) unless 0, or finite
        /// and at least 1e-30; beside `smooth`.
        pub fn smooth_numerator(mut self, pixels: f64) -> Result<Self, $crate::LossError> {
            self.$($at.)?smooth_numerator = pixels;
            self.check().map(|()| self)
        }
    };
    (smooth_denominator [$($at:ident)?]) => {
        /// Pixels added to the denominator of the score alone.
        ///
        /// # Errors
        /// [`LossError::OptionOutOfRange`](crate::LossError::OptionOutOfRange) unless 0, or finite
        /// and at least 1e-30; beside `smooth`.
        pub fn smooth_denominator(mut self, pixels: f64) -> Result<Self, $crate::LossError> {
            self.$($at.)?smooth_denominator = pixels;
            self.check().map(|()| self)
        }
    };
}
pub(crate) use {setter, setters};
