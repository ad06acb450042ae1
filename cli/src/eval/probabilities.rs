//! Probabilities in the place of logits.
//!
//! Under softmax the logit is ln p, under sigmoid ln p − ln(1−p): the activation gives p back.
//! A probability of exactly 0 or 1 has an infinite logit. It becomes −1024 or 1024, which every
//! float type holds exactly, and of which the activation is 0 or 1 in float64; no other probability
//! has a logit as far out, for the smallest float64 above 0 has ln p = −744.4.

use half::f16;
use ndarray::ArrayD;
use segloss::{Activation, Geometry};
use segloss_data::Array;

use super::input::TargetArray;
use crate::error::CliError;

/// The logit of a probability of 1; with its sign changed, of 0.
pub(super) const CERTAIN: f64 = 1024.0;

/// What is wrong with probabilities.
pub(super) enum Wrong {
    /// A number at a position in row-major order that is none.
    Range(usize, f64),
    /// Classes of a pixel, at the position of its first, that do not add up to 1.
    Sum(usize, f64),
    /// The array is not `[N, K, *spatial]`.
    Axes,
}

/// Turns probabilities `[N, K, *spatial]` into logits in their place. Pixels that do not count are
/// not looked at: their logits are 0. Sums may miss 1 by `tolerance`.
pub(super) fn to_logits(
    array: &mut Array,
    activation: Activation,
    tolerance: f64,
    counts: impl Fn(usize) -> bool,
) -> Result<(), Wrong> {
    match array {
        Array::F16(a) => convert(a, activation, tolerance, counts, f16::to_f64, f16::from_f64),
        Array::F32(a) => convert(a, activation, tolerance, counts, f64::from, |v| v as f32),
        Array::F64(a) => convert(a, activation, tolerance, counts, |v| v, |v| v),
        other => {
            let mut floats = other.cast(|v| v as f32);
            convert(&mut floats, activation, tolerance, counts, f64::from, |v| v as f32)?;
            *other = Array::F32(floats);
            Ok(())
        }
    }
}

fn convert<E: Copy>(
    array: &mut ArrayD<E>,
    activation: Activation,
    tolerance: f64,
    counts: impl Fn(usize) -> bool,
    wide: impl Fn(E) -> f64,
    narrow: impl Fn(f64) -> E,
) -> Result<(), Wrong> {
    let [samples, classes, ref space @ ..] = *array.shape() else { return Err(Wrong::Axes) };
    let pixels: usize = space.iter().product();
    if !array.is_standard_layout() {
        *array = array.as_standard_layout().into_owned();
    }
    let Some(values) = array.as_slice_mut() else { return Err(Wrong::Axes) };
    for n in 0..samples {
        for s in 0..pixels {
            let at = |k: usize| (n * classes + k) * pixels + s;
            let places = (0..classes).map(at);
            if !counts(n * pixels + s) {
                places.for_each(|i| values[i] = narrow(0.0));
                continue;
            }
            let mut sum = 0.0;
            for i in places.clone() {
                let p = wide(values[i]);
                if !(0.0..=1.0).contains(&p) {
                    return Err(Wrong::Range(i, p));
                }
                sum += p;
            }
            if activation == Activation::Softmax && (sum - 1.0).abs() > tolerance {
                return Err(Wrong::Sum(at(0), sum));
            }
            places.for_each(|i| values[i] = narrow(logit(wide(values[i]), activation)));
        }
    }
    Ok(())
}

/// Places where a probability of 0 or 1 says the contrary of the target: how many, and the first.
pub(super) fn certain_and_wrong(
    logits: &Array,
    target: &TargetArray,
    activation: Activation,
    counts: impl Fn(usize) -> bool,
) -> Option<(usize, Vec<usize>)> {
    let (shape, classes) = (logits.shape(), *logits.shape().get(1)?);
    let pixels: usize = shape.iter().skip(2).product();
    let labels = target.shape().len() < shape.len();
    let (mut place, mut wrong, mut first) = (0, 0, None);
    logits.each(|z| {
        let i = place;
        place += 1;
        if z.abs() != CERTAIN {
            return;
        }
        let (n, k, s) = (i / (classes * pixels), i / pixels % classes, i % pixels);
        if !counts(n * pixels + s) {
            return;
        }
        let share = match labels {
            // One channel alone is the foreground.
            true if classes == 1 => target.at(n * pixels + s),
            true => f64::from(u8::from(target.at(n * pixels + s) == k as f64)),
            false => target.at(i),
        };
        let contrary = if z < 0.0 { share > 0.0 } else { share < 1.0 && activation == Activation::Sigmoid };
        if contrary {
            wrong += 1;
            first.get_or_insert(i);
        }
    });
    first.map(|first| (wrong, Geometry::position(shape, first)))
}

/// The logit of a probability in [0, 1].
fn logit(p: f64, activation: Activation) -> f64 {
    let logit = match activation {
        Activation::Softmax => p.ln(),
        Activation::Sigmoid => p.ln() - (-p).ln_1p(),
    };
    logit.clamp(-CERTAIN, CERTAIN)
}

impl Wrong {
    /// As an error that names the file.
    pub(super) fn error(&self, path: &std::path::Path, shape: &[usize]) -> CliError {
        let reason = match *self {
            Self::Axes => format!("probabilities need the shape [N, K, *spatial], found {shape:?}"),
            Self::Range(at, p) => {
                let position = Geometry::position(shape, at);
                format!("holds {p:?} at {position:?}, which is no probability; logits need no --from")
            }
            Self::Sum(at, sum) => {
                let mut position = Geometry::position(shape, at);
                let n = position.remove(0);
                let place = &position[1..];
                format!(
                    "probabilities of sample {n} at {place:?} add up to {sum:.6}, under softmax to 1; channels that stand each for \
                     itself need --activation sigmoid"
                )
            }
        };
        CliError::Array { path: path.to_path_buf(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_give_probabilities_back() {
        for p in [0.0, 5e-324, 1e-300, 1e-8, 0.3, 0.5, 1.0 - 1e-12, 1.0] {
            let z = logit(p, Activation::Sigmoid);
            assert!((1.0 / (1.0 + (-z).exp()) - p).abs() <= 1e-15, "{p}");
            let [a, b] = [p, 1.0 - p].map(|p| logit(p, Activation::Softmax).exp());
            assert!((a / (a + b) - p).abs() <= 1e-15, "{p}");
        }
        assert_eq!(logit(0.0, Activation::Softmax).exp(), 0.0);
        assert_eq!(1.0 / (1.0 + logit(0.0, Activation::Sigmoid).abs().exp()), 0.0);
        assert_eq!(f16::from_f64(-CERTAIN).to_f64(), -CERTAIN);
        assert_eq!(half::bf16::from_f64(-CERTAIN).to_f64(), -CERTAIN);
    }
}
