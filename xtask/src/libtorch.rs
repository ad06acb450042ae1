//! LibTorch for `backend-tch`: where it is, how to get it, and cargo commands that need it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A LibTorch, and what of the Python package index makes its CPU part.
pub(crate) struct Release {
    pub(crate) version: &'static str,
    /// Packages beside torch. The wheel is built for CUDA, and so its CPU part links two of CUDA's
    /// small libraries.
    packages: [&'static str; 2],
    /// Where these two lie.
    cuda: [&'static str; 2],
    /// How much there is to fetch, in GB.
    size: f32,
}

/// For tch 0.26, the version in `Cargo.lock`.
const NEWEST: Release = Release {
    version: "2.13.0",
    packages: ["nvidia-cuda-runtime==13.0.*", "nvidia-cuda-cupti==13.0.*"],
    cuda: ["nvidia/cu13/lib/libcudart.so.13", "nvidia/cu13/lib/libcupti.so.13"],
    size: 0.6,
};

/// For tch 0.24, which `cargo xtask device` uses.
pub(crate) const FOR_THE_DEVICE: Release = Release { version: "2.11.0", ..NEWEST };

/// For tch 0.22, the only one that resolves beside Burn.
pub(crate) const BESIDE_BURN: Release = Release {
    version: "2.9.0",
    packages: ["nvidia-cuda-runtime-cu12==12.8.*", "nvidia-cuda-cupti-cu12==12.8.*"],
    cuda: ["nvidia/cuda_runtime/lib/libcudart.so.12", "nvidia/cuda_cupti/lib/libcupti.so.12"],
    size: 0.9,
};

/// What a CPU LibTorch consists of, beside those two. Without `libtorch_cuda.so`, torch-sys links
/// nothing of CUDA.
const LIBRARIES: [&str; 4] =
    ["torch/lib/libtorch.so", "torch/lib/libtorch_cpu.so", "torch/lib/libc10.so", "torch/lib/libgomp.so.1"];

/// What tells torch-sys where LibTorch is.
const VARIABLES: [&str; 4] = ["LIBTORCH", "LIBTORCH_LIB", "LIBTORCH_INCLUDE", "LIBTORCH_USE_PYTORCH"];

/// The folder of the whole workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The folder that `.cargo/config.toml` names.
fn own() -> PathBuf {
    workspace().join("target/libtorch")
}

/// Whether a folder holds this LibTorch.
fn is_here(version: &str, place: &Path) -> bool {
    fs::read_to_string(place.join("build-version")).unwrap_or_default().trim() == version
}

/// Where LibTorch is: as a `LIBTORCH` set by the user says, or where [`provide`] has put it.
pub(crate) fn find() -> Option<PathBuf> {
    let own = own();
    let given = env::var_os("LIBTORCH").map(PathBuf::from).filter(|given| *given != own);
    given.or_else(|| is_here(NEWEST.version, &own).then_some(own))
}

fn located() -> Result<PathBuf, String> {
    find().ok_or_else(|| "LibTorch is not here: run `cargo xtask libtorch` once".to_owned())
}

/// Puts LibTorch for the CPU under `target/`, from the Python package index. Does nothing where
/// there is one.
pub(crate) fn provide() -> Result<(), String> {
    if let Some(libtorch) = find() {
        eprintln!("xtask: LibTorch is at {}", libtorch.display());
        return Ok(());
    }
    fetch(&NEWEST, &own())
}

/// Puts the CPU part of a LibTorch into a folder, from the Python package index. Does nothing where
/// it is there.
pub(crate) fn fetch(release: &Release, place: &Path) -> Result<(), String> {
    let Release { version, packages, cuda, size } = release;
    if is_here(version, place) {
        return Ok(());
    }
    if env::consts::OS != "linux" {
        return Err("only on Linux is LibTorch fetched: set LIBTORCH to where it is".to_owned());
    }
    let (wheel, part) = (place.with_extension("wheel"), place.with_extension("part"));
    let clear = |folder: &Path| if folder.exists() { fs::remove_dir_all(folder) } else { Ok(()) };
    let fetch = || -> std::io::Result<bool> {
        for folder in [wheel.as_path(), &part, place] {
            clear(folder)?;
        }
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
        let torch = format!("torch=={version}");
        eprintln!("xtask: fetching {torch}, {} (about {size} GB)", packages.join(", "));
        Ok(pip.arg(&wheel).arg(torch).args(packages).env("PIP_ROOT_USER_ACTION", "ignore").status()?.success())
    };
    if !fetch().map_err(|error| format!("cannot run `python3 -m pip`: {error}"))? {
        return Err("pip could not fetch LibTorch: see above; or set LIBTORCH to where it is".to_owned());
    }
    // Only what is needed is kept, and a folder of the final name is always whole.
    let arrange = || -> std::io::Result<()> {
        fs::create_dir_all(part.join("lib"))?;
        fs::rename(wheel.join("torch/include"), part.join("include"))?;
        for library in LIBRARIES.iter().chain(cuda) {
            let from = wheel.join(library);
            fs::rename(&from, part.join("lib").join(from.file_name().unwrap_or_default()))?;
        }
        fs::write(part.join("build-version"), format!("{version}\n"))?;
        clear(&wheel)?;
        fs::rename(&part, place)
    };
    arrange().map_err(|error| format!("the packages are not as expected: {error}"))?;
    eprintln!("xtask: LibTorch {version} is at {}", place.display());
    Ok(())
}

/// Where libraries are searched: in a folder first.
pub(crate) fn library_path(folder: &Path) -> OsString {
    let mut path = folder.as_os_str().to_owned();
    if let Some(more) = env::var_os("LD_LIBRARY_PATH").filter(|more| !more.is_empty()) {
        path.push(":");
        path.push(more);
    }
    path
}

/// Lets a command use this LibTorch and no other.
pub(crate) fn put_only(command: &mut Command, place: &Path) {
    VARIABLES.iter().for_each(|name| _ = command.env_remove(name));
    command.env("LIBTORCH", place);
    sleep_while_waiting(command);
}

/// Threads that wait for each other sleep: on a busy machine spinning makes small operations a
/// hundred times slower.
fn sleep_while_waiting(command: &mut Command) {
    if env::var_os("OMP_WAIT_POLICY").is_none() {
        command.env("OMP_WAIT_POLICY", "passive");
    }
}

/// Prints lines for a shell: `eval "$(cargo xtask env)"`.
pub(crate) fn print_env() -> Result<(), String> {
    let libtorch = located()?;
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
    println!("export LIBTORCH={}", quoted(&libtorch));
    println!("export LD_LIBRARY_PATH={}\"${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"", quoted(&libtorch.join("lib")));
    Ok(())
}

/// Lets a command, and what it starts, find LibTorch.
pub(crate) fn put_into(command: &mut Command) -> Result<(), String> {
    let libtorch = located()?;
    command.env("LD_LIBRARY_PATH", library_path(&libtorch.join("lib"))).env("LIBTORCH", libtorch);
    sleep_while_waiting(command);
    Ok(())
}
