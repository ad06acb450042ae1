//! Arrays in .npy files.
//!
//! Read here rather than by a library because a header is not to be trusted (its size is checked
//! against the file before anything is allocated), half precision must be understood, and every
//! refusal should say what was found.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use half::f16;
use ndarray::{ArrayD, ArrayViewD, IxDyn, ShapeBuilder};

use crate::error::CliError;
use crate::output;

/// Longest header that numpy itself writes is far below this.
const LONGEST_HEADER: usize = 1 << 16;

/// What a file may hold. Narrow integers are widened to the next of these types.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Array {
    /// float16
    F16(ArrayD<f16>),
    /// float32
    F32(ArrayD<f32>),
    /// float64
    F64(ArrayD<f64>),
    /// bool, uint8
    U8(ArrayD<u8>),
    /// int8, int16, uint16, int32
    I32(ArrayD<i32>),
    /// uint32, int64, uint64
    I64(ArrayD<i64>),
}

impl Array {
    /// Lengths of its axes.
    pub(crate) fn shape(&self) -> &[usize] {
        match self {
            Self::F16(a) => a.shape(),
            Self::F32(a) => a.shape(),
            Self::F64(a) => a.shape(),
            Self::U8(a) => a.shape(),
            Self::I32(a) => a.shape(),
            Self::I64(a) => a.shape(),
        }
    }

    /// Whether it holds floats.
    pub(crate) fn is_float(&self) -> bool {
        matches!(self, Self::F16(_) | Self::F32(_) | Self::F64(_))
    }

    /// Its elements, each rounded to another type.
    pub(crate) fn cast<E>(&self, round: impl Fn(f64) -> E) -> ArrayD<E> {
        match self {
            Self::F16(a) => a.map(|&v| round(v.into())),
            Self::F32(a) => a.map(|&v| round(v.into())),
            Self::F64(a) => a.map(|&v| round(v)),
            Self::U8(a) => a.map(|&v| round(v.into())),
            Self::I32(a) => a.map(|&v| round(v.into())),
            Self::I64(a) => a.map(|&v| round(v as f64)),
        }
    }

    /// Its elements as float64.
    pub(crate) fn floats(&self) -> ArrayD<f64> {
        self.cast(|value| value)
    }

    /// Its elements as int64, unless they are floats.
    pub(crate) fn integers(&self) -> Option<ArrayD<i64>> {
        match self {
            Self::U8(a) => Some(a.mapv(i64::from)),
            Self::I32(a) => Some(a.mapv(i64::from)),
            Self::I64(a) => Some(a.clone()),
            Self::F16(_) | Self::F32(_) | Self::F64(_) => None,
        }
    }

    /// Name of its type, after widening.
    pub(crate) fn dtype(&self) -> &'static str {
        match self {
            Self::F16(_) => "float16",
            Self::F32(_) => "float32",
            Self::F64(_) => "float64",
            Self::U8(_) => "uint8",
            Self::I32(_) => "int32",
            Self::I64(_) => "int64",
        }
    }
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Array, CliError> {
    let fail = |error| CliError::io(path, error);
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(fail)?;
    file.read_to_end(&mut bytes).map_err(fail)?;
    parse(path, &bytes)
}

/// Writes a floating-point array in C order.
pub(crate) fn write<E: Writable>(path: &Path, array: ArrayViewD<'_, E>) -> Result<(), CliError> {
    let shape: String = array.shape().iter().map(|n| format!("{n}, ")).collect();
    let mut header = format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({shape}), }}", E::DESCRIPTOR);
    // Magic, version, length and text together fill whole blocks of 64 bytes, the last one a line
    // end.
    let padding = 63 - (10 + header.len()) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let length = u16::try_from(header.len())
        .map_err(|_| CliError::Npy { path: path.to_path_buf(), reason: "too many axes for an .npy header".into() })?;
    let mut bytes = Vec::with_capacity(10 + header.len() + array.len() * size_of::<E>());
    bytes.extend(b"\x93NUMPY\x01\x00");
    bytes.extend(length.to_le_bytes());
    bytes.extend(header.bytes());
    array.iter().for_each(|&value| value.put(&mut bytes));
    output::write_file(path, &bytes)
}

/// An element type that we write.
pub(crate) trait Writable: Copy {
    /// numpy's name for it.
    const DESCRIPTOR: &'static str;
    /// Appends its bytes.
    fn put(self, bytes: &mut Vec<u8>);
}

