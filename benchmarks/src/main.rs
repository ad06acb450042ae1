//! `segloss-bench`: see the library.

use std::process::ExitCode;

/// Counts what every call allocates; four atomic operations an allocation, and the kernels allocate hardly anything.
#[global_allocator]
static COUNTING: benchmarks::Counting = benchmarks::Counting;

fn main() -> ExitCode {
    benchmarks::main()
}
