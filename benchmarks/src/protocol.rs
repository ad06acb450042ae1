//! What is said over the pipes: a request a line, a reply a line, in JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is measured of a work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Op {
    /// The value alone.
    Value,
    /// Value and gradient, in an array that the call makes.
    Both,
    /// Value and gradient, in an array that is there.
    Into,
    /// The gradient alone, what it needs of the forward pass being there.
    Gradient,
    /// The logits copied to an array that is there.
    Copy,
}

impl Op {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Both => "value and gradient",
            Self::Into => "value and gradient, array given",
            Self::Gradient => "gradient",
            Self::Copy => "copy of the logits",
        }
    }
}

/// Type of the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dtype {
    F32,
    F64,
    F16,
    Bf16,
}

impl Dtype {
    pub(crate) const fn bytes(self) -> u64 {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// Type of the labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LabelType {
    U8,
    I32,
    I64,
}

/// What an engine can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub(crate) enum Request {
    /// To say its versions, and to use so many threads.
    Hello { threads: usize },
    /// To hold logits and labels under a name. Where a folder is given, one engine writes them there and the other reads them.
    Load { slot: String, shape: Vec<usize>, sigmoid: bool, dtype: Dtype, labels: LabelType, folder: Option<PathBuf> },
    /// To drop what it holds.
    Forget,
    /// To do a work so many times, and to say how many seconds each took on average.
    Run { slot: String, work: String, op: Op, repeat: usize, threads: usize },
    /// To do it once more, and to say how much memory that needed.
    Memory { slot: String, work: String, op: Op },
    /// To write the gradient to a file, and to say the value.
    Save { slot: String, work: String, path: PathBuf },
    /// To say how far its own value and gradient are from these.
    Compare { work: String, value: f64, path: PathBuf },
}

/// What it replies.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Reply {
    /// Why it could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<f64>,
    /// A value, or its relative difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<f64>,
    /// Difference of the gradient, relative to its largest number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gradient: Option<f64>,
    /// Bytes allocated at one time, beyond those before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allocated: Option<u64>,
    /// Bytes that the system gave, beyond those before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resident: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) versions: BTreeMap<String, String>,
}
