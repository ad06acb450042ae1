//! Volumes in NIfTI files, `.nii` and `.nii.gz`, of both versions and byte orders.
//!
//! Read here rather than by a library: a header is 348 or 540 bytes, and its sizes have to be
//! checked against the file before memory is taken for them.

mod write;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

pub use self::write::{Place, labels_as_nifti};
use super::stream::{Numbers, Stored};
use super::{Format, Header};
use crate::array::Array;
use crate::error::DataError;
use crate::limits::{DEFLATE, Limits};

/// What says that an image and its header are two files.
const PAIR: &str = "nibabel.save(nibabel.load('a.hdr'), 'a.nii.gz') makes one file of both";

/// NIfTI's types of colour, a byte for each channel.
const RGB: i16 = 128;
const RGBA: i16 = 2304;

/// The most bytes behind the data of a compressed file.
const MOST_BEHIND: u64 = 1 << 20;

/// What a header says.
#[derive(Clone, Debug, PartialEq)]
struct Facts {
    big: bool,
    /// Lengths of the axes, the fastest first, at least two.
    axes: Vec<usize>,
    kind: i16,
    start: u64,
    scaling: Option<[f64; 2]>,
    /// Millimetres along the first three axes.
    spacing: Option<[f64; 3]>,
    orientation: Option<String>,
}

/// Opens a file, through gzip where it is compressed; gives its length on disk.
fn open(path: &Path) -> Result<(Box<dyn Read>, u64, bool), DataError> {
    let fail = |error| DataError::io(path, error);
    let file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    let mut file = BufReader::new(file);
    let zipped = std::io::BufRead::fill_buf(&mut file).map_err(fail)?.starts_with(&[0x1f, 0x8b]);
    Ok(if zipped { (Box::new(MultiGzDecoder::new(file)), length, true) } else { (Box::new(file), length, false) })
}

/// Reads a header alone.
pub(super) fn header(path: &Path) -> Result<Header, DataError> {
    let (mut file, length, zipped) = open(path)?;
    let facts = facts(path, &mut file)?.0;
    facts.admit(path, &Limits { bytes: u64::MAX }, length, zipped)?;
    facts.header(path)
}

/// Reads a file, which may be compressed; integers, if asked for, in the smallest type that holds
/// them.
pub(super) fn read(path: &Path, limits: &Limits, narrow: bool) -> Result<(Header, Array), DataError> {
    let (mut file, length, zipped) = open(path)?;
    let (facts, head) = facts(path, &mut file)?;
    let taken = head.len() as u64;
    facts.admit(path, limits, length, zipped)?;
    let damaged = |error: std::io::Error| DataError::damaged(path, Format::Nifti, error.to_string());
    let skip = facts.start.checked_sub(taken).ok_or_else(|| refuse(path, "its data begins within its header"))?;
    std::io::copy(&mut file.by_ref().take(skip), &mut std::io::sink()).map_err(damaged)?;
    let array =
        facts.array(&mut Numbers { path, from: &mut file, big: facts.big, there: !zipped, narrow, damaged: &damaged })?;
    if zipped {
        // The checksum stands at the end.
        let more = std::io::copy(&mut file.take(MOST_BEHIND + 1), &mut std::io::sink()).map_err(damaged)?;
        if more > MOST_BEHIND {
            return Err(refuse(path, "more than 1 MiB follows its data"));
        }
    }
    Ok((facts.header(path)?, array))
}

fn refuse(path: &Path, reason: &str) -> DataError {
    DataError::damaged(path, Format::Nifti, reason)
}

