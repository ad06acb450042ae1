//! Targets from ndarray views.

use std::borrow::Cow;

use loss_core::backend::Detail;
use loss_core::expr::Table;
use loss_core::{Activation, Loss, LossError, Map};
use loss_kernels::{Cpu, DerivedMap, Element, Labels, Problem, Shares, bf16, f16};
use ndarray::{ArrayD, ArrayView, ArrayView2, Dimension};

/// A type that labels can have: any integer of 8 to 64 bits, or `bool`. Sealed.
pub trait Label: sealed::Label {}

/// A float type that soft targets, pixel weights and maps can have: `f32`, `f64`, `f16` or `bf16`.
/// Sealed.
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

/// Types of numbers, and what the kernels call them.
macro_rules! types {
    ($($trait:ident, $kind:ident, $reads:ident, $method:ident { $($type:ty, $variant:ident, $read:path;)* })*) => {$(
        /// Row-major values, borrowed where the view was contiguous.
        #[derive(Clone, Debug)]
        pub enum $kind<'a> {
            $($variant(Cow<'a, [$type]>),)*
        }

        impl $kind<'_> {
            fn $method(&self) -> $reads<'_> {
                match self {
                    $(Self::$variant(values) => $read(values),)*
                }
            }
        }

        $(
            impl sealed::$trait for $type {
                fn own(values: Cow<'_, [Self]>) -> $kind<'_> {
                    $kind::$variant(values)
                }
            }
            impl $trait for $type {}
        )*
    )*};
}

types! {
    Label, Integers, Labels, labels {
        bool, Bool, Labels::of_bools;
        u8, U8, Labels::U8;
        i8, I8, Labels::I8;
        u16, U16, Labels::U16;
        i16, I16, Labels::I16;
        u32, U32, Labels::U32;
        i32, I32, Labels::I32;
        u64, U64, Labels::U64;
        i64, I64, Labels::I64;
    }
    Share, Floats, Shares, shares {
        f32, F32, Shares::F32;
        f64, F64, Shares::F64;
        f16, F16, Shares::F16;
        bf16, Bf16, Shares::Bf16;
    }
}

