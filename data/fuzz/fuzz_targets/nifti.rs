//! Any bytes as `a.nii`, plain or compressed.
#![no_main]

use std::io::Read;

use segloss_data::Limits;
use segloss_data::formats::{header, read_array};
use segloss_data_fuzz::{Counting, bounded, file};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMITS: Limits = Limits { bytes: 1 << 24 };

/// Bytes that come out of gzip, at most so many as the limits allow.
fn unpacked(bytes: &[u8]) -> usize {
    let out = flate2::read::MultiGzDecoder::new(bytes).take(LIMITS.bytes);
    out.bytes().take_while(Result::is_ok).count()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(path) = file("a.nii", bytes) else { return };
    let unpacked = if bytes.starts_with(&[0x1f, 0x8b]) { unpacked(bytes) } else { 0 };
    let _ = bounded(bytes.len(), 0, || header(&path).map_err(|error| error.to_string()));
    for narrow in [false, true] {
        let _ = bounded(bytes.len(), unpacked, || read_array(&path, None, narrow, &LIMITS).map_err(|error| error.to_string()));
    }
});
