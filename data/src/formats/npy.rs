//! Arrays in `.npy` files.
//!
//! Read here rather than by a library because a header is not to be trusted (its size is checked
//! against the file before anything is allocated), half precision and bfloat16 must be understood,
//! as must what Python 2 wrote, and every refusal should say what was found.

use std::io::Read;
use std::path::Path;

use super::Format;
use super::stream::{Numbers, Stored};
use crate::array::Array;
use crate::error::DataError;

/// Longest header that numpy itself writes is far below this.
const LONGEST_HEADER: usize = 1 << 16;

/// No version of numpy has arrays of more axes.
const MOST_AXES: usize = 64;

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

/// How an array is read off a stream.
pub(super) struct Reading<'a> {
    /// The file, for errors.
    pub(super) path: &'a Path,
    /// Bytes of the stream, where that is known.
    pub(super) length: Option<u64>,
    /// Whether integers are kept in the smallest type that holds them.
    pub(super) narrow: bool,
    /// Refuses sizes that cannot be.
    pub(super) admit: &'a dyn Fn(&Header) -> Result<(), DataError>,
    /// Says what a failing stream means.
    pub(super) damaged: &'a dyn Fn(std::io::Error) -> DataError,
}

/// An array of the bytes of a file.
///
/// # Errors
/// Not an `.npy` file, a header that is not understood, more or fewer bytes than it promises, or a
/// type that is no number.
pub fn parse(path: &Path, mut bytes: &[u8]) -> Result<Array, DataError> {
    let damaged = |error| DataError::io(path, error);
    let length = Some(bytes.len() as u64);
    Reading { path, length, narrow: false, admit: &|_| Ok(()), damaged: &damaged }.array(&mut bytes).map(|(_, array)| array)
}

impl Reading<'_> {
    /// The array of a stream from its header on.
    pub(super) fn array(&self, from: &mut dyn Read) -> Result<(Header, Array), DataError> {
        let (path, damaged) = (self.path, self.damaged);
        let mut first = Vec::new();
        from.take(ALL_HEADERS as u64).read_to_end(&mut first).map_err(damaged)?;
        let header = Header::parse(path, &first)?;
        let stored = header.check(path)?;
        let too_large = || DataError::values(path, "its shape is too large");
        let expected = header.bytes().ok_or_else(too_large)?;
        if let Some(length) = self.length {
            let found = length.saturating_sub(header.start as u64);
            if found < expected {
                return Err(DataError::Truncated { path: path.to_path_buf(), expected, found });
            }
            if found > expected {
                return Err(DataError::values(path, format!("{} bytes follow its data", found - expected)));
            }
        }
        (self.admit)(&header)?;
        let mut from = first.get(header.start..).unwrap_or_default().chain(from);
        let (there, big) = (self.length.is_some(), header.descriptor.starts_with('>'));
        let mut numbers = Numbers { path, from: &mut from, big, there, narrow: self.narrow, damaged };
        let array = numbers.array(stored, &header.shape, header.fortran)?;
        // What stands behind it is no part of an array, and the end of a stream has its checksum.
        if std::io::copy(&mut from.take(1), &mut std::io::sink()).map_err(damaged)? > 0 {
            return Err(DataError::values(path, "bytes follow its data"));
        }
        Ok((header, array))
    }
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
        if header.shape.len() > MOST_AXES {
            return Err(refuse(format!("its shape has more than {MOST_AXES} axes")));
        }
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
        // One more says that there are too many.
        let axes = axes.take(MOST_AXES + 1);
        let shape = axes.map(|s| s.trim_end_matches(['L', 'l']).parse().ok()).collect::<Option<_>>()?;
        Some(Self { descriptor: descriptor.into(), fortran, shape, start: 0 })
    }

    /// The type of its elements; none of what is no number.
    fn stored(&self) -> Option<Stored> {
        Some(match self.descriptor.get(1..)? {
            "f2" => Stored::F16,
            // What ml_dtypes calls bfloat16, numpy writes as two bytes without a meaning.
            "V2" => Stored::BF16,
            "f4" => Stored::F32,
            "f8" => Stored::F64,
            "b1" => Stored::Bool,
            "u1" => Stored::U8,
            "i1" => Stored::I8,
            "i2" => Stored::I16,
            "u2" => Stored::U16,
            "i4" => Stored::I32,
            "u4" => Stored::U32,
            "i8" => Stored::I64,
            "u8" => Stored::U64,
            _ => return None,
        })
    }

    /// Bytes of data that the header promises.
    pub(super) fn bytes(&self) -> Option<u64> {
        let element = self.stored()?.bytes();
        self.shape.iter().try_fold(element as u64, |n, &axis| n.checked_mul(axis as u64))
    }

    /// Says of a type that is no number that it is none.
    pub(super) fn check(&self, path: &Path) -> Result<Stored, DataError> {
        self.stored().ok_or_else(|| DataError::WrongType {
            path: path.to_path_buf(),
            what: "elements",
            expected: "real numbers or integers",
            found: format!("dtype '{}'", crate::error::plain(&self.descriptor)),
        })
    }
}

/// Reads the header of a file's first bytes for a listing.
pub(super) fn header(path: &Path, first: &[u8], length: u64) -> Result<super::Header, DataError> {
    let header = Header::parse(path, first)?;
    let dtype = header.check(path)?.name();
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