/// Reads the header off a stream; gives its bytes too.
fn facts(path: &Path, file: &mut dyn Read) -> Result<(Facts, Vec<u8>), DataError> {
    let mut bytes = Vec::new();
    let damaged = |error: std::io::Error| DataError::damaged(path, Format::Nifti, error.to_string());
    file.take(348).read_to_end(&mut bytes).map_err(damaged)?;
    let size: [u8; 4] = bytes.first_chunk().copied().ok_or_else(|| refuse(path, "it ends within its header"))?;
    let (two, big) = match (i32::from_le_bytes(size), i32::from_be_bytes(size)) {
        (348, _) => (false, false),
        (540, _) => (true, false),
        (_, 348) => (false, true),
        (_, 540) => (true, true),
        _ => return Err(refuse(path, "it does not begin with the size of a header, 348 or 540")),
    };
    if two {
        file.take(192).read_to_end(&mut bytes).map_err(damaged)?;
    }
    let fields = Fields { bytes: &bytes, big };
    let facts = if two { fields.second() } else { fields.first() };
    let magic: &[u8] = bytes.get(if two { 4..7 } else { 344..347 }).unwrap_or_default();
    match magic {
        b"n+1" | b"n+2" => {}
        b"ni1" | b"ni2" => {
            return Err(DataError::not_read(path, "a header whose data is in another file (.hdr and .img)", PAIR));
        }
        _ => return Err(DataError::not_read(path, "Analyze 7.5, which does not say where left and right are,", PAIR)),
    }
    let mut facts = facts.ok_or_else(|| refuse(path, "it ends within its header"))?;
    let rank = facts.axes.first().copied().unwrap_or(0);
    if !(1..=7).contains(&rank) {
        return Err(refuse(path, "its header gives no number of axes from 1 to 7"));
    }
    facts.axes = facts.axes.get(1..=rank).unwrap_or_default().to_vec();
    // A picture is a volume of one slice; a volume has one point in time.
    while facts.axes.len() > 2 && facts.axes.last() == Some(&1) {
        facts.axes.pop();
    }
    if facts.axes.len() < 2 || facts.axes.contains(&0) {
        return Err(refuse(path, "one of its axes has no length, or it has one axis alone"));
    }
    Ok((facts, bytes))
}

/// The bytes of a header, as numbers.
struct Fields<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl Fields<'_> {
    fn take<const B: usize>(&self, at: usize) -> Option<[u8; B]> {
        let mut bytes: [u8; B] = self.bytes.get(at..at + B)?.try_into().ok()?;
        if self.big {
            bytes.reverse();
        }
        Some(bytes)
    }

    fn i16(&self, at: usize) -> Option<i16> {
        self.take(at).map(i16::from_le_bytes)
    }

    fn i32(&self, at: usize) -> Option<i32> {
        self.take(at).map(i32::from_le_bytes)
    }

    fn i64(&self, at: usize) -> Option<i64> {
        self.take(at).map(i64::from_le_bytes)
    }

    fn f32(&self, at: usize) -> Option<f64> {
        self.take(at).map(f32::from_le_bytes).map(f64::from)
    }

    fn f64(&self, at: usize) -> Option<f64> {
        self.take(at).map(f64::from_le_bytes)
    }

    /// Of version 1, 348 bytes.
    fn first(&self) -> Option<Facts> {
        let axes = (0..8).map(|i| Some(usize::try_from(self.i16(40 + 2 * i)?).unwrap_or(0))).collect::<Option<_>>()?;
        let widths = (0..4).map(|i| self.f32(76 + 4 * i)).collect::<Option<Vec<_>>>()?;
        let [slope, intercept] = [self.f32(112)?, self.f32(116)?];
        let quaternion = (0..3).map(|i| self.f32(256 + 4 * i)).collect::<Option<Vec<_>>>()?;
        let rows = (0..12).map(|i| self.f32(280 + 4 * i)).collect::<Option<Vec<_>>>()?;
        let units = i32::from(*self.bytes.get(123)?);
        let codes = [i32::from(self.i16(252)?), i32::from(self.i16(254)?)];
        let start = self.f32(108)?;
        let facts = self.common(axes, self.i16(70)?, start, [slope, intercept]);
        Some(facts.placed(&widths, units, codes, &quaternion, &rows))
    }

    /// Of version 2, 540 bytes.
    fn second(&self) -> Option<Facts> {
        let axes = (0..8).map(|i| Some(usize::try_from(self.i64(16 + 8 * i)?).unwrap_or(0))).collect::<Option<_>>()?;
        let widths = (0..4).map(|i| self.f64(104 + 8 * i)).collect::<Option<Vec<_>>>()?;
        let quaternion = (0..3).map(|i| self.f64(352 + 8 * i)).collect::<Option<Vec<_>>>()?;
        let rows = (0..12).map(|i| self.f64(400 + 8 * i)).collect::<Option<Vec<_>>>()?;
        let codes = [self.i32(344)?, self.i32(348)?];
        let facts = self.common(axes, self.i16(12)?, self.i64(168)? as f64, [self.f64(176)?, self.f64(184)?]);
        Some(facts.placed(&widths, self.i32(500)?, codes, &quaternion, &rows))
    }

    fn common(&self, axes: Vec<usize>, kind: i16, start: f64, [slope, intercept]: [f64; 2]) -> Facts {
        // A slope of 0 says that numbers are as they stand; other software writes NaN.
        let scaling = (slope.is_finite() && slope != 0.0)
            .then_some([slope, if intercept.is_finite() { intercept } else { 0.0 }])
            .filter(|scaling| *scaling != [1.0, 0.0]);
        // Some write 0 where they mean the first place that there is.
        let first = if self.bytes.first() == Some(&28) || self.bytes.get(3) == Some(&28) { 544.0 } else { 352.0 };
        let start = if start.is_finite() && start > 0.0 { start } else { first };
        Facts { big: self.big, axes, kind, start: start as u64, scaling, spacing: None, orientation: None }
    }
}

