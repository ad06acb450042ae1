//! `segloss metrics`, end to end.

mod support;

use ndarray::{Array, arr2, arr3};
use support::{Folder, number};

/// Three images: one too small, one missed, one without a lesion; as PNG and .npy.
fn folder() -> Folder {
    let folder = Folder::new();
    for (name, truth, found) in [("a", 4, 2), ("b", 2, 0), ("c", 0, 0)] {
        folder.picture(&format!("masks/{name}.png"), [2, 5], |_, x| u8::from(x < truth));
        let prediction = Array::from_shape_fn([2, 5], |(_, x)| i64::from((x as u32) < found));
        folder.array(&format!("out/{name}.npy"), &prediction);
    }
    folder
}

#[test]
fn a_table_by_hand() {
    let text = folder().printed(&["metrics", "--prediction", "out", "--target", "masks", "--metric", "dice,size_error,hd95"]);
    assert_eq!(
        text,
        "prediction  out
target      masks
images      3
distances   in pixels: the files have no spacing

  image  class    dice  size_error    hd95
  a      1      0.6667     -0.5000  2.0000
  b      1      0.0000     -1.0000  5.3852   missed
  c      1           -           -       -  neither

class 1: both regions in 1 images, missed in 1, predicted without truth in 0, neither in 1
  metric         mean        95% interval  images  left out   pooled        95% interval
  dice         0.3333    0.0000 to 0.6667       2         1   0.5000    0.0000 to 0.6667
  size_error  -0.7500  -1.0000 to -0.5000       2         1  -0.6667  -1.0000 to -0.5000
  hd95         3.6926    2.0000 to 5.3852       2         1        -                   -
"
    );
}

#[test]
fn what_is_dropped_is_counted_and_penalties_are_the_users() {
    let folder = folder();
    let dice = ["metrics", "--prediction", "out", "--target", "masks", "--metric", "dice,hd95", "--json"];
    let authors = folder.json(&[&dice[..], &["--empty", "skip", "--absent", "skip"]].concat());
    assert_eq!(number(&authors, "/classes/0/summaries/0/images/mean"), 2.0 / 3.0);
    assert_eq!(number(&authors, "/classes/0/summaries/0/images/left_out"), 2.0);
    let penalty = folder.json(&[&dice[..], &["--empty", "50"]].concat());
    assert_eq!(number(&penalty, "/images/1/classes/0/scores/hd95"), 50.0);
    assert_eq!(number(&penalty, "/classes/0/presence/missed"), 1.0);
    assert!(penalty["images"][2]["classes"][0]["scores"]["dice"].is_null());
}

#[test]
fn spacing_comes_from_nifti_and_from_the_option() {
    let folder = Folder::new();
    // [z, y, x] of 2, 1, 4 with voxels of 3, 2 and 0.5 mm.
    let volume = |labels: [u8; 8]| support::nifti([4, 1, 2], [0.5, 2.0, 3.0], &labels);
    folder.bytes("p/scan.nii", &volume([1, 0, 0, 0, 0, 0, 0, 0]));
    folder.bytes("t/scan.nii", &volume([0, 0, 0, 1, 0, 0, 0, 1]));
    let score = ["metrics", "--prediction", "p", "--target", "t", "--metric", "hausdorff", "--json"];
    let json = folder.json(&score);
    assert_eq!(number(&json, "/images/0/classes/0/scores/hausdorff"), (1.5f64.powi(2) + 9.0).sqrt());
    assert_eq!(json["spaced"], true);
    let json = folder.json(&[&score[..], &["--spacing", "4,1,1"]].concat());
    assert_eq!(number(&json, "/images/0/classes/0/scores/hausdorff"), 5.0);
    folder.bytes("p/scan.nii", &support::nifti([4, 1, 2], [0.5, 2.0, 2.0], &[1; 8]));
    folder.refuses(
        &score,
        "p/scan.nii: spacing [2.0, 2.0, 0.5], but t/scan.nii has [3.0, 2.0, 0.5]; say which is right with --spacing",
    );
}

