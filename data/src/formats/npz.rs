//! Arrays in `.npz` archives: the part of ZIP that numpy writes.
//!
//! Read here rather than by a library because it is little (stored or deflated members, their sizes
//! in the directory at the end), and because sizes are checked before memory is taken.

use std::io::Read;
use std::path::Path;

use flate2::read::DeflateDecoder;

use super::{Format, npy};
use crate::array::Array;
use crate::error::DataError;
use crate::limits::{DEFLATE, Limits};

/// Most members of an archive: far more than anybody keeps in one.
const MOST_MEMBERS: usize = 1 << 16;

/// A member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its name, without `.npy`.
    pub(super) name: String,
    method: u16,
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

/// Names and places of the arrays, in the order of the archive's directory.
pub(super) fn members(path: &Path, bytes: &[u8]) -> Result<Vec<Member>, DataError> {
    let refuse = |reason: &str| DataError::damaged(path, Format::Npz, reason);
    if !bytes.starts_with(b"PK") {
        return Err(refuse("it is no archive"));
    }
    directory(bytes).ok_or_else(|| refuse("its directory is missing or damaged"))
}

fn directory(bytes: &[u8]) -> Option<Vec<Member>> {
    // The end of the directory is the last record, with a comment of at most 65535 bytes.
    let first = bytes.len().saturating_sub(22 + 65535);
    let end = (first..=bytes.len().checked_sub(22)?).rev().find(|&at| bytes.get(at..at + 4) == Some(b"PK\x05\x06"))?;
    let mut count = u64::from(u16_at(bytes, end + 10)?);
    let mut at = u64::from(u32_at(bytes, end + 16)?);
    // An archive beyond 4 GiB has its numbers in a record before that.
    if let Some(locator) = end.checked_sub(20).filter(|&at| bytes.get(at..at + 4) == Some(b"PK\x06\x07")) {
        let record = usize::try_from(u64_at(bytes, locator + 8)?).ok()?;
        if bytes.get(record..record.checked_add(4)?)? == b"PK\x06\x06" {
            count = u64_at(bytes, record.checked_add(32)?)?;
            at = u64_at(bytes, record.checked_add(48)?)?;
        }
    }
    if count > MOST_MEMBERS as u64 {
        return None;
    }
    let mut at = usize::try_from(at).ok()?;
    let mut members = Vec::new();
    for _ in 0..count {
        if bytes.get(at..at.checked_add(4)?)? != b"PK\x01\x02" {
            return None;
        }
        let method = u16_at(bytes, at + 10)?;
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
        members.extend(name.map(|name| Member { name, method, compressed, size, at: place }));
    }
    Some(members)
}

impl Member {
    /// Its bytes, of which `most` are wanted.
    fn open<'a>(&self, path: &Path, bytes: &'a [u8], most: u64) -> Result<Box<dyn Read + 'a>, DataError> {
        let refuse = |reason: String| DataError::damaged(path, Format::Npz, reason);
        let data = || {
            let at = usize::try_from(self.at).ok()?;
            if bytes.get(at..at.checked_add(4)?)? != b"PK\x03\x04" {
                return None;
            }
            let [name, extra] = [26, 28].map(|offset| u16_at(bytes, at + offset).map(usize::from));
            let start = at + 30 + name? + extra?;
            bytes.get(start..start.checked_add(usize::try_from(self.compressed).ok()?)?)
        };
        let data = data().ok_or_else(|| refuse(format!("member {} lies outside of it", crate::error::plain(&self.name))))?;
        match self.method {
            0 => Ok(Box::new(data.take(most))),
            8 => Ok(Box::new(DeflateDecoder::new(data).take(most))),
            method => Err(refuse(format!("compression method {method} is not numpy's; save it with numpy.savez_compressed"))),
        }
    }

    /// What the member's header says.
    pub(super) fn header(&self, path: &Path, bytes: &[u8]) -> Result<super::Header, DataError> {
        let mut first = Vec::new();
        let read = self.open(path, bytes, npy::ALL_HEADERS as u64)?.read_to_end(&mut first);
        read.map_err(|error| DataError::damaged(path, Format::Npz, error.to_string()))?;
        let header = npy::header(path, &first, self.size)?;
        Ok(super::Header { format: Format::Npz, member: Some(self.name.clone()), ..header })
    }

    /// The member as an array.
    pub(super) fn read(&self, path: &Path, bytes: &[u8], limits: &Limits) -> Result<Array, DataError> {
        let mut first = Vec::new();
        let damaged = |error: std::io::Error| DataError::damaged(path, Format::Npz, error.to_string());
        self.open(path, bytes, npy::ALL_HEADERS as u64)?.read_to_end(&mut first).map_err(damaged)?;
        let header = npy::Header::parse(path, &first)?;
        let (_, element) = header.check(path)?;
        limits.admit(path, &header.shape, element, self.compressed, DEFLATE)?;
        // One byte more than is promised shows whether there are more.
        let whole = header.file_bytes().unwrap_or(u64::MAX).saturating_add(1);
        let mut all = Vec::new();
        self.open(path, bytes, whole)?.read_to_end(&mut all).map_err(damaged)?;
        npy::parse(path, &all)
    }
}
