//! `segloss train --resume`: runs that are stopped or killed end in the numbers of those that are
//! not.

mod support;

use std::time::Instant;

use support::{Folder, utf8};

/// A run of four epochs that is too short to learn anything, with a loss whose weights change from
/// epoch to epoch.
const TINY: [&str; 17] = [
    "train",
    "--steps",
    "3",
    "--batch",
    "2",
    "--patch",
    "16",
    "--width",
    "4",
    "--images",
    "4",
    "--augment",
    "flips,turns,intensity,scale",
    "--rare",
    "0.5",
    "--loss",
    "ce + dice + grow(1, factor=5, every=1) * l1",
];

fn tiny<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&TINY, more].concat()
}

/// What must be the same: the numbers of every epoch, and the weights.
fn results(folder: &Folder, out: &str) -> (String, Vec<u8>, Vec<u8>) {
    let bytes = |name: &str| tensors(&std::fs::read(folder.path(&format!("{out}/{name}"))).unwrap());
    (folder.text(&format!("{out}/metrics.csv")), bytes("model.safetensors"), bytes("best.safetensors"))
}

/// The numbers of a safetensors file; its words have no fixed order.
fn tensors(bytes: &[u8]) -> Vec<u8> {
    let (length, rest) = bytes.split_first_chunk().unwrap();
    rest[u64::from_le_bytes(*length) as usize..].to_vec()
}

/// Epochs that are kept.
fn kept(folder: &Folder, out: &str) -> Vec<String> {
    let prefix = format!("{out}/checkpoints/");
    folder.files().iter().filter_map(|name| name.strip_prefix(&prefix)).map(String::from).collect()
}

#[cfg(unix)]
#[test]
fn killed_between_epochs_a_run_ends_in_the_same_numbers() {
    let folder = Folder::new();
    folder.printed(&tiny(&["--epochs", "4", "--out", "whole"]));
    let args = tiny(&["--epochs", "4", "--out", "o"]);
    let second = folder.path("o/checkpoints/epoch-000002.ckpt");
    folder.killed(&args, || second.exists());
    assert!(!folder.path("o/metrics.csv").exists());

    let line = "o: holds a run that stopped after epoch ";
    let refused = folder.run(&args);
    let error = utf8(refused.stderr);
    assert!(error.starts_with(&format!("error: {line}")), "{error}");
    let way_out =
        " of 4; go on with the same command and --resume, give another --out, or remove o/checkpoints to start over\n";
    assert!(error.ends_with(way_out), "{error}");
    assert_eq!(refused.status.code(), Some(2));

    let text = folder.printed(&[&args[..], &["--resume"]].concat());
    assert!(text.contains("\nnote      going on after epoch "), "{text}");
    assert_eq!(results(&folder, "o"), results(&folder, "whole"));
    assert_eq!(kept(&folder, "o"), ["epoch-000003.ckpt", "epoch-000004.ckpt"]);
}

#[cfg(unix)]
#[test]
fn killed_at_any_moment_a_run_ends_in_the_same_numbers() {
    let folder = Folder::new();
    folder.printed(&tiny(&["--epochs", "6", "--out", "whole"]));
    let args = tiny(&["--epochs", "6", "--out", "o", "--resume"]);
    // Moments spread by a fixed rule over the length of a run, in the middle of steps and of
    // writes.
    let started = Instant::now();
    folder.printed(&tiny(&["--epochs", "6", "--out", "timed"]));
    let length = started.elapsed();
    for i in 0..8u32 {
        let moment = Instant::now() + length * (37 * i % 100) / 160;
        let before = kept(&folder, "o");
        folder.killed(&args, || Instant::now() >= moment);
        let after: Vec<String> = kept(&folder, "o").into_iter().filter(|name| !name.starts_with(".segloss-")).collect();
        assert!(after.last() >= before.iter().rfind(|name| !name.starts_with(".segloss-")), "{before:?} {after:?}");
    }
    folder.printed(&args);
    assert_eq!(results(&folder, "o"), results(&folder, "whole"));
    assert_eq!(kept(&folder, "o"), ["epoch-000005.ckpt", "epoch-000006.ckpt"]);
}

