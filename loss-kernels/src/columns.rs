//! Columns of pixels, one per class, read column by column or pair by pair across the classes.

use pulp::Simd;

use crate::Real;
use crate::layout::WIDEST;
use crate::real::MOST_FEW;
use crate::simd::{Column, Lanes, Pair, Vectors, copied};

/// Columns of one length, one per class; each begins at a line of the cache.
pub(crate) struct Columns<C> {
    data: Vec<C>,
    first: usize,
    stride: usize,
    length: usize,
}

impl<C: Real> Columns<C> {
    /// Columns of up to `capacity` pixels, a multiple of the padding.
    pub(crate) fn new(count: usize, capacity: usize) -> Self {
        // A cache line apart: columns at multiples of 4 KiB would share cache sets.
        let stride = capacity + WIDEST;
        let data = vec![C::zero(); count * stride + WIDEST];
        // Only a hint: without alignment, reads are slower and no less correct.
        let first = data.as_ptr().align_offset(64).min(WIDEST);
        Self { data, first, stride, length: capacity }
    }

    /// Columns with one number everywhere.
    pub(crate) fn filled(value: C, count: usize, capacity: usize) -> Self {
        let mut columns = Self::new(count, capacity);
        columns.data.fill(value);
        columns
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

    /// The first columns to write; beyond the last, empty ones.
    pub(crate) fn few_mut(&mut self) -> [&mut [C]; MOST_FEW] {
        let (first, length) = (self.first, self.length);
        let mut columns = self.data[first..].chunks_exact_mut(self.stride);
        std::array::from_fn(|_| columns.next().map(|column| &mut column[..length]).unwrap_or_default())
    }

    /// One column to write, and those before it to read.
    pub(crate) fn column_and_before<'a>(&'a mut self, k: usize) -> (impl Fn(usize) -> &'a [C], &'a mut [C]) {
        let Self { first, stride, length, .. } = *self;
        let (before, rest) = self.data.split_at_mut(first + k * stride);
        let before: &[C] = before;
        (move |k| &before[first + k * stride..][..length], &mut rest[..length])
    }

    /// All columns, and the distance from one to the next.
    pub(crate) fn stored(&self) -> (&[C], usize) {
        (&self.data[self.first..], self.stride)
    }

    /// One column in pairs of vectors.
    #[inline(always)]
    pub(crate) fn lanes<S: Simd>(&self, simd: S, k: usize) -> Column<'_, S, C> {
        Column::new(simd, self.column(k))
    }

    /// All columns in pairs of vectors.
    #[inline(always)]
    pub(crate) fn grid<S: Simd>(&self, simd: S) -> Grid<'_, S, C> {
        let (pairs, stride) = (C::pairs::<S>(&self.data[self.first..]), self.stride / C::lanes::<S>());
        Grid { simd, pairs, rows: pairs.len() / stride, stride }
    }

    #[inline(always)]
    pub(crate) fn grid_mut<S: Simd>(&mut self, simd: S) -> GridMut<'_, S, C> {
        let (pairs, stride) = (C::pairs_mut::<S>(&mut self.data[self.first..]), self.stride / C::lanes::<S>());
        let rows = pairs.len() / stride;
        GridMut { simd, pairs, rows, stride }
    }
}

copied!(Grid<'_>);

/// Columns for loops over classes inside of a loop over pixels: sums over classes stay in
/// registers.
pub(crate) struct Grid<'a, S: Simd, C: Vectors> {
    simd: S,
    pairs: &'a [Pair<S, C>],
    /// Columns; `rows · stride ≤ pairs.len()`.
    rows: usize,
    stride: usize,
}

/// A [`Grid`] to write.
pub(crate) struct GridMut<'a, S: Simd, C: Vectors> {
    simd: S,
    pairs: &'a mut [Pair<S, C>],
    /// As in [`Grid`].
    rows: usize,
    stride: usize,
}

// Loops bound `k` by `rows` and `b` by `stride`, so the compiler drops the assertions below; it
// would not drop a check of the product. Indices are always in bounds: plan, problem and buffers
// agree on the number of classes, and a plan has no softmax background. Whoever breaks that gets a
// panic of the assertion, never a read out of bounds.

impl<S: Simd, C: Vectors> Grid<'_, S, C> {
    #[inline(always)]
    pub(crate) fn rows(self) -> usize {
        self.rows
    }

    /// Pairs from one column to the next: no fewer than a column has.
    #[inline(always)]
    pub(crate) fn stride(self) -> usize {
        self.stride
    }

    /// The pair `b` of the class `k`.
    #[inline(always)]
    pub(crate) fn at(self, k: usize, b: usize) -> Lanes<S, C> {
        assert!(k < self.rows && b < self.stride);
        // SAFETY: k·stride + b < rows·stride ≤ pairs.len() by the assertion and construction.
        #[allow(unsafe_code, reason = "checking every index costs as much as computing with the pair")]
        let pair = unsafe { *self.pairs.get_unchecked(k * self.stride + b) };
        Lanes::new(self.simd, pair)
    }
}

impl<S: Simd, C: Vectors> GridMut<'_, S, C> {
    #[inline(always)]
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The pair `b` of the class `k`.
    #[inline(always)]
    pub(crate) fn at(&self, k: usize, b: usize) -> Lanes<S, C> {
        Grid { simd: self.simd, pairs: self.pairs, rows: self.rows, stride: self.stride }.at(k, b)
    }

    /// Writes the pair `b` of the class `k`.
    #[inline(always)]
    pub(crate) fn set(&mut self, k: usize, b: usize, value: Lanes<S, C>) {
        assert!(k < self.rows && b < self.stride);
        // SAFETY: as in `Grid::at`.
        #[allow(unsafe_code, reason = "as in `Grid::at`")]
        unsafe {
            *self.pairs.get_unchecked_mut(k * self.stride + b) = value.pair;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_the_rows_and_pairs_of_its_columns() {
        let simd = pulp::Scalar::new();
        for (count, capacity) in [(0, 64), (1, 32), (3, 64), (20, 192)] {
            let mut columns = Columns::<f32>::new(count, capacity);
            let mut grid = columns.grid_mut(simd);
            assert_eq!(grid.rows(), count);
            for k in 0..count {
                for b in 0..capacity / 2 {
                    grid.set(k, b, Lanes::of(simd, (k * 1000 + b) as f32));
                }
            }
            let grid = columns.grid(simd);
            assert_eq!((grid.rows(), grid.stride()), (count, (capacity + WIDEST) / 2));
            for k in 0..count {
                let wanted = (0..capacity).map(|i| (k * 1000 + i / 2) as f32);
                assert!(columns.column(k).iter().copied().eq(wanted));
                assert!((0..capacity / 2).all(|b| grid.at(k, b).total() == (2 * (k * 1000 + b)) as f64));
            }
        }
    }

    #[test]
    fn indices_beyond_a_grid_are_refused() {
        let simd = pulp::Scalar::new();
        let mut columns = Columns::<f32>::new(3, 64);
        for (k, b) in [(3, 0), (0, 48), (usize::MAX, 1), (1, usize::MAX)] {
            let grid = columns.grid(simd);
            assert!(std::panic::catch_unwind(|| grid.at(k, b)).is_err(), "{k} {b}");
            let mut grid = columns.grid_mut(simd);
            let set = std::panic::AssertUnwindSafe(|| grid.set(k, b, Lanes::of(simd, 1.0)));
            assert!(std::panic::catch_unwind(set).is_err(), "{k} {b}");
        }
    }
}
