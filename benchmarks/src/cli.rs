//! The command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use loss_core::Activation;

use crate::child::Child;
use crate::floor::Floor;
use crate::plan::{Axis, CROSS_ENTROPY_OF_TORCH, Job, OURS, Side, Wanted};
use crate::plot::{self, Line};
use crate::protocol::{Op, Request};
use crate::results::{Results, Section};
use crate::session::{Scratch, Session};
use crate::summary::exponent;
use crate::{docs, driver, instructions, machine::Machine, python};

/// Measure the losses side by side with PyTorch and MONAI
///
/// Each engine is a process of its own and works alone, in turn, with the same logits and as many threads;
/// what is compared is the median of the ratios of the rounds. Before anything is timed, value and gradient
/// of both are found to be the same. Python and its packages are installed once, under target/ (5 GB).
///
/// Ours is measured through backend-ndarray, float32, `ce + dice + l1` where nothing else is said. Logits
/// are uniform in -3..3 and labels are drawn pixel by pixel, as int64. "array given": the gradient goes to
/// an array that is there, else to a new one, as PyTorch's does.
#[derive(Parser)]
#[command(
    name = "cargo xtask bench",
    bin_name = "cargo xtask bench",
    verbatim_doc_comment,
    args_conflicts_with_subcommands = true
)]
#[command(after_help = "Examples:
  cargo xtask bench --quick                       under a minute, once Python is there
  cargo xtask bench --only main --case 4x20       one case of the main comparison
  cargo xtask bench --only instructions           repeatable, however busy the machine
  cargo xtask bench --write-docs                  everything, into docs/benchmarks.md

Let nothing else run meanwhile: the load of the machine before and after is printed under every table.")]
struct Arguments {
    #[command(subcommand)]
    engine: Option<Engine>,
    /// Only these parts; may be given more than once [default: all]
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Section>,
    /// Leave these parts out; may be given more than once
    #[arg(long, value_enum, value_name = "PART")]
    skip: Vec<Section>,
    /// Only cases whose name contains this, such as 4x20 or sigmoid (of growth: pixels, samples, classes)
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Small cases and few rounds, to see that everything works
    #[arg(long)]
    quick: bool,
    /// Rounds of every measurement [default: 9; 3 with --quick]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Threads of every engine
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// A Python interpreter that has torch and MONAI, in place of the one that is installed under target/
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Measure ours alone
    #[arg(long, conflicts_with = "python")]
    without_python: bool,
    /// Leave out torch.compile, which needs a C++ compiler
    #[arg(long)]
    without_compile: bool,
    /// Folder for tables.md, results.json and plots [default: target/benchmarks]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Measure nothing: make tables and plots of a results.json
    #[arg(long, value_name = "results.json", conflicts_with_all = ["quick", "rounds", "python", "without_python", "without_compile"])]
    from: Option<PathBuf>,
    /// Put the tables into docs/benchmarks.md, and the plots beside it; parts that were not measured stay
    #[arg(long)]
    write_docs: bool,
}

/// What the command starts of itself.
#[derive(Subcommand)]
enum Engine {
    /// Our side of the pipes
    #[command(hide = true)]
    Driver,
    /// One call, for callgrind
    #[command(hide = true)]
    Once {
        shape: String,
        #[arg(action = clap::ArgAction::Set)]
        sigmoid: bool,
        loss: String,
        op: String,
    },
}

/// The whole command, with its exit code.
#[must_use]
pub fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("segloss-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    match &arguments.engine {
        Some(Engine::Driver) => driver::serve(std::io::stdin().lock(), std::io::stdout().lock()),
        Some(Engine::Once { shape, sigmoid, loss, op }) => {
            let read = |error: serde_json::Error| error.to_string();
            let shape: Vec<usize> = serde_json::from_str(shape).map_err(read)?;
            let activation = if *sigmoid { Activation::Sigmoid } else { Activation::Softmax };
            let op: Op = serde_json::from_str(op).map_err(read)?;
            instructions::once(&shape, activation, loss, op)
        }
        None => compare(arguments),
    }
}

