//! The kernels under other conditions than those they are used in: with each set of instructions,
//! not optimised, and under the address sanitizer.

use std::process::Command;

/// The suite on every set of instructions that the machine has beside the fastest, which the tests
/// use anyway.
///
/// # Errors
/// What failed.
pub(crate) fn each_instruction_set() -> Result<(), String> {
    let mut sets = vec!["plain"];
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        sets.push("avx2");
    }
    for set in sets {
        let arguments =
            ["test", "--workspace", "--exclude", "backend-tch", "--test", "conformance", "--", "ndarray", "--quiet"];
        eprintln!("xtask: the suite on {set} instructions: cargo {}", arguments.join(" "));
        crate::cargo(&arguments, Some(("SEGLOSS_SIMD", set)), crate::Needs::Nothing)
            .map_err(|error| format!("the suite on {set} instructions: {error}"))?;
    }
    Ok(())
}

/// The tests of the kernels, and the suite on them. The exhaustive tests of functions and the
/// largest case are of no other loops than the rest.
const TESTS: [&str; 7] = ["test", "-p", "loss-kernels", "-p", "backend-ndarray", "--lib", "--tests"];
const REST: [&str; 6] = ["--", "--quiet", "--skip", "is_within", "--skip", "large"];

/// The kernels as a program in development has them, unless it says otherwise: their functions then
/// need the most stack.
///
/// # Errors
/// What failed.
pub(crate) fn not_optimised() -> Result<(), String> {
    let profile = ["--config", "profile.dev.package.loss-kernels.opt-level=0"];
    let arguments = [&TESTS[..], &profile, &REST].concat();
    eprintln!("xtask: the kernels, not optimised: cargo {}", arguments.join(" "));
    crate::cargo(&arguments, None, crate::Needs::Nothing).map_err(|error| format!("the kernels, not optimised: {error}"))
}

/// Whether there is a nightly toolchain, which alone knows sanitizers.
fn has_nightly() -> bool {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "--version"]);
    command.output().is_ok_and(|output| output.status.success())
}

/// What this machine is called among targets.
fn host() -> Result<String, String> {
    let output = Command::new("rustc").arg("-vV").output().map_err(|error| format!("cannot run rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc does not say what its host is".to_owned())
}

/// The tests of the kernels, and the suite on them, under the address sanitizer; false where there
/// is no nightly toolchain.
///
/// # Errors
/// What failed.
pub(crate) fn sanitize() -> Result<bool, String> {
    if !has_nightly() {
        return Ok(false);
    }
    let host = host()?;
    let arguments = [&TESTS[..], &["--target-dir", "target/sanitized", "--target", &host], &REST].concat();
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]).args(&arguments);
    command.env("RUSTFLAGS", "-Zsanitizer=address").env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    eprintln!("xtask: the kernels under the address sanitizer: cargo +nightly {}", arguments.join(" "));
    match command.status() {
        Ok(status) if status.success() => Ok(true),
        Ok(_) => Err("the kernels under the address sanitizer: failed".to_owned()),
        Err(error) => Err(format!("cannot run rustup: {error}")),
    }
}
