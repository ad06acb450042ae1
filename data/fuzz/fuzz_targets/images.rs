//! Any bytes as a picture of the format that its first bytes say, then as image and mask of a
//! folder.
#![no_main]

use segloss_data::formats::{header, read};
use segloss_data::{Dataset, Limits, Options};
use segloss_data_fuzz::{Counting, bounded, file, unpacked};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMITS: Limits = Limits { bytes: 1 << 24 };

/// The windows, tables and buffers of decoders: of all formats, whose decoders are others' work.
const CONSTANT: usize = 512 << 10;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let ending = match bytes.first() {
        Some(0x89) => "png",
        Some(0xff) => "jpg",
        _ => "tif",
    };
    let names = ["a_image", "a_mask"].map(|name| format!("{ending}/{name}.{ending}"));
    let [Some(image), Some(_)] = names.map(|name| file(&name, bytes)) else { return };
    // What is unpacked has the size that the header gives: that is let through only if a file of
    // this length can hold it.
    let found = bounded(bytes.len(), 0, CONSTANT, || header(&image).map_err(|error| error.to_string()));
    let size = found.as_ref().map_or(0, unpacked);
    let read = || read(&image, &LIMITS).map_err(|error| error.to_string());
    if let Ok(raster) = bounded(bytes.len(), size, CONSTANT, read) {
        assert_eq!(raster.values.len(), raster.header.shape().iter().product::<usize>());
    }
    let options = Options { limits: LIMITS, ..Options::default() };
    let Some(folder) = image.parent() else { return };
    // Both files are of these bytes.
    bounded(2 * bytes.len(), 2 * size, CONSTANT, || {
        if let Ok(data) = Dataset::open(folder, &options) {
            let _ = data.survey(|_, _| ());
            let _ = data.item(0);
        }
    });
});
