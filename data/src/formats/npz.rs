//! Arrays in `.npz` archives: the part of ZIP that numpy writes.
//!
//! Read here rather than by a library because it is little (stored or deflated members, their sizes
//! in the directory at the end), and because sizes are checked before memory is taken.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use flate2::CrcReader;
use flate2::read::DeflateDecoder;

use super::{Format, npy};
use crate::array::Array;
use crate::error::DataError;
use crate::limits::{DEFLATE, Limits};

/// Most members of an archive: far more than anybody keeps in one.
const MOST_MEMBERS: u64 = 1 << 16;

/// A member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its name, without `.npy`.
    pub(super) name: String,
    method: u16,
    checksum: u32,
    compressed: u64,
    size: u64,
    at: u64,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// Bytes at most behind an archive's directory: its last record, with a comment of at most 65535
/// bytes, and the record and locator of an archive beyond 4 GiB.
const END: u64 = 22 + 65535 + 76;

/// An archive, read where it is needed.
pub(super) struct Archive<'a, R> {
    path: &'a Path,
    from: R,
    length: u64,
    /// The arrays, in the order of the directory.
    pub(super) members: Vec<Member>,
}

impl<'a> Archive<'a, File> {
    /// Opens a file.
    pub(super) fn open(path: &'a Path) -> Result<Self, DataError> {
        Self::new(path, File::open(path).map_err(|error| DataError::io(path, error))?)
    }
}

impl<'a, R: Read + Seek> Archive<'a, R> {
    /// Reads the directory.
    pub(super) fn new(path: &'a Path, mut from: R) -> Result<Self, DataError> {
        let refuse = |reason: &str| DataError::damaged(path, Format::Npz, reason);
        let fail = |error| DataError::io(path, error);
        let length = from.seek(SeekFrom::End(0)).map_err(fail)?;
        let mut archive = Self { path, from, length, members: Vec::new() };
        if !archive.part(0, 2)?.starts_with(b"PK") {
            return Err(refuse("it is no archive"));
        }
        archive.members = archive.directory()?.ok_or_else(|| refuse("its directory is missing or damaged"))?;
        Ok(archive)
    }

    /// Some of its bytes; fewer where it ends before.
    fn part(&mut self, at: u64, length: u64) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        self.from
            .seek(SeekFrom::Start(at))
            .and_then(|_| (&mut self.from).take(length).read_to_end(&mut bytes))
            .map_err(|error| DataError::io(self.path, error))?;
        Ok(bytes)
    }

    fn directory(&mut self) -> Result<Option<Vec<Member>>, DataError> {
        let start = self.length.saturating_sub(END);
        let tail = self.part(start, END)?;
        let Some((at, count)) = place(&tail, |record| {
            let record = usize::try_from(record.checked_sub(start)?).ok()?;
            tail.get(record..)
        }) else {
            return Ok(None);
        };
        if count > MOST_MEMBERS || at > self.length {
            return Ok(None);
        }
        // Not more than are there, of 65535 bytes of name, extra fields and comment each.
        let bytes = self.part(at, self.length - at)?;
        Ok(entries(&bytes, count))
    }
}

/// Where a directory begins, and of how many members, by the end of an archive.
fn place<'t>(tail: &'t [u8], record_at: impl Fn(u64) -> Option<&'t [u8]>) -> Option<(u64, u64)> {
    let first = tail.len().saturating_sub(22 + 65535);
    let end = (first..=tail.len().checked_sub(22)?).rev().find(|&at| tail.get(at..at + 4) == Some(b"PK\x05\x06"))?;
    // An archive beyond 4 GiB has its numbers in a record before that.
    if let Some(locator) = end.checked_sub(20).filter(|&at| tail.get(at..at + 4) == Some(b"PK\x06\x07")) {
        let record = record_at(u64_at(tail, locator + 8)?)?;
        if record.starts_with(b"PK\x06\x06") {
            return Some((u64_at(record, 48)?, u64_at(record, 32)?));
        }
    }
    Some((u32_at(tail, end + 16)?.into(), u16_at(tail, end + 10)?.into()))
}

