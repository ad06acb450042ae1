//! Intensities, by a named rule.

use std::fmt::{Display, Formatter};
use std::str::FromStr;

use crate::error::DataError;

/// How the intensities of a channel become the numbers that a network sees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Scale {
    /// Mean 0 and standard deviation 1 over the pixels that count, image by image and channel by
    /// channel. A flat channel becomes 0.
    #[default]
    Standard,
    /// From 0 to 1 over the channel's own least and greatest number; a flat one becomes 0.
    Range,
    /// From 0 to 1 between two intensities, beyond which numbers are cut: Hounsfield units.
    Window(f64, f64),
    /// As they are.
    None,
}

impl FromStr for Scale {
    type Err = DataError;

    /// `standard`, `range`, `none` or `window:LOW:HIGH`.
    fn from_str(text: &str) -> Result<Self, DataError> {
        let refuse = || DataError::option("scale", text, "expected standard, range, none or window:LOW:HIGH with LOW < HIGH");
        match text {
            "standard" => return Ok(Self::Standard),
            "range" => return Ok(Self::Range),
            "none" => return Ok(Self::None),
            _ => {}
        }
        let (low, high) = text.strip_prefix("window:").and_then(|ends| ends.split_once(':')).ok_or_else(refuse)?;
        let number = |text: &str| text.parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(refuse);
        let (low, high) = (number(low)?, number(high)?);
        if low < high { Ok(Self::Window(low, high)) } else { Err(refuse()) }
    }
}

impl Display for Scale {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Standard => f.write_str("standard"),
            Self::Range => f.write_str("range"),
            Self::Window(low, high) => write!(f, "window:{low}:{high}"),
            Self::None => f.write_str("none"),
        }
    }
}

impl Scale {
    /// Scales one channel in place; `counts` says which pixels count for the mean.
    pub fn channel(&self, values: &mut [f32], counts: impl Fn(usize) -> bool) {
        let (offset, factor) = match *self {
            Self::None => return,
            Self::Window(low, high) => {
                for value in values.iter_mut() {
                    *value = ((f64::from(*value).clamp(low, high) - low) / (high - low)) as f32;
                }
                return;
            }
            Self::Range => {
                let ends = values.iter().fold([f32::INFINITY, f32::NEG_INFINITY], |[a, b], &v| [a.min(v), b.max(v)]);
                let [low, high] = ends.map(f64::from);
                (low, if high > low { 1.0 / (high - low) } else { 0.0 })
            }
            Self::Standard => {
                let valid = || values.iter().enumerate().filter(|(i, _)| counts(*i)).map(|(_, &v)| f64::from(v));
                let count = (valid().count() as f64).max(1.0);
                let mean = valid().sum::<f64>() / count;
                let deviation = (valid().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt();
                // Rounding leaves a flat channel a deviation that means nothing.
                let flat = deviation <= 1e-6 * mean.abs().max(f64::MIN_POSITIVE);
                (mean, if flat { 0.0 } else { 1.0 / deviation })
            }
        };
        for value in values.iter_mut() {
            *value = ((f64::from(*value) - offset) * factor) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(rule: &str, values: &[f32]) -> Vec<f32> {
        let mut values = values.to_vec();
        rule.parse::<Scale>().unwrap().channel(&mut values, |i| i < 4);
        values
    }

    #[test]
    fn rules_by_hand() {
        assert_eq!(scaled("standard", &[1.0, 1.0, 3.0, 3.0, 100.0]), [-1.0, -1.0, 1.0, 1.0, 98.0]);
        assert_eq!(scaled("standard", &[0.1; 5]), [0.0; 5]);
        assert_eq!(scaled("range", &[10.0, 20.0, 15.0]), [0.0, 1.0, 0.5]);
        assert_eq!(scaled("window:-100:100", &[-1000.0, 0.0, 50.0, 400.0]), [0.0, 0.5, 0.75, 1.0]);
        assert_eq!(scaled("none", &[7.0]), [7.0]);
        for rule in ["window:3:3", "window:a:b", "window:1", "zscore", "window:NaN:1"] {
            assert!(rule.parse::<Scale>().is_err(), "{rule}");
        }
        assert_eq!("window:-160:240".parse::<Scale>().unwrap().to_string(), "window:-160:240");
    }
}
