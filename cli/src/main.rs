//! The `segloss` command: evaluate a loss on arrays, list the losses, train a small network.

mod error;
mod eval;
mod losses;
mod npy;
mod output;
mod table;
mod train;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::CliError;
use crate::output::Console;

/// Segmentation losses, taken apart into ground-truth matching and region size
#[derive(Parser, Debug)]
#[command(name = "segloss", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Eval(eval::EvalArgs),
    Losses(losses::LossesArgs),
    // Boxed: it has the most options.
    Train(Box<train::TrainArgs>),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut console = Console::new();
    let result = match &cli.command {
        Command::Eval(args) => eval::run(args, &mut console),
        Command::Losses(args) => losses::run(args, &mut console),
        Command::Train(args) => train::run(args, &mut console),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, CliError::OutputClosed) {
                // One line, whatever a file may be called; and nobody to tell if this fails too.
                let text = error.to_string().replace(['\n', '\r'], " ");
                let _ = writeln!(std::io::stderr(), "error: {text}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}
