//! Folders as people have them, made of small pictures.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use segloss_data::{About, Coding, DataError, Dataset, IGNORED, Options, Soft, Split, Target};

/// A folder that vanishes.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn bytes(&self, name: &str, bytes: &[u8]) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A picture of 3 x 2 pixels of these samples.
    fn picture(&self, name: &str, colour: png::ColorType, samples: &[u8]) {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 3, 2);
        encoder.set_color(colour);
        encoder.write_header().unwrap().write_image_data(samples).unwrap();
        self.bytes(name, &bytes);
    }

    fn image(&self, name: &str) {
        self.image_of(name, 7);
    }

    fn image_of(&self, name: &str, seed: u8) {
        self.picture(name, png::ColorType::Grayscale, &[1, 2, 3, 4, 5, seed]);
    }

    fn mask(&self, name: &str, values: [u8; 6]) {
        self.picture(name, png::ColorType::Grayscale, &values);
    }

    fn open(&self, options: &Options) -> Result<Dataset, String> {
        Dataset::open(self.0.path(), options).map_err(|error| self.text(&error))
    }

    fn text(&self, error: &DataError) -> String {
        error.to_string().replace(&self.0.path().display().to_string(), "DATA")
    }

    fn names(&self) -> Vec<(Option<Split>, String)> {
        let data = self.open(&Options::default()).unwrap();
        assert!(data.scan.problems.is_empty(), "{:?}", data.scan.problems);
        data.scan.pairs.iter().map(|pair| (pair.split, pair.name.clone())).collect()
    }
}

const BINARY: [u8; 6] = [0, 0, 1, 1, 0, 0];

fn labels(data: &Dataset, i: usize) -> Vec<i32> {
    match data.item(i).unwrap().target {
        Target::Labels(labels) => labels.iter().copied().collect(),
        other => panic!("{other:?}"),
    }
}

/// An array of bytes 0 and 1.
fn npy(shape: &str, bytes: usize) -> Vec<u8> {
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    let data: Vec<u8> = (0..bytes).map(|i| (i % 2) as u8).collect();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &data].concat()
}

/// Images and masks at these places are pairs.
fn pairs(files: &[(&str, &str)], expected: &[(Option<Split>, &str)]) {
    let folder = Folder::new();
    for (i, (image, mask)) in files.iter().enumerate() {
        folder.image_of(image, i as u8);
        folder.mask(mask, BINARY);
    }
    let expected: Vec<_> = expected.iter().map(|(split, name)| (*split, (*name).to_owned())).collect();
    assert_eq!(folder.names(), expected, "{files:?}");
}

#[test]
fn images_and_masks_are_found_by_their_names() {
    let none = [(None, "a"), (None, "b")];
    pairs(&[("images/a.png", "masks/a.png"), ("images/b.png", "masks/b.png")], &none);
    pairs(&[("Images/a.png", "LABELS/A.PNG"), ("Images/b.png", "LABELS/B.png")], &none);
    pairs(&[("imgs/a.png", "gt/a_mask.png"), ("imgs/b.png", "gt/b_mask.png")], &none);
    pairs(&[("a_image.png", "a_label.png"), ("b_image.png", "b_label.png")], &none);
    pairs(&[("a_img.png", "a_seg.png"), ("b_img.png", "b_seg.png")], &none);
    pairs(&[("a.png", "a_mask.png"), ("b.png", "b_GT.png")], &none);
    pairs(&[("images/image1.png", "masks/mask1.png")], &[(None, "1")]);
    pairs(&[("images/image1.png", "masks/image1.png")], &[(None, "image1")]);
    pairs(&[("p1/a.png", "p1/a_mask.png"), ("p2/a.png", "p2/a_mask.png")], &[(None, "p1/a"), (None, "p2/a")]);
    let (train, val, test) = (Some(Split::Train), Some(Split::Validation), Some(Split::Test));
    pairs(&[("TRAIN/images/a.png", "TRAIN/masks/a.png"), ("Val/images/a.png", "Val/masks/a.png")], &[(train, "a"), (val, "a")]);
    pairs(
        &[("images/training/a.png", "masks/training/a.png"), ("images/test/b.png", "masks/test/b.png")],
        &[(train, "a"), (test, "b")],
    );
    pairs(
        &[("imagesTr/a_0000.png", "labelsTr/a.png"), ("imagesTs/b_0000.png", "labelsTs/b.png")],
        &[(train, "a"), (test, "b")],
    );
    pairs(&[("ISIC_Training_Input/a.png", "ISIC_Training_GroundTruth/a_segmentation.png")], &[(train, "a")]);
}

