//! `segloss eval --metrics`: scores of decided labels beside the soft scores of a loss.

mod support;

use ndarray::{Array2, Array3, Array4, arr2, arr3};
use serde_json::{Value, json};

use support::{Folder, number};

const FILES: &[&str] = &["eval", "--loss", "ce + dice", "--logits", "z.npy", "--target", "y.npy"];

fn eval(folder: &Folder, more: &[&str]) -> Value {
    folder.json(&[FILES, &["--json"], more].concat())
}

/// Two samples of three classes, and what is decided for.
fn scene() -> (Array4<f32>, Array3<u8>, Array3<u8>) {
    let labels = Array3::from_shape_fn((2, 9, 12), |(n, y, x)| match (y / 3 + x / 4 + n) % 5 {
        1 => 1u8,
        3 if n == 0 => 2,
        _ => 0,
    });
    let logits = Array4::from_shape_fn((2, 3, 9, 12), |(n, k, y, x)| {
        let noise = ((n * 7919 + k * 104_729 + y * 1299 + x * 15_485) % 97) as f32 / 48.5 - 1.0;
        noise + if usize::from(labels[[n, y, x]]) == k { 0.8 } else { 0.0 }
    });
    let decided = Array3::from_shape_fn((2, 9, 12), |(n, y, x)| {
        let z = [0, 1, 2].map(|k| logits[[n, k, y, x]]);
        (1..3u8).fold(0, |best, k| if z[usize::from(k)] > z[usize::from(best)] { k } else { best })
    });
    (logits, labels, decided)
}

#[test]
fn scores_are_those_of_the_decided_label_maps() {
    let folder = Folder::new();
    let (logits, labels, decided) = scene();
    folder.array("z.npy", &logits);
    folder.array("y.npy", &labels);
    folder.array("p.npy", &decided);
    for more in [&["--spacing", "2,0.5"][..], &["--surface", "elements", "--empty", "7", "--ignore-index", "2"]] {
        let metrics = &eval(&folder, &[&["--metrics"], more].concat())["metrics"];
        let class = if more.contains(&"--ignore-index") { "1,2" } else { "1" };
        let args = ["metrics", "--prediction", "p.npy", "--target", "y.npy", "--batch", "--class", class, "--json"];
        let known = folder.json(&[&args[..], more].concat());
        for part in ["metrics", "surface", "bootstrap"] {
            assert_eq!(metrics[part], known[part], "{part}");
        }
        // By class 1, as class 2 is asked about here alone or nowhere.
        for n in 0..2 {
            assert_eq!(metrics["images"][n]["classes"][0], known["images"][n]["classes"][0], "{more:?}");
            assert_eq!(metrics["images"][n]["name"], n.to_string());
        }
        assert_eq!(metrics["classes"][0], known["classes"][0], "{more:?}");
        assert_eq!(metrics["classes"][1]["class"], "2");
    }
    // The loss's own scores are as they were, and nothing is added unless it is asked for.
    let plain = eval(&folder, &[]);
    assert_eq!(plain["metrics"], Value::Null);
    assert_eq!(plain["regions"], eval(&folder, &["--metrics", "hd95"])["regions"]);
}

#[test]
fn text_has_both_dices_under_their_names() {
    let folder = Folder::new();
    folder.array("z.npy", &arr3(&[[[0.0f32, 0.0, 0.0, 0.0], [1.0, 0.1, -1.0, -1.0]]]));
    folder.array("y.npy", &arr2(&[[1u8, 0, 0, 0]]));
    let text = folder.printed(&[FILES, &["--metrics", "dice,size_error"]].concat());
    assert!(text.contains("soft Dice"), "{text}");
    let tables = "
metrics of what the logits decide for
  sample  class    dice  size_error
  0       1      0.6667      1.0000

class 1: both regions in 1 images, missed in 0, predicted without truth in 0, neither in 0
";
    assert!(text.contains(tables), "{text}");
    let text = folder.printed(&[FILES, &["--metrics", "hausdorff"]].concat());
    assert!(text.contains("\nmetrics of what the logits decide for; distances in pixels\n"), "{text}");
    assert!(!folder.printed(FILES).contains("decide"));
}

#[test]
fn one_sigmoid_channel_with_pixels_that_do_not_count() {
    let folder = Folder::new();
    folder.array("z.npy", &arr3(&[[[1.0f32, 1.0, -1.0, 0.0, 1.0, 1.0]]]));
    folder.array("y.npy", &arr2(&[[1i64, 0, 1, 0, 255, 0]]));
    folder.array("w.npy", &arr2(&[[1.0f32, 0.5, 1.0, 1.0, 1.0, 0.0]]));
    let args = ["--activation", "sigmoid", "--ignore-index", "255", "--weights", "w.npy", "--metrics", "dice,precision"];
    let json = eval(&folder, &args);
    let of = "/metrics/images/0/classes/0";
    assert_eq!(json.pointer(&format!("{of}/counts")), Some(&json!({"valid": 4, "target": 2, "predicted": 2, "both": 1})));
    assert_eq!(number(&json, &format!("{of}/scores/dice")), 0.5);
    assert_eq!(json["metrics"]["classes"][0]["class"], "1");

    // Two channels are each against all others: both may be decided for, or none.
    folder.array("z.npy", &arr3(&[[[1.0f32, -1.0, -1.0], [1.0, 1.0, -1.0]]]));
    folder.array("y.npy", &arr2(&[[0u8, 1, 1]]));
    let json = eval(&folder, &["--activation", "sigmoid", "--metrics", "dice"]);
    let dice = [0, 1].map(|k| number(&json, &format!("/metrics/images/0/classes/{k}/scores/dice")));
    assert_eq!(dice, [1.0, 0.5]);
}

#[test]
fn refusals_name_the_way_out() {
    let folder = Folder::new();
    folder.array("z.npy", &Array3::<f32>::zeros((1, 2, 4)));
    folder.array("y.npy", &Array3::<f32>::from_elem((1, 2, 4), 0.5));
    let refuses = |more: &[&str], line: &str| folder.refuses(&[FILES, more].concat(), line);
    refuses(
        &["--metrics", "dice,hd95"],
        "--metrics dice,hd95: metrics compare decided labels with true ones: give a target of labels [N, *spatial]",
    );
    folder.array("y.npy", &Array2::<u8>::zeros((1, 4)));
    refuses(&["--surface", "elements"], "the following required arguments were not provided: --metrics [<NAME,..>]");
    let output = folder.run(&[FILES, &["--metrics", "dise"]].concat());
    assert_eq!(output.status.code(), Some(2));
    folder.array("z.npy", &Array2::<f32>::zeros((3, 2)));
    folder.array("y.npy", &ndarray::arr1(&[0u8, 1, 0]));
    let output = folder.run(&[FILES, &["--metrics"]].concat());
    assert!(support::utf8(output.stderr).contains("axes"), "label maps need an axis");
}
