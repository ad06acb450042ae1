//! The conformance suite on `backend-tch`, along both of its paths, and on CUDA where there is one.

fn main() -> std::process::ExitCode {
    conformance_tests::run(conformance_tests::adapters::Tch::here())
}
