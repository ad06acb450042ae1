//! `segloss losses` and the help: nothing is left out, and a reader may leave.

mod support;

use segloss::{Loss, PRESETS, catalogue};

use support::{Folder, utf8};

#[test]
fn json_is_the_catalogue() {
    let json = Folder::new().json(&["losses", "--json"]);
    assert_eq!(json["terms"], serde_json::to_value(catalogue()).unwrap());
    let presets = json["presets"].as_array().unwrap();
    assert_eq!(presets.len(), PRESETS.len());
    for (preset, (name, spec)) in presets.iter().zip(PRESETS) {
        assert_eq!((&preset["name"], &preset["spec"]), (&name.into(), &spec.into()));
        let loss: Loss = spec.parse().unwrap();
        let roles: Vec<String> = loss.terms().map(|(_, term)| term.role().to_string()).collect();
        assert_eq!(preset["role"], roles.join(" + "));
        for (_, term) in loss.terms() {
            let doc = catalogue().into_iter().find(|doc| doc.name == term.name()).unwrap();
            assert!(preset["formula"].as_str().unwrap().contains(doc.formula), "{preset}");
        }
    }
}

#[test]
fn text_names_everything() {
    let text = Folder::new().printed(&["losses"]);
    let headings = ["MATCHING TERMS", "SIZE PENALTIES", "OVERLAP TERMS", "TERMS WITHOUT A SPLIT", "PRESETS"];
    let places = headings.map(|heading| text.find(heading).unwrap());
    assert!(places.is_sorted());
    for term in catalogue() {
        let section = match term.role {
            segloss::Role::Matching => &text[places[0]..places[1]],
            segloss::Role::Size => &text[places[1]..places[2]],
            segloss::Role::Overlap => &text[places[2]..places[3]],
            segloss::Role::Unsplit => &text[places[3]..places[4]],
        };
        let (_, about) = section.split_once(&format!("\n  {}  {}\n    {}\n", term.name, term.summary, term.formula)).unwrap();
        let about = about.split("\n\n").next().unwrap();
        assert_eq!(about.lines().count(), term.options.len(), "{about}");
        for (line, option) in about.lines().zip(term.options) {
            assert!(line.starts_with(&format!("    {} = {} ", option.name, option.default)), "{line}");
            assert!(line.ends_with(&format!(" {}: {}", option.doc, option.expected)), "{line}");
        }
    }
    let lines: Vec<Vec<&str>> = text[places[4]..].lines().map(|line| line.split("  ").map(str::trim).collect()).collect();
    for (name, spec) in PRESETS {
        let words = |line: &&Vec<&str>| line.iter().copied().filter(|w| !w.is_empty()).take(2).eq([name, spec]);
        assert_eq!(lines.iter().filter(words).count(), 1, "{name}");
    }
}

#[test]
fn help_of_every_command() {
    let folder = Folder::new();
    for (command, options) in [
        (
            "eval",
            &[
                "--loss",
                "--logits",
                "--target",
                "--spacing",
                "--map",
                "--backend",
                "--activation",
                "--ignore-index",
                "--dtype",
                "--grad",
                "--json",
            ][..],
        ),
        (
            "bias",
            &[
                "--loss",
                "--logits",
                "--target",
                "--spacing",
                "--activation",
                "--ignore-index",
                "--class",
                "--picture",
                "--json",
            ],
        ),
        ("landscape", &["--loss", "--true", "--distance", "--sharpness", "--classes", "--picture", "--json"]),
        ("losses", &["--json"]),
        ("train", &["--loss", "--data", "--epochs", "--seed", "--out"]),
        ("conformance", &["--backend", "--dtype", "--loss", "--quick", "--report", "--json"]),
    ] {
        assert!(folder.printed(&["--help"]).contains(&format!("\n  {command} ")));
        let help = folder.printed(&[command, "--help"]);
        assert!(help.contains("\nExamples:\n"), "{help}");
        for option in options {
            assert!(help.contains(&format!("      {option}")), "{option} in {help}");
        }
    }
}

#[test]
fn mistakes_on_the_command_line_take_one_line() {
    let folder = Folder::new();
    folder.refuses(&["loses"], "unrecognized subcommand 'loses'; tip: a similar subcommand exists: 'losses'");
    folder.refuses(&["losses", "--jso"], "unexpected argument '--jso' found; tip: a similar argument exists: '--json'");
}

/// Linux has a file that is always full.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_segloss")).arg("losses").stdout(full).output().unwrap();
    assert_eq!(utf8(output.stderr), "error: standard output: no space left on device\n");
    assert_eq!(output.status.code(), Some(2));
}
