//! Any bytes as an `.npy` file: by bytes, and as labels.
#![no_main]

use std::path::Path;

use segloss_data::formats::npy::parse;
use segloss_data_fuzz::{Counting, bounded};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = bounded(bytes.len(), 0, || parse(Path::new("a.npy"), bytes)) {
        assert!(!error.to_string().contains('\n'));
    }
});