impl Writable for f32 {
    const DESCRIPTOR: &'static str = "<f4";
    fn put(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }
}

impl Writable for f64 {
    const DESCRIPTOR: &'static str = "<f8";
    fn put(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Array, CliError> {
    let refuse = |reason: String| CliError::Npy { path: path.to_path_buf(), reason };
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
    let header = Header::parse(header).ok_or_else(|| refuse("its header cannot be understood".into()))?;
    header.array(path, &bytes[start + length..])
}

/// The three facts of an .npy header.
struct Header {
    descriptor: String,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Understands the one form that numpy writes: a dictionary with three keys.
    fn parse(text: &str) -> Option<Self> {
        let after = |key: &str| text.split_once(key)?.1.trim_start().strip_prefix(':').map(str::trim_start);
        let descriptor = after("'descr'")?;
        // Records have a list here; they are passed on as they are, to be named in the refusal.
        let descriptor = match descriptor.strip_prefix('\'') {
            Some(rest) => rest.split_once('\'')?.0,
            None => descriptor.split_once(", 'fortran_order'")?.0,
        };
        let fortran = after("'fortran_order'")?;
        let shape = after("'shape'")?.strip_prefix('(')?.split_once(')')?.0;
        let shape = shape.split(',').map(str::trim).filter(|s| !s.is_empty()).map(|s| s.parse().ok());
        Some(Self { descriptor: descriptor.into(), fortran: fortran.starts_with("True"), shape: shape.collect::<Option<_>>()? })
    }

    fn array(&self, path: &Path, data: &[u8]) -> Result<Array, CliError> {
        let (order, kind) = self.descriptor.split_at_checked(1).unwrap_or_default();
        let big = order == ">";
        Ok(match kind {
            "f2" => Array::F16(self.elements(path, data, big, f16::from_le_bytes)?),
            "f4" => Array::F32(self.elements(path, data, big, f32::from_le_bytes)?),
            "f8" => Array::F64(self.elements(path, data, big, f64::from_le_bytes)?),
            "b1" | "u1" => Array::U8(self.elements(path, data, big, u8::from_le_bytes)?),
            "i1" => Array::I32(self.elements(path, data, big, |b| i8::from_le_bytes(b).into())?),
            "i2" => Array::I32(self.elements(path, data, big, |b| i16::from_le_bytes(b).into())?),
            "u2" => Array::I32(self.elements(path, data, big, |b| u16::from_le_bytes(b).into())?),
            "i4" => Array::I32(self.elements(path, data, big, i32::from_le_bytes)?),
            "u4" => Array::I64(self.elements(path, data, big, |b| u32::from_le_bytes(b).into())?),
            "i8" => Array::I64(self.elements(path, data, big, i64::from_le_bytes)?),
            "u8" => {
                let wide = self.elements(path, data, big, u64::from_le_bytes)?;
                if let Some(&found) = wide.iter().find(|&&number| i64::try_from(number).is_err()) {
                    return Err(CliError::WrongDtype {
                        path: path.to_path_buf(),
                        what: "elements",
                        expected: "numbers below 2^63",
                        found: found.to_string(),
                    });
                }
                Array::I64(wide.mapv(|number| number as i64))
            }
            _ => {
                return Err(CliError::WrongDtype {
                    path: path.to_path_buf(),
                    what: "elements",
                    expected: "real numbers or integers",
                    found: format!("dtype '{}'", self.descriptor),
                });
            }
        })
    }

    fn elements<E: Clone, const B: usize>(
        &self,
        path: &Path,
        data: &[u8],
        big_endian: bool,
        decode: impl Fn([u8; B]) -> E,
    ) -> Result<ArrayD<E>, CliError> {
        let refuse = |reason: &str| CliError::Npy { path: path.to_path_buf(), reason: reason.into() };
        let count = self.shape.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis));
        let length = count.and_then(|n| n.checked_mul(B)).ok_or_else(|| refuse("its shape is too large"))?;
        if data.len() < length {
            let (expected, found) = (length as u64, data.len() as u64);
            return Err(CliError::Truncated { path: path.to_path_buf(), expected, found });
        }
        if data.len() > length {
            return Err(refuse(&format!("{} bytes follow its data", data.len() - length)));
        }
        let (chunks, _) = data.as_chunks::<B>();
        let element = |&(mut bytes): &[u8; B]| {
            if big_endian {
                bytes.reverse();
            }
            decode(bytes)
        };
        let shape = IxDyn(&self.shape).set_f(self.fortran);
        ArrayD::from_shape_vec(shape, chunks.iter().map(element).collect()).map_err(|error| refuse(&error.to_string()))
    }
}

