//! `segloss train`, end to end, in runs of seconds.

mod support;

use serde_json::Value;

use support::{Folder, utf8};

/// A run that is too short to learn anything.
const TINY: [&str; 11] = ["train", "--epochs", "2", "--steps", "2", "--batch", "2", "--patch", "16", "--width", "4"];

/// What a run leaves, besides its checkpoints.
const RESULTS: [&str; 7] =
    ["best.safetensors", "images.csv", "metrics.csv", "metrics.png", "model.safetensors", "pictures.png", "run.json"];

fn tiny<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&TINY, more].concat()
}

/// The rows of a table as its header's names and their texts.
fn column(csv: &str, name: &str) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let at = reader.headers().unwrap().iter().position(|header| header == name).unwrap_or_else(|| panic!("{name} in {csv}"));
    reader.records().map(|record| record.unwrap()[at].to_string()).collect()
}

/// Files directly in a folder.
fn results(folder: &Folder, out: &str) -> Vec<String> {
    let below = folder.files().into_iter().filter_map(|name| name.strip_prefix(&format!("{out}/")).map(String::from));
    below.filter(|name| !name.starts_with("checkpoints")).collect()
}

/// Names of its checkpoints.
fn checkpoints(folder: &Folder, out: &str) -> Vec<String> {
    let prefix = format!("{out}/checkpoints/");
    folder.files().into_iter().filter_map(|name| name.strip_prefix(&prefix).map(String::from)).collect()
}

fn run_file(folder: &Folder, out: &str) -> Value {
    serde_json::from_str(&folder.text(&format!("{out}/run.json"))).unwrap()
}

#[test]
fn a_run_leaves_everything() {
    let folder = Folder::new();
    let text = folder.printed(&tiny(&["--images", "4", "--loss", "ce + dice + 0.5 * l1", "--out", "a/run"]));
    assert_eq!(results(&folder, "a/run"), RESULTS);
    assert_eq!(checkpoints(&folder, "a/run"), ["epoch-000001.ckpt", "epoch-000002.ckpt"]);

    let csv = folder.text("a/run/metrics.csv");
    assert_eq!(
        csv.lines().next().unwrap(),
        "epoch,learning_rate,total,ce.weight,ce.value,ce.matching,ce.size,ce.constant,dice.weight,dice.value,dice.matching,\
         dice.size,dice.constant,l1.weight,l1.value,l1.matching,l1.size,l1.constant,class0.pressure,class0.pressure.ce,\
         class0.pressure.dice,class0.pressure.l1,class0.target,class0.predicted,class0.probability,class0.dice,class1.pressure,\
         class1.pressure.ce,class1.pressure.dice,class1.pressure.l1,class1.target,class1.predicted,class1.probability,\
         class1.dice,foreground_dice"
    );
    assert_eq!(column(&csv, "epoch"), ["1", "2"]);
    let number = |name: &str| column(&csv, name)[1].parse::<f64>().unwrap();
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-5, "{a} is not {b}");
    near(number("total"), number("ce.value") + number("dice.value") + 0.5 * number("l1.value"));
    near(number("ce.value"), number("ce.matching") + number("ce.size") + number("ce.constant"));
    near(number("l1.value"), number("l1.size"));
    near(number("class0.target") + number("class1.target"), 1.0);
    // Under softmax what makes a class smaller makes the others larger.
    near(number("class0.pressure"), -number("class1.pressure"));
    let of_terms = number("class1.pressure.ce") + number("class1.pressure.dice") + 0.5 * number("class1.pressure.l1");
    near(number("class1.pressure"), of_terms);
    assert!(number("class1.pressure").abs() > 1e-6);

    // The image that validates, by its pixels and surfaces.
    let images = folder.text("a/run/images.csv");
    assert_eq!(images.lines().next().unwrap(), "image,class,true_pixels,predicted_pixels,both,dice,size_error,hd95,missed");
    assert_eq!(images.lines().count(), 2);
    let scores = &run_file(&folder, "a/run")["scores"][0];
    assert_eq!((&scores["class"], scores["dice"]["images"].as_u64()), (&"lesion".into(), Some(1)));
    near(scores["dice"]["mean"].as_f64().unwrap(), column(&images, "dice")[0].parse().unwrap());
    near(number("class0.probability") + number("class1.probability"), 1.0);

    // A line for each epoch, under headings, then the table.
    let lines: Vec<&str> = text.lines().collect();
    let at = |start: &str| lines.iter().position(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} in {text}"));
    assert!(lines[at("epoch |")].contains("total |    match     size |    match     size |     size |"));
    assert!(lines[at("1/2   |") + 1..at("2/2   |")].iter().all(|line| line.starts_with("note      the patches of epoch 1: ")));
    assert!(at("2/2   |") < at("Validation after epoch 2, 1 image"));
    assert!(lines[at("2/2   |")].contains(&format!(" {:.4} ", number("ce.matching"))));
    assert!(lines[at("  class  ")].ends_with("true area  predicted area  mean probability    Dice"));
    assert_eq!(
        lines[at("saved in")],
        "saved in a/run: metrics.csv, metrics.png, model.safetensors, best.safetensors, images.csv, pictures.png, run.json"
    );

    for (name, least) in [("metrics.png", 500), ("pictures.png", 250)] {
        let image = image::open(folder.path(&format!("a/run/{name}"))).unwrap().into_rgb8();
        assert!(image.width() >= least && image.height() >= least, "{name}: {:?}", image.dimensions());
        assert!(image.pixels().any(|p| p.0 == [0, 0, 0]) && image.pixels().any(|p| p.0 == [255; 3]), "{name}");
    }
    let run = run_file(&folder, "a/run");
    assert_eq!((&run["loss"], &run["epochs_done"]), (&"ce + dice + 0.5 * l1 with ignore=255".into(), &2.into()));
    assert!(folder.text("a/run/run.json").ends_with("}\n"));
}

