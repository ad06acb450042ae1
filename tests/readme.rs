//! The README's program is `examples/first_steps.rs`, and prints what the README says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const README: &str = include_str!("../README.md");

#[test]
fn the_program_stands_in_the_readme() {
    let program = include_str!("../examples/first_steps.rs").trim_start_matches("//! The program of the README.").trim_start();
    assert!(README.contains(&format!("```rust\n{program}```")));
}

#[test]
fn the_readme_shows_what_it_prints() {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    path.push(format!("first_steps{}", std::env::consts::EXE_SUFFIX));
    let output =
        Command::new(&path).output().unwrap_or_else(|error| panic!("{}: {error}; it is built by `cargo test`", path.display()));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(README.contains(&format!("```text\n{printed}```")), "{printed}");
}

/// The lines of the first example in a text, without those that documentation hides.
fn example(text: &str) -> Vec<&str> {
    let after = text.lines().skip_while(|line| !line.starts_with("```")).skip(1);
    after.take_while(|line| !line.starts_with("```")).filter(|line| !line.starts_with("# ")).collect()
}

#[test]
fn each_readme_shows_the_example_that_the_documentation_runs() {
    for name in ["loss-core", "backend-ndarray", "backend-burn", "backend-tch", "conformance-tests"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
        let (readme, source) = (read("README.md"), read("src/lib.rs"));
        let comments = source.lines().filter_map(|line| line.strip_prefix("//!"));
        let documentation: Vec<&str> = comments.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        let documentation = documentation.join("\n");
        assert!(!example(&readme).is_empty(), "{name}");
        assert_eq!(example(&readme), example(&documentation), "{name}");
    }
}
