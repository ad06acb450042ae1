//! Columns of pixels, one per class: one after another, or the same pair of vectors of all.

use std::slice::{ChunksExact, ChunksExactMut};

use pulp::Simd;

use crate::Real;
use crate::simd::{Column, Lanes, PADDING, Pair, Vectors, copied};

/// Columns of one length, one per class; each begins at a line of the cache.
pub(crate) struct Columns<C> {
    data: Vec<C>,
    first: usize,
    stride: usize,
    length: usize,
}

impl<C: Real> Columns<C> {
    /// Room for columns of up to `capacity` pixels, a multiple of the padding.
    pub(crate) fn new(count: usize, capacity: usize) -> Self {
        // A line apart: columns at multiples of 4 KiB would share their place in the cache.
        let stride = capacity + PADDING;
        let data = vec![C::zero(); count * stride + PADDING];
        // The offset is a hint: where there is none, or a strange one, columns are only less well placed.
        let first = data.as_ptr().align_offset(64).min(PADDING);
        Self { data, first, stride, length: capacity }
    }

    pub(crate) fn resize(&mut self, padded: usize) {
        self.length = padded;
    }

    pub(crate) fn column(&self, k: usize) -> &[C] {
        let start = self.first + k * self.stride;
        &self.data[start..start + self.length]
    }

    pub(crate) fn column_mut(&mut self, k: usize) -> &mut [C] {
        let start = self.first + k * self.stride;
        &mut self.data[start..start + self.length]
    }

    /// One column, to be written, and those before it.
    pub(crate) fn column_and_before(&mut self, k: usize) -> (Before<'_, C>, &mut [C]) {
        let start = self.first + k * self.stride;
        let (before, rest) = self.data.split_at_mut(start);
        let before = Before { data: before, first: self.first, stride: self.stride, length: self.length };
        (before, &mut rest[..self.length])
    }

    /// Pair by pair of vectors.
    #[inline(always)]
    pub(crate) fn lanes<S: Simd>(&self, simd: S, k: usize) -> Column<'_, S, C> {
        Column::new(simd, self.column(k))
    }

    /// All of them, pair by pair of vectors.
    #[inline(always)]
    pub(crate) fn grid<S: Simd>(&self, simd: S) -> Grid<'_, S, C> {
        Grid { simd, pairs: C::pairs::<S>(&self.data[self.first..]), stride: self.stride / C::lanes::<S>() }
    }

    /// All of them, pair by pair, to be written.
    #[inline(always)]
    pub(crate) fn grid_mut<S: Simd>(&mut self, _: S) -> GridMut<'_, S, C> {
        GridMut { pairs: C::pairs_mut::<S>(&mut self.data[self.first..]), stride: self.stride / C::lanes::<S>() }
    }
}

copied!(Grid<'_>);

/// Columns, of which the same pair of vectors is read class by class: what is summed over classes then stays in registers.
pub(crate) struct Grid<'a, S: Simd, C: Vectors> {
    simd: S,
    pairs: &'a [Pair<S, C>],
    stride: usize,
}

impl<'a, S: Simd, C: Vectors> Grid<'a, S, C> {
    /// The pair `b` of the class `k`.
    #[inline(always)]
    pub(crate) fn at(self, k: usize, b: usize) -> Lanes<S, C> {
        Lanes::new(self.simd, self.pairs[k * self.stride + b])
    }

    /// The classes, one after another.
    #[inline(always)]
    pub(crate) fn rows(self) -> ChunksExact<'a, Pair<S, C>> {
        self.pairs.chunks_exact(self.stride)
    }
}

/// Columns that are written in that order.
pub(crate) struct GridMut<'a, S: Simd, C: Vectors> {
    pairs: &'a mut [Pair<S, C>],
    stride: usize,
}

impl<S: Simd, C: Vectors> GridMut<'_, S, C> {
    /// The classes, one after another.
    #[inline(always)]
    pub(crate) fn rows(&mut self) -> ChunksExactMut<'_, Pair<S, C>> {
        self.pairs.chunks_exact_mut(self.stride)
    }
}

/// The columns before one that is written.
pub(crate) struct Before<'a, C> {
    data: &'a [C],
    first: usize,
    stride: usize,
    length: usize,
}

impl<C> Before<'_, C> {
    pub(crate) fn column(&self, k: usize) -> &[C] {
        let start = self.first + k * self.stride;
        &self.data[start..start + self.length]
    }
}
