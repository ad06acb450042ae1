//! One command that checks everything: `cargo xtask test`.

mod device;
mod kernels;
mod libtorch;
mod nvrtc;
mod outside;
mod pages;
mod publish;
mod sources;
mod vulkan;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Checks the whole workspace, and provides LibTorch and Vulkan")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Format, lints, docs, features, tests and doctests: the cheapest first, stopping at the first
    /// failure
    Test(Scope),
    /// The cheap half of `test`: everything but the tests themselves
    Lint(Scope),
    /// Put LibTorch for the CPU under target/, from the Python package index; nothing is done where
    /// LIBTORCH is set
    Libtorch,
    /// Print the lines that let a shell find LibTorch: eval "$(cargo xtask env)"
    Env,
    /// Any cargo command with LibTorch in place, such as: cargo xtask tch run --release -p
    /// backend-tch --example train_tch
    Tch {
        /// Arguments of cargo
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
    /// Any cargo command with a Vulkan driver in place, in software where there is no GPU's: cargo
    /// xtask wgpu test -p backend-burn --features wgpu --test cube
    Wgpu {
        /// Arguments of cargo
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
    /// Compile the kernels of backend-tch for CUDA, without a GPU; part of `test`
    Nvrtc {
        /// Every source that the suite asks for, not only so many that each line is in one
        #[arg(long)]
        all: bool,
    },
    /// Make every page of the project on small data and open it in Chromium, narrow and wide, light
    /// and dark; part of `test`
    Pages {
        /// Leave the pages, and pictures of them, in this folder
        #[arg(long, value_name = "FOLDER")]
        keep: Option<PathBuf>,
    },
    /// Build and run a project outside of the workspace with Burn and tch; part of `test`
    Both,
    /// cargo publish --workspace, from a copy that is fit for it: cargo xtask publish --dry-run
    Publish {
        /// More arguments of cargo publish
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run the kernels' tests and the suite on them under the address sanitizer; needs a nightly
    /// toolchain
    Sanitize,
    /// Build target/device/bundle: tests and measurements for a machine with a GPU and Python's
    /// torch 2.11, which need not have Rust (docs/cuda.md)
    Device {
        /// How Burn's kernels get to Vulkan
        #[arg(long, value_enum, default_value = "both")]
        burn: device::Burn,
    },
    /// Measure the losses side by side with PyTorch and MONAI; `cargo xtask bench --help` says how
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments of the command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[derive(clap::Args)]
struct Scope {
    /// Leave out backend-tch, the only package that needs LibTorch
    #[arg(long)]
    without_tch: bool,
    /// Leave out the pages in a browser, which need Chromium
    #[arg(long)]
    without_pages: bool,
    /// Burn's kernels on wgpu too, which need Vulkan, and a second build of Burn, the longest of
    /// all
    #[arg(long)]
    with_wgpu: bool,
}

/// A step: what it is, the arguments of cargo, and what is added to them.
type Step = (&'static str, &'static [&'static str], With);

#[derive(Clone, Copy)]
enum With {
    Nothing,
    /// Warnings of rustdoc are errors.
    Warnings,
    /// To clippy: no panics.
    NoPanics,
    /// As on docs.rs: what only runs with CUDA is checked without it.
    NoCuda,
}

// backend-tch is a member, so that it shares the lock file and the lints, but what cargo does to
// the whole workspace leaves it out: it cannot be built without LibTorch.
const LINT: &[Step] = &[
    ("format", &["fmt", "--all", "--", "--check"], With::Nothing),
    ("lints", &["clippy", "--workspace", "--exclude", "backend-tch", "--all-targets", "--", "-D", "warnings"], With::Nothing),
    ("docs", &["doc", "--workspace", "--exclude", "backend-tch", "--no-deps"], With::Warnings),
    ("no panics beside tests", &["clippy", "--workspace", "--exclude", "backend-tch", "--lib", "--bins"], With::NoPanics),
    ("the facade without a backend", &["check", "-p", "segloss", "--no-default-features"], With::Nothing),
];

const TEST: &[Step] = &[
    ("tests and doctests", &["test", "--workspace", "--exclude", "backend-tch"], With::Nothing),
    // Nothing else compiles it: it needs CUDA to run.
    ("types of backend-burn on CUDA", &["check", "-p", "backend-burn", "--features", "cuda"], With::NoCuda),
    ("types of the command on CUDA", &["check", "-p", "segloss-cli", "--features", "cuda"], With::NoCuda),
    // Built for the bundle alone, from the trainer of `cli`.
    ("types of the bundle's Burn program", &["check", "-p", "device", "--features", "burn,train"], With::Nothing),
];

/// Public functions give errors: libraries and commands are compiled without their tests, which may
/// panic.
const NO_PANICS: &[&str] = &[
    "--",
    "-D",
    "clippy::unwrap_used",
    "-D",
    "clippy::expect_used",
    "-D",
    "clippy::panic",
    "-D",
    "clippy::unreachable",
    "-D",
    "clippy::todo",
    "-D",
    "clippy::unimplemented",
];

/// Run with LibTorch in place.
const LINT_TCH: &[Step] = &[
    (
        "lints of backend-tch",
        &["clippy", "-p", "backend-tch", "--all-targets", "--no-deps", "--", "-D", "warnings"],
        With::Nothing,
    ),
    (
        "lints of the bundle's programs with tch",
        &["clippy", "-p", "device", "--features", "tch", "--no-deps", "--", "-D", "warnings"],
        With::Nothing,
    ),
    ("no panics of backend-tch beside tests", &["clippy", "-p", "backend-tch", "--lib"], With::NoPanics),
    ("docs of backend-tch", &["doc", "-p", "backend-tch", "--no-deps"], With::Warnings),
    ("the facade with tch", &["check", "-p", "segloss", "--no-default-features", "--features", "tch"], With::Nothing),
];

const TEST_TCH: &[Step] = &[
    ("tests and doctests of backend-tch", &["test", "-p", "backend-tch"], With::Nothing),
    // The whole workspace is named so that Burn is built with the features it has been built with.
    (
        "segloss with tch, and every pair of backends",
        &[
            "test",
            "--workspace",
            "--exclude",
            "backend-tch",
            "--features",
            "segloss-cli/tch",
            "--test",
            "cli_eval",
            "--test",
            "agreement",
        ],
        With::Nothing,
    ),
];

/// Checked beside the rest, as they build Burn anew: with wgpu and fusion.
const LINT_WGPU: &[Step] = &[
    (
        "lints of backend-burn with wgpu",
        &["clippy", "-p", "backend-burn", "--features", "wgpu", "--all-targets", "--no-deps", "--", "-D", "warnings"],
        With::Nothing,
    ),
    ("no panics of it beside tests", &["clippy", "-p", "backend-burn", "--features", "wgpu", "--lib"], With::NoPanics),
    ("types of the command on wgpu", &["check", "-p", "segloss-cli", "--features", "wgpu"], With::Nothing),
    (
        "lints of the bundle's programs with wgpu",
        &["clippy", "-p", "device", "--features", "train", "--no-deps", "--", "-D", "warnings"],
        With::Nothing,
    ),
];

/// Run with a Vulkan driver in place.
const TEST_WGPU: &[Step] = &[(
    "the suite on wgpu",
    &["test", "-p", "backend-burn", "--features", "wgpu", "--lib", "--test", "cube", "--test", "cube_autodiff"],
    With::Nothing,
)];

/// What the commands of a step need beside cargo.
#[derive(Clone, Copy)]
enum Needs {
    Nothing,
    LibTorch,
    Vulkan,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Lint(scope) => check([&[LINT], &[LINT_WGPU], &[LINT_TCH]], false, &scope),
        Task::Test(scope) => check([&[LINT, TEST], &[LINT_WGPU, TEST_WGPU], &[LINT_TCH, TEST_TCH]], true, &scope),
        Task::Libtorch => libtorch::provide(),
        Task::Env => libtorch::print_env(),
        Task::Tch { arguments } => any(&arguments, Needs::LibTorch),
        Task::Wgpu { arguments } => vulkan::provide().and_then(|()| any(&arguments, Needs::Vulkan)),
        Task::Sanitize => kernels::sanitize().and_then(|done| {
            if done { Ok(()) } else { Err("needs a nightly toolchain: rustup toolchain install nightly".to_owned()) }
        }),
        Task::Both => {
            outside::both().and_then(|done| if done { Ok(()) } else { Err("only on Linux is its LibTorch fetched".to_owned()) })
        }
        Task::Pages { keep } => pages::check(keep.as_deref()),
        Task::Nvrtc { all } => nvrtc::compile(all),
        Task::Publish { arguments } => publish::publish(&arguments),
        Task::Device { burn } => device::bundle(burn),
        Task::Bench { arguments } => {
            let mut all = vec!["run", "--quiet", "--release", "-p", "benchmarks", "--"];
            all.extend(arguments.iter().map(String::as_str));
            cargo(&all, None, Needs::Nothing)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn any(arguments: &[String], needs: Needs) -> Result<(), String> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    cargo(&arguments, None, needs)
}

fn check([plain, wgpu, tch]: [&[&[Step]]; 3], tested: bool, scope: &Scope) -> Result<(), String> {
    let mut left_out = Vec::new();
    let pages = tested && !scope.without_pages;
    if pages {
        pages::find().map_err(|error| format!("{error}; --without-pages leaves them out"))?;
    }
    device::scripts()?;
    run(plain, Needs::Nothing)?;
    if pages {
        pages::check(None)?;
    } else if tested {
        left_out.push("the pages in a browser");
    }
    if tested {
        kernels::each_instruction_set()?;
        kernels::not_optimised()?;
        if !kernels::sanitize()? {
            left_out.push("the address sanitizer: there is no nightly toolchain");
        }
    }
    if scope.with_wgpu {
        vulkan::provide()?;
        run(wgpu, Needs::Vulkan)?;
    } else {
        left_out.push("Burn's kernels on wgpu: see --with-wgpu");
    }
    if scope.without_tch {
        left_out.push("backend-tch");
    } else {
        libtorch::provide()?;
        if tested && !nvrtc::provide()? {
            left_out.push("kernels for CUDA, compiled: only on Linux is NVRTC fetched");
        }
        run(tch, Needs::LibTorch)?;
        if tested {
            publish::publish(&["--dry-run".to_owned(), "--no-verify".to_owned()])?;
        }
        if tested && !outside::both()? {
            left_out.push("Burn and tch in one project: only on Linux is its LibTorch fetched");
        }
    }
    left_out.iter().for_each(|what| eprintln!("xtask: left out: {what}"));
    eprintln!("xtask: {}", if left_out.is_empty() { "everything passed" } else { "everything else passed" });
    Ok(())
}

fn run(steps: &[&[Step]], needs: Needs) -> Result<(), String> {
    for (what, arguments, with) in steps.iter().copied().flatten() {
        let start = Instant::now();
        let (mut arguments, mut variable) = (arguments.to_vec(), None);
        match with {
            With::Nothing => {}
            With::Warnings => variable = Some(("RUSTDOCFLAGS", "-D warnings")),
            With::NoPanics => arguments.extend_from_slice(NO_PANICS),
            With::NoCuda => variable = Some(("DOCS_RS", "1")),
        }
        eprintln!("xtask: {what}: cargo {}", arguments.join(" "));
        cargo(&arguments, variable, needs).map_err(|error| format!("{what}: {error}"))?;
        eprintln!("xtask: {what}: passed in {:.0} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

fn cargo(arguments: &[&str], variable: Option<(&str, &str)>, needs: Needs) -> Result<(), String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).envs(variable);
    match needs {
        Needs::Nothing => {}
        Needs::LibTorch => {
            libtorch::put_into(&mut command)?;
            nvrtc::put_into(&mut command);
        }
        Needs::Vulkan => vulkan::put_into(&mut command),
    }
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("failed".to_owned()),
        Err(error) => Err(format!("cannot run cargo: {error}")),
    }
}