#[test]
fn the_seed_decides() {
    let folder = Folder::new();
    for (out, seed, threads) in [("a", "5", "1"), ("b", "5", "2"), ("c", "6", "2")] {
        let mut command = folder.command(&tiny(&["--images", "4", "--seed", seed, "--out", out]));
        command.env("RAYON_NUM_THREADS", threads).assert().success();
    }
    let [a, b, c] = ["a", "b", "c"].map(|out| folder.text(&format!("{out}/metrics.csv")));
    assert_eq!(a, b);
    assert_ne!(a, c);
}

#[test]
fn the_weight_of_a_term_grows() {
    let folder = Folder::new();
    folder.printed(&tiny(&[
        "--images",
        "4",
        "--loss",
        "ce + grow(1, factor=5, every=1) * l1 + 2 * l1(temperature=1)",
        "--out",
        "o",
    ]));
    let csv = folder.text("o/metrics.csv");
    assert_eq!(column(&csv, "l1.weight"), ["1", "5"]);
    assert_eq!(column(&csv, "l1#2.weight"), ["2", "2"]);
}

/// An image of 24 x 20 pixels with a bright square of class 1 and, in its last column, pixels that
/// do not count.
fn pair(folder: &Folder, name: &str, ignored: u32) {
    let bright = |y: u32, x: u32| (4..10).contains(&y) && (4..10).contains(&x);
    folder.picture(&format!("{name}_image.png"), [24, 20], |y, x| if bright(y, x) { 200 } else { (7 * x + 3 * y) as u8 });
    folder.picture(&format!("{name}_label.png"), [24, 20], |y, x| if x >= 20 - ignored { 255 } else { bright(y, x).into() });
}

#[test]
fn a_folder_is_split_by_file() {
    let folder = Folder::new();
    for name in ["d", "b", "a", "c"] {
        pair(&folder, &format!("data/{name}"), 0);
    }
    folder.bytes("data/notes.txt", b"not an image");
    folder.printed(&tiny(&["--data", "data", "--out", "o"]));
    let run = run_file(&folder, "o");
    assert_eq!(run["training_images"], serde_json::json!(["a", "b", "c"]));
    assert_eq!(run["validation_images"], serde_json::json!(["d"]));
    assert_eq!(run["data"], "data");
}

#[test]
fn ignored_pixels_do_not_count() {
    let folder = Folder::new();
    pair(&folder, "data/train/a", 0);
    pair(&folder, "data/train/b", 2);
    pair(&folder, "data/test/c", 5);
    let text = folder.printed(&tiny(&["--data", "data", "--out", "o"]));
    assert!(text.contains("\nimages    data: 2 to train on, 1 to validate with\n"), "{text}");
    // 36 pixels of class 1 among 480 and 480 - 48, and no class 255.
    assert!(text.contains("\nclasses   2, of 92.11 %, 7.89 % of the training pixels\n"), "{text}");
    let csv = folder.text("o/metrics.csv");
    assert_eq!(column(&csv, "class1.target"), ["0.1", "0.1"]);
    assert!(!csv.contains("class2"));
    let run = run_file(&folder, "o");
    assert_eq!(
        (&run["training_images"], &run["validation_images"]),
        (&serde_json::json!(["a", "b"]), &serde_json::json!(["c"]))
    );
}

