//! Expressions over region statistics, typed by the axes they vary over.
//!
//! An [`Expr`] is a shared, immutable tree of [`Op`]s over [`Leaf`]s. Its type parameter says over
//! which axes it varies: [`Regions`] `[N, K]`, [`Samples`] `[N, 1]`, [`Classes`] `[1, K]` or
//! [`Scalar`]; [`Pixel`] expressions are functions of one pixel's log-probability. A smaller shape
//! broadcasts into a larger one; adding a per-class to a per-sample expression does not compile,
//! because it is hardly ever meant.

mod algebra;
mod axes;
mod build;
mod display;
mod expression;
mod leaf;
mod node;
mod op;
mod pixel;
mod step;
mod table;
mod tape;

pub use algebra::{Algebra, HostAlgebra};
pub use axes::{Axes, Broadcast, Classes, Extent, Pixel, Regions, Samples, Scalar};
pub use expression::Expr;
pub(crate) use expression::TINY;
pub use leaf::Leaf;
pub use op::Op;
pub use pixel::{PixelFunction, PixelStep};
pub(crate) use step::Index;
pub use table::Table;
pub(crate) use tape::Tape;
