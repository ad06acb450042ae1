//! Interpreting operations: the trait a backend fills, and the host's own `f64` version.

use super::op::Op;
use super::table::Table;
use crate::error::LossError;

/// Small arrays and the operations on them, wherever a backend keeps its numbers.
///
/// # Laws
/// `apply` broadcasts axes of length one; operations act element by element except the two sums;
/// nothing synchronises with the host.
pub trait Algebra {
    /// An array of shape `[rows, columns]`.
    type Array: Clone;

    /// An array of these numbers.
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

/// The host's algebra, in `f64`.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostAlgebra;

impl Algebra for HostAlgebra {
    type Array = Table;

    fn constant(&self, table: &Table) -> Result<Table, LossError> {
        Ok(table.clone())
    }

    fn apply(&self, op: Op, arguments: &[&Table]) -> Result<Table, LossError> {
        let unsupported = |got, expected| LossError::Unsupported { what: "operation", got, expected };
        let (x, y) = match (op.is_binary(), arguments) {
            (false, [x]) => (x, x),
            (true, [x, y]) => (x, y),
            _ => return Err(unsupported(format!("{op:?} of {} arrays", arguments.len()), "as many as the operation takes")),
        };
        match op {
            Op::SumSamples => Ok(x.sum_samples()),
            Op::SumClasses => Ok(x.sum_classes()),
            _ => x.combine(y, |x, y| op.of(x, y)).ok_or_else(|| {
                let got = format!("{op:?} of {}×{} and {}×{} numbers", x.rows(), x.columns(), y.rows(), y.columns());
                unsupported(got, "arrays of one shape, or of length one where they differ")
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_an_operation_does_not_take_are_refused() {
        let (x, two) = (Table::scalar(1.0), Table::filled(1, 2, 1.0));
        let three = Table::filled(1, 3, 1.0);
        let cases: [(Op, &[&Table]); 5] =
            [(Op::Neg, &[]), (Op::Neg, &[&x, &x]), (Op::Add, &[&x]), (Op::SumClasses, &[&x, &x]), (Op::Add, &[&two, &three])];
        for (op, arguments) in cases {
            let got = HostAlgebra.apply(op, arguments);
            assert!(matches!(got, Err(LossError::Unsupported { what: "operation", .. })), "{op:?}: {got:?}");
        }
    }
}
