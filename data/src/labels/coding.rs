//! From the values that all masks hold to what they mean. Decided over the whole folder: a mask of
//! 0 and 255 alone does not say whether 255 is foreground or ignored, its neighbours do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use super::values::{number_of, value_text};
use crate::error::{DataError, plain};
use crate::formats::Format;
use crate::layout::Scan;
use crate::note::{About, Note};
use crate::options::{Options, Soft};

/// The most classes that are numbered without being named.
const MOST_CLASSES: i64 = 1024;

/// Values that a message lists.
const LISTED: usize = 8;

/// What the values of masks mean.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Coding {
    /// Each value is a class, or ignored.
    Values {
        /// Classes by value; none is ignored.
        classes: BTreeMap<i64, Option<usize>>,
    },
    /// Values from here on are class 1.
    Threshold(f64),
    /// Values are shares of this, or of the greatest number of the type, of class 1.
    Soft(Option<f64>),
    /// One file for each object, whose pixels above 0 are class 1.
    Instances,
    /// One file or one channel for each class, which may overlap; pixels above 0 belong to it.
    Overlapping,
}

/// The values of one mask.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counted {
    pub(crate) path: PathBuf,
    pub(crate) values: BTreeMap<i64, u64>,
}

/// Decides what the values mean; gives the names of the classes too.
pub(crate) fn resolve(
    scan: &Scan,
    counted: &[Counted],
    options: &Options,
    notes: &mut Vec<Note>,
) -> Result<(Coding, Vec<String>), DataError> {
    let seen: BTreeSet<i64> = counted.iter().flat_map(|file| file.values.keys().copied()).collect();
    let mut ignored: BTreeSet<i64> = options.ignore.iter().copied().collect();
    ignored.extend(scan.described_ignore);
    for value in &options.ignore {
        if !seen.contains(value) {
            notes.push(Note::new(About::Labels, format!("--ignore {value}: no mask holds it")));
        }
    }
    if let Some(map) = &options.labels {
        return named(map, counted, &ignored, notes);
    }
    if !scan.described.is_empty() {
        let names: BTreeMap<i64, String> = scan.described.clone();
        return described(&names, counted, &ignored);
    }
    let rest: BTreeSet<i64> = seen.difference(&ignored).copied().collect();
    if let Some(&colour) = rest.iter().find(|value| number_of(**value).is_none()) {
        let values = list(rest.iter().copied());
        let file = holder(counted, colour);
        let reason = format!(
            "a mask in colours ({values}); name them, such as --labels '#000000=background,{}=lesion'",
            value_text(colour)
        );
        return Err(DataError::values(&file, reason));
    }
    if let Some(&negative) = rest.iter().find(|value| **value < 0) {
        let reason = format!(
            "holds the value {negative}; name the values with --labels, or leave its pixels out with --ignore={negative}"
        );
        return Err(DataError::values(&holder(counted, negative), reason));
    }
    let jpeg = |file: &&Counted| {
        let name = file.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        file.values.len() > 2 && Format::of_name(&name).is_some_and(|(format, _)| format == Format::Jpeg)
    };
    if let Some(file) = counted.iter().find(jpeg) {
        let reason = format!(
            "JPEG blurs labels: it holds {} values; cut them with --threshold 128, or save masks as PNG",
            file.values.len()
        );
        return Err(DataError::values(&file.path, reason));
    }
    let folder = &scan.folder;
    let greatest = rest.last().copied().unwrap_or(0);
    let two = rest.len() == 2 && rest.contains(&0);
    if two && (greatest == 255 || greatest == 65535) {
        notes.push(Note::new(About::Labels, format!("masks hold 0 and {greatest} alone: {greatest} is read as class 1")));
        let classes = with(&ignored, [(0, 0), (greatest, 1)]);
        return Ok((Coding::Values { classes }, indexed(2)));
    }
    if rest.contains(&255) && rest.len() > 1 {
        contradiction(scan, counted, &rest)?;
        ignored.insert(255);
        notes.push(Note::new(About::Labels, "255 is read as ignored, as other values are classes"));
    } else if rest.len() == 1 && greatest == 255 {
        return Err(DataError::folder(folder, "every pixel is labelled 255 (ignored)"));
    }
    let classes: Vec<i64> = rest.difference(&ignored).copied().collect();
    let greatest = match classes[..] {
        [] => return Err(DataError::folder(folder, "every pixel is ignored")),
        [.., greatest] => greatest,
    };
    if greatest == 0 {
        return Err(DataError::folder(folder, "the labels know class 0 only; a second class is needed (255 means ignored)"));
    }
    let missing = greatest + 1 - classes.len() as i64;
    if missing > classes.len() as i64 || greatest >= MOST_CLASSES {
        let all: Vec<i64> = rest.iter().copied().collect();
        let values = list(all.iter().copied());
        let reason = format!(
            "masks hold {values}, which are no class indices 0, 1, 2, …; name them, such as --labels {}, \
             or read them as votes with --soft, or cut them with --threshold",
            example(&all)
        );
        return Err(DataError::folder(&holder(counted, greatest), reason));
    }
    if missing > 0 {
        let absent: Vec<i64> = (0..greatest).filter(|value| !classes.contains(value)).collect();
        let text = format!(
            "no pixel has the value {}: classes are 0 to {greatest} all the same; --labels numbers them anew",
            list(absent.into_iter())
        );
        notes.push(Note::new(About::Labels, text));
    }
    let classes = with(&ignored, (0..=greatest).map(|value| (value, value as usize)));
    Ok((Coding::Values { classes }, indexed(greatest as usize + 1)))
}