#[test]
fn channels_of_nnunet_are_one_image_and_its_json_names_classes() {
    let folder = Folder::new();
    for channel in ["0000", "0001"] {
        folder.image(&format!("imagesTr/a_{channel}.png"));
    }
    folder.mask("labelsTr/a.png", [0, 1, 2, 3, 0, 0]);
    let json = r#"{"labels": {"background": 0, "liver": 1, "tumor": 2, "ignore": 3}, "channel_names": {"0": "T1", "1": "T2"}}"#;
    folder.bytes("dataset.json", json.as_bytes());
    let data = folder.open(&Options::default()).unwrap();
    assert_eq!(
        (data.classes.as_slice(), data.scan.channel_names.as_slice()),
        (&["background", "liver", "tumor"].map(String::from)[..], &["T1", "T2"].map(String::from)[..])
    );
    assert_eq!((data.scan.channels, labels(&data, 0)), (2, vec![0, 1, 2, IGNORED, 0, 0]));
    assert_eq!((data.scan.pairs[0].name.as_str(), data.item(0).unwrap().image.shape()), ("a", &[2, 2, 3][..]));
    folder.mask("labelsTr/a.png", [0, 1, 2, 9, 0, 0]);
    let text = folder.open(&Options::default()).unwrap_err();
    assert_eq!(
        text,
        "DATA/labelsTr/a.png: holds the value 9, which dataset.json does not name; name all with --labels, or --ignore 9"
    );
}

#[test]
fn one_mask_for_each_object_is_foreground() {
    for (image, masks) in [("id1/images/id1.png", "id1/masks"), ("images/id1.png", "masks/id1")] {
        let folder = Folder::new();
        folder.image(image);
        folder.mask(&format!("{masks}/0a3.png"), [255, 0, 0, 0, 0, 0]);
        folder.mask(&format!("{masks}/7b1.png"), [0, 0, 255, 0, 0, 0]);
        let data = folder.open(&Options::default()).unwrap();
        assert_eq!((data.coding.clone(), labels(&data, 0)), (Coding::Instances, vec![1, 0, 1, 0, 0, 0]), "{image}");
    }
}

#[test]
fn one_mask_for_each_class_may_overlap() {
    for place in ["masks/a/{}.png", "masks/{}/a.png", "masks/a_{}.png"] {
        let folder = Folder::new();
        folder.image("images/a.png");
        folder.image("images/b.png");
        folder.mask(&place.replace("{}", "liver"), [255, 255, 0, 0, 0, 0]);
        folder.mask(&place.replace("{}", "tumor"), [0, 255, 0, 0, 0, 0]);
        folder.mask(&place.replace("/a", "/b").replace("{}", "liver"), [255, 0, 0, 0, 0, 0]);
        let data = folder.open(&Options::default()).unwrap();
        assert_eq!(data.classes, ["liver", "tumor"], "{place}");
        let Target::Overlapping(shares) = data.item(0).unwrap().target else { panic!("{place}") };
        let shares: Vec<f32> = shares.iter().copied().collect();
        assert_eq!(shares, [1., 1., 0., 0., 0., 0., 0., 1., 0., 0., 0., 0.], "{place}");
        let Target::Overlapping(shares) = data.item(1).unwrap().target else { panic!("{place}") };
        assert_eq!(shares.sum(), 1.0);
        assert_eq!(data.counts[0].classes, [2.0, 1.0]);
    }
}

