//! Inputs that look random and are always the same.

use crate::Input;
use crate::oracle::Target;

/// Numbers that look random and are always the same.
pub fn numbers(count: usize, seed: u64) -> impl Iterator<Item = f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x1234_5678);
    (0..count).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    })
}

/// Logits in −3..3 and labels of the classes, of a shape.
#[must_use]
pub fn input(shape: &[usize], seed: u64) -> Input {
    let count: usize = shape.iter().product();
    let classes = shape.get(1).copied().unwrap_or(1).max(1);
    let logits = numbers(count, seed).map(|u| 6.0 * u - 3.0).collect();
    let labels = numbers(count / classes, seed + 1).map(|u| (u * classes.max(2) as f64) as i64).collect();
    Input { shape: shape.to_vec(), logits, target: Target::Labels(labels), ..Input::default() }
}
