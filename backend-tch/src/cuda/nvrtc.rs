//! NVRTC, CUDA's compiler as a library: loaded where it is there. It needs neither a GPU nor a
//! driver.
#![allow(unsafe_code)]

use std::ffi::{CString, OsString, c_char};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::{env, fs, ptr};

use cudarc::nvrtc::result::{create_program, destroy_program, get_program_log};
use cudarc::nvrtc::sys;
use libloading::Library;

use super::launch::Failure;

/// The environment variable that names NVRTC's file, where it is not found by itself.
pub const VARIABLE: &str = "SEGLOSS_NVRTC";

/// Why there is no NVRTC; looked for once.
static MISSING: LazyLock<Option<String>> = LazyLock::new(|| {
    let tried = places();
    let found = tried.iter().find(|place| load(place));
    // SAFETY: loading NVRTC runs nothing but its own start.
    let present = found.is_some() || unsafe { sys::is_culib_present() };
    let named = env::var_os(VARIABLE).map(|name| format!(", {}", Path::new(&name).display()));
    (!present)
        .then(|| format!("libnvrtc was found neither by its name nor beside CUDA's libraries{}", named.unwrap_or_default()))
});

/// Why there is no NVRTC, if there is none.
pub fn missing() -> Option<&'static str> {
    MISSING.as_deref()
}

/// Loads NVRTC for good, so that it is found by its name from now on; before it what it will look
/// for by a name itself.
fn load(place: &Path) -> bool {
    // SAFETY: as above; files of these names are NVRTC and its own library.
    let load = |place: &Path| unsafe { Library::new(place) }.map(std::mem::forget).is_ok();
    let builtins = place.parent().map(|folder| files(folder, "libnvrtc-builtins")).unwrap_or_default();
    builtins.iter().for_each(|builtins| _ = load(builtins));
    load(place)
}

/// Where NVRTC may lie beside what the program has loaded: a Python package of torch has CUDA's
/// libraries in folders of their own, which nothing searches for a name.
fn places() -> Vec<PathBuf> {
    let named = env::var_os(VARIABLE).map(PathBuf::from);
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let loaded = maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
    let mut folders: Vec<PathBuf> = Vec::new();
    for library in loaded.filter(|path| of_cuda(path)) {
        let folder = library.parent().unwrap_or(Path::new("/"));
        let packages = ["../../nvidia/cu13/lib", "../../nvidia/cuda_nvrtc/lib", "../../cuda_nvrtc/lib"];
        let beside = packages.iter().map(|package| folder.join(package));
        for folder in std::iter::once(folder.to_owned()).chain(beside) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
    }
    let found = folders.iter().flat_map(|folder| files(folder, "libnvrtc."));
    named.into_iter().chain(found).collect()
}

fn of_cuda(library: &Path) -> bool {
    let name = library.file_name().unwrap_or_default().to_string_lossy();
    ["libtorch_cuda", "libcudart", "libc10_cuda"].iter().any(|start| name.starts_with(start))
}

/// A library's files in a folder. A copy that is named `alt` is built for other purposes.
fn files(folder: &Path, start: &str) -> Vec<PathBuf> {
    let is_it = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with(start) && name.contains(".so") && !name.contains(".alt")
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| is_it(&entry.file_name())).map(|entry| entry.path()).collect()
}

/// A program of NVRTC, destroyed in the end.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: it was created, and is destroyed here alone.
        let _ = unsafe { destroy_program(self.0) };
    }
}

/// Compiles a source for an architecture, such as `sm_90`, to what the driver loads.
///
/// # Errors
/// Where there is no NVRTC, and what it says of the source.
pub fn compile(source: &str, architecture: &str) -> Result<Vec<u8>, Failure> {
    if let Some(missing) = missing() {
        return Err(missing.into());
    }
    let options = [format!("--gpu-architecture={architecture}"), "--std=c++17".to_owned()];
    let options = options.map(CString::new).into_iter().collect::<Result<Vec<_>, _>>()?;
    let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
    let source = CString::new(source)?;
    let program = Program(create_program(&source, Some(c"segloss.cu"))?);
    // SAFETY: the program was created just now; the options end in 0, and they and the source
    // outlive the call.
    let compiled = unsafe { sys::nvrtcCompileProgram(program.0, options.len() as i32, options.as_ptr()) };
    if compiled != sys::nvrtcResult::NVRTC_SUCCESS {
        // SAFETY: as above.
        let log = unsafe { get_program_log(program.0) }.unwrap_or_default();
        let log: Vec<u8> = log.into_iter().map(|byte| byte as u8).take_while(|byte| *byte != 0).collect();
        return Err(format!("{compiled:?}: {}", String::from_utf8_lossy(&log)).into());
    }
    let mut size = 0;
    // SAFETY: the program was compiled, and the size is written to a number of that type.
    unsafe { sys::nvrtcGetCUBINSize(program.0, ptr::from_mut(&mut size)) }.result()?;
    let mut code = vec![0u8; size];
    // SAFETY: the buffer has the size that was asked for.
    unsafe { sys::nvrtcGetCUBIN(program.0, code.as_mut_ptr().cast()) }.result()?;
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nvrtc_is_known_by_its_file() {
        let folder = env::temp_dir().join(format!("segloss-nvrtc-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for name in ["libnvrtc.so.13", "libnvrtc-builtins.so.13.0", "libnvrtc.alt.so.13", "libcudart.so.13"] {
            fs::write(folder.join(name), "").unwrap();
        }
        assert_eq!(files(&folder, "libnvrtc."), [folder.join("libnvrtc.so.13")]);
        assert_eq!(files(&folder, "libnvrtc-builtins"), [folder.join("libnvrtc-builtins.so.13.0")]);
        fs::remove_dir_all(&folder).unwrap();
        assert!(files(&folder, "libnvrtc.").is_empty());
        assert!(of_cuda(Path::new("/a/libtorch_cuda.so")) && !of_cuda(Path::new("/a/libtorch_cpu.so")));
    }
}
