//! The files of a prediction.

use std::path::{Path, PathBuf};

use ndarray::{Array2, Array4, ArrayD, Axis};

use crate::error::CliError;
use crate::train::canvas::color;
use crate::train::data::Regions;
use crate::{npy, output};

/// Where predictions go, and how.
pub(crate) struct Files<'a> {
    /// The folder.
    pub(crate) out: &'a Path,
    /// Whether they are volumes.
    pub(crate) volumes: bool,
    /// Whether pictures get a palette of colours.
    pub(crate) colour: bool,
    /// Names of the classes.
    pub(crate) classes: &'a [String],
}

impl Files<'_> {
    /// Writes the regions of an image and gives the files' places: of a picture a PNG with class
    /// indices, or one for each class that may overlap; of a volume one NIfTI file.
    pub(crate) fn write(&self, name: &Path, found: &Regions, source: Option<&Path>) -> Result<Vec<PathBuf>, CliError> {
        let place = self.out.join(name);
        if let Some(folder) = place.parent() {
            output::prepare_folder(folder)?;
        }
        if self.volumes {
            let path = with_ending(&place, ".nii.gz");
            crate::train::predictions::write(&path, found, source)?;
            return Ok(vec![path]);
        }
        match found {
            Regions::Exclusive(labels) => {
                let path = with_ending(&place, ".png");
                self.picture(&path, &labels.index_axis(Axis(0), 0).to_owned())?;
                Ok(vec![path])
            }
            Regions::Overlapping(classes) => {
                let mut paths = Vec::new();
                for (class, name) in classes.axis_iter(Axis(0)).zip(self.classes) {
                    let path = with_ending(&place, &format!("_{name}.png"));
                    self.picture(&path, &class.index_axis(Axis(0), 0).to_owned())?;
                    paths.push(path);
                }
                Ok(paths)
            }
        }
    }

    /// Writes probabilities, [K, H, W] of a picture and [K, D, H, W] of a volume.
    pub(crate) fn probabilities(&self, name: &Path, found: Array4<f32>) -> Result<PathBuf, CliError> {
        let path = with_ending(&self.out.join(name), ".npy");
        let array: ArrayD<f32> = if self.volumes { found.into_dyn() } else { found.index_axis_move(Axis(1), 0).into_dyn() };
        npy::write(&path, array.view())?;
        Ok(path)
    }

    /// An 8-bit PNG whose numbers are the labels: grey, or with a palette of colours.
    fn picture(&self, path: &Path, labels: &Array2<u8>) -> Result<(), CliError> {
        let fail = |error: png::EncodingError| CliError::Encode { path: path.to_path_buf(), reason: error.to_string() };
        let mut bytes = Vec::new();
        let [height, width] = [0, 1].map(|axis| labels.len_of(Axis(axis)) as u32);
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_depth(png::BitDepth::Eight);
        if self.colour {
            encoder.set_color(png::ColorType::Indexed);
            let last = labels.iter().copied().max().unwrap_or(0).max(self.classes.len().saturating_sub(1) as u8);
            encoder.set_palette(palette(last));
        } else {
            encoder.set_color(png::ColorType::Grayscale);
        }
        let mut writer = encoder.write_header().map_err(fail)?;
        writer.write_image_data(&labels.iter().copied().collect::<Vec<u8>>()).map_err(fail)?;
        writer.finish().map_err(fail)?;
        output::write_file(path, &bytes)
    }
}

/// Black for class 0, then the colours of the other pictures.
fn palette(last: u8) -> Vec<u8> {
    let of = |class: u8| match class.checked_sub(1) {
        None => [0; 3],
        Some(at) => {
            let colour = color(usize::from(at));
            [colour.0, colour.1, colour.2]
        }
    };
    (0..=last).flat_map(of).collect()
}

/// A place with an ending: names may hold dots, which begin no ending.
fn with_ending(place: &Path, ending: &str) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, arr3};

    fn decoded(path: &Path) -> (png::ColorType, Vec<u8>, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap())).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        let palette = reader.info().palette.clone().unwrap_or_default().into_owned();
        (reader.info().color_type, palette, pixels)
    }

    #[test]
    fn pictures_hold_class_indices() {
        let folder = tempfile::tempdir().unwrap();
        let classes = ["background", "vessel", "lesion"].map(String::from);
        let mut files = Files { out: folder.path(), volumes: false, colour: false, classes: &classes };
        let labels = arr3(&[[[0u8, 1, 2], [2, 1, 1]]]);
        let paths = files.write(Path::new("a/v1.2"), &Regions::Exclusive(labels.clone()), None).unwrap();
        assert_eq!(paths, [folder.path().join("a/v1.2.png")]);
        assert_eq!(decoded(&paths[0]), (png::ColorType::Grayscale, vec![], vec![0, 1, 2, 2, 1, 1]));
        files.colour = true;
        let paths = files.write(Path::new("a/v1.2"), &Regions::Exclusive(labels), None).unwrap();
        let (kind, palette, pixels) = decoded(&paths[0]);
        assert_eq!((kind, pixels), (png::ColorType::Indexed, vec![0, 1, 2, 2, 1, 1]));
        assert_eq!((palette.len(), &palette[..3]), (9, &[0u8, 0, 0][..]));
    }

    #[test]
    fn classes_that_overlap_get_a_picture_each_and_probabilities_an_array() {
        let folder = tempfile::tempdir().unwrap();
        let classes = ["cup", "disc"].map(String::from);
        let files = Files { out: folder.path(), volumes: false, colour: false, classes: &classes };
        let found = Array4::from_shape_vec([2, 1, 1, 3], vec![1, 0, 0, 1, 1, 0]).unwrap();
        let paths = files.write(Path::new("eye"), &Regions::Overlapping(found.clone()), None).unwrap();
        assert_eq!(paths, ["eye_cup.png", "eye_disc.png"].map(|name| folder.path().join(name)));
        assert_eq!(decoded(&paths[1]).2, [1, 1, 0]);
        let path = files.probabilities(Path::new("eye"), found.mapv(|v| f32::from(v) / 2.0)).unwrap();
        let read: Array3<f32> = ndarray_npy::read_npy(path).unwrap();
        assert_eq!(read, found.mapv(|v| f32::from(v) / 2.0).index_axis_move(Axis(1), 0));
    }
}
