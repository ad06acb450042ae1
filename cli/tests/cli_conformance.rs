//! `segloss conformance`, end to end: the table, the page, JSON, and what is refused.

mod support;

use serde_json::Value;

use support::{Folder, utf8};

const NARROW: &[&str] = &["conformance", "--loss", "LogDice", "--backend", "ndarray", "--quick"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [NARROW, more].concat()
}

/// Whether a name begins each of these lists of fields.
fn fields(json: &Value, pointer: &str, names: &[&str]) {
    let object = json.pointer(pointer).unwrap_or_else(|| panic!("{pointer}")).as_object().unwrap();
    for name in names {
        assert!(object.contains_key(*name), "{name} in {pointer}");
    }
}

#[test]
fn a_table() {
    let text = Folder::new().printed(&["conformance", "--loss", "dice", "--backend", "ndarray", "--quick"]);
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["backend", "worst", "number", "error", "tests", "run", "of", "failed"]);
    let [backend, .., error, ran, declared, failed] = lines[1].as_slice() else { panic!("{text}") };
    assert_eq!((*backend, *failed), ("ndarray", "0"));
    let [ran, declared] = [ran, declared].map(|count| count.parse::<usize>().unwrap());
    assert!(100 < ran && ran < declared, "{text}");
    assert!(error.parse::<f64>().unwrap() <= 1.0, "{text}");
    assert!(text.contains(&format!("\n  1 backend in {ran} tests agree with the oracle\n")), "{text}");
    // No pair of one.
    assert!(!text.contains("apart"), "{text}");
}

#[test]
fn a_page_that_loads_nothing() {
    let folder = Folder::new();
    let text =
        folder.printed(&["conformance", "--loss", "LogDice", "--backend", "all", "--dtype", "f32", "--report", "out.html"]);
    assert!(text.ends_with("\npage written to out.html\n"), "{text}");
    assert!(text.contains("\n  ndarray and burn-fused "), "{text}");
    assert_eq!(folder.files(), ["out.html"]);
    let page = folder.text("out.html");
    for outside in ["http:", "https:", "<script", "<img", "<iframe", "@import", "url(", "src="] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(page.matches("href=").count(), page.matches("href=\"data:,\"").count());
    for inside in
        ["<!DOCTYPE html>", "<th scope=\"row\"><code>LogDice</code></th>", "class=\"verdict good\"", "burn-operations"]
    {
        assert!(page.contains(inside), "{inside}");
    }
    let paths = if cfg!(feature = "tch") { 5 } else { 3 };
    assert_eq!(page.matches("title=\"LogDice on ").count(), paths);
}

#[test]
fn json_has_what_the_page_has() {
    let json = Folder::new().json(&with(&["--dtype", "f64", "--dtype", "f16", "--json"]));
    fields(&json, "", &["origin", "selection", "backends", "cells", "pairs", "standing", "failures", "known"]);
    fields(&json, "/origin", &["segloss", "rustc", "os", "architecture", "processors", "date", "seconds"]);
    fields(&json, "/backends/0", &["backend", "versions", "declared", "ran", "failed", "worst", "dtypes"]);
    fields(&json, "/cells/0", &["loss", "backend", "dtype", "cases", "failed", "worst"]);
    fields(&json, "/cells/0/worst", &["loss", "situation", "dtype", "what", "at", "got", "want", "error", "times"]);
    fields(&json, "/standing/0", &["backend", "dtype", "numbers", "cases", "passing"]);
    // Three losses of the suite are named so, each in two types.
    assert_eq!(json["cells"].as_array().unwrap().len(), 6);
    assert_eq!(json["standing"].as_array().unwrap().len(), 6);
    assert_eq!(json["failures"].as_array().unwrap().len(), 0);
    assert_eq!(json["selection"]["dtypes"], serde_json::json!(["f64", "f16"]));
    assert_eq!(json["origin"]["segloss"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn refusals() {
    let folder = Folder::new();
    folder.refuses(
        &["conformance", "--backend", "torch"],
        "invalid value 'torch' for '--backend <BACKEND>' [possible values: ndarray, burn, tch, all]",
    );
    folder.refuses(
        &["conformance", "--dtype", "f8"],
        "invalid value 'f8' for '--dtype <DTYPE>' [possible values: f64, f32, f16, bf16]",
    );
    folder.refuses(&["conformance", "--loss", "hinge"], "--loss hinge: no loss of the suite contains it");
    folder.refuses(&with(&["--report", "no/out.html"]), "no/out.html: no such file or directory");
    folder.refuses(&with(&["--report", "."]), ".: is a directory");
}

/// Linux has a file that is always full.
#[cfg(target_os = "linux")]
#[test]
fn a_page_that_cannot_be_written_is_reported() {
    let output = Folder::new().run(&with(&["--dtype", "f64", "--report", "/dev/full"]));
    assert_eq!(utf8(output.stderr), "error: /dev/full: no space left on device\n");
    assert_eq!(output.status.code(), Some(2));
}
