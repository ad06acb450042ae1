//! The `segloss` command: evaluate a loss on arrays, measure which size it wants, list the losses,
//! look at a folder of data, train a small network and use it, score predictions, check the
//! backends.

mod bias;
mod conformance;
mod curves;
mod data;
mod error;
mod eval;
mod landscape;
mod losses;
mod metrics;
mod npy;
mod npz;
mod output;
mod page;
mod predict;
mod table;
mod train;

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::error::CliError;
use crate::output::Console;

/// Segmentation losses, taken apart into ground-truth matching and region size
#[derive(Parser, Debug)]
#[command(name = "segloss", version, arg_required_else_help = true)]
#[command(after_help = "Examples:
  segloss losses
  segloss data FOLDER
  segloss train --loss 'ce + l1'
  segloss predict --model segloss-train --data FOLDER --out predicted
  segloss eval --loss ce+dice --logits Z.npy --target Y.npy
  segloss metrics --prediction P --target T
  segloss bias --logits Z.npy --target Y.npy
  segloss landscape --picture landscape.png
  segloss conformance --report conformance.html")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    // Boxed, as others with many options.
    Eval(Box<eval::EvalArgs>),
    Bias(Box<bias::BiasArgs>),
    Landscape(landscape::LandscapeArgs),
    Losses(losses::LossesArgs),
    Data(Box<data::DataArgs>),
    Train(Box<train::TrainArgs>),
    Metrics(Box<metrics::MetricsArgs>),
    Predict(Box<predict::PredictArgs>),
    Conformance(conformance::ConformanceArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return unparsed(&error),
    };
    let mut console = Console::new();
    let result = match &cli.command {
        Command::Eval(args) => eval::run(args, &mut console),
        Command::Bias(args) => bias::run(args, &mut console),
        Command::Landscape(args) => landscape::run(args, &mut console),
        Command::Losses(args) => losses::run(args, &mut console),
        Command::Data(args) => data::run(args, &mut console),
        Command::Train(args) => train::run(args, &mut console),
        Command::Metrics(args) => metrics::run(args, &mut console),
        Command::Predict(args) => predict::run(args, &mut console),
        Command::Conformance(args) => conformance::run(args, &mut console),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(CliError::OutputClosed) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Prints help where it was asked for, and what is wrong with a command line in one line where it
/// was not.
fn unparsed(error: &clap::Error) -> ExitCode {
    use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    if matches!(error.kind(), DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand) {
        // A reader who has gone needs no help.
        let _ = error.print();
    } else {
        complain(&one_line(&error.to_string()));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// The message without the usage that follows it; its paragraphs and lists follow each other.
fn one_line(text: &str) -> String {
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    let text = text.split("\n\nFor more information").next().unwrap_or_default();
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.filter(|paragraph| !paragraph.is_empty()).collect::<Vec<_>>().join("; ")
}

/// One line, whatever a file may be called; and nobody to tell if this fails too.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", segloss_data::plain(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn mistakes_take_one_line() {
        let line = |args: &[&str]| one_line(&Cli::try_parse_from([&["segloss"], args].concat()).unwrap_err().to_string());
        assert_eq!(line(&["train", "--epochs", "0"]), "error: invalid value '0' for '--epochs <N>': 0 is not in 1..=100000");
        assert_eq!(
            line(&["eval", "--loss", "ce"]),
            "error: the following required arguments were not provided: --logits <Z.npy> --target <Y.npy>"
        );
        assert_eq!(line(&["trian"]), "error: unrecognized subcommand 'trian'; tip: a similar subcommand exists: 'train'");
    }
}
