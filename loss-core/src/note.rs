//! What somebody who reads a result should know beside its numbers.

use std::fmt::{Display, Formatter};

use serde::Serialize;
use serde::ser::Serializer;

use crate::{Activation, Argument};

/// Something that the numbers of a loss do not show: pixels that did not count, an option without
/// effect, a gradient that is lost. It is told in one sentence by `Display`.
///
/// With serde it is a map of its `kind`, its numbers and its sentence, `text`.
///
/// ```
/// use loss_core::{Activation, Note};
/// let note = Note::AbsentClasses { classes: vec![1, 3], activation: Activation::Softmax };
/// assert_eq!(note.to_string(), "classes 1 and 3 have no true pixel");
/// let json = serde_json::json!({
///     "kind": "absent_classes", "classes": [1, 3], "activation": "softmax",
///     "text": "classes 1 and 3 have no true pixel",
/// });
/// assert_eq!(serde_json::to_value(&note)?, json);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(remote = "Self", tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Note {
    /// Pixels that do not count: their label is ignored, or their weight is 0.
    IgnoredPixels {
        /// How many.
        ignored: usize,
        /// Of how many, in all samples.
        pixels: usize,
    },
    /// Classes that no pixel that counts is of; channels, under sigmoid.
    AbsentClasses {
        /// Their indices.
        classes: Vec<usize>,
        /// The loss's activation.
        activation: Activation,
    },
    /// Labels to ignore, where the target has no labels.
    IgnoreOnSoftTargets {
        /// The labels.
        labels: Vec<i64>,
    },
    /// Something given with the target that no term of the loss reads.
    Unread {
        /// What it is: a map, spacings or a prior.
        what: Argument,
        /// Name of the map.
        name: Option<String>,
    },
    /// Options of a term that change nothing under its activation and number of classes.
    IdleOptions {
        /// Name of the term.
        term: String,
        /// Its options.
        options: Vec<String>,
    },
    /// A term that makes probabilities of the logits in another way than the loss.
    OtherActivation {
        /// Name of the term.
        term: String,
        /// What the term uses.
        activation: Activation,
        /// What the loss uses.
        loss: Activation,
    },
    /// Gradients that become 0 in half precision.
    ///
    /// The gradient of a mean over M pixels is `(p − y)/M` for each of them, and f16 rounds what
    /// is at most 2⁻²⁵ to 0. A pixel whose error |p − y| is at most `2⁻²⁵·M` is then
    /// lost. For any term `1/M` is replaced by the largest gradient that its derivatives allow (at
    /// a pixel of average weight). It is told from an error of 1/32 on. The factor is the least
    /// power of two with which the largest gradient is at least 2⁻⁸: errors down to 2⁻¹⁷
    /// then have a gradient, and those above 2⁻⁶ keep all its digits.
    VanishingGradients {
        /// The terms that it happens to.
        terms: Vec<String>,
        /// Bound of the gradient of one logit, the smallest among these terms.
        largest: f64,
        /// Pixels with an error |p − y| of at most this have a gradient of 0, at least.
        error: f64,
        /// What mends it: multiply the total by it, and divide the gradients of the parameters.
        factor: f64,
    },
}

impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Told<'a> {
            #[serde(flatten, serialize_with = "fields")]
            note: &'a Note,
            text: String,
        }
        fn fields<S: Serializer>(note: &&Note, serializer: S) -> Result<S::Ok, S::Error> {
            Note::serialize(note, serializer)
        }
        Told { note: self, text: self.to_string() }.serialize(serializer)
    }
}

impl Display for Note {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::IgnoredPixels { ignored, pixels } if ignored >= pixels => {
                write!(f, "no pixel counts: all {pixels} are ignored, so that every term and every gradient is 0")
            }
            Self::IgnoredPixels { ignored, pixels } => {
                let verb = if *ignored == 1 { "is" } else { "are" };
                write!(f, "{ignored} of {pixels} pixels ({}) {verb} ignored", percent(*ignored as f64 / *pixels as f64))
            }
            Self::AbsentClasses { classes, activation } => {
                let [one, more] = match activation {
                    Activation::Softmax => ["class", "classes"],
                    Activation::Sigmoid => ["channel", "channels"],
                };
                let (noun, verb) = if classes.len() == 1 { (one, "has") } else { (more, "have") };
                write!(f, "{noun} {} {verb} no true pixel", list(classes))
            }
            Self::IgnoreOnSoftTargets { labels } => {
                let (noun, verb) = if labels.len() == 1 { ("label", "has") } else { ("labels", "have") };
                write!(
                    f,
                    "the {noun} to ignore, {}, {verb} no effect: soft targets have no labels; give pixels that are not to count \
                     the weight 0",
                    list(labels)
                )
            }
            Self::Unread { what: Argument::Map, name } => {
                write!(f, "the map `{}` has no effect: no term reads it", name.as_deref().unwrap_or_default())
            }
            Self::Unread { what: Argument::Spacing, .. } => {
                f.write_str("the spacing has no effect: no term measures distances")
            }
            Self::Unread { what: Argument::Prior, .. } => {
                f.write_str("the prior given with the target has no effect: no term has target=given")
            }
            Self::Unread { what, .. } => write!(f, "{what} have no effect: no term reads them"),
            Self::IdleOptions { term, options } => {
                let verb = if options.len() == 1 { "has" } else { "have" };
                write!(f, "{term}: {} {verb} no effect here", list(options))
            }
            Self::OtherActivation { term, activation, loss } => {
                let how = match activation {
                    Activation::Softmax => "softmax over the classes",
                    Activation::Sigmoid => "sigmoid, each class against all others",
                };
                write!(f, "{term} uses {how}, while the activation of the loss is {loss}")?;
                if has_activation(term) { write!(f, "; {term}(activation=model) follows the loss") } else { Ok(()) }
            }
            Self::VanishingGradients { terms, largest, error, factor } => write!(
                f,
                "gradients of {} vanish in f16: they are at most {largest:.1e}, and 0 at pixels whose probability is off by {} \
                 or less; multiply the total by {factor} and divide the gradients of the parameters by it",
                list(terms),
                percent(error.min(1.0)),
            ),
        }
    }
}

/// Whether text can set the term's activation.
fn has_activation(term: &str) -> bool {
    let known = crate::catalogue().into_iter().find(|doc| doc.name == term);
    known.is_some_and(|doc| doc.options.iter().any(|option| option.name == "activation"))
}

/// Things one after the other, as a sentence has them.
fn list<T: Display>(things: &[T]) -> String {
    let mut text = String::new();
    for (i, thing) in things.iter().enumerate() {
        let between = match i {
            0 => "",
            _ if i + 1 == things.len() => " and ",
            _ => ", ",
        };
        text.push_str(between);
        text.push_str(&thing.to_string());
    }
    text
}

/// A share with two digits, and never one that is rounded to none or to all.
fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        p if p > 0.0 && p < 0.01 => "less than 0.01 %".to_owned(),
        p if p < 100.0 && p > 99.99 => "more than 99.99 %".to_owned(),
        p if p >= 10.0 => format!("{} %", trimmed(format!("{p:.1}"))),
        p => format!("{} %", trimmed(format!("{p:.2}"))),
    }
}

fn trimmed(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_not_rounded_to_nothing_or_to_all() {
        let shares = [0.0, 0.00001, 0.0005, 0.0333, 0.25, 0.5, 0.99999, 1.0].map(percent);
        assert_eq!(shares, ["0 %", "less than 0.01 %", "0.05 %", "3.33 %", "25 %", "50 %", "more than 99.99 %", "100 %"]);
    }
}
