//! Any bytes as `a.npz`: its header, its only array, and one that is named.
#![no_main]

use segloss_data::Limits;
use segloss_data::formats::{header, read, read_array};
use segloss_data_fuzz::{Counting, bounded, file};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMITS: Limits = Limits { bytes: 1 << 24 };

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(path) = file("a.npz", bytes) else { return };
    // Of a compressed member the most that anything unpacks to; what the array is checks it again.
    let unpacked = |found: usize| found.max(bytes.len());
    let _ = bounded(bytes.len(), 0, || header(&path).map_err(|error| error.to_string()));
    for narrow in [false, true] {
        for member in [None, Some("image")] {
            let (result, peak) = segloss_data_fuzz::measured(|| read_array(&path, member, narrow, &LIMITS));
            let found = result.as_ref().map_or(0, |raster| 8 * raster.values.len());
            let most = 10 * unpacked(found) + segloss_data_fuzz::CONSTANT;
            assert!(peak <= most, "{peak} bytes of memory for an input of {}", bytes.len());
        }
    }
    let _ = read(&path, &LIMITS);
});
