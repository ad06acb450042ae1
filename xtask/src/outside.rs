//! A project outside of the workspace that has Burn and tch, `conformance-tests/both`: it must
//! resolve, build and run.

use std::env;
use std::process::Command;
use std::time::Instant;

use crate::libtorch::{self, workspace};

const MANIFEST: &str = "conformance-tests/both/Cargo.toml";

/// Runs one training step in each. False where its LibTorch cannot be fetched, which is only done
/// on Linux.
///
/// # Errors
/// What failed.
pub(crate) fn both() -> Result<bool, String> {
    if env::consts::OS != "linux" {
        return Ok(false);
    }
    let (start, libtorch) = (Instant::now(), workspace().join("target/libtorch-2.9"));
    // Its formatting first, which costs nothing.
    cargo(&["fmt", "--check", "--manifest-path", MANIFEST], |_| ())?;
    libtorch::fetch(&libtorch::BESIDE_BURN, &libtorch)?;
    cargo(&["run", "--locked", "--manifest-path", MANIFEST], |command| {
        // Its lock file holds other versions than the workspace's: in one folder each would drive
        // out the other.
        command.env("CARGO_TARGET_DIR", workspace().join("target/both"));
        libtorch::put_only(command, &libtorch);
    })
    .map_err(|error| format!("{error}; a new dependency needs `cargo update --workspace --manifest-path {MANIFEST}`"))?;
    eprintln!("xtask: Burn and tch in one project: passed in {:.0} s", start.elapsed().as_secs_f64());
    Ok(true)
}

fn cargo(arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Result<(), String> {
    let what = format!("Burn and tch in one project: cargo {}", arguments.join(" "));
    eprintln!("xtask: {what}");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace());
    prepare(&mut command);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("{what}: failed")),
        Err(error) => Err(format!("cannot run cargo: {error}")),
    }
}
