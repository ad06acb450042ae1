//! Arrays in .npy files, written; `segloss_data` reads them.

use std::path::Path;

use ndarray::ArrayViewD;

use crate::error::CliError;
use crate::output;

/// Writes a floating-point array in C order.
pub(crate) fn write<E: Writable>(path: &Path, array: ArrayViewD<'_, E>) -> Result<(), CliError> {
    let bytes = bytes(array)
        .ok_or_else(|| CliError::Encode { path: path.to_path_buf(), reason: "too many axes for an .npy header".into() })?;
    output::write_file(path, &bytes)
}

/// The same as bytes; none of an array of more axes than a header takes.
pub(crate) fn bytes<E: Writable>(array: ArrayViewD<'_, E>) -> Option<Vec<u8>> {
    let shape: String = array.shape().iter().map(|n| format!("{n}, ")).collect();
    let mut header = format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({shape}), }}", E::DESCRIPTOR);
    // Magic, version, length and text together fill whole blocks of 64 bytes, the last one a line
    // end.
    let padding = 63 - (10 + header.len()) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let length = u16::try_from(header.len()).ok()?;
    let mut bytes = Vec::with_capacity(10 + header.len() + array.len() * size_of::<E>());
    bytes.extend(b"\x93NUMPY\x01\x00");
    bytes.extend(length.to_le_bytes());
    bytes.extend(header.bytes());
    array.iter().for_each(|&value| value.put(&mut bytes));
    Some(bytes)
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

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{ArrayD, arr2};

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.npy");
        let values = arr2(&[[1.5f32, -0.1], [f32::MIN_POSITIVE, 4.0]]).into_dyn();
        write(&path, values.view()).unwrap();
        let read = segloss_data::formats::read_array(&path, None, false, &segloss_data::Limits::default()).unwrap();
        assert_eq!(read.values, segloss_data::Array::F32(values.clone()));
        assert_eq!(ndarray_npy::read_npy::<_, ArrayD<f32>>(&path).unwrap(), values);
    }
}
