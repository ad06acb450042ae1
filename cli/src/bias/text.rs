//! What was measured, for a reader.

use segloss::Preference;

use super::input::Source;
use super::measure::{Bias, Class, OfLoss, Wish};
use super::verdict::{Verdict, change};
use crate::table::{Table, decimal};

/// Pressures this near to 0 are what rounding leaves.
const ROUNDING: f64 = 1e-12;

pub(super) fn text(source: &Source, bias: &Bias) -> String {
    let index = index(bias);
    let mut lines: Vec<String> = source.facts.iter().map(|(name, fact)| format!("{name:<9} {fact}")).collect();
    lines.push(format!("computed  by ndarray in f64, {}", bias.activation));
    lines.extend(source.told.iter().map(|told| format!("note      {told}")));
    lines.push(String::new());

    let mut sizes = Table::new([index, "true size", "predicted", "", "decided", ""]);
    for class in &bias.classes {
        sizes.row([
            called(class),
            percent(class.target),
            percent(class.predicted),
            ratio(class, class.predicted),
            percent(class.decided),
            ratio(class, class.decided),
        ]);
    }
    lines.push(format!("{sizes}\n"));

    lines.push("Size that each loss prefers, in true sizes, and what it does now:\n".into());
    let mut table = Table::new(["loss", index, "probability", "decisions", "pressure", "so it"]).left(1);
    for (loss, wish, class) in wishes(bias) {
        let [probability, decisions] = preferred(wish, class);
        table.row([loss.loss.clone(), called(class), probability, decisions, decimal(wish.pressure), verb(wish).into()]);
    }
    lines.push(format!("{table}\n"));
    for (i, class) in bias.classes.iter().enumerate() {
        lines.push(sentence(bias, i, class, index));
    }
    lines.push(wrapped(MEANING));
    if !bias.notes.is_empty() {
        lines.push("notes".into());
        lines.extend(bias.notes.iter().map(|note| format!("  {note}")));
    }
    lines.join("\n").trim_end().to_owned()
}

/// What a preferred size is, and what it is not.
pub(super) const MEANING: &str = "A preferred size is where a loss is least if one number is added to all logits of a class \
                                  and nothing else changes: which way, and how far, it pulls the size of these predictions. \
                                  It is not the size that a training ends at, where every pixel changes by itself, and it is \
                                  another one on other logits.";

/// What one of the classes is called.
pub(super) fn index(bias: &Bias) -> &'static str {
    if bias.activation == "sigmoid" { "channel" } else { "class" }
}

pub(super) fn wishes(bias: &Bias) -> impl Iterator<Item = (&OfLoss, &Wish, &Class)> {
    bias.losses
        .iter()
        .flat_map(move |loss| loss.classes.iter().zip(&bias.classes).map(move |(wish, class)| (loss, wish, class)))
}

pub(super) fn percent(share: f64) -> String {
    // Few pixels of many must not look like none.
    if share > 0.0 && share < 5e-6 { format!("{:.1e} %", 100.0 * share) } else { format!("{:.3} %", 100.0 * share) }
}

pub(super) fn ratio(class: &Class, size: f64) -> String {
    if class.target > 0.0 { times(size / class.target) } else { String::new() }
}

pub(super) fn times(ratio: f64) -> String {
    if ratio < 99.5 { format!("{ratio:.2} x") } else { format!("{ratio:.0} x") }
}

/// As probability and as decisions: multiples of the true size, or proportions where there is none.
pub(crate) fn preferred(wish: &Wish, class: &Class) -> [String; 2] {
    match &wish.preference {
        Preference::Size(size) => [size.at.predicted, size.at.decided]
            .map(|size| if class.target > 0.0 { times(size / class.target) } else { percent(size) }),
        Preference::Nothing => ["nothing", "nothing"].map(String::from),
        Preference::Everything => ["everything", "everything"].map(String::from),
        Preference::Extremes => ["extremes", "extremes"].map(String::from),
        Preference::Indifferent => ["any", "any"].map(String::from),
    }
}

/// What a step of gradient descent does to the region.
pub(crate) fn verb(wish: &Wish) -> &'static str {
    match wish.pressure {
        _ if wish.preference == Preference::Indifferent => "leaves it",
        pressure if pressure > ROUNDING => "shrinks",
        pressure if pressure < -ROUNDING => "grows",
        _ => "leaves it",
    }
}

/// Which losses would make the region smaller or larger than it is.
fn sentence(bias: &Bias, i: usize, class: &Class, index: &str) -> String {
    let Verdict { smaller, larger, right, others } = Verdict::of(bias, i);
    let list = |all: &[(f64, &str)], way: &str| {
        let of = |(ratio, name): &(f64, &str)| format!("{name} ({})", change(*ratio));
        (!all.is_empty()).then(|| format!("{way} than it is with {}", all.iter().map(of).collect::<Vec<_>>().join(", ")))
    };
    let right = (!right.is_empty()).then(|| format!("{}, with {}", Verdict::right_within(), right.join(", ")));
    let parts: Vec<String> = [list(&smaller, "smaller"), list(&larger, "larger"), right].into_iter().flatten().collect();
    let name = called(class);
    let mut sentences = Vec::new();
    if class.target == 0.0 {
        sentences.push(format!("There is no true pixel of {index} {name}."));
    }
    if !parts.is_empty() {
        sentences.push(format!(
            "On these logits, if nothing but its size could change, the region of {index} {name} would come out {}.",
            parts.join("; ")
        ));
    }
    if !others.is_empty() {
        sentences.push(format!("Of {index} {name}: {}.", others.join("; ")));
    }
    sentences.iter().map(|sentence| wrapped(sentence)).collect()
}

/// A class by its index, and by its name where it has one.
pub(super) fn called(class: &Class) -> String {
    match &class.name {
        Some(name) => format!("{} ({name})", class.class),
        None => class.class.to_string(),
    }
}

/// Lines of at most 100 letters, broken between words, each with a line end.
fn wrapped(text: &str) -> String {
    let (mut lines, mut length) = (String::new(), 0);
    for word in text.split(' ') {
        let letters = word.chars().count();
        if length > 0 && length + 1 + letters > 100 {
            lines.push('\n');
            length = 0;
        } else if length > 0 {
            lines.push(' ');
            length += 1;
        }
        lines.push_str(word);
        length += letters;
    }
    lines + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sentences_take_several_lines() {
        let text = "word ".repeat(50);
        let lines = wrapped(text.trim_end());
        assert_eq!(lines.lines().map(str::len).collect::<Vec<_>>(), [99, 99, 49]);
        assert_eq!(lines.replace('\n', " "), text);
    }
}
