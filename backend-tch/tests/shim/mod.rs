//! The kernels of CUDA, compiled for the CPU by a C++ compiler and run there: threads, blocks and
//! shuffles as they are, but for the time they take.
//!
//! A source is compiled once and kept under `target/tmp/shim`, by a hash of its text.
#![allow(unsafe_code)]

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use backend_tch::cuda::{Compiler, Failure, Kernel, Kernels, Launcher};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// CUDA's words.
const WORDS: &str = include_str!("cuda.h");
/// What runs blocks.
const RUN: &str = include_str!("run.cpp");

/// Two warps, so that they have something to tell each other.
const THREADS: u32 = 64;

/// A kernel, called with its arguments' address.
type Called = unsafe extern "C" fn(*const u64);
/// `shim_launch` of `run.cpp`.
type Launch = unsafe extern "C" fn(Called, *const u64, u32, u32);

/// Launches kernels on this thread.
pub(crate) struct Shim {
    /// Blocks that it asks for.
    pub(crate) blocks: usize,
    /// A part of the source that is replaced by another, to see that tests notice.
    pub(crate) fault: Option<(&'static str, &'static str)>,
}

impl Shim {
    /// A compiler that asks for so many blocks.
    pub(crate) fn compiler(blocks: usize) -> Compiler {
        Compiler::new(Box::new(Self { blocks, fault: None }))
    }
}

/// Compiles a text, unless it was before.
fn compiled(text: &str, options: &[&str]) -> Result<PathBuf, Failure> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let mut hasher = DefaultHasher::new();
    (text, options).hash(&mut hasher);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shim");
    fs::create_dir_all(&folder)?;
    let library = folder.join(format!("{:016x}.so", hasher.finish()));
    if library.exists() {
        return Ok(library);
    }
    // Under another name until it is whole: other threads and processes compile as well.
    let part = folder.join(format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let (source, out) = (part.with_extension("cpp"), part.with_extension("so"));
    fs::write(&source, text)?;
    let mut command = Command::new(std::env::var_os("CXX").unwrap_or_else(|| "c++".into()));
    command.args(["-std=c++17", "-w", "-fPIC", "-shared"]).args(options).arg("-o").arg(&out).arg(&source);
    let output = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{}: {}", source.display(), String::from_utf8_lossy(&output.stderr)).into());
    }
    fs::rename(&out, &library)?;
    fs::remove_file(&source)?;
    Ok(library)
}

fn open(library: &Path, flags: i32) -> Result<Library, Failure> {
    // SAFETY: the library was compiled from this package's own sources; loading it runs nothing.
    Ok(unsafe { Library::open(Some(library), flags) }?)
}

/// What runs blocks, loaded once and where the kernels find it.
static LAUNCH: LazyLock<Result<Launch, String>> = LazyLock::new(|| {
    let load = || -> Result<Launch, Failure> {
        let library = open(&compiled(RUN, &["-O2"])?, RTLD_NOW | RTLD_GLOBAL)?;
        // SAFETY: the type is that of the function in `run.cpp`; the library is never unloaded.
        let launch = unsafe { *library.get::<Launch>(b"shim_launch")? };
        std::mem::forget(library);
        Ok(launch)
    };
    load().map_err(|error| error.to_string())
});

struct Compiled(Library);

impl Launcher for Shim {
    fn name(&self) -> &'static str {
        "CUDA on the CPU"
    }

    fn threads(&self) -> usize {
        THREADS as usize
    }

    fn blocks(&self) -> usize {
        self.blocks
    }

    fn compile(&self, source: &str, kernels: &[Kernel]) -> Result<Arc<dyn Kernels>, Failure> {
        LAUNCH.as_ref().map_err(String::as_str)?;
        let call = |kernel: &Kernel| {
            let name = kernel.name();
            format!("extern \"C\" void call_{name}(const void *a) {{ {name}(*(const Arguments *)a); }}\n")
        };
        let faulty = self.fault.filter(|_| kernels == Kernel::OF_A_PLAN).map(|(right, wrong)| {
            assert_eq!(source.matches(right).count(), 1, "`{right}`");
            source.replace(right, wrong)
        });
        let text = [WORDS, faulty.as_deref().unwrap_or(source)]
            .into_iter()
            .map(str::to_owned)
            .chain(kernels.iter().map(call))
            .collect::<String>();
        Ok(Arc::new(Compiled(open(&compiled(&text, &["-O0"])?, RTLD_NOW)?)))
    }
}

impl Kernels for Compiled {
    unsafe fn launch(&self, kernel: Kernel, blocks: u32, arguments: &[u64]) -> Result<(), Failure> {
        let launch = LAUNCH.as_ref().map_err(String::as_str)?;
        // SAFETY: the function was written beside the kernels, of this type, and is called while
        // its library is loaded.
        let kernel = unsafe { *self.0.get::<Called>(format!("call_{}", kernel.name()).as_bytes())? };
        // SAFETY: the caller's promise of the arguments; nothing runs after this returns.
        unsafe { launch(kernel, arguments.as_ptr(), blocks, THREADS) };
        Ok(())
    }
}
