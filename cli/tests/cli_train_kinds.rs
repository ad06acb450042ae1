//! `segloss train` on what images and masks there are: volumes, votes, classes that overlap; and on
//! the sets of real data beside the project.

#[path = "../../conformance-tests/tests/beside/mod.rs"]
mod beside;
mod support;

use ndarray::{Array4, Axis};
use segloss_data::Limits;
use segloss_data::formats::{Place, labels_as_nifti, read};
use serde_json::{Value, json};

use support::Folder;

const TINY: [&str; 10] = ["train", "--epochs", "1", "--steps", "2", "--batch", "2", "--width", "4", "--out"];

fn tiny<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&TINY, more].concat()
}

fn run_file(folder: &Folder) -> Value {
    serde_json::from_str(&folder.text("o/run.json")).unwrap()
}

/// A volume with a bright ball of class 1 in it, and its mask.
fn ball(folder: &Folder, name: &str, size: [usize; 3], spacing: [f64; 3]) {
    let inside = |at: [usize; 3]| {
        let far = |axis: usize| (2.0 * at[axis] as f64 + 1.0) / size[axis] as f64 - 1.0;
        far(0).powi(2) + far(1).powi(2) + far(2).powi(2) < 0.3
    };
    for (kind, values) in [("images", [30, 200]), ("labels", [0, 1])] {
        let of = |(_, d, h, w)| values[usize::from(inside([d, h, w]))] + if kind == "images" { (7 * w % 11) as u8 } else { 0 };
        let array = Array4::from_shape_fn([1, size[0], size[1], size[2]], of);
        let bytes = labels_as_nifti(array.view(), Place::Spaced(spacing)).unwrap();
        folder.bytes(&format!("data/{kind}/{name}.nii.gz"), &bytes);
    }
}

#[test]
fn volumes_are_resampled_and_predicted_on_their_own_grid() {
    let folder = Folder::new();
    for (name, depth, thick) in [("a", 12, 2.0), ("b", 12, 2.0), ("c", 24, 1.0), ("d", 24, 1.0)] {
        ball(&folder, name, [depth, 20, 18], [thick, 1.0, 1.0]);
    }
    let text = folder.printed(&tiny(&["o", "--data", "data", "--patch", "16"]));
    let note = "\nnote      2 of 4 images are resampled to 2 x 1 x 1 mm (slices x rows x columns; the median of the images to \
                learn from; --spacing own leaves them)\n";
    assert!(text.contains(note), "{text}");
    assert!(text.contains(" of 2 patches, 16x16x16; seed 0\n"), "{text}");
    assert!(
        text.contains(
            "\nsaved in o: metrics.csv, metrics.png, model.safetensors, best.safetensors, predictions, \
             images.csv, pictures.png, run.json\n"
        ),
        "{text}"
    );
    let run = run_file(&folder);
    assert_eq!(
        (&run["volumes"], &run["patch"], &run["spacing"]),
        (&json!(true), &json!([16, 16, 16]), &json!([2.0, 1.0, 1.0]))
    );
    assert_eq!((&run["augment"], &run["rare"]), (&json!("intensity,scale"), &json!(0.33)));

    let found = read(&folder.path("o/predictions/d.nii.gz"), &Limits::default()).unwrap();
    assert_eq!((&found.header.size[..], found.header.spacing.as_deref()), (&[24, 20, 18][..], Some(&[1.0, 1.0, 1.0][..])));
    assert!(found.values.integers().unwrap().iter().all(|label| (0..=1).contains(label)));
    // The image is judged by all of its own voxels.
    let mask = read(&folder.path("data/labels/d.nii.gz"), &Limits::default()).unwrap().values.integers().unwrap();
    let share = mask.iter().filter(|&&label| label == 1).count() as f64 / mask.len() as f64;
    let csv = folder.text("o/metrics.csv");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let at = reader.headers().unwrap().iter().position(|name| name == "class1.target").unwrap();
    assert_eq!(reader.records().next().unwrap().unwrap()[at].parse::<f64>().unwrap(), share);

    let text = folder.printed(&tiny(&["o", "--data", "data", "--patch", "8,16,12", "--spacing", "own"]));
    assert!(!text.contains("resampled") && text.contains(" of 2 patches, 12x16x8; seed 0\n"), "{text}");
    assert_eq!(run_file(&folder)["spacing"], Value::Null);
    let text = folder.printed(&tiny(&["o", "--data", "data", "--patch", "16", "--spacing", "1.5"]));
    assert!(text.contains("4 of 4 images are resampled to 1.5 x 1.5 x 1.5 mm"), "{text}");
}

