//! Arrays as programs save them: `.npy`, `.npz` and NIfTI, told apart by what they hold.

use std::fs::File;
use std::path::Path;

use super::{Format, Header, Raster, format_of, nifti, npy, npz};
use crate::error::{DataError, plain};
use crate::limits::Limits;

/// Names that an error lists at most.
const NAMED: usize = 8;

/// Reads an array, whatever the file is called: `.npy`, an `.npz` archive, of which `member` names
/// an array, or NIfTI.
///
/// Of numpy's files the shape is as it was saved. Of NIfTI it is `[C, *space]`, the slowest axis of
/// space first: `[C, Z, Y, X]`, where C is 1 if the file has no fourth axis. With `narrow`,
/// integers are kept in the first of uint8, int32 and int64 that holds them all: labels take a byte
/// a pixel. Numbers are decoded as they are read: bytes and numbers are not in memory side by side.
///
/// # Errors
/// [`DataError`] for a file that is none of these, that is damaged or too short, that claims more
/// numbers than it can hold or `limits` allow, or whose elements are no numbers; for an archive of
/// several arrays without `member`, and for a member that is not there, with the names there are.
///
/// ```
/// use segloss_data::{Array, Limits, formats::read_array};
/// # let place = tempfile::tempdir()?;
/// # let path = place.path().join("y.npy");
/// # let header = "{'descr': '<i8', 'fortran_order': False, 'shape': (1,)}";
/// # let (length, seven) = ([header.len() as u8, 0], 7i64.to_le_bytes());
/// # let bytes = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &seven].concat();
/// # std::fs::write(&path, bytes)?;
/// let raster = read_array(&path, None, true, &Limits::default())?;
/// assert!(matches!(raster.values, Array::U8(_)));
/// assert_eq!(raster.header.dtype, "int64");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_array(path: &Path, member: Option<&str>, narrow: bool, limits: &Limits) -> Result<Raster, DataError> {
    let format = by_content(path)?;
    if let (Some(member), Format::Npy | Format::Nifti) = (member, format) {
        let reason = format!("holds one array, which has no name; leave :{} away", plain(member));
        return Err(DataError::values(path, reason));
    }
    match format {
        Format::Npz => {
            let mut archive = npz::Archive::open(path)?;
            let chosen = named(path, &archive.members, member)?;
            let header = archive.header(&chosen)?;
            Ok(Raster { header, values: archive.array(&chosen, limits, narrow)?, palette: None })
        }
        Format::Nifti => {
            let (header, values) = nifti::read(path, limits, narrow)?;
            Ok(Raster { header, values, palette: None })
        }
        Format::Npy => npy(path, limits, narrow),
        _ => Err(DataError::not_read(path, format!("{format} as an array"), "save it as .npy, .npz or NIfTI")),
    }
}

/// The format by the first bytes, where they say it, else by the name.
fn by_content(path: &Path) -> Result<Format, DataError> {
    let fail = |error| DataError::io(path, error);
    let mut first = [0; 6];
    let found = super::stream::fill(&mut File::open(path).map_err(fail)?, &mut first).map_err(fail)?;
    let first = &first[..found];
    if first.starts_with(b"\x93NUMPY") {
        return Ok(Format::Npy);
    }
    if first.starts_with(b"PK\x03\x04") || first.starts_with(b"PK\x05\x06") {
        return Ok(Format::Npz);
    }
    match format_of(path) {
        // It says itself that it is none.
        Err(DataError::NotRead { kind, .. }) if kind == super::UNKNOWN => Ok(Format::Npy),
        other => other,
    }
}

/// Reads an `.npy` file.
pub(super) fn npy(path: &Path, limits: &Limits, narrow: bool) -> Result<Raster, DataError> {
    let fail = |error| DataError::io(path, error);
    let mut file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    let admit = |header: &npy::Header| {
        let element = header.check(path)?.bytes();
        limits.admit(path, &header.shape, element, length, 1).map(|_| ())
    };
    let (header, values) =
        npy::Reading { path, length: Some(length), narrow, admit: &admit, damaged: &fail }.array(&mut file)?;
    let dtype = header.check(path)?.name();
    let header = Header { size: header.shape, axes_known: false, ..Header::new(Format::Npy, dtype) };
    Ok(Raster { header, values, palette: None })
}

/// The array of an archive that is asked for.
fn named(path: &Path, members: &[npz::Member], name: Option<&str>) -> Result<npz::Member, DataError> {
    let found = match (name, members) {
        (Some(name), _) => members.iter().find(|member| member.name == name),
        (None, [member]) => Some(member),
        (None, _) => None,
    };
    let reason = match (found, name, members) {
        (Some(member), ..) => return Ok(member.clone()),
        (None, _, []) => "an .npz archive without an array".to_owned(),
        (None, Some(name), _) => format!("holds no array {}; it holds {}", plain(name), names(members)),
        (None, None, _) => {
            format!("an .npz archive of several arrays ({}); say which is meant as FILE:NAME", names(members))
        }
    };
    Err(DataError::values(path, reason))
}

/// The first names of an archive's arrays.
pub(super) fn names(members: &[npz::Member]) -> String {
    let mut names: Vec<String> = members.iter().take(NAMED).map(|member| plain(&member.name)).collect();
    match members.len() {
        0 => "none".to_owned(),
        count if count > NAMED => {
            names.push(format!("… {count} in all"));
            names.join(", ")
        }
        _ => names.join(", "),
    }
}
