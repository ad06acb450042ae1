//! Files of one format each: what a header says, and the numbers behind it.

mod arrays;
mod foreign;
mod jpeg;
mod nifti;
pub mod npy;
mod npz;
mod png;
mod stream;
mod tiff;

use std::fmt::{Display, Formatter};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;

pub use self::arrays::read_array;
pub(crate) use self::foreign::{Foreign, annotations, foreign, is_dicom};
pub use self::nifti::{Place, labels_as_nifti};
use crate::array::Array;
use crate::error::DataError;
use crate::limits::Limits;

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// Pictures of 1 to 16 bits, grey, in colour or of a palette.
    Png,
    /// Photographs.
    Jpeg,
    /// Pictures, and volumes of many pages.
    Tiff,
    /// Volumes, `.nii` and `.nii.gz`.
    Nifti,
    /// An array of numpy.
    Npy,
    /// Arrays of numpy.
    Npz,
}

impl Display for Format {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Tiff => "TIFF",
            Self::Nifti => "NIfTI",
            Self::Npy => ".npy file",
            Self::Npz => ".npz archive",
        })
    }
}

impl Format {
    /// The format of a file by its name, without regard to case; the name without its ending.
    pub fn of_name(name: &str) -> Option<(Self, &str)> {
        const ENDINGS: [(&str, Format); 9] = [
            (".nii.gz", Format::Nifti),
            (".nii", Format::Nifti),
            (".png", Format::Png),
            (".jpeg", Format::Jpeg),
            (".jpg", Format::Jpeg),
            (".tiff", Format::Tiff),
            (".tif", Format::Tiff),
            (".npy", Format::Npy),
            (".npz", Format::Npz),
        ];
        ENDINGS.iter().find_map(|&(ending, format)| Some((format, without_ending(name, ending)?)))
    }
}

/// A name without an ending, which is compared without case.
pub(crate) fn without_ending<'a>(name: &'a str, ending: &str) -> Option<&'a str> {
    let at = name.len().checked_sub(ending.len())?;
    let (stem, found) = name.split_at_checked(at)?;
    (found.eq_ignore_ascii_case(ending) && !stem.is_empty()).then_some(stem)
}

/// What a file says of itself before its pixels are read.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Header {
    /// Its format.
    pub format: Format,
    /// The array of an archive that was meant.
    pub member: Option<String>,
    /// Lengths along the axes of space, the slowest first: [H, W] or [D, H, W]. Of `.npy` files all
    /// axes, of which one may be channels.
    pub size: Vec<usize>,
    /// Channels, without a channel of transparency; 1 for a palette.
    pub channels: usize,
    /// Whether it is known which axis is channels; not so in `.npy` files.
    pub axes_known: bool,
    /// Type of the numbers, such as `uint8`, or `4-bit`.
    pub dtype: &'static str,
    /// The greatest number that the type holds, where a fraction of it is meant.
    pub greatest: Option<f64>,
    /// Whether its channels are red, green and blue, or its palette has such.
    pub colour: bool,
    /// Whether it has a channel or a colour of transparency, which is dropped.
    pub alpha: bool,
    /// Whether its numbers are places in a palette.
    pub palette: bool,
    /// Whether a camera asks for it to be turned, which is not done.
    pub turned: bool,
    /// Millimetres between neighbours along each axis of `size`.
    pub spacing: Option<Vec<f64>>,
    /// Where the first three axes of a NIfTI file run to, the fastest first, such as `RAS`.
    pub orientation: Option<String>,
    /// Slope and intercept that numbers are to be multiplied with and moved by.
    pub scaling: Option<[f64; 2]>,
}

impl Header {
    pub(crate) fn new(format: Format, dtype: &'static str) -> Self {
        let greatest = match dtype {
            "uint8" => Some(255.0),
            "uint16" => Some(65535.0),
            _ => None,
        };
        Self {
            format,
            member: None,
            size: Vec::new(),
            channels: 1,
            axes_known: true,
            dtype,
            greatest,
            colour: false,
            alpha: false,
            palette: false,
            turned: false,
            spacing: None,
            orientation: None,
            scaling: None,
        }
    }

    /// Channels and lengths, [C, *size].
    pub fn shape(&self) -> Vec<usize> {
        [&[self.channels], &self.size[..]].concat()
    }

    /// Whether its numbers are floats.
    pub fn is_float(&self) -> bool {
        self.dtype.contains("float")
    }
}

/// The numbers of a file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Raster {
    /// What it says of itself.
    pub header: Header,
    /// Its numbers as they stand in the file, `[C, *size]`; of `.npy` files `[*size]`.
    pub values: Array,
    /// The colours of a palette.
    pub palette: Option<Vec<[u8; 3]>>,
}

