//! Terms that describe themselves: a name, and options that are listed once.

use super::value::{OptionValue, Value};
use crate::LossError;
use crate::options::out_of_range;
use crate::term::Term;

/// A term with a name and options: what makes it readable from text, printable, and listed.
///
/// [`Describe::visit`] names every option once; reading, writing and documentation all go through
/// it. The term itself has [`text_of`] for its `text` and [`Describe::NAME`] for its `name`:
/// without, a loss does not print its options.
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

pub(super) fn list<T: Describe>(mut term: T) -> Vec<OptionDoc> {
    let mut visitor = Visitor(Mode::List(Vec::new()));
    // Listing cannot fail: only reading reports errors.
    let _ = term.visit(&mut visitor);
    if let Mode::List(list) = visitor.0 { list } else { Vec::new() }
}

/// The text of a term: its name, and the options that differ from their defaults. What a term of
/// one's own returns as its `text`, so that it is printed as it is read.
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

pub(super) fn read<T: Describe>(mut term: T, mut given: Vec<(String, Value)>) -> Result<Term, LossError> {
    let mut visitor = Visitor(Mode::Read { term: T::NAME, given: &mut given, known: Vec::new() });
    term.visit(&mut visitor)?;
    let Mode::Read { known, .. } = visitor.0 else { return Ok(term.into_term()) };
    if let Some((option, _)) = given.first() {
        return Err(unknown_option(T::NAME, option, &known));
    }
    term.check()?;
    Ok(term.into_term())
}

/// Names are the same in any case and with or without underscores: `LogDice` is `log_dice`.
pub(super) fn key(name: &str) -> String {
    name.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
}

pub(super) fn unknown_option(term: &str, option: &str, known: &[&str]) -> LossError {
    let nearest = nearest(option, known.iter().copied());
    let known = known.iter().map(|&name| name.to_owned()).collect();
    LossError::UnknownOption { term: term.to_owned(), option: option.to_owned(), nearest, known }
}

pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let name = key(name);
    let name = name.strip_suffix("loss").filter(|name| !name.is_empty()).unwrap_or(&name);
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, &key(candidate)), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .map(|(_, candidate)| candidate.to_owned())
}

/// Name and text of a term that describes itself, inside the implementation of its role.
macro_rules! described {
    () => {
        fn name(&self) -> String {
            <Self as $crate::spec::describe::Describe>::NAME.to_owned()
        }

        fn text(&self) -> Option<String> {
            Some($crate::spec::describe::text_of(self))
        }
    };
}
pub(crate) use described;
