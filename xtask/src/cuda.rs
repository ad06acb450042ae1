//! The tests of `backend-tch` for a machine that has CUDA and Python's torch, but not Rust: see
//! `docs/cuda.md`.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::libtorch::{self, workspace};
use crate::sources::{clear, copy_sources, succeed};

/// What Python's torch on the machine is.
const LIBTORCH: libtorch::Release = libtorch::FOR_CUDA_TESTS;

/// The tch that is made for it.
const TCH: &str = "0.24.0";

const PROGRAMS: [[&str; 2]; 4] =
    [["--test", "conformance"], ["--test", "tensors"], ["--test", "maps"], ["--example", "cuda_bench"]];

/// Everything lies below.
fn place() -> PathBuf {
    workspace().join("target/cuda-tests")
}

/// Builds the bundle; without `build`, runs it where there is a device, and else says how to.
pub(crate) fn tests(build: bool) -> Result<(), String> {
    let bundle = place().join("bundle");
    if build {
        let libtorch = workspace().join("target/libtorch-2.11");
        libtorch::fetch(&LIBTORCH, &libtorch)?;
        make(&libtorch, &bundle)?;
        let torch = LIBTORCH.version;
        eprintln!("xtask: {} is ready: take it to a machine with torch {torch}, and run its run.sh there", bundle.display());
        return Ok(());
    }
    if !bundle.is_dir() {
        return Err("there is nothing to run: `cargo xtask cuda-tests --build` makes it; see docs/cuda.md".to_owned());
    }
    if !Command::new("nvidia-smi").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        let bundle = bundle.display();
        eprintln!("xtask: there is no CUDA device here: take {bundle} to a machine with one, and run its run.sh there");
        return Ok(());
    }
    succeed(Command::new("sh").arg(bundle.join("run.sh")), "run.sh")
}

fn make(libtorch: &Path, bundle: &Path) -> Result<(), String> {
    let source = place().join("source");
    eprintln!("xtask: copying the sources, with tch {TCH}");
    let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    copy_sources(&source)?;
    let cargo = |arguments: &[&str]| {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(arguments).current_dir(&source).env("CARGO_TARGET_DIR", place().join("target"));
        libtorch::put_only(&mut cargo, libtorch);
        cargo
    };
    succeed(&mut cargo(&["update", "--quiet", "-p", "tch", "--precise", TCH]), "cargo update")?;

    let part = bundle.with_extension("part");
    clear(&part).and_then(|()| fs::create_dir_all(&part)).map_err(failed("cannot make the bundle"))?;
    for [kind, name] in PROGRAMS {
        eprintln!("xtask: building {name}");
        let mut command = cargo(&["rustc", "--locked", "--release", "-p", "backend-tch", kind, name]);
        command.args(["--message-format", "json-render-diagnostics", "--", "-C", "strip=symbols"]);
        // A program calls nothing in libtorch_cuda.so and would not load it. In Python's torch
        // libtorch.so is empty and needs it.
        command.args(["-C", "link-arg=-Wl,--no-as-needed", "-C", "link-arg=-ltorch"]);
        let program = built(&mut command)?;
        fs::copy(&program, part.join(name)).map_err(failed("cannot copy a program"))?;
    }
    let beside = source.join("backend-tch/cuda");
    let mut compiler = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    compiler.args(["-O2", "-Wall", "-shared", "-fPIC", "-o"]).arg(part.join("libcount.so")).arg(beside.join("count.c"));
    succeed(compiler.args(["-ldl", "-lpthread"]), "cc")?;
    let finish = || -> io::Result<()> {
        for script in ["run.sh", "compare.py"] {
            fs::copy(beside.join(script), part.join(script))?;
        }
        clear(bundle)?;
        fs::rename(&part, bundle)
    };
    finish().map_err(failed("cannot make the bundle"))
}

/// Runs a build of one program, and finds it among the messages.
fn built(command: &mut Command) -> Result<PathBuf, String> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err("the build failed".to_owned());
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut named = messages.lines().filter_map(|line| line.split_once(r#""executable":""#)?.1.split_once('"'));
    named.next_back().map(|(path, _)| PathBuf::from(path)).ok_or_else(|| "cargo names no program".to_owned())
}
