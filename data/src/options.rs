//! What a user may say about a folder.

use std::path::PathBuf;
use std::str::FromStr;

use crate::error::DataError;
use crate::labels::LabelMap;
use crate::limits::Limits;
use crate::scale::Scale;

/// Everything that can be said about a folder; nothing need be.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The folder of the images, by its name or the end of its path; or the ending of their names
    /// when it begins with `_`, such as `_image`.
    pub images: Option<String>,
    /// The folder or ending of the masks.
    pub masks: Option<String>,
    /// Names of classes for the values of the masks.
    pub labels: Option<LabelMap>,
    /// Values of masks whose pixels do not count.
    pub ignore: Vec<i64>,
    /// Masks are votes or probabilities.
    pub soft: Option<Soft>,
    /// Mask values from here on are foreground, those below are background.
    pub threshold: Option<f64>,
    /// Colour images become grey, by luminance.
    pub grey: bool,
    /// Where the channels of `.npy` images are, when their shapes leave it open.
    pub channels: Option<ChannelAxis>,
    /// How intensities are scaled.
    pub scale: Scale,
    /// A file that says which image is for what.
    pub split: Option<PathBuf>,
    /// Which of the folds of a split file, from 0.
    pub fold: usize,
    /// Which images belong together, such as those of a patient.
    pub group: Option<Group>,
    /// How much is read of one file.
    pub limits: Limits,
}

/// The value of a mask that stands for a certain foreground.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Soft {
    /// The greatest that the type holds, 255 or 65535; of floats 1.
    OfType,
    /// This one, such as the number of those who voted.
    Of(f64),
}

/// Where the channels of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelAxis {
    /// [C, H, W]
    First,
    /// [H, W, C]
    Last,
}

/// A regular expression; images for whose names its first group, or else the whole match, is the
/// same text belong together.
#[derive(Clone, Debug)]
pub struct Group(regex_lite::Regex);

impl FromStr for Group {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let refuse = |error: regex_lite::Error| DataError::option("group", text, format!("not a regular expression: {error}"));
        regex_lite::Regex::new(text).map(Self).map_err(refuse)
    }
}

impl Group {
    /// The group of a name; none where the expression does not match.
    pub fn of(&self, name: &str) -> Option<String> {
        let found = self.0.captures(name)?;
        found.get(1).or_else(|| found.get(0)).map(|text| text.as_str().to_owned())
    }
}