impl Facts {
    /// With the place in space of its first three axes.
    fn placed(mut self, widths: &[f64], units: i32, [qform, sform]: [i32; 2], quaternion: &[f64], rows: &[f64]) -> Self {
        let millimetres = match units & 7 {
            1 => 1000.0,
            3 => 0.001,
            _ => 1.0,
        };
        if let [sign, x, y, z] = *widths {
            let spacing = [x, y, z].map(|width| width.abs() * millimetres);
            self.spacing = spacing.iter().all(|width| width.is_finite() && *width > 0.0).then_some(spacing);
            let columns = if sform > 0 {
                Some([0, 1, 2].map(|column| [0, 1, 2].map(|row| rows.get(4 * row + column).copied().unwrap_or(0.0))))
            } else if qform > 0 {
                rotation(quaternion, if sign < 0.0 { -1.0 } else { 1.0 })
            } else {
                None
            };
            self.orientation = columns.and_then(|columns| letters(&columns));
        }
        self
    }

    /// The type of its numbers.
    fn stored(&self, path: &Path) -> Result<Stored, DataError> {
        Ok(match self.kind {
            2 | RGB | RGBA => Stored::U8,
            4 => Stored::I16,
            8 => Stored::I32,
            16 => Stored::F32,
            64 => Stored::F64,
            256 => Stored::I8,
            512 => Stored::U16,
            768 => Stored::U32,
            1024 => Stored::I64,
            1280 => Stored::U64,
            16384 => Stored::F16,
            kind => {
                let name = match kind {
                    1 => "bits",
                    32 | 1792 | 2048 => "complex numbers",
                    1536 => "float128",
                    _ => "a type without a name",
                };
                return Err(DataError::WrongType {
                    path: path.to_path_buf(),
                    what: "voxels",
                    expected: "integers or floats up to 64 bits, or 24-bit colour",
                    found: format!("{name} (NIfTI type {kind})"),
                });
            }
        })
    }

    /// Numbers of a voxel: more than one of colour.
    fn numbers(&self) -> usize {
        match self.kind {
            RGB => 3,
            RGBA => 4,
            _ => 1,
        }
    }

    fn admit(&self, path: &Path, limits: &Limits, length: u64, zipped: bool) -> Result<u64, DataError> {
        let element = self.stored(path)?.bytes() * self.numbers();
        if !zipped {
            let claimed = self.axes.iter().fold(element as u128, |n, &axis| n.saturating_mul(axis as u128));
            let found = length.saturating_sub(self.start);
            if u128::from(found) < claimed {
                let expected = u64::try_from(claimed).unwrap_or(u64::MAX);
                return Err(DataError::Truncated { path: path.to_path_buf(), expected, found });
            }
        }
        limits.admit(path, &self.axes, element, length, if zipped { DEFLATE } else { 1 })
    }

