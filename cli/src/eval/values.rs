//! Values that the options of `eval` take.

use std::fmt::{Display, Formatter};
use std::str::FromStr;

use clap::ValueEnum;
use segloss_data::Array;

use super::arrays::ArrayArg;

/// What the array of logits holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Given {
    Logits,
    Probabilities,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Backend {
    Ndarray,
    Burn,
    Tch,
}

/// Where LibTorch computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeviceArg {
    Cpu,
    Cuda(usize),
}

impl FromStr for DeviceArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", n)) => n.parse().map(Self::Cuda).map_err(|_| "expected cpu or cuda:N".into()),
            _ => Err("expected cpu or cuda:N".into()),
        }
    }
}

impl Display for DeviceArg {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

/// A map and the file that it is read from.
#[derive(Clone, Debug)]
pub(super) struct MapArg {
    pub(super) name: String,
    pub(super) array: ArrayArg,
}

impl FromStr for MapArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok(Self { name: name.into(), array: path.parse()? }),
            _ => Err("expected NAME=FILE".into()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ActivationArg {
    Softmax,
    Sigmoid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Dtype {
    Keep,
    F32,
    F64,
    F16,
    Bf16,
}

impl Backend {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ndarray => "ndarray",
            Self::Burn => "burn",
            Self::Tch => "tch",
        }
    }
}

impl Dtype {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// The type of the logits, where none is asked for.
    pub(super) fn or(self, logits: &Array) -> Self {
        match (self, logits) {
            (Self::Keep, Array::F16(_)) => Self::F16,
            (Self::Keep, Array::F64(_)) => Self::F64,
            (Self::Keep, _) => Self::F32,
            (chosen, _) => chosen,
        }
    }
}
