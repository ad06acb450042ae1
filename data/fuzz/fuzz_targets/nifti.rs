//! Any bytes as `a.nii`, plain or compressed.
#![no_main]

use flate2::read::MultiGzDecoder;
use segloss_data::Limits;
use segloss_data::formats::{header, read_array};
use segloss_data_fuzz::{Counting, bounded, file, length};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMITS: Limits = Limits { bytes: 1 << 24 };

/// The window, tables and buffers of a decompressor, and a block of numbers.
const CONSTANT: usize = 192 << 10;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(path) = file("a.nii", bytes) else { return };
    let zipped = bytes.starts_with(&[0x1f, 0x8b]);
    let unpacked = if zipped { length(MultiGzDecoder::new(bytes), LIMITS.bytes) } else { 0 };
    let _ = bounded(bytes.len(), 0, CONSTANT, || header(&path).map_err(|error| error.to_string()));
    for narrow in [false, true] {
        let read = || read_array(&path, None, narrow, &LIMITS).map_err(|error| error.to_string());
        if let Ok(raster) = bounded(bytes.len(), unpacked, CONSTANT, read) {
            assert_eq!(raster.values.len(), raster.header.shape().iter().product::<usize>());
        }
    }
});
