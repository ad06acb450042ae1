//! The handful of numbers per sample and class that a loss is a function of.

use std::fmt::{Display, Formatter};

use crate::expr::PixelFunction;
use crate::number::number;
use crate::{Activation, LossError, Map, Side};

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

/// A probability of a pixel and class: p(τ), or 1 − p(τ) on the background side, which does not
/// cancel where p is nearly 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Probability {
    /// How logits become probabilities.
    pub activation: Activation,
    /// The factor on the logits.
    pub temperature: Temperature,
    /// The class, or what is not the class.
    pub side: Side,
}

/// Which pixels a statistic sums over, as the factor that each of them carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Over {
    /// All valid pixels: 1.
    Valid,
    /// The true region: y.
    Region,
    /// What is not of the true region: 1 − y.
    Background,
}

impl Probability {
    /// A probability.
    #[must_use]
    pub const fn new(activation: Activation, temperature: Temperature, side: Side) -> Self {
        Self { activation, temperature, side }
    }
}

impl From<Side> for Over {
    fn from(side: Side) -> Self {
        match side {
            Side::Region => Self::Region,
            Side::Background => Self::Background,
        }
    }
}

/// What a statistic sums up of each pixel.
///
/// Backends match it without a wildcard: where one is added, the compiler names every place that
/// lacks it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// 1
    One,
    /// y
    Target,
    /// p
    Mass(Probability),
    /// p², at temperature 1
    SquaredMass(Activation),
    /// log p, at temperature 1
    Log(Activation, Side),
    /// φ(log p), at temperature 1
    Function(Activation, Side, PixelFunction),
}

impl Quantity {
    /// The probability that it depends on the logits through; `None` where it does not.
    #[must_use]
    pub fn probability(&self) -> Option<Probability> {
        let plain = |activation, side| Some(Probability { activation, temperature: Temperature::ONE, side });
        match self {
            Self::One | Self::Target => None,
            Self::Mass(probability) => Some(*probability),
            Self::SquaredMass(a) => plain(*a, Side::Region),
            Self::Log(a, side) | Self::Function(a, side, _) => plain(*a, *side),
        }
    }

    /// Whether it is made of log p, whose sums may grow beyond what the type holds.
    #[must_use]
    pub fn is_logarithmic(&self) -> bool {
        match self {
            Self::One | Self::Target | Self::Mass(_) | Self::SquaredMass(_) => false,
            Self::Log(..) | Self::Function(..) => true,
        }
    }
}

/// A sum over the pixels of one sample, for each class: `Σ w · over · of · map`, where w is the
/// weight of the pixel (1 by default, 0 where it is ignored) and a statistic without a map has 1.
///
/// ```
/// use loss_core::{Activation, Probability, Side, Statistic, Temperature};
///
/// let p = Probability::new(Activation::Softmax, Temperature::TEN, Side::Region);
/// assert_eq!(Statistic::intersection(p).to_string(), "I(10)");
/// assert!(!Statistic::TARGET_SIZE.depends_on_logits());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Statistic {
    /// Which pixels.
    pub over: Over,
    /// What of each.
    pub of: Quantity,
    /// By what it is multiplied.
    pub map: Option<Map>,
}

impl Statistic {
    /// M = Σ w, `[N, 1]`
    pub const VALID_SIZE: Self = Self { over: Over::Valid, of: Quantity::One, map: None };
    /// T = Σ w y
    pub const TARGET_SIZE: Self = Self { over: Over::Region, of: Quantity::One, map: None };
    /// Σ w y² (differs from T for soft targets)
    pub const SQUARED_TARGET: Self = Self { over: Over::Region, of: Quantity::Target, map: None };

    /// P = Σ w p; on the background side Σ w (1 − p), which does not cancel where M − P
    /// would.
    #[must_use]
    pub const fn predicted_size(p: Probability) -> Self {
        Self { over: Over::Valid, of: Quantity::Mass(p), map: None }
    }

