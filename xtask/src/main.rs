//! One command that checks everything: `cargo xtask test`.

use std::process::{Command, ExitCode};
use std::time::Instant;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Checks the whole workspace")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Format, lints, docs, features, tests and doctests: the cheapest first, stopping at the first failure
    Test,
    /// The cheap half of `test`: everything but the tests themselves
    Lint,
}

/// A step: what it is, the arguments of cargo, and an environment variable.
type Step = (&'static str, &'static [&'static str], Option<(&'static str, &'static str)>);

const LINT: &[Step] = &[
    ("format", &["fmt", "--all", "--", "--check"], None),
    ("lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], None),
    ("docs", &["doc", "--workspace", "--no-deps"], Some(("RUSTDOCFLAGS", "-D warnings"))),
    ("the facade without a backend", &["check", "-p", "segloss", "--no-default-features"], None),
];

const TEST: &[Step] = &[("tests and doctests", &["test", "--workspace"], None)];

fn main() -> ExitCode {
    let steps: Vec<&Step> = match Arguments::parse().task {
        Task::Lint => LINT.iter().collect(),
        Task::Test => LINT.iter().chain(TEST).collect(),
    };
    for (what, arguments, variable) in steps {
        let start = Instant::now();
        eprintln!("xtask: {what}: cargo {}", arguments.join(" "));
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(*arguments);
        if let Some((name, value)) = variable {
            command.env(name, value);
        }
        match command.status() {
            Ok(status) if status.success() => eprintln!("xtask: {what}: passed in {:.0} s", start.elapsed().as_secs_f64()),
            Ok(_) => {
                eprintln!("xtask: {what}: failed");
                return ExitCode::FAILURE;
            }
            Err(error) => {
                eprintln!("xtask: cannot run cargo: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    eprintln!("xtask: everything passed");
    ExitCode::SUCCESS
}
