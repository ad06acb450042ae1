//! Labels as a NIfTI file, on the grid of an image.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use ndarray::ArrayView4;

use super::{Facts, facts, open};
use crate::error::DataError;

/// Where in space labels lie.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Place<'a> {
    /// On the grid of this NIfTI file, whose header is kept: spacing, units, orientation, `qform`
    /// and `sform` bit by bit, description and version.
    Like(&'a Path),
    /// Millimetres between neighbours along [D, H, W], with axes that run nowhere in particular.
    Spaced([f64; 3]),
}

/// Fields of a header: where they are and how wide.
struct Fields {
    /// Lengths of axes: where, and bytes of each.
    lengths: (usize, usize),
    /// Type of the numbers and their bits, of two bytes each.
    kind: [usize; 2],
    /// What numbers mean beyond being numbers, and where they lie between: ranges of bytes that
    /// become 0.
    meaning: &'static [std::ops::Range<usize>],
    /// Distances between neighbours: where, and bytes of each.
    widths: (usize, usize),
    /// Slope and intercept, as wide as widths.
    scaling: usize,
    /// Where the data begins.
    start: u64,
}

/// Of version 1: `intent_p1..3`, `intent_code`, `cal_max` and `cal_min`, `intent_name`.
const FIRST: Fields = Fields {
    lengths: (40, 2),
    kind: [70, 72],
    meaning: &[56..70, 124..132, 328..344],
    widths: (76, 4),
    scaling: 112,
    start: 352,
};

/// Of version 2, the same.
const SECOND: Fields = Fields {
    lengths: (16, 8),
    kind: [12, 14],
    meaning: &[80..104, 192..208, 504..524],
    widths: (104, 8),
    scaling: 176,
    start: 544,
};

/// A NIfTI file, compressed by gzip, of labels [C, D, H, W] in 8 bits: of one channel a volume, of
/// several classes a fourth axis. Extensions of the header are left out, and what it said of the
/// intensities.
///
/// # Errors
/// A file to be like that is no NIfTI file, or of another size; an axis longer than its version of
/// a header can say.
///
/// ```
/// use segloss_data::formats::{Place, labels_as_nifti, read};
/// # let place = tempfile::tempdir()?;
/// # let path = place.path().join("labels.nii.gz");
/// let labels = ndarray::arr3(&[[[0u8, 1, 2], [2, 2, 0]]]).insert_axis(ndarray::Axis(0));
/// std::fs::write(&path, labels_as_nifti(labels.view(), Place::Spaced([3.0, 1.0, 1.0]))?)?;
/// let found = read(&path, &segloss_data::Limits::default())?;
/// let written = labels.mapv(i64::from).index_axis_move(ndarray::Axis(1), 0);
/// assert_eq!(found.values.integers().unwrap(), written.into_dyn());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn labels_as_nifti(labels: ArrayView4<u8>, place: Place<'_>) -> Result<Vec<u8>, DataError> {
    let (mut header, big, path) = match place {
        Place::Like(path) => {
            let (mut file, ..) = open(path)?;
            let (found, bytes) = facts(path, &mut file)?;
            same_size(path, &found, labels.shape())?;
            (bytes, found.big, path)
        }
        Place::Spaced(spacing) => (plain(spacing), false, Path::new("labels")),
    };
    let fields = if header.len() == 540 { &SECOND } else { &FIRST };
    let mut put = |at: usize, mut bytes: Vec<u8>| {
        if big {
            bytes.reverse();
        }
        if let Some(place) = header.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(&bytes);
        }
    };
    let mut lengths = vec![1usize; 8];
    lengths[0] = if labels.shape()[0] > 1 { 4 } else { 3 };
    for (length, axis) in lengths[1..5].iter_mut().zip([3, 2, 1, 0]) {
        *length = labels.shape()[axis];
    }
    for (i, length) in lengths.into_iter().enumerate() {
        let (at, bytes) = fields.lengths;
        let text = i16::try_from(length).map(|length| length.to_le_bytes().to_vec());
        let text = if bytes == 8 { Ok((length as i64).to_le_bytes().to_vec()) } else { text };
        let long = |_| DataError::values(path, format!("an axis of {length} is longer than this version of NIfTI can say"));
        put(at + i * bytes, text.map_err(long)?);
    }
    let float = |value: f64| match fields.widths.1 {
        8 => value.to_le_bytes().to_vec(),
        _ => (value as f32).to_le_bytes().to_vec(),
    };
    put(fields.kind[0], 2i16.to_le_bytes().to_vec());
    put(fields.kind[1], 8i16.to_le_bytes().to_vec());
    put(fields.scaling, float(1.0));
    put(fields.scaling + fields.widths.1, float(0.0));
    for i in 4..8 {
        put(fields.widths.0 + i * fields.widths.1, float(1.0));
    }
    if fields.widths.1 == 8 {
        put(168, fields.start.to_le_bytes().to_vec());
    } else {
        put(108, float(fields.start as f64));
    }
    for range in fields.meaning {
        put(range.start, vec![0; range.len()]);
    }
    // No extension follows.
    header.resize(fields.start as usize, 0);
    let compressed = || -> std::io::Result<Vec<u8>> {
        let mut file = GzEncoder::new(Vec::new(), Compression::default());
        file.write_all(&header)?;
        // The fastest axis is the last here and the first there: numbers stay in order.
        match labels.as_slice() {
            Some(bytes) => file.write_all(bytes)?,
            None => file.write_all(&labels.iter().copied().collect::<Vec<_>>())?,
        }
        file.finish()
    };
    compressed().map_err(|error| DataError::io(path, error))
}

