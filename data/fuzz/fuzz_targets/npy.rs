//! Any bytes as an `.npy` file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = segloss_data::formats::npy::parse(std::path::Path::new("a.npy"), bytes);
});
