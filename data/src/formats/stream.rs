//! Numbers off a stream, decoded as they arrive: a file's bytes are never in memory beside its
//! numbers, and memory grows with the bytes that are there, not with those that a header claims.

use std::io::Read;
use std::path::Path;

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn, ShapeBuilder};

use crate::array::Array;
use crate::error::DataError;

/// Bytes that are decoded at a time, in whole elements.
const BLOCK: usize = 1 << 16;

/// A type that numbers have in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Bool,
    U8,
    I8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F16,
    BF16,
    F32,
    F64,
}

impl Stored {
    /// numpy's name for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::U16 => "uint16",
            Self::I32 => "int32",
            Self::U32 => "uint32",
            Self::I64 => "int64",
            Self::U64 => "uint64",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }

    /// Bytes of an element.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::I16 | Self::U16 | Self::F16 | Self::BF16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }
}

/// The numbers that follow in a stream.
pub(super) struct Numbers<'a> {
    /// The file, for errors.
    pub(super) path: &'a Path,
    /// Where they come from.
    pub(super) from: &'a mut dyn Read,
    /// Whether the high byte comes first.
    pub(super) big: bool,
    /// Whether the file is long enough to hold them, so that memory is taken once.
    pub(super) there: bool,
    /// Whether integers are kept in the first of uint8, int32 and int64 that holds them all.
    pub(super) narrow: bool,
    /// Says what a failing stream means.
    pub(super) damaged: &'a dyn Fn(std::io::Error) -> DataError,
}

impl Numbers<'_> {
    /// An array of a shape, whose last axis is the fastest unless `fortran` says the first.
    pub(super) fn array(&mut self, stored: Stored, shape: &[usize], fortran: bool) -> Result<Array, DataError> {
        let order = Order { path: self.path, shape, fortran };
        // No file of fewer bytes has been let through; what overflows here ends as truncated.
        let count = shape.iter().fold(1usize, |n, &axis| n.saturating_mul(axis));
        if self.narrow && !stored.is_float() {
            let integers = match stored {
                Stored::I8 => self.narrowed(count, |b| i8::from_le_bytes(b).into())?,
                Stored::I16 => self.narrowed(count, |b| i16::from_le_bytes(b).into())?,
                Stored::U16 => self.narrowed(count, |b| u16::from_le_bytes(b).into())?,
                Stored::I32 => self.narrowed(count, |b| i32::from_le_bytes(b).into())?,
                Stored::U32 => self.narrowed(count, |b| u32::from_le_bytes(b).into())?,
                Stored::I64 | Stored::U64 => self.narrowed(count, i64::from_le_bytes)?,
                _ => self.narrowed(count, |b| u8::from_le_bytes(b).into())?,
            };
            return Ok(match integers {
                Narrow::U8(values) => Array::U8(order.of(values)?),
                Narrow::I32(values) => Array::I32(order.of(self.below_2_63(stored, values)?)?),
                Narrow::I64(values) => Array::I64(order.of(self.below_2_63(stored, values)?)?),
            });
        }
        Ok(match stored {
            Stored::F16 => Array::F16(order.of(self.all(count, f16::from_le_bytes)?)?),
            Stored::BF16 => Array::F32(order.of(self.all(count, |b| bf16::from_le_bytes(b).to_f32())?)?),
            Stored::F32 => Array::F32(order.of(self.all(count, f32::from_le_bytes)?)?),
            Stored::F64 => Array::F64(order.of(self.all(count, f64::from_le_bytes)?)?),
            Stored::Bool | Stored::U8 => Array::U8(order.of(self.all(count, u8::from_le_bytes)?)?),
            Stored::I8 => Array::I16(order.of(self.all(count, |b| i8::from_le_bytes(b).into())?)?),
            Stored::I16 => Array::I16(order.of(self.all(count, i16::from_le_bytes)?)?),
            Stored::U16 => Array::U16(order.of(self.all(count, u16::from_le_bytes)?)?),
            Stored::I32 => Array::I32(order.of(self.all(count, i32::from_le_bytes)?)?),
            Stored::U32 => Array::I64(order.of(self.all(count, |b| u32::from_le_bytes(b).into())?)?),
            Stored::I64 => Array::I64(order.of(self.all(count, i64::from_le_bytes)?)?),
            Stored::U64 => {
                let values = self.all(count, i64::from_le_bytes)?;
                Array::I64(order.of(self.below_2_63(stored, values)?)?)
            }
        })
    }

    /// Refuses uint64 that are negative as int64.
    fn below_2_63<E: Copy + Into<i64>>(&self, stored: Stored, values: Vec<E>) -> Result<Vec<E>, DataError> {
        match values.iter().map(|&number| number.into()).find(|&number| stored == Stored::U64 && number < 0) {
            None => Ok(values),
            Some(number) => Err(DataError::WrongType {
                path: self.path.to_path_buf(),
                what: "elements",
                expected: "numbers below 2^63",
                found: (number as u64).to_string(),
            }),
        }
    }

    /// So many, each decoded from its bytes in little-endian order.
    fn all<E, const B: usize>(&mut self, count: usize, decode: impl Fn([u8; B]) -> E) -> Result<Vec<E>, DataError> {
        let (path, there) = (self.path, self.there);
        let mut values = Vec::new();
        self.blocks(count, |block| {
            room(path, &mut values, block.len(), count, there)?;
            values.extend(block.iter().map(|&bytes| decode(bytes)));
            Ok(())
        })?;
        Ok(values)
    }

    /// Integers, in the first of uint8, int32 and int64 that holds them all.
    fn narrowed<const B: usize>(&mut self, count: usize, decode: impl Fn([u8; B]) -> i64) -> Result<Narrow, DataError> {
        let (path, there) = (self.path, self.there);
        let mut values = Narrow::U8(Vec::new());
        self.blocks(count, |block| {
            let numbers = block.iter().map(|&bytes| decode(bytes));
            values.widen_for(path, numbers.clone(), count)?;
            // Nothing is cut off: the type was chosen by these numbers.
            match &mut values {
                Narrow::U8(all) => {
                    room(path, all, block.len(), count, there)?;
                    all.extend(numbers.map(|v| v as u8));
                }
                Narrow::I32(all) => {
                    room(path, all, block.len(), count, there)?;
                    all.extend(numbers.map(|v| v as i32));
                }
                Narrow::I64(all) => {
                    room(path, all, block.len(), count, there)?;
                    all.extend(numbers);
                }
            }
            Ok(())
        })?;
        Ok(values)
    }

    /// Hands them over in blocks.
    fn blocks<const B: usize>(
        &mut self,
        count: usize,
        mut see: impl FnMut(&[[u8; B]]) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let all = count.saturating_mul(B);
        let mut block = vec![0; all.min(BLOCK)];
        let mut done = 0;
        while done < all {
            let wanted = (all - done).min(block.len());
            let part = block.get_mut(..wanted).unwrap_or_default();
            let found = fill(self.from, part).map_err(self.damaged)?;
            if found < wanted {
                let (expected, found) = (all as u64, (done + found) as u64);
                return Err(DataError::Truncated { path: self.path.to_path_buf(), expected, found });
            }
            let (elements, _) = part.as_chunks_mut::<B>();
            if self.big {
                elements.iter_mut().for_each(|bytes| bytes.reverse());
            }
            see(elements)?;
            done += wanted;
        }
        Ok(())
    }
}

