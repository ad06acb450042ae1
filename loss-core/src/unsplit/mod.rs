//! Terms that have no exact split into matching and size. One term a file.

mod boundary;

pub use boundary::{Boundary, SignedDistances};
