//! Arrays in `.npy` files.
//!
//! Read here rather than by a library because a header is not to be trusted (its size is checked
//! against the file before anything is allocated), half precision and bfloat16 must be understood,
//! as must what Python 2 wrote, and every refusal should say what was found.

use std::path::Path;

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn, ShapeBuilder};

use super::Format;
use crate::array::Array;
use crate::error::DataError;

/// Longest header that numpy itself writes is far below this.
const LONGEST_HEADER: usize = 1 << 16;

/// The facts of an `.npy` header, and where the data begins.
#[derive(Clone, Debug)]
pub(super) struct Header {
    descriptor: String,
    fortran: bool,
    /// Lengths of the axes.
    pub(super) shape: Vec<usize>,
    start: usize,
}

/// The most bytes that a header takes, with what stands before it.
pub(super) const ALL_HEADERS: usize = LONGEST_HEADER + 12;

/// An array of the bytes of a file.
///
/// # Errors
/// Not an `.npy` file, a header that is not understood, more or fewer bytes than it promises, or a
/// type that is no number.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Array, DataError> {
    let header = Header::parse(path, bytes)?;
    header.array(path, bytes.get(header.start..).unwrap_or_default())
}

impl Header {
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, DataError> {
        let refuse = |reason: String| DataError::values(path, reason);
        if bytes.starts_with(b"PK\x03\x04") {
            return Err(refuse(
                "an .npz archive of arrays, not an .npy file; take one out with numpy.save('a.npy', numpy.load('a.npz')[NAME])"
                    .into(),
            ));
        }
        if !bytes.starts_with(b"\x93NUMPY") {
            return Err(refuse("not an .npy file".into()));
        }
        let cut = || refuse("truncated: it ends within its header".into());
        let (length, start) = match bytes.get(6).ok_or_else(cut)? {
            1 => (usize::from(u16::from_le_bytes(take(bytes, 8).ok_or_else(cut)?)), 10),
            2 | 3 => (u32::from_le_bytes(take(bytes, 8).ok_or_else(cut)?) as usize, 12),
            version => return Err(refuse(format!(".npy version {version} is not known"))),
        };
        if length > LONGEST_HEADER {
            return Err(refuse(format!("its header claims {length} bytes, which no array needs")));
        }
        let header = bytes.get(start..start + length).ok_or_else(cut)?;
        let header = std::str::from_utf8(header).map_err(|_| refuse("its header is not text".into()))?;
        let mut header = Self::understand(header).ok_or_else(|| refuse("its header cannot be understood".into()))?;
        header.start = start + length;
        Ok(header)
    }

    /// Understands a dictionary with three keys in any order, as Python 2 and 3 write it and other
    /// libraries do: quotes of either kind, numbers with an `L` behind them.
    fn understand(text: &str) -> Option<Self> {
        let after = |key: &str| {
            let (_, rest) = text.split_once(&format!("'{key}'")).or_else(|| text.split_once(&format!("\"{key}\"")))?;
            rest.trim_start().strip_prefix(':').map(str::trim_start)
        };
        let descriptor = after("descr")?;
        let descriptor = match descriptor.chars().next()? {
            quote @ ('\'' | '"') => descriptor[1..].split_once(quote)?.0,
            // Records have a list here; they are passed on as they are, to be named in the refusal.
            _ => descriptor
                .split_once("fortran_order")
                .map_or(descriptor, |(list, _)| list)
                .trim_end_matches(['\'', '"', ' ', ',']),
        };
        let fortran = match after("fortran_order")? {
            text if text.starts_with("True") => true,
            text if text.starts_with("False") => false,
            _ => return None,
        };
        let shape = after("shape")?.strip_prefix('(')?.split_once(')')?.0;
        let axes = shape.split(',').map(str::trim).filter(|s| !s.is_empty());
        let shape = axes.map(|s| s.trim_end_matches(['L', 'l']).parse().ok()).collect::<Option<_>>()?;
        Some(Self { descriptor: descriptor.into(), fortran, shape, start: 0 })
    }

    /// Name of the type, as numpy calls it, and its bytes; none of what is no number.
    pub(super) fn dtype(&self) -> Option<(&'static str, usize)> {
        let (_, kind) = self.descriptor.split_at_checked(1).unwrap_or_default();
        Some(match kind {
            "f2" => ("float16", 2),
            "V2" => ("bfloat16", 2),
            "f4" => ("float32", 4),
            "f8" => ("float64", 8),
            "b1" => ("bool", 1),
            "u1" => ("uint8", 1),
            "i1" => ("int8", 1),
            "i2" => ("int16", 2),
            "u2" => ("uint16", 2),
            "i4" => ("int32", 4),
            "u4" => ("uint32", 4),
            "i8" => ("int64", 8),
            "u8" => ("uint64", 8),
            _ => return None,
        })
    }

