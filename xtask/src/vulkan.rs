//! A Vulkan driver for tests on wgpu: the machine's own, or Mesa's in software from Debian's
//! packages.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::libtorch::{library_path, workspace};

/// The loader, and drivers of which one computes on the CPU.
const PACKAGES: [&str; 2] = ["libvulkan1", "mesa-vulkan-drivers"];

/// The loader, and what NVIDIA's driver needs of X and of OpenGL's dispatch, also where nothing is
/// shown.
const CARRIED: [&str; 12] = [
    "libvulkan1",
    "libglvnd0",
    "libgl1",
    "libglx0",
    "libegl1",
    "libx11-6",
    "libxext6",
    "libxcb1",
    "libxau6",
    "libxdmcp6",
    "libbsd0",
    "libmd0",
];

/// Where the loader finds drivers by itself.
const PLACES: [&str; 3] = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];

/// Variables that name drivers.
const NAMED: [&str; 2] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];

/// Where packages are unpacked, beside nothing else.
fn own() -> PathBuf {
    workspace().join("target/vulkan")
}

/// The description of the software driver there, with a path of its own.
fn driver() -> PathBuf {
    own().join("lavapipe.json")
}

/// Whether the machine has a driver.
fn is_here() -> bool {
    let named = NAMED.iter().any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()));
    let lists = |place: &&str| fs::read_dir(place).is_ok_and(|mut files| files.next().is_some());
    // Elsewhere than on Linux wgpu has Metal or DirectX.
    named || env::consts::OS != "linux" || PLACES.iter().any(lists)
}

/// Puts Mesa's software driver under `target/`, from Debian's packages; nothing is installed. Does
/// nothing where there is a driver.
pub(crate) fn provide() -> Result<(), String> {
    if is_here() {
        eprintln!("xtask: wgpu finds a driver of this machine");
        return Ok(());
    }
    if !driver().exists() {
        fetch().map_err(|error| format!("{error}; install a Vulkan driver (on Debian: {})", PACKAGES.join(" ")))?;
    }
    eprintln!("xtask: a Vulkan driver in software is at {}", own().display());
    Ok(())
}

fn apt(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    // Root's own downloads need no other user, who could not write here.
    command.args(["-qq", "-o", "APT::Sandbox::User=root"]).args(arguments).stderr(Stdio::inherit());
    command
}

fn output(mut command: Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("cannot run {name}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{name} failed: see above")) }
}

/// The packages that would have to be installed, with what they need.
fn missing() -> Result<Vec<String>, String> {
    let listed = output(apt(&[&["-s", "--no-install-recommends", "install"], &PACKAGES[..]].concat()))?;
    let name = |line: &str| line.strip_prefix("Inst ")?.split_whitespace().next().map(str::to_owned);
    Ok(listed.lines().filter_map(name).collect())
}

fn fetch() -> Result<(), String> {
    let part = own().with_extension("part");
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", part.display());
    if part.exists() {
        fs::remove_dir_all(&part).map_err(failed)?;
    }
    fs::create_dir_all(&part).map_err(failed)?;
    eprintln!("xtask: fetching {}", PACKAGES.join(", "));
    // A fresh machine may not know any package yet; only root can change that.
    let names = match missing() {
        Ok(names) => names,
        Err(_) => output(apt(&["update"])).and_then(|_| missing())?,
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    unpack(&names, &part)?;
    let library = library(&part).ok_or("the packages hold no software driver")?;
    let library = own().join(library.strip_prefix(&part).unwrap_or(&library));
    let text = format!(
        "{{\"file_format_version\": \"1.0.0\", \"ICD\": {{\"library_path\": {:?}, \"api_version\": \"1.1.0\"}}}}\n",
        library.display().to_string()
    );
    if own().exists() {
        fs::remove_dir_all(own()).map_err(failed)?;
    }
    // The description comes last: where it stands, all is there.
    fs::rename(&part, own()).and_then(|()| fs::write(driver(), text)).map_err(failed)
}

/// Unpacks packages into a folder; nothing is installed.
fn unpack(names: &[&str], folder: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", folder.display());
    let mut download = apt(&[&["download"], names].concat());
    download.current_dir(folder);
    output(download)?;
    let archives = fs::read_dir(folder).map_err(failed)?.filter_map(Result::ok).map(|entry| entry.path());
    for archive in archives.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect::<Vec<_>>() {
        let mut unpack = Command::new("dpkg");
        unpack.arg("-x").arg(&archive).arg(folder).stderr(Stdio::inherit());
        output(unpack)?;
        fs::remove_file(&archive).map_err(failed)?;
    }
    Ok(())
}

/// Copies Vulkan's loader, and what drivers need beside it, to where it is taken along from. What
/// was fetched stays in a folder.
pub(crate) fn carry(fetched: &Path, to: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", fetched.display());
    if !fetched.exists() {
        let part = fetched.with_extension("part");
        if part.exists() {
            fs::remove_dir_all(&part).map_err(failed)?;
        }
        fs::create_dir_all(&part).map_err(failed)?;
        eprintln!("xtask: fetching {}", CARRIED.join(", "));
        if unpack(&CARRIED, &part).is_err() {
            output(apt(&["update"])).and_then(|_| unpack(&CARRIED, &part))?;
        }
        fs::rename(&part, fetched).map_err(failed)?;
    }
    for folder in folders(fetched) {
        for file in fs::read_dir(&folder).map_err(failed)?.filter_map(Result::ok).map(|entry| entry.path()) {
            // A library lies there once by its version, and is linked to by the name that is asked
            // for, which is the one that counts.
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let asked = name.split_once(".so.").is_some_and(|(_, version)| !version.contains('.'));
            if asked && file.is_file() {
                fs::copy(&file, to.join(name)).map_err(failed)?;
            }
        }
    }
    Ok(())
}

/// The folders that hold libraries.
fn folders(root: &Path) -> Vec<PathBuf> {
    let triple = fs::read_dir(root.join("usr/lib")).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    triple.filter(|path| path.is_dir()).collect()
}

fn library(root: &Path) -> Option<PathBuf> {
    folders(root).into_iter().map(|folder| folder.join("libvulkan_lvp.so")).find(|path| path.exists())
}

/// Lets a command, and what it starts, find the driver.
pub(crate) fn put_into(command: &mut Command) {
    if is_here() || !driver().exists() {
        return;
    }
    for folder in library(&own()).iter().filter_map(|library| library.parent()) {
        command.env("LD_LIBRARY_PATH", library_path(folder));
    }
    command.env("VK_ICD_FILENAMES", driver());
}
