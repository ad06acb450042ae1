//! What the losses cost, measured.
//!
//! - `cargo bench -p benchmarks`: criterion on this code alone ([`cases`] has the shapes).
//! - `cargo xtask bench`: side by side with PyTorch and MONAI, in one run; memory; growth; instruction counts. `--help` says more.
//!
//! The comparison keeps each engine in a process of its own, asks one at a time, in turn, and makes tables of medians of the ratios.

pub mod cases;
mod child;
mod cli;
mod docs;
mod driver;
mod floor;
mod instructions;
mod machine;
mod memory;
mod plan;
mod plot;
mod protocol;
mod python;
mod results;
mod session;
pub mod slot;
mod summary;
mod tables;

pub use cli::main;
pub use memory::Counting;
