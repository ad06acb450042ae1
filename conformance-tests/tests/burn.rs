//! The suite on `backend-burn`, along both of its paths.

use conformance_tests::adapters::{BurnFused, BurnOperations};

fn main() -> std::process::ExitCode {
    conformance_tests::run(&[&BurnFused, &BurnOperations])
}