/// What is read of a file: all of it, or an array of an archive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Names of an archive's array, the best first; with none of them, the only one there is.
    pub(crate) members: &'a [&'a str],
}

/// Reads what a file says of itself, by its name's ending.
///
/// # Errors
/// A file that cannot be read, is not what its name says, or claims more pixels than it can hold.
pub fn header(path: &Path) -> Result<Header, DataError> {
    header_of(path, Wanted { members: &[] })
}

/// Reads the numbers of a file, by its name's ending.
///
/// # Errors
/// As [`header`]; and damaged pixels, or more bytes of them than `limits` allow.
pub fn read(path: &Path, limits: &Limits) -> Result<Raster, DataError> {
    read_of(path, Wanted { members: &[] }, limits)
}

/// What a file is called whose ending says nothing.
const UNKNOWN: &str = "a file of this ending";

fn format_of(path: &Path) -> Result<Format, DataError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some((format, _)) = Format::of_name(&name) {
        return Ok(format);
    }
    Err(match foreign(&name) {
        Some(Foreign { kind, way_out }) => DataError::not_read(path, kind, way_out),
        None => DataError::not_read(path, UNKNOWN, "PNG, JPEG, TIFF, NIfTI, .npy and .npz are"),
    })
}

/// Runs the decoder of a picture, which is not ours. If it panics on damaged bytes, the file is
/// refused; the panic's own message goes to standard error.
fn guarded<T>(path: &Path, format: Format, decode: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    let decoded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode));
    decoded.unwrap_or_else(|_| Err(DataError::damaged(path, format, "its decoder failed; the file may be damaged")))
}

pub(crate) fn header_of(path: &Path, wanted: Wanted<'_>) -> Result<Header, DataError> {
    match format_of(path)? {
        Format::Png => guarded(path, Format::Png, || png::header(path)),
        Format::Jpeg => guarded(path, Format::Jpeg, || jpeg::header(path)),
        Format::Tiff => guarded(path, Format::Tiff, || tiff::header(path)),
        Format::Nifti => nifti::header(path),
        Format::Npy => {
            let fail = |error| DataError::io(path, error);
            let file = File::open(path).map_err(fail)?;
            let length = file.metadata().map_err(fail)?.len();
            let mut first = Vec::new();
            file.take(npy::ALL_HEADERS as u64).read_to_end(&mut first).map_err(fail)?;
            npy::header(path, &first, length)
        }
        Format::Npz => {
            let mut archive = npz::Archive::open(path)?;
            let member = chosen(path, &archive.members, wanted)?;
            archive.header(&member)
        }
    }
}

pub(crate) fn read_of(path: &Path, wanted: Wanted<'_>, limits: &Limits) -> Result<Raster, DataError> {
    match format_of(path)? {
        Format::Png => guarded(path, Format::Png, || png::read(path, limits)),
        Format::Jpeg => guarded(path, Format::Jpeg, || jpeg::read(path, limits)),
        Format::Tiff => guarded(path, Format::Tiff, || tiff::read(path, limits)),
        Format::Nifti => nifti::read(path, limits, false).map(|(header, values)| Raster { header, values, palette: None }),
        Format::Npy => arrays::npy(path, limits, false),
        Format::Npz => {
            let mut archive = npz::Archive::open(path)?;
            let member = chosen(path, &archive.members, wanted)?;
            let header = archive.header(&member)?;
            Ok(Raster { header, values: archive.array(&member, limits, false)?, palette: None })
        }
    }
}

/// The array of an archive that is wanted.
fn chosen(path: &Path, members: &[npz::Member], wanted: Wanted<'_>) -> Result<npz::Member, DataError> {
    let by_name = wanted.members.iter().find_map(|name| members.iter().find(|m| m.name.eq_ignore_ascii_case(name)));
    match (by_name, members) {
        (Some(member), _) | (None, [member]) => Ok(member.clone()),
        _ => {
            let reason = format!(
                "which of its arrays is meant is not known ({}); name them image and mask, or save one alone",
                arrays::names(members)
            );
            Err(DataError::values(path, reason))
        }
    }
}

/// Names of the arrays of an archive.
pub(crate) fn names_in(path: &Path) -> Result<Vec<String>, DataError> {
    Ok(npz::Archive::open(path)?.members.into_iter().map(|m| m.name).collect())
}

/// All bytes of a file.
pub(crate) fn whole(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(|error| DataError::io(path, error))?;
    file.read_to_end(&mut bytes).map_err(|error| DataError::io(path, error))?;
    Ok(bytes)
}
