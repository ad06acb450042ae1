//! Logarithms of probabilities over the pixels of a block.

use pulp::Simd;

use crate::Real;
use crate::columns::Grid;
use crate::simd::{Column, Lanes, Vectors, write_column};

/// Logarithms of probabilities of all classes.
pub(crate) trait Logarithms<S: Simd, C: Real>: Copy {
    /// Pairs of vectors per class, with the padding of the buffers.
    fn length(self) -> usize;
    /// The pair `b` of the class `k`.
    fn at(self, k: usize, b: usize) -> Lanes<S, C>;
}

/// The logarithms of any activation and side.
#[derive(Clone, Copy)]
pub(crate) enum AnyLogarithms<'a, S: Simd, C: Vectors> {
    Softmax(LogSoftmax<'a, S, C>),
    Region(LogSigmoid<'a, S, C, false>),
    Background(LogSigmoid<'a, S, C, true>),
}

impl<S: Simd, C: Real> AnyLogarithms<'_, S, C> {
    /// The pair `b` of the class `k`.
    #[inline(always)]
    pub(crate) fn at(self, k: usize, b: usize) -> Lanes<S, C> {
        match self {
            Self::Softmax(log) => log.at(k, b),
            Self::Region(log) => log.at(k, b),
            Self::Background(log) => log.at(k, b),
        }
    }

    /// Writes the logarithms of the class `k`.
    #[inline(always)]
    pub(crate) fn write(self, simd: S, k: usize, column: &mut [C]) {
        match self {
            Self::Softmax(log) => write_column!(simd, column, |b| log.at(k, b)),
            Self::Region(log) => write_column!(simd, column, |b| log.at(k, b)),
            Self::Background(log) => write_column!(simd, column, |b| log.at(k, b)),
        }
    }
}

/// log p = −log Σ_k e^(z − max) − (max − z)
#[derive(Clone, Copy)]
pub(crate) struct LogSoftmax<'a, S: Simd, C: Vectors> {
    /// max − z
    pub(crate) depth: Grid<'a, S, C>,
    /// −log Σ_k e^(z − max)
    pub(crate) largest: Column<'a, S, C>,
}

/// log p = min(z, 0) − log(1 + e^−|z|); for the background log(1 − p), with −z.
#[derive(Clone, Copy)]
pub(crate) struct LogSigmoid<'a, S: Simd, C: Vectors, const BACKGROUND: bool> {
    pub(crate) z: Grid<'a, S, C>,
    /// log(1 + e^−|z|)
    pub(crate) largest: Grid<'a, S, C>,
}

impl<S: Simd, C: Real> Logarithms<S, C> for LogSoftmax<'_, S, C> {
    #[inline(always)]
    fn length(self) -> usize {
        self.depth.stride().min(self.largest.len())
    }

    #[inline(always)]
    fn at(self, k: usize, b: usize) -> Lanes<S, C> {
        self.largest.at(b) - self.depth.at(k, b)
    }
}

impl<S: Simd, C: Real, const BACKGROUND: bool> Logarithms<S, C> for LogSigmoid<'_, S, C, BACKGROUND> {
    #[inline(always)]
    fn length(self) -> usize {
        self.z.stride().min(self.largest.stride())
    }

    #[inline(always)]
    fn at(self, k: usize, b: usize) -> Lanes<S, C> {
        let z = self.z.at(k, b);
        self.of(if BACKGROUND { -z } else { z }, k, b)
    }
}

impl<S: Simd, C: Real, const BACKGROUND: bool> LogSigmoid<'_, S, C, BACKGROUND> {
    /// The logarithm of the side whose logit, z or −z, is given.
    #[inline(always)]
    pub(crate) fn of(self, z: Lanes<S, C>, k: usize, b: usize) -> Lanes<S, C> {
        z.min(z.splat(C::zero())) - self.largest.at(k, b)
    }
}
