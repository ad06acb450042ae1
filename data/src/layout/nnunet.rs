//! `dataset.json` of nnU-Net and of the Medical Segmentation Decathlon.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::error::DataError;
use crate::formats::whole;
use crate::note::{About, Note};

/// What the file says of classes and channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Described {
    /// Names of classes by their value.
    pub(super) classes: BTreeMap<i64, String>,
    /// The value whose pixels do not count.
    pub(super) ignore: Option<i64>,
    /// Names of channels by their number.
    pub(super) channels: Vec<String>,
}

/// Reads it, where it is.
pub(super) fn described(root: &Path, notes: &mut Vec<Note>) -> Result<Option<Described>, DataError> {
    let path = root.join("dataset.json");
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = whole(&path)?;
    let json: Value = serde_json::from_slice(&bytes).map_err(|error| DataError::folder(&path, format!("not JSON: {error}")))?;
    let Some(labels) = json.get("labels").and_then(Value::as_object) else { return Ok(None) };
    let mut described = Described::default();
    for (key, value) in labels {
        // Version 2 has {"liver": 1}; the Decathlon and version 1 have {"1": "liver"}.
        let (name, number) = match (value.as_i64(), value.as_str(), key.parse::<i64>()) {
            (Some(number), _, _) => (key.as_str(), number),
            (None, Some(name), Ok(number)) => (name, number),
            _ => {
                let text =
                    format!("region {} of dataset.json is made of several labels; its labels are read, regions are not", key);
                notes.push(Note::new(About::Labels, text));
                continue;
            }
        };
        if name.eq_ignore_ascii_case("ignore") {
            described.ignore = Some(number);
        } else if described.classes.insert(number, name.to_owned()).is_some() {
            return Err(DataError::folder(&path, format!("gives the label {number} two names")));
        }
    }
    let channels = json.get("channel_names").or_else(|| json.get("modality")).and_then(Value::as_object);
    let mut numbered: Vec<(usize, String)> = channels
        .into_iter()
        .flatten()
        .filter_map(|(number, name)| Some((number.parse().ok()?, name.as_str()?.to_owned())))
        .collect();
    numbered.sort();
    described.channels = numbered.into_iter().map(|(_, name)| name).collect();
    Ok(Some(described))
}
