//! Losses as text: every term's name and options, listed once and used for reading, writing and documentation.

mod grammar;
mod value;
mod vocabulary;

pub(crate) use grammar::parse;
pub(crate) use value::words;
pub use value::{OptionValue, Value};
pub use vocabulary::{Describe, OptionDoc, TermDoc, Visitor, Vocabulary, catalogue, text_of};

/// The fourteen configurations of the authors' experiments: name and text. The names are texts themselves: `"CE+LogDice"` reads
/// as `ce + log_dice`.
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

/// A number as the shortest text that reads back to the same bits.
pub(crate) fn number(value: f64) -> String {
    let text = format!("{value:?}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// `crate::path::SizeCap` as `size_cap`.
pub(crate) fn type_name<T: ?Sized>() -> String {
    let path = std::any::type_name::<T>();
    let path = path.split('<').next().unwrap_or(path);
    let name = path.rsplit("::").next().unwrap_or(path);
    let mut out = String::new();
    for (i, c) in name.char_indices() {
        if c.is_uppercase() && i > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}