#[test]
fn arrays_one_image_or_a_batch_with_ignored_pixels() {
    let folder = Folder::new();
    folder.array("t.npy", &arr3(&[[[0u8, 1, 1], [2, 2, 9]], [[0, 1, 1], [2, 2, 9]]]));
    folder.array("p.npy", &arr3(&[[[0i32, 1, 0], [2, 2, 1]], [[0, 1, 1], [2, 0, 1]]]));
    let score = ["metrics", "--prediction", "p.npy", "--target", "t.npy", "--ignore-index", "9", "--json"];
    let json = folder.json(&[&score[..], &["--batch", "--csv", "s.csv", "--metric", "dice,precision"]].concat());
    assert_eq!(json["images"][1]["name"], "t.npy[1]");
    assert_eq!(number(&json, "/images/0/classes/0/scores/dice"), 2.0 / 3.0);
    assert_eq!(number(&json, "/images/1/classes/1/scores/dice"), 2.0 / 3.0);
    assert_eq!(number(&json, "/images/0/classes/0/counts/valid"), 5.0);
    assert_eq!(
        folder.text("s.csv"),
        "image,class,valid,target,predicted,both,dice,precision
t.npy[0],1,5,2,1,1,0.6666666666666666,1
t.npy[0],2,5,2,2,2,1,1
t.npy[1],1,5,2,2,2,1,1
t.npy[1],2,5,2,1,1,0.6666666666666666,1
"
    );
    let whole = folder.json(&score);
    assert_eq!(whole["images"].as_array().unwrap().len(), 1);
    assert_eq!(number(&whole, "/images/0/classes/0/counts/valid"), 10.0);
}

#[test]
fn what_does_not_go_together_is_refused_with_the_way_out() {
    let folder = folder();
    let refuses = |args: &[&str], line: &str| folder.refuses(&[&["metrics", "--prediction"], args].concat(), line);
    folder.picture("more/a.png", [2, 5], |_, _| 1);
    refuses(&["more", "--target", "masks"], "more: 2 of the targets have no prediction, such as b; --subset scores the others");
    refuses(&["out", "--target", "more"], "out: 2 of the predictions have no target, such as b; --subset scores the others");
    assert!(
        folder
            .printed(&["metrics", "--prediction", "more", "--target", "masks", "--subset"])
            .contains("images      1, and 2 without a prediction or a target that are left out")
    );
    folder.picture("other/x.png", [2, 5], |_, _| 1);
    refuses(
        &["other", "--target", "masks"],
        "other: no prediction has the name of a target: 1 predictions, such as x, 3 targets, such as a; names must be the same but for .png, .nii.gz and the like",
    );
    folder.picture("white/a.png", [2, 5], |_, x| if x < 2 { 255 } else { 0 });
    refuses(
        &["white", "--target", "more"],
        "white/a.png: holds label 255, which no target has (they have 1); name the classes to score with --class, or read both as 0 and 1 with --threshold 1",
    );
    refuses(
        &["out", "--target", "masks", "--metric", "dise"],
        "metric dise: expected dice, iou, precision, recall, size_error, hausdorff, hd95 or another percentile, assd, \
         surface_dice@TOLERANCE, lesion_precision, lesion_recall or lesion_f1",
    );
    let json = folder.json(&[
        "metrics",
        "--prediction",
        "white",
        "--target",
        "more",
        "--threshold",
        "1",
        "--metric",
        "recall",
        "--json",
    ]);
    assert_eq!(number(&json, "/images/0/classes/0/scores/recall"), 0.4);
    folder.array("small.npy", &arr2(&[[1u8, 0]]));
    refuses(
        &["small.npy", "--target", "more/a.png"],
        "small.npy: shape [1, 2], but more/a.png has [2, 5]; resample one onto the other's grid",
    );
    folder.array("shares.npy", &Array::from_elem([2, 5], 0.5f32));
    refuses(
        &["shares.npy", "--target", "more/a.png"],
        "shares.npy: holds 0.5, which is no class; say from where on pixels are foreground with --threshold",
    );
    refuses(
        &["out", "--target", "more/a.png"],
        "out: one of --prediction and --target is a folder and the other a file; give two of a kind",
    );
    refuses(
        &["out", "--target", "masks", "--spacing", "1,1,1"],
        "3 spacings for label maps of shape [2, 5]; expected one for each axis",
    );
    refuses(
        &["out", "--target", "masks", "--lesion-iou", "0.2"],
        "intersection over union of lesions 0.2: expected a number in [0.5, 1), so that no lesion has two partners",
    );
    refuses(&["nowhere", "--target", "masks"], "nowhere: no such file or directory");
}
