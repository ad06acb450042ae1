//! Predictions of all test images of a run in one picture, from which the page draws.

use std::path::Path;

use image::{GrayImage, ImageFormat};

use crate::error::CliError;
use crate::output;
use crate::train::judge::Judged;

/// Writes the fullest slice of each prediction, one below the other, as labels.
pub(super) fn write(path: &Path, judged: &[Judged]) -> Result<(), CliError> {
    let slices: Vec<_> = judged.iter().map(|image| image.prediction.slice(image.shown)).collect();
    let width = slices.iter().map(|slice| slice.ncols()).max().unwrap_or(0);
    let height: usize = slices.iter().map(|slice| slice.nrows()).sum();
    let mut sheet = GrayImage::new(width as u32, height as u32);
    let mut top = 0;
    for slice in &slices {
        for ((y, x), label) in slice.indexed_iter() {
            sheet.put_pixel(x as u32, (top + y) as u32, image::Luma([*label]));
        }
        top += slice.nrows();
    }
    let mut bytes = std::io::Cursor::new(Vec::new());
    let encoded = sheet.write_to(&mut bytes, ImageFormat::Png);
    encoded.map_err(|error| CliError::Encode { path: path.to_path_buf(), reason: error.to_string() })?;
    output::write_file(path, bytes.get_ref())
}
