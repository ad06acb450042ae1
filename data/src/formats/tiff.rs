//! TIFF files: one picture, or pages of one size, which are the slices of a volume.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use ndarray::{ArrayD, Axis, IxDyn};
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits as TiffLimits};
use tiff::tags::Tag;

use super::{Format, Header, Raster};
use crate::array::Array;
use crate::error::DataError;
use crate::limits::{Limits, PIXELS};

type Reader = Decoder<BufReader<File>>;

/// Most pages of a file.
const MOST_PAGES: usize = 1 << 16;

fn refuse(path: &Path, error: &tiff::TiffError) -> DataError {
    use tiff::TiffError::{IoError, LimitsExceeded, UnsupportedError};
    match error {
        UnsupportedError(what) => {
            let way_out = "save it again with tifffile.imwrite('a.tif', tifffile.imread('a.tif'))";
            DataError::not_read(path, format!("this kind of TIFF ({})", crate::error::plain(&what.to_string())), way_out)
        }
        LimitsExceeded => DataError::damaged(path, Format::Tiff, "its header claims more than it can hold"),
        IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            DataError::damaged(path, Format::Tiff, "it ends too early")
        }
        error => DataError::damaged(path, Format::Tiff, error.to_string()),
    }
}

fn open(path: &Path, limits: &Limits) -> Result<(Reader, u64), DataError> {
    let fail = |error| DataError::io(path, error);
    let file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    let mut bounds = TiffLimits::default();
    let possible = length.saturating_mul(PIXELS).saturating_add(1 << 16).min(limits.bytes);
    bounds.decoding_buffer_size = usize::try_from(possible).unwrap_or(usize::MAX);
    bounds.intermediate_buffer_size = bounds.decoding_buffer_size;
    bounds.ifd_value_size = usize::try_from(length.saturating_add(1024)).unwrap_or(usize::MAX);
    let mut file = BufReader::new(file);
    // The decoder takes memory for the first page's tables before it hears of a limit.
    if !tables_fit(&mut file, length).map_err(fail)? {
        return Err(refuse(path, &tiff::TiffError::LimitsExceeded));
    }
    file.rewind().map_err(fail)?;
    let reader = Decoder::new(file).map_err(|error| refuse(path, &error))?;
    Ok((reader.with_limits(bounds), length))
}

