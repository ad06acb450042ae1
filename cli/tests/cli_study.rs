//! `segloss study`: the same numbers however it was stopped, and only what is missing when it
//! grows.

mod support;

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::Folder;

/// Runs too short to learn anything.
const PLAN: &str = r#"
losses = ["ce", "dice"]
seeds = 2
rates = [0.003, 0.01]

[[condition]]
name = "small"
lesions = "4"
images = 6
test = 3
batch = 2
steps = 2
epochs = 2
patch = 16
width = 4
"#;

fn study(folder: &Folder, out: &str, more: &[&str]) -> String {
    folder.printed(&[&["study", "plan.toml", "--out", out], more].concat())
}

/// All runs below a folder, without the time they took.
fn runs(folder: &Folder, out: &str) -> Vec<(String, Value)> {
    let prefix = format!("{out}/runs/");
    let mut found = Vec::new();
    for name in folder.files() {
        if let Some(run) = name.strip_prefix(&prefix).filter(|name| name.ends_with(".json")) {
            let mut value: Value = serde_json::from_str(&folder.text(&name)).unwrap();
            value["seconds"] = Value::Null;
            found.push((run.to_owned(), value));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[cfg(unix)]
#[test]
fn killed_or_in_another_order_a_study_ends_in_the_same_numbers() {
    let folder = Folder::new();
    folder.bytes("plan.toml", PLAN.as_bytes());
    let printed = study(&folder, "whole", &[]);
    assert!(printed.contains("runs        0 of 8 are there"), "{printed}");
    let whole = runs(&folder, "whole");
    assert_eq!(whole.len(), 8);

    for after in [1, 3, 6] {
        folder.killed(&["study", "plan.toml", "--out", "killed"], || runs(&folder, "killed").len() >= after);
    }
    study(&folder, "killed", &["--jobs", "1"]);
    assert_eq!(runs(&folder, "killed"), whole);
    let csv = folder.text("whole/results.csv");
    assert_eq!(csv.lines().count(), 1 + 2 * 2 * 3);
    assert_eq!(folder.text("killed/results.csv"), csv);

    // The losses the other way round, one seed first and then the other.
    let turned = PLAN.replace(r#"["ce", "dice"]"#, r#"["dice", "ce"]"#);
    folder.bytes("plan.toml", turned.replace("seeds = 2", "seeds = 1").as_bytes());
    study(&folder, "turned", &["--jobs", "3"]);
    folder.bytes("plan.toml", turned.as_bytes());
    study(&folder, "turned", &[]);
    assert_eq!(runs(&folder, "turned"), whole);
}

/// As from a terminal, where the runs get it too.
#[cfg(unix)]
#[test]
fn ctrl_c_keeps_the_runs_that_ended() {
    use std::os::unix::process::CommandExt;
    let folder = Folder::new();
    folder.bytes("plan.toml", PLAN.replace("steps = 2", "steps = 200").as_bytes());
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_segloss"));
    command.args(["study", "plan.toml", "--out", "o", "--jobs", "2"]).current_dir(folder.path("")).process_group(0);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let limit = Instant::now() + Duration::from_secs(120);
    while runs(&folder, "o").is_empty() {
        assert!(Instant::now() < limit, "nothing happens");
        std::thread::sleep(Duration::from_millis(2));
    }
    let sent = std::process::Command::new("kill").args(["-INT", "--", &format!("-{}", child.id())]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{error}");
    let kept = runs(&folder, "o").len();
    assert!(kept < 8 && error.contains("\nstopping; runs under way are not kept; Ctrl-C again to leave at once\n"), "{error}");
    assert!(
        error.ends_with(&format!("error: stopped; {kept} of 8 runs are kept in o, and the same command goes on\n")),
        "{error}"
    );
}

#[test]
fn a_study_grows_and_is_not_mixed_up() {
    let folder = Folder::new();
    folder.bytes("plan.toml", PLAN.as_bytes());
    study(&folder, "o", &["--loss", "ce", "--rate", "0.01"]);
    let before = runs(&folder, "o");
    assert_eq!(
        before.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["small/ce/seed-1.json", "small/ce/seed-2.json"]
    );

    let printed = study(&folder, "o", &["--loss", "ce", "--loss", "ce + 0.5 * l1", "--rate", "0.01"]);
    assert!(printed.contains("runs        2 of 4 are there"), "{printed}");
    assert!(printed.contains("4/4 small, ce + 0.5 * l1, seed"), "{printed}");
    let after = runs(&folder, "o");
    assert!(before.iter().all(|run| after.contains(run)));
    assert_eq!(after.len(), 4);
    let analysis: Value = serde_json::from_str(&folder.text("o/analysis.json")).unwrap();
    assert_eq!(analysis["runs"], serde_json::json!([4, 4]));
    let condition = &analysis["conditions"][0];
    assert_eq!(condition["losses"].as_array().unwrap().len(), 2);
    assert_eq!(condition["comparisons"][0][0]["reference"], "ce");

    // A seed that one loss has not run yet is of no loss: it is neither failed nor paired.
    let seeds = |out: &str| -> Value {
        folder.printed(&[
            "study",
            "plan.toml",
            "--out",
            out,
            "--loss",
            "ce",
            "--loss",
            "ce + 0.5 * l1",
            "--rate",
            "0.01",
            "--report",
        ]);
        let analysis: Value = serde_json::from_str(&folder.text(&format!("{out}/analysis.json"))).unwrap();
        analysis["conditions"][0]["losses"].as_array().unwrap().iter().map(|loss| loss["runs"].clone()).collect()
    };
    assert_eq!(seeds("o"), serde_json::json!([2, 2]));
    let removed = after.iter().find(|(run, _)| run.starts_with("small/ce+0.5") && run.ends_with("seed-2.json")).unwrap();
    std::fs::remove_file(folder.path(&format!("o/runs/{}", removed.0))).unwrap();
    assert_eq!(seeds("o"), serde_json::json!([1, 1]));

    // Seeds are paired: both losses saw the same images.
    let data = |name: &str| after.iter().find(|(run, _)| run == name).unwrap().1["data"].clone();
    let other = after.iter().find(|(run, _)| run.starts_with("small/ce+0.5_l1-") && run.ends_with("seed-1.json")).unwrap();
    assert_eq!(data("small/ce/seed-1.json"), other.1["data"]);
    assert_ne!(data("small/ce/seed-1.json"), data("small/ce/seed-2.json"));

    folder.bytes("plan.toml", PLAN.replace("steps = 2", "steps = 3").as_bytes());
    folder.refuses(
        &["study", "plan.toml", "--out", "o", "--loss", "ce", "--rate", "0.01"],
        "o/runs/small/ce/seed-1.json: steps was 2 in this run, and now is 3; give the same, or the condition another name",
    );
}

#[test]
fn what_cannot_be_studied_is_said() {
    let folder = Folder::new();
    let says = |plan: &str, line: &str| {
        folder.bytes("plan.toml", plan.as_bytes());
        folder.refuses(&["study", "plan.toml", "--out", "o"], line);
    };
    says(
        &PLAN.replace("seeds", "sedes"),
        "plan.toml: TOML parse error at line 3, column 1 | 3 | sedes = 2 | ^^^^^ unknown field `sedes`, expected one of \
         `losses`, `reference`, `seeds`, `rates`, `margin`, `condition`",
    );
    says(&PLAN.replace("\"dice\"", "\"cross_entropy\""), "study: the loss \"cross_entropy\" is there twice");
    says(&PLAN.replace("width = 4", "width = 5"), "study: condition \"small\": --width 5: must be a multiple of 4");
    says(&PLAN.replace("width = 4", "lr = 4"), "study: condition \"small\": lr is decided by the study; take it out");
    says(
        &PLAN.replace("width = 4", "wdith = 4"),
        "study: condition \"small\": error: unexpected argument '--wdith' found; tip: a similar argument exists: '--width'",
    );
    says("", "study: there is nothing to train on; name a plan's file, --data FOLDER, --lesions PERCENT, or --quick");
    says(
        &PLAN.replace("seeds = 2", "seeds = 2\nreference = \"kl\""),
        "study: the reference \"kl\" is none of the losses (ce, dice)",
    );
}

#[test]
fn a_plan_is_told_with_its_time_and_nothing_is_run() {
    let folder = Folder::new();
    folder.bytes("plan.toml", PLAN.as_bytes());
    let printed = study(&folder, "o", &["--plan", "--jobs", "2"]);
    assert!(printed.contains("condition   small: --batch 2 --epochs 2 --images 6 --lesions 4"), "{printed}");
    assert!(printed.contains("in all ") && printed.contains("measured by 8 steps of each condition"), "{printed}");
    assert!(runs(&folder, "o").is_empty());
}
