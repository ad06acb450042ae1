//! `segloss study`: which loss is better on which data, by how much, and how sure that is.

pub(crate) mod analysis;
mod markdown;
mod one;
mod page;
pub(crate) mod plan;
mod process;
pub(crate) mod record;
mod schedule;
mod sheet;
mod text;
mod trial;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use segloss_data::shown;

use self::plan::{Condition, Plan};
use self::schedule::Study;
use crate::error::CliError;
use crate::output::{self, Console};

/// Train several losses with several seeds, and say which is better and how sure that is
///
/// Losses are compared in pairs: a seed fixes images, first weights and batches for all of them.
/// The learning rate of each loss is the one of a grid with the greatest Dice on images that no
/// test sees, with a seed of its own. Test images choose nothing.
///
/// PLAN is a text file (TOML; docs/study.md). Without it, --data and --lesions name conditions.
/// Every run is kept in DIR/runs when it ends, as a small file. The same command goes on where it
/// was stopped or killed, and does only what is missing when losses, seeds or conditions were
/// added. Its numbers depend neither on the order of runs nor on what ran beside them.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
#[command(after_help = "Examples:
  segloss study --quick
  segloss study --data leaves --loss ce --loss 'ce + dice' --loss 'ce + l1' --seeds 4 --plan
  segloss study --lesions 2 --lesions 0.3:30 --out runs/sizes
  segloss study plan.toml --out runs/all")]
pub(crate) struct StudyArgs {
    /// File that says what to study
    #[arg(value_name = "PLAN", conflicts_with = "quick")]
    file: Option<PathBuf>,
    /// A loss, as text or by name; may be given more than once [default: seven of the paper]
    #[arg(long, value_name = "SPEC")]
    loss: Vec<String>,
    /// The loss that the others are compared with [default: the first]
    #[arg(long, value_name = "SPEC")]
    reference: Option<String>,
    /// Runs of each loss in each condition [default: 4]
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// A learning rate of the grid; may be given more than once, and once means no choice
    /// [default: 0.0015, 0.005, 0.015]
    #[arg(long, value_name = "RATE")]
    rate: Vec<f64>,
    /// A folder of images and masks as a condition; may be given more than once
    #[arg(long, value_name = "FOLDER")]
    data: Vec<PathBuf>,
    /// Made-up lesions of so many percent of each image, or of LOW:HIGH percent, as a condition;
    /// may be given more than once
    #[arg(long, value_name = "PERCENT")]
    lesions: Vec<String>,
    /// Epochs of the conditions named here [default: as `segloss train`]
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// A study of a few minutes on made-up images
    #[arg(long)]
    quick: bool,
    /// Runs side by side, a thread each [default: as many as there are processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "segloss-study")]
    out: PathBuf,
    /// Say what would be run and how long it takes, measured by a few steps of each condition
    #[arg(long)]
    plan: bool,
    /// Run nothing, and write the report of the runs that are there
    #[arg(long, conflicts_with = "plan")]
    report: bool,
    /// Does one run, in a process of its own.
    #[arg(long, hide = true)]
    job: Option<String>,
    /// Times a few steps of one.
    #[arg(long, hide = true)]
    trial: Option<String>,
}

/// Runs it.
pub(crate) fn run(args: &StudyArgs, console: &mut Console) -> Result<(), CliError> {
    if let Some(job) = args.job.as_ref().or(args.trial.as_ref()) {
        let job = serde_json::from_str(job).map_err(|error| CliError::Study(format!("a run of another version: {error}")))?;
        one::end_with_parent();
        one::on_this_thread();
        if args.trial.is_none() {
            return one::run(&args.out, &job);
        }
        return console.line(&serde_json::to_string(&trial::trial(&job)?).map_err(CliError::json)?);
    }
    let plan = args.resolved()?;
    plan.check()?;
    output::prepare_folder(&args.out)?;
    let _lock = locked(&args.out)?;
    let mut study = Study::open(&plan, &args.out)?;
    for line in plan::lines(&plan) {
        console.line(&line)?;
    }
    console.line(&format!("runs        {} of {} are there", study.records.len(), study.count()))?;
    console.line("")?;
    if args.plan {
        let missing: Vec<usize> = plan.conditions.iter().map(|condition| study.missing(condition)).collect();
        return console.line(&trial::estimate(&plan, &args.out, args.workers(), &missing)?);
    }
    if args.report {
        return conclude(&args.out, &plan, &study, console);
    }
    let stop = Arc::new(AtomicBool::new(false));
    crate::train::watch::listen_for_ctrl_c(&stop, "stopping; runs under way are not kept");
    let ran = study.run(args.workers(), &stop, console);
    conclude(&args.out, &plan, &study, console)?;
    ran
}

/// Writes and says what the runs that are there come to.
fn conclude(out: &Path, plan: &Plan, study: &Study<'_>, console: &mut Console) -> Result<(), CliError> {
    let analysis = analysis::analysis(plan, study)?;
    if analysis.conditions.is_empty() {
        return Ok(());
    }
    let json = serde_json::to_string_pretty(&analysis).map_err(CliError::json)?;
    output::write_file(&out.join("analysis.json"), format!("{json}\n").as_bytes())?;
    output::write_file(&out.join("results.csv"), &text::table(&study.records)?)?;
    output::write_file(&out.join("tables.md"), markdown::markdown(&analysis).as_bytes())?;
    page::write(&out.join("report.html"), plan, &analysis, &study.records, out)?;
    console.line("")?;
    console.line(&text::text(&analysis))?;
    console.line(&format!("\nsaved in {}: report.html, tables.md, analysis.json, results.csv, runs", shown(out)))
}

impl StudyArgs {
    /// The plan of the file, or of the options; options change what the file says.
    fn resolved(&self) -> Result<Plan, CliError> {
        let mut plan = match (&self.file, self.quick) {
            (Some(file), _) => Plan::read(file)?,
            (None, true) => Plan::quick(),
            (None, false) => Plan::default(),
        };
        if !self.loss.is_empty() {
            plan.losses.clone_from(&self.loss);
            plan.reference.clone_from(&self.loss[0]);
        }
        if let Some(reference) = &self.reference {
            plan.reference.clone_from(reference);
        }
        plan.seeds = self.seeds.unwrap_or(plan.seeds);
        if !self.rate.is_empty() {
            plan.rates.clone_from(&self.rate);
        }
        let named = self.lesions.iter().map(|size| Condition::lesions(size));
        for mut condition in named.chain(self.data.iter().map(|folder| Condition::data(folder))) {
            condition.options.extend(self.epochs.map(|epochs| ("epochs".into(), epochs.to_string())));
            plan.conditions.push(condition);
        }
        Ok(plan)
    }

    fn workers(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.map_or_else(processors, usize::from)
    }
}

/// Keeps another study out of a folder for as long as the file is open.
fn locked(out: &Path) -> Result<File, CliError> {
    let path = out.join(".lock");
    let file = File::create(&path).map_err(|error| CliError::io(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(CliError::Study(format!("another study is at work in {}; wait for it, or give another --out", shown(out))))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(CliError::io(&path, error)),
    }
}
