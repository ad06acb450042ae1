//! Numbers as text.

/// A number as the shortest text that reads back to the same bits.
pub(crate) fn number(value: f64) -> String {
    let text = format!("{value:?}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}
