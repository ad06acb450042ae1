//! `segloss bias`, end to end: sizes by hand, the library's numbers, absent classes, refusals.

mod support;

use ndarray::{Array2, Array3, Array4, Axis};
use segloss::ndarray::{NdarrayLoss, Target};
use segloss::{Loss, Preference};
use serde_json::Value;

use support::{Folder, number, square, trained};

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
fn the_page_says_what_the_text_says() {
    let folder = Folder::new();
    let (logits, labels) = informed();
    folder.array("z.npy", &logits);
    folder.array("y.npy", &labels);
    let text = folder.printed(&[FILES, &["--page", "bias.html"]].concat());
    assert!(text.ends_with("\npage written to bias.html\n"), "{text}");
    let json = bias(&folder, &[]);
    let page = folder.text("bias.html");
    for losses in json["losses"].as_array().unwrap() {
        assert!(page.contains(&format!("<code>{}</code>", losses["loss"].as_str().unwrap())));
        let pressure = losses["classes"][1]["pressure"].as_f64().unwrap();
        assert!(page.contains(&format!("{:.4}", pressure.abs())), "{pressure}");
    }
    for part in
        ["<h1>Which size each loss wants</h1>", "<h3>Class 2</h3>", "<b>smaller</b> than it is with", "<svg class=\"chart\""]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<script") && !page.contains("http") && !page.contains("NaN"));
    folder.refuses(&[FILES, &["--page", "nowhere/bias.html"]].concat(), "nowhere/bias.html: no such file or directory");
}

#[test]
fn notes_are_those_of_eval_and_unread_only_where_no_loss_reads() {
    let folder = Folder::new();
    folder.array("z.npy", &Array4::<f32>::zeros((1, 3, 4, 4)));
    folder.array("y.npy", &Array3::from_shape_fn((1, 4, 4), |(_, y, x)| if y == 0 { 255i64 } else { i64::from(x == 1) }));
    let told = |more: &[&str]| {
        let args = [FILES, &["--ignore-index", "255", "--spacing", "2,1", "--class", "1"], more].concat();
        let notes = folder.json(&[&args[..], &["--json"]].concat())["notes"].as_array().unwrap().clone();
        let notes: Vec<String> = notes.iter().map(|note| note["text"].as_str().unwrap().to_owned()).collect();
        let text = folder.printed(&args);
        assert!(text.ends_with(&format!("\nnotes\n  {}\n", notes.join("\n  "))), "{text}");
        notes
    };
    let always = ["4 of 16 pixels (25 %) are ignored", "class 2 has no true pixel"];
    let spacing = "the spacing has no effect: no term measures distances";
    assert_eq!(told(&["--loss", "ce", "--loss", "dice"]), [always[0], always[1], spacing]);
    assert_eq!(told(&["--loss", "ce", "--loss", "boundary"]), always);
}

/// The network's logits on one image, by way of what `predict` writes.
fn by_predict(folder: &Folder, image: &str) -> Value {
    folder.printed(&[
        "predict",
        "--model",
        "run",
        "--data",
        &format!("data/{image}_image.png"),
        "--out",
        "o",
        "--probabilities",
    ]);
    let p: Array3<f32> = ndarray_npy::read_npy(folder.path(&format!("o/{image}_image.npy"))).unwrap();
    folder.array("z.npy", &p.insert_axis(Axis(0)));
    let mask = image::open(folder.path(&format!("data/{image}_mask.png"))).unwrap().into_luma8();
    let (width, height) = mask.dimensions();
    folder.array(
        "y.npy",
        &Array3::from_shape_fn((1, height as usize, width as usize), |(_, y, x)| mask.get_pixel(x as u32, y as u32)[0]),
    );
    bias(folder, &["--from", "probabilities", "--loss", "ce", "--loss", "dice"])
}