#[test]
fn a_class_that_only_validation_images_have_counts() {
    let folder = Folder::new();
    pair(&folder, "data/train/a", 0);
    pair(&folder, "data/test/b", 0);
    folder.picture("data/test/b_label.png", [24, 20], |y, _| if y == 0 { 2 } else { 0 });
    folder.printed(&tiny(&["--data", "data", "--out", "o"]));
    let csv = folder.text("o/metrics.csv");
    assert_eq!(column(&csv, "class2.target")[0].parse::<f64>().unwrap(), 1.0 / 24.0);
    assert!(!csv.contains("class3"));
}

#[test]
fn refuses_folders() {
    let folder = Folder::new();
    let refuse = |line: &str| folder.refuses(&tiny(&["--data", "data", "--out", "o"]), line);
    refuse("data: no such file or directory");
    folder.bytes("data/notes.txt", b"");
    refuse(
        "data: no images and masks; expected images/ and masks/ (or --images-in FOLDER --masks-in FOLDER), or NAME_image and \
         NAME_label side by side, as PNG, JPEG, TIFF, NIfTI, .npy or .npz",
    );
    pair(&folder, "data/a", 0);
    refuse("data: holds one pair; two are needed, one to learn from and one to validate with");
    pair(&folder, "data/train/a", 0);
    refuse("data: has images to learn from (train) but none to validate with (val or test)");
    folder.refuses(&tiny(&["--data", "data/notes.txt", "--out", "o"]), "data/notes.txt: not a directory");
}

#[test]
fn refuses_label_images() {
    let folder = Folder::new();
    pair(&folder, "data/a", 0);
    pair(&folder, "data/b", 0);
    let refuse = |line: &str| folder.refuses(&tiny(&["--data", "data", "--out", "o"]), line);
    folder.picture("data/b_label.png", [24, 10], |_, _| 0);
    refuse("data/b_label.png: is of size 10x24, but data/b_image.png has 20x24");
    folder.picture("data/b_label.png", [24, 20], |y, x| if (y, x) == (3, 17) { 100 } else { 0 });
    refuse(
        "data/b_label.png: masks hold 0, 1 and 100, which are no class indices 0, 1, 2, …; name them, such as --labels \
         0=background,1=lesion,100=lesion, or read them as votes with --soft, or cut them with --threshold",
    );
    image::RgbImage::from_pixel(20, 24, image::Rgb([255, 0, 0])).save(folder.path("data/b_label.png")).unwrap();
    refuse(
        "data/b_label.png: a mask in colours (0, 1 and #ff0000); name them, such as --labels '#000000=background,#ff0000=lesion'",
    );
    folder.bytes("data/b_label.png", FOUR_BITS);
    refuse("data/b_label.png: is of size 2x1, but data/b_image.png has 20x24");
    folder.bytes("data/b_label.png", b"GIF89a");
    refuse("data/b_label.png: not a readable PNG: invalid PNG signature");
    for name in ["a", "b"] {
        folder.picture(&format!("data/{name}_label.png"), [24, 20], |_, _| 0);
    }
    refuse("data: the labels know class 0 only; a second class is needed (255 means ignored)");
    for name in ["a", "b"] {
        folder.picture(&format!("data/{name}_label.png"), [24, 20], |_, _| 255);
    }
    refuse("data: every pixel is labelled 255 (ignored)");
    pair(&folder, "data/a", 2);
    refuse("data: every pixel of the images to validate with is ignored");
}

#[test]
fn colour_and_masks_of_0_and_255_in_folders_of_their_own() {
    let folder = Folder::new();
    for (side, name) in [("Train", "a"), ("Train", "b"), ("val", "c"), ("test", "d")] {
        folder.picture(&format!("data/{side}/masks/{name}.png"), [24, 20], |y, x| if x + y > 30 { 255 } else { 0 });
        let image = image::RgbImage::from_fn(20, 24, |x, y| image::Rgb([x as u8, y as u8, 7 * name.len() as u8]));
        std::fs::create_dir_all(folder.path(&format!("data/{side}/images"))).unwrap();
        image.save(folder.path(&format!("data/{side}/images/{name}.png"))).unwrap();
    }
    let text = folder.printed(&tiny(&["--data", "data", "--out", "o"]));
    assert!(text.contains("\nnote      masks hold 0 and 255 alone: 255 is read as class 1\n"), "{text}");
    assert!(text.contains("\nnote      images to test with are not touched (1)\n"), "{text}");
    let run = run_file(&folder, "o");
    assert_eq!((&run["channels"], &run["classes"]), (&3.into(), &2.into()));
    assert_eq!(
        (&run["training_images"], &run["validation_images"]),
        (&serde_json::json!(["a", "b"]), &serde_json::json!(["c"]))
    );
    folder.printed(&tiny(&["--data", "data", "--grey", "--out", "o"]));
    assert_eq!(run_file(&folder, "o")["channels"], 1);
}

