//! Arrays in an .npz archive: ZIP with stored members, as `numpy.savez` writes it.

use std::path::Path;

use flate2::Crc;
use ndarray::ArrayD;

use crate::error::CliError;
use crate::npy::{self, Writable};
use crate::output;

/// An array with its name, as the bytes of an .npy file.
pub(crate) struct Entry {
    name: String,
    bytes: Option<Vec<u8>>,
}

impl Entry {
    /// Of float64.
    pub(crate) fn f64(name: &str, array: &ArrayD<f64>) -> Self {
        Self::new(name, array)
    }

    /// Of float32.
    pub(crate) fn f32(name: &str, array: &ArrayD<f32>) -> Self {
        Self::new(name, array)
    }

    fn new<E: Writable>(name: &str, array: &ArrayD<E>) -> Self {
        Self { name: format!("{name}.npy"), bytes: npy::bytes(array.view()) }
    }
}

/// Writes an archive.
pub(crate) fn write(path: &Path, entries: &[Entry]) -> Result<(), CliError> {
    let fail = |reason: &str| CliError::Encode { path: path.to_path_buf(), reason: reason.into() };
    let (mut all, mut directory) = (Vec::new(), Vec::new());
    let too_large = || fail("more than 4 GiB of arrays do not go into one archive; leave the file of --elements away");
    for entry in entries {
        let bytes = entry.bytes.as_ref().ok_or_else(|| fail("too many axes for an .npy header"))?;
        let at = u32::try_from(all.len()).map_err(|_| too_large())?;
        let size = u32::try_from(bytes.len()).map_err(|_| too_large())?;
        let name = u16::try_from(entry.name.len()).map_err(|_| fail("a name is too long"))?;
        let mut crc = Crc::new();
        crc.update(bytes);
        // Version 2.0, no flags, stored, 1980-01-01 00:00; checksum, both sizes, lengths of name
        // and extra field.
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        common.extend(crc.sum().to_le_bytes());
        common.extend(size.to_le_bytes());
        common.extend(size.to_le_bytes());
        common.extend(name.to_le_bytes());
        common.extend([0, 0]);
        all.extend(b"PK\x03\x04");
        all.extend(&common);
        all.extend(entry.name.bytes());
        all.extend(bytes);
        directory.extend(b"PK\x01\x02");
        directory.extend([20, 0]);
        directory.extend(&common);
        // No comment, first disk, no attributes.
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(entry.name.bytes());
    }
    let (at, size) = (u32::try_from(all.len()), u32::try_from(directory.len()));
    let (Ok(at), Ok(size), Ok(count)) = (at, size, u16::try_from(entries.len())) else { return Err(too_large()) };
    all.extend(directory);
    all.extend(b"PK\x05\x06");
    all.extend([0; 4]);
    all.extend(count.to_le_bytes());
    all.extend(count.to_le_bytes());
    all.extend(size.to_le_bytes());
    all.extend(at.to_le_bytes());
    all.extend([0, 0]);
    output::write_file(path, &all)
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;
    use segloss_data::formats::read_array;
    use segloss_data::{Array, Limits};

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let (wide, small) = (arr2(&[[1.5, -0.1]]).into_dyn(), arr2(&[[2.0f32], [3.0]]).into_dyn());
        write(&path, &[Entry::f64("wide", &wide), Entry::f32("small", &small)]).unwrap();
        let read = |name| read_array(&path, Some(name), false, &Limits::default()).unwrap().values;
        assert_eq!((read("wide"), read("small")), (Array::F64(wide), Array::F32(small)));
    }
}
