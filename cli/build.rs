//! With the feature `tch`: lets the command find LibTorch when it runs, where it was when it was
//! built.

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    let with_tch = std::env::var_os("CARGO_FEATURE_TCH").is_some();
    if let Some(libtorch) = std::env::var_os("LIBTORCH").filter(|_| with_tch) {
        let lib = std::path::Path::new(&libtorch).join("lib");
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
        if lib.join("libtorch_cuda.so").exists() {
            // As in backend-tch/build.rs.
            println!("cargo::rustc-link-arg=-Wl,--no-as-needed,-ltorch_cuda,--as-needed");
        }
    }
}
