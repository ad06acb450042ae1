//! PNG files, each sample as it stands: one or two bits are not stretched, and a palette is kept.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use png::{BitDepth, ColorType, Decoder, DecodingError, Limits as PngLimits, Reader, Transformations};

use super::{Format, Header, Raster};
use crate::array::Array;
use crate::error::DataError;
use crate::limits::{DEFLATE, Limits};

/// Memory for what is beside the pixels, which the decoder counts itself.
const BESIDE: usize = 64 << 20;

fn open(path: &Path) -> Result<(Reader<BufReader<File>>, u64), DataError> {
    let fail = |error| DataError::io(path, error);
    let file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    let mut options = png::DecodeOptions::default();
    options.set_ignore_adler32(false);
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = Decoder::new_with_options(BufReader::new(file), options);
    decoder.set_limits(PngLimits { bytes: BESIDE });
    decoder.set_transformations(Transformations::IDENTITY);
    Ok((decoder.read_info().map_err(|error| refuse(path, &error))?, length))
}

fn refuse(path: &Path, error: &DecodingError) -> DataError {
    let reason = match error {
        DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        DecodingError::IoError(error) => error.to_string(),
        DecodingError::Format(error) => {
            // The decoder's own words end in a list of its states.
            let text = error.to_string();
            let text = text.split([',', '{', '(', '.']).next().unwrap_or_default().trim().trim_end_matches('.');
            let mut letters = text.chars();
            letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
        }
        DecodingError::LimitsExceeded => "it wants more memory than its pixels need".to_owned(),
        DecodingError::Parameter(error) => error.to_string(),
    };
    DataError::damaged(path, Format::Png, reason)
}

fn depth(reader: &Reader<BufReader<File>>) -> u8 {
    reader.info().bit_depth as u8
}

fn describe(reader: &Reader<BufReader<File>>) -> Header {
    let info = reader.info();
    let dtype = match info.bit_depth {
        BitDepth::One => "1-bit",
        BitDepth::Two => "2-bit",
        BitDepth::Four => "4-bit",
        BitDepth::Eight => "uint8",
        BitDepth::Sixteen => "uint16",
    };
    let mut header = Header::new(Format::Png, dtype);
    header.size = vec![info.height as usize, info.width as usize];
    header.greatest = Some(f64::from((1u32 << u32::from(depth(reader))) - 1));
    header.palette = info.color_type == ColorType::Indexed;
    header.colour = matches!(info.color_type, ColorType::Rgb | ColorType::Rgba | ColorType::Indexed);
    header.alpha = matches!(info.color_type, ColorType::GrayscaleAlpha | ColorType::Rgba) || info.trns.is_some();
    header.channels = if header.colour && !header.palette { 3 } else { 1 };
    header
}

/// Reads a header alone.
pub(super) fn header(path: &Path) -> Result<Header, DataError> {
    let (reader, length) = open(path)?;
    let header = describe(&reader);
    let samples = reader.info().color_type.samples();
    let shape = [&header.size[..], &[samples]].concat();
    Limits { bytes: u64::MAX }.admit_bits(path, &shape, depth(&reader).into(), bytes_of(&reader), length, DEFLATE)?;
    Ok(header)
}

/// Bytes of a sample once it is read.
fn bytes_of(reader: &Reader<BufReader<File>>) -> usize {
    if depth(reader) == 16 { 2 } else { 1 }
}

/// Reads the pixels.
pub(super) fn read(path: &Path, limits: &Limits) -> Result<Raster, DataError> {
    let (mut reader, length) = open(path)?;
    let header = describe(&reader);
    let bits = usize::from(depth(&reader));
    let samples = reader.info().color_type.samples();
    let [height, width] = [header.size[0], header.size[1]];
    limits.admit_bits(path, &[height, width, samples], bits, bytes_of(&reader), length, DEFLATE)?;
    let palette = reader.info().palette.as_ref().filter(|_| header.palette);
    let palette = palette.map(|palette| palette.as_chunks::<3>().0.to_vec());
    let size =
        reader.output_buffer_size().ok_or_else(|| DataError::damaged(path, Format::Png, "its size is beyond this machine"))?;
    limits.admit(path, &[size], 1, length, DEFLATE)?;
    let mut bytes = vec![0; size];
    let frame = reader.next_frame(&mut bytes).map_err(|error| refuse(path, &error))?;
    reader.finish().map_err(|error| refuse(path, &error))?;
    let kept = header.channels;
    let shape = [height, width, samples];
    let rows = || bytes.chunks(frame.line_size.max(1)).take(height);
    let array = |error: ndarray::ShapeError| DataError::damaged(path, Format::Png, error.to_string());
    let values = if bits == 16 {
        let words = rows().flat_map(|row| row.as_chunks::<2>().0.iter().map(|&pair| u16::from_be_bytes(pair)));
        Array::U16(channels(ArrayD::from_shape_vec(IxDyn(&shape), words.collect()).map_err(array)?, kept))
    } else {
        let per_byte = 8 / bits;
        let mask = ((1u16 << bits) - 1) as u8;
        let unpack = |row: &[u8]| -> Vec<u8> {
            let sample = |i: usize| row[i / per_byte] >> (8 - bits - bits * (i % per_byte)) & mask;
            (0..(width * samples).min(row.len() * per_byte)).map(sample).collect()
        };
        let samples = rows().flat_map(unpack).collect();
        Array::U8(channels(ArrayD::from_shape_vec(IxDyn(&shape), samples).map_err(array)?, kept))
    };
    Ok(Raster { header, values, palette })
}

/// The first channels of [H, W, C], as [C, H, W].
fn channels<E: Clone>(array: ArrayD<E>, kept: usize) -> ArrayD<E> {
    let kept = array.slice_axis(ndarray::Axis(2), ndarray::Slice::from(0..kept)).into_owned();
    kept.permuted_axes(IxDyn(&[2, 0, 1]))
}
