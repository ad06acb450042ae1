//! Numbers of targets, weights and maps, in the types that they come in.

use half::{bf16, f16};
use loss_core::TargetKind;
use loss_core::backend::{HALF_SHARE_SLACK, SHARE_SLACK};
use num_traits::{AsPrimitive, ToPrimitive};

use crate::prefetch::Ahead;

/// Class indices `[N, S]`, or one-hot `[N, K, S]`. Booleans are bytes 0 and 1: see
/// [`Labels::of_bools`].
#[derive(Clone, Copy, Debug)]
pub enum Labels<'a> {
    /// Bytes.
    U8(&'a [u8]),
    /// Bytes with a sign.
    I8(&'a [i8]),
    /// 16-bit integers without a sign.
    U16(&'a [u16]),
    /// 16-bit integers.
    I16(&'a [i16]),
    /// 32-bit integers without a sign.
    U32(&'a [u32]),
    /// 32-bit integers.
    I32(&'a [i32]),
    /// 64-bit integers without a sign.
    U64(&'a [u64]),
    /// 64-bit integers.
    I64(&'a [i64]),
}

/// Soft targets, pixel weights or factors of a map.
#[derive(Clone, Copy, Debug)]
pub enum Shares<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
    /// IEEE half precision.
    F16(&'a [f16]),
    /// Brain float.
    Bf16(&'a [bf16]),
}

/// Does the same to labels of whatever type.
macro_rules! each_label {
    ($labels:expr, $v:ident => $do:expr) => {
        match $labels {
            $crate::Labels::U8($v) => $do,
            $crate::Labels::I8($v) => $do,
            $crate::Labels::U16($v) => $do,
            $crate::Labels::I16($v) => $do,
            $crate::Labels::U32($v) => $do,
            $crate::Labels::I32($v) => $do,
            $crate::Labels::U64($v) => $do,
            $crate::Labels::I64($v) => $do,
        }
    };
}

/// Does the same to shares of whatever type.
macro_rules! each_share {
    ($shares:expr, $v:ident => $do:expr) => {
        match $shares {
            $crate::Shares::F32($v) => $do,
            $crate::Shares::F64($v) => $do,
            $crate::Shares::F16($v) => $do,
            $crate::Shares::Bf16($v) => $do,
        }
    };
}

pub(crate) use {each_label, each_share};

/// The numbers of a tensor as [`Labels`], where they are of one of the types named. The tensor's
/// method `as_slice::<T>()` returns a slice where its numbers are of type `T`.
#[macro_export]
macro_rules! labels_of {
    ($tensor:expr, $($variant:ident),+) => {
        None$(.or_else(|| $tensor.as_slice().map($crate::Labels::$variant)))+
    };
}

/// The numbers of a tensor as [`Shares`], likewise.
#[macro_export]
macro_rules! shares_of {
    ($tensor:expr) => {{
        let single = $tensor.as_slice().map($crate::Shares::F32).or_else(|| $tensor.as_slice().map($crate::Shares::F64));
        single.or_else(|| $tensor.as_slice().map($crate::Shares::F16)).or_else(|| $tensor.as_slice().map($crate::Shares::Bf16))
    }};
}

impl<'a> Labels<'a> {
    /// Labels 0 and 1.
    #[must_use]
    pub fn of_bools(labels: &'a [bool]) -> Self {
        Self::U8(bytemuck::cast_slice(labels))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        each_label!(self, v => v.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `None` where it is beyond `i64`, and so neither a class nor ignored.
    #[inline]
    pub(crate) fn at(&self, index: usize) -> Option<i64> {
        each_label!(self, v => v[index].to_i64())
    }

    /// Notes that those from one on will be needed.
    pub(crate) fn ahead(&self, first: usize, ahead: &mut Ahead) {
        each_label!(self, v => ahead.add(&v[first..]));
    }
}

impl Shares<'_> {
    pub(crate) fn len(&self) -> usize {
        each_share!(self, v => v.len())
    }

    #[inline]
    pub(crate) fn at(&self, index: usize) -> f64 {
        each_share!(self, v => v[index].as_())
    }

    /// How far soft targets of this type may be from what they should be.
    pub(crate) fn slack(&self) -> f64 {
        match self {
            Self::F32(_) | Self::F64(_) => SHARE_SLACK,
            Self::F16(_) | Self::Bf16(_) => HALF_SHARE_SLACK,
        }
    }
}

/// What the logits are compared with.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// `[N, S]`, or `[N, K, S]` where their shape is the logits' and K > 1: those are one-hot.
    Labels(Labels<'a>),
    /// `[N, K, S]`, integers 0 and 1.
    OneHot(Labels<'a>),
    /// `[N, K, S]`
    Soft(Shares<'a>),
}

impl Target<'_> {
    /// What it is beside logits, by its shape: labels of the logits' shape are one-hot.
    pub(crate) fn beside(self, logits: &[usize], shape: &[usize]) -> Self {
        match self {
            Self::Labels(labels) if TargetKind::of_integers(logits, shape) == TargetKind::OneHot => Self::OneHot(labels),
            other => other,
        }
    }

    pub(crate) fn kind(&self) -> TargetKind {
        match self {
            Self::Labels(_) => TargetKind::Labels,
            Self::OneHot(_) => TargetKind::OneHot,
            Self::Soft(_) => TargetKind::Soft,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Labels(labels) | Self::OneHot(labels) => labels.len(),
            Self::Soft(shares) => shares.len(),
        }
    }
}
