//! Which losses would make a region smaller or larger than it is.

use segloss::Preference;

use super::measure::Bias;
use super::text::{percent, times};

/// Sizes this near to the true one count as right.
const RIGHT: f64 = 0.02;

/// What losses want of one class, by decided pixels.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Verdict<'a> {
    /// Losses that prefer fewer pixels than there are, and how many, the fewest first.
    pub(super) smaller: Vec<(f64, &'a str)>,
    /// Losses that prefer more, the most first.
    pub(super) larger: Vec<(f64, &'a str)>,
    /// Losses that prefer the true size, nearly.
    pub(super) right: Vec<&'a str>,
    /// What the others would do.
    pub(super) others: Vec<String>,
}

impl<'a> Verdict<'a> {
    /// On the class at a place of the list.
    pub(super) fn of(bias: &'a Bias, i: usize) -> Self {
        let mut verdict = Self::default();
        for loss in &bias.losses {
            let Some(wish) = loss.classes.get(i) else { continue };
            let name = loss.loss.as_str();
            match (&wish.preference, wish.decided_ratio) {
                (Preference::Size(_), Some(ratio)) if ratio < 1.0 - RIGHT => verdict.smaller.push((ratio, name)),
                (Preference::Size(_), Some(ratio)) if ratio > 1.0 + RIGHT => verdict.larger.push((ratio, name)),
                (Preference::Size(_), Some(_)) => verdict.right.push(name),
                (Preference::Size(size), None) => {
                    let share = percent(size.at.decided);
                    verdict.others.push(format!("{name} would give {share} of the pixels to it"));
                }
                (Preference::Nothing, _) => verdict.others.push(format!("{name} would make it vanish")),
                (Preference::Everything, _) => verdict.others.push(format!("{name} would give it every pixel")),
                (Preference::Extremes, _) => {
                    verdict.others.push(format!("{name} would make it vanish or give it every pixel"));
                }
                (Preference::Indifferent, _) => verdict.others.push(format!("{name} does not look at its size")),
            }
        }
        verdict.smaller.sort_by(|a, b| a.0.total_cmp(&b.0));
        verdict.larger.sort_by(|a, b| b.0.total_cmp(&a.0));
        verdict
    }

    /// How sizes are called that count as true.
    pub(super) fn right_within() -> String {
        format!("of its true size, within {:.0} %", 100.0 * RIGHT)
    }
}

/// A multiple as a change.
pub(super) fn change(ratio: f64) -> String {
    let change = 100.0 * (ratio - 1.0);
    if ratio >= 3.0 { times(ratio) } else { format!("{change:+.0} %") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_and_multiples() {
        assert_eq!([0.51, 1.26, 3.0, 250.0].map(change), ["-49 %", "+26 %", "3.00 x", "250 x"]);
    }
}
