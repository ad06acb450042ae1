//! `segloss bias`, end to end: sizes by hand, the library's numbers, absent classes, refusals.

mod support;

use ndarray::{Array2, Array3, Array4};
use segloss::ndarray::{NdarrayLoss, Target};
use segloss::{Loss, Preference};
use serde_json::Value;

use support::{Folder, number};

const FILES: &[&str] = &["bias", "--logits", "z.npy", "--target", "y.npy"];

fn bias(folder: &Folder, more: &[&str]) -> Value {
    folder.json(&[FILES, &["--json"], more].concat())
}

fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
}

/// Twenty pixels, five of class 1, and logits that know nothing.
fn ignorant() -> Folder {
    let folder = Folder::new();
    folder.array("z.npy", &Array3::<f64>::zeros((1, 2, 20)));
    folder.array("y.npy", &Array2::from_shape_fn((1, 20), |(_, s)| u8::from(s % 4 == 0)));
    folder
}

/// Sixteen by sixteen pixels of two samples and three classes; logits that know something.
fn informed() -> (Array4<f32>, Array3<u8>) {
    let labels = Array3::from_shape_fn((2, 16, 16), |(n, y, x)| match (y / 4 + x / 5 + n) % 7 {
        0 => 1u8,
        4 if y > 5 => 2,
        _ => 0,
    });
    let logits = Array4::from_shape_fn((2, 3, 16, 16), |(n, k, y, x)| {
        let noise = ((n * 7919 + k * 104_729 + y * 1299 + x * 15_485) % 97) as f32 / 48.5 - 1.0;
        1.7 * noise + if usize::from(labels[[n, y, x]]) == k { 1.5 } else { 0.0 }
    });
    (logits, labels)
}

#[test]
fn sizes_by_hand() {
    let json = bias(&ignorant(), &["--loss", "ce", "--loss", "db(temperature=1)", "--loss", "log_recall"]);
    // Cross-Entropy wants the true proportion: a quarter, a logit of -log 3, which no pixel decides
    // for.
    close(number(&json, "/losses/0/classes/0/preference/shift"), -(3f64.ln()), 1e-4);
    close(number(&json, "/losses/0/classes/0/predicted_ratio"), 1.0, 1e-4);
    close(number(&json, "/losses/0/classes/0/decided_ratio"), 0.0, 0.0);
    // Its pressure is predicted less true: a half less a quarter.
    close(number(&json, "/losses/0/classes/0/pressure"), 0.25, 1e-12);
    close(number(&json, "/losses/0/value"), 2f64.ln(), 1e-12);
    // Σ log(p + t): log 0.25 + log 1.75 at nothing is less than log 1.25 + log 0.75 at everything.
    assert_eq!(json["losses"][1]["classes"][0]["preference"]["kind"], "nothing");
    assert_eq!(json["losses"][1]["classes"][0]["decided_ratio"], Value::Null);
    // -(log p + log(1 - p)) / 2 of constant probabilities is least at a half.
    close(number(&json, "/losses/2/classes/0/predicted_ratio"), 2.0, 1e-4);
    for (key, expected) in [("class", 1.0), ("target", 0.25), ("predicted", 0.5), ("decided", 0.0)] {
        close(number(&json, &format!("/classes/0/{key}")), expected, 1e-12);
    }
}

