//! Python with PyTorch and MONAI: provided once, under `target/`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::child::Child;

const REQUIREMENTS: &str = include_str!("../python/requirements.txt");

/// The folder of the whole workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// An interpreter that has the packages: the one given, or one of an environment that is made where there is none.
pub(crate) fn provide(given: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(python) = given {
        return Ok(python.to_path_buf());
    }
    let place = workspace().join("target/benchmarks/venv");
    let (python, stamp) = (place.join("bin/python"), place.join("requirements.txt"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS) {
        return Ok(python);
    }
    eprintln!("segloss-bench: installing {} in {}", REQUIREMENTS.trim().replace('\n', ", "), place.display());
    eprintln!("segloss-bench: once, about 5 GB: the torch of the Python package index brings CUDA's libraries");
    let hint =
        "Python 3 with venv and pip is needed; --python takes one that has torch and MONAI, --without-python leaves them out";
    run(Command::new("python3").args(["-m", "venv"]).arg(&place), hint)?;
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/requirements.txt");
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(requirements);
    run(&mut pip, "the packages could not be installed; --python takes an interpreter that has them")?;
    fs::write(&stamp, REQUIREMENTS).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(python)
}

fn run(command: &mut Command, hint: &str) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} failed ({status}): {hint}")),
        Err(error) => Err(format!("cannot run {program}: {error}: {hint}")),
    }
}

/// Starts the worker; what its libraries print goes to a file.
pub(crate) fn start(python: &Path, threads: usize, log: &Path) -> Result<(Child, BTreeMap<String, String>), String> {
    let errors = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let mut command = Command::new(python);
    command.arg("-u").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/worker.py")).stderr(Stdio::from(errors));
    command.env("OMP_NUM_THREADS", threads.to_string());
    // Processes that compile, and go on waiting for more, would work beside what is measured.
    command.env("TORCHINDUCTOR_COMPILE_THREADS", "1");
    let mut child = Child::start("Python", &mut command)?;
    let hello = crate::protocol::Request::Hello { threads };
    match child.ask(&hello) {
        Ok(reply) => Ok((child, reply.versions)),
        Err(error) => {
            let said = fs::read_to_string(log).unwrap_or_default();
            let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("").to_owned();
            Err(format!("{error}\n{last}\n(all of it: {})", log.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        // It ends at once, as Python does when a module is not there.
        let error = start(Path::new("false"), 2, &log).err().unwrap();
        assert!(error.contains("Python ended") && error.contains(&log.display().to_string()), "{error}");
        let error = run(Command::new("/no/such/python3").arg("-V"), "install Python").unwrap_err();
        assert!(error.contains("/no/such/python3") && error.contains("install Python"), "{error}");
    }
}
