//! The kernels of CUDA, compiled by NVRTC for two architectures: no GPU and no driver is needed.
//!
//! Of all sources that the suite asks for, so many are compiled that each of their lines is in one;
//! all of them where `SEGLOSS_NVRTC_ALL` is set.

use std::collections::{BTreeSet, HashSet};
use std::env;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use backend_tch::cuda::{Compiler, Failure, Kernel, Kernels, Launcher, algebra_source, forward_by, nvrtc};
use conformance_tests::adapters::Tch;
use conformance_tests::{cases, suite};

const ARCHITECTURES: [&str; 2] = ["sm_80", "sm_90"];

/// Keeps sources, and compiles none.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<BTreeSet<String>>>);

impl Launcher for Recorder {
    fn name(&self) -> &'static str {
        "the recorder"
    }

    fn threads(&self) -> usize {
        128
    }

    fn blocks(&self) -> usize {
        1
    }

    fn compile(&self, source: &str, _: &[Kernel]) -> Result<Arc<dyn Kernels>, Failure> {
        self.0.lock().unwrap().insert(source.to_owned());
        Err("it was kept".into())
    }
}

/// Every source that a case of the suite asks for.
fn sources() -> BTreeSet<String> {
    let recorder = Recorder::default();
    let compiler = Compiler::new(Box::new(recorder.clone()));
    for test in suite::tests(&Tch::FUSED) {
        let Some((case, dtype)) = test.case() else { continue };
        let (logits, target) = Tch::FUSED.tensors(&case.input, dtype).unwrap();
        let error = forward_by(&compiler, &case.loss().unwrap(), &logits, &target).unwrap_err().to_string();
        assert_eq!(error, "the recorder failed in compiling kernels: it was kept", "{}", test.name);
    }
    assert!(cases::all().len() > 1000);
    drop(compiler);
    std::mem::take(&mut recorder.0.lock().unwrap())
}

/// So many that each line of all of them is in one: those with the most new lines first.
fn representatives(sources: &BTreeSet<String>) -> Vec<&str> {
    let mut left: HashSet<&str> = sources.iter().flat_map(|source| source.lines()).collect();
    let mut chosen = Vec::new();
    let new = |left: &HashSet<&str>, source: &str| source.lines().filter(|line| left.contains(line)).count();
    while let Some(best) = sources.iter().max_by_key(|source| new(&left, source)).filter(|_| !left.is_empty()) {
        best.lines().for_each(|line| _ = left.remove(line));
        chosen.push(best.as_str());
    }
    chosen
}

#[test]
fn every_kind_of_kernel_compiles_for_both_architectures() {
    let say = |text: String| _ = writeln!(std::io::stderr(), "every_kind_of_kernel_compiles: {text}");
    if let Some(missing) = nvrtc::missing() {
        // Asked for, and not there.
        assert!(env::var_os(nvrtc::VARIABLE).is_none(), "{missing}");
        return say(format!("not run: {missing}"));
    }
    let mut all = sources();
    all.insert(algebra_source(128));
    let chosen = match env::var_os("SEGLOSS_NVRTC_ALL") {
        Some(_) => all.iter().map(String::as_str).collect(),
        None => representatives(&all),
    };
    let work: Vec<(&str, &str)> =
        chosen.iter().flat_map(|source| ARCHITECTURES.map(|architecture| (*source, architecture))).collect();
    let (next, size) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((source, architecture)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let code = nvrtc::compile(source, architecture);
                    let code = code.unwrap_or_else(|error| panic!("{architecture}: {error}\n{source}"));
                    size.fetch_max(code.len(), Ordering::Relaxed);
                }
            });
        }
    });
    say(format!("{} of {} sources for {ARCHITECTURES:?}, {} bytes at most", chosen.len(), all.len(), size.into_inner()));
}