fn with(ignored: &BTreeSet<i64>, classes: impl IntoIterator<Item = (i64, usize)>) -> BTreeMap<i64, Option<usize>> {
    let mut map: BTreeMap<i64, Option<usize>> = classes.into_iter().map(|(value, class)| (value, Some(class))).collect();
    map.extend(ignored.iter().map(|value| (*value, None)));
    map
}

fn indexed(count: usize) -> Vec<String> {
    (0..count).map(|class| class.to_string()).collect()
}

/// The values of `--labels`, which must cover all.
fn named(
    map: &super::LabelMap,
    counted: &[Counted],
    ignored: &BTreeSet<i64>,
    notes: &mut Vec<Note>,
) -> Result<(Coding, Vec<String>), DataError> {
    let mut classes = map.values.clone();
    classes.extend(ignored.iter().map(|value| (*value, None)));
    for file in counted {
        if let Some(&value) = file.values.keys().find(|value| !classes.contains_key(value)) {
            let text = value_text(value);
            let reason = format!("holds the value {text}, which --labels does not name; add {text}=NAME, or --ignore {text}");
            return Err(DataError::values(&file.path, reason));
        }
    }
    for value in map.values.keys() {
        if counted.iter().all(|file| !file.values.contains_key(value)) {
            notes.push(Note::new(About::Labels, format!("--labels names {}, which no mask holds", value_text(*value))));
        }
    }
    Ok((Coding::Values { classes }, map.classes.clone()))
}

/// The values of `dataset.json`.
fn described(
    names: &BTreeMap<i64, String>,
    counted: &[Counted],
    ignored: &BTreeSet<i64>,
) -> Result<(Coding, Vec<String>), DataError> {
    let numbered = names.iter().enumerate().map(|(class, (value, _))| (*value, class));
    let classes = with(ignored, numbered);
    for file in counted {
        if let Some(&value) = file.values.keys().find(|value| !classes.contains_key(value)) {
            let text = value_text(value);
            let reason =
                format!("holds the value {text}, which dataset.json does not name; name all with --labels, or --ignore {text}");
            return Err(DataError::values(&file.path, reason));
        }
    }
    Ok((Coding::Values { classes }, names.values().map(|name| plain(name)).collect()))
}