#[test]
fn the_numbers_are_those_of_the_library() {
    let folder = Folder::new();
    let (logits, labels) = informed();
    folder.array("z.npy", &logits);
    folder.array("y.npy", &labels);
    let json = bias(&folder, &[]);
    let logits = logits.mapv(f64::from);
    let target = Target::labels(labels.view());
    let losses = json["losses"].as_array().unwrap();
    let names: Vec<&str> = losses.iter().map(|loss| loss["loss"].as_str().unwrap()).collect();
    assert!(names.contains(&"ce + dice") && names.contains(&"boundary") && names.len() == 10, "{names:?}");
    let mut sizes_found = 0;
    for (i, name) in names.iter().enumerate() {
        let loss: Loss = name.parse().unwrap();
        let pressure = loss.pressure(logits.view(), &target).unwrap().total;
        for (j, class) in [1, 2].into_iter().enumerate() {
            let of = format!("/losses/{i}/classes/{j}");
            close(number(&json, &format!("{of}/pressure")), pressure[class], 1e-12);
            let curve = json.pointer(&format!("{of}/curve")).and_then(Value::as_array).unwrap();
            let middle = &curve[curve.len() / 2];
            close(number(middle, "/shift"), 0.0, 0.0);
            close(number(middle, "/pressure"), pressure[class], 1e-12);
            let sizes: Vec<f64> = curve.iter().map(|point| point["predicted"].as_f64().unwrap()).collect();
            assert!(sizes.is_sorted() && sizes[0] < 1e-6 && sizes[sizes.len() - 1] > 0.99);
            let preference = loss.preferred_size(logits.view(), &target, class).unwrap();
            let expected = serde_json::to_value(preference).unwrap();
            assert_eq!(json.pointer(&format!("{of}/preference/kind")), Some(&expected["kind"]), "{name}");
            let Preference::Size(size) = preference else { continue };
            sizes_found += 1;
            close(number(&json, &format!("{of}/predicted_ratio")), size.predicted_ratio().unwrap(), 1e-12);
            close(number(&json, &format!("{of}/decided_ratio")), size.decided_ratio().unwrap(), 1e-12);
            // Nowhere on its curve is it better than there.
            assert!(curve.iter().all(|point| point["value"].as_f64().unwrap() >= size.at.value - 1e-12), "{name}");
        }
    }
    assert!(sizes_found >= 18, "{sizes_found}");
}

#[test]
fn an_absent_class_has_a_proportion_and_a_sentence() {
    let folder = ignorant();
    folder.array("y.npy", &Array2::<u8>::zeros((1, 20)));
    let json = bias(&folder, &["--loss", "l1(target=[0.75, 0.25], temperature=1)", "--loss", "ce"]);
    close(number(&json, "/losses/0/classes/0/preference/predicted"), 0.25, 1e-4);
    assert_eq!(json["losses"][0]["classes"][0]["predicted_ratio"], Value::Null);
    assert_eq!(json["losses"][1]["classes"][0]["preference"]["kind"], "nothing");
    let text = folder.printed(&[FILES, &["--loss", "ce"]].concat());
    for line in ["There is no true pixel of class 1.", "Of class 1: ce would make it vanish."] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn one_sigmoid_channel_and_ignored_pixels() {
    let folder = Folder::new();
    folder.array("z.npy", &Array3::<f32>::zeros((1, 1, 8)));
    // Two of six that count.
    folder.array("y.npy", &ndarray::arr2(&[[1i64, 1, 0, 0, 0, 0, 255, 255]]));
    let json = bias(&folder, &["--loss", "ce", "--activation", "sigmoid", "--ignore-index", "255"]);
    assert_eq!((&json["activation"], &json["classes"][0]["class"]), (&"sigmoid".into(), &0.into()));
    close(number(&json, "/classes/0/target"), 1.0 / 3.0, 1e-12);
    close(number(&json, "/losses/0/classes/0/preference/shift"), -(2f64.ln()), 1e-4);
    close(number(&json, "/losses/0/classes/0/pressure"), 0.5 - 1.0 / 3.0, 1e-12);
}

#[test]
fn the_picture_has_a_row_for_each_class() {
    let folder = Folder::new();
    let (logits, labels) = informed();
    folder.array("z.npy", &logits);
    folder.array("y.npy", &labels);
    let of = |more: &[&str]| {
        folder.printed(&[FILES, &["--loss", "ce", "--loss", "dice", "--picture", "bias.png"], more].concat());
        image::open(folder.path("bias.png")).unwrap().to_rgb8()
    };
    let (both, one) = (of(&[]), of(&["--class", "2"]));
    assert_eq!(both.width(), one.width());
    assert!(both.height() > one.height() + 300);
    // The colours of both losses.
    for color in [[0, 114, 178], [230, 97, 0]] {
        assert!(both.pixels().filter(|pixel| pixel.0 == color).count() > 300);
    }
}

#[test]
fn refusals_name_what_is_wrong() {
    let folder = ignorant();
    let refuses = |more: &[&str], line: &str| folder.refuses(&[FILES, more].concat(), line);
    refuses(&["--class", "2"], "class 2 is asked for, but there are 2 classes, counted from 0");
    refuses(&["--picture", "nowhere/bias.png"], "nowhere/bias.png: no such file or directory");
    folder.array("y.npy", &Array2::<u8>::from_elem((1, 20), 7));
    refuses(&["--loss", "ce"], "y.npy: label 7 at [0, 0] is outside 0..2 and not ignored; `ignore=7` leaves its pixels out");
}
