//! The shapes an expression can have, as types and as values.

use super::op::Op;

/// Which axes a value varies over when the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// One row per sample, else one row.
    pub samples: bool,
    /// One column per class, else one column.
    pub classes: bool,
}

impl Extent {
    pub(crate) const SCALAR: Self = Self { samples: false, classes: false };
    pub(crate) const CLASSES: Self = Self { samples: false, classes: true };
    pub(crate) const SAMPLES: Self = Self { samples: true, classes: false };
    pub(crate) const REGIONS: Self = Self { samples: true, classes: true };

    pub(crate) fn join(self, other: Self) -> Self {
        Self { samples: self.samples | other.samples, classes: self.classes | other.classes }
    }

    /// What remains of it after an operation with one argument.
    pub(crate) fn after(self, op: Op) -> Self {
        match op {
            Op::SumSamples => Self { samples: false, ..self },
            Op::SumClasses => Self { classes: false, ..self },
            _ => self,
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// Axes an expression varies over. Sealed: [`Regions`], [`Samples`], [`Classes`], [`Scalar`],
/// [`Pixel`].
pub trait Axes: sealed::Sealed + Copy + Send + Sync + 'static {}

/// Two shapes that can stand in one operation, and the shape of the result.
#[diagnostic::on_unimplemented(
    message = "an expression over {Self} cannot be combined with one over {B}",
    label = "these axes do not broadcast",
    note = "per-sample and per-class values share no axis: reduce one of them first (`.mean_samples()`, `.sum_classes()`), or \
            say that a table of both is meant with `.broadcast::<Regions>()`"
)]
pub trait Broadcast<B> {
    /// Axes of the result.
    type Output;
}

macro_rules! axes {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}
        impl sealed::Sealed for $name {}
        impl Axes for $name {}
    )*};
}

axes! {
    /// One number per sample and class: `[N, K]`.
    Regions;
    /// One number per sample: `[N, 1]`.
    Samples;
    /// One number per class: `[1, K]`.
    Classes;
    /// One number.
    Scalar;
    /// One number per pixel and class, a function of its log-probability.
    Pixel;
}

macro_rules! broadcasts {
    ($($left:ident, $right:ident => $out:ident;)*) => {$(
        impl Broadcast<$right> for $left { type Output = $out; }
    )*};
}

broadcasts! {
    Regions, Regions => Regions; Regions, Samples => Regions; Regions, Classes => Regions; Regions, Scalar => Regions;
    Samples, Regions => Regions; Classes, Regions => Regions; Scalar, Regions => Regions;
    Samples, Samples => Samples; Samples, Scalar => Samples; Scalar, Samples => Samples;
    Classes, Classes => Classes; Classes, Scalar => Classes; Scalar, Classes => Classes;
    Scalar, Scalar => Scalar; Pixel, Pixel => Pixel;
}