#[test]
fn what_is_dropped_is_noted() {
    let folder = Folder::new();
    folder.picture("images/a.png", png::ColorType::Rgba, &[9; 24]);
    folder.image("images/b.png");
    folder.image("images/c.png");
    folder.mask("masks/a.png", BINARY);
    folder.mask("masks/b.png", BINARY);
    folder.mask("masks/d.png", BINARY);
    folder.bytes("images/.DS_Store", b"");
    folder.bytes("images/._a.png", b"");
    folder.bytes("notes.txt", b"");
    folder.bytes("scan.nrrd", b"");
    folder.bytes("coco.json", br#"{"images": [], "annotations": [], "categories": []}"#);
    let data = folder.open(&Options::default()).unwrap();
    let notes: BTreeMap<&str, usize> = data.scan.notes.iter().map(|note| (note.text.as_str(), note.count)).collect();
    let count = |text: &str| notes.iter().find(|(note, _)| note.starts_with(text)).map_or(0, |(_, count)| *count);
    assert_eq!(count("hidden files are skipped"), 2, "{notes:?}");
    assert_eq!(count("images without a mask"), 1);
    assert_eq!(count("masks without an image"), 1);
    assert_eq!(count("transparency is dropped"), 1);
    assert_eq!(count("grey images among colour ones"), 1);
    assert_eq!(count("NRRD is not read"), 1);
    assert_eq!(count("JSON of COCO is not read"), 1);
    assert_eq!(count("files that are neither"), 1);
    assert_eq!(data.item(1).unwrap().image.shape(), [3, 2, 3]);
    let hidden = data.scan.notes.iter().find(|note| note.about == About::Hidden).unwrap();
    assert_eq!(hidden.line(folder.0.path()), "hidden files are skipped (images/.DS_Store, images/._a.png)");
}

#[test]
fn a_folder_without_a_pair_says_what_it_has() {
    let refuse = |fill: &dyn Fn(&Folder)| {
        let folder = Folder::new();
        fill(&folder);
        folder.open(&Options::default()).unwrap_err()
    };
    let expected = "expected images/ and masks/ (or --images-in FOLDER --masks-in FOLDER), or NAME_image and NAME_label side by side, as PNG, JPEG, TIFF, NIfTI, .npy or .npz";
    assert_eq!(refuse(&|_| ()), format!("DATA: no images and masks; {expected}"));
    assert_eq!(refuse(&|f| f.image("a.png")), format!("DATA: 1 images such as a.png but no masks; {expected}"));
    let text = refuse(&|f| {
        f.image("images/a.png");
        f.mask("masks/b.png", BINARY);
    });
    assert!(
        text.starts_with("DATA: no image has the name of a mask (1 images such as images/a.png, 1 masks such as masks/b.png)"),
        "{text}"
    );
    assert!(refuse(&|f| f.bytes("a.dcm", b"")).starts_with("DATA/a.dcm: DICOM is not read; `dcm2niix"));
    let missing = Dataset::open(Path::new("no such folder"), &Options::default()).unwrap_err();
    assert_eq!(missing.to_string(), "no such folder: no such file or directory");
}

#[test]
fn what_is_ambiguous_is_asked_for() {
    let folder = Folder::new();
    folder.image("images/a.png");
    folder.mask("masks/a.png", BINARY);
    folder.mask("gt/a.png", [0, 2, 1, 0, 0, 0]);
    assert_eq!(
        folder.open(&Options::default()).unwrap_err(),
        "DATA: has masks of a in gt and masks; say which are meant with --masks-in"
    );
    let data = folder.open(&Options { masks: Some("GT".into()), ..Options::default() }).unwrap();
    assert_eq!(labels(&data, 0), [0, 2, 1, 0, 0, 0]);
    assert!(data.scan.notes.iter().any(|note| note.text.starts_with("images and masks outside")), "{:?}", data.scan.notes);
    let refused = folder.open(&Options { masks: Some("lables".into()), ..Options::default() }).unwrap_err();
    assert_eq!(refused, "--masks-in lables: no file of DATA lies in such a folder or has such an ending");
}

#[test]
fn any_two_folders_or_endings_can_be_named() {
    let folder = Folder::new();
    folder.image("x/slices/a.png");
    folder.mask("x/Truth drawn/a.png", BINARY);
    let options = Options { images: Some("x/slices".into()), masks: Some("x/truth drawn".into()), ..Options::default() };
    assert_eq!(folder.open(&options).unwrap().scan.pairs[0].name, "a");
    let folder = Folder::new();
    folder.image("a_t1.png");
    folder.mask("a_lesion.png", BINARY);
    let options = Options { images: Some("_t1".into()), masks: Some("_lesion".into()), ..Options::default() };
    assert_eq!(folder.open(&options).unwrap().scan.pairs[0].name, "a");
}

/// The labels of one mask, or why they are refused.
fn coded(values: [u8; 6], options: &Options) -> Result<Vec<i32>, String> {
    let folder = Folder::new();
    folder.image("a_image.png");
    folder.mask("a_mask.png", values);
    folder.open(options).map(|data| labels(&data, 0))
}

#[test]
fn values_become_classes() {
    let plain = Options::default();
    assert_eq!(coded([0, 0, 255, 255, 0, 0], &plain).unwrap(), [0, 0, 1, 1, 0, 0]);
    assert_eq!(coded([0, 1, 255, 2, 0, 0], &plain).unwrap(), [0, 1, -1, 2, 0, 0]);
    assert_eq!(coded([1, 1, 2, 3, 3, 3], &plain).unwrap(), [1, 1, 2, 3, 3, 3]);
    assert_eq!(coded([0, 1, 7, 7, 0, 0], &Options { ignore: vec![7], ..plain.clone() }).unwrap(), [0, 1, -1, -1, 0, 0]);
    let map = Options { labels: Some("0=bg,85=x,170=y,255=y".parse().unwrap()), ..plain.clone() };
    assert_eq!(coded([0, 85, 170, 255, 0, 0], &map).unwrap(), [0, 1, 2, 2, 0, 0]);
    assert_eq!(coded([0, 99, 200, 7, 0, 0], &Options { threshold: Some(100.0), ..plain.clone() }).unwrap(), [0, 0, 1, 0, 0, 0]);
    let refused = |values, options: &Options| coded(values, options).unwrap_err();
    assert_eq!(
        refused([0, 9, 85, 0, 0, 0], &map),
        "DATA/a_mask.png: holds the value 9, which --labels does not name; add 9=NAME, or --ignore 9"
    );
    assert_eq!(refused([0; 6], &plain), "DATA: the labels know class 0 only; a second class is needed (255 means ignored)");
    assert_eq!(refused([255; 6], &plain), "DATA: every pixel is labelled 255 (ignored)");
    let text = refused([0, 85, 170, 255, 0, 0], &plain);
    assert!(text.starts_with("DATA/a_mask.png: masks hold 0, 85, 170 and 255, which are no class indices"), "{text}");
    assert!(
        text.contains("such as --labels 0=background,85=lesion,170=lesion,255=lesion, or read them as votes with --soft"),
        "{text}"
    );
    let text = refused([0, 128, 0, 0, 0, 0], &plain);
    assert!(text.contains("--labels 0=background,128=lesion"), "{text}");
}

#[test]
fn votes_become_shares() {
    let folder = Folder::new();
    folder.image("a_image.png");
    folder.mask("a_mask.png", [0, 1, 2, 3, 0, 0]);
    let soft = |greatest| Options { soft: Some(greatest), ..Options::default() };
    let Target::Soft(shares) = folder.open(&soft(Soft::Of(3.0))).unwrap().item(0).unwrap().target else { panic!() };
    assert_eq!(shares.shape(), [2, 2, 3]);
    let foreground: Vec<f32> = shares.iter().skip(6).map(|share| (3.0 * share).round()).collect();
    assert_eq!(foreground, [0.0, 1.0, 2.0, 3.0, 0.0, 0.0]);
    assert_eq!(
        folder.open(&soft(Soft::Of(2.0))).unwrap_err(),
        "DATA/a_mask.png: holds 3, which is outside 0 to 2; --soft=3 gives the value that means all"
    );
}

#[test]
fn colour_masks_are_named_by_colour() {
    let folder = Folder::new();
    folder.image("a_image.png");
    let colours = [[0, 0, 0], [255, 0, 0], [255, 255, 255], [0, 0, 0], [0, 0, 0], [0, 0, 0]].concat();
    folder.picture("a_mask.png", png::ColorType::Rgb, &colours);
    let text = folder.open(&Options::default()).unwrap_err();
    assert_eq!(
        text,
        "DATA/a_mask.png: a mask in colours (0, 255 and #ff0000); name them, such as --labels '#000000=background,#ff0000=lesion'"
    );
    let map = Options { labels: Some("#000000=bg,#ff0000=vessel,#ffffff=ignored".parse().unwrap()), ..Options::default() };
    assert_eq!(labels(&folder.open(&map).unwrap(), 0), [0, 1, -1, 0, 0, 0]);
}

#[test]
fn a_pair_that_does_not_fit_is_a_problem_of_its_own() {
    let folder = Folder::new();
    for name in ["a", "b"] {
        folder.image(&format!("{name}_image.png"));
        folder.mask(&format!("{name}_mask.png"), BINARY);
    }
    folder.bytes("c_mask.npy", &npy("(1, 2)", 2));
    folder.image("c_image.png");
    let data = folder.open(&Options::default()).unwrap();
    assert_eq!((data.len(), data.scan.problems.len()), (2, 1));
    assert_eq!(folder.text(&data.scan.problems[0]), "DATA/c_mask.npy: is of size 2x1, but DATA/c_image.png has 3x2");
}

#[test]
fn a_split_file_and_groups_divide() {
    let folder = Folder::new();
    for name in ["p1_a", "p1_b", "p2_a", "p3_a"] {
        folder.image(&format!("images/{name}.png"));
        folder.mask(&format!("masks/{name}.png"), BINARY);
    }
    let path = folder.0.path().join("split.csv");
    let split = |text: &str, group: Option<&str>| {
        fs::write(&path, text).unwrap();
        let group = group.map(|group| group.parse().unwrap());
        folder.open(&Options { split: Some(path.clone()), group, ..Options::default() })
    };
    let of =
        |data: Dataset| -> Vec<(String, Option<Split>)> { data.scan.pairs.iter().map(|p| (p.name.clone(), p.split)).collect() };
    let (train, val) = (Some(Split::Train), Some(Split::Validation));
    let data = split("name,split\np1_a.png,train\nimages/p1_b,TRAIN\np2_a,val\n", None);
    // A name with a folder is that of a file below it.
    assert_eq!(data.unwrap_err(), "DATA/split.csv: names images/p1_b, but there is no such image with a mask");
    let data = split("name,split\np1_a.png,train\np1_b,TRAIN\np2_a,val\n", Some(r"p\d+")).unwrap();
    assert!(data.scan.notes.iter().any(|note| note.text.contains("does not name are left out") && note.count == 1));
    assert_eq!(of(data), [("p1_a", train), ("p1_b", train), ("p2_a", val)].map(|(name, split)| (name.to_owned(), split)));
    let refused = split("p1_a train\np1_b val\np2_a val\np3_a train\n", Some(r"p\d+")).unwrap_err();
    assert_eq!(refused, "DATA: group p1 stands in train and in validation; divide them anew with --split FILE");
    let folds = r#"[{"train": ["p1_a"], "val": ["p2_a"]}, {"train": ["p2_a"], "val": ["p1_a"]}]"#;
    assert_eq!(of(split(folds, None).unwrap()), [("p1_a", train), ("p2_a", val)].map(|(name, split)| (name.to_owned(), split)));
    let refused = split("p1_a other\np2_a sideways\n", None).unwrap_err();
    assert_eq!(refused, "DATA/split.csv: line 2: expected a name and train, val or test, found p2_a sideways");
}

#[test]
fn arrays_find_their_channels_by_their_masks() {
    for (shape, channels) in [("(2, 3)", 1), ("(3, 2, 3)", 3), ("(2, 3, 4)", 4)] {
        let folder = Folder::new();
        folder.bytes("images/a.npy", &npy(shape, 6 * channels));
        folder.bytes("masks/a.npy", &npy("(2, 3)", 6));
        let data = folder.open(&Options::default()).unwrap();
        assert_eq!(data.item(0).unwrap().image.shape(), [channels, 2, 3], "{shape}");
    }
    let folder = Folder::new();
    folder.bytes("images/a.npy", &npy("(3, 3, 3)", 27));
    folder.bytes("masks/a.npy", &npy("(3, 3)", 9));
    let text = folder.open(&Options::default()).unwrap_err();
    assert_eq!(
        text,
        "DATA/images/a.npy: shape [3, 3, 3]: are channels the first axis or the last? say --channels first or --channels last"
    );
}
