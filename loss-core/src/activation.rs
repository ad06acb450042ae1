//! How logits become probabilities, and of what.

use std::fmt::{Display, Formatter, Result};

/// How logits become probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// Over the class axis: the classes exclude each other. Needs K ≥ 2.
    #[default]
    Softmax,
    /// Each channel by itself: K two-class problems; binary segmentation is K = 1.
    Sigmoid,
}

impl Display for Activation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Softmax => "softmax",
            Self::Sigmoid => "sigmoid",
        })
    }
}

/// Which part of a two-class problem: only sigmoid channels have a background of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The class itself: p, y.
    Region,
    /// What is not the class: 1 − p, 1 − y (sigmoid).
    Background,
}
