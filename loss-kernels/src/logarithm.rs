//! Logarithms of probabilities over the pixels of a block.

use pulp::Simd;

use crate::Real;
use crate::simd::{Column, Lanes, Vectors, copied};

copied!(LogSoftmax<'_>, LogSigmoid<'_>);

/// Logarithms of probabilities.
pub(crate) trait Logarithms<S: Simd, C: Real>: Copy {
    /// The first of their pairs.
    fn first(self, count: usize) -> Self;
    /// One of them.
    fn at(self, b: usize) -> Lanes<S, C>;
}

/// A column of logarithms of probabilities.
pub(crate) enum LogColumn<'a, S: Simd, C: Vectors> {
    Softmax(LogSoftmax<'a, S, C>),
    Sigmoid(LogSigmoid<'a, S, C>),
}

impl<S: Simd, C: Real> LogColumn<'_, S, C> {
    /// One of them.
    #[inline(always)]
    pub(crate) fn at(&self, b: usize) -> Lanes<S, C> {
        match self {
            Self::Softmax(log) => log.at(b),
            Self::Sigmoid(log) => log.at(b),
        }
    }
}

/// A column of log p = −log Σ_k e^(z − max) − (max − z).
pub(crate) struct LogSoftmax<'a, S: Simd, C: Vectors> {
    /// max − z
    pub(crate) depth: Column<'a, S, C>,
    /// −log Σ_k e^(z − max)
    pub(crate) largest: Column<'a, S, C>,
}

impl<S: Simd, C: Real> Logarithms<S, C> for LogSoftmax<'_, S, C> {
    #[inline(always)]
    fn first(self, count: usize) -> Self {
        Self { depth: self.depth.first(count), largest: self.largest.first(count) }
    }

    #[inline(always)]
    fn at(self, i: usize) -> Lanes<S, C> {
        self.largest.at(i) - self.depth.at(i)
    }
}

/// A column of log p or log(1 − p): ±z, where that is negative, − log(1 + e^−|z|).
pub(crate) struct LogSigmoid<'a, S: Simd, C: Vectors> {
    pub(crate) z: Column<'a, S, C>,
    /// −log(1 + e^−|z|)
    pub(crate) largest: Column<'a, S, C>,
    pub(crate) sign: Lanes<S, C>,
}

impl<S: Simd, C: Real> Logarithms<S, C> for LogSigmoid<'_, S, C> {
    #[inline(always)]
    fn first(self, count: usize) -> Self {
        Self { z: self.z.first(count), largest: self.largest.first(count), sign: self.sign }
    }

    #[inline(always)]
    fn at(self, i: usize) -> Lanes<S, C> {
        (self.z.at(i) * self.sign).min(self.sign.splat(C::zero())) + self.largest.at(i)
    }
}
