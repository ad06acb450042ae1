//! One label map from one file, and the label maps of a folder: what is scored, not trained on.

use std::path::{Path, PathBuf};

use ndarray::{ArrayD, IxDyn};

use super::values::each_whole;
use crate::error::DataError;
use crate::formats::{Header, Wanted, read_of};
use crate::layout::{MASK_MEMBERS, files_by_name};
use crate::limits::Limits;

/// A label map as its file holds it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LabelFile {
    /// The label of each pixel: `[*size]`. A colour is a number of its own, which
    /// [`value_text`](crate::value_text) writes.
    pub labels: ArrayD<i64>,
    /// What the file says of itself, spacing and orientation among it.
    pub header: Header,
}

/// Reads a label map; of an archive the array `mask`, `label` or the only one. With a threshold,
/// labels are 1 where a number is at least that, and 0 elsewhere.
///
/// # Errors
/// A file that cannot be read; one of several channels, or of numbers that are no labels.
pub fn read_labels(path: &Path, threshold: Option<f64>, limits: &Limits) -> Result<LabelFile, DataError> {
    let raster = read_of(path, Wanted { members: MASK_MEMBERS }, limits)?;
    let header = &raster.header;
    let colour = header.channels == 3 && header.colour;
    if header.channels != 1 && !(colour && threshold.is_none()) {
        let reason = format!("has {} channels where one of labels is expected; save the class of each pixel", header.channels);
        return Err(DataError::values(path, reason));
    }
    let mut labels = Vec::with_capacity(raster.values.len() / header.channels.max(1));
    match threshold {
        Some(threshold) => {
            let [slope, intercept] = header.scaling.unwrap_or([1.0, 0.0]);
            raster.values.for_each(|value| labels.push(i64::from(value * slope + intercept >= threshold)));
        }
        None => {
            if let Some(value) = each_whole(path, &raster, |value| labels.push(value))? {
                let reason =
                    format!("holds {value}, which is no class; say from where on pixels are foreground with --threshold");
                return Err(DataError::values(path, reason));
            }
        }
    }
    let labels = ArrayD::from_shape_vec(IxDyn(&header.size), labels)
        .map_err(|_| DataError::values(path, "is not of the size that its header gives"))?;
    Ok(LabelFile { labels, header: raster.header })
}

/// The files below a folder that can be read, by the folders and the name that they have without an
/// ending, `patient7/scan`; in the order of names. Hidden files are skipped.
///
/// # Errors
/// A folder that cannot be read, and two files of one name.
pub fn label_files(folder: &Path) -> Result<Vec<(String, PathBuf)>, DataError> {
    files_by_name(folder)
}