    /// Lengths along the axes of space, the slowest first, and the channels.
    fn layout(&self, path: &Path) -> Result<(Vec<usize>, usize), DataError> {
        let mut space: Vec<usize> = self.axes.iter().take(3).rev().copied().collect();
        let beyond: Vec<usize> = self.axes.iter().skip(3).copied().filter(|&n| n > 1).collect();
        // Pictures over time have a third axis of length 1.
        if !beyond.is_empty() && space.first() == Some(&1) {
            space.remove(0);
        }
        match beyond[..] {
            [] => Ok((space, 1)),
            [channels] => Ok((space, channels)),
            _ => {
                let kind = format!("an array of {} axes", self.axes.len());
                Err(DataError::not_read(path, kind, "save each point in time as a file of its own"))
            }
        }
    }

    fn header(&self, path: &Path) -> Result<Header, DataError> {
        let dtype = match self.kind {
            RGB => "rgb24",
            RGBA => "rgba32",
            _ => self.stored(path)?.name(),
        };
        let (size, mut channels) = self.layout(path)?;
        let mut header = Header::new(Format::Nifti, dtype);
        if self.numbers() > 1 {
            if channels > 1 {
                return Err(DataError::not_read(
                    path,
                    "colour that changes over time",
                    "save each point in time as a file of its own",
                ));
            }
            (channels, header.colour, header.alpha) = (3, true, self.kind == RGBA);
        }
        let spacing = self.spacing.map(|spacing| spacing.iter().rev().copied().collect::<Vec<_>>());
        header.spacing = spacing.map(|spacing| spacing[3 - size.len().min(3)..].to_vec());
        header.orientation.clone_from(&self.orientation);
        header.scaling = self.scaling;
        Ok(Header { size, channels, ..header })
    }

    /// The voxels [C, *space], as they stand in the file.
    fn array(&self, numbers: &mut Numbers<'_>) -> Result<Array, DataError> {
        let path = numbers.path;
        let (space, channels) = self.layout(path)?;
        let stored = self.stored(path)?;
        // The file's fastest axis comes first in its header, and last in ours: the bytes stay in
        // place.
        if self.numbers() == 1 {
            return numbers.array(stored, &[&[channels], &space[..]].concat(), false);
        }
        // Colour is voxel by voxel.
        let colours = numbers.array(stored, &[&space[..], &[self.numbers()]].concat(), false)?;
        Ok(colours.first_of(ndarray::Axis(space.len()), 3).front(space.len()))
    }
}

/// The columns of the rotation that a quaternion stands for, by the NIfTI standard.
fn rotation(quaternion: &[f64], sign: f64) -> Option<[[f64; 3]; 3]> {
    let [b, c, d] = *quaternion else { return None };
    let rest = 1.0 - (b * b + c * c + d * d);
    if !rest.is_finite() || rest < -1e-3 {
        return None;
    }
    let a = rest.max(0.0).sqrt();
    Some([
        [a * a + b * b - c * c - d * d, 2.0 * (b * c + a * d), 2.0 * (b * d - a * c)],
        [2.0 * (b * c - a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d + a * b)],
        [2.0 * (b * d + a * c), 2.0 * (c * d - a * b), a * a + d * d - b * b - c * c].map(|v| sign * v),
    ])
}

/// Where the axes of a file run to: R or L, A or P, S or I for each of the first three, the fastest
/// first.
fn letters(columns: &[[f64; 3]; 3]) -> Option<String> {
    let unit = columns.map(|column| {
        let length = column.iter().map(|v| v * v).sum::<f64>().sqrt();
        column.map(|v| v / length)
    });
    if unit.iter().flatten().any(|v| !v.is_finite()) {
        return None;
    }
    let mut letters = [' '; 3];
    let mut taken = [false; 3];
    // The surest axis first, so that no direction is given twice.
    for _ in 0..3 {
        let free = |&(axis, to): &(usize, usize)| letters[axis] == ' ' && !taken[to];
        let all = (0..3).flat_map(|axis| (0..3).map(move |to| (axis, to)));
        let best = all.filter(free).max_by(|a, b| unit[a.0][a.1].abs().total_cmp(&unit[b.0][b.1].abs()));
        let (axis, to) = best?;
        taken[to] = true;
        letters[axis] = [['L', 'R'], ['P', 'A'], ['I', 'S']][to][usize::from(unit[axis][to] > 0.0)];
    }
    Some(letters.iter().collect())
}