#[derive(Clone, Debug)]
enum Values<'a> {
    Labels(Integers<'a>),
    Soft(Floats<'a>),
}

/// What logits are compared with: labels, one-hot integers or soft targets, and on request pixel
/// weights and a prior.
///
/// Labels and weights are taken as they come, with a channel axis of length 1 or without, and
/// labels of any integer type or `bool`:
///
/// ```
/// use backend_ndarray::{NdarrayLoss, Target};
/// use ndarray::array;
/// let loss: loss_core::Loss = "ce + dice".parse()?;
/// // [N, K, S]: one sample, two classes, two pixels.
/// let logits = array![[[2.0f32, 0.5], [0.0, 1.5]]];
/// let (labels, weights) = (array![[0i64, 1]], array![[1.0f32, 0.5]]);
/// let value = loss.value(logits.view(), &Target::labels(labels.view()).weights(weights.view()))?;
/// // With a channel axis, [N, 1, S].
/// let (labels, weights) = (array![[[false, true]]], array![[[1.0f32, 0.5]]]);
/// let target = Target::labels(labels.view()).weights(weights.view());
/// assert_eq!(loss.value(logits.view(), &target)?, value);
/// // One-hot integers, of the logits' shape.
/// let one_hot = array![[[1u8, 0], [0, 1]]];
/// let target = Target::labels(one_hot.view()).weights(weights.view());
/// assert!((loss.value(logits.view(), &target)? - value).abs() < 1e-6);
/// // Shares that do not add up to 1: here the class axis is the last one.
/// let shares = array![[[0.9f32, 0.1], [0.3, 0.7]]];
/// let error = loss.value(logits.view(), &Target::soft(shares.view())).unwrap_err();
/// assert!(error.to_string().starts_with("soft targets at the pixel [0, 0] add up to 1.2 over"));
/// # Ok::<(), loss_core::LossError>(())
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
    /// Class indices, `[N, *spatial]` or `[N, 1, *spatial]`.
    ///
    /// Those of the logits' shape, `[N, K, *spatial]` of K > 1, are read as one-hot: 0 and 1, and
    /// in a softmax loss one 1 for each pixel. An ignored label that is a class leaves out its
    /// pixels there too. With one channel, integers are labels 0 and 1.
    ///
    /// Others make a call give [`LossError::LabelOutOfRange`], [`LossError::ValueOutOfRange`],
    /// [`LossError::SharesSum`] or [`LossError::ShapeMismatch`].
    #[must_use]
    pub fn labels<L: Label, D: Dimension>(labels: ArrayView<'a, L, D>) -> Self {
        Self::new(Values::Labels(L::own(row_major(&labels))), labels.shape())
    }

    /// Shares of every class in `[0, 1]`, `[N, K, *spatial]`; of one class also `[N, *spatial]`. To
    /// ignore a pixel, give it the weight 0.
    ///
    /// In a softmax loss those of a pixel add up to 1, to within 1e-3 (1e-2 where they are of half
    /// precision); as far they may be from `[0, 1]`, and are then read as 0 or 1. Others make a
    /// call give [`LossError::SharesSum`] or [`LossError::ValueOutOfRange`]. It is the activation
    /// of the loss that counts, and not one that a term has of its own: it says whether the classes
    /// exclude each other.
    #[must_use]
    pub fn soft<S: Share, D: Dimension>(shares: ArrayView<'a, S, D>) -> Self {
        Self::new(Values::Soft(S::own(row_major(&shares))), shares.shape())
    }

    fn new(values: Values<'a>, shape: &[usize]) -> Self {
        Self { values, shape: shape.to_vec(), weights: None, prior: None, spacing: None, maps: Vec::new() }
    }

    /// Weights ≥ 0 of the pixels, `[N, *spatial]` or `[N, 1, *spatial]`.
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

    /// The maps that a loss derives from the target alone, for logits of this shape: id and values
    /// of each. `boundary` has one, `signed_distances`.
    ///
    /// Add them to the target with [`Target::map`], and later calls do not derive them again.
    /// Weights and spacing go into the maps: set them first.
    ///
    /// ```
    /// use backend_ndarray::{NdarrayLoss, Target};
    /// use ndarray::{Array2, Array3};
    ///
    /// let loss: loss_core::Loss = "ce + 0.1 * boundary".parse()?;
    /// let labels = Array2::from_shape_fn((1, 9), |(_, s)| u8::from(s > 5));
    /// let logits = Array3::<f32>::zeros((1, 2, 9));
    /// let plain = Target::labels(labels.view()).spacing(&[0.5]);
    /// let maps = plain.derived_maps(&loss, logits.shape())?;
    /// let mut target = plain.clone();
    /// for (id, map) in &maps {
    ///     target = target.map(id, map.view());
    /// }
    /// assert_eq!(maps.len(), 1);
    /// assert_eq!(loss.value(logits.view(), &target)?, loss.value(logits.view(), &plain)?);
    /// # Ok::<(), loss_core::LossError>(())
    /// ```
    ///
    /// # Errors
    /// Those of a call of the loss that are about the target, its maps, or the shape.
    pub fn derived_maps(&self, loss: &Loss, logits: &[usize]) -> Result<Vec<(String, ArrayD<f32>)>, LossError> {
        let problem = self.problem(logits, loss.ignored(), loss.activation())?;
        let classes = logits.get(1).copied().unwrap_or(1);
        let program = loss.program(classes, Detail::Total)?;
        let named = |(_, map): (&Map, DerivedMap)| {
            let shape: Vec<usize> =
                logits.iter().enumerate().map(|(axis, &n)| if axis == 1 { map.channels } else { n }).collect();
            let got = map.values.len();
            let values = ArrayD::from_shape_vec(shape.clone(), map.values.to_vec());
            values.map(|values| (map.id, values)).map_err(|_| LossError::Length { what: "map", shape, got })
        };
        problem.derive_of_target(program.plan())?.into_iter().map(named).collect()
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
            Values::Labels(values) => loss_kernels::Target::Labels(values.labels()),
            Values::Soft(values) => loss_kernels::Target::Soft(values.shares()),
        };
        let weights = self.weights.as_ref().map(|(values, shape)| (values.shares(), shape.as_slice()));
        let problem = Problem::new(logits, (target, &self.shape), weights, ignore, activation)?;
        let problem = self.spacing.iter().try_fold(problem, |problem, spacing| problem.with_spacing(spacing))?;
        self.maps.iter().try_fold(problem, |problem, (name, values, shape)| problem.with_map(name, values.shares(), shape))
    }
}
