//! How much a file may claim before memory is taken for it.

use std::path::Path;

use crate::error::DataError;

/// Deflate makes nothing smaller than by this factor: 258 bytes take two bits.
pub(crate) const DEFLATE: u64 = 1032;

/// LZW, PackBits and JPEG make nothing that is an image smaller than by this factor.
pub(crate) const PIXELS: u64 = 4096;

/// Bytes that a file may claim on top of what its length allows, for headers and last blocks.
const SLACK: u64 = 1 << 16;

/// The most that is read of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the decoded pixels of one image or mask.
    pub bytes: u64,
}

impl Default for Limits {
    /// 4 GiB: a CT of 1024 slices of 1024² in float32.
    fn default() -> Self {
        Self { bytes: 1 << 32 }
    }
}

impl Limits {
    /// The bytes of an array of this shape, if a file of this length can hold it and it is not too
    /// large. Pixels are at most `shrinkage` times as many bytes as the file that holds them.
    pub(crate) fn admit(
        &self,
        path: &Path,
        shape: &[usize],
        element: usize,
        file: u64,
        shrinkage: u64,
    ) -> Result<u64, DataError> {
        self.admit_bits(path, shape, 8 * element, element, file, shrinkage)
    }

    /// The same for elements of so many bits in the file.
    pub(crate) fn admit_bits(
        &self,
        path: &Path,
        shape: &[usize],
        bits: usize,
        element: usize,
        file: u64,
        shrinkage: u64,
    ) -> Result<u64, DataError> {
        // No shape overflows this: what saturates is refused.
        let count = shape.iter().fold(1u128, |n, &axis| n.saturating_mul(axis as u128));
        let stored = count.saturating_mul(bits as u128) / 8;
        let claimed = count.saturating_mul(element as u128);
        let refuse = |claimed, limit| Err(DataError::TooLarge { path: path.to_path_buf(), claimed, limit });
        let possible = u128::from(file) * u128::from(shrinkage) + u128::from(SLACK);
        if stored > possible {
            return refuse(stored, format!("which a file of {file} bytes cannot hold"));
        }
        if claimed > u128::from(self.bytes) {
            return refuse(claimed, format!("more than the {} that are read of one file (--limit)", self.bytes));
        }
        Ok(claimed as u64)
    }
}
