//! Scores of overlap: matching and size in one. One term a file; what they share is in `ratio`.

mod dice;
mod generalized_dice;
mod jaccard;
pub(crate) mod ratio;
mod tversky;

pub use dice::Dice;
pub use generalized_dice::{GeneralizedDice, RegionWeight};
pub use jaccard::Jaccard;
pub use tversky::Tversky;