#[test]
fn a_network_is_asked_about_images_that_it_does_not_know() {
    let folder = trained();
    let model = ["bias", "--model", "run", "--data", "data", "--loss", "ce", "--loss", "dice", "--json"];
    let json = folder.json(&model);
    assert_eq!(json["names"], serde_json::json!(["d"]));
    let note = "3 images have names of those that the network was trained on, and left out; --images all takes all";
    assert_eq!(json["data_notes"], serde_json::json!([note]));
    // The same by way of files, and what the training measured of the same image.
    let files = by_predict(&folder, "d");
    for i in 0..2 {
        for key in ["pressure", "predicted_ratio", "decided_ratio"] {
            let pointer = format!("/losses/{i}/classes/0/{key}");
            close(number(&json, &pointer), number(&files, &pointer), 1e-6);
        }
    }
    let metrics = folder.text("run/metrics.csv");
    let column = metrics.lines().next().unwrap().split(',').position(|name| name == "class1.probability").unwrap();
    let last: f64 = metrics.lines().last().unwrap().split(',').nth(column).unwrap().parse().unwrap();
    close(number(&json, "/classes/0/predicted"), last, 1e-6);
    let text = folder.printed(&["bias", "--model", "run", "--data", "data", "--best"]);
    assert!(text.contains("images    1 with masks, each a sample on its own grid\n"), "{text}");
    assert!(text.contains("topk(pooling=sample)") && text.contains("boundary"), "{text}");
}

#[test]
fn a_folder_is_one_question_whatever_the_sizes() {
    let folder = trained();
    // Another size, so that no array can hold both.
    folder.picture("two/e_image.png", [20, 24], |y, x| if y > 9 && x > 9 { 200 } else { (x + y) as u8 });
    folder.picture("two/e_mask.png", [20, 24], |y, x| u8::from(y > 9 && x > 9));
    square(&folder, "two/f", 8);
    let of =
        |more: &[&str]| folder.json(&[&["bias", "--model", "run", "--loss", "ce", "--loss", "dice", "--json"], more].concat());
    let json = of(&["--data", "two"]);
    assert_eq!(json["names"], serde_json::json!(["e", "f"]));
    let truth = f64::from(10 * 14 + 10 * 9) / f64::from(20 * 24 + 32 * 28);
    close(number(&json, "/classes/0/target"), truth, 1e-12);
    // Cross-Entropy wants the true proportion of all pixels together.
    close(number(&json, "/losses/0/classes/0/predicted_ratio"), 1.0, 1e-4);
    let pressure = number(&json, "/classes/0/predicted") - truth;
    close(number(&json, "/losses/0/classes/0/pressure"), pressure, 1e-9);
    // And is the least along its curve there, of the pooled loss.
    let curve = json["losses"][1]["classes"][0]["curve"].as_array().unwrap();
    let best = number(&json, "/losses/1/classes/0/preference/value");
    assert!(curve.iter().all(|point| point["value"].as_f64().unwrap() >= best - 1e-12));
    folder.refuses(
        &["bias", "--model", "run", "--data", "two", "--loss", "topk"],
        "--loss topk: ranks the pixels of a whole batch, but images are measured one by one; say pooling=sample",
    );
}

#[test]
fn refusals_of_a_network_name_the_way_out() {
    let folder = trained();
    let refuses = |args: &[&str], line: &str| folder.refuses(&[&["bias"], args].concat(), line);
    std::fs::remove_file(folder.path("data/d_image.png")).unwrap();
    std::fs::remove_file(folder.path("data/d_mask.png")).unwrap();
    refuses(
        &["--model", "run", "--data", "data"],
        "data: holds no image but those that the network was trained on, by their names; --images all takes these",
    );
    refuses(
        &["--model", "run", "--data", "data", "--loss", "ce with activation=sigmoid", "--images", "all"],
        "--loss ce with activation=sigmoid: the network was trained with softmax, which makes its logits; leave the activation out",
    );
    folder.picture("data/a_mask.png", [32, 28], |_, x| (x % 3) as u8);
    refuses(
        &["--model", "run", "--data", "data"],
        "data: masks have 3 classes, but the model knows 2 (0, 1); say with --labels what values mean",
    );
    refuses(
        &["--model", "run", "--data", "data", "--logits", "z.npy", "--target", "y.npy"],
        "the argument '--model <DIR>' cannot be used with: --logits <Z.npy> --target <Y.npy>",
    );
    for (option, shown) in [(&["--threshold", "1"][..], "--threshold <VALUE>"), (&["--best"], "--best")] {
        let line = format!("the argument '--logits <Z.npy>' cannot be used with '{shown}'");
        refuses(&[&["--logits", "z.npy", "--target", "y.npy"], option].concat(), &line);
    }
    refuses(&[], "the following required arguments were not provided: --logits <Z.npy> --target <Y.npy>");
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
