//! Every identity and bound of the theory, and the symmetries of a loss, as properties of random
//! scenes.
//!
//! The left sides are what `backend-ndarray` reports in `f64`; the right sides are written out here
//! from sums of the oracle.

mod bounds;
mod identities;
mod pressure;
mod scene;
mod symmetries;
mod text;
