//! How far a backend may be from the oracle: one table, by type.

use crate::Dtype;

/// Allowed errors, relative to the scale of what is compared (see [`compare`]).
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Of totals, terms and parts.
    pub value: f64,
    /// Of gradients: relative to the largest entry, plus the type's own rounding.
    pub gradient: f64,
    /// Rounding of a stored gradient: half a unit in the last place, relative.
    pub rounding: f64,
    /// Least distance between two stored numbers.
    pub least: f64,
}

/// The table. Half precision is computed in `f32`, so values are as good as for `f32`; gradients are rounded to the type.
#[must_use]
pub fn tolerance(dtype: Dtype) -> Tolerance {
    match dtype {
        Dtype::F64 => Tolerance { value: 1e-12, gradient: 1e-12, rounding: 0.0, least: 0.0 },
        Dtype::F32 => Tolerance { value: 1e-6, gradient: 1e-6, rounding: 0.0, least: 1e-38 },
        Dtype::F16 => Tolerance { value: 1e-6, gradient: 1e-6, rounding: 2.0f64.powi(-11), least: 2.0f64.powi(-24) },
        Dtype::Bf16 => Tolerance { value: 1e-6, gradient: 1e-6, rounding: 2.0f64.powi(-8), least: 1e-38 },
    }
}

/// Compares numbers that share a scale; the message names the worst of them.
///
/// # Errors
/// Where one is farther off than `relative · scale`, plus its own rounding.
pub fn compare(what: &str, got: &[f64], want: &[f64], scale: f64, relative: f64, own: Tolerance) -> Result<(), String> {
    if got.len() != want.len() {
        return Err(format!("{what}: {} numbers, expected {}", got.len(), want.len()));
    }
    let error = |(got, want): (&f64, &f64)| {
        let allowed = relative * scale + own.rounding * want.abs() + own.least;
        let error = (got - want).abs();
        // A NaN is infinitely far off.
        if error.is_nan() { f64::INFINITY } else { error / allowed.max(f64::MIN_POSITIVE) }
    };
    let errors = got.iter().zip(want).map(error);
    let worst = errors.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    match worst {
        Some((i, times)) if times > 1.0 => Err(format!(
            "{what}: at {i} got {:e}, expected {:e}, off by {:e}: {times:.3} times what is allowed (scale {scale:e})",
            got[i],
            want[i],
            (got[i] - want[i]).abs()
        )),
        _ => Ok(()),
    }
}
