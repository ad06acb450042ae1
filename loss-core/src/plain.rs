//! Text from outside, fit to be shown.

/// Text with its control characters escaped, as file names, headers and losses from outside are
/// shown: on one line, and without a command to the terminal.
///
/// Escaped are control characters, line and paragraph separators, and what turns the direction of
/// writing.
///
/// ```
/// use loss_core::plain;
/// assert_eq!(plain("ce\n+ \u{1b}[31mdice"), r"ce\n+ \u{1b}[31mdice");
/// assert_eq!(plain("Größe × 2"), "Größe × 2");
/// ```
#[must_use]
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if letter.is_control() || turns || matches!(letter, '\u{2028}' | '\u{2029}') {
            plain.extend(letter.escape_default());
        } else {
            plain.push(letter);
        }
    }
    plain
}
