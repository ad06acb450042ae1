//! What an expression is made of.

use std::sync::Arc;

use super::axes::Extent;
use crate::activation::Activation;
use crate::statistics::Statistic;

/// The end of a branch: a number known now, or one bound when the program runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Leaf {
    /// A number (as bits, so that leaves can be compared and hashed).
    Constant(u64),
    /// One number per class (as bits).
    Classes(Arc<[u64]>),
    /// 1 for the classes listed, 0 for the others.
    ClassIn(Arc<[usize]>),
    /// Zeros of an extent: what broadcasts a value to it.
    Zeros(Extent),
    /// Number of samples N.
    SampleCount,
    /// Number of classes K.
    ClassCount,
    /// A region statistic, `[N, K]` (or `[N, 1]` for the valid size).
    Statistic(Statistic),
    /// Weight of a term; bound at each call, so a schedule rebuilds nothing.
    Weight(usize),
    /// A proportion per sample and class given with the target; under softmax they sum to 1.
    GivenPrior(Activation),
    /// Factor of an output in the quantity that is differentiated.
    Seed(usize),
    /// log p of a pixel, the one leaf of a pixel function.
    LogProbability,
}

impl Leaf {
    pub(crate) fn constant(value: f64) -> Self {
        Self::Constant(value.to_bits())
    }

    pub(crate) fn classes(values: &[f64]) -> Self {
        Self::Classes(values.iter().map(|v| v.to_bits()).collect())
    }

    pub(crate) fn extent(&self) -> Extent {
        match self {
            Self::Classes(_) | Self::ClassIn(_) => Extent::CLASSES,
            Self::Zeros(extent) => *extent,
            Self::Statistic(statistic) if statistic.is_shared() => Extent::SAMPLES,
            Self::Statistic(_) | Self::GivenPrior(_) => Extent::REGIONS,
            _ => Extent::SCALAR,
        }
    }

    /// The activation whose probabilities it is of.
    pub(crate) fn activation(&self) -> Option<Activation> {
        match self {
            Self::Statistic(statistic) => statistic.activation(),
            Self::GivenPrior(activation) => Some(*activation),
            _ => None,
        }
    }

    /// Whether the value depends on the logits.
    pub(crate) fn is_active(&self) -> bool {
        match self {
            Self::Statistic(statistic) => statistic.depends_on_logits(),
            Self::LogProbability => true,
            _ => false,
        }
    }
}
