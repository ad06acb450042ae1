//! How far a backend may be from the oracle, and how far it is.

use std::fmt::{Display, Formatter};

use serde::Serialize;

use crate::Dtype;

/// Allowed errors, relative to the scale of what is compared (see [`compared`]).
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Of a value, a part, or a gradient before it is stored.
    pub relative: f64,
    /// Rounding of a stored gradient: half a unit in the last place, relative to itself.
    pub rounding: f64,
    /// Least distance between two stored numbers.
    pub least: f64,
}

impl Tolerance {
    /// What two may differ by that may each be off by this.
    #[must_use]
    pub fn twice(self) -> Self {
        Self { relative: 2.0 * self.relative, rounding: 2.0 * self.rounding, least: 2.0 * self.least }
    }

    /// The same for a backend whose algebra on the sums over K classes is in another type than
    /// `f64`.
    #[must_use]
    pub fn with_algebra_in(self, dtype: Dtype, classes: usize) -> Self {
        let roundings = if dtype == Dtype::F64 { 0.0 } else { OF_ALGEBRA + classes as f64 };
        Self { relative: self.relative + roundings * 2.0f64.powi(-24), ..self }
    }
}

/// Roundings of the algebra on the sums, where that is not in `f64`: a sum that is brought to its
/// type, an ε, a quotient, what a score lacks of 1, the terms' weight and their sum; and as many
/// on the way back. Besides, one for each class of a mean.
const OF_ALGEBRA: f64 = 12.0;

/// Roundings that a probability or its logarithm goes through on its way from the logits, beside
/// the sum over classes: the shift, the temperature, an exponential (two), a quotient or a
/// logarithm (two), a weight; and on the way back a product with what comes from upstream, one with
/// the probability, a difference, the temperature, and two for a sum of terms.
pub(crate) const ROUNDINGS: f64 = 13.0;

/// The tolerance for logits of a type and of a shape `[N, K, S]`.
///
/// Pixels are computed in `f64` for `f64` logits, else in `f32`, with a unit roundoff u of
/// 2⁻⁵³ or 2⁻²⁴, of which each of the K additions over classes takes one more; sums over
/// pixels are kept in `f64`, where each of n additions rounds once: (13 + K)·u + n·2⁻⁵³.
/// Half precision is read as it is, so its values are as good as for `f32`; its gradient is rounded
/// once, when it is stored.
#[must_use]
pub fn tolerance(dtype: Dtype, [samples, classes, pixels]: [usize; 3]) -> Tolerance {
    let (unit, rounding, least) = match dtype {
        Dtype::F64 => (2.0f64.powi(-53), 0.0, 0.0),
        Dtype::F32 => (2.0f64.powi(-24), 0.0, 1e-38),
        Dtype::F16 => (2.0f64.powi(-24), 2.0f64.powi(-11), 2.0f64.powi(-24)),
        Dtype::Bf16 => (2.0f64.powi(-24), 2.0f64.powi(-8), 1e-38),
    };
    let relative = (ROUNDINGS + classes as f64) * unit + (samples * pixels) as f64 * 2.0f64.powi(-53);
    Tolerance { relative, rounding, least }
}

/// Numbers that share a scale, compared: the worst of them.
///
/// In JSON, a number that is not finite is `null`.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// What they are.
    pub what: String,
    /// Index of the worst.
    pub at: usize,
    /// What was computed there.
    pub got: f64,
    /// What it should be.
    pub want: f64,
    /// Their distance, in units of the scale.
    pub error: f64,
    /// Their distance, in units of what is allowed; above 1 it is too far.
    pub times: f64,
}

impl Compared {
    /// The worst of several.
    pub fn worst(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().max_by(|a, b| a.times.total_cmp(&b.times))
    }

    /// Whether it is too far off.
    #[must_use]
    pub fn over(&self) -> bool {
        self.times > 1.0
    }
}

impl Display for Compared {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { what, at, got, want, error, times } = self;
        write!(f, "{what}: at {at} got {got:e}, expected {want:e}: {error:.2e} of the scale, {times:.3} times what is allowed")
    }
}

/// Compares numbers that share a scale: each may be off by `relative · scale`, plus the rounding
/// of its own storage.
///
/// # Errors
/// Where there are not as many of one as of the other.
pub fn compared(what: &str, got: &[f64], want: &[f64], scale: f64, tolerance: Tolerance) -> Result<Compared, String> {
    if got.len() != want.len() {
        return Err(format!("{what}: {} numbers, expected {}", got.len(), want.len()));
    }
    let each = got.iter().zip(want).enumerate().map(|(at, (&got, &want))| {
        let allowed = tolerance.relative * scale + tolerance.rounding * want.abs() + tolerance.least;
        let off = (got - want).abs();
        // A NaN is infinitely far off.
        let off = if off.is_nan() { f64::INFINITY } else { off };
        let times = off / allowed.max(f64::MIN_POSITIVE);
        let error = if off == 0.0 { 0.0 } else { off / scale.max(f64::MIN_POSITIVE) };
        Compared { what: what.to_owned(), at, got, want, error, times }
    });
    Compared::worst(each).ok_or_else(|| format!("{what}: nothing to compare"))
}
