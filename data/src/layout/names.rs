//! What names say: image or mask, for training or for tests.

use serde::Serialize;

/// What an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose by while learning.
    Validation,
    /// To judge by at the end.
    Test,
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}

/// Whether a file is an image or a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Image,
    Mask,
}

const IMAGE: &[&str] = &[
    "image",
    "images",
    "img",
    "imgs",
    "im",
    "jpegimages",
    "photo",
    "photos",
    "picture",
    "pictures",
    "scan",
    "scans",
    "input",
    "inputs",
];

const MASK: &[&str] = &[
    "mask",
    "masks",
    "label",
    "labels",
    "labelmap",
    "labelmaps",
    "lbl",
    "gt",
    "gts",
    "groundtruth",
    "truth",
    "seg",
    "segs",
    "segmentation",
    "segmentations",
    "annotation",
    "annotations",
    "target",
    "targets",
];

const SPLITS: &[(&str, Split)] = &[
    ("train", Split::Train),
    ("training", Split::Train),
    ("tr", Split::Train),
    ("val", Split::Validation),
    ("valid", Split::Validation),
    ("validation", Split::Validation),
    ("validate", Split::Validation),
    ("dev", Split::Validation),
    ("test", Split::Test),
    ("testing", Split::Test),
    ("ts", Split::Test),
];

impl Split {
    /// A split by its name, without regard to case.
    pub fn of_word(word: &str) -> Option<Self> {
        SPLITS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|&(_, split)| split)
    }
}

/// The words of a name, in lower case: `labelsTr` is labels and tr, `Training_GroundTruth` is
/// training, ground and truth.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in name.chars() {
        if !letter.is_alphanumeric() || before.is_lowercase() && letter.is_uppercase() {
            words.push(String::new());
        }
        if letter.is_alphanumeric() {
            words.iter_mut().last().map(|word| word.extend(letter.to_lowercase())).unwrap_or_default();
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What the name of a folder says its files are. `image_masks` holds masks.
pub(super) fn role_of_folder(name: &str) -> Option<Role> {
    let words = words(name);
    let any = |of: &[&str]| words.iter().any(|word| of.contains(&word.as_str()));
    if any(MASK) {
        Some(Role::Mask)
    } else if any(IMAGE) {
        Some(Role::Image)
    } else {
        None
    }
}

/// What the name of a folder says its files are for.
pub(super) fn split_of_folder(name: &str) -> Option<Split> {
    words(name).iter().find_map(|word| Split::of_word(word))
}

/// What else the name of such a folder says.
pub(super) fn beyond_split(name: &str) -> Option<String> {
    let rest: Vec<String> = words(name).into_iter().filter(|word| Split::of_word(word).is_none()).collect();
    (!rest.is_empty()).then(|| rest.join("_"))
}

/// What the beginning or the end of a file's name says it is, and the rest of it: `a_mask`,
/// `a-GT`, `mask_a`, `mask1`.
pub(super) fn role_of_stem(stem: &str) -> Option<(Role, String, String)> {
    let role = |word: &str| {
        let word = word.to_lowercase();
        let is = |of: &[&str]| of.contains(&word.as_str());
        if is(MASK) {
            Some(Role::Mask)
        } else if is(IMAGE) {
            Some(Role::Image)
        } else {
            None
        }
    };
    let cut = |at: char| !at.is_alphanumeric();
    if let Some((rest, last)) = stem.rsplit_once(cut)
        && let Some(role) = role(last)
        && !rest.is_empty()
    {
        return Some((role, rest.to_owned(), last.to_lowercase()));
    }
    let (first, rest) = stem.split_once(cut).unwrap_or_else(|| {
        // `image12` and `mask12`.
        let digits = stem.trim_start_matches(|letter: char| letter.is_alphabetic());
        stem.split_at(stem.len() - digits.len())
    });
    let role = role(first)?;
    (!rest.is_empty()).then(|| (role, rest.to_owned(), first.to_lowercase()))
}

/// A name for comparison: without case.
pub(super) fn folded(name: &str) -> String {
    name.to_lowercase()
}

/// The name without a channel's four digits, and the channel: `case_0001` of nnU-Net.
pub(super) fn channel(stem: &str) -> Option<(&str, usize)> {
    let (rest, digits) = stem.rsplit_once('_')?;
    let four = digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_digit());
    Some((rest, digits.parse().ok().filter(|_| four && !rest.is_empty())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_people_have_them() {
        let folder = |name| (role_of_folder(name), split_of_folder(name));
        assert_eq!(folder("imagesTr"), (Some(Role::Image), Some(Split::Train)));
        assert_eq!(folder("labelsTs"), (Some(Role::Mask), Some(Split::Test)));
        assert_eq!(folder("TRAIN"), (None, Some(Split::Train)));
        assert_eq!(folder("JPEGImages"), (Some(Role::Image), None));
        assert_eq!(folder("SegmentationClass"), (Some(Role::Mask), None));
        assert_eq!(folder("ISIC2018_Task1_Training_GroundTruth"), (Some(Role::Mask), Some(Split::Train)));
        assert_eq!(folder("image_masks"), (Some(Role::Mask), None));
        assert_eq!(folder("patient_7"), (None, None));
        let stem = |name| role_of_stem(name).map(|(role, rest, _)| (role, rest));
        assert_eq!(stem("a_b_Mask"), Some((Role::Mask, "a_b".into())));
        assert_eq!(stem("001-gt"), Some((Role::Mask, "001".into())));
        assert_eq!(stem("img_7"), Some((Role::Image, "7".into())));
        assert_eq!(stem("mask12"), Some((Role::Mask, "12".into())));
        assert_eq!([stem("mask"), stem("plain"), stem("_mask")], [None, None, None]);
        assert_eq!(channel("case_12_0001"), Some(("case_12", 1)));
        assert_eq!([channel("case_01"), channel("case_+001"), channel("_0000")], [None; 3]);
    }
}