/// The members of a directory.
fn entries(bytes: &[u8], count: u64) -> Option<Vec<Member>> {
    let mut at = 0usize;
    let mut members = Vec::new();
    for _ in 0..count {
        if bytes.get(at..at.checked_add(4)?)? != b"PK\x01\x02" {
            return None;
        }
        let method = u16_at(bytes, at + 10)?;
        let checksum = u32_at(bytes, at + 16)?;
        let mut compressed = u64::from(u32_at(bytes, at + 20)?);
        let mut size = u64::from(u32_at(bytes, at + 24)?);
        let [name, extra, comment] = [28, 30, 32].map(|offset| u16_at(bytes, at + offset).map(usize::from));
        let (name, extra, comment) = (name?, extra?, comment?);
        let mut place = u64::from(u32_at(bytes, at + 42)?);
        let text = String::from_utf8_lossy(bytes.get(at + 46..at + 46 + name)?).into_owned();
        let fields = bytes.get(at + 46 + name..at + 46 + name + extra)?;
        let mut field = 0;
        while let (Some(id), Some(length)) = (u16_at(fields, field), u16_at(fields, field + 2)) {
            if id == 1 {
                // Only the numbers that do not fit in their own place, in this order.
                let mut wide = field + 4;
                for number in [&mut size, &mut compressed, &mut place] {
                    if *number == u64::from(u32::MAX) {
                        *number = u64_at(fields, wide)?;
                        wide += 8;
                    }
                }
            }
            field += 4 + usize::from(length);
        }
        at = at + 46 + name + extra + comment;
        let name = text.strip_suffix(".npy").map(str::to_owned);
        members.extend(name.map(|name| Member { name, method, checksum, compressed, size, at: place }));
    }
    Some(members)
}

impl<R: Read + Seek> Archive<'_, R> {
    /// A member's bytes from the first on.
    fn bytes(&mut self, member: &Member) -> Result<Box<dyn Read + '_>, DataError> {
        let path = self.path;
        let refuse = |reason: String| DataError::damaged(path, Format::Npz, reason);
        let outside = || refuse(format!("member {} lies outside of it", crate::error::plain(&member.name)));
        let local = self.part(member.at, 30)?;
        let lengths = [26, 28].map(|offset| u16_at(&local, offset));
        let ([Some(name), Some(extra)], true) = (lengths, local.starts_with(b"PK\x03\x04")) else {
            return Err(outside());
        };
        let start = member.at + 30 + u64::from(name) + u64::from(extra);
        if start.checked_add(member.compressed).is_none_or(|end| end > self.length) {
            return Err(outside());
        }
        self.from.seek(SeekFrom::Start(start)).map_err(|error| DataError::io(path, error))?;
        let data = (&mut self.from).take(member.compressed);
        match member.method {
            0 => Ok(Box::new(data)),
            8 => Ok(Box::new(DeflateDecoder::new(data))),
            method => Err(refuse(format!("compression method {method} is not numpy's; save it with numpy.savez_compressed"))),
        }
    }

    /// What a member's header says.
    pub(super) fn header(&mut self, member: &Member) -> Result<super::Header, DataError> {
        let path = self.path;
        let mut first = Vec::new();
        let read = self.bytes(member)?.take(npy::ALL_HEADERS as u64).read_to_end(&mut first);
        read.map_err(|error| DataError::damaged(path, Format::Npz, error.to_string()))?;
        let header = npy::header(path, &first, member.size)?;
        Ok(super::Header { format: Format::Npz, member: Some(member.name.clone()), ..header })
    }

    /// A member as an array; integers, if asked for, in the smallest type that holds them.
    pub(super) fn array(&mut self, member: &Member, limits: &Limits, narrow: bool) -> Result<Array, DataError> {
        let path = self.path;
        let damaged = |error: std::io::Error| DataError::damaged(path, Format::Npz, error.to_string());
        let shrinkage = if member.method == 0 { 1 } else { DEFLATE };
        let admit = |header: &npy::Header| {
            let element = header.check(path)?.bytes();
            limits.admit(path, &header.shape, element, member.compressed, shrinkage).map(|_| ())
        };
        // Stored bytes are there; of compressed ones nobody knows how many there are.
        let length = (member.method == 0).then_some(member.compressed);
        let mut checked = CrcReader::new(self.bytes(member)?);
        let array = npy::Reading { path, length, narrow, admit: &admit, damaged: &damaged }.array(&mut checked)?.1;
        if checked.crc().sum() != member.checksum {
            return Err(DataError::damaged(
                path,
                Format::Npz,
                format!("the checksum of {} is wrong", crate::error::plain(&member.name)),
            ));
        }
        Ok(array)
    }
}
