//! What `segloss eval` and `segloss train` tell beside their numbers, and public reports on what
//! was not told (inputs beside the project).

mod support;

#[path = "../../conformance-tests/tests/beside/mod.rs"]
mod beside;

use ndarray::{Array2, Array3, arr2};
use serde_json::{Value, json};

use support::{Folder, number, utf8};

const FILES: &[&str] = &["eval", "--logits", "z.npy", "--target", "y.npy"];

/// The arrays of a report as `z.npy` and `y.npy`; none where they are not beside the project.
fn report(name: &str) -> Option<Folder> {
    let folder = Folder::new();
    for part in ["z", "y"] {
        let Some(path) = beside::beside(&format!("reports/eval/{name}_{part}.npy")) else {
            println!("left out: there is no {} beside the project", beside::SHARED);
            return None;
        };
        folder.bytes(&format!("{part}.npy"), &std::fs::read(path).unwrap());
    }
    Some(folder)
}

/// The notes that are printed, and those of the JSON, which are the same.
fn notes(folder: &Folder, args: &[&str]) -> (Vec<String>, Vec<Value>) {
    let text = folder.printed(&[FILES, args].concat());
    let told: Vec<String> = text.split("\nnotes\n").nth(1).unwrap_or_default().lines().map(|l| l.trim().to_owned()).collect();
    let json = folder.json(&[FILES, args, &["--json"]].concat());
    let notes = json["notes"].as_array().unwrap().clone();
    assert_eq!(notes.iter().map(|note| note["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), told);
    (told, notes)
}

#[test]
fn data_beside_is_left_out_only_where_all_of_it_is() {
    beside::rule();
}

#[test]
fn a_mask_whose_foreground_is_ignored_is_told() {
    let Some(folder) = report("e09") else { return };
    let (told, notes) = notes(&folder, &["--loss", "ce + dice", "--ignore-index", "255"]);
    assert_eq!(told, ["10 of 36 pixels (27.8 %) are ignored", "class 1 has no true pixel"]);
    assert_eq!((number(&notes[0], "/ignored"), number(&notes[0], "/pixels")), (10.0, 36.0));
    assert_eq!(notes[1]["classes"], json!([1]));
}

#[test]
fn a_label_to_ignore_in_soft_targets_is_told() {
    let Some(folder) = report("e18") else { return };
    let (told, notes) = notes(&folder, &["--loss", "ce", "--ignore-index", "1"]);
    let text =
        "the label to ignore, 1, has no effect: soft targets have no labels; give pixels that are not to count the weight 0";
    assert_eq!(told, [text]);
    assert_eq!(notes, [json!({"kind": "ignore_on_soft_targets", "labels": [1], "text": text})]);
}

#[test]
fn the_activation_that_a_term_uses_is_told() {
    let Some(folder) = report("e27") else { return };
    let (told, notes) = notes(&folder, &["--loss", "focal", "--activation", "softmax"]);
    let text = "focal uses sigmoid, each class against all others, while the activation of the loss is softmax; \
                focal(activation=model) follows the loss";
    assert_eq!(told, [text]);
    assert_eq!(
        notes,
        [json!({"kind": "other_activation", "term": "focal", "activation": "sigmoid", "loss": "softmax", "text": text})]
    );
    for args in [["--loss", "focal(activation=model)"], ["--loss", "focal with activation=sigmoid"]] {
        let (told, _) = self::notes(&folder, &args);
        assert!(!told.iter().any(|told| told.contains("while the activation")), "{told:?}");
    }
}

#[test]
fn a_class_that_is_switched_off_has_a_way_out_that_works() {
    let Some(folder) = report("e01") else { return };
    let line = "z.npy: logit -inf at [0, 0] is not finite and its pixel is not ignored; to switch a class off use a large finite \
                number, such as -1e9 (-1e4 in f16)";
    folder.refuses(&[FILES, &["--loss", "ce"]].concat(), line);
    // What the message says: the same arrays with -1e9.
    let logits = segloss_data::formats::npy::parse("z.npy".as_ref(), &std::fs::read(folder.path("z.npy")).unwrap()).unwrap();
    for (value, dtype) in [(-1e9, "f32"), (-1e4, "f16")] {
        folder.array("z.npy", &logits.floats().mapv(|z| if z == f64::NEG_INFINITY { value } else { z }));
        let json = folder.json(&[FILES, &["--loss", "ce + dice", "--dtype", dtype, "--json"]].concat());
        assert!(number(&json, "/total").is_finite(), "{json}");
    }
}

#[test]
fn a_mean_over_many_pixels_loses_its_gradients_in_half_precision() {
    // 4096 x 4096 pixels, as a public report has them.
    let folder = Folder::new();
    let side = 4096;
    let zeros = vec![0u8; 2 * 2 * side * side];
    folder.bytes("z.npy", &support::npy_by_hand("<f2", "False", &format!("(1, 2, {side}, {side})"), &zeros));
    folder.array("y.npy", &Array3::from_shape_fn([1, side, side], |(_, y, x)| ((x + y) % 2) as u8));
    let (told, notes) = notes(&folder, &["--loss", "ce"]);
    let text = "gradients of ce vanish in f16: they are at most 6.0e-8, and 0 at pixels whose probability is off by 50 % or less; \
                multiply the total by 65536 and divide the gradients of the parameters by it";
    assert_eq!(told, [text]);
    assert_eq!(number(&notes[0], "/factor"), 65536.0);
    // It is so: p is ½ everywhere, and no gradient is left. With the factor all are there.
    let gradient = |loss: &str| -> Vec<f32> {
        folder.printed(&[FILES, &["--loss", loss, "--grad", "g.npy"]].concat());
        let gradient: ndarray::ArrayD<f32> = ndarray_npy::read_npy(folder.path("g.npy")).unwrap();
        gradient.into_iter().collect()
    };
    assert!(gradient("ce").iter().all(|g| *g == 0.0));
    assert!(gradient("65536 * ce").iter().all(|g| g.abs() == 0.5 * 65536.0 / (side * side) as f32));
    for more in [["--loss", "65536 * ce"].as_slice(), &["--loss", "ce", "--dtype", "f32"], &["--loss", "ce", "--dtype", "bf16"]]
    {
        assert_eq!(self::notes(&folder, more).0, [""; 0], "{more:?}");
    }
}

#[test]
fn an_option_that_nothing_reads_is_told() {
    let folder = Folder::new();
    folder.array("z.npy", &Array3::<f32>::zeros([1, 2, 4]));
    folder.array("y.npy", &arr2(&[[0u8, 1, 1, 0]]));
    let (told, _) = notes(&folder, &["--loss", "ce", "--spacing", "2"]);
    assert_eq!(told, ["the spacing has no effect: no term measures distances"]);
    let (told, _) = notes(&folder, &["--loss", "kl(background=false)"]);
    assert_eq!(told, ["kl: background has no effect here"]);
    assert_eq!(notes(&folder, &["--loss", "ce + boundary", "--spacing", "2"]).0, [""; 0]);
    let (told, _) = notes(&folder, &["--loss", "ce", "--ignore-index", "0", "--ignore-index", "1"]);
    assert_eq!(told, ["no pixel counts: all 4 are ignored, so that every term and every gradient is 0"]);
}

#[test]
fn a_training_tells_and_keeps_its_notes() {
    let folder = Folder::new();
    for name in ["a", "b", "c", "d"] {
        folder.picture(&format!("in/{name}_image.png"), [32, 32], |y, x| (8 * y + x) as u8);
        folder.picture(&format!("in/{name}_label.png"), [32, 32], |y, _| {
            if name == "d" { u8::from(y > 9) * 2 } else { u8::from(y > 9) }
        });
    }
    let train =
        ["train", "--data", "in", "--loss", "ce + focal", "--epochs", "2", "--steps", "1", "--patch", "16", "--batch", "2"];
    let text = folder.printed(&[&train[..], &["--width", "4", "--out", "o", "--labels", "0=background,1=near,2=far"]].concat());
    let activation = "focal uses sigmoid, each class against all others, while the activation of the loss is softmax; \
                      focal(activation=model) follows the loss";
    let absent = "class 2 has no true pixel";
    for note in [activation, absent] {
        assert!(text.contains(&format!("note      {note}\n")), "{text}");
    }
    let run: Value = serde_json::from_str(&folder.text("o/run.json")).unwrap();
    let texts: Vec<&str> = run["notes"].as_array().unwrap().iter().map(|note| note["text"].as_str().unwrap()).collect();
    assert_eq!(texts, [activation, absent]);
    // Said once, of the first epoch, whose patches lack the class as those of the second do.
    let epochs = run["epoch_notes"].as_array().unwrap();
    assert!(!epochs.is_empty() && epochs[0]["epoch"] == 1 && epochs[0]["notes"][0]["kind"] == "absent_classes", "{run}");
}

#[test]
fn names_from_outside_are_shown_without_their_control_characters() {
    let folder = Folder::new();
    folder.array("y.npy", &arr2(&[[0u8]]));
    folder.array("z\u{1b}[31m.npy", &Array2::<f32>::zeros([1, 2]));
    let run = |args: &[&str]| folder.run(&[&["eval", "--loss", "ce", "--target", "y.npy"], args].concat());
    let shown = utf8(run(&["--logits", "none\n\u{1b}[2J.npy"]).stderr);
    assert_eq!(shown, "error: none\\n\\u{1b}[2J.npy: no such file or directory\n");
    let shown = utf8(run(&["--logits", "z\u{1b}[31m.npy", "--dtype", "\u{1b}[31m"]).stderr);
    assert!(!shown.contains('\u{1b}') && shown.contains("for '--dtype <DTYPE>'"), "{shown}");
    folder.array("y.npy", &ndarray::arr1(&[1u8]));
    let shown = utf8(run(&["--logits", "z\u{1b}[31m.npy"]).stdout);
    assert!(shown.contains("logits    z\\u{1b}[31m.npy  float32 [1, 2]\n"), "{shown:?}");
    // The descriptor of a header.
    folder.bytes("z.npy", &support::npy_by_hand("<\u{7}8", "False", "(1, 2)", &[0; 16]));
    let shown = utf8(run(&["--logits", "z.npy"]).stderr);
    assert!(shown.contains("\\u{7}") && !shown.contains('\u{7}'), "{shown:?}");
}
