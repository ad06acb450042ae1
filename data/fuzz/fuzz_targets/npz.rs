//! Any bytes as `a.npz`: its header, its only array, and one that is named.
#![no_main]

use flate2::read::DeflateDecoder;
use segloss_data::Limits;
use segloss_data::formats::{header, read, read_array};
use segloss_data_fuzz::{Counting, bounded, file, length};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMITS: Limits = Limits { bytes: 1 << 24 };

/// The window, tables and buffer of a decompressor, a block of numbers, and the first bytes of a
/// member, which hold its header.
const CONSTANT: usize = 320 << 10;

/// The most that a member unpacks to. Each begins with a mark, wherever a directory says it is.
fn unpacked(bytes: &[u8]) -> usize {
    let starts = bytes.windows(30).enumerate().filter(|(_, local)| local.starts_with(b"PK\x03\x04"));
    let data = starts.filter_map(|(at, local)| {
        let lengths = u16::from_le_bytes([local[26], local[27]]) as usize + u16::from_le_bytes([local[28], local[29]]) as usize;
        bytes.get(at + 30 + lengths..)
    });
    data.map(|data| length(DeflateDecoder::new(data), LIMITS.bytes)).max().unwrap_or(0)
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(path) = file("a.npz", bytes) else { return };
    let unpacked = unpacked(bytes);
    let _ = bounded(bytes.len(), 0, CONSTANT, || header(&path).map_err(|error| error.to_string()));
    for (member, narrow) in [(None, true), (Some("image"), false)] {
        let read = || read_array(&path, member, narrow, &LIMITS).map_err(|error| error.to_string());
        if let Ok(raster) = bounded(bytes.len(), unpacked, CONSTANT, read) {
            assert_eq!(raster.values.len(), raster.header.size.iter().product::<usize>());
        }
    }
    let _ = bounded(bytes.len(), unpacked, CONSTANT, || read(&path, &LIMITS).map_err(|error| error.to_string()));
});
