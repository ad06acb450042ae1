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

/// Programs on LibTorch: how cargo is asked for each, and its name.
const ON_TORCH: [(&[&str], &str); 5] = [
    (&["-p", "device", "--features", "tch", "--bin"], "device_tch"),
    (&["-p", "backend-tch", "--example"], "train_tch"),
    (&["-p", "backend-tch", "--test"], "conformance"),
    (&["-p", "backend-tch", "--test"], "tensors"),
    (&["-p", "backend-tch", "--test"], "maps"),
];

/// How Burn's kernels get to Vulkan.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Burn {
    /// By SPIR-V, in release: half an hour on two idle cores, the first time
    Spirv,
    /// By WGSL, from the workspace's own development build, which `cargo xtask test --with-wgpu`
    /// makes too
    Wgsl,
    /// Each in a program of its own: WGSL is known to run, should SPIR-V not
    Both,
    /// Not at all
    None,
}

const SCRIPTS: [&str; 3] = ["run.sh", "compare.py", "collect.py"];

/// Everything lies below.
fn place() -> PathBuf {
    workspace().join("target/device")
}

/// Builds the bundle.
///
/// # Errors
/// What failed, or that the bundle is too large.
pub(crate) fn bundle(burn: Burn) -> Result<(), String> {
    let (start, bundle) = (Instant::now(), place().join("bundle"));
    let libtorch = workspace().join("target/libtorch-2.11");
    libtorch::fetch(&LIBTORCH, &libtorch)?;
    make(&libtorch, &bundle, burn)?;
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

fn make(libtorch: &Path, bundle: &Path, burn: Burn) -> Result<(), String> {
    let source = place().join("source");
    eprintln!("xtask: copying the sources, with tch {TCH}");
    copy_sources(&source)?;
    // A folder for the builds of each, so that either can be made while the other is.
    let cargo = |arguments: &[&str], builds: &str| {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(arguments).current_dir(&source).env("CARGO_TARGET_DIR", place().join(builds));
        libtorch::put_only(&mut cargo, libtorch);
        cargo
    };
    succeed(&mut cargo(&["update", "--quiet", "-p", "tch", "--precise", TCH], "torch"), "cargo update")?;

    let part = bundle.with_extension("part");
    let (programs, libraries) = (part.join("bin"), part.join("lib"));
    let folders = || clear(&part).and_then(|()| fs::create_dir_all(&programs)).and_then(|()| fs::create_dir_all(&libraries));
    folders().map_err(failed("cannot make the bundle"))?;
    let build = |mut command: Command, name: &str, linked: &[&str]| {
        let start = Instant::now();
        eprintln!("xtask: building {name}");
        command.args(["--message-format", "json-render-diagnostics", "--", "-C", "strip=symbols"]).args(linked);
        let program = built(&mut command)?;
        let size = fs::copy(&program, programs.join(name)).map_err(failed("cannot copy a program"))?;
        eprintln!("xtask: {name}: {:.1} MB, built in {} s", size as f64 / 1e6, start.elapsed().as_secs());
        Ok::<_, String>(())
    };
    let release = ["rustc", "--locked", "--release"];
    for (arguments, name) in ON_TORCH {
        let command = cargo(&[&release, arguments, &[name]].concat(), "torch");
        // A program calls nothing in libtorch_cuda.so and would not load it. In Python's torch
        // libtorch.so is empty and needs it.
        build(command, name, &["-C", "link-arg=-Wl,--no-as-needed", "-C", "link-arg=-ltorch"])?;
    }
    if matches!(burn, Burn::Spirv | Burn::Both) {
        let arguments = ["-p", "device", "--features", "spirv,train", "--bin", "device_burn"];
        build(cargo(&[&release[..], &arguments].concat(), "burn"), "device_burn", &[])?;
    }
    if matches!(burn, Burn::Wgsl | Burn::Both) {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["rustc", "-p", "device", "--features", "train", "--bin", "device_burn"]).current_dir(workspace());
        build(command, "device_burn_wgsl", &[])?;
    }
    let beside = source.join("device");
    let mut compiler = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    compiler.args(["-O2", "-Wall", "-shared", "-fPIC", "-o"]).arg(programs.join("libcount.so")).arg(beside.join("count.c"));
    succeed(compiler.args(["-ldl", "-lpthread"]), "cc")?;
    if burn != Burn::None {
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
