//! The handful of numbers per sample and class that a loss is a function of.

use std::fmt::{Display, Formatter};

use crate::LossError;
use crate::expr::PixelFunction;

/// How logits become probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// Over the class axis: the classes exclude each other. Needs K ≥ 2.
    #[default]
    Softmax,
    /// Each channel by itself: K two-class problems; binary segmentation is K = 1.
    Sigmoid,
}

impl Display for Activation {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Softmax => "softmax",
            Self::Sigmoid => "sigmoid",
        })
    }
}

/// The factor τ > 0 on the logits before the activation. High values approach the hard prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Temperature(u64);

impl Temperature {
    /// τ = 1: plain probabilities.
    pub const ONE: Self = Self(1.0f64.to_bits());
    /// τ = 10: what the authors use for size penalties.
    pub const TEN: Self = Self(10.0f64.to_bits());

    /// A temperature.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`] unless `0 < value ≤ 10⁶`.
    pub fn new(value: f64) -> Result<Self, LossError> {
        if value > 0.0 && value <= 1e6 {
            Ok(Self(value.to_bits()))
        } else {
            Err(LossError::OptionOutOfRange {
                term: "temperature",
                option: "temperature",
                value: value.to_string(),
                expected: "a number in (0, 1e6]",
            })
        }
    }

    /// The factor.
    #[must_use]
    pub fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// Which part of a two-class problem: only sigmoid channels have a background of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The class itself: p, y.
    Region,
    /// What is not the class: 1 − p, 1 − y (sigmoid).
    Background,
}

/// A sum over the valid pixels of one sample, for each class; every summand carries the pixel's weight w (1 by default).
///
/// y is the target in `[0, 1]`, p the probability. All depend on the logits but [`Statistic::ValidSize`], [`Statistic::TargetSize`] and
/// [`Statistic::SquaredTarget`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Statistic {
    /// M = Σ w, `[N, 1]`
    ValidSize,
    /// T = Σ w y
    TargetSize,
    /// Σ w y² (differs from T for soft targets)
    SquaredTarget,
    /// P(τ) = Σ w p(τ); on the background side Σ w (1 − p(τ)), which does not cancel where M − P would
    PredictedSize(Activation, Temperature, Side),
    /// I(τ) = Σ w y p(τ); on the background side Σ w (1 − y)(1 − p(τ))
    Intersection(Activation, Temperature, Side),
    /// Q = Σ w p²
    SquaredMass(Activation),
    /// L = Σ w y log p; on the background side Σ w (1 − y) log(1 − p)
    LogLikelihood(Activation, Side),
    /// A = Σ w log p; on the background side Σ w log(1 − p)
    LogMass(Activation, Side),
    /// F = Σ w y φ(log p); on the background side Σ w (1 − y) φ(log(1 − p))
    PixelSum(Activation, Side, PixelFunction),
}

impl Statistic {
    /// Whether a gradient flows from it to the logits.
    #[must_use]
    pub fn depends_on_logits(&self) -> bool {
        self.probability().is_some()
    }

    /// The probability that it depends on the logits through: activation, temperature and side; `None` for sums over the target
    /// alone. Logarithms are those of probabilities at temperature 1.
    #[must_use]
    pub fn probability(&self) -> Option<(Activation, Temperature, Side)> {
        match self {
            Self::ValidSize | Self::TargetSize | Self::SquaredTarget => None,
            Self::PredictedSize(a, t, side) | Self::Intersection(a, t, side) => Some((*a, *t, *side)),
            Self::SquaredMass(a) => Some((*a, Temperature::ONE, Side::Region)),
            Self::LogLikelihood(a, side) | Self::LogMass(a, side) | Self::PixelSum(a, side, _) => {
                Some((*a, Temperature::ONE, *side))
            }
        }
    }

    /// The activation whose probabilities it sums; `None` for sums over the target alone.
    #[must_use]
    pub fn activation(&self) -> Option<Activation> {
        self.probability().map(|(activation, ..)| activation)
    }
}

impl Display for Statistic {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let (name, temperature, side) = match self {
            Self::ValidSize => ("M", None, None),
            Self::TargetSize => ("T", None, None),
            Self::SquaredTarget => ("Y2", None, None),
            Self::PredictedSize(_, t, side) => ("P", Some(*t), Some(*side)),
            Self::Intersection(_, t, side) => ("I", Some(*t), Some(*side)),
            Self::SquaredMass(_) => ("Q", None, None),
            Self::LogLikelihood(_, side) => ("L", None, Some(*side)),
            Self::LogMass(_, side) => ("A", None, Some(*side)),
            Self::PixelSum(_, side, _) => ("F", None, Some(*side)),
        };
        f.write_str(name)?;
        if side == Some(Side::Background) {
            f.write_str("'")?;
        }
        if self.activation() == Some(Activation::Sigmoid) {
            f.write_str("σ")?;
        }
        if let Self::PixelSum(_, _, function) = self {
            write!(f, "[{function:?}]")?;
        }
        match temperature {
            Some(t) if t != Temperature::ONE => write!(f, "({})", crate::spec::number(t.value())),
            _ => Ok(()),
        }
    }
}
