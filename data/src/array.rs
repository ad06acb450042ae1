//! Numbers as a file holds them.

use half::f16;
use ndarray::{ArrayD, Axis, IxDyn, Slice};

/// An array of one of the types that are kept as they are. All others are widened to the next of
/// them that holds every value.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// float16
    F16(ArrayD<f16>),
    /// float32, bfloat16
    F32(ArrayD<f32>),
    /// float64
    F64(ArrayD<f64>),
    /// bool, uint8
    U8(ArrayD<u8>),
    /// int16, int8
    I16(ArrayD<i16>),
    /// uint16
    U16(ArrayD<u16>),
    /// int32
    I32(ArrayD<i32>),
    /// uint32, int64, and uint64 below 2^63
    I64(ArrayD<i64>),
}

/// Does the same to an array of whatever type.
macro_rules! each {
    ($array:expr, $a:ident => $do:expr) => {
        match $array {
            Array::F16($a) => $do,
            Array::F32($a) => $do,
            Array::F64($a) => $do,
            Array::U8($a) => $do,
            Array::I16($a) => $do,
            Array::U16($a) => $do,
            Array::I32($a) => $do,
            Array::I64($a) => $do,
        }
    };
}

impl Array {
    /// Lengths of its axes.
    pub fn shape(&self) -> &[usize] {
        each!(self, a => a.shape())
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        each!(self, a => a.len())
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it holds floats.
    pub fn is_float(&self) -> bool {
        matches!(self, Self::F16(_) | Self::F32(_) | Self::F64(_))
    }

    /// Its elements in row-major order, each rounded to another type.
    pub fn cast<E>(&self, round: impl Fn(f64) -> E) -> ArrayD<E> {
        match self {
            Self::F16(a) => a.map(|&v| round(v.into())),
            Self::F32(a) => a.map(|&v| round(v.into())),
            Self::F64(a) => a.map(|&v| round(v)),
            Self::U8(a) => a.map(|&v| round(v.into())),
            Self::I16(a) => a.map(|&v| round(v.into())),
            Self::U16(a) => a.map(|&v| round(v.into())),
            Self::I32(a) => a.map(|&v| round(v.into())),
            Self::I64(a) => a.map(|&v| round(v as f64)),
        }
    }

    /// Its elements as float64.
    pub fn floats(&self) -> ArrayD<f64> {
        self.cast(|value| value)
    }

    /// Its elements as int64, unless they are floats.
    pub fn integers(&self) -> Option<ArrayD<i64>> {
        match self {
            Self::U8(a) => Some(a.mapv(i64::from)),
            Self::I16(a) => Some(a.mapv(i64::from)),
            Self::U16(a) => Some(a.mapv(i64::from)),
            Self::I32(a) => Some(a.mapv(i64::from)),
            Self::I64(a) => Some(a.clone()),
            Self::F16(_) | Self::F32(_) | Self::F64(_) => None,
        }
    }

    /// Name of its type, after widening.
    pub fn dtype(&self) -> &'static str {
        match self {
            Self::F16(_) => "float16",
            Self::F32(_) => "float32",
            Self::F64(_) => "float64",
            Self::U8(_) => "uint8",
            Self::I16(_) => "int16",
            Self::U16(_) => "uint16",
            Self::I32(_) => "int32",
            Self::I64(_) => "int64",
        }
    }

    /// Its elements one after the other, in row-major order.
    pub fn each(&self, mut see: impl FnMut(f64)) {
        match self {
            Self::F16(a) => a.iter().for_each(|&v| see(v.into())),
            Self::F32(a) => a.iter().for_each(|&v| see(v.into())),
            Self::F64(a) => a.iter().for_each(|&v| see(v)),
            Self::U8(a) => a.iter().for_each(|&v| see(v.into())),
            Self::I16(a) => a.iter().for_each(|&v| see(v.into())),
            Self::U16(a) => a.iter().for_each(|&v| see(v.into())),
            Self::I32(a) => a.iter().for_each(|&v| see(v.into())),
            Self::I64(a) => a.iter().for_each(|&v| see(v as f64)),
        }
    }

    /// The same numbers in another shape; none where their count is another one.
    pub fn reshaped(self, shape: &[usize]) -> Option<Self> {
        fn reshape<E: Clone>(a: ArrayD<E>, shape: &[usize]) -> Option<ArrayD<E>> {
            let a = if a.is_standard_layout() { a } else { a.as_standard_layout().into_owned() };
            a.into_shape_with_order(IxDyn(shape)).ok()
        }
        Some(match self {
            Self::F16(a) => Self::F16(reshape(a, shape)?),
            Self::F32(a) => Self::F32(reshape(a, shape)?),
            Self::F64(a) => Self::F64(reshape(a, shape)?),
            Self::U8(a) => Self::U8(reshape(a, shape)?),
            Self::I16(a) => Self::I16(reshape(a, shape)?),
            Self::U16(a) => Self::U16(reshape(a, shape)?),
            Self::I32(a) => Self::I32(reshape(a, shape)?),
            Self::I64(a) => Self::I64(reshape(a, shape)?),
        })
    }

    /// The first entries along an axis.
    pub(crate) fn first_of(self, axis: Axis, count: usize) -> Self {
        fn first<E: Clone>(a: ArrayD<E>, axis: Axis, count: usize) -> ArrayD<E> {
            if a.len_of(axis) <= count { a } else { a.slice_axis(axis, Slice::from(0..count)).into_owned() }
        }
        match self {
            Self::F16(a) => Self::F16(first(a, axis, count)),
            Self::F32(a) => Self::F32(first(a, axis, count)),
            Self::F64(a) => Self::F64(first(a, axis, count)),
            Self::U8(a) => Self::U8(first(a, axis, count)),
            Self::I16(a) => Self::I16(first(a, axis, count)),
            Self::U16(a) => Self::U16(first(a, axis, count)),
            Self::I32(a) => Self::I32(first(a, axis, count)),
            Self::I64(a) => Self::I64(first(a, axis, count)),
        }
    }

    /// With one axis moved to the front: no number is copied.
    pub(crate) fn front(self, axis: usize) -> Self {
        fn front<E>(a: ArrayD<E>, axis: usize) -> ArrayD<E> {
            if axis >= a.ndim() {
                return a;
            }
            let order: Vec<usize> = std::iter::once(axis).chain((0..a.ndim()).filter(|&i| i != axis)).collect();
            a.permuted_axes(IxDyn(&order))
        }
        match self {
            Self::F16(a) => Self::F16(front(a, axis)),
            Self::F32(a) => Self::F32(front(a, axis)),
            Self::F64(a) => Self::F64(front(a, axis)),
            Self::U8(a) => Self::U8(front(a, axis)),
            Self::I16(a) => Self::I16(front(a, axis)),
            Self::U16(a) => Self::U16(front(a, axis)),
            Self::I32(a) => Self::I32(front(a, axis)),
            Self::I64(a) => Self::I64(front(a, axis)),
        }
    }
}