#[test]
fn stacks_of_arrays_are_volumes() {
    let folder = Folder::new();
    for i in 0..2u8 {
        let image = ndarray::Array3::from_shape_fn([9, 20, 18], |(d, h, w)| (d * h + w) as u8 / (2 - i));
        folder.array(&format!("data/v{i}_image.npy"), &image);
        folder.array(&format!("data/v{i}_mask.npy"), &image.mapv(|v| u8::from(v > 60)));
    }
    folder.printed(&tiny(&["o", "--data", "data", "--patch", "8"]));
    let found = read(&folder.path("o/predictions/v1.nii.gz"), &Limits::default()).unwrap();
    assert_eq!((&found.header.size[..], found.header.spacing.as_deref()), (&[9, 20, 18][..], Some(&[1.0, 1.0, 1.0][..])));
    folder.refuses(
        &tiny(&["p", "--data", "data", "--patch", "8", "--spacing", "2"]),
        "--spacing 2,2,2: no image says how far its pixels lie apart; leave --spacing out",
    );
    folder.picture("data/flat_image.png", [20, 18], |_, x| x as u8);
    folder.picture("data/flat_mask.png", [20, 18], |_, x| u8::from(x > 9));
    folder.refuses(
        &tiny(&["p", "--data", "data"]),
        "data: flat is a picture and v0 a volume, which one network cannot take; put them in folders of their own",
    );
}

#[test]
fn votes_are_learnt_as_shares() {
    let folder = Folder::new();
    for name in ["a", "b", "c", "d"] {
        folder.picture(&format!("data/{name}_image.png"), [24, 20], |y, x| (7 * x + 3 * y) as u8);
        folder.picture(&format!("data/{name}_mask.png"), [24, 20], |y, x| if y < 12 { 255 } else { (x / 5 * 85) as u8 });
    }
    let text = folder.printed(&tiny(&["o", "--data", "data", "--soft", "--patch", "32"]));
    // Half of the rows certain, the others a mean of half a vote.
    assert!(text.contains("\nclasses   2, of 25.00 %, 75.00 % of the training pixels\n"), "{text}");
    // No value of a share means ignored.
    assert_eq!(run_file(&folder)["loss"], "ce + dice + l1");
    folder.printed(&tiny(&["o", "--data", "data", "--soft", "--patch", "16", "--augment", "flips,turns,intensity,scale"]));
}

#[test]
fn classes_that_overlap_need_sigmoid() {
    let folder = Folder::new();
    for name in ["a", "b"] {
        folder.picture(&format!("data/images/{name}.png"), [24, 20], |y, x| (7 * x + 3 * y) as u8);
        folder.picture(&format!("data/masks/liver/{name}.png"), [24, 20], |y, _| if y < 16 { 255 } else { 0 });
        folder.picture(&format!("data/masks/tumour/{name}.png"), [24, 20], |y, x| if y < 16 && x < 5 { 255 } else { 0 });
    }
    folder.refuses(
        &tiny(&["o", "--data", "data"]),
        "data: classes overlap, which softmax cannot predict; add `with activation=sigmoid` to --loss, or give masks of one file \
         whose values are the classes",
    );
    let text = folder.printed(&tiny(&["o", "--data", "data", "--loss", "ce + dice with activation=sigmoid"]));
    assert!(text.contains("\nclasses   2, of 66.67 %, 16.67 % of the training pixels\n"), "{text}");
    let csv = folder.text("o/metrics.csv");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let names = reader.headers().unwrap().clone();
    let row = reader.records().next().unwrap().unwrap();
    let number = |name: &str| row[names.iter().position(|other| other == name).unwrap()].parse::<f64>().unwrap();
    assert_eq!((number("class0.target"), number("class1.target")), (2.0 / 3.0, 1.0 / 6.0));
    // Neither class is background.
    assert_eq!(number("foreground_dice"), (number("class0.dice") + number("class1.dice")) / 2.0);
}