/// Refuses labels for another grid.
fn same_size(path: &Path, found: &Facts, labels: &[usize]) -> Result<(), DataError> {
    let axis = |i: usize| found.axes.get(i).copied().unwrap_or(1);
    let [theirs, ours] = [[axis(2), axis(1), axis(0)], [labels[1], labels[2], labels[3]]];
    if theirs == ours {
        return Ok(());
    }
    let text = |[d, h, w]: [usize; 3]| format!("{w}x{h}x{d}");
    Err(DataError::values(path, format!("is of size {}, and cannot say where labels of {} lie", text(theirs), text(ours))))
}

/// A header of version 1 with a spacing and nothing else.
fn plain(spacing: [f64; 3]) -> Vec<u8> {
    let mut header = vec![0u8; 348];
    let [d, h, w] = spacing;
    header[..4].copy_from_slice(&348i32.to_le_bytes());
    header[38] = b'r';
    for (i, width) in [1.0, w, h, d].into_iter().enumerate() {
        header[76 + 4 * i..80 + 4 * i].copy_from_slice(&(width as f32).to_le_bytes());
    }
    // Millimetres.
    header[123] = 2;
    header[344..347].copy_from_slice(b"n+1");
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::read;
    use crate::limits::Limits;
    use ndarray::Array4;

    /// A float image of a version and byte order, with everything that can be said about space.
    fn image(two: bool, big: bool, axes: &[usize]) -> Vec<u8> {
        let fields = if two { &SECOND } else { &FIRST };
        let mut bytes = vec![7u8; if two { 540 } else { 348 }];
        let mut put = |at: usize, mut value: Vec<u8>| {
            if big {
                value.reverse();
            }
            bytes[at..at + value.len()].copy_from_slice(&value);
        };
        let float = |v: f64| if two { v.to_le_bytes().to_vec() } else { (v as f32).to_le_bytes().to_vec() };
        put(0, (if two { 540i32 } else { 348 }).to_le_bytes().to_vec());
        for i in 0..8 {
            let length = if i == 0 { axes.len() } else { axes.get(i - 1).copied().unwrap_or(1) };
            let text = if two { (length as i64).to_le_bytes().to_vec() } else { (length as i16).to_le_bytes().to_vec() };
            put(fields.lengths.0 + i * fields.lengths.1, text);
            put(fields.widths.0 + i * fields.widths.1, float(0.5 + i as f64));
        }
        put(fields.kind[0], 16i16.to_le_bytes().to_vec());
        put(fields.scaling, float(3.0));
        put(fields.scaling + fields.widths.1, float(-5.0));
        if two {
            put(168, 544i64.to_le_bytes().to_vec());
            put(344, 1i32.to_le_bytes().to_vec());
            put(348, 2i32.to_le_bytes().to_vec());
        } else {
            put(108, float(352.0));
            put(252, 1i16.to_le_bytes().to_vec());
            put(254, 2i16.to_le_bytes().to_vec());
        }
        let rows = if two { 400 } else { 280 };
        for i in 0..12 {
            put(rows + i * fields.widths.1, float([0.1, -1.5, 0.0, 9.0, 2.5, 0.2, 0.0, -3.0, 0.0, 0.0, 3.5, 4.0][i]));
        }
        let magic = if two { 4 } else { 344 };
        bytes[magic..magic + 3].copy_from_slice(if two { b"n+2" } else { b"n+1" });
        bytes.resize(fields.start as usize, 0);
        bytes.extend(vec![0u8; 4 * axes.iter().product::<usize>()]);
        bytes
    }

    #[test]
    fn what_a_header_says_of_space_is_kept_bit_by_bit() {
        let folder = tempfile::tempdir().unwrap();
        let [like, out] = ["like.nii", "out.nii.gz"].map(|name| folder.path().join(name));
        for (two, big) in [(false, false), (false, true), (true, false), (true, true)] {
            let source = image(two, big, &[4, 3, 2]);
            std::fs::write(&like, &source).unwrap();
            let labels = Array4::from_shape_fn([1, 2, 3, 4], |(_, d, h, w)| (d * 12 + h * 4 + w) as u8);
            std::fs::write(&out, labels_as_nifti(labels.view(), Place::Like(&like)).unwrap()).unwrap();
            let (found, before) = (read(&out, &Limits::default()).unwrap(), read(&like, &Limits::default()).unwrap());
            assert_eq!(found.values.integers().unwrap(), labels.mapv(i64::from).into_dyn(), "{two} {big}");
            let [a, b] = [&found.header, &before.header];
            assert_eq!((a.dtype, a.scaling, &a.size), ("uint8", None, &b.size));
            assert_eq!((&a.spacing, &a.orientation), (&b.spacing, &b.orientation));
            assert_eq!(a.orientation.as_deref(), Some("ALS"));
            let (mut file, ..) = open(&out).unwrap();
            let written = facts(&out, &mut file).unwrap().1;
            let kept = if two { vec![104..136, 224..504] } else { vec![76..92, 120..124, 148..328] };
            for range in kept {
                assert_eq!(written[range.clone()], source[range.clone()], "{two} {big} {range:?}");
            }
        }
    }

    #[test]
    fn classes_that_overlap_are_a_fourth_axis() {
        let folder = tempfile::tempdir().unwrap();
        let [like, out] = ["like.nii", "out.nii.gz"].map(|name| folder.path().join(name));
        // Of an image with a fourth axis its space alone is kept.
        std::fs::write(&like, image(false, false, &[4, 3, 2, 5])).unwrap();
        let labels = Array4::from_shape_fn([3, 2, 3, 4], |(c, d, h, w)| ((c + d + h + w) % 2) as u8);
        std::fs::write(&out, labels_as_nifti(labels.view(), Place::Like(&like)).unwrap()).unwrap();
        let found = read(&out, &Limits::default()).unwrap();
        assert_eq!((found.header.channels, found.values.integers().unwrap()), (3, labels.mapv(i64::from).into_dyn()));
        let small = Array4::zeros([1, 2, 3, 5]);
        let error = labels_as_nifti(small.view(), Place::Like(&like)).unwrap_err().to_string();
        assert!(error.ends_with("like.nii: is of size 4x3x2, and cannot say where labels of 5x3x2 lie"), "{error}");
        let long = Array4::zeros([1, 1, 1, 40_000]);
        let error = labels_as_nifti(long.view(), Place::Spaced([1.0; 3])).unwrap_err().to_string();
        assert_eq!(error, "labels: an axis of 40000 is longer than this version of NIfTI can say");
    }
}
