//! The operations a backend must know, and nothing else.

use num_traits::Float;

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

    /// Whether it takes two arguments.
    pub(crate) fn is_binary(self) -> bool {
        matches!(self, Self::Add | Self::Sub | Self::Mul | Self::Div | Self::Max | Self::Greater)
    }

    /// The operation on numbers; sums return `x`, and operations with one argument ignore `y`.
    pub(crate) fn of<F: Float>(self, x: F, y: F) -> F {
        match self {
            Self::Neg => -x,
            Self::Abs => x.abs(),
            Self::Sign => {
                if x > F::zero() {
                    F::one()
                } else if x < F::zero() {
                    -F::one()
                } else {
                    x
                }
            }
            Self::Exp => x.exp(),
            Self::ExpM1 => x.exp_m1(),
            Self::Ln => x.ln(),
            Self::Powf(bits) => {
                let exponent = f64::from_bits(bits);
                if exponent == 2.0 { x * x } else { F::from(exponent).map_or_else(F::nan, |exponent| x.powf(exponent)) }
            }
            Self::Add => x + y,
            Self::Sub => x - y,
            Self::Mul => x * y,
            Self::Div => x / y,
            // `Float::max` would drop a NaN, and with it the only sign of a non-finite logit.
            Self::Max => {
                if x > y || x.is_nan() {
                    x
                } else {
                    y
                }
            }
            Self::Greater => {
                if x > y {
                    F::one()
                } else {
                    F::zero()
                }
            }
            Self::SumSamples | Self::SumClasses => x,
        }
    }
}
