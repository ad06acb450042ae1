//! Proof that every backend computes the same loss.
//!
//! A backend is tested through an [`Adapter`]: numbers in, numbers out. [`run`] checks it against the scalar [`oracle`] on every
//! [case](cases), each a test with a name of its own, `loss/activation/shape/situation/dtype`, and against every row of the
//! semantics table ([`semantics`]). A test binary of a backend is
//!
//! ```no_run
//! # #[cfg(feature = "ndarray")]
//! fn main() -> std::process::ExitCode {
//!     conformance_tests::run(&[&conformance_tests::adapters::Ndarray])
//! }
//! # #[cfg(not(feature = "ndarray"))]
//! # fn main() {}
//! ```

pub mod adapter;
pub mod adapters;
pub mod cases;
pub mod oracle;
pub mod semantics;
pub mod tolerance;

pub use adapter::{Adapter, Dtype, Input, Labels, Output};

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// Runs every case and every semantics check on the adapters, as a test binary with `harness = false`.
#[must_use]
pub fn run(adapters: &[&'static dyn Adapter]) -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for &adapter in adapters {
        for case in cases::all() {
            for dtype in Dtype::ALL.into_iter().filter(|dtype| adapter.supports(*dtype)) {
                let case = case.clone();
                let name = format!("{}::{}/{}", adapter.name(), case.name, dtype);
                trials.push(Trial::test(name, move || case.check(adapter, dtype).map_err(Failed::from)));
            }
        }
        for &(name, check) in semantics::CHECKS {
            let name = format!("{}::semantics::{name}", adapter.name());
            trials.push(Trial::test(name, move || check(adapter).map_err(Failed::from)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
