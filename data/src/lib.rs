//! Segmentation data as people have it: images, volumes and masks of a folder, whatever the layout
//! and the format.
//!
//! [`Dataset::open`] finds the images and masks of a folder by their names, reads headers, then
//! every mask once, and says what the values of masks mean. [`Dataset::item`] reads one image at a
//! time. What was left out or guessed is in [`Scan::notes`]; what leaves two readings open is an
//! error that names the option which says what is meant. Nothing is printed.
//!
//! ```
//! use segloss_data::{Dataset, Options, Target};
//!
//! # let place = tempfile::tempdir()?;
//! # let folder = place.path();
//! # for (name, last) in [("a_image.npy", 9), ("a_mask.npy", 1)] {
//! #     let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3)}";
//! #     let bytes = [b"\x93NUMPY\x01\x00", &[header.len() as u8, 0][..], header.as_bytes(), &[0, 0, 1, 1, 0, last]].concat();
//! #     std::fs::write(folder.join(name), bytes)?;
//! # }
//! let data = Dataset::open(folder, &Options::default())?;
//! for i in 0..data.len() {
//!     let item = data.item(i)?; // one image at a time
//!     println!("{}: {:?}", item.name, item.image.shape());
//!     if let Target::Labels(labels) = item.target {
//!         println!("{} of its pixels are of class 1", labels.iter().filter(|label| **label == 1).count());
//! #       assert_eq!(labels.sum(), 3);
//!     }
//! }
//! for note in &data.scan.notes {
//!     println!("{}", note.line(folder));
//! }
//! # assert_eq!(data.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
mod space;
mod survey;

pub use self::array::Array;
pub use self::dataset::{Counts, Dataset, IGNORED, Item, Target};
pub use self::error::{DataError, plain, shown, words};
pub use self::labels::{Coding, LabelFile, LabelMap, label_files, read_labels, value_text};
pub use self::layout::{Image, Images, Masks, Pair, Scan, Source, Split, Taken, scan};
pub use self::limits::Limits;
pub use self::note::{About, Note};
pub use self::options::{ChannelAxis, Group, Options, Soft};
pub use self::scale::Scale;
pub use self::space::{Common, Grid, nearest, resize};
pub use self::survey::{ClassSurvey, FileSurvey, Kind, Survey};
