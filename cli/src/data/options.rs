//! The options that say how a folder is to be read; `segloss train` has them too, and `segloss
//! predict` those that say what is an image and a mask.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use segloss_data::{ChannelAxis, Limits, Options, Soft};

use crate::error::CliError;

/// What stands above the options in help.
pub(crate) const READING: &str = "How to read FOLDER";

/// What a folder does not say of its images and masks by itself.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = READING)]
pub(crate) struct ReadOptions {
    /// Where images are: a folder's name or the end of its path, or with an underscore the ending
    /// of their names, such as _image
    #[arg(long, value_name = "FOLDER")]
    images_in: Option<String>,
    /// Where masks are, in the same way
    #[arg(long, value_name = "FOLDER")]
    masks_in: Option<String>,
    /// Names for the values of masks; values of one name are one class, and pixels of the name
    /// "ignored" do not count; a value may be a colour: '#ff0000=vessel'
    #[arg(long, value_name = "0=NAME,85=NAME,…")]
    labels: Option<String>,
    /// A value of masks whose pixels do not count; may be given more than once
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true)]
    ignore: Vec<i64>,
    /// Masks are votes or probabilities; MAX is the value that means all [default: 255 of 8 bits,
    /// 65535 of 16, 1 of floats]
    #[arg(long, value_name = "MAX", num_args = 0..=1, require_equals = true, conflicts_with_all = ["labels", "threshold"])]
    soft: Option<Option<f64>>,
    /// Mask values from this one on are foreground, those below are background
    #[arg(long, value_name = "VALUE", conflicts_with = "labels", allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// Make colour images grey
    #[arg(long)]
    grey: bool,
    /// Which axis of .npy images is channels, where their shapes leave it open
    #[arg(long, value_enum)]
    channels: Option<Axis>,
    /// Most bytes of pixels that are read of one file
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().bytes)]
    limit: u64,
}

/// What a folder does not say by itself.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = READING)]
pub(crate) struct DataOptions {
    #[command(flatten)]
    reading: ReadOptions,
    /// How intensities are scaled: standard (mean 0, deviation 1), range (0 to 1), window:LOW:HIGH
    /// (cut, then 0 to 1) or none
    #[arg(long, value_name = "RULE", default_value = "standard")]
    scale: String,
    /// File that says which image is for what: lines of NAME and train, val or test, or JSON such
    /// as nnU-Net's splits_final.json
    #[arg(long, value_name = "FILE")]
    split: Option<PathBuf>,
    /// Fold of a split file with several, from 0
    #[arg(long, value_name = "N", default_value_t = 0, requires = "split")]
    fold: usize,
    /// Regular expression of a name's part that is the same for images that belong together, such
    /// as 'patient\d+': they are never on both sides
    #[arg(long, value_name = "REGEX")]
    group: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Axis {
    First,
    Last,
}

impl ReadOptions {
    /// In the words of the library.
    pub(crate) fn options(&self) -> Result<Options, CliError> {
        let mut options = Options::default();
        options.images.clone_from(&self.images_in);
        options.masks.clone_from(&self.masks_in);
        options.labels = self.labels.as_deref().map(str::parse).transpose()?;
        options.ignore.clone_from(&self.ignore);
        options.soft = self.soft.map(|greatest| greatest.map_or(Soft::OfType, Soft::Of));
        for (option, value) in [("soft", self.soft.flatten()), ("threshold", self.threshold)] {
            let sound = |value: &f64| value.is_finite() && (option != "soft" || *value > 0.0);
            if let Some(value) = value.filter(|value| !sound(value)) {
                let expected = "must be a finite number, and above 0 for --soft".into();
                return Err(CliError::Option { option, value: value.to_string(), expected });
            }
        }
        options.threshold = self.threshold;
        options.grey = self.grey;
        options.channels = self.channels.map(|axis| match axis {
            Axis::First => ChannelAxis::First,
            Axis::Last => ChannelAxis::Last,
        });
        options.limits = Limits { bytes: self.limit };
        Ok(options)
    }
}

impl DataOptions {
    /// In the words of the library.
    pub(crate) fn options(&self) -> Result<Options, CliError> {
        let mut options = self.reading.options()?;
        options.scale = self.scale.parse()?;
        options.split.clone_from(&self.split);
        options.fold = self.fold;
        options.group = self.group.as_deref().map(str::parse).transpose()?;
        Ok(options)
    }
}
