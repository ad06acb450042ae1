//! The text form of a loss, read by recursive descent. [`Loss::parse`] has the grammar.

use std::str::FromStr;

use super::describe::unknown_option;
use super::{OptionValue, Value, Vocabulary};
use crate::term::WeightedTerm;
use crate::{Activation, Loss, LossError, Schedule};

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f64),
    Name(String),
    Sign(char),
    End,
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
    vocabulary: &'a Vocabulary,
}

/// A product while it is being read.
enum Factor {
    Weight(Schedule),
    Terms(Vec<WeightedTerm>),
}

const EPOCH: &str = "an epoch, a whole number >= 0";

const FINITE: &str = "weights whose product is finite";

/// Nesting that no person writes, and that a thread's stack easily holds.
const DEPTH: usize = 64;

pub(crate) fn parse(text: &str, vocabulary: &Vocabulary) -> Result<Loss, LossError> {
    let tokens = tokens(text)?;
    let mut parser = Parser { text, tokens, at: 0, depth: 0, vocabulary };
    let mut loss = Loss::default().with_terms(parser.sum()?);
    if parser.take_name("with") {
        loss = parser.settings(loss)?;
    }
    if parser.peek() != &Token::End {
        return Err(parser.error("`+`, `-`, `*`, `with` or the end"));
    }
    Ok(loss)
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, LossError> {
    let mut out = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some(&(start, c)) = rest.peek() {
        let mut take = |fits: &dyn Fn(char, char) -> bool| {
            let (mut end, mut last) = (start, c);
            while let Some(&(i, c)) = rest.peek() {
                // The first character fits as well: each kind of word can go on with what it begins
                // with.
                if !fits(last, c) {
                    break;
                }
                (end, last) = (i + c.len_utf8(), c);
                rest.next();
            }
            &text[start..end]
        };
        if c.is_whitespace() {
            rest.next();
        } else if c.is_ascii_digit() || c == '.' {
            let word =
                take(&|last, c| c.is_ascii_alphanumeric() || c == '.' || (matches!(last, 'e' | 'E') && matches!(c, '+' | '-')));
            let value = word.parse::<f64>().ok().filter(|v| v.is_finite());
            let value = value.ok_or_else(|| syntax(text, start, "a finite number", word))?;
            out.push((start, Token::Number(value)));
        } else if c.is_alphabetic() || c == '_' {
            let word = take(&|_, c| c.is_alphanumeric() || c == '_');
            out.push((start, Token::Name(word.to_owned())));
        } else if "+-*()[],=".contains(c) {
            rest.next();
            out.push((start, Token::Sign(c)));
        } else {
            return Err(syntax(text, start, "a name, a number or one of + - * ( ) [ ] , =", &c.to_string()));
        }
    }
    out.push((text.len(), Token::End));
    Ok(out)
}

fn syntax(text: &str, at: usize, expected: &'static str, found: &str) -> LossError {
    let column = text[..at].chars().count() + 1;
    LossError::Syntax { text: text.to_owned(), column, expected, found: format!("`{found}`") }
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(_, token)| token)
    }

    fn error(&self, expected: &'static str) -> LossError {
        let (at, token) = self.tokens.get(self.at).cloned().unwrap_or((self.text.len(), Token::End));
        let end = self.tokens.get(self.at + 1).map_or(self.text.len(), |(next, _)| *next);
        match token {
            Token::End => LossError::Syntax {
                text: self.text.to_owned(),
                column: self.text.chars().count() + 1,
                expected,
                found: "the end".into(),
            },
            _ => syntax(self.text, at, expected, self.text[at..end].trim_end()),
        }
    }

    fn take(&mut self, sign: char) -> bool {
        let found = self.peek() == &Token::Sign(sign);
        self.at += usize::from(found);
        found
    }

    fn take_name(&mut self, name: &str) -> bool {
        let found = matches!(self.peek(), Token::Name(given) if given == name);
        self.at += usize::from(found);
        found
    }

    fn require(&mut self, sign: char, expected: &'static str) -> Result<(), LossError> {
        if self.take(sign) { Ok(()) } else { Err(self.error(expected)) }
    }

    fn name(&mut self, expected: &'static str) -> Result<String, LossError> {
        match self.peek().clone() {
            Token::Name(name) => {
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.error(expected)),
        }
    }

    fn number(&mut self) -> Result<f64, LossError> {
        let sign = if self.take('-') { -1.0 } else { 1.0 };
        match *self.peek() {
            Token::Number(value) => {
                self.at += 1;
                Ok(sign * value)
            }
            _ => Err(self.error("a number")),
        }
    }

    fn sum(&mut self) -> Result<Vec<WeightedTerm>, LossError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.error("fewer nested parentheses"));
        }
        let mut terms = self.product(1.0)?;
        loop {
            let sign = if self.take('+') {
                1.0
            } else if self.take('-') {
                -1.0
            } else {
                break;
            };
            terms.append(&mut self.product(sign)?);
        }
        self.depth -= 1;
        Ok(terms)
    }

    /// A product behind a sign.
    fn product(&mut self, sign: f64) -> Result<Vec<WeightedTerm>, LossError> {
        let mut weights = Vec::new();
        let first = self.at;
        if self.take('-') {
            weights.push(Schedule::Constant(-1.0));
        }
        let mut terms = None;
        loop {
            let start = self.at;
            match self.factor()? {
                Factor::Weight(weight) => weights.push(weight),
                Factor::Terms(_) if terms.is_some() => {
                    self.at = start;
                    return Err(self.error("a number: two losses cannot be multiplied"));
                }
                Factor::Terms(factor) => terms = Some(factor),
            }
            if !self.take('*') {
                break;
            }
        }
        let mut terms = terms.ok_or_else(|| self.error("`*` and a loss"))?;
        for weight in weights.into_iter().chain([Schedule::Constant(sign)]) {
            weight.multiply(&mut terms)?;
        }
        // Finite numbers can have a product that is not.
        if terms.iter().all(|term| term.schedule.is_finite()) { Ok(terms) } else { Err(self.error_at(first, FINITE)) }
    }

    fn factor(&mut self) -> Result<Factor, LossError> {
        if self.take('(') {
            let terms = self.sum()?;
            self.require(')', "`)`")?;
            return Ok(Factor::Terms(terms));
        }
        if matches!(self.peek(), Token::Number(_) | Token::Sign('-')) {
            return self.number().map(|value| Factor::Weight(Schedule::Constant(value)));
        }
        let start = self.at;
        let name = self.name("a loss, a number or `(`")?;
        if name.eq_ignore_ascii_case("grow") {
            let before = self.at;
            return self.grow().map_err(|error| self.in_text(error, start, before)).map(Factor::Weight);
        }
        let before = self.at;
        let options = if self.take('(') { self.options()? } else { Vec::new() };
        let term = self.vocabulary.term(&name, options);
        term.map_err(|error| self.in_text(error, start, before)).map(|term| Factor::Terms(vec![term.into()]))
    }

    fn grow(&mut self) -> Result<Schedule, LossError> {
        self.require('(', "`(`")?;
        let initial = self.number()?;
        let (mut factor, mut every, mut cap, mut given) = (1.0, 1.0, 100.0, Vec::new());
        while self.take(',') {
            let name = self.key("factor, every or cap", &mut given)?;
            let value = self.number()?;
            match name.as_str() {
                "factor" => factor = value,
                "every" => every = value,
                "cap" => cap = value,
                _ => return Err(unknown_option("grow", &name, &["factor", "every", "cap"])),
            }
        }
        self.require(')', "`,` or `)`")?;
        Schedule::grow(initial, factor, every, cap)
    }

    /// The name of what a value is given for, which stands in no other place of a list, with the
    /// `=` after it.
    fn key(&mut self, expected: &'static str, given: &mut Vec<String>) -> Result<String, LossError> {
        let start = self.at;
        let name = self.name(expected)?;
        if given.contains(&name) {
            return Err(self.error_at(start, "what was not given before"));
        }
        given.push(name.clone());
        self.require('=', "`=`")?;
        Ok(name)
    }

    fn options(&mut self) -> Result<Vec<(String, Value)>, LossError> {
        let (mut options, mut given) = (Vec::new(), Vec::new());
        while !self.take(')') {
            if !options.is_empty() {
                self.require(',', "`,` or `)`")?;
            }
            let name = self.key("the name of an option", &mut given)?;
            options.push((name, self.value()?));
        }
        Ok(options)
    }

    fn value(&mut self) -> Result<Value, LossError> {
        if self.take('[') {
            return self.list(Self::number).map(Value::List);
        }
        if let Token::Name(word) = self.peek().clone() {
            self.at += 1;
            return Ok(Value::Word(word));
        }
        self.number().map(Value::Number)
    }

    /// The rest of a list.
    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T, LossError>) -> Result<Vec<T>, LossError> {
        let mut list = Vec::new();
        while !self.take(']') {
            if !list.is_empty() {
                self.require(',', "`,` or `]`")?;
            }
            list.push(item(self)?);
        }
        Ok(list)
    }

    /// A whole number, of any type: not every one is a number of floating point.
    fn whole<T: FromStr + TryFrom<i64>>(&mut self, wanted: &'static str, expected: &'static str) -> Result<T, LossError> {
        if !matches!(self.peek(), Token::Number(_) | Token::Sign('-')) {
            return Err(self.error(wanted));
        }
        let place = |parser: &Self| parser.tokens.get(parser.at).map_or(parser.text.len(), |(place, _)| *place);
        let (start, first) = (self.at, place(self));
        let value = self.number()?;
        let written: String = self.text[first..place(self)].split_whitespace().collect();
        let whole = (value.fract() == 0.0 && value.abs() <= 1e15).then_some(value as i64);
        let whole = whole.and_then(|whole| T::try_from(whole).ok());
        written.parse().ok().or(whole).ok_or_else(|| self.error_at(start, expected))
    }

    fn label(&mut self) -> Result<i64, LossError> {
        self.whole("a label or a list of labels", "whole numbers")
    }

    fn settings(&mut self, mut loss: Loss) -> Result<Loss, LossError> {
        let mut given = Vec::new();
        loop {
            let name = self.key("activation, ignore or epoch", &mut given)?;
            let start = self.at;
            loss = match name.as_str() {
                "activation" => {
                    let value = self.value()?;
                    let activation = Activation::read(&value).ok_or_else(|| self.error_at(start, Activation::EXPECTED))?;
                    loss.with_activation(activation)
                }
                "ignore" => {
                    let labels = if self.take('[') { self.list(Self::label)? } else { vec![self.label()?] };
                    labels.into_iter().fold(loss, Loss::with_ignore_index)
                }
                "epoch" => loss.at_epoch(self.whole(EPOCH, EPOCH)?),
                _ => {
                    let error = unknown_option("with", &name, &["activation", "ignore", "epoch"]);
                    return Err(self.in_text(error, start - 2, start - 2));
                }
            };
            if !self.take(',') {
                return Ok(loss);
            }
        }
    }

    /// Says where in the text a term, or the option that an error names, stands: the term at one
    /// place among the tokens, its options from another on.
    fn in_text(&self, error: LossError, term: usize, options: usize) -> LossError {
        let option = match &error {
            LossError::OptionOutOfRange { option, .. } => *option,
            LossError::UnknownOption { option, .. } => option,
            LossError::Syntax { .. } => return error,
            _ => "",
        };
        let read = self.tokens.get(options..self.at).unwrap_or_default();
        let named =
            read.windows(2).find(|pair| matches!(pair, [(_, Token::Name(name)), (_, Token::Sign('='))] if name == option));
        let place = named.and_then(|pair| pair.first()).or_else(|| self.tokens.get(term));
        let at = place.map_or(self.text.len(), |(at, _)| *at);
        let (text, column) = (self.text.to_owned(), self.text[..at].chars().count() + 1);
        LossError::InText { text, column, source: Box::new(error) }
    }

    fn error_at(&mut self, at: usize, expected: &'static str) -> LossError {
        self.at = at;
        self.error(expected)
    }
}
