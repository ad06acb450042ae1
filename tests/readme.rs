//! The README's program is `examples/first_steps.rs`, and prints what the README says.

use std::path::PathBuf;
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
