//! Predicted volumes as NIfTI files, each on its image's own grid and header.

use std::path::{Path, PathBuf};

use ndarray::{ArrayView4, Axis};
use segloss_data::formats::{Place, labels_as_nifti};

use super::data::Regions;
use crate::error::CliError;
use crate::output;

/// Where the prediction of an image lies below a folder.
pub(crate) fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.nii.gz"))
}

/// Writes it: the class of each voxel in 8 bits, of classes that overlap a fourth axis with 0 and
/// 1. `source` is the NIfTI file whose grid it is on; without one voxels are 1 mm wide.
pub(crate) fn write(path: &Path, found: &Regions, source: Option<&Path>) -> Result<(), CliError> {
    let labels: ArrayView4<u8> = match found {
        Regions::Exclusive(labels) => labels.view().insert_axis(Axis(0)),
        Regions::Overlapping(classes) => classes.view(),
    };
    let bytes = labels_as_nifti(labels, source.map_or(Place::Spaced([1.0; 3]), Place::Like))?;
    if let Some(folder) = path.parent() {
        // Names of images may hold folders.
        output::prepare_folder(folder)?;
    }
    output::write_file(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, Array4};

    #[test]
    fn labels_and_classes_that_overlap_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let labels = Array3::from_shape_fn([2, 3, 4], |(d, h, w)| ((d + h + w) % 3) as u8);
        let place = path(folder.path(), "patient7/scan");
        write(&place, &Regions::Exclusive(labels.clone()), None).unwrap();
        let read = |path: &Path| segloss_data::formats::read(path, &segloss_data::Limits::default()).unwrap();
        assert_eq!(read(&place).values.integers().unwrap(), labels.mapv(i64::from).insert_axis(Axis(0)).into_dyn());
        // Overwritten in place by a second run, and turned, so that its order in memory is not the
        // file's.
        let classes = Array4::from_shape_fn([2, 2, 3, 4], |(k, d, h, w)| u8::from((k + d * h * w) % 2 == 0));
        let turned = classes.clone().reversed_axes().as_standard_layout().into_owned().reversed_axes();
        write(&place, &Regions::Overlapping(turned), None).unwrap();
        assert_eq!(read(&place).values.integers().unwrap(), classes.mapv(i64::from).into_dyn());
    }
}
