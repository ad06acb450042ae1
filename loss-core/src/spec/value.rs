//! Values of options, as text and as the types they stand for.

use std::fmt::{Display, Formatter};

use crate::number::number;
use crate::options::{AbsentClass, Form, Pooling, out_of_range};
use crate::{Activation, LossError, Temperature};

/// What can stand behind `option=` in a loss's text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `0.5`
    Number(f64),
    /// `batch`
    Word(String),
    /// `[1, 0.05]`
    List(Vec<f64>),
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(value) => f.write_str(&number(*value)),
            Self::Word(word) => f.write_str(word),
            Self::List(values) => {
                let values: Vec<_> = values.iter().map(|v| number(*v)).collect();
                write!(f, "[{}]", values.join(", "))
            }
        }
    }
}

/// A type that an option can have.
pub trait OptionValue: Sized {
    /// What is accepted, in words, for error messages and lists.
    const EXPECTED: &'static str;
    /// As text.
    fn write(&self) -> Value;
    /// From text; `None` where it is something else.
    fn read(value: &Value) -> Option<Self>;
    /// How it fails to fit a number of classes; `None`, the default, where it fits any.
    fn misfit(&self, classes: usize) -> Option<Misfit> {
        let _ = classes;
        None
    }
}

/// Why the value of an option does not fit the classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// It has so many values, which is not one for each class.
    Count(usize),
    /// It names this class, which does not exist.
    Class(usize),
}

impl Misfit {
    /// Of one value for each class.
    pub(crate) fn of_values(values: &[f64], classes: usize) -> Option<Self> {
        (values.len() != classes).then_some(Self::Count(values.len()))
    }

    /// Of indices of classes.
    pub(crate) fn of_indices(indices: &[usize], classes: usize) -> Option<Self> {
        indices.iter().find(|&&class| class >= classes).map(|&class| Self::Class(class))
    }
}

impl OptionValue for f64 {
    const EXPECTED: &'static str = "a number";
    fn write(&self) -> Value {
        Value::Number(*self)
    }
    fn read(value: &Value) -> Option<Self> {
        if let Value::Number(value) = value { Some(*value) } else { None }
    }
}

impl OptionValue for Temperature {
    const EXPECTED: &'static str = "a number in (0, 1e6]";
    fn write(&self) -> Value {
        Value::Number(self.value())
    }
    fn read(value: &Value) -> Option<Self> {
        Self::new(f64::read(value)?).ok()
    }
}

/// The temperature that an option sets.
pub(crate) fn temperature(term: &'static str, value: f64) -> Result<Temperature, LossError> {
    Temperature::new(value).map_err(|_| out_of_range(term, "temperature", number(value), Temperature::EXPECTED))
}

/// `none`, or a number.
impl OptionValue for Option<f64> {
    const EXPECTED: &'static str = "a number or none";
    fn write(&self) -> Value {
        self.map_or_else(|| Value::Word("none".into()), Value::Number)
    }
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Word(word) if word == "none" => Some(None),
            other => f64::read(other).map(Some),
        }
    }
}

/// `none`, or one number per class.
impl OptionValue for Option<Vec<f64>> {
    const EXPECTED: &'static str = "none or a list of one number per class, [a, b, ..]";
    fn write(&self) -> Value {
        self.as_ref().map_or_else(|| Value::Word("none".into()), |list| Value::List(list.clone()))
    }
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Word(word) if word == "none" => Some(None),
            Value::List(list) => Some(Some(list.clone())),
            _ => None,
        }
    }
    fn misfit(&self, classes: usize) -> Option<Misfit> {
        self.as_deref().and_then(|values| Misfit::of_values(values, classes))
    }
}

/// `all`, or class indices.
impl OptionValue for Option<Vec<usize>> {
    const EXPECTED: &'static str = "all or a list of class indices, [1, 2, ..]";
    fn write(&self) -> Value {
        let list = |only: &Vec<usize>| Value::List(only.iter().map(|&class| class as f64).collect());
        self.as_ref().map_or_else(|| Value::Word("all".into()), list)
    }
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Word(word) if word == "all" => Some(None),
            Value::List(list) => {
                let index = |v: &f64| (v.fract() == 0.0 && (0.0..1e9).contains(v)).then_some(*v as usize);
                list.iter().map(index).collect::<Option<Vec<_>>>().map(Some)
            }
            _ => None,
        }
    }
    fn misfit(&self, classes: usize) -> Option<Misfit> {
        self.as_deref().and_then(|only| Misfit::of_indices(only, classes))
    }
}

macro_rules! words {
    ($type:ty, $expected:literal: $($word:literal => $value:expr),*) => {
        impl $crate::spec::value::OptionValue for $type {
            const EXPECTED: &'static str = $expected;
            fn write(&self) -> $crate::spec::value::Value {
                let words = [$(($word, $value)),*];
                let word = words.iter().find(|(_, value)| value == self).map_or("", |(word, _)| word);
                $crate::spec::value::Value::Word(word.into())
            }
            fn read(value: &$crate::spec::value::Value) -> Option<Self> {
                let words = [$(($word, $value)),*];
                let $crate::spec::value::Value::Word(given) = value else { return None };
                words.into_iter().find(|(word, _)| word == given).map(|(_, value)| value)
            }
        }
    };
}
pub(crate) use words;

words!(bool, "true or false": "true" => true, "false" => false);
words!(Pooling, "batch or sample": "batch" => Pooling::Batch, "sample" => Pooling::Sample);
words!(AbsentClass, "zero, skip, skip_empty or count":
    "zero" => AbsentClass::Zero, "skip" => AbsentClass::Skip,
    "skip_empty" => AbsentClass::SkipEmpty, "count" => AbsentClass::Count);
words!(Form, "linear or log": "linear" => Form::Linear, "log" => Form::Log);
words!(Activation, "softmax or sigmoid": "softmax" => Activation::Softmax, "sigmoid" => Activation::Sigmoid);
words!(Option<Activation>, "model, softmax or sigmoid":
    "model" => None, "softmax" => Some(Activation::Softmax), "sigmoid" => Some(Activation::Sigmoid));
