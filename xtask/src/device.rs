//! One folder of tests and measurements for a machine that has a GPU and Python's torch, but not
//! Rust: see `docs/cuda.md`.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::libtorch::{self, workspace};
use crate::sources::{clear, copy_sources, succeed};
use crate::vulkan;

/// What Python's torch on the machine is.
const LIBTORCH: libtorch::Release = libtorch::FOR_THE_DEVICE;

/// The tch that is made for it.
const TCH: &str = "0.24.0";

/// The largest that the folder may be, in MB.
const LARGEST: u64 = 60;

/// A program: how cargo is asked for it, and its name.
struct Program {
    cargo: &'static [&'static str],
    name: &'static str,
    torch: bool,
}

const PROGRAMS: [Program; 6] = [
    Program { cargo: &["-p", "device", "--features", "tch", "--bin"], name: "device_tch", torch: true },
    Program { cargo: &["-p", "backend-tch", "--example"], name: "train_tch", torch: true },
    Program { cargo: &["-p", "backend-tch", "--test"], name: "conformance", torch: true },
    Program { cargo: &["-p", "backend-tch", "--test"], name: "tensors", torch: true },
    Program { cargo: &["-p", "backend-tch", "--test"], name: "maps", torch: true },
    Program { cargo: &["-p", "device", "--features", "spirv,train", "--bin"], name: "device_burn", torch: false },
];

const SCRIPTS: [&str; 3] = ["run.sh", "compare.py", "collect.py"];

/// Everything lies below.
fn place() -> PathBuf {
    workspace().join("target/device")
}

/// Builds the bundle.
///
/// # Errors
/// What failed, or that the bundle is too large.
pub(crate) fn bundle(without_burn: bool) -> Result<(), String> {
    let (start, bundle) = (Instant::now(), place().join("bundle"));
    let libtorch = workspace().join("target/libtorch-2.11");
    libtorch::fetch(&LIBTORCH, &libtorch)?;
    make(&libtorch, &bundle, without_burn)?;
    let size = fs::read_dir(&bundle).into_iter().flatten().filter_map(|entry| entry.ok()?.metadata().ok());
    let size = size.map(|about| about.len()).sum::<u64>() as f64 / 1e6;
    let (torch, seconds) = (LIBTORCH.version, start.elapsed().as_secs());
    if size > LARGEST as f64 {
        return Err(format!("{} is of {size:.1} MB: more than {LARGEST}", bundle.display()));
    }
    eprintln!("xtask: {} is ready after {seconds} s: {size:.1} MB of at most {LARGEST}", bundle.display());
    eprintln!("xtask: take it to a machine with a GPU and Python's torch {torch}, and there: sh bundle/run.sh");
    Ok(())
}

/// Whether the scripts can be read: they run where there is nobody to mend them.
///
/// # Errors
/// What is wrong with one.
pub(crate) fn scripts() -> Result<(), String> {
    let folder = workspace().join("device");
    succeed(Command::new("sh").args(["-n", "run.sh"]).current_dir(&folder), "sh -n device/run.sh")?;
    let read = "import ast, sys; [ast.parse(open(name).read(), name) for name in sys.argv[1:]]";
    let mut python = Command::new("python3");
    succeed(python.args(["-c", read, "compare.py", "collect.py"]).current_dir(&folder), "reading device/*.py")?;
    eprintln!("xtask: the bundle's scripts can be read");
    Ok(())
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> String {
    move |error| format!("{what}: {error}")
}

fn make(libtorch: &Path, bundle: &Path, without_burn: bool) -> Result<(), String> {
    let source = place().join("source");
    eprintln!("xtask: copying the sources, with tch {TCH}");
    copy_sources(&source)?;
    // A folder for the builds of each, so that either can be made while the other is.
    let cargo = |arguments: &[&str], torch| {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let builds = place().join(if torch { "torch" } else { "burn" });
        cargo.args(arguments).current_dir(&source).env("CARGO_TARGET_DIR", builds);
        libtorch::put_only(&mut cargo, libtorch);
        cargo
    };
    succeed(&mut cargo(&["update", "--quiet", "-p", "tch", "--precise", TCH], true), "cargo update")?;

    let part = bundle.with_extension("part");
    let (programs, libraries) = (part.join("bin"), part.join("lib"));
    let folders = || clear(&part).and_then(|()| fs::create_dir_all(&programs)).and_then(|()| fs::create_dir_all(&libraries));
    folders().map_err(failed("cannot make the bundle"))?;
    for Program { cargo: arguments, name, torch } in PROGRAMS {
        if without_burn && !torch {
            continue;
        }
        let start = Instant::now();
        eprintln!("xtask: building {name}{}", if torch { "" } else { ": Burn takes half an hour the first time" });
        let mut command = cargo(&["rustc", "--locked", "--release"], torch);
        command.args(arguments).args([name, "--message-format", "json-render-diagnostics", "--", "-C", "strip=symbols"]);
        if torch {
            // A program calls nothing in libtorch_cuda.so and would not load it. In Python's torch
            // libtorch.so is empty and needs it.
            command.args(["-C", "link-arg=-Wl,--no-as-needed", "-C", "link-arg=-ltorch"]);
        }
        let program = built(&mut command)?;
        let size = fs::copy(&program, programs.join(name)).map_err(failed("cannot copy a program"))?;
        eprintln!("xtask: {name}: {:.1} MB, built in {} s", size as f64 / 1e6, start.elapsed().as_secs());
    }
    let beside = source.join("device");
    let mut compiler = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    compiler.args(["-O2", "-Wall", "-shared", "-fPIC", "-o"]).arg(programs.join("libcount.so")).arg(beside.join("count.c"));
    succeed(compiler.args(["-ldl", "-lpthread"]), "cc")?;
    if !without_burn {
        vulkan::carry(&place().join("vulkan"), &libraries)?;
    }
    for script in SCRIPTS {
        fs::copy(beside.join(script), part.join(script)).map_err(failed("cannot copy a script"))?;
    }
    eprintln!("xtask: packing the programs");
    pack(&part)?;
    let finish = || clear(bundle).and_then(|()| fs::rename(&part, bundle));
    finish().map_err(failed("cannot make the bundle"))
}

/// Puts `bin` and `lib` into one archive, which `collect.py` unpacks.
fn pack(part: &Path) -> Result<(), String> {
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "-cJf", "programs.tar.xz", "bin", "lib"]).current_dir(part);
    succeed(&mut tar, "tar")?;
    let done = ["bin", "lib"].into_iter().try_for_each(|folder| fs::remove_dir_all(part.join(folder)));
    done.map_err(failed("cannot clear what was packed"))
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
