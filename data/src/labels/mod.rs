//! What the values of masks mean: classes, ignored pixels, votes.

mod coding;
mod file;
mod map;
mod values;

pub use self::coding::Coding;
pub(crate) use self::coding::{Counted, resolve};
pub use self::file::{LabelFile, label_files, read_labels};
pub use self::map::LabelMap;
pub(crate) use self::values::each_value;
pub use self::values::value_text;
