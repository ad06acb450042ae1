//! Says which command provides LibTorch where it is missing (before torch-sys fails to compile
//! without it), and lets this package's own binaries find it when they run.

use std::env;
use std::path::PathBuf;

fn main() {
    for name in ["LIBTORCH", "LIBTORCH_LIB", "LIBTORCH_USE_PYTORCH"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    // Then torch-sys asks Python; and documentation needs no LibTorch.
    if env::var_os("LIBTORCH_USE_PYTORCH").is_some() || env::var_os("CARGO_FEATURE_DOC_ONLY").is_some() {
        return;
    }
    match env::var_os("LIBTORCH_LIB").or_else(|| env::var_os("LIBTORCH")).map(PathBuf::from) {
        Some(libtorch) if libtorch.join("lib").is_dir() => {
            println!("cargo::rustc-link-arg=-Wl,-rpath,{}", libtorch.join("lib").display());
            if libtorch.join("lib/libtorch_cuda.so").exists() {
                // A program calls nothing in it, and a linker leaves out what nothing calls.
                println!("cargo::rustc-link-arg=-Wl,--no-as-needed,-ltorch_cuda,--as-needed");
            }
        }
        Some(libtorch) => missing(&format!("LIBTORCH is {}, which has no `lib`", libtorch.display())),
        None => missing("LIBTORCH is not set"),
    }
}

fn missing(what: &str) {
    println!("cargo::error={what}: run `cargo xtask libtorch` once, which puts LibTorch there; or set LIBTORCH to where it is");
}
