//! `segloss data`, end to end.

mod support;

use support::{Folder, number, utf8};

/// Four images with masks of 0 and 255 in two parts, a mask without an image, and a hidden file.
fn folder() -> Folder {
    let folder = Folder::new();
    for (part, name, edge) in [("train", "a", 2), ("train", "b", 5), ("train", "c", 10), ("val", "d", 0)] {
        folder.picture(&format!("data/{part}/images/{name}.png"), [10, 20], |y, x| (20 * y + x + edge) as u8);
        folder.picture(&format!("data/{part}/masks/{name}.png"), [10, 20], |_, x| if x < edge { 255 } else { 0 });
    }
    folder.picture("data/train/masks/e.png", [10, 20], |_, _| 0);
    folder.bytes("data/.hidden", b"");
    folder
}

#[test]
fn says_what_a_folder_holds() {
    let text = folder().printed(&["data", "data"]);
    assert_eq!(
        text,
        "folder    data: 4 images with masks, one file for each image
splits    train 3, validation 1
sizes     20x10 (4)
images    PNG uint8 grey (4)
masks     PNG uint8 grey (4)
channels  1: 0 to 209, mean 104
values    0, 255 is 1

  class  sizes        share  images   least  median  greatest
  0      ·········█  78.8 %  4 of 4  50.0 %  82.5 %   100.0 %
  1      ········█▄  21.2 %  3 of 4  10.0 %  25.0 %    50.0 %
  sizes: each bar is the number of images in half a power of ten, from 0.001 % to 100 %

prior     l1(target=[0.7875, 0.2125])

notes
  hidden files are skipped (.hidden)
  masks without an image are left out (train/masks/e.png)
  masks hold 0 and 255 alone: 255 is read as class 1

look at
  class 1 does not occur in validation
  1 of 4 masks hold class 0 alone
"
    );
}

#[test]
fn json_and_the_page_have_the_same_numbers() {
    let folder = folder();
    let json = folder.json(&["data", "data", "--json", "--report", "page.html"]);
    assert_eq!(number(&json, "/classes/1/share"), 0.2125);
    assert_eq!(number(&json, "/files/0/shares/1"), 0.1);
    assert_eq!(json["prior"], "l1(target=[0.7875, 0.2125])");
    let page = folder.text("page.html");
    assert!(page.contains("l1(target=[0.7875, 0.2125])") && page.contains("<svg") && page.contains("data:image/png;base64,"));
    assert!(!page.contains("<script") && !page.contains("http"));
    let loss = format!("ce + {}", json["prior"].as_str().unwrap());
    folder.printed(&["train", "--loss", &loss, "--epochs", "1", "--steps", "1", "--images", "4", "--width", "4", "--out", "o"]);
}

#[test]
fn a_file_that_cannot_be_used_is_listed_and_ends_in_1() {
    let folder = folder();
    folder.bytes("data/train/images/b.png", b"\x89PNG\r\n\x1a\nnothing");
    let output = folder.run(&["data", "data"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(utf8(output.stderr), "error: data: 1 of its files cannot be used, as listed\n");
    let text = utf8(output.stdout);
    assert!(text.contains("\ncannot be used\n  data/train/images/b.png: not a readable PNG: "), "{text}");
}

#[test]
fn refuses_options() {
    let folder = folder();
    folder.refuses(&["data", "none"], "none: no such file or directory");
    folder.refuses(
        &["data", "data", "--labels", "0"],
        "--labels 0: expected VALUE=NAME,VALUE=NAME, such as 0=background,255=lesion",
    );
    folder.refuses(
        &["data", "data", "--scale", "zscore"],
        "--scale zscore: expected standard, range, none or window:LOW:HIGH with LOW < HIGH",
    );
    folder.refuses(&["data", "data", "--soft=0"], "--soft 0: must be a finite number, and above 0 for --soft");
    folder.refuses(
        &["data", "data", "--masks-in", "x"],
        "--masks-in x: no file of data lies in such a folder or has such an ending",
    );
}
