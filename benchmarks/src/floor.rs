//! What the processor can do: plain C (`floor/floor.c`), compiled here for each number of classes.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::Child;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/floor/floor.c");

/// The floor's processes, one at a time.
pub(crate) struct Floor {
    /// Where programs are put.
    folder: PathBuf,
    threads: usize,
    /// `[N, K, *spatial]` of the case.
    shape: Vec<usize>,
    child: Option<Child>,
}

impl Floor {
    /// For so many threads; an error where nothing compiles it.
    pub(crate) fn new(folder: &Path, threads: usize) -> Result<Self, String> {
        let floor = Self { folder: folder.to_path_buf(), threads, shape: Vec::new(), child: None };
        floor.program(1)?;
        Ok(floor)
    }

    /// The next case; the process of the one before ends.
    pub(crate) fn load(&mut self, shape: &[usize]) {
        self.shape = shape.to_vec();
        self.child = None;
    }

    /// The process for the case.
    pub(crate) fn child(&mut self) -> Result<&mut Child, String> {
        if self.child.is_none() {
            let &[samples, classes, ref spatial @ ..] = &self.shape[..] else {
                return Err(format!("the floor has no case of shape {:?}", self.shape));
            };
            let mut command = Command::new(self.program(classes)?);
            command.args([samples, spatial.iter().product::<usize>()].map(|count| count.to_string()));
            command.env("OMP_NUM_THREADS", self.threads.to_string());
            self.child = Some(Child::start("the floor", &mut command)?);
        }
        self.child.as_mut().ok_or_else(|| "the floor did not start".to_owned())
    }

    /// Compiles it for so many classes.
    fn program(&self, classes: usize) -> Result<PathBuf, String> {
        let program = self.folder.join(format!("floor-{classes}"));
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let mut command = Command::new(&compiler);
        command.args(["-O3", "-march=native", "-ffast-math", "-fopenmp", &format!("-DK={classes}")]);
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx512f") {
            command.arg("-mprefer-vector-width=512");
        }
        let made =
            command.arg(SOURCE).arg("-o").arg(&program).arg("-lm").output().map_err(|error| format!("{compiler}: {error}"))?;
        if made.status.success() { Ok(program) } else { Err(String::from_utf8_lossy(&made.stderr).into_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Op, Request};

    #[test]
    fn it_is_asked_like_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let mut floor = match Floor::new(folder.path(), 2) {
            Ok(floor) => floor,
            // A test machine may have no compiler of C; `cargo xtask bench` then leaves the floor
            // out.
            Err(error) => return println!("no floor: {error}"),
        };
        assert!(floor.child().is_err());
        for shape in [[2, 1, 30, 50], [1, 3, 40, 40]] {
            floor.load(&shape);
            let run = |op| Request::Run { slot: "main".into(), work: "floor".into(), op, repeat: 2, threads: 2 };
            let value = floor.child().unwrap().ask(&run(Op::Value)).unwrap();
            let both = floor.child().unwrap().ask(&run(Op::Into)).unwrap();
            assert!(value.seconds.unwrap() > 0.0 && both.seconds.unwrap() > 0.0);
            // The same sums, whether or not a gradient is written.
            assert!((value.value.unwrap() / both.value.unwrap() - 1.0).abs() < 1e-6, "{value:?} {both:?}");
            assert!(floor.child().unwrap().ask(&Request::Forget).unwrap_err().contains("not a request to run"));
        }
    }
}