/// Whether no table of any page claims more bytes than the file has. What ends early or is no TIFF
/// is for the decoder to refuse.
fn tables_fit(file: &mut (impl Read + Seek), length: u64) -> std::io::Result<bool> {
    let mut bytes = Vec::new();
    file.take(16).read_to_end(&mut bytes)?;
    let big_endian = bytes.starts_with(b"MM");
    let number = |bytes: Option<&[u8]>| {
        let add = |all: u64, &byte: &u8| all << 8 | u64::from(byte);
        let bytes = bytes?;
        Some(if big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
    };
    // Of 64 bits, offsets and counts have 8 bytes.
    let large = number(bytes.get(2..4)) == Some(43);
    let (offset, count, entry) = if large { (8, 8, 20) } else { (4, 2, 12) };
    let mut next = number(if large { bytes.get(8..16) } else { bytes.get(4..8) });
    let mut seen = BTreeSet::new();
    while let Some(place) = next.filter(|&place| place > 0 && place < length && seen.len() <= MOST_PAGES) {
        if !seen.insert(place) {
            break;
        }
        file.seek(SeekFrom::Start(place))?;
        bytes.clear();
        file.take(count).read_to_end(&mut bytes)?;
        let entries = number(bytes.get(..count as usize)).unwrap_or(0);
        bytes.clear();
        file.take(entries.saturating_mul(entry)).read_to_end(&mut bytes)?;
        for tag in bytes.chunks_exact(entry as usize) {
            let element = match number(tag.get(2..4)) {
                Some(3 | 8) => 2,
                Some(4 | 9 | 11 | 13) => 4,
                Some(5 | 10 | 12 | 16..=18) => 8,
                _ => 1,
            };
            let values = number(tag.get(4..4 + offset as usize)).unwrap_or(0);
            if values.saturating_mul(element) > length {
                return Ok(false);
            }
        }
        bytes.clear();
        file.take(offset).read_to_end(&mut bytes)?;
        next = number(bytes.get(..offset as usize));
    }
    Ok(true)
}

/// What the current page is.
fn page(path: &Path, reader: &mut Reader) -> Result<Header, DataError> {
    let fail = |error: tiff::TiffError| refuse(path, &error);
    let (width, height) = reader.dimensions().map_err(fail)?;
    let kind = reader.colortype().map_err(fail)?;
    let bits = kind.bit_depth();
    let (channels, colour, alpha, palette) = match kind {
        ColorType::Gray(_) => (1, false, false, false),
        ColorType::GrayA(_) => (1, false, true, false),
        ColorType::RGB(_) => (3, true, false, false),
        ColorType::RGBA(_) => (3, true, true, false),
        ColorType::Palette(_) => (1, true, false, true),
        ColorType::Multiband { num_samples, .. } => (usize::from(num_samples), false, false, false),
        other => {
            let way_out = "convert it to RGB: magick a.tif -colorspace sRGB b.tif";
            return Err(DataError::not_read(path, format!("a TIFF in the colours {other:?}"), way_out));
        }
    };
    let format = reader.find_tag_unsigned_vec::<u16>(Tag::SampleFormat).map_err(fail)?;
    let format = format.and_then(|all| all.first().copied()).unwrap_or(1);
    let dtype = match (format, bits) {
        (1, 1) => "1-bit",
        (1, 2) => "2-bit",
        (1, 4) => "4-bit",
        (1, 8) => "uint8",
        (1, 16) => "uint16",
        (1, 32) => "uint32",
        (1, 64) => "uint64",
        (2, 8) => "int8",
        (2, 16) => "int16",
        (2, 32) => "int32",
        (2, 64) => "int64",
        (3, 16) => "float16",
        (3, 32) => "float32",
        (3, 64) => "float64",
        _ => {
            let way_out = "save it again with tifffile.imwrite as 8 or 16 bits";
            return Err(DataError::not_read(path, format!("a TIFF of {bits} bits a sample"), way_out));
        }
    };
    let mut header = Header::new(Format::Tiff, dtype);
    if format == 1 && bits <= 16 {
        header.greatest = Some(f64::from((1u32 << u32::from(bits)) - 1));
    }
    header.size = vec![height as usize, width as usize];
    (header.channels, header.colour, header.alpha, header.palette) = (channels, colour, alpha, palette);
    Ok(header)
}

fn sample_bytes(header: &Header) -> usize {
    match header.dtype {
        "uint16" | "int16" | "float16" => 2,
        "uint32" | "int32" | "float32" => 4,
        "uint64" | "int64" | "float64" => 8,
        _ => 1,
    }
}

/// Bits of a sample in the file.
fn bits(header: &Header) -> usize {
    match header.dtype {
        "1-bit" => 1,
        "2-bit" => 2,
        "4-bit" => 4,
        _ => 8 * sample_bytes(header),
    }
}

/// The header of all pages: the reader stands at the last one afterwards.
fn pages(path: &Path, reader: &mut Reader, length: u64, limits: &Limits) -> Result<(Header, usize), DataError> {
    let fail = |error: tiff::TiffError| refuse(path, &error);
    let first = page(path, reader)?;
    let mut count = 1;
    while reader.more_images() {
        reader.next_image().map_err(fail)?;
        let next = page(path, reader)?;
        if (&next.size, next.channels, next.dtype) != (&first.size, first.channels, first.dtype) {
            let kind = format!("a TIFF whose page {} differs from its first, as thumbnails and pyramids do,", count + 1);
            return Err(DataError::not_read(
                path,
                kind,
                "save one page with tifffile.imwrite('b.tif', tifffile.imread('a.tif', key=0))",
            ));
        }
        count += 1;
        if count > MOST_PAGES {
            return Err(DataError::damaged(path, Format::Tiff, format!("it has more than {MOST_PAGES} pages")));
        }
    }
    let shape = [count, first.size[0], first.size[1], first.channels + usize::from(first.alpha)];
    limits.admit_bits(path, &shape, bits(&first), sample_bytes(&first), length, PIXELS)?;
    Ok((first, count))
}

/// Reads the headers of all pages.
pub(super) fn header(path: &Path) -> Result<Header, DataError> {
    let unlimited = Limits { bytes: u64::MAX };
    let (mut reader, length) = open(path, &unlimited)?;
    let (mut header, count) = pages(path, &mut reader, length, &unlimited)?;
    if count > 1 {
        header.size.insert(0, count);
    }
    Ok(header)
}

/// Reads the pixels.
pub(super) fn read(path: &Path, limits: &Limits) -> Result<Raster, DataError> {
    let fail = |error: tiff::TiffError| refuse(path, &error);
    let (mut reader, length) = open(path, limits)?;
    let (mut header, count) = pages(path, &mut reader, length, limits)?;
    let (mut reader, _) = open(path, limits)?;
    let mut slices = Vec::with_capacity(count.min(1024));
    let mut palette = None;
    for at in 0..count {
        if at > 0 {
            reader.next_image().map_err(fail)?;
        } else if header.palette {
            palette = colours(&mut reader);
        }
        slices.push(pixels(path, &mut reader, &header)?);
    }
    let values = if count == 1 {
        slices.pop()
    } else {
        header.size.insert(0, count);
        stack(&slices)
    };
    let values = values.ok_or_else(|| DataError::damaged(path, Format::Tiff, "its pages do not fit each other"))?;
    Ok(Raster { header, values, palette })
}

/// A page as [C, H, W].
fn pixels(path: &Path, reader: &mut Reader, header: &Header) -> Result<Array, DataError> {
    let fail = |error: tiff::TiffError| refuse(path, &error);
    let odd = || DataError::damaged(path, Format::Tiff, "its pixels do not fill its size");
    let planar = reader.find_tag_unsigned::<u16>(Tag::PlanarConfiguration).map_err(fail)? == Some(2);
    let mut samples = DecodingResult::U8(Vec::new());
    reader.read_image_to_buffer(&mut samples).map_err(fail)?;
    let stored = header.channels + usize::from(header.alpha);
    let [height, width] = [header.size[0], header.size[1]];
    let shape = if planar { [stored, height, width] } else { [height, width, stored] };
    let axis = if planar { 0 } else { 2 };
    let bits = bits(header);
    fn arrange<E: Clone>(samples: Vec<E>, shape: [usize; 3], axis: usize, kept: usize) -> Option<ArrayD<E>> {
        let array = ArrayD::from_shape_vec(IxDyn(&shape), samples).ok()?;
        let kept = array.slice_axis(Axis(axis), ndarray::Slice::from(0..kept)).into_owned();
        Some(if axis == 0 { kept } else { kept.permuted_axes(IxDyn(&[2, 0, 1])) })
    }
    let kept = header.channels;
    let array = match samples {
        DecodingResult::U8(packed) if bits < 8 => {
            let per_byte = 8 / bits;
            let mask = ((1u16 << bits) - 1) as u8;
            let row = (shape[1] * shape[2]).div_ceil(per_byte).max(1);
            let unpack = |row: &[u8]| -> Vec<u8> {
                let sample = |i: usize| row[i / per_byte] >> (8 - bits - bits * (i % per_byte)) & mask;
                (0..(shape[1] * shape[2]).min(row.len() * per_byte)).map(sample).collect()
            };
            arrange(packed.chunks(row).take(shape[0]).flat_map(unpack).collect(), shape, axis, kept).map(Array::U8)
        }
        DecodingResult::U8(all) => arrange(all, shape, axis, kept).map(Array::U8),
        DecodingResult::U16(all) => arrange(all, shape, axis, kept).map(Array::U16),
        DecodingResult::U32(all) => arrange(all.into_iter().map(i64::from).collect(), shape, axis, kept).map(Array::I64),
        DecodingResult::U64(all) => {
            let all = all.into_iter().map(i64::try_from).collect::<Result<Vec<_>, _>>();
            let all = all.map_err(|_| DataError::values(path, "a pixel is 2^63 or more"))?;
            arrange(all, shape, axis, kept).map(Array::I64)
        }
        DecodingResult::F16(all) => {
            arrange(all.into_iter().map(|v| half::f16::from_bits(v.to_bits())).collect(), shape, axis, kept).map(Array::F16)
        }
        DecodingResult::F32(all) => arrange(all, shape, axis, kept).map(Array::F32),
        DecodingResult::F64(all) => arrange(all, shape, axis, kept).map(Array::F64),
        DecodingResult::I8(all) => arrange(all.into_iter().map(i16::from).collect(), shape, axis, kept).map(Array::I16),
        DecodingResult::I16(all) => arrange(all, shape, axis, kept).map(Array::I16),
        DecodingResult::I32(all) => arrange(all, shape, axis, kept).map(Array::I32),
        DecodingResult::I64(all) => arrange(all, shape, axis, kept).map(Array::I64),
    };
    array.ok_or_else(odd)
}

/// Pages [C, H, W] as [C, D, H, W].
fn stack(slices: &[Array]) -> Option<Array> {
    macro_rules! of {
        ($($kind:ident),*) => {
            match slices.first()? {
                $(Array::$kind(_) => {
                    let views = slices.iter().map(|slice| match slice {
                        Array::$kind(a) => Some(a.view()),
                        _ => None,
                    });
                    ndarray::stack(Axis(1), &views.collect::<Option<Vec<_>>>()?).ok().map(Array::$kind)
                })*
            }
        };
    }
    of!(F16, F32, F64, U8, I16, U16, I32, I64)
}

/// The colours of a palette, whose tables of red, green and blue follow each other in 16 bits.
fn colours(reader: &mut Reader) -> Option<Vec<[u8; 3]>> {
    let map = reader.get_tag_u16_vec(Tag::ColorMap).ok()?;
    let count = map.len() / 3;
    Some((0..count).map(|i| [0, 1, 2].map(|c| (map[c * count + i] >> 8) as u8)).collect())
}
