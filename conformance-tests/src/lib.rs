//! Proof that every backend computes the same loss.
//!
//! A backend is tested through an [`Adapter`]: numbers in, numbers out. The suite checks it against
//! the scalar [`oracle`] on every [case](cases), each a test with a name of its own,
//! `loss/activation/situation/dtype`, against every row of the [`semantics`] table, and against the
//! [`defects`] of other libraries. The test binary of a backend, one with `harness = false` in its
//! manifest, is a line:
//!
//! ```no_run
//! # #[cfg(feature = "ndarray")] mod test {
//! use conformance_tests::adapters::Ndarray;
//! conformance_tests::conformance_suite!(Ndarray);
//! # }
//! ```
//!
//! A backend with an [algebra](loss_core::expr::Algebra) of its own tests that beside it, by
//! [`laws::check_algebra`].
//!
//! [`agreement`] compares backends with each other, and [`report`] puts all of it into one report;
//! `segloss conformance` prints it.
//!
//! A backend outside of this workspace needs `loss-core` and this crate without its default
//! features; `conformance-tests/outsider` is one, whole.

pub mod adapter;
pub mod adapters;
pub mod agreement;
pub mod cases;
mod check;
pub mod defects;
pub mod inputs;
pub mod laws;
pub mod ledger;
pub mod oracle;
pub mod report;
pub mod semantics;
pub mod suite;
pub mod tolerance;
mod work;

pub use adapter::{Adapter, Dtype, Input, InputMap, Labels, Output, Shares, parts_of};
pub use check::Check;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libtest_mimic::{Arguments, Failed, Trial};

/// Writes the `main` of a backend's test binary: the whole suite on each adapter named.
#[macro_export]
macro_rules! conformance_suite {
    ($($adapter:expr),+ $(,)?) => {
        fn main() -> std::process::ExitCode {
            $crate::run(&[$(&$adapter),+])
        }
    };
}

/// The environment variable that, set to anything, ends [`run`] at the first test that fails.
pub const FAIL_FAST: &str = "CONFORMANCE_FAIL_FAST";

/// Runs the suite on the adapters, as a test binary with `harness = false`. Prints how many tests
/// each ran, and fails where one ran fewer than it declares. [`FAIL_FAST`] ends it at the first
/// test that fails.
#[must_use]
pub fn run(adapters: &[&'static dyn Adapter]) -> ExitCode {
    let arguments = Arguments::from_args();
    let fail_fast = std::env::var_os(FAIL_FAST).is_some();
    let mut trials = Vec::new();
    let mut counts = Vec::new();
    for &adapter in adapters {
        let tests = suite::tests(adapter);
        let ledger = match suite::ledger(adapter, &tests) {
            Ok(ledger) => Arc::new(ledger),
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        };
        let ran = Arc::new(AtomicUsize::new(0));
        counts.push((adapter.name(), tests.len(), Arc::clone(&ran)));
        for test in tests {
            let (ledger, ran) = (Arc::clone(&ledger), Arc::clone(&ran));
            let name = format!("{}::{}", adapter.name(), test.name);
            trials.push(Trial::test(name.clone(), move || {
                ran.fetch_add(1, Ordering::Relaxed);
                ledger.judge(&test.name, work::guarded(|| test.run(adapter))).map_err(|error| {
                    if fail_fast {
                        eprintln!("{name}: {error}\n{FAIL_FAST} is set: the rest is left out");
                        std::process::exit(101);
                    }
                    Failed::from(error)
                })
            }));
        }
    }
    let whole = !arguments.list && arguments.filter.is_none() && arguments.skip.is_empty();
    let conclusion = libtest_mimic::run(&arguments, trials);
    for (name, declared, ran) in counts.into_iter().filter(|_| whole) {
        let ran = ran.load(Ordering::Relaxed);
        println!("{name}: {ran} of {declared} cases ran");
        if ran < declared {
            return ExitCode::FAILURE;
        }
    }
    conclusion.exit_code()
}
