//! `cargo publish` for the whole workspace.
//!
//! A published package carries a lock file, and in a user's hands that must hold with Burn's own
//! LibTorch backend in it. The workspace's lock file does not: an empty crate stands there. So
//! packages are made from a copy without that crate, whose lock file has the tch that resolves
//! beside Burn.

use std::env;
use std::fs;
use std::process::Command;

use crate::libtorch::{self, workspace};
use crate::sources::{copy_sources, succeed};

/// What resolves beside Burn.
const TCH: &str = "0.22.0";

/// Runs `cargo publish --workspace` with more arguments.
///
/// # Errors
/// What failed, or changes that are not committed and would be uploaded.
pub(crate) fn publish(arguments: &[String]) -> Result<(), String> {
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if !has("--dry-run") && !is_committed()? {
        return Err("there are changes that are not committed; --dry-run takes them along".to_owned());
    }
    let place = workspace().join("target/publish");
    let (source, libtorch) = (place.join("source"), workspace().join("target/libtorch-2.9"));
    if !has("--no-verify") {
        libtorch::fetch(&libtorch::BESIDE_BURN, &libtorch)?;
    }
    copy_sources(&source)?;
    let manifest = source.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(|error| format!("cannot read the manifest: {error}"))?;
    fs::write(&manifest, without_patches(&text)).map_err(|error| format!("cannot write the manifest: {error}"))?;
    let cargo = || {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&source).env("CARGO_TARGET_DIR", place.join("target"));
        libtorch::put_only(&mut cargo, &libtorch);
        cargo
    };
    succeed(cargo().args(["update", "--quiet", "-p", "tch", "--precise", TCH]), "cargo update")?;
    eprintln!("xtask: cargo publish --workspace {}", arguments.join(" "));
    succeed(cargo().args(["publish", "--workspace"]).args(arguments), "cargo publish")
}

fn is_committed() -> Result<bool, String> {
    let mut git = Command::new("git");
    let output = git.args(["status", "--porcelain"]).current_dir(workspace()).output();
    output.map(|output| output.stdout.is_empty()).map_err(|error| format!("cannot run git: {error}"))
}

/// A manifest without its tables of patches.
fn without_patches(text: &str) -> String {
    let mut patches = false;
    let kept = text.lines().filter(|line| {
        if line.starts_with('[') {
            patches = line.starts_with("[patch.");
        }
        !patches
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_patches_are_taken_out() {
        let text = "[a]\nx = 1\n[patch.crates-io]\ny = 2\n\n[b]\nz = 3\n";
        assert_eq!(without_patches(text), "[a]\nx = 1\n[b]\nz = 3\n");
    }
}