#[test]
fn refuses_options() {
    let folder = Folder::new();
    let refuse = |option: &str, value: &str, why: &str| {
        folder.refuses(&["train", "--data", "d", option, value], &format!("{option} {value}: {why}"));
    };
    refuse("--patch", "0", "must be a multiple of 4 from 16 to 1024");
    refuse("--patch", "a,b", "expected a number of pixels, or three for volumes: slices,rows,columns");
    refuse("--patch", "8,16,18", "must be multiples of 4 from 8 to 1024");
    refuse("--rare", "1.5", "must be from 0 to 1");
    let words =
        "expected none, or some of flips, flips:x, flips:y, flips:z, turns, intensity and scale, with commas between them";
    refuse("--augment", "rotate", words);
    let spacing = "expected own, or millimetres above 0: one number, or three (slices,rows,columns)";
    refuse("--spacing", "1,2", spacing);
    refuse("--spacing", "0", spacing);
    for name in ["a", "b"] {
        folder.picture(&format!("d/{name}_image.png"), [20, 20], |_, x| x as u8);
        folder.picture(&format!("d/{name}_mask.png"), [20, 20], |_, x| u8::from(x > 9));
    }
    refuse("--patch", "16,16,16", "pictures have one side, such as 128; three are for volumes");
}

#[test]
fn the_rule_of_leaving_out() {
    beside::rule();
}

/// Trains two steps on a set of real data as it lies there.
fn learns(name: &str, more: &[&str], images: [usize; 2], classes: usize) {
    let Some(path) = beside::beside(&format!("data/{name}")) else {
        eprintln!("left out: there is no {}/data/{name}", beside::SHARED);
        return;
    };
    let folder = Folder::new();
    let data = path.display().to_string();
    let text = folder.printed(&[&tiny(&["o", "--data", &data])[..], more].concat());
    let line = format!("{} to train on, {} to validate with", images[0], images[1]);
    assert!(text.contains(&line), "{text}");
    let run = run_file(&folder);
    assert_eq!((&run["classes"], &run["epochs_done"]), (&json!(classes), &json!(1)));
    assert!(run["foreground_dice"].as_f64().is_some_and(|dice| (0.0..=1.0).contains(&dice)), "{run}");
}

#[test]
fn vessels_beside_the_project() {
    learns("drive", &[], [20, 20], 2);
}

#[test]
fn cells_beside_the_project() {
    learns("em", &[], [20, 7], 7);
}

#[test]
fn leaves_beside_the_project_with_masks_and_with_votes() {
    learns("rust", &["--masks-in", "binary_mask"], [47, 16], 2);
    learns("rust", &["--masks-in", "probabilistic_mask", "--soft"], [47, 16], 2);
}

#[test]
fn nuclei_beside_the_project() {
    learns("nuclei", &[], [64, 21], 2);
}

#[test]
fn hippocampi_beside_the_project() {
    learns("hippocampus", &["--patch", "16"], [48, 16], 3);
}

#[test]
fn predictions_of_real_volumes_lie_on_their_grid() {
    let Some(path) = beside::beside("data/hippocampus") else {
        eprintln!("left out: there is no {}/data/hippocampus", beside::SHARED);
        return;
    };
    let mut images: Vec<_> = std::fs::read_dir(path.join("images")).unwrap().map(|entry| entry.unwrap().path()).collect();
    images.sort();
    for path in images {
        let image = read(&path, &Limits::default()).unwrap();
        let labels = image.values.cast(|v| v as u8).into_dimensionality().unwrap();
        let place = tempfile::NamedTempFile::with_suffix(".nii.gz").unwrap();
        std::fs::write(place.path(), labels_as_nifti(labels.view(), Place::Like(&path)).unwrap()).unwrap();
        let found = read(place.path(), &Limits::default()).unwrap();
        assert_eq!(found.values.integers().unwrap(), labels.mapv(i64::from).into_dyn(), "{}", path.display());
        let [a, b] = [&found.header, &image.header];
        assert_eq!((&a.spacing, &a.orientation, &a.size, a.scaling), (&b.spacing, &b.orientation, &b.size, None));
        assert_eq!(labels.len_of(Axis(0)), 1);
    }
}