/// All sections, those asked for, in their order.
fn sections(only: &[Section], skip: &[Section]) -> Vec<Section> {
    let asked = |section: &Section| (only.is_empty() || only.contains(section)) && !skip.contains(section);
    Section::value_variants().iter().copied().filter(asked).collect()
}

fn compare(arguments: &Arguments) -> Result<(), String> {
    let sections = sections(&arguments.only, &arguments.skip);
    let out = arguments.out.clone().unwrap_or_else(|| python::workspace().join("target/benchmarks"));
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let results = match &arguments.from {
        Some(path) => Results::read(path)?,
        None => {
            let path = out.join("results.json");
            let results = measure(arguments, &sections, &out, &path)?;
            results.save(&path)?;
            results
        }
    };
    let page = results.page(&sections);
    let path = out.join("tables.md");
    fs::write(&path, &page).map_err(|error| format!("{}: {error}", path.display()))?;
    plots(&results, &sections, &out, "")?;
    if arguments.write_docs {
        let folder = python::workspace().join("docs");
        let table = |section: &Section| Some((section.name(), results.table(*section)?));
        docs::rewrite(&folder.join("benchmarks.md"), &sections.iter().filter_map(table).collect::<Vec<_>>())?;
        plots(&results, &sections, &folder, "benchmarks-")?;
    }
    println!("{page}\nAll of it, with every number: {}", out.display());
    Ok(())
}

/// Draws what was measured of it.
fn plots(results: &Results, sections: &[Section], folder: &Path, prefix: &str) -> Result<(), String> {
    let draw = |section: Section, title: &str, lines: Vec<Line>| {
        let lines: Vec<Line> = lines.into_iter().filter(|line| !line.points.is_empty()).collect();
        let path = folder.join(format!("{prefix}{}.svg", section.name()));
        if lines.is_empty() || !sections.contains(&section) { Ok(()) } else { plot::write(&path, title, &lines) }
    };
    let growth = [Axis::Pixels, Axis::Samples, Axis::Classes].map(|axis| {
        let points = results.points(Section::Growth, |s| s.case == axis.name());
        let slope = exponent(&points).map_or_else(String::new, |slope| format!(" (exponent {slope:.2})"));
        Line { name: format!("more {}{slope}", axis.name()), points }
    });
    draw(Section::Growth, "Value and gradient of ce + dice + l1", growth.into())?;
    let engines = [OURS, CROSS_ENTROPY_OF_TORCH]
        .map(|who| Line { name: who.to_owned(), points: results.points(Section::Ce, |s| s.who == who && s.op == Op::Both) });
    draw(Section::Ce, "Value and gradient of Cross-Entropy", engines.into())
}

/// Whether a job is for a side.
fn is_for(job: &Job, side: Side) -> bool {
    match job {
        Job::Load { python, .. } => side == Side::Ours || *python,
        Job::Agree { .. } => true,
        Job::Measure { contenders, .. } => contenders.iter().any(|(_, contender)| contender.side == side),
        Job::Memory { contender, .. } => contender.side == side,
        Job::Forget | Job::Instructions { .. } => false,
    }
}