/// The order of an array's numbers.
struct Order<'a> {
    path: &'a Path,
    shape: &'a [usize],
    fortran: bool,
}

impl Order<'_> {
    fn of<E>(&self, values: Vec<E>) -> Result<ArrayD<E>, DataError> {
        ArrayD::from_shape_vec(IxDyn(self.shape).set_f(self.fortran), values)
            .map_err(|error| DataError::values(self.path, error.to_string()))
    }
}

/// Integers in one of the types that the library reads as labels.
enum Narrow {
    U8(Vec<u8>),
    I32(Vec<i32>),
    I64(Vec<i64>),
}

impl Narrow {
    /// Makes place for numbers of a wider type.
    fn widen_for(
        &mut self,
        path: &Path,
        mut numbers: impl Iterator<Item = i64> + Clone,
        count: usize,
    ) -> Result<(), DataError> {
        fn widened<A: Copy, B: From<A>>(path: &Path, from: &[A], count: usize) -> Result<Vec<B>, DataError> {
            let mut wide = Vec::new();
            room(path, &mut wide, from.len(), count, false)?;
            wide.extend(from.iter().map(|&v| B::from(v)));
            Ok(wide)
        }
        let fits_u8 = |v: i64| u8::try_from(v).is_ok();
        let fits_i32 = |v: i64| i32::try_from(v).is_ok();
        let wider = match self {
            Self::U8(_) if numbers.clone().all(fits_u8) => None,
            Self::U8(few) if numbers.all(fits_i32) => Some(Self::I32(widened(path, few, count)?)),
            Self::U8(few) => Some(Self::I64(widened(path, few, count)?)),
            Self::I32(few) if !numbers.all(fits_i32) => Some(Self::I64(widened(path, few, count)?)),
            Self::I32(_) | Self::I64(_) => None,
        };
        if let Some(wider) = wider {
            *self = wider;
        }
        Ok(())
    }
}

/// Takes memory for more elements: twice as much each time, never more than for `count`.
fn room<E>(path: &Path, values: &mut Vec<E>, more: usize, count: usize, there: bool) -> Result<(), DataError> {
    let needed = values.len().saturating_add(more);
    if needed <= values.capacity() {
        return Ok(());
    }
    let wanted = if there { count } else { count.min(needed.max(values.capacity().saturating_mul(2))) };
    values.try_reserve_exact(wanted.max(needed) - values.len()).map_err(|_| DataError::TooLarge {
        path: path.to_path_buf(),
        claimed: count as u128 * size_of::<E>() as u128,
        limit: "more than the memory that is free".into(),
    })
}

/// Reads until a buffer is full or the stream ends.
pub(super) fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
