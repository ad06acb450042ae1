//! The names a text can use.

use super::Value;
use super::describe::{Describe, OptionDoc, has_key, key, list, read};
use super::near::{self, Meant};
use crate::term::Term;
use crate::{LossError, matching, overlap, penalty, unsplit};

/// A term, for people.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TermDoc {
    /// Name in texts.
    pub name: &'static str,
    /// `matching`, `size`, `overlap` or `unsplit`.
    pub role: crate::Role,
    /// What it does.
    pub summary: &'static str,
    /// Its formula.
    pub formula: &'static str,
    /// Its options.
    pub options: Vec<OptionDoc>,
}

type Reader = Box<dyn Fn(Vec<(String, Value)>) -> Result<Term, LossError> + Send + Sync>;

/// The terms that a text can name: the built-in ones, and a user's own.
///
/// ```
/// use loss_core::{Loss, spec::Vocabulary};
/// let loss = Loss::parse("ce + 0.5 * l1(temperature=10)", &Vocabulary::default())?;
/// assert_eq!(loss.to_string(), "ce + 0.5 * l1");   // 10 is the default
/// # Ok::<(), loss_core::LossError>(())
/// ```
pub struct Vocabulary(Vec<(String, Reader)>);

/// A function of the type of every built-in term, in the order in which they are listed.
macro_rules! of_every_term {
    ($function:ident) => {
        [
            $function::<matching::CrossEntropy>(),
            $function::<matching::Focal>(),
            $function::<matching::TopK>(),
            $function::<matching::LogRecall>(),
            $function::<penalty::L1>(),
            $function::<penalty::Kl>(),
            $function::<penalty::DiceBias>(),
            $function::<overlap::Dice>(),
            $function::<overlap::GeneralizedDice>(),
            $function::<overlap::Tversky>(),
            $function::<overlap::Jaccard>(),
            $function::<unsplit::Boundary>(),
        ]
    };
}

impl Default for Vocabulary {
    fn default() -> Self {
        fn word<T: Describe>() -> fn(&mut Vocabulary) {
            Vocabulary::add::<T>
        }
        let mut words = Self(Vec::new());
        of_every_term!(word).iter().for_each(|add| add(&mut words));
        words.add_as("cross_entropy", matching::CrossEntropy::default());
        words.add_as("dice_bias", penalty::DiceBias::default());
        words.add_as("log_dice", overlap::Dice::log());
        words.add_as("generalized_dice", overlap::GeneralizedDice::default());
        words
    }
}

/// What the built-in terms are, with formulas, options and defaults.
#[must_use]
pub fn catalogue() -> Vec<TermDoc> {
    fn doc<T: Describe>() -> TermDoc {
        let role = T::default().into_term().role();
        TermDoc { name: T::NAME, role, summary: T::SUMMARY, formula: T::FORMULA, options: list(T::default()) }
    }
    of_every_term!(doc).into()
}

impl Vocabulary {
    /// Adds a term under its own name.
    pub fn add<T: Describe>(&mut self) {
        self.add_as(T::NAME, T::default());
    }

    /// Adds a term under another name, with other defaults.
    pub fn add_as<T: Describe>(&mut self, name: &str, defaults: T) {
        self.0.push((name.to_owned(), Box::new(move |given| read(defaults.clone(), given))));
    }

    pub(crate) fn term(&self, name: &str, options: Vec<(String, Value)>) -> Result<Term, LossError> {
        let key = key(name);
        match self.0.iter().rev().find(|(known, _)| has_key(known, &key)) {
            Some((_, reader)) => reader(options),
            None => {
                let known: Vec<&str> = self.0.iter().map(|(known, _)| known.as_str()).collect();
                let Meant { nearest, instead } = near::term(name, &known);
                let known = known.into_iter().map(str::to_owned).collect();
                Err(LossError::UnknownTerm { name: name.to_owned(), nearest, instead, known })
            }
        }
    }
}