fn measure(arguments: &Arguments, sections: &[Section], out: &Path, save_to: &Path) -> Result<Results, String> {
    let (quick, threads) = (arguments.quick, usize::from(arguments.threads));
    let wanted = Wanted {
        sections: sections.to_vec(),
        case: arguments.case.clone(),
        quick,
        rounds: arguments.rounds.map_or(if quick { 3 } else { 9 }, usize::from),
        threads,
        python: !arguments.without_python,
        compile: !arguments.without_compile,
        floor: false,
    };
    let floor = if sections.contains(&Section::Main) {
        let made = Floor::new(out, threads);
        made.inspect_err(|error| eprintln!("segloss-bench: without the floor, which needs a compiler of C: {error}")).ok()
    } else {
        None
    };
    let wanted = Wanted { floor: floor.is_some(), ..wanted };
    let jobs = wanted.jobs();
    if jobs.is_empty() {
        let parts: Vec<String> = sections.iter().map(|section| section.name()).collect();
        let small = if quick { " among the small ones of --quick" } else { "" };
        let named = arguments.case.as_ref().map_or_else(String::new, |case| format!(" with `{case}` in its name"));
        return Err(format!("nothing to measure: no case of {}{named}{small}", parts.join(", ")));
    }
    // What is missing is said before anything is measured.
    if jobs.iter().any(|job| matches!(job, Job::Instructions { .. })) {
        instructions::available()?;
    }
    let mut machine = Machine::this();
    let python = if jobs.iter().any(|job| is_for(job, Side::Python)) {
        let (child, versions) =
            python::start(&python::provide(arguments.python.as_deref())?, threads, &out.join("python.log"))?;
        machine.versions.extend(versions);
        Some(child)
    } else {
        None
    };
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut ours =
        Child::start("our driver", Command::new(program).arg("driver").env("RAYON_NUM_THREADS", threads.to_string()))?;
    ours.ask(&Request::Hello { threads })?;

    let bar = ProgressBar::new(jobs.iter().map(Job::steps).sum());
    let style = ProgressStyle::with_template("[{bar:32}] {percent}% {eta} left  {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_millis(500));
    let start = Instant::now();
    let scratch = Scratch::new(out)?;
    let results = Results { machine, rounds: wanted.rounds, threads, quick, ..Results::default() };
    let mut session = Session { ours, python, floor, folder: &scratch.0, bar: &bar, results, save_to };
    let done = jobs.into_iter().try_for_each(|job| session.run(job));
    bar.finish_and_clear();
    done?;
    session.results.machine.note_load();
    eprintln!("segloss-bench: measured in {:.0} s", start.elapsed().as_secs_f64());
    Ok(session.results)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_is_well_formed() {
        Arguments::command().debug_assert();
        let help = Arguments::command().render_long_help().to_string();
        assert!(help.contains("--write-docs") && !help.contains("driver"), "{help}");
    }

    #[test]
    fn parts_that_were_asked_for() {
        use Section::{Ce, Main, Volume};
        assert_eq!(sections(&[Ce, Main], &[]), [Main, Ce]);
        assert_eq!(sections(&[Ce, Main], &[Ce]), [Main]);
        let most = sections(&[], &[Volume]);
        assert!(!most.contains(&Volume) && most.len() + 1 == Section::value_variants().len());
    }

    #[test]
    fn tables_and_plots_of_earlier_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.json");
        let grown = |logits: usize| crate::results::Series {
            section: Section::Growth,
            case: "pixels".to_owned(),
            logits,
            who: "x".to_owned(),
            op: Op::Into,
            repeat: 1,
            seconds: vec![1e-9 * logits as f64],
        };
        let results = Results { series: vec![grown(1000), grown(100_000)], ..Results::default() };
        fs::write(&path, serde_json::to_string(&results).unwrap()).unwrap();
        let text = |path: &Path| path.display().to_string();
        let arguments = Arguments::parse_from(["bench", "--from", &text(&path), "--out", &text(folder.path())]);
        run(&arguments).unwrap();
        assert!(fs::read_to_string(folder.path().join("tables.md")).unwrap().contains("| pixels | 1e3 to 1e5 |"));
        assert!(fs::read_to_string(folder.path().join("growth.svg")).unwrap().contains("exponent 1.00"));
        fs::write(&path, "{").unwrap();
        assert!(run(&arguments).unwrap_err().contains("old.json"));
        results.save(&path).unwrap();
        assert_eq!(Results::read(&path).unwrap(), results);
    }
}
