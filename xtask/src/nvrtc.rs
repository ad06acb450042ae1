//! NVRTC for the kernels of `backend-tch`: CUDA's compiler, which needs neither a GPU nor a driver.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::libtorch::workspace;

/// Of CUDA 13.0, as LibTorch's CUDA build is.
const PACKAGE: &str = "nvidia-cuda-nvrtc==13.0.*";

/// Where its library lies in the package.
const LIBRARY: &str = "nvidia/cu13/lib/libnvrtc.so.13";

/// What tells `backend-tch` where NVRTC is, and that it must be there.
const VARIABLE: &str = "SEGLOSS_NVRTC";

fn folder() -> PathBuf {
    workspace().join("target/nvrtc")
}

/// Puts NVRTC under `target/`, from the Python package index; false where there is none, which is
/// everywhere but on Linux. Does nothing where it is there, or where the user names one.
///
/// # Errors
/// Where it cannot be had.
pub(crate) fn provide() -> Result<bool, String> {
    let folder = folder();
    if env::var_os(VARIABLE).is_some() || folder.join(LIBRARY).exists() {
        return Ok(true);
    }
    if env::consts::OS != "linux" {
        return Ok(false);
    }
    eprintln!("xtask: fetching {PACKAGE} (about 60 MB)");
    // A folder of the final name is always whole.
    let part = folder.with_extension("part");
    let clear = |folder: &Path| if folder.exists() { fs::remove_dir_all(folder) } else { Ok(()) };
    let fetch = || -> std::io::Result<bool> {
        clear(&part)?;
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
        let fetched = pip.arg(&part).arg(PACKAGE).env("PIP_ROOT_USER_ACTION", "ignore").status()?.success();
        if fetched && part.join(LIBRARY).exists() {
            clear(&folder)?;
            fs::rename(&part, &folder)?;
        }
        Ok(fetched)
    };
    match fetch() {
        Ok(true) if folder.join(LIBRARY).exists() => Ok(true),
        Ok(true) => Err(format!("{PACKAGE} has no {LIBRARY}")),
        Ok(false) => Err(format!("pip could not fetch {PACKAGE}: see above; or set {VARIABLE} to the file of NVRTC")),
        Err(error) => Err(format!("cannot run `python3 -m pip`: {error}")),
    }
}

/// Lets a command find NVRTC, where it was fetched.
pub(crate) fn put_into(command: &mut Command) {
    let library = folder().join(LIBRARY);
    if env::var_os(VARIABLE).is_none() && library.exists() {
        command.env(VARIABLE, library);
    }
}

/// Compiles all sources that the suite asks for, or so many that each of their lines is in one.
///
/// # Errors
/// What failed.
pub(crate) fn compile(all: bool) -> Result<(), String> {
    if !provide()? {
        return Err(format!("only on Linux is NVRTC fetched: set {VARIABLE} to its file"));
    }
    crate::libtorch::provide()?;
    let arguments = ["test", "-p", "backend-tch", "--test", "cuda_nvrtc", "--", "--nocapture"];
    crate::cargo(&arguments, all.then_some(("SEGLOSS_NVRTC_ALL", "1")), crate::Needs::LibTorch)
}
