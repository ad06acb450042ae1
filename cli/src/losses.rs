//! `segloss losses`: what a loss can be made of.

use clap::Args;
use segloss::spec::TermDoc;
use segloss::{PRESETS, Role, catalogue};
use serde::Serialize;

use crate::error::CliError;
use crate::output::Console;
use crate::table::Table;

/// List every term and preset, with formula, role, options and defaults
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  segloss losses
  segloss losses --json")]
pub(crate) struct LossesArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing {
    terms: Vec<TermDoc>,
    presets: Vec<Preset>,
}

#[derive(Serialize)]
struct Preset {
    name: &'static str,
    spec: &'static str,
}

/// Runs it.
pub(crate) fn run(args: &LossesArgs, console: &mut Console) -> Result<(), CliError> {
    let presets = PRESETS.iter().map(|&(name, spec)| Preset { name, spec }).collect();
    let listing = Listing { terms: catalogue(), presets };
    let text = if args.json {
        serde_json::to_string_pretty(&listing).map_err(CliError::json)?
    } else {
        text(&listing)
    };
    console.line(&text)
}

fn text(listing: &Listing) -> String {
    let mut lines = Vec::new();
    for (role, heading) in [
        (Role::Matching, "MATCHING TERMS pull the predicted region onto the true one"),
        (Role::Size, "SIZE PENALTIES bias how large the predicted region is"),
        (Role::Overlap, "OVERLAP TERMS do both"),
    ] {
        lines.push(format!("{heading}\n"));
        lines.extend(listing.terms.iter().filter(|term| term.role == role).map(term));
    }
    lines.push("PRESETS are names for these texts\n".into());
    let mut presets = Table::bare().left(2);
    for Preset { name, spec } in &listing.presets {
        presets.row([(*name).into(), (*spec).into()]);
    }
    lines.push(format!("{presets}\n"));
    lines.push(SYNTAX.into());
    lines.join("\n")
}

fn term(term: &TermDoc) -> String {
    let mut options = Table::bare().left(2);
    for option in &term.options {
        let meaning = format!("{}: {}", option.doc, option.expected);
        options.row([format!("  {} = {}", option.name, option.default), meaning]);
    }
    format!("  {}  {}\n    {}\n{options}\n", term.name, term.summary, term.formula)
}

const SYNTAX: &str = "\
IN THE FORMULAS, for sample n and class k: p probability; Ω_k the valid pixels of class k; T_k = |Ω_k| their number; M all valid
pixels; P_k Σ p over all valid pixels; I_k and L_k Σ p and Σ log p over Ω_k; p̂ = P/M and t̂ = T/M proportions; τ temperature.

TEXT: terms with weights, put together with +

  ce + 0.5 * l1(temperature=10)
  ce(class_weights=[1, 5]) + tversky(alpha=0.3, beta=0.7)
  ce + grow(1, factor=5, every=10, cap=100) * l1     a weight that grows with the epochs";