/// Masks of 0 and 255 beside masks of 0 and 1: 255 cannot mean foreground in the one and ignored in
/// the other. Where any mask has it beside a class, it is ignored in all.
fn contradiction(scan: &Scan, counted: &[Counted], rest: &BTreeSet<i64>) -> Result<(), DataError> {
    let has = |file: &Counted, value: i64| file.values.contains_key(&value);
    let foreground = |file: &Counted| file.values.keys().any(|value| (1..255).contains(value));
    if counted.iter().any(|file| has(file, 255) && foreground(file)) {
        return Ok(());
    }
    let full: Vec<&Counted> = counted.iter().filter(|file| has(file, 255) && has(file, 0)).collect();
    // Masks that are ignored from end to end contradict nothing.
    let Some(first) = full.first() else { return Ok(()) };
    let other = counted.iter().find(|file| foreground(file));
    let classes: Vec<i64> = rest.iter().copied().filter(|value| *value != 255).collect();
    let other = other.map_or_else(String::new, |file| {
        format!(" as {}", crate::error::shown(file.path.strip_prefix(&scan.folder).unwrap_or(&file.path)))
    });
    let reason = format!(
        "{} of {} masks hold 0 and 255 alone, others {}{other}: is 255 foreground or ignored? say --labels {} or --ignore 255",
        full.len(),
        counted.len(),
        list(classes.iter().copied()),
        example(&[&classes[..], &[255]].concat())
    );
    Err(DataError::values(&first.path, reason))
}

/// The mask that holds a value.
fn holder(counted: &[Counted], value: i64) -> PathBuf {
    counted.iter().find(|file| file.values.contains_key(&value)).map(|file| file.path.clone()).unwrap_or_default()
}

fn list(values: impl ExactSizeIterator<Item = i64>) -> String {
    let count = values.len();
    let mut texts: Vec<String> = values.take(LISTED).map(value_text).collect();
    if count > LISTED {
        return format!("{}, … ({count} values)", texts.join(", "));
    }
    match texts.pop() {
        Some(last) if !texts.is_empty() => format!("{} and {last}", texts.join(", ")),
        last => last.unwrap_or_default(),
    }
}

/// How the option would begin for these values.
fn example(values: &[i64]) -> String {
    let name = |(i, value): (usize, &i64)| format!("{}={}", value_text(*value), if i == 0 { "background" } else { "lesion" });
    let all: Vec<String> = values.iter().take(4).enumerate().map(name).collect();
    all.join(",") + if values.len() > 4 { ",…" } else { "" }
}

impl Coding {
    /// The coding of `--soft` and `--threshold`, and of layouts that need no values.
    pub(crate) fn told(scan: &Scan, options: &Options) -> Result<Option<(Self, Vec<String>)>, DataError> {
        use crate::layout::Masks;
        if options.soft.is_some() && (options.threshold.is_some() || options.labels.is_some()) {
            let other = if options.labels.is_some() { "--labels" } else { "--threshold" };
            return Err(DataError::option("soft", "", format!("cannot be used with {other}")));
        }
        if options.threshold.is_some() && options.labels.is_some() {
            return Err(DataError::option("threshold", "", "cannot be used with --labels"));
        }
        if let Some(names) = &scan.class_files {
            return Ok(Some((Self::Overlapping, names.iter().map(|name| plain(name)).collect())));
        }
        let channels = scan.pairs.iter().flat_map(|pair| match &pair.masks {
            Masks::One(mask) if !mask.header.colour => vec![(mask.header.channels, &mask.path)],
            _ => Vec::new(),
        });
        let channels: Vec<(usize, &PathBuf)> = channels.collect();
        let most = channels.iter().map(|(count, _)| *count).max().unwrap_or(1);
        if most > 1 {
            if let Some((count, path)) = channels.iter().find(|(count, _)| *count != most) {
                return Err(DataError::values(path, format!("has {count} channels, but other masks have {most}")));
            }
            let coding =
                if options.soft.is_some() { Self::Soft(options.soft.and_then(Soft::number)) } else { Self::Overlapping };
            return Ok(Some((coding, indexed(most))));
        }
        if let Some(soft) = options.soft {
            return Ok(Some((Self::Soft(soft.number()), vec!["0".into(), "1".into()])));
        }
        if let Some(threshold) = options.threshold {
            return Ok(Some((Self::Threshold(threshold), vec!["0".into(), "1".into()])));
        }
        let instances = scan.pairs.iter().filter(|pair| matches!(pair.masks, Masks::Instances(_))).count();
        if instances > 0 && instances == scan.pairs.len() {
            return Ok(Some((Self::Instances, vec!["0".into(), "1".into()])));
        }
        if instances > 0 {
            let reason = "some images have one mask, others one for each object; put them in folders of their own";
            return Err(DataError::folder(&scan.folder, reason));
        }
        Ok(None)
    }
}

impl Soft {
    fn number(self) -> Option<f64> {
        match self {
            Self::OfType => None,
            Self::Of(greatest) => Some(greatest),
        }
    }
}
