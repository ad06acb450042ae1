//! Images and label maps from a folder of PNG pairs.

use std::ffi::OsStr;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::codecs::png::PngDecoder;
use image::{DynamicImage, GrayImage, ImageError};
use ndarray::Array2;

use super::data::{Dataset, IGNORED, MOST_CLASSES, Picture};
use crate::error::CliError;

/// Reads `train/` and `test/` where they are, else the folder itself, whose last quarter by name is
/// held out.
pub(crate) fn dataset(folder: &Path) -> Result<Dataset, CliError> {
    let refuse = |reason: &str| CliError::Folder { path: folder.to_path_buf(), reason: reason.into() };
    if !folder.is_dir() {
        let error = fs::read_dir(folder).err();
        return Err(error.map_or_else(|| refuse("not a folder"), |error| CliError::io(folder, error)));
    }
    let [inner, outer] = ["train", "test"].map(|name| folder.join(name));
    let (train, validation) = match (inner.is_dir(), outer.is_dir()) {
        (true, true) => (pictures(&inner)?, pictures(&outer)?),
        (true, false) => return Err(refuse("has train/ but no test/ to validate with")),
        (false, true) => return Err(refuse("has test/ but no train/ to learn from")),
        (false, false) => {
            let mut all = pictures(folder)?;
            let held_out = ((all.len() as f64 / 4.0).round() as usize).max(1);
            if all.len() < 2 {
                return Err(refuse("holds one pair; two are needed, one to learn from and one to validate with"));
            }
            let validation = all.split_off(all.len() - held_out);
            (all, validation)
        }
    };
    let labels = train.iter().chain(&validation).filter_map(Picture::greatest_label);
    let classes = labels.max().map_or(0, |label| usize::from(label) + 1);
    match classes {
        0 => Err(refuse("every pixel is labelled 255 (ignored)")),
        1 => Err(refuse("the labels know class 0 only; a second class is needed (255 means ignored)")),
        _ => Ok(Dataset { origin: folder.display().to_string(), classes, train, validation }),
    }
}

/// All pairs of a folder, by name.
fn pictures(folder: &Path) -> Result<Vec<Picture>, CliError> {
    let io = |error| CliError::io(folder, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        // Either half calls for the other one.
        let name = name.strip_suffix("_image.png").or_else(|| name.strip_suffix("_label.png"));
        names.extend(name.map(String::from));
    }
    // The order of a folder's entries is the file system's, and would not be the same everywhere.
    names.sort();
    names.dedup();
    if names.is_empty() {
        let reason = "no pairs NAME_image.png and NAME_label.png".into();
        return Err(CliError::Folder { path: folder.to_path_buf(), reason });
    }
    names.into_iter().map(|name| picture(folder, name)).collect()
}

fn picture(folder: &Path, name: String) -> Result<Picture, CliError> {
    let [image, label] = ["image", "label"].map(|kind| folder.join(format!("{name}_{kind}.png")));
    let pixels = grey(&image)?;
    let labels = grey(&label)?;
    if pixels.dim() != labels.dim() {
        let [label_size, image_size] = [labels.dim().into(), pixels.dim().into()];
        return Err(CliError::PictureSize { label, label_size, image, image_size });
    }
    let known = |l: u8| usize::from(l) < MOST_CLASSES || l == IGNORED;
    if let Some(((y, x), value)) = labels.indexed_iter().find(|&(_, &l)| !known(l)) {
        let reason = format!(
            "label {value} at row {y}, column {x}: labels are class indices 0, 1, 2, … up to {} or {IGNORED} for ignored",
            MOST_CLASSES - 1
        );
        return Err(CliError::Picture { path: label, reason });
    }
    Ok(Picture::new(name, pixels, labels))
}

/// An 8-bit grey PNG.
fn grey(path: &Path) -> Result<Array2<u8>, CliError> {
    let refuse = |reason: String| CliError::Picture { path: path.to_path_buf(), reason };
    let bytes = fs::read(path).map_err(|error| CliError::io(path, error))?;
    let unreadable = |error: ImageError| refuse(format!("not a readable PNG: {error}"));
    let kind = kind(&bytes);
    let decoder = PngDecoder::new(Cursor::new(bytes)).map_err(unreadable)?;
    // Asked of the file itself: decoding stretches fewer bits to the whole range, which would
    // change class indices.
    if let Some(kind) = kind {
        return Err(refuse(format!("must be 8-bit grey, found {kind}")));
    }
    match DynamicImage::from_decoder(decoder).map_err(unreadable)? {
        DynamicImage::ImageLuma8(image) => array(image).ok_or_else(|| refuse("has no pixels".into())),
        _ => Err(refuse("must be 8-bit grey, found grey with transparency".into())),
    }
}

fn array(image: GrayImage) -> Option<Array2<u8>> {
    let (width, height) = image.dimensions();
    Array2::from_shape_vec([height as usize, width as usize], image.into_raw()).ok().filter(|a| !a.is_empty())
}

/// What the header of a PNG says it is, unless that is 8-bit grey.
fn kind(bytes: &[u8]) -> Option<String> {
    let (bits, color) = (bytes.get(24)?, bytes.get(25)?);
    let name = match color {
        0 if *bits == 8 => return None,
        0 => "grey",
        2 => "colour",
        3 => "palette",
        4 => "grey with transparency",
        _ => "colour with transparency",
    };
    Some(format!("{bits}-bit {name}"))
}
