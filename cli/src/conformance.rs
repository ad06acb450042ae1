//! `segloss conformance`: the suite on this machine, as a table, a page or JSON.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use conformance_tests::adapters::{BurnFused, BurnOperations, Ndarray};
use conformance_tests::agreement::Place;
use conformance_tests::report::{self, Progress, Report, short};
use conformance_tests::suite::{Selection, tests};
use conformance_tests::{Adapter, Dtype};
use indicatif::{ProgressBar, ProgressStyle};

use crate::error::CliError;
use crate::output::{self, Console};
use crate::table::Table;

/// Check the backends that were built in against the oracle and against each other
///
/// Each loss is computed in many situations and types by every backend and by a scalar oracle in
/// double precision. Errors are printed in units of what is allowed: above 1 a backend is wrong,
/// which ends in exit code 1. With --loss or --dtype, only cases of these losses and types are run.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
#[command(after_help = "Examples:
  segloss conformance --quick
  segloss conformance --report conformance.html
  segloss conformance --backend burn --loss dice --dtype f16 --dtype bf16 --json")]
pub(crate) struct ConformanceArgs {
    /// Backend to check, burn and tch by both their paths; all are those that this segloss was
    /// built with; may be given more than once
    #[arg(long, value_enum, default_values_t = [Backend::All])]
    backend: Vec<Backend>,
    /// Type of the logits; may be given more than once [default: all]
    #[arg(long, value_enum)]
    dtype: Vec<DtypeArg>,
    /// Only losses whose text contains this, in upper or lower case
    #[arg(long, value_name = "TEXT")]
    loss: Option<String>,
    /// Leave out the case of 10⁸ numbers
    #[arg(long)]
    quick: bool,
    /// Write a page with a heat map to this file
    #[arg(long, value_name = "OUT.html")]
    report: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Backend {
    Ndarray,
    Burn,
    Tch,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DtypeArg {
    F64,
    F32,
    F16,
    Bf16,
}

/// Failures that are printed one by one; the page and the JSON have them all.
const SHOWN: usize = 10;

/// Runs it.
pub(crate) fn run(args: &ConformanceArgs, console: &mut Console) -> Result<(), CliError> {
    let adapters = args.adapters()?;
    let selection = args.selection();
    if !adapters.iter().any(|adapter| tests(*adapter).iter().any(|test| selection.takes(test))) {
        let value = args.loss.clone().unwrap_or_default();
        let expected = "no loss of the suite contains it".into();
        return Err(CliError::Option { option: "loss", value, expected });
    }
    if let Some(path) = &args.report {
        output::check_writable(path)?;
    }
    let report = watched(&adapters, &selection)?;
    if let Some(path) = &args.report {
        output::write_file(path, report.html().as_bytes())?;
    }
    if args.json {
        console.line(&serde_json::to_string_pretty(&report).map_err(CliError::json)?)?;
    } else {
        console.line(&text(&report))?;
        if let Some(path) = &args.report {
            console.line(&format!("\npage written to {}", segloss_data::shown(path)))?;
        }
    }
    if report.agrees() { Ok(()) } else { Err(CliError::Disagreement(report.verdict())) }
}

impl ConformanceArgs {
    fn adapters(&self) -> Result<Vec<&'static dyn Adapter>, CliError> {
        let asked = |backend| self.backend.contains(&backend) || self.backend.contains(&Backend::All);
        let ndarray: &[&'static dyn Adapter] = if asked(Backend::Ndarray) { &[&Ndarray] } else { &[] };
        let burn: &[&'static dyn Adapter] = if asked(Backend::Burn) { &[&BurnFused, &BurnOperations] } else { &[] };
        #[cfg(feature = "tch")]
        let tch = if asked(Backend::Tch) { conformance_tests::adapters::Tch::here() } else { &[] };
        #[cfg(not(feature = "tch"))]
        let tch: &[&'static dyn Adapter] =
            if self.backend.contains(&Backend::Tch) { return Err(CliError::without_libtorch()) } else { &[] };
        Ok([ndarray, burn, tch].concat())
    }

    fn selection(&self) -> Selection {
        let dtype = |dtype: &DtypeArg| match dtype {
            DtypeArg::F64 => Dtype::F64,
            DtypeArg::F32 => Dtype::F32,
            DtypeArg::F16 => Dtype::F16,
            DtypeArg::Bf16 => Dtype::Bf16,
        };
        Selection { loss: self.loss.clone(), dtypes: self.dtype.iter().map(dtype).collect(), quick: self.quick }
    }
}

/// Runs the suite under a bar, which shows only on a terminal.
fn watched(adapters: &[&dyn Adapter], selection: &Selection) -> Result<Report, CliError> {
    let bar = ProgressBar::no_length();
    let style = ProgressStyle::with_template("[{bar:32}] {percent}% {eta} left  {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_millis(500));
    let progress = |Progress { done, of, test }: Progress<'_>| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
        bar.set_message(test.to_owned());
    };
    let report = report::run(adapters, selection, &progress).map_err(CliError::Disagreement);
    bar.finish_and_clear();
    report
}

fn text(report: &Report) -> String {
    let of_allowed = |worst: Option<&Place>| worst.map_or_else(String::new, |worst| short(worst.measured.times));
    let place = |worst: Option<&Place>| worst.map_or_else(String::new, Place::to_string);

    let mut backends = Table::new(["backend", "worst number", "error", "tests run", "of", "failed"]).left(2);
    for b in &report.backends {
        let [ran, declared, failed] = [b.ran, b.declared, b.failed].map(|count| count.to_string());
        backends.row([b.backend.clone(), place(b.worst.as_ref()), of_allowed(b.worst.as_ref()), ran, declared, failed]);
    }
    let mut lines = vec![backends.to_string()];
    if !report.pairs.is_empty() {
        let mut pairs = Table::new(["pair", "farthest apart in", "error", "cases", "too far apart"]).left(2);
        for p in &report.pairs {
            let [cases, apart] = [p.cases, p.disagreements.len()].map(|count| count.to_string());
            pairs.row([p.to_string(), place(p.worst.as_ref()), of_allowed(p.worst.as_ref()), cases, apart]);
        }
        lines.push(format!("\n{pairs}"));
    }
    let failures = report.failures.iter().map(|f| format!("{}::{}: {}", f.backend, f.test, f.message));
    let apart = report.pairs.iter().flat_map(|pair| {
        let line = |d: &conformance_tests::agreement::Disagreement| format!("{pair}: {}: {}", d.test, d.message);
        pair.disagreements.iter().map(line).collect::<Vec<_>>()
    });
    for (title, all) in [("failed", failures.collect::<Vec<_>>()), ("too far apart", apart.collect())] {
        lines.extend((!all.is_empty()).then(|| format!("\n  {title}")));
        lines.extend(all.iter().take(SHOWN).map(|line| format!("  {line}")));
        lines.extend((all.len() > SHOWN).then(|| format!("  … and {} more (see --report or --json)", all.len() - SHOWN)));
    }
    if report.agrees() {
        lines.push(format!("\n  {}", report.verdict()));
    }
    lines.push("  errors are in units of what is allowed".into());
    lines.join("\n")
}