    /// Bytes of data that the header promises.
    pub(super) fn bytes(&self) -> Option<u64> {
        let (_, element) = self.dtype()?;
        self.shape.iter().try_fold(element as u64, |n, &axis| n.checked_mul(axis as u64))
    }

    /// Bytes of the whole file.
    pub(super) fn file_bytes(&self) -> Option<u64> {
        self.bytes()?.checked_add(self.start as u64)
    }

    /// Says of a type that is no number that it is none.
    pub(super) fn check(&self, path: &Path) -> Result<(&'static str, usize), DataError> {
        self.dtype().ok_or_else(|| DataError::WrongType {
            path: path.to_path_buf(),
            what: "elements",
            expected: "real numbers or integers",
            found: format!("dtype '{}'", crate::error::plain(&self.descriptor)),
        })
    }

    fn array(&self, path: &Path, data: &[u8]) -> Result<Array, DataError> {
        self.check(path)?;
        let (order, kind) = self.descriptor.split_at_checked(1).unwrap_or_default();
        let big = order == ">";
        Ok(match kind {
            "f2" => Array::F16(self.elements(path, data, big, f16::from_le_bytes)?),
            // What ml_dtypes calls bfloat16, numpy writes as two bytes without a meaning.
            "V2" => Array::F32(self.elements(path, data, big, |b| bf16::from_le_bytes(b).to_f32())?),
            "f4" => Array::F32(self.elements(path, data, big, f32::from_le_bytes)?),
            "f8" => Array::F64(self.elements(path, data, big, f64::from_le_bytes)?),
            "b1" | "u1" => Array::U8(self.elements(path, data, big, u8::from_le_bytes)?),
            "i1" => Array::I16(self.elements(path, data, big, |b| i8::from_le_bytes(b).into())?),
            "i2" => Array::I16(self.elements(path, data, big, i16::from_le_bytes)?),
            "u2" => Array::U16(self.elements(path, data, big, u16::from_le_bytes)?),
            "i4" => Array::I32(self.elements(path, data, big, i32::from_le_bytes)?),
            "u4" => Array::I64(self.elements(path, data, big, |b| u32::from_le_bytes(b).into())?),
            "i8" => Array::I64(self.elements(path, data, big, i64::from_le_bytes)?),
            _ => {
                let wide = self.elements(path, data, big, u64::from_le_bytes)?;
                if let Some(&found) = wide.iter().find(|&&number| i64::try_from(number).is_err()) {
                    return Err(DataError::WrongType {
                        path: path.to_path_buf(),
                        what: "elements",
                        expected: "numbers below 2^63",
                        found: found.to_string(),
                    });
                }
                Array::I64(wide.mapv(|number| number as i64))
            }
        })
    }

    fn elements<E: Clone, const B: usize>(
        &self,
        path: &Path,
        data: &[u8],
        big_endian: bool,
        decode: impl Fn([u8; B]) -> E,
    ) -> Result<ArrayD<E>, DataError> {
        let refuse = |reason: String| DataError::values(path, reason);
        let length =
            self.bytes().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| refuse("its shape is too large".into()))?;
        if data.len() < length {
            let (expected, found) = (length as u64, data.len() as u64);
            return Err(DataError::Truncated { path: path.to_path_buf(), expected, found });
        }
        if data.len() > length {
            return Err(refuse(format!("{} bytes follow its data", data.len() - length)));
        }
        let (chunks, _) = data.as_chunks::<B>();
        let element = |&(mut bytes): &[u8; B]| {
            if big_endian {
                bytes.reverse();
            }
            decode(bytes)
        };
        let shape = IxDyn(&self.shape).set_f(self.fortran);
        ArrayD::from_shape_vec(shape, chunks.iter().map(element).collect()).map_err(|error| refuse(error.to_string()))
    }
}

/// Reads the header of a file's first bytes for a listing.
pub(super) fn header(path: &Path, first: &[u8], length: u64) -> Result<super::Header, DataError> {
    let header = Header::parse(path, first)?;
    let (dtype, _) = header.check(path)?;
    let promised = header.bytes().ok_or_else(|| DataError::values(path, "its shape is too large"))?;
    let found = length.saturating_sub(header.start as u64);
    if found < promised {
        return Err(DataError::Truncated { path: path.to_path_buf(), expected: promised, found });
    }
    Ok(super::Header { size: header.shape, axes_known: false, ..super::Header::new(Format::Npy, dtype) })
}

fn take<const B: usize>(bytes: &[u8], at: usize) -> Option<[u8; B]> {
    bytes.get(at..at.checked_add(B)?)?.try_into().ok()
}
