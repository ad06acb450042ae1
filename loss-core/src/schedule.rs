//! Weights that change from epoch to epoch.

use std::fmt::{Display, Formatter};

use crate::LossError;
use crate::number::number;
use crate::options::require;
use crate::term::WeightedTerm;

/// The weight of a term over the epochs of a training run.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Schedule {
    /// Always the same.
    Constant(f64),
    /// `initial · factor^⌊epoch/every⌋`, at most `cap`: how the authors strengthen a size
    /// penalty. Build it with [`Schedule::grow`].
    Grow {
        /// Weight in epoch 0.
        initial: f64,
        /// Factor at each step, ≥ 1.
        factor: f64,
        /// Epochs between steps, ≥ 1.
        every: f64,
        /// Greatest weight.
        cap: f64,
    },
}

impl Schedule {
    /// A weight that grows by `factor` every so many epochs, up to `cap`.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`] unless `factor ≥ 1`, `every` is a whole number ≥ 1, and
    /// `0 ≤ initial ≤ cap`.
    pub fn grow(initial: f64, factor: f64, every: f64, cap: f64) -> Result<Self, LossError> {
        let schedule = Self::Grow { initial, factor, every, cap };
        schedule.check().map(|()| schedule)
    }

    /// What [`Schedule::grow`] refuses: the variant can be written without it.
    pub(crate) fn check(&self) -> Result<(), LossError> {
        let Self::Grow { initial, factor, every, cap } = *self else { return Ok(()) };
        require(initial >= 0.0 && initial.is_finite(), "grow", "initial", initial, "a finite number >= 0")?;
        require(factor >= 1.0 && factor.is_finite(), "grow", "factor", factor, "a finite number >= 1")?;
        require(every >= 1.0 && every.fract() == 0.0, "grow", "every", every, "a whole number of epochs >= 1")?;
        require(cap >= initial && cap.is_finite(), "grow", "cap", cap, "a finite number not below the initial weight")
    }

    /// The weight in an epoch, counted from 0.
    #[must_use]
    pub fn at(&self, epoch: usize) -> f64 {
        match *self {
            Self::Constant(weight) => weight,
            Self::Grow { initial, factor, every, cap } => {
                let steps = (epoch as f64 / every).floor();
                // 0 · ∞ must stay 0, and a negative weight grows away from 0 as well.
                if initial == 0.0 { 0.0 } else { (initial.abs() * factor.powf(steps)).min(cap.abs()).copysign(initial) }
            }
        }
    }

    /// Multiplies the weight of every term.
    pub(crate) fn multiply(self, terms: &mut [WeightedTerm]) -> Result<(), LossError> {
        for term in terms {
            term.schedule = self.times(term.schedule).ok_or_else(|| LossError::OptionOutOfRange {
                term: "grow",
                option: "factor",
                value: self.to_string(),
                expected: "a number: the weight of this term grows already",
            })?;
        }
        Ok(())
    }

    /// Whether all of its numbers are.
    pub(crate) fn is_finite(&self) -> bool {
        match *self {
            Self::Constant(weight) => weight.is_finite(),
            Self::Grow { initial, factor, every, cap } => [initial, factor, every, cap].iter().all(|number| number.is_finite()),
        }
    }

    /// Both factors at once, where at most one of them grows.
    pub(crate) fn times(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => Some(Self::Constant(a * b)),
            (Self::Constant(a), Self::Grow { initial, factor, every, cap })
            | (Self::Grow { initial, factor, every, cap }, Self::Constant(a)) => {
                Some(Self::Grow { initial: initial * a, factor, every, cap: cap * a })
            }
            _ => None,
        }
    }
}

impl Display for Schedule {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Constant(weight) => f.write_str(&number(*weight)),
            Self::Grow { initial, factor, every, cap } => {
                // Whatever sign a factor gave it stands outside, so that the text reads back.
                let (sign, initial, cap) = if *cap < 0.0 { ("-1 * ", -initial, -cap) } else { ("", *initial, *cap) };
                let [i, x, n, c] = [initial, *factor, *every, cap].map(number);
                write!(f, "{sign}grow({i}, factor={x}, every={n}, cap={c})")
            }
        }
    }
}
