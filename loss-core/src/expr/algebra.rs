//! Interpreting operations: the trait a backend fills, and the host's own `f64` version.

use std::borrow::Cow;

use num_traits::Float;

use super::Op;
use crate::LossError;

/// Small arrays and the operations on them, wherever a backend keeps its numbers.
///
/// # Laws
/// `apply` broadcasts axes of length one; operations act element by element except the two sums; nothing synchronises with
/// the host.
pub trait Algebra {
    /// An array of shape `[rows, columns]`.
    type Array: Clone;

    /// Brings numbers to where the arrays live.
    ///
    /// # Errors
    /// Whatever the tensor library reports, as [`LossError::Backend`].
    fn constant(&self, table: &Table) -> Result<Self::Array, LossError>;

    /// Applies one operation to its one or two arguments.
    ///
    /// # Errors
    /// Whatever the tensor library reports, as [`LossError::Backend`].
    fn apply(&self, op: Op, arguments: &[&Self::Array]) -> Result<Self::Array, LossError>;
}

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

    /// The first number: the value of a scalar.
    pub(crate) fn first(&self) -> f64 {
        self.values.first().copied().unwrap_or(0.0)
    }
}

/// One element-wise operation, on any float: what the host algebra and the pixel functions share.
pub(crate) fn elementwise<F: Float>(op: Op, x: F, y: F) -> F {
    match op {
        Op::Neg => -x,
        Op::Abs => x.abs(),
        Op::Sign => {
            if x > F::zero() {
                F::one()
            } else if x < F::zero() {
                -F::one()
            } else {
                x
            }
        }
        Op::Exp => x.exp(),
        Op::ExpM1 => x.exp_m1(),
        Op::Ln => x.ln(),
        Op::Powf(bits) => {
            let exponent = f64::from_bits(bits);
            if exponent == 2.0 { x * x } else { F::from(exponent).map_or_else(F::nan, |exponent| x.powf(exponent)) }
        }
        Op::Add => x + y,
        Op::Sub => x - y,
        Op::Mul => x * y,
        Op::Div => x / y,
        // `Float::max` would drop a NaN, and with it the only sign of a non-finite logit.
        Op::Max => {
            if x > y || x.is_nan() {
                x
            } else {
                y
            }
        }
        Op::Greater => {
            if x > y {
                F::one()
            } else {
                F::zero()
            }
        }
        Op::SumSamples | Op::SumClasses => x,
    }
}

/// The length that two come to, where one can be repeated for the other.
fn broadcast([a, b]: [usize; 2]) -> Option<usize> {
    match (a, b) {
        (1, length) | (length, 1) => Some(length),
        _ => (a == b).then_some(a),
    }
}

/// The host's algebra, in `f64`.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostAlgebra;

impl Algebra for HostAlgebra {
    type Array = Table;

    fn constant(&self, table: &Table) -> Result<Table, LossError> {
        Ok(table.clone())
    }

    fn apply(&self, op: Op, arguments: &[&Table]) -> Result<Table, LossError> {
        let [x, rest @ ..] = arguments else { return Ok(Table::scalar(0.0)) };
        Ok(match op {
            Op::SumSamples => {
                let mut sums = vec![0.0; x.columns];
                for row in x.values.chunks_exact(x.columns.max(1)) {
                    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
                Table::row(sums)
            }
            Op::SumClasses => {
                let row = |r: usize| x.values[r * x.columns..(r + 1) * x.columns].iter().sum();
                let sums = (0..x.rows).map(row).collect();
                Table { rows: x.rows, columns: 1, values: sums }
            }
            _ => {
                let y = rest.first().map_or_else(|| Cow::Owned(Table::scalar(0.0)), |y| Cow::Borrowed(*y));
                let (rows, columns) = (broadcast([x.rows, y.rows]), broadcast([x.columns, y.columns]));
                let (Some(rows), Some(columns)) = (rows, columns) else {
                    return Err(LossError::Unsupported {
                        what: "operation",
                        got: format!("{op:?} of {}×{} and {}×{} numbers", x.rows, x.columns, y.rows, y.columns),
                        expected: "arrays of one shape, or of length one where they differ",
                    });
                };
                let at = |t: &Table, r: usize, c: usize| {
                    t.values[(if t.rows == 1 { 0 } else { r }) * t.columns + if t.columns == 1 { 0 } else { c }]
                };
                let mut values = Vec::with_capacity(rows * columns);
                for r in 0..rows {
                    values.extend((0..columns).map(|c| elementwise(op, at(x, r, c), at(&y, r, c))));
                }
                Table { rows, columns, values }
            }
        })
    }
}
