//! The arrays of an evaluation, from the files that people have.

use std::fmt::{Display, Formatter};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ndarray::{ArrayD, Axis};
use segloss_data::formats::{Header, read_array};
use segloss_data::{Array, Limits, shown};

use crate::error::CliError;

/// A file, and which of its arrays is meant: `FILE` or `FILE.npz:NAME`.
#[derive(Clone, Debug)]
pub(crate) struct ArrayArg {
    /// The file.
    pub(crate) path: PathBuf,
    /// The array of an archive.
    pub(crate) member: Option<String>,
}

impl FromStr for ArrayArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A file whose own name has a colon is meant as it stands.
        let split = text.rsplit_once(':').filter(|(file, _)| !Path::new(text).exists() && is_archive(file));
        match split {
            Some((_, "")) => Err("expected FILE.npz:NAME".into()),
            Some((file, name)) => Ok(Self { path: file.into(), member: Some(name.into()) }),
            None if text.is_empty() => Err("expected a file".into()),
            None => Ok(Self { path: text.into(), member: None }),
        }
    }
}

/// Whether what stands before a colon is a file with arrays of names.
fn is_archive(file: &str) -> bool {
    file.to_ascii_lowercase().ends_with(".npz") || Path::new(file).is_file()
}

impl Display for ArrayArg {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", shown(&self.path))?;
        self.member.as_ref().map_or(Ok(()), |member| write!(f, ":{member}"))
    }
}

/// What an array is, which says how its axes are completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `[N, K, *spatial]`, as logits and maps.
    Channels,
    /// `[N, *spatial]`, as labels and weights.
    Pixels,
}

/// An array with what its file says of it.
pub(super) struct Loaded {
    /// The file and the array.
    pub(super) from: ArrayArg,
    /// Its numbers.
    pub(super) values: Array,
    /// What the file says.
    pub(super) header: Header,
}

impl Loaded {
    /// Reads an array; integers, if asked for, in the smallest type that holds them.
    pub(super) fn read(from: &ArrayArg, narrow: bool, limit: Option<u64>) -> Result<Self, CliError> {
        let length = std::fs::metadata(&from.path).map_err(|error| CliError::io(&from.path, error))?.len();
        // What is stored as it is never takes more than the file.
        let limits = Limits { bytes: limit.unwrap_or(Limits::default().bytes.max(length)) };
        let raster = read_array(&from.path, from.member.as_deref(), narrow, &limits)?;
        let mut from = from.clone();
        from.member = raster.header.member.clone();
        let values = match raster.header.scaling {
            None => raster.values,
            Some([slope, intercept]) => Array::F32(raster.values.cast(|v| (v * slope + intercept) as f32)),
        };
        Ok(Self { from, values, header: raster.header })
    }

    /// Axes of space, where the file says which they are: in NIfTI.
    pub(super) fn space(&self) -> Option<usize> {
        self.header.axes_known.then_some(self.header.size.len())
    }

    /// With an axis of one sample where the array has none: always so in NIfTI, and in other files
    /// if they have one axis less than `space`, which a NIfTI file beside them gives, and their
    /// place need. Says what was done.
    pub(super) fn completed(&mut self, place: Place, space: Option<usize>, told: &mut Vec<String>) -> Result<(), CliError> {
        let shape = self.values.shape().to_vec();
        let new = match (self.space(), space) {
            // [C, *space]: one channel of labels or weights is its sample.
            (Some(_), _) if place == Place::Pixels && shape.first() == Some(&1) => shape.clone(),
            (Some(_), _) => [&[1], &shape[..]].concat(),
            (None, Some(space)) if shape.len() == space + usize::from(place == Place::Channels) => {
                told.push(format!("{}: {shape:?} is taken as one sample, as NIfTI beside it is", self.from));
                [&[1], &shape[..]].concat()
            }
            (None, _) => return Ok(()),
        };
        let empty = Array::U8(ArrayD::from_elem(vec![0], 0));
        let unfit = || CliError::Array { path: self.from.path.clone(), reason: format!("has no shape {new:?}") };
        self.values = std::mem::replace(&mut self.values, empty).reshaped(&new).ok_or_else(unfit)?;
        Ok(())
    }

    /// Refuses another grid than that of an array beside it, where both files say theirs.
    pub(super) fn on_grid_of(&self, other: &Self) -> Result<(), CliError> {
        let (own, others) = (&self.header, &other.header);
        let fail = |what: &str, found: String, expected: String| {
            let reason = format!("{what} {found}, but {} has {expected}; bring both onto one grid first", other.from);
            Err(CliError::Array { path: self.from.path.clone(), reason })
        };
        match (&own.orientation, &others.orientation) {
            (Some(a), Some(b)) if a != b => return fail("its axes run to", a.clone(), b.clone()),
            _ => {}
        }
        match (&own.spacing, &others.spacing) {
            (Some(a), Some(b)) if a.len() == b.len() && a.iter().zip(b).any(|(a, b)| (a - b).abs() > 1e-3 * b.abs()) => {
                fail("its spacing is", lengths(a), lengths(b))
            }
            _ => Ok(()),
        }
    }

