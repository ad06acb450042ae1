//! Terms that describe themselves: a name, and options that are listed once.

use super::near::{self, Meant};
use super::value::{Misfit, OptionValue, Value};
use crate::expr::Tape;
use crate::options::out_of_range;
use crate::term::Term;
use crate::{AllRegions, LossError};

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

/// Walks over the options of a term: to read them, to list them, or to see whether they fit.
pub struct Visitor<'a>(Mode<'a>);

enum Mode<'a> {
    List(Vec<(OptionDoc, Value)>),
    Read { term: &'static str, given: &'a mut Vec<(String, Value)>, known: Vec<&'static str> },
    Fit { term: &'static str, classes: usize },
}

impl Visitor<'_> {
    /// One option: its name, its meaning, and where its value is.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`] where the text gives something else than the option can be;
    /// [`LossError::OptionCount`] and [`LossError::OptionClass`] where it does not fit the classes.
    pub fn option<T: OptionValue>(&mut self, name: &'static str, doc: &'static str, slot: &mut T) -> Result<(), LossError> {
        match &mut self.0 {
            Mode::List(list) => {
                let value = slot.write();
                list.push((OptionDoc { name, default: value.to_string(), expected: T::EXPECTED, doc }, value));
            }
            Mode::Read { term, given, known } => {
                known.push(name);
                if let Some(at) = given.iter().position(|(given, _)| given == name) {
                    let (_, value) = given.swap_remove(at);
                    *slot = T::read(&value).ok_or_else(|| out_of_range(term, name, value.to_string(), T::EXPECTED))?;
                }
            }
            Mode::Fit { term, classes } => {
                let (term, option, classes) = (*term, name, *classes);
                match slot.misfit(classes) {
                    None => {}
                    Some(Misfit::Count(got)) => return Err(LossError::OptionCount { term, option, got, classes }),
                    Some(Misfit::Class(class)) => return Err(LossError::OptionClass { term, option, class, classes }),
                }
            }
        }
        Ok(())
    }

    /// Refuses an option of the text beside any of some others, in the words of `expected`. Stands
    /// before those options.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`].
    pub fn alone(&self, name: &'static str, others: &[&str], expected: &'static str) -> Result<(), LossError> {
        let Mode::Read { term, given, .. } = &self.0 else { return Ok(()) };
        let find = |name: &str| given.iter().find(|(given, _)| given == name);
        match find(name) {
            Some((_, value)) if others.iter().any(|other| find(other).is_some()) => {
                Err(out_of_range(term, name, value.to_string(), expected))
            }
            _ => Ok(()),
        }
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

pub(super) fn list<T: Describe>(term: T) -> Vec<OptionDoc> {
    values(term).into_iter().map(|(doc, _)| doc).collect()
}

fn values<T: Describe>(mut term: T) -> Vec<(OptionDoc, Value)> {
    let mut visitor = Visitor(Mode::List(Vec::new()));
    // Listing cannot fail: only reading reports errors.
    let _ = term.visit(&mut visitor);
    if let Mode::List(list) = visitor.0 { list } else { Vec::new() }
}

/// The options that differ from their defaults, with their values and their defaults.
fn set<T: Describe>(term: &T) -> impl Iterator<Item = (&'static str, Value, Value)> + use<T> {
    let both = values(term.clone()).into_iter().zip(values(T::default()));
    both.map(|((doc, value), (_, default))| (doc.name, value, default)).filter(|(_, value, default)| value != default)
}

/// The text of a term: its name, and the options that differ from their defaults. What a term of
/// one's own returns as its `text`, so that it is printed as it is read.
#[must_use]
pub fn text_of<T: Describe>(term: &T) -> String {
    let options: Vec<_> = set(term).map(|(name, value, _)| format!("{name}={value}")).collect();
    if options.is_empty() { T::NAME.to_owned() } else { format!("{}({})", T::NAME, options.join(", ")) }
}

/// Refuses options that do not fit the number of classes: as many values as there are classes, and
/// indices of classes that exist. What a term of one's own returns as its `options_fit`.
///
/// # Errors
/// [`LossError::OptionCount`], [`LossError::OptionClass`].
pub fn options_fit<T: Describe>(term: &T, classes: usize) -> Result<(), LossError> {
    term.clone().visit(&mut Visitor(Mode::Fit { term: T::NAME, classes }))
}

/// The options that are set and change nothing: with their defaults the expressions are the same.
pub(crate) fn idle_options<T: Describe>(term: &T, regions: &AllRegions) -> Vec<&'static str> {
    let mut tape = Tape::default();
    // On a tape equal expressions have one place.
    let mut place = |term: T| {
        let (value, elements) = term.into_term().expressions(regions);
        (tape.push_node(value.node()), elements.map(|elements| tape.push_node(elements.node())))
    };
    let here = place(term.clone());
    let mut changes = |name: &str, default: Value| {
        let (mut other, mut given) = (term.clone(), vec![(name.to_owned(), default)]);
        let read = other.visit(&mut Visitor(Mode::Read { term: T::NAME, given: &mut given, known: Vec::new() }));
        read.is_err() || place(other) != here
    };
    // An activation that is the loss's own says so, and is no mistake.
    set(term)
        .filter(|(name, ..)| *name != "activation")
        .filter_map(|(name, _, default)| (!changes(name, default)).then_some(name))
        .collect()
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
    letters(name).collect()
}

/// Whether the key of a name is this one.
pub(super) fn has_key(name: &str, key: &str) -> bool {
    letters(name).eq(key.chars())
}

fn letters(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|c| *c != '_').flat_map(char::to_lowercase)
}

pub(super) fn unknown_option(term: &str, option: &str, known: &[&str]) -> LossError {
    let Meant { nearest, instead } = near::option(term, option, known);
    let known = known.iter().map(|&name| name.to_owned()).collect();
    LossError::UnknownOption { term: term.to_owned(), option: option.to_owned(), nearest, instead, known }
}

/// What a term that describes itself says of its name, text and options, inside the implementation
/// of its role.
macro_rules! described {
    () => {
        fn name(&self) -> String {
            <Self as $crate::spec::describe::Describe>::NAME.to_owned()
        }

        fn text(&self) -> Option<String> {
            Some($crate::spec::describe::text_of(self))
        }

        fn options_fit(&self, classes: usize) -> Result<(), $crate::LossError> {
            $crate::spec::describe::options_fit(self, classes)
        }

        fn idle_options(&self, regions: &$crate::AllRegions) -> Vec<&'static str> {
            $crate::spec::describe::idle_options(self, regions)
        }
    };
}
pub(crate) use described;
