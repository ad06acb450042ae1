//! A loss as text: read, printed, compared and kept.

use std::fmt::{Debug, Display, Formatter};
use std::str::FromStr;

use super::Vocabulary;
use crate::number::number;
use crate::term::WeightedTerm;
use crate::{Loss, LossError, Schedule};

impl Loss {
    /// Reads a loss from text, with terms of the caller's own beside the built-in ones.
    /// `text.parse()` knows the built-in ones.
    ///
    /// ```text
    /// loss     = sum [ "with" setting { "," setting } ]
    /// sum      = product { ("+" | "-") product }
    /// product  = [ "-" ] factor { "*" factor }      one factor is a loss, the others are weights
    /// factor   = number | grow | "(" sum ")" | name [ "(" [ option { "," option } ] ")" ]
    /// grow     = "grow" "(" number { "," ( "factor" | "every" | "cap" ) "=" number } ")"
    /// option   = name "=" ( number | name | list )
    /// setting  = "activation" "=" name | "ignore" "=" ( number | list ) | "epoch" "=" number
    /// list     = "[" [ number { "," number } ] "]"
    /// number   = [ "-" ] digits with "." and an exponent, as in 0.5 or 1e-3
    /// ```
    ///
    /// - `grow(a)` is a [`Schedule::grow`] from a on; what is left out is `factor=1, every=1,
    ///   cap=100`. A product has one of them at most.
    /// - An option, and what `grow` and `with` take, is given once.
    /// - `with` sets how logits and labels are read, once for the whole loss:
    ///   `ce + dice with activation=sigmoid, ignore=[254, 255]`. Its `epoch` is that of
    ///   [`Loss::at_epoch`], 0 unless given, so that a loss comes back in the epoch it was kept in.
    /// - Names of terms are the same in any case and with or without underscores: `LogDice` is
    ///   `log_dice`. Longer names are `cross_entropy` (`ce`), `dice_bias` (`db`),
    ///   `generalized_dice` (`gdice`) and `log_dice` (`dice(form=log)`). Names of options, and
    ///   words that they are set to, are lower case.
    /// - A term of the caller's own must not be called `grow` or `with`, which are read first. One
    ///   with the name of a built-in term takes its place.
    /// - [`catalogue`](crate::catalogue) lists the terms, their options, and what these can be.
    ///
    /// ```
    /// use loss_core::Loss;
    /// let loss: Loss = "ce + grow(1, factor=5, every=10) * l1 with ignore=255".parse()?;
    /// let text = "ce + grow(1, factor=5, every=10, cap=100) * l1 with ignore=255";
    /// assert_eq!(loss.to_string(), text);
    /// # Ok::<(), loss_core::LossError>(())
    /// ```
    ///
    /// # Errors
    /// [`LossError::Syntax`]; [`LossError::InText`], with the column, around
    /// [`LossError::UnknownTerm`] and [`LossError::UnknownOption`] (with the nearest name, or what
    /// to write for a [word](crate::spec::words) of other libraries) and
    /// [`LossError::OptionOutOfRange`]; what [`Loss::scheduled`] refuses.
    pub fn parse(text: &str, vocabulary: &Vocabulary) -> Result<Self, LossError> {
        super::grammar::parse(text, vocabulary)
    }
}

impl Display for Loss {
    /// Text that reads back as an equal loss, as far as its terms have one.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        for (i, WeightedTerm { schedule, term }) in self.terms.iter().enumerate() {
            let (sign, schedule) = match *schedule {
                Schedule::Constant(w) if w.is_sign_negative() && i > 0 => ("-", Schedule::Constant(-w)),
                other => ("+", other),
            };
            if i > 0 {
                write!(f, " {sign} ")?;
            }
            if schedule != Schedule::Constant(1.0) {
                write!(f, "{schedule} * ")?;
            }
            f.write_str(&term.text().unwrap_or_else(|| term.name()))?;
        }
        let mut settings = Vec::new();
        if let Some(activation) = self.activation {
            settings.push(format!("activation={activation}"));
        }
        match self.ignore.as_slice() {
            [] => {}
            [label] => settings.push(format!("ignore={label}")),
            labels => settings.push(format!("ignore={labels:?}")),
        }
        if self.epoch > 0 {
            settings.push(format!("epoch={}", self.epoch));
        }
        if settings.is_empty() { Ok(()) } else { write!(f, " with {}", settings.join(", ")) }
    }
}

impl Debug for Loss {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "Loss({self}")?;
        if self.epoch > 0 {
            write!(f, "; weights {:?}", self.weights().into_iter().map(number).collect::<Vec<_>>())?;
        }
        f.write_str(")")
    }
}

impl PartialEq for Loss {
    /// Equal text, which the epoch is part of. Terms that have no text of their own are equal only
    /// to their clones.
    fn eq(&self, other: &Self) -> bool {
        let mut terms = self.terms.iter().zip(other.terms.iter());
        self.to_string() == other.to_string() && terms.all(|(a, b)| a.term.is(&b.term))
    }
}

impl FromStr for Loss {
    type Err = LossError;
    /// [`Loss::parse`] with the built-in terms; its documentation has the grammar.
    fn from_str(text: &str) -> Result<Self, LossError> {
        Self::parse(text, &Vocabulary::default())
    }
}

impl serde::Serialize for Loss {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Loss {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
