//! The suite on `backend-ndarray`.

fn main() -> std::process::ExitCode {
    conformance_tests::run(&[&conformance_tests::adapters::Ndarray])
}
