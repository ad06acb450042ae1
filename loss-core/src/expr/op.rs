//! The operations a backend must know, and nothing else.

/// An operation on `[rows, columns]` arrays, with broadcasting of axes of length one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// `−x`
    Neg,
    /// `|x|`
    Abs,
    /// −1, 0 or 1
    Sign,
    /// `e^x`
    Exp,
    /// `e^x − 1`
    ExpM1,
    /// Natural logarithm of a positive number
    Ln,
    /// `x^c` for `x ≥ 0` (any `x` where `c` is 2); see [`Op::exponent`]
    Powf(u64),
    /// `x + y`
    Add,
    /// `x − y`
    Sub,
    /// `x · y`
    Mul,
    /// `x / y`
    Div,
    /// The larger of two
    Max,
    /// 1 where `x > y`, else 0
    Greater,
    /// Sum over rows: one row remains
    SumSamples,
    /// Sum over columns: one column remains
    SumClasses,
}

impl Op {
    pub(crate) fn powf(exponent: f64) -> Self {
        Self::Powf(exponent.to_bits())
    }

    /// The exponent of [`Op::Powf`] (kept as bits so that operations can be compared and hashed).
    #[must_use]
    pub fn exponent(self) -> Option<f64> {
        if let Self::Powf(bits) = self { Some(f64::from_bits(bits)) } else { None }
    }
}
