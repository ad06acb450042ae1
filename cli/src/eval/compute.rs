//! The numbers of an evaluation, by any backend and in any float type. Logits that are of that type
//! already are read in place.

use burn::tensor::{DType, Device, Element as BurnElement, Int, Tensor, TensorData};
use half::{bf16, f16};
use ndarray::{ArrayD, ArrayViewD};
use segloss::backend::Table;
use segloss::burn::BurnTarget;
use segloss::ndarray::{Element, Target};
use segloss::{Evaluation, LossError};
use segloss_data::Array;

use super::arrays::{Floats, Labels};
use super::input::{Input, TargetArray};
use super::pixels::pixels;
use super::values::Backend;
use crate::error::CliError;

/// What came out.
pub(super) struct Output {
    /// Total, terms and classes.
    pub(super) evaluation: Evaluation,
    /// The gradient, if it was asked for.
    pub(super) gradient: Option<Gradient>,
    /// Each term per sample and class, if that was asked for.
    pub(super) tables: Option<Vec<Option<Table>>>,
    /// What each pixel contributes to each term, if that was asked for.
    pub(super) pixels: Option<Vec<Option<ArrayD<f32>>>>,
}

/// A gradient in a type that .npy has.
pub(super) enum Gradient {
    /// float32
    F32(ArrayD<f32>),
    /// float64
    F64(ArrayD<f64>),
}

/// A type that a loss can be computed in.
pub(super) trait Scalar: Element + BurnElement + Into<f64> {
    /// Rounds to this type.
    fn round(value: f64) -> Self;
    /// An array that is of this type.
    fn of(array: &Array) -> Option<ArrayViewD<'_, Self>>;
    /// A gradient of this type, as it is written.
    fn gradient(values: ArrayD<Self>) -> Gradient;
    /// LibTorch's name of it.
    #[cfg(feature = "tch")]
    const KIND: tch::Kind;
}

impl Scalar for f32 {
    #[cfg(feature = "tch")]
    const KIND: tch::Kind = tch::Kind::Float;
    fn of(array: &Array) -> Option<ArrayViewD<'_, Self>> {
        if let Array::F32(array) = array { Some(array.view()) } else { None }
    }
    fn round(value: f64) -> Self {
        value as Self
    }
    fn gradient(values: ArrayD<Self>) -> Gradient {
        Gradient::F32(values)
    }
}

impl Scalar for f64 {
    #[cfg(feature = "tch")]
    const KIND: tch::Kind = tch::Kind::Double;
    fn of(array: &Array) -> Option<ArrayViewD<'_, Self>> {
        if let Array::F64(array) = array { Some(array.view()) } else { None }
    }
    fn round(value: f64) -> Self {
        value
    }
    fn gradient(values: ArrayD<Self>) -> Gradient {
        Gradient::F64(values)
    }
}

impl Scalar for f16 {
    #[cfg(feature = "tch")]
    const KIND: tch::Kind = tch::Kind::Half;
    fn of(array: &Array) -> Option<ArrayViewD<'_, Self>> {
        if let Array::F16(array) = array { Some(array.view()) } else { None }
    }
    fn round(value: f64) -> Self {
        Self::from_f64(value)
    }
    fn gradient(values: ArrayD<Self>) -> Gradient {
        Gradient::F32(values.mapv(f32::from))
    }
}

impl Scalar for bf16 {
    #[cfg(feature = "tch")]
    const KIND: tch::Kind = tch::Kind::BFloat16;
    fn of(_: &Array) -> Option<ArrayViewD<'_, Self>> {
        None
    }
    fn round(value: f64) -> Self {
        Self::from_f64(value)
    }
    fn gradient(values: ArrayD<Self>) -> Gradient {
        Gradient::F32(values.mapv(f32::from))
    }
}

/// Evaluates a loss in a type, and its gradient where that is asked for.
pub(super) fn compute<E: Scalar>(input: &Input) -> Result<Output, CliError> {
    let rounded: ArrayD<E>;
    let logits = match E::of(&input.logits) {
        Some(logits) => logits,
        None => {
            rounded = input.logits.cast(E::round);
            rounded.view()
        }
    };
    let mut output = match input.backend {
        Backend::Ndarray => with_ndarray(input, &logits)?,
        Backend::Burn => with_burn(input, &logits)?,
        #[cfg(feature = "tch")]
        Backend::Tch => super::libtorch::evaluate(input, &logits)?,
        #[cfg(not(feature = "tch"))]
        Backend::Tch => return Err(CliError::without_libtorch()),
    };
    if let (true, Some(tables)) = (input.pixels, &output.tables) {
        output.pixels = Some(pixels(input, &logits, tables)?);
    }
    Ok(output)
}