fn take<const B: usize>(bytes: &[u8], at: usize) -> Option<[u8; B]> {
    bytes.get(at..at + B)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, arr2};
    use ndarray_npy::WriteNpyExt;

    fn bytes<E: ndarray_npy::WritableElement>(array: &Array2<E>) -> Vec<u8> {
        let mut bytes = Vec::new();
        array.write_npy(&mut bytes).unwrap();
        bytes
    }

    fn parsed(bytes: &[u8]) -> Result<Array, String> {
        parse(Path::new("a.npy"), bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_what_another_library_writes() {
        let values = arr2(&[[1.5, -2.0, 3.25], [4.0, 5.0, f64::INFINITY]]);
        assert_eq!(parsed(&bytes(&values)), Ok(Array::F64(values.clone().into_dyn())));
        assert_eq!(parsed(&bytes(&values.mapv(|v| v as f32))), Ok(Array::F32(values.mapv(|v| v as f32).into_dyn())));
        // A transposed array is written in Fortran order.
        assert_eq!(parsed(&bytes(&values.t().to_owned())), Ok(Array::F64(values.t().to_owned().into_dyn())));
        let labels = arr2(&[[0u8, 255], [3, 4]]);
        assert_eq!(parsed(&bytes(&labels)), Ok(Array::U8(labels.clone().into_dyn())));
        assert_eq!(parsed(&bytes(&labels.mapv(i16::from))), Ok(Array::I32(labels.mapv(i32::from).into_dyn())));
        assert_eq!(parsed(&bytes(&labels.mapv(u64::from))), Ok(Array::I64(labels.mapv(i64::from).into_dyn())));
        let found = Err("a.npy: elements must be numbers below 2^63, found 18446744073709551615".to_owned());
        assert_eq!(parsed(&bytes(&labels.mapv(|v| !u64::from(v)))), found);
        assert_eq!(parsed(&bytes(&labels.mapv(|v| v > 3))), Ok(Array::U8(arr2(&[[0, 1], [0, 1]]).into_dyn())));
    }

    #[test]
    fn fortran_order_and_foreign_bytes() {
        let mut file = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        let mut header = "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 2), }".to_string();
        header.extend(std::iter::repeat_n(' ', 0x76 - header.len() - 1));
        file.extend(header.bytes().chain([b'\n', 0, 1, 0, 2, 0, 3, 0, 4]));
        assert_eq!(parsed(&file), Ok(Array::I32(arr2(&[[1, 3], [2, 4]]).into_dyn())));
    }

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.npy");
        let values = arr2(&[[1.5f32, -0.1], [f32::MIN_POSITIVE, 4.0]]).into_dyn();
        write(&path, values.view()).unwrap();
        assert_eq!(read(&path).unwrap(), Array::F32(values.clone()));
        assert_eq!(ndarray_npy::read_npy::<_, ArrayD<f32>>(&path).unwrap(), values);
    }

    #[test]
    fn every_cut_of_a_file_is_an_error() {
        let whole = bytes(&arr2(&[[1.0f64, 2.0]]));
        for length in 0..whole.len() {
            assert!(parsed(&whole[..length]).is_err(), "cut at {length}");
        }
        assert_eq!(
            parsed(&whole[..whole.len() - 3]),
            Err("a.npy: truncated: its header promises 16 bytes of data, it holds 13".into())
        );
        assert_eq!(parsed(&[&whole[..], &[0; 5]].concat()), Err("a.npy: 5 bytes follow its data".into()));
        assert_eq!(parsed(b"PK\x03\x04"), Err("a.npy: not an .npy file".into()));
    }

    #[test]
    fn a_header_is_not_trusted_with_memory() {
        let text = "{'descr': '<f8', 'fortran_order': False, 'shape': (9000000000, 9000000000), }\n";
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((text.len() as u16).to_le_bytes());
        file.extend(text.bytes());
        assert_eq!(parsed(&file), Err("a.npy: its shape is too large".into()));
    }
}
