//! Any text as a loss: what is read is written, and read again as the same.
#![no_main]

use loss_core::Loss;
use segloss_data_fuzz::{Counting, bounded};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Room for words and terms as objects: of a text of 4096 bytes, twice over while a list grows.
const CONSTANT: usize = 1 << 20;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    bounded(text.len(), 0, CONSTANT, || match text.parse::<Loss>() {
        Ok(loss) => {
            let written = loss.to_string();
            let again: Loss = written.parse().unwrap_or_else(|error| panic!("{written:?}: {error}"));
            assert_eq!(again.to_string(), written);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    });
});
