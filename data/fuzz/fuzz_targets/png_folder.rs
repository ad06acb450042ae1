//! Any bytes as the mask of an image, and as the image, through the reading of a whole folder.
#![no_main]

use segloss_data::{Dataset, Limits, Options};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(place) = tempfile::tempdir() else { return };
    let written = ["a_image.png", "a_mask.png"].map(|name| std::fs::write(place.path().join(name), bytes));
    if written.iter().any(Result::is_err) {
        return;
    }
    let options = Options { limits: Limits { bytes: 1 << 24 }, ..Options::default() };
    if let Ok(data) = Dataset::open(place.path(), &options) {
        let _ = data.survey(|_, _| ());
        let _ = data.item(0);
    }
});
