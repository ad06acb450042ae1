//! Small arrays on the host.

use crate::error::LossError;

/// A host array of shape `[rows, columns]`, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Table {
    /// A table of the given shape.
    ///
    /// # Errors
    /// [`LossError::Length`] where the number of values is not `rows · columns`.
    pub fn new(rows: usize, columns: usize, values: Vec<f64>) -> Result<Self, LossError> {
        if rows.checked_mul(columns) != Some(values.len()) {
            return Err(LossError::Length { what: "a table", shape: vec![rows, columns], got: values.len() });
        }
        Ok(Self { rows, columns, values })
    }

    /// One value everywhere.
    #[must_use]
    pub fn filled(rows: usize, columns: usize, value: f64) -> Self {
        Self { rows, columns, values: vec![value; rows.saturating_mul(columns)] }
    }

    /// The sum with another of the same shape.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let values = self.values.iter().zip(&other.values).map(|(a, b)| a + b).collect();
        Self { values, ..*self }
    }

    /// With axes of length one repeated up to a shape.
    pub(crate) fn repeated(&self, rows: usize, columns: usize) -> Result<Self, LossError> {
        let at = |n| (0..columns).filter_map(move |k| self.get(n, k));
        Self::new(rows, columns, (0..rows).flat_map(at).collect())
    }

    pub(crate) fn row(values: Vec<f64>) -> Self {
        Self { rows: 1, columns: values.len(), values }
    }

    /// A single number.
    #[must_use]
    pub fn scalar(value: f64) -> Self {
        Self::filled(1, 1, value)
    }

    /// Number of rows (samples, or 1).
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns (classes, or 1).
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The numbers, row by row.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The number at a row and column; an axis of length one is broadcast. `None` outside.
    #[must_use]
    pub fn get(&self, row: usize, column: usize) -> Option<f64> {
        let row = if self.rows == 1 { 0 } else { row };
        let column = if self.columns == 1 { 0 } else { column };
        (row < self.rows && column < self.columns).then(|| self.values[row * self.columns + column])
    }

    /// The sum of the rows.
    pub(crate) fn sum_samples(&self) -> Self {
        let mut sums = vec![0.0; self.columns];
        for row in self.values.chunks_exact(self.columns.max(1)) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        Self::row(sums)
    }

    /// The sum of each row.
    pub(crate) fn sum_classes(&self) -> Self {
        let sum = |r: usize| self.values[r * self.columns..(r + 1) * self.columns].iter().sum();
        Self { rows: self.rows, columns: 1, values: (0..self.rows).map(sum).collect() }
    }

    /// `f` of each pair of numbers; axes of length one are broadcast. `None` where shapes differ
    /// otherwise.
    pub(crate) fn combine(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Option<Self> {
        let (rows, columns) = (broadcast(self.rows, other.rows)?, broadcast(self.columns, other.columns)?);
        let at = |t: &Self, r: usize, c: usize| {
            t.values[(if t.rows == 1 { 0 } else { r }) * t.columns + if t.columns == 1 { 0 } else { c }]
        };
        let mut values = Vec::with_capacity(rows * columns);
        for r in 0..rows {
            values.extend((0..columns).map(|c| f(at(self, r, c), at(other, r, c))));
        }
        Some(Self { rows, columns, values })
    }

    /// The first number: the value of a scalar.
    pub(crate) fn first(&self) -> f64 {
        self.values.first().copied().unwrap_or(0.0)
    }
}

/// The length that two axes broadcast to.
fn broadcast(a: usize, b: usize) -> Option<usize> {
    match (a, b) {
        (1, length) | (length, 1) => Some(length),
        _ => (a == b).then_some(a),
    }
}
