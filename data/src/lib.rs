//! Segmentation data as people have it: images, volumes and masks of a folder, whatever the layout
//! and the format.
//!
//! [`Dataset::open`] finds the images and masks of a folder by their names, reads headers, then every
//! mask once, and says what the values of masks mean. [`Dataset::item`] reads one image at a time.
//! What was left out or guessed is in [`Scan::notes`]; what leaves two readings open is an error that
//! names the option which says what is meant. Nothing is printed.

pub mod array;
mod dataset;
mod error;
pub mod formats;
mod labels;
mod layout;
mod limits;
mod note;
mod options;
mod scale;
mod survey;

pub use self::array::Array;
pub use self::dataset::{Counts, Dataset, IGNORED, Item, Target};
pub use self::error::DataError;
pub use self::labels::{Coding, LabelMap, value_text};
pub use self::layout::{Masks, Pair, Scan, Source, Split, scan};
pub use self::limits::Limits;
pub use self::note::{About, Note};
pub use self::options::{ChannelAxis, Group, Options, Soft};
pub use self::scale::Scale;
pub use self::survey::{ClassSurvey, FileSurvey, Kind, Survey};