impl Input {
    /// The target as the backend ndarray reads it.
    pub(super) fn target(&self) -> Target<'_> {
        let target = match &self.target {
            TargetArray::Labels(Labels::U8(labels)) => Target::labels(labels.view()),
            TargetArray::Labels(Labels::I32(labels)) => Target::labels(labels.view()),
            TargetArray::Labels(Labels::I64(labels)) => Target::labels(labels.view()),
            TargetArray::Soft(Floats::F32(shares)) => Target::soft(shares.view()),
            TargetArray::Soft(Floats::F64(shares)) => Target::soft(shares.view()),
        };
        let target = match &self.weights {
            Some(Floats::F32(weights)) => target.weights(weights.view()),
            Some(Floats::F64(weights)) => target.weights(weights.view()),
            None => target,
        };
        let target = self.spacing.iter().fold(target, |target, spacing| target.spacing(spacing));
        self.maps.iter().fold(target, |target, (name, map)| match map {
            Floats::F32(map) => target.map(name, map.view()),
            Floats::F64(map) => target.map(name, map.view()),
        })
    }
}

fn with_ndarray<E: Scalar>(input: &Input, logits: &ArrayViewD<'_, E>) -> Result<Output, LossError> {
    use segloss::ndarray::NdarrayLoss;
    let target = input.target();
    let evaluation = input.loss.evaluate(logits.view(), &target)?;
    let gradient =
        if input.gradient { Some(E::gradient(input.loss.value_and_gradient(logits.view(), &target)?.gradient)) } else { None };
    let tables = if input.elements { Some(input.loss.elements(logits.view(), &target)?) } else { None };
    Ok(Output { evaluation, gradient, tables, pixels: None })
}

/// Calls a function that is generic over a tensor's rank with the rank of a shape.
macro_rules! with_rank {
    ($what:literal, $shape:expr, $R:ident => $call:expr) => {
        match $shape.len() {
            1 => {
                const $R: usize = 1;
                $call
            }
            2 => {
                const $R: usize = 2;
                $call
            }
            3 => {
                const $R: usize = 3;
                $call
            }
            4 => {
                const $R: usize = 4;
                $call
            }
            5 => {
                const $R: usize = 5;
                $call
            }
            6 => {
                const $R: usize = 6;
                $call
            }
            _ => Err(CliError::from(LossError::Unsupported {
                what: $what,
                got: format!("shape {:?}", $shape),
                expected: "at most 6 axes with Burn",
            })),
        }
    };
}

fn with_burn<E: Scalar>(input: &Input, logits: &ArrayViewD<'_, E>) -> Result<Output, CliError> {
    let target = match &input.target {
        TargetArray::Labels(labels) => with_rank!("target", labels.shape(), R => {
            Ok(BurnTarget::labels::<R>(Tensor::<R, Int>::from_data(data(&labels.wide().view()), (&Device::flex(), DType::I64))))
        })?,
        TargetArray::Soft(shares) => with_rank!("target", shares.shape(), R => {
            Ok(BurnTarget::soft::<R>(Tensor::<R>::from_data(data(&shares.wide().view()), (&Device::flex(), DType::F64))))
        })?,
    };
    let target = match &input.weights {
        None => target,
        Some(weights) => with_rank!("weights", weights.shape(), R => {
            Ok(target.weights::<R>(Tensor::<R>::from_data(data(&weights.wide().view()), (&Device::flex(), DType::F64))))
        })?,
    };
    let mut target = input.spacing.iter().fold(target, |target, spacing| target.spacing(spacing));
    for (name, map) in &input.maps {
        target = with_rank!("map", map.shape(), R => {
            Ok(target.map::<R>(name, Tensor::<R>::from_data(data(&map.wide().view()), (&Device::flex(), DType::F64))))
        })?;
    }
    with_rank!("logits", logits.shape(), R => by_rank::<E, R>(input, logits, &target))
}

fn by_rank<E: Scalar, const R: usize>(
    input: &Input,
    logits: &ArrayViewD<'_, E>,
    target: &BurnTarget,
) -> Result<Output, CliError> {
    use segloss::burn::BurnLoss;
    let tensor = Tensor::<R>::from_data(data(logits), (&Device::flex().autodiff(), E::dtype()));
    let evaluation = input.loss.evaluate(tensor.clone(), target)?;
    let tables = if input.elements { Some(input.loss.elements(tensor.clone(), target)?) } else { None };
    let gradient = if input.gradient {
        let tensor = tensor.require_grad();
        let gradients = input.loss.forward(tensor.clone(), target)?.total.backward();
        // A loss that does not depend on the logits has no gradient on the tape.
        let values = match tensor.grad(&gradients) {
            Some(gradient) => gradient.try_into_vec_as::<E>().map_err(|error| CliError::Tensor(error.to_string()))?,
            None => vec![E::round(0.0); logits.len()],
        };
        let values = ArrayD::from_shape_vec(logits.raw_dim(), values).map_err(|error| CliError::Tensor(error.to_string()))?;
        Some(E::gradient(values))
    } else {
        None
    };
    Ok(Output { evaluation, gradient, tables, pixels: None })
}

/// An array's elements in row-major order.
fn data<T: BurnElement>(array: &ArrayViewD<'_, T>) -> TensorData {
    TensorData::new(array.iter().copied().collect::<Vec<T>>(), array.shape())
}
