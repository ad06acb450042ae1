//! The grids that images lie on, and how to bring them to a common one and back.

mod grid;
mod resample;

pub use self::grid::{Common, Grid};
pub use self::resample::{nearest, resize};
