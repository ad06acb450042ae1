//! `segloss predict`, end to end, with networks that were trained for seconds.

mod support;

use ndarray::{Array3, Array4, Axis};
use segloss_data::Limits;
use segloss_data::formats::{Place, labels_as_nifti, read};
use support::{Folder, square, trained, utf8};

fn pixels(folder: &Folder, name: &str) -> (u32, u32, Vec<u8>) {
    let image = image::open(folder.path(name)).unwrap().into_luma8();
    (image.width(), image.height(), image.into_raw())
}

#[test]
fn a_folder_without_masks_and_the_same_with_them() {
    let folder = trained();
    std::fs::create_dir(folder.path("new")).unwrap();
    for name in ["a", "d"] {
        std::fs::copy(folder.path(&format!("data/{name}_image.png")), folder.path(&format!("new/{name}.png"))).unwrap();
    }
    let text = folder.printed(&["predict", "--model", "run", "--data", "new", "--out", "o", "--probabilities"]);
    assert!(
        text.starts_with("model     run: ce + dice + l1 with ignore=255, after epoch 4 of 4\nclasses   2: 0, 1\nimages    2\n"),
        "{text}"
    );
    assert!(text.ends_with("\nwrote 4 files in o, such as o/a.png\n") && !text.contains("Dice"), "{text}");
    assert_eq!(folder.files().iter().filter(|name| name.starts_with("o/")).count(), 4);

    // The picture is the greatest of the probabilities, which add up to 1.
    let (width, height, labels) = pixels(&folder, "o/d.png");
    assert_eq!((width, height), (28, 32));
    let p: Array3<f32> = ndarray_npy::read_npy(folder.path("o/d.npy")).unwrap();
    assert_eq!(p.shape(), [2, 32, 28]);
    assert!(p.sum_axis(Axis(0)).iter().all(|sum| (sum - 1.0).abs() < 1e-5));
    let greatest: Vec<u8> = (0..32 * 28).map(|i| u8::from(p[[1, i / 28, i % 28]] > p[[0, i / 28, i % 28]])).collect();
    assert_eq!(labels, greatest);

    // With masks beside them: the same pictures, and the Dice that the training ended with.
    let text = folder.printed(&["predict", "--model", "run", "--data", "data", "--out", "all"]);
    assert!(text.contains("\nCompared with the masks of 4 images, all pixels together\n  class  true area"), "{text}");
    assert_eq!(pixels(&folder, "all/d_image.png"), pixels(&folder, "o/d.png"));
    let one = folder.printed(&["predict", "--model", "run", "--data", "data/d_image.png", "--out", "one"]);
    assert!(!one.contains("Compared"), "{one}");
    let run: serde_json::Value = serde_json::from_str(&folder.text("run/run.json")).unwrap();
    assert_eq!((&run["validation_images"], &run["scale"]), (&serde_json::json!(["d"]), &"standard".into()));
    folder.bytes("val/masks/d.png", &std::fs::read(folder.path("data/d_mask.png")).unwrap());
    folder.bytes("val/images/d.png", &std::fs::read(folder.path("data/d_image.png")).unwrap());
    let text = folder.printed(&["predict", "--model", "run", "--data", "val", "--out", "v"]);
    let dice = format!("\nforeground Dice {:.4}\n  by image", run["foreground_dice"].as_f64().unwrap());
    assert!(text.contains(&dice), "{dice} {text}");
    let text = folder.printed(&["predict", "--model", "run", "--data", "val", "--out", "v", "--no-dice"]);
    assert!(!text.contains("Dice"), "{text}");
}

#[test]
fn colours_are_a_palette_and_the_best_epoch_an_option() {
    let folder = trained();
    let text = folder.printed(&["predict", "--model", "run", "--data", "data/a_image.png", "--out", "o", "--colour", "--best"]);
    let run: serde_json::Value = serde_json::from_str(&folder.text("run/run.json")).unwrap();
    assert!(text.contains(&format!("after epoch {} of 4", run["best_epoch"])), "{text}");
    assert!(run["best_foreground_dice"].as_f64() >= run["foreground_dice"].as_f64());
    // 25 is the colour type, 3 an indexed one.
    assert_eq!(std::fs::read(folder.path("o/a_image.png")).unwrap()[25], 3);
}

#[test]
fn colour_of_the_training_and_channels_that_differ() {
    let folder = Folder::new();
    for (i, name) in ["a", "b", "c", "d"].iter().enumerate() {
        square(&folder, &format!("data/{name}"), 2 + 3 * i as u32);
        let grey = image::open(folder.path(&format!("data/{name}_image.png"))).unwrap();
        grey.into_rgb8().save(folder.path(&format!("data/{name}_image.png"))).unwrap();
    }
    let args = ["train", "--data", "data", "--epochs", "1", "--steps", "1", "--batch", "1", "--patch", "16", "--width", "4"];
    folder.printed(&[&args[..], &["--out", "colour"]].concat());
    folder.printed(&[&args[..], &["--grey", "--out", "grey"]].concat());
    folder.picture("grey.png", [20, 24], |y, x| (x + y) as u8);
    // What training did, prediction does: grey among colours is read as colour, and --grey is kept.
    folder.printed(&["predict", "--model", "colour", "--data", "grey.png", "--out", "o"]);
    folder.printed(&["predict", "--model", "grey", "--data", "data/a_image.png", "grey.png", "--out", "o"]);
    folder.array("two.npy", &Array3::<u8>::zeros([2, 20, 24]));
    folder.array("volume.npy", &Array4::<f32>::zeros([3, 4, 8, 8]));
    let refuse = |file: &str, line: &str| {
        folder.refuses(&["predict", "--model", "colour", "--data", file, "--out", "new"], line);
    };
    refuse(
        "two.npy",
        "two.npy: is a volume of 24x20x2, but the model was trained on pictures; take a model that was trained on volumes",
    );
    refuse("volume.npy", "volume.npy: is an array of 8x8x4x3; predict takes pictures and volumes");

    square(&folder, "plain/a", 2);
    square(&folder, "plain/b", 5);
    folder.printed(&[
        "train",
        "--data",
        "plain",
        "--epochs",
        "1",
        "--steps",
        "1",
        "--batch",
        "1",
        "--patch",
        "16",
        "--width",
        "4",
        "--out",
        "plain-run",
    ]);
    folder.refuses(
        &["predict", "--model", "plain-run", "--data", "data/a_image.png", "--out", "new"],
        "data/a_image.png: has 3 channels, but the model takes 1; --grey makes colours grey",
    );
    folder.printed(&["predict", "--model", "plain-run", "--data", "data/a_image.png", "--grey", "--out", "new"]);
}