/// A PNG of two pixels of four bits each.
const FOUR_BITS: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x00, 0x02,
    0x00, 0x00, 0x00, 0x01, 0x04, 0x00, 0x00, 0x00, 0x00, 0x14, 0xb9, 0xcd, 0x57, 0x00, 0x00, 0x00, 0x0a, 0x49, 0x44, 0x41,
    0x54, 0x78, 0x9c, 0x63, 0x60, 0x04, 0x00, 0x00, 0x03, 0x00, 0x02, 0x4b, 0xf5, 0xdd, 0xea, 0x00, 0x00, 0x00, 0x00, 0x49,
    0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];

#[test]
fn refuses_options() {
    let folder = Folder::new();
    folder.bytes("file", b"kept");
    folder.refuses(&["train", "--out", "file"], "file: not a directory");
    folder.refuses(&["train", "--loss", "ce + dise"], "at column 6 of `ce + dise`: unknown loss `dise`; did you mean `dice`?");
    folder.refuses(&["train", "--lr", "0"], "--lr 0: must be above 0 and at most 1");
    folder.refuses(&["train", "--patch", "18"], "--patch 18: must be a multiple of 4 from 16 to 1024");
    folder.refuses(&["train", "--width", "6"], "--width 6: must be a multiple of 4");
    folder.refuses(&["train", "--epochs", "0"], "invalid value '0' for '--epochs <N>': 0 is not in 1..=100000");
    let line = "the argument '--data <FOLDER>' cannot be used with '--images <N>'";
    folder.refuses(&["train", "--data", "d", "--images", "4"], line);
    assert_eq!(folder.text("file"), "kept");
}

#[test]
fn a_loss_that_diverges_is_reported_and_saved() {
    let folder = Folder::new();
    let output = folder.run(&tiny(&["--images", "4", "--loss", "1e300 * ce", "--out", "o"]));
    let line = utf8(output.stderr);
    assert_eq!(line, "error: the loss became inf in epoch 1, step 1; what there was is saved in o; try a smaller --lr\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(folder.path("o/model.safetensors").exists());
    assert_eq!(checkpoints(&folder, "o"), [""; 0]);
}

/// A run that would take hours, its output up to the line of its first epoch.
#[cfg(unix)]
fn long_run(folder: &Folder) -> (std::process::Child, std::io::BufReader<std::process::ChildStdout>) {
    use std::io::BufRead;
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_segloss"))
        .args(["train", "--epochs", "90000", "--steps", "2", "--batch", "2", "--patch", "16", "--width", "4"])
        .args(["--images", "4", "--out", "o"])
        .current_dir(folder.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.trim_start().starts_with("1/90000 ") {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "ended before its first epoch");
    }
    (child, out)
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_what_there_is() {
    use std::io::Read;
    let folder = Folder::new();
    let (child, mut out) = long_run(&folder);
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));

    let epochs = column(&folder.text("o/metrics.csv"), "epoch");
    let plural = if epochs.len() == 1 { "" } else { "s" };
    let last = format!("stopped after {} complete epoch{plural}; what there was is saved in o\n", epochs.len());
    let error = utf8(output.stderr);
    assert!(error.ends_with(&last), "{error}");
    assert_eq!(run_file(&folder, "o")["epochs_done"], epochs.len());
    assert!(
        text.contains(
            "\nsaved in o: metrics.csv, metrics.png, model.safetensors, best.safetensors, images.csv, pictures.png, run.json\n"
        ),
        "{text}"
    );
    assert_eq!(results(&folder, "o"), RESULTS);
}

#[cfg(unix)]
#[test]
fn a_reader_who_leaves_ends_the_run() {
    let folder = Folder::new();
    let (child, out) = long_run(&folder);
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), utf8(output.stderr)), (Some(0), String::new()));
    assert_eq!(results(&folder, "o"), RESULTS);
}