    /// I = Σ w y p; on the background side Σ w (1 − y)(1 − p).
    #[must_use]
    pub fn intersection(p: Probability) -> Self {
        Self { over: p.side.into(), of: Quantity::Mass(p), map: None }
    }

    /// Q = Σ w p²
    #[must_use]
    pub const fn squared_mass(activation: Activation) -> Self {
        Self { over: Over::Valid, of: Quantity::SquaredMass(activation), map: None }
    }

    /// L = Σ w y log p; on the background side Σ w (1 − y) log(1 − p).
    #[must_use]
    pub fn log_likelihood(activation: Activation, side: Side) -> Self {
        Self { over: side.into(), of: Quantity::Log(activation, side), map: None }
    }

    /// A = Σ w log p; on the background side Σ w log(1 − p).
    #[must_use]
    pub const fn log_mass(activation: Activation, side: Side) -> Self {
        Self { over: Over::Valid, of: Quantity::Log(activation, side), map: None }
    }

    /// F = Σ w y φ(log p); on the background side Σ w (1 − y) φ(log(1 − p)).
    #[must_use]
    pub fn pixel_sum(activation: Activation, side: Side, function: PixelFunction) -> Self {
        Self { over: side.into(), of: Quantity::Function(activation, side, function), map: None }
    }

    /// The same sum, every summand times a map.
    #[must_use]
    pub fn times(self, map: Map) -> Self {
        Self { map: Some(map), ..self }
    }

    /// Whether it is one number for all classes: M alone is.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        *self == Self::VALID_SIZE
    }

    /// Whether a gradient flows from it to the logits.
    #[must_use]
    pub fn depends_on_logits(&self) -> bool {
        self.probability().is_some()
    }

    /// The probability that it depends on the logits through; `None` for sums over the target
    /// alone.
    #[must_use]
    pub fn probability(&self) -> Option<Probability> {
        self.of.probability()
    }

    /// The activation whose probabilities it sums; `None` for sums over the target alone.
    #[must_use]
    pub fn activation(&self) -> Option<Activation> {
        self.probability().map(|p| p.activation)
    }

    /// Backends compute what terms are made of: a probability over all pixels or over its own side,
    /// and y over the region.
    pub(crate) fn is_computed(&self) -> bool {
        match (&self.of, self.over) {
            (Quantity::One, Over::Valid | Over::Region) | (Quantity::Target, Over::Region) => true,
            (Quantity::One | Quantity::Target, _) => false,
            (Quantity::SquaredMass(_), over) => over == Over::Valid,
            (Quantity::Function(_, side, _), over) => over == Over::from(*side),
            (Quantity::Mass(Probability { side, .. }) | Quantity::Log(_, side), over) => {
                over == Over::Valid || over == Over::from(*side)
            }
        }
    }
}

impl Display for Statistic {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let name = match (&self.of, self.over) {
            (Quantity::One, Over::Valid) => "M",
            (Quantity::One, _) => "T",
            (Quantity::Target, _) => "Y2",
            (Quantity::Mass(_), Over::Valid) => "P",
            (Quantity::Mass(_), _) => "I",
            (Quantity::SquaredMass(_), _) => "Q",
            (Quantity::Log(..), Over::Valid) => "A",
            (Quantity::Log(..), _) => "L",
            (Quantity::Function(..), _) => "F",
        };
        f.write_str(name)?;
        if let Some(p) = self.probability() {
            if p.side == Side::Background {
                f.write_str("'")?;
            }
            if p.activation == Activation::Sigmoid {
                f.write_str("σ")?;
            }
            if let Quantity::Function(.., function) = &self.of {
                write!(f, "[{function:?}]")?;
            }
            if p.temperature != Temperature::ONE {
                write!(f, "({})", number(p.temperature.value()))?;
            }
        }
        match &self.map {
            Some(map) => write!(f, "·{}", map.id()),
            None => Ok(()),
        }
    }
}
