//! The names a text can use.

use super::{OptionValue, Value};
use crate::compose::Term;
use crate::options::out_of_range;
use crate::{LossError, matching, overlap, penalty};

/// A term with a name and options: what makes it readable from text, printable, and listed.
///
/// [`Describe::visit`] names every option once; reading, writing and documentation all go through it. The term itself has
/// [`text_of`] for its `text` and [`Describe::NAME`] for its `name`: without, a loss does not print its options.
pub trait Describe: Clone + Default + Send + Sync + 'static {
    /// Name in texts and reports.
    const NAME: &'static str;
    /// One line on what it does.
    const SUMMARY: &'static str;
    /// Its formula in plain text.
    const FORMULA: &'static str;

    /// Hands each option to the visitor: name, meaning, place.
    ///
    /// # Errors
    /// What the visitor reports.
    fn visit(&mut self, visitor: &mut Visitor<'_>) -> Result<(), LossError>;

    /// Refuses options outside their ranges.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`].
    fn check(&self) -> Result<(), LossError>;

    /// The term, in its role.
    fn into_term(self) -> Term;
}

/// Walks over the options of a term, to read or to list them.
pub struct Visitor<'a>(Mode<'a>);

enum Mode<'a> {
    List(Vec<OptionDoc>),
    Read { term: &'static str, given: &'a mut Vec<(String, Value)>, known: Vec<&'static str> },
}

impl Visitor<'_> {
    /// One option: its name, its meaning, and where its value is.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`] where the text gives something else than the option can be.
    pub fn option<T: OptionValue>(&mut self, name: &'static str, doc: &'static str, slot: &mut T) -> Result<(), LossError> {
        match &mut self.0 {
            Mode::List(list) => {
                list.push(OptionDoc { name, default: slot.write().to_string(), expected: T::EXPECTED, doc });
            }
            Mode::Read { term, given, known } => {
                known.push(name);
                if let Some(at) = given.iter().position(|(given, _)| given == name) {
                    let (_, value) = given.swap_remove(at);
                    *slot = T::read(&value).ok_or_else(|| out_of_range(term, name, value.to_string(), T::EXPECTED))?;
                }
            }
        }
        Ok(())
    }
}

/// An option, for people.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct OptionDoc {
    /// Name in texts.
    pub name: &'static str,
    /// Value it has unless given.
    pub default: String,
    /// Values it can have, in words.
    pub expected: &'static str,
    /// What it does.
    pub doc: &'static str,
}

/// A term, for people.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TermDoc {
    /// Name in texts.
    pub name: &'static str,
    /// `matching`, `size` or `overlap`.
    pub role: crate::Role,
    /// What it does.
    pub summary: &'static str,
    /// Its formula.
    pub formula: &'static str,
    /// Its options.
    pub options: Vec<OptionDoc>,
}

fn list<T: Describe>(mut term: T) -> Vec<OptionDoc> {
    let mut visitor = Visitor(Mode::List(Vec::new()));
    // Listing cannot fail: only reading reports errors.
    let _ = term.visit(&mut visitor);
    if let Mode::List(list) = visitor.0 { list } else { Vec::new() }
}

/// The text of a term: its name, and the options that differ from their defaults. What a term of one's own returns as its `text`, so that
/// it is printed as it is read.
#[must_use]
pub fn text_of<T: Describe>(term: &T) -> String {
    let defaults = list(T::default());
    let options: Vec<_> = list(term.clone())
        .into_iter()
        .zip(defaults)
        .filter(|(option, default)| option.default != default.default)
        .map(|(option, _)| format!("{}={}", option.name, option.default))
        .collect();
    if options.is_empty() { T::NAME.to_owned() } else { format!("{}({})", T::NAME, options.join(", ")) }
}

fn read<T: Describe>(mut term: T, mut given: Vec<(String, Value)>) -> Result<Term, LossError> {
    let mut visitor = Visitor(Mode::Read { term: T::NAME, given: &mut given, known: Vec::new() });
    term.visit(&mut visitor)?;
    let Mode::Read { known, .. } = visitor.0 else { return Ok(term.into_term()) };
    if let Some((option, _)) = given.first() {
        return Err(unknown_option(T::NAME, option, &known));
    }
    term.check()?;
    Ok(term.into_term())
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
            $function::<matching::LogRecall>(),
            $function::<penalty::L1>(),
            $function::<penalty::Kl>(),
            $function::<penalty::DiceBias>(),
            $function::<overlap::Dice>(),
            $function::<overlap::GeneralizedDice>(),
            $function::<overlap::Tversky>(),
            $function::<overlap::Jaccard>(),
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
        match self.0.iter().rev().find(|(known, _)| self::key(known) == key) {
            Some((_, reader)) => reader(options),
            None => {
                let nearest = nearest(name, self.0.iter().map(|(known, _)| known.as_str()));
                let known = self.0.iter().map(|(known, _)| known.clone()).collect();
                Err(LossError::UnknownTerm { name: name.to_owned(), nearest, known })
            }
        }
    }
}

/// Names are the same in any case and with or without underscores: `LogDice` is `log_dice`.
fn key(name: &str) -> String {
    name.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
}

pub(super) fn unknown_option(term: &str, option: &str, known: &[&str]) -> LossError {
    let nearest = nearest(option, known.iter().copied());
    let known = known.iter().map(|&name| name.to_owned()).collect();
    LossError::UnknownOption { term: term.to_owned(), option: option.to_owned(), nearest, known }
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let name = key(name);
    let name = name.strip_suffix("loss").filter(|name| !name.is_empty()).unwrap_or(&name);
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, &key(candidate)), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .map(|(_, candidate)| candidate.to_owned())
}