    /// Labels of a NIfTI volume that was saved as floats, as most programs do.
    pub(super) fn whole_numbers(&mut self) -> Result<(), CliError> {
        let shape = self.values.shape().to_vec();
        let (mut odd, mut at) = (None, 0usize);
        self.values.each(|v| {
            if v != v.round() || v.abs() >= 2f64.powi(31) {
                odd.get_or_insert((v, at));
            }
            at += 1;
        });
        if let Some((value, at)) = odd {
            let position = segloss::Geometry::position(&shape, at);
            let reason =
                format!("holds {value:?} at {position:?}, which is no class; soft targets have a channel for each class");
            return Err(CliError::Array { path: self.from.path.clone(), reason });
        }
        self.values = Array::I32(self.values.cast(|v| v as i32));
        Ok(())
    }
}

/// Lengths as they are typed.
pub(super) fn lengths(lengths: &[f64]) -> String {
    lengths.iter().map(f64::to_string).collect::<Vec<_>>().join(",")
}

/// Integers in a type that every backend can be given.
pub(super) enum Labels {
    /// uint8
    U8(ArrayD<u8>),
    /// int32
    I32(ArrayD<i32>),
    /// int64
    I64(ArrayD<i64>),
}

impl Labels {
    /// Those of an array of integers; none of floats.
    pub(super) fn of(array: Array) -> Result<Self, Array> {
        match array {
            Array::U8(a) => Ok(Self::U8(row_major(a))),
            Array::I32(a) => Ok(Self::I32(row_major(a))),
            Array::I64(a) => Ok(Self::I64(row_major(a))),
            other => other.integers().map(|a| Self::I64(row_major(a))).ok_or(other),
        }
    }

    /// Lengths of its axes.
    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Self::U8(a) => a.shape(),
            Self::I32(a) => a.shape(),
            Self::I64(a) => a.shape(),
        }
    }

    /// As int64.
    pub(super) fn wide(&self) -> ArrayD<i64> {
        match self {
            Self::U8(a) => a.mapv(i64::from),
            Self::I32(a) => a.mapv(i64::from),
            Self::I64(a) => a.clone(),
        }
    }

    /// The label at a place in row-major order of arrays as they are read; 0 outside.
    pub(super) fn at(&self, place: usize) -> i64 {
        match self {
            Self::U8(a) => at(a, place).into(),
            Self::I32(a) => at(a, place).into(),
            Self::I64(a) => at(a, place),
        }
    }

    /// One sample of them.
    pub(super) fn sample(&self, n: usize) -> Self {
        match self {
            Self::U8(a) => Self::U8(one(a, n)),
            Self::I32(a) => Self::I32(one(a, n)),
            Self::I64(a) => Self::I64(one(a, n)),
        }
    }
}

/// Floats in a type that every backend can be given.
pub(super) enum Floats {
    /// float32
    F32(ArrayD<f32>),
    /// float64
    F64(ArrayD<f64>),
}

impl Floats {
    /// The numbers of any array, in the smaller type that holds them exactly.
    pub(super) fn of(array: Array) -> Self {
        match array {
            Array::F32(a) => Self::F32(row_major(a)),
            Array::F64(a) => Self::F64(row_major(a)),
            Array::F16(_) | Array::U8(_) | Array::I16(_) | Array::U16(_) => Self::F32(row_major(array.cast(|v| v as f32))),
            Array::I32(_) | Array::I64(_) => Self::F64(row_major(array.floats())),
        }
    }

    /// Lengths of its axes.
    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Self::F32(a) => a.shape(),
            Self::F64(a) => a.shape(),
        }
    }

    /// The number at a place in row-major order; 0 outside.
    pub(super) fn at(&self, place: usize) -> f64 {
        match self {
            Self::F32(a) => at(a, place).into(),
            Self::F64(a) => at(a, place),
        }
    }

    /// As float64.
    pub(super) fn wide(&self) -> ArrayD<f64> {
        match self {
            Self::F32(a) => a.mapv(f64::from),
            Self::F64(a) => a.clone(),
        }
    }

    /// One sample of them.
    pub(super) fn sample(&self, n: usize) -> Self {
        match self {
            Self::F32(a) => Self::F32(one(a, n)),
            Self::F64(a) => Self::F64(one(a, n)),
        }
    }
}

/// The number at a place in row-major order.
fn at<E: Copy + Default>(array: &ArrayD<E>, place: usize) -> E {
    array.as_slice().and_then(|values| values.get(place)).copied().unwrap_or_default()
}

/// The same array with its last axis the fastest.
fn row_major<E: Clone>(array: ArrayD<E>) -> ArrayD<E> {
    if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() }
}

/// One sample of an array, which keeps its axis.
pub(super) fn one<E: Clone>(array: &ArrayD<E>, n: usize) -> ArrayD<E> {
    array.slice_axis(Axis(0), (n..n + 1).into()).to_owned()
}

/// The same of an array of any type.
pub(super) fn sample(array: &Array, n: usize) -> Array {
    match array {
        Array::F16(a) => Array::F16(one(a, n)),
        Array::F32(a) => Array::F32(one(a, n)),
        Array::F64(a) => Array::F64(one(a, n)),
        Array::U8(a) => Array::U8(one(a, n)),
        Array::I16(a) => Array::I16(one(a, n)),
        Array::U16(a) => Array::U16(one(a, n)),
        Array::I32(a) => Array::I32(one(a, n)),
        Array::I64(a) => Array::I64(one(a, n)),
    }
}
