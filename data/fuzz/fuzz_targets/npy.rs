//! Any bytes as an `.npy` file: from memory, and as `a.npy`, to the last number.
#![no_main]

use std::path::Path;

use segloss_data::formats::npy::parse;
use segloss_data::formats::{header, read_array};
use segloss_data::{Array, Limits};
use segloss_data_fuzz::{Counting, bounded, file};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMITS: Limits = Limits { bytes: 1 << 24 };

/// Paths and messages, with what a message quotes of a header.
const CONSTANT: usize = 4 << 10;

fn sum(array: &Array) -> (usize, u64) {
    let (mut count, mut sum) = (0, 0u64);
    array.each(|value| (count, sum) = (count + 1, sum.wrapping_mul(31).wrapping_add(value.to_bits())));
    (count, sum)
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // An archive by another name is read as one: that is for `npz`.
    if bytes.starts_with(b"PK") {
        return;
    }
    let parsed = bounded(bytes.len(), 0, CONSTANT, || parse(Path::new("a.npy"), bytes));
    if let Err(error) = &parsed {
        assert!(!error.to_string().contains('\n'));
    }
    let Some(path) = file("a.npy", bytes) else { return };
    let found = bounded(bytes.len(), 0, CONSTANT, || header(&path));
    // What is read is the same from memory and, narrowed, from a file.
    match (parsed, bounded(bytes.len(), 0, CONSTANT, || read_array(&path, None, true, &LIMITS))) {
        (Ok(parsed), Ok(read)) => {
            assert_eq!(parsed.shape(), read.values.shape());
            assert_eq!(sum(&parsed), sum(&read.values));
            assert!(found.is_ok());
        }
        (Err(_), Err(_)) => {}
        (parsed, read) => panic!("{parsed:?} in memory, {read:?} of a file"),
    }
});
