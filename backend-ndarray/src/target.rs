//! Targets from ndarray views.

use std::borrow::Cow;

use loss_core::expr::Table;
use loss_core::{Activation, Loss, LossError};
use loss_kernels::{Cpu, Element, Labels, Problem, Shares};
use ndarray::{ArrayView, ArrayView2, Dimension};

/// An integer type that labels can have: `u8`, `i32` or `i64`. Sealed.
pub trait Label: sealed::Label {}

/// A float type that soft targets and pixel weights can have: `f32` or `f64`. Sealed.
pub trait Share: sealed::Share {}

mod sealed {
    use super::{Cow, Floats, Integers};

    pub trait Label: Copy {
        fn own(values: Cow<'_, [Self]>) -> Integers<'_>;
    }

    pub trait Share: Copy {
        fn own(values: Cow<'_, [Self]>) -> Floats<'_>;
    }
}

/// Row-major values, borrowed where the view was contiguous.
#[derive(Clone, Debug)]
pub enum Integers<'a> {
    U8(Cow<'a, [u8]>),
    I32(Cow<'a, [i32]>),
    I64(Cow<'a, [i64]>),
}

#[derive(Clone, Debug)]
pub enum Floats<'a> {
    F32(Cow<'a, [f32]>),
    F64(Cow<'a, [f64]>),
}

macro_rules! seal {
    ($($trait:ident, $type:ty, $kind:ident, $variant:ident;)*) => {$(
        impl sealed::$trait for $type {
            fn own(values: Cow<'_, [Self]>) -> $kind<'_> {
                $kind::$variant(values)
            }
        }
        impl $trait for $type {}
    )*};
}

seal! {
    Label, u8, Integers, U8;
    Label, i32, Integers, I32;
    Label, i64, Integers, I64;
    Share, f32, Floats, F32;
    Share, f64, Floats, F64;
}

impl Floats<'_> {
    fn shares(&self) -> Shares<'_> {
        match self {
            Self::F32(values) => Shares::F32(values),
            Self::F64(values) => Shares::F64(values),
        }
    }
}

#[derive(Clone, Debug)]
enum Values<'a> {
    Labels(Integers<'a>),
    Soft(Floats<'a>),
}

/// What logits are compared with: labels or soft targets, and on request pixel weights and a prior.
///
/// ```
/// use backend_ndarray::Target;
/// use ndarray::array;
/// let (labels, weights) = (array![[0i32, 1]], array![[1.0f32, 0.5]]);
/// let target = Target::labels(labels.view()).weights(weights.view());
/// ```
#[derive(Clone, Debug)]
pub struct Target<'a> {
    values: Values<'a>,
    shape: Vec<usize>,
    weights: Option<(Floats<'a>, Vec<usize>)>,
    prior: Option<Table>,
    spacing: Option<Vec<f64>>,
    maps: Vec<(String, Floats<'a>, Vec<usize>)>,
}

/// A view's elements in row-major order.
pub(crate) fn row_major<'a, T: Copy, D: Dimension>(view: &ArrayView<'a, T, D>) -> Cow<'a, [T]> {
    view.to_slice().map_or_else(|| Cow::Owned(view.iter().copied().collect()), Cow::Borrowed)
}

impl<'a> Target<'a> {
    /// Class indices, `[N, *spatial]`.
    #[must_use]
    pub fn labels<L: Label, D: Dimension>(labels: ArrayView<'a, L, D>) -> Self {
        Self::new(Values::Labels(L::own(row_major(&labels))), labels.shape())
    }

    /// Shares of every class in `[0, 1]`, `[N, K, *spatial]`. To ignore a pixel, give it the weight
    /// 0.
    #[must_use]
    pub fn soft<S: Share, D: Dimension>(shares: ArrayView<'a, S, D>) -> Self {
        Self::new(Values::Soft(S::own(row_major(&shares))), shares.shape())
    }

    fn new(values: Values<'a>, shape: &[usize]) -> Self {
        Self { values, shape: shape.to_vec(), weights: None, prior: None, spacing: None, maps: Vec::new() }
    }

    /// Weights ≥ 0 of the pixels, `[N, *spatial]`.
    #[must_use]
    pub fn weights<S: Share, D: Dimension>(self, weights: ArrayView<'a, S, D>) -> Self {
        let shape = weights.shape().to_vec();
        Self { weights: Some((S::own(row_major(&weights)), shape)), ..self }
    }

    /// Proportions for penalties with `target=given`: per sample and class, `[N, K]`, or per class
    /// for all samples, `[1, K]`.
    #[must_use]
    pub fn prior(self, prior: ArrayView2<'_, f64>) -> Self {
        let (rows, columns) = prior.dim();
        // The number of values is that of the shape by construction.
        Self { prior: Table::new(rows, columns, prior.iter().copied().collect()).ok(), ..self }
    }

    /// A map that terms of the loss read under a name ([`loss_core::Map`]): factors of its
    /// own for every pixel and class, `[N, K, *spatial]`, or one for all classes, `[N, 1,
    /// *spatial]`. They may be negative. Of several with one name the last counts.
    ///
    /// Under the name of a map that a term derives (`signed_distances` of `boundary`,
    /// `hardest_pixels` of `topk`) it is read in its place. One that no term reads is left alone.
    ///
    /// Without a map that a term reads, a call gives [`LossError::MissingMap`]; with one that does
    /// not fit the logits, [`LossError::ShapeMismatch`]; with one that is not finite at a valid
    /// pixel, [`LossError::ValueOutOfRange`].
    #[must_use]
    pub fn map<S: Share, D: Dimension>(mut self, name: &str, values: ArrayView<'a, S, D>) -> Self {
        let shape = values.shape().to_vec();
        self.maps.push((name.to_owned(), S::own(row_major(&values)), shape));
        self
    }

    /// Distance of neighbouring pixels along each spatial axis, for maps of distances; 1 unless
    /// given. One that does not fit the logits makes a call give [`LossError::Unsupported`] or
    /// [`LossError::ValueOutOfRange`].
    #[must_use]
    pub fn spacing(self, spacing: &[f64]) -> Self {
        Self { spacing: Some(spacing.to_vec()), ..self }
    }

    pub(crate) fn given_prior(&self) -> Option<&Table> {
        self.prior.as_ref()
    }

    /// A call of a loss on row-major logits of a shape, with a gradient that is put in a `G`.
    pub(crate) fn call<'s, E: Element, G: ?Sized>(
        &'s self,
        loss: &'s Loss,
        shape: &[usize],
        logits: &'s [E],
    ) -> Result<Cpu<'s, E, G>, LossError> {
        let problem = self.problem(shape, loss.ignored(), loss.activation())?;
        Ok(Cpu::new(logits, problem, self.prior.as_ref()))
    }

    pub(crate) fn problem<'s>(
        &'s self,
        logits: &[usize],
        ignore: &'s [i64],
        activation: Activation,
    ) -> Result<Problem<'s>, LossError> {
        let target = match &self.values {
            Values::Labels(Integers::U8(values)) => loss_kernels::Target::Labels(Labels::U8(values)),
            Values::Labels(Integers::I32(values)) => loss_kernels::Target::Labels(Labels::I32(values)),
            Values::Labels(Integers::I64(values)) => loss_kernels::Target::Labels(Labels::I64(values)),
            Values::Soft(values) => loss_kernels::Target::Soft(values.shares()),
        };
        let weights = self.weights.as_ref().map(|(values, shape)| (values.shares(), shape.as_slice()));
        let problem = Problem::new(logits, (target, &self.shape), weights, ignore, activation)?;
        let problem = self.spacing.iter().try_fold(problem, |problem, spacing| problem.with_spacing(spacing))?;
        self.maps.iter().try_fold(problem, |problem, (name, values, shape)| problem.with_map(name, values.shares(), shape))
    }
}
