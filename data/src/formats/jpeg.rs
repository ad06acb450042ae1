//! JPEG files.

use std::io::Cursor;
use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::{Format, Header, Raster, whole};
use crate::array::Array;
use crate::error::DataError;
use crate::limits::{Limits, PIXELS};

type Decoder<'a> = JpegDecoder<Cursor<&'a [u8]>>;

fn refuse(path: &Path, error: &DecodeErrors) -> DataError {
    let text = format!("{error:?}");
    let text = text.lines().next().unwrap_or_default().trim_end_matches('.');
    DataError::damaged(path, Format::Jpeg, text)
}

fn open<'a>(path: &Path, bytes: &'a [u8]) -> Result<(Decoder<'a>, Header), DataError> {
    // Strict: a file that ends early would else be filled up with grey.
    let options = DecoderOptions::new_safe().set_strict_mode(true).set_max_width(65535).set_max_height(65535);
    if !is_sampled_as_usual(bytes) {
        let reason = "its colours are sampled more finely than its brightness; convert it: magick a.jpg a.png";
        return Err(DataError::damaged(path, Format::Jpeg, reason));
    }
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| refuse(path, &error))?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let out = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(out));
    let info = decoder.info().ok_or_else(|| DataError::damaged(path, Format::Jpeg, "it ends within its header"))?;
    let mut header = Header::new(Format::Jpeg, "uint8");
    header.size = vec![usize::from(info.height), usize::from(info.width)];
    (header.channels, header.colour) = if grey { (1, false) } else { (3, true) };
    header.turned = decoder.exif().and_then(|exif| orientation(exif)).is_some_and(|turn| turn != 1);
    Ok((decoder, header))
}

/// Horizontal and vertical sampling of each component, as the frame says.
fn sampling(bytes: &[u8]) -> Option<Vec<[u8; 2]>> {
    let mut at = 2;
    loop {
        let &[0xff, marker, high, low] = bytes.get(at..at + 4)? else { return None };
        // All frames, but for the tables and the arithmetic code that share their numbers.
        if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
            let count = usize::from(*bytes.get(at + 9)?);
            let components = bytes.get(at + 10..at + 10 + 3 * count)?;
            return Some(components.chunks_exact(3).map(|component| [component[1] >> 4, component[1] & 15]).collect());
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
}

/// Whether no component is sampled more finely than the first: the decoder panics on such files.
/// Factors of 0 are left to its own check.
fn is_sampled_as_usual(bytes: &[u8]) -> bool {
    let Some(components) = sampling(bytes) else { return true };
    let Some(first) = components.first() else { return true };
    let part = |of: &[u8; 2]| of.iter().zip(first).all(|(of, first)| *of == 0 || first % of == 0);
    components.iter().all(part)
}

/// Reads a header alone.
pub(super) fn header(path: &Path) -> Result<Header, DataError> {
    let bytes = whole(path)?;
    let (_, header) = open(path, &bytes)?;
    Limits { bytes: u64::MAX }.admit(path, &header.shape(), 1, bytes.len() as u64, PIXELS)?;
    Ok(header)
}

/// Whether the last scan comes to its end: what is missing of it would be filled up.
fn is_whole(bytes: &[u8]) -> bool {
    let last = |marker: u8| bytes.windows(2).rposition(|two| two == [0xff, marker]);
    last(0xd9) > last(0xda)
}

/// Reads the pixels.
pub(super) fn read(path: &Path, limits: &Limits) -> Result<Raster, DataError> {
    let bytes = whole(path)?;
    let (mut decoder, header) = open(path, &bytes)?;
    limits.admit(path, &header.shape(), 1, bytes.len() as u64, PIXELS)?;
    if !is_whole(&bytes) {
        return Err(DataError::damaged(path, Format::Jpeg, "it ends too early"));
    }
    let pixels = decoder.decode().map_err(|error| refuse(path, &error))?;
    let [height, width] = [header.size[0], header.size[1]];
    let shape = IxDyn(&[height, width, header.channels]);
    let pixels =
        ArrayD::from_shape_vec(shape, pixels).map_err(|error| DataError::damaged(path, Format::Jpeg, error.to_string()))?;
    Ok(Raster { header, values: Array::U8(pixels).front(2), palette: None })
}

/// The turn that a camera asks for, 1 to 8; 1 is none.
fn orientation(exif: &[u8]) -> Option<u16> {
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let big = exif.starts_with(b"MM");
    let short = |at: usize| -> Option<u16> {
        let bytes: [u8; 2] = exif.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let bytes: [u8; 4] = exif.get(4..8)?.try_into().ok()?;
    let first = if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) } as usize;
    let entries = usize::from(short(first)?);
    let entry = (0..entries).map(|i| first + 2 + 12 * i).find(|&at| short(at) == Some(0x0112))?;
    short(entry + 8)
}
