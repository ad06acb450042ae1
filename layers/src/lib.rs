//! The layers that take the time of a small network on the CPU, with their gradients:
//! [`Convolution`], [`Pointwise`] and [`Normalisation`]. Numbers are `f32`, row-major,
//! `[N, C, D, H, W]`; a picture has one slice.
//!
//! `segloss train` puts them in the place of Burn's on the CPU, where they take a fraction of the
//! time (docs/training.md). Results do not depend on the number of threads.

mod convolution;
mod normalisation;
mod planes;
mod pointwise;

pub use convolution::Convolution;
pub use normalisation::Normalisation;
pub use pointwise::Pointwise;

/// Numbers that do not fit the layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {found} numbers, where the layer has {expected}")]
pub struct LengthError {
    /// Which of the arguments.
    pub what: &'static str,
    /// Its length.
    pub found: usize,
    /// What it should be.
    pub expected: usize,
}

pub(crate) fn check(what: &'static str, found: &[f32], expected: usize) -> Result<(), LengthError> {
    if found.len() == expected { Ok(()) } else { Err(LengthError { what, found: found.len(), expected }) }
}
