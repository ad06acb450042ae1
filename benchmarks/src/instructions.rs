//! Instructions of one call, counted by valgrind's callgrind: the next run's are within a thousandth, however busy the
//! machine.
//!
//! Valgrind knows AVX2 and not AVX-512, so kernels that choose at run time choose AVX2 there.

use std::path::Path;
use std::process::Command;

use loss_core::{Activation, Loss, LossError};

use crate::cases::Case;
use crate::driver::{pool, slot};
use crate::protocol::{Dtype, LabelType, Op};

/// What is counted happens inside of this function and on its thread.
#[inline(never)]
fn counted_by_callgrind(call: &mut dyn FnMut() -> Result<f64, LossError>) -> Result<f64, LossError> {
    std::hint::black_box(call())
}

/// One call on one thread, marked for callgrind.
pub(crate) fn once(shape: &[usize], activation: Activation, loss: &str, op: Op) -> Result<(), String> {
    let words = |error: LossError| error.to_string();
    let loss = loss.parse::<Loss>().map_err(words)?.with_activation(activation);
    let mut slot = slot(shape, Dtype::F32, LabelType::I64).map_err(words)?;
    // With one thread the pool's only thread does everything.
    pool(1)?.install(|| slot.marked(&loss, op, counted_by_callgrind)).map_err(words)
}

/// Whether valgrind is there.
pub(crate) fn available() -> Result<(), String> {
    match Command::new("valgrind").arg("--version").output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("valgrind, which counts instructions, is not here: install it (Debian: apt-get install valgrind), or \
                  leave that out with --skip instructions"
            .to_owned()),
    }
}

/// Counts a call's instructions.
pub(crate) fn count(case: &Case, loss: &str, op: Op) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    count_in(&program, case, loss, op)
}

fn count_in(program: &Path, case: &Case, loss: &str, op: Op) -> Result<u64, String> {
    let text = |value: Result<String, serde_json::Error>| value.map_err(|error| error.to_string());
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted_by_callgrind*"]);
    valgrind.arg(program).arg("once");
    valgrind.arg(text(serde_json::to_string(case.shape))?).arg(case.sigmoid().to_string());
    valgrind.arg(loss).arg(text(serde_json::to_string(&op))?);
    let output = valgrind.output().map_err(|error| format!("cannot run valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match collected(&said) {
        Some(count) if output.status.success() && count > 0 => Ok(count),
        _ => Err(format!("valgrind counted nothing ({}):\n{said}", output.status)),
    }
}

/// The number behind `Collected :`.
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::COUNTED;

    #[test]
    fn what_callgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 412345\n==7== \n==7== I   refs:      412,345\n";
        assert_eq!(collected(said), Some(412_345));
        assert_eq!(collected("valgrind: no such program"), None);
    }

    #[test]
    fn what_is_counted_runs() {
        for op in [Op::Value, Op::Into, Op::Gradient] {
            once(&[1, 3, 9], Activation::Softmax, "ce + dice", op).unwrap();
        }
        assert!(once(&[1, 3, 9], Activation::Softmax, "no_such_term", Op::Value).unwrap_err().contains("no_such_term"));
    }

    #[test]
    fn a_program_that_does_not_count_is_an_error() {
        // Without valgrind, that is what is reported; with it, that nothing was counted.
        assert!(count_in(Path::new("true"), &COUNTED[0], "ce", Op::Value).unwrap_err().contains("valgrind"));
    }
}