#[test]
fn a_damaged_checkpoint_is_told_and_the_one_before_taken() {
    let folder = Folder::new();
    let args = tiny(&["--epochs", "3", "--out", "o"]);
    folder.printed(&args);
    let whole = results(&folder, "o");
    let last = folder.path("o/checkpoints/epoch-000003.ckpt");
    let mut bytes = std::fs::read(&last).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&last, &bytes).unwrap();
    let text = folder.printed(&[&args[..], &["--resume"]].concat());
    let told = "\nnote      o/checkpoints/epoch-000003.ckpt is cut short or damaged: its checksum does not fit\n\
                note      going on after epoch 2 of 3\n";
    assert!(text.contains(told), "{text}");
    assert_eq!(results(&folder, "o"), whole);

    for name in ["epoch-000002.ckpt", "epoch-000003.ckpt"] {
        folder.bytes(&format!("o/checkpoints/{name}"), b"");
    }
    folder.refuses(
        &[&args[..], &["--resume"]].concat(),
        "o/checkpoints: no checkpoint can be read (o/checkpoints/epoch-000003.ckpt is no checkpoint of segloss; \
         o/checkpoints/epoch-000002.ckpt is no checkpoint of segloss); remove the folder to start over",
    );
}

#[test]
fn another_setting_is_refused_by_its_name() {
    let folder = Folder::new();
    folder.printed(&tiny(&["--epochs", "2", "--out", "o"]));
    let refuse = |more: &[&str], line: &str| {
        folder.refuses(
            &tiny(&[&["--epochs", "2", "--out", "o", "--resume"], more].concat()),
            &format!("--resume: {line}, or another --out"),
        );
    };
    let replaced = |option: &str, value: &'static str| -> Vec<&str> {
        let at = TINY.iter().position(|arg| *arg == option).unwrap();
        let mut args = TINY.to_vec();
        args[at + 1] = value;
        [&args[..], &["--epochs", "2", "--out", "o", "--resume"]].concat()
    };
    for (option, value, line) in [
        (
            "--loss",
            "ce",
            "--loss is ce with ignore=255, but the run was started with ce + dice + grow(1, factor=5, every=1, cap=100) * l1 \
                          with ignore=255; give the same, or another --out",
        ),
        ("--width", "8", "--width is 8, but the run was started with 4; give the same, or another --out"),
        ("--batch", "3", "--batch is 3, but the run was started with 2; give the same, or another --out"),
        ("--patch", "32", "--patch is 1,32,32, but the run was started with 1,16,16; give the same, or another --out"),
        (
            "--images",
            "5",
            "the images or labels, or how they are read, are not those the run was started with; give the same, or another --out",
        ),
    ] {
        folder.refuses(&replaced(option, value), &format!("--resume: {line}"));
    }
    // The seed makes the images too.
    refuse(
        &["--seed", "1"],
        "the images or labels, or how they are read, are not those the run was started with; give the same",
    );
    refuse(&["--lr", "0.001"], "--lr is 0.001, but the run was started with 0.005; give the same");
    folder.refuses(
        &tiny(&["--epochs", "1", "--out", "o", "--resume"]),
        "--epochs 1: the run was started with 2; --resume may add epochs, not take them away",
    );
}

#[test]
fn a_finished_run_goes_on_for_more_epochs_and_is_replaced_without_resume() {
    let folder = Folder::new();
    let text = folder.printed(&tiny(&["--epochs", "2", "--out", "o", "--resume"]));
    assert!(text.contains("\nnote      no checkpoint in o/checkpoints; the run begins\n"), "{text}");
    let first = results(&folder, "o");
    // Nothing is left to do but to write the results.
    folder.printed(&tiny(&["--epochs", "2", "--out", "o", "--resume"]));
    assert_eq!(results(&folder, "o"), first);
    let text = folder.printed(&tiny(&["--epochs", "3", "--out", "o", "--resume"]));
    let told = "\nnote      3 epochs instead of 2: from here on the learning rate is that of the longer run; the epochs before had \
                that of the shorter\n";
    assert!(text.contains(told), "{text}");
    let longer = results(&folder, "o");
    assert!(longer.0.starts_with(&first.0) && longer.0.lines().count() == 4);
    folder.printed(&tiny(&["--epochs", "1", "--out", "o"]));
    assert_eq!(kept(&folder, "o"), ["epoch-000001.ckpt"]);
}

#[test]
fn a_run_that_diverged_is_not_gone_on_with() {
    let folder = Folder::new();
    let loss = "ce + grow(1, factor=1e300, every=1, cap=1e300) * l1";
    let args = ["train", "--steps", "1", "--batch", "1", "--patch", "16", "--width", "4", "--images", "4", "--epochs", "4"];
    let args = [&args[..], &["--loss", loss, "--out", "o"]].concat();
    let output = folder.run(&args);
    assert_eq!(output.status.code(), Some(1), "{}", utf8(output.stderr));
    assert_eq!(kept(&folder, "o"), [""; 0]);
    assert_eq!(folder.run(&args).status.code(), Some(1));
}
