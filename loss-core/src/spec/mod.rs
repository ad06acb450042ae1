//! Losses as text: every term's name and options, listed once and used for reading, writing and
//! documentation.

pub(crate) mod describe;
mod grammar;
mod near;
mod text;
pub(crate) mod value;
mod vocabulary;
mod words;

pub use describe::{Describe, OptionDoc, Visitor, options_fit, text_of};
pub use value::{Misfit, OptionValue, Value};
pub use vocabulary::{TermDoc, Vocabulary, catalogue};
pub use words::{Word, WordsFor, words};

/// The fourteen configurations of the authors' experiments: name and text. The names are texts
/// themselves: `"CE+LogDice"` reads as `ce + log_dice`.
pub const PRESETS: [(&str, &str); 14] = [
    ("CE", "ce"),
    ("CE+L1", "ce + l1"),
    ("CE+KL", "ce + kl"),
    ("CE+DB", "ce + db"),
    ("CE+Dice", "ce + dice"),
    ("CE+LogDice", "ce + dice(form=log)"),
    ("Focal", "focal"),
    ("Focal+L1", "focal + l1"),
    ("Focal+KL", "focal + kl"),
    ("Focal+Dice", "focal + dice"),
    ("Focal+LogDice", "focal + dice(form=log)"),
    ("Dice", "dice"),
    ("LogDice", "dice(form=log)"),
    ("GDice", "gdice"),
];
