//! What was measured, for a reader.

use segloss::Preference;

use super::measure::{Bias, Class, OfLoss, Wish};
use crate::table::{Table, decimal};

/// Sizes this near to the true one count as right.
const RIGHT: f64 = 0.02;

/// Pressures this near to 0 are what rounding leaves.
const ROUNDING: f64 = 1e-12;

pub(super) fn text(logits: &str, target: &str, bias: &Bias) -> String {
    let index = if bias.activation == "sigmoid" { "channel" } else { "class" };
    let mut lines = vec![format!("logits    {logits}"), format!("target    {target}")];
    lines.push(format!("computed  by ndarray in f64, {}\n", bias.activation));

    let mut sizes = Table::new([index, "true size", "predicted", "", "decided", ""]);
    for class in &bias.classes {
        sizes.row([
            class.class.to_string(),
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
        table.row([
            loss.loss.clone(),
            wish.class.to_string(),
            probability,
            decisions,
            decimal(wish.pressure),
            verb(wish).into(),
        ]);
    }
    lines.push(format!("{table}\n"));
    for (i, class) in bias.classes.iter().enumerate() {
        lines.push(sentence(bias, i, class, index));
    }
    lines.push(MEANING.into());
    lines.join("\n")
}

const MEANING: &str = "\
A preferred size is where a loss is least if one number is added to all logits of a class and nothing
else changes: which way, and how far, it pulls the size of these predictions. It is not the size that a
training ends at, where every pixel changes by itself, and it is another one on other logits.";

fn wishes(bias: &Bias) -> impl Iterator<Item = (&OfLoss, &Wish, &Class)> {
    bias.losses
        .iter()
        .flat_map(move |loss| loss.classes.iter().zip(&bias.classes).map(move |(wish, class)| (loss, wish, class)))
}

fn percent(share: f64) -> String {
    // Few pixels of many must not look like none.
    if share > 0.0 && share < 5e-6 { format!("{:.1e} %", 100.0 * share) } else { format!("{:.3} %", 100.0 * share) }
}

fn ratio(class: &Class, size: f64) -> String {
    if class.target > 0.0 { times(size / class.target) } else { String::new() }
}

fn times(ratio: f64) -> String {
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

/// Which losses would make the region smaller or larger than it is, by decided pixels.
fn sentence(bias: &Bias, i: usize, class: &Class, index: &str) -> String {
    let (mut smaller, mut larger) = (Vec::new(), Vec::new());
    let (mut right, mut others) = (Vec::new(), Vec::new());
    for loss in &bias.losses {
        let Some(wish) = loss.classes.get(i) else { continue };
        let name = &loss.loss;
        match (&wish.preference, wish.decided_ratio) {
            (Preference::Size(_), Some(ratio)) if ratio < 1.0 - RIGHT => smaller.push((ratio, name)),
            (Preference::Size(_), Some(ratio)) if ratio > 1.0 + RIGHT => larger.push((ratio, name)),
            (Preference::Size(_), Some(_)) => right.push(name.clone()),
            (Preference::Size(size), None) => {
                others.push(format!("{name} would give {} of the pixels to it", percent(size.at.decided)));
            }
            (Preference::Nothing, _) => others.push(format!("{name} would make it vanish")),
            (Preference::Everything, _) => others.push(format!("{name} would give it every pixel")),
            (Preference::Extremes, _) => others.push(format!("{name} would make it vanish or give it every pixel")),
            (Preference::Indifferent, _) => others.push(format!("{name} does not look at its size")),
        }
    }
    smaller.sort_by(|a, b| a.0.total_cmp(&b.0));
    larger.sort_by(|a, b| b.0.total_cmp(&a.0));
    let list = |all: &[(f64, &String)], way: &str| {
        let of = |(ratio, name): &(f64, &String)| format!("{name} ({})", share(*ratio));
        (!all.is_empty()).then(|| format!("{way} than it is with {}", all.iter().map(of).collect::<Vec<_>>().join(", ")))
    };
    let right =
        (!right.is_empty()).then(|| format!("of its true size, within {:.0} %, with {}", 100.0 * RIGHT, right.join(", ")));
    let parts: Vec<String> = [list(&smaller, "smaller"), list(&larger, "larger"), right].into_iter().flatten().collect();
    let mut sentences = Vec::new();
    if class.target == 0.0 {
        sentences.push(format!("There is no true pixel of {index} {}.", class.class));
    }
    if !parts.is_empty() {
        sentences.push(format!(
            "On these logits, if nothing but its size could change, the region of {index} {} would come out {}.",
            class.class,
            parts.join("; ")
        ));
    }
    if !others.is_empty() {
        sentences.push(format!("Of {index} {}: {}.", class.class, others.join("; ")));
    }
    sentences.iter().map(|sentence| wrapped(sentence)).collect()
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

/// A multiple as a change.
fn share(ratio: f64) -> String {
    let change = 100.0 * (ratio - 1.0);
    if ratio >= 3.0 { times(ratio) } else { format!("{change:+.0} %") }
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

    #[test]
    fn changes_and_multiples() {
        assert_eq!([0.51, 1.26, 3.0, 250.0].map(share), ["-49 %", "+26 %", "3.00 x", "250 x"]);
    }
}
