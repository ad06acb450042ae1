//! Logarithms of probabilities over the pixels of a block.

use pulp::Simd;

use crate::Real;
use crate::simd::{Column, Lanes, Vectors};

/// A column of logarithms of probabilities.
pub(crate) enum LogColumn<'a, S: Simd, C: Vectors> {
    Softmax(LogSoftmax<'a, S, C>),
    Sigmoid(LogSigmoid<'a, S, C>),
}

impl<S: Simd, C: Real> LogColumn<'_, S, C> {
    /// The first of its vectors.
    #[inline(always)]
    pub(crate) fn first(self, count: usize) -> Self {
        match self {
            Self::Softmax(log) => Self::Softmax(log.first(count)),
            Self::Sigmoid(log) => Self::Sigmoid(log.first(count)),
        }
    }

    /// One of them.
    #[inline(always)]
    pub(crate) fn at(&self, b: usize) -> Lanes<S, C> {
        match self {
            Self::Softmax(log) => log.at(b),
            Self::Sigmoid(log) => log.at(b),
        }
    }
}

/// A column of log p = (z − max) − log Σ_k e^(z − max).
pub(crate) struct LogSoftmax<'a, S: Simd, C: Vectors> {
    pub(crate) z: Column<'a, S, C>,
    pub(crate) max: Column<'a, S, C>,
    pub(crate) log_sum: Column<'a, S, C>,
}

impl<S: Simd, C: Real> LogSoftmax<'_, S, C> {
    #[inline(always)]
    fn first(&self, count: usize) -> Self {
        let [z, max, log_sum] = [self.z, self.max, self.log_sum].map(|column| column.first(count));
        Self { z, max, log_sum }
    }

    #[inline(always)]
    fn at(&self, i: usize) -> Lanes<S, C> {
        (self.z.at(i) - self.max.at(i)) - self.log_sum.at(i)
    }
}

/// A column of log p or log(1 − p): ±z, where that is negative, − log(1 + e^−|z|).
pub(crate) struct LogSigmoid<'a, S: Simd, C: Vectors> {
    pub(crate) z: Column<'a, S, C>,
    pub(crate) log_sum: Column<'a, S, C>,
    pub(crate) sign: Lanes<S, C>,
}

impl<S: Simd, C: Real> LogSigmoid<'_, S, C> {
    #[inline(always)]
    fn first(&self, count: usize) -> Self {
        Self { z: self.z.first(count), log_sum: self.log_sum.first(count), sign: self.sign }
    }

    #[inline(always)]
    fn at(&self, i: usize) -> Lanes<S, C> {
        (self.z.at(i) * self.sign).min(self.sign.splat(C::zero())) - self.log_sum.at(i)
    }
}