#[test]
fn refuses_what_is_no_model_and_files_in_each_other_s_way() {
    let folder = trained();
    folder.refuses(
        &["predict", "--model", "data", "--data", "data", "--out", "o"],
        "data: holds no model; --model takes a folder that segloss train filled (run.json and model.safetensors)",
    );
    folder.bytes("no/data.txt", b"");
    folder.refuses(
        &["predict", "--model", "run", "--data", "no", "--out", "o"],
        "no: has no images; PNG, JPEG, TIFF, NIfTI, .npy and .npz are read",
    );
    for place in ["x", "y"] {
        folder.picture(&format!("{place}/a.png"), [20, 20], |_, x| x as u8);
    }
    folder.refuses(
        &["predict", "--model", "run", "--data", "x", "y", "--out", "o"],
        "y/a.png: would be written to the same file as x/a.png; predict them one after the other, each with an --out of its own",
    );
    folder.picture("data/a_mask.png", [32, 28], |_, x| (x % 3) as u8);
    folder.refuses(
        &["predict", "--model", "run", "--data", "data", "--out", "o"],
        "data: masks have 3 classes, but the model knows 2 (0, 1); say with --labels what values mean, or leave the masks alone \
         with --no-dice",
    );
    let bytes = std::fs::read(folder.path("run/model.safetensors")).unwrap();
    folder.bytes("run/model.safetensors", &bytes[..100]);
    folder.refuses(
        &["predict", "--model", "run", "--data", "x", "--out", "o"],
        "run/model.safetensors: not a readable safetensors file; is it cut short?",
    );
    std::fs::remove_file(folder.path("run/model.safetensors")).unwrap();
    folder.refuses(
        &["predict", "--model", "run", "--data", "x", "--out", "o"],
        "run/model.safetensors: no such file or directory",
    );
    let output = folder.run(&["predict", "--model", "run", "--data", "x", "--out", "o", "--device", "cuda"]);
    let error = utf8(output.stderr);
    let way_out = "error: --device cuda: this segloss was built without it; cargo install segloss-cli --features cuda makes one with it\n";
    assert_eq!(error, way_out);
}

#[test]
fn volumes_on_their_own_grid() {
    let folder = Folder::new();
    for (i, (name, thick)) in [("a", 2.0), ("b", 2.0), ("c", 1.0), ("d", 1.0)].into_iter().enumerate() {
        let size = [(16.0 / thick) as usize, 20, 18 + i];
        let inside =
            |d: usize, h: usize, w: usize| (4..12).contains(&((d as f64 * thick) as usize)) && h > 8 && (3..12).contains(&w);
        for (kind, values) in [("images", [20, 200]), ("labels", [0, 1])] {
            let array =
                Array4::from_shape_fn([1, size[0], size[1], size[2]], |(_, d, h, w)| values[usize::from(inside(d, h, w))]);
            let bytes = labels_as_nifti(array.view(), Place::Spaced([thick, 1.0, 1.5])).unwrap();
            folder.bytes(&format!("data/{kind}/{name}.nii.gz"), &bytes);
        }
    }
    let args = ["train", "--data", "data", "--epochs", "1", "--steps", "4", "--batch", "2", "--patch", "16", "--width", "4"];
    folder.printed(&[&args[..], &["--out", "run"]].concat());
    let text = folder.printed(&["predict", "--model", "run", "--data", "data/images", "--out", "o", "--probabilities"]);
    assert!(text.ends_with("\nwrote 8 files in o, such as o/a.nii.gz\n"), "{text}");
    // What the training wrote of the image that it validated with, to the byte.
    let bytes = |name: &str| std::fs::read(folder.path(name)).unwrap();
    assert_eq!(bytes("o/d.nii.gz"), bytes("run/predictions/d.nii.gz"));
    let found = read(&folder.path("o/a.nii.gz"), &Limits::default()).unwrap();
    assert_eq!((&found.header.size[..], found.header.spacing.as_deref()), (&[8, 20, 18][..], Some(&[2.0, 1.0, 1.5][..])));
    let p: Array4<f32> = ndarray_npy::read_npy(folder.path("o/a.npy")).unwrap();
    assert_eq!(p.shape(), [2, 8, 20, 18]);
    let text = folder.printed(&["predict", "--model", "run", "--data", "data", "--out", "all"]);
    assert!(text.contains("\nCompared with the masks of 4 images, all pixels together\n"), "{text}");
    folder.picture("flat.png", [20, 18], |_, x| x as u8);
    folder.refuses(
        &["predict", "--model", "run", "--data", "flat.png", "--out", "new"],
        "flat.png: is a picture of 18x20, but the model was trained on volumes; take a model that was trained on pictures",
    );
}
