//! Hands what this crate was built with to `option_env!`, for reports: the compiler, and the
//! versions of ndarray, Burn and tch.
//!
//! They do not say their versions, so they are read from the lock file of the workspace, which
//! decides them. Where there is none beside this crate, reports leave them out.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Some(version) = env::var_os("RUSTC").and_then(compiler) {
        println!("cargo:rustc-env=SEGLOSS_RUSTC={version}");
    }
    if let Ok(profile) = env::var("PROFILE") {
        println!("cargo:rustc-env=SEGLOSS_PROFILE={profile}");
    }
    let lock = Path::new("..").join("Cargo.lock");
    if let Ok(text) = fs::read_to_string(&lock) {
        println!("cargo:rerun-if-changed={}", lock.display());
        for (name, variable) in [("ndarray", "SEGLOSS_NDARRAY"), ("burn", "SEGLOSS_BURN"), ("tch", "SEGLOSS_TCH")] {
            if let Some(version) = locked(&text, name) {
                println!("cargo:rustc-env={variable}={version}");
            }
        }
    }
}

fn compiler(path: std::ffi::OsString) -> Option<String> {
    let output = Command::new(path).arg("--version").output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// The version of a dependency of this crate. Where the lock holds several, it names the one meant
/// beside the dependency.
fn locked<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let packages = || lock.split("[[package]]");
    let is = |package: &&str, name: &str| field(package, "name") == Some(name);
    let this = packages().find(|package| is(package, env!("CARGO_PKG_NAME")))?;
    let entry = |line: &'a str| line.trim().strip_prefix('"')?.strip_suffix("\",");
    let words = this.lines().filter_map(entry).map(|entry| entry.split_once(' ').unwrap_or((entry, "")));
    match words.into_iter().find(|(dependency, _)| *dependency == name)? {
        (_, "") => field(packages().find(|package| is(package, name))?, "version"),
        (_, version) => version.split(' ').next(),
    }
}

fn field<'a>(package: &'a str, key: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"');
    package.lines().find_map(value)
}
