//! `segloss losses`: what a loss can be made of.

use clap::Args;
use segloss::spec::TermDoc;
use segloss::{Loss, PRESETS, Role, catalogue};
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
    role: String,
    formula: String,
}

impl Preset {
    /// A preset has what its terms have: their roles, their formulas, and their options.
    fn new(name: &'static str, spec: &'static str, catalogue: &[TermDoc]) -> Result<Self, CliError> {
        let loss: Loss = spec.parse()?;
        let (mut roles, mut formulas) = (Vec::new(), Vec::new());
        for (_, term) in loss.terms() {
            roles.push(term.role().to_string());
            let doc = catalogue.iter().find(|doc| doc.name == term.name());
            formulas.push(doc.map_or_else(|| term.name(), |doc| format!("{}: {}", doc.name, doc.formula)));
        }
        Ok(Self { name, spec, role: roles.join(" + "), formula: formulas.join("; ") })
    }
}

/// Runs it.
pub(crate) fn run(args: &LossesArgs, console: &mut Console) -> Result<(), CliError> {
    let terms = catalogue();
    let presets = PRESETS.iter().map(|&(name, spec)| Preset::new(name, spec, &terms)).collect::<Result<_, _>>()?;
    let listing = Listing { terms, presets };
    let text = if args.json { serde_json::to_string_pretty(&listing).map_err(CliError::json)? } else { text(&listing) };
    console.line(&text)
}

fn text(listing: &Listing) -> String {
    let mut lines = Vec::new();
    for (role, heading) in [
        (Role::Matching, "MATCHING TERMS pull the predicted region onto the true one"),
        (Role::Size, "SIZE PENALTIES bias how large the predicted region is"),
        (Role::Overlap, "OVERLAP TERMS do both"),
        (Role::Unsplit, "TERMS WITHOUT A SPLIT into matching and size: their value alone is shown"),
    ] {
        lines.push(format!("{heading}\n"));
        lines.extend(listing.terms.iter().filter(|term| term.role == role).map(term));
    }
    lines.push("PRESETS are names for these texts, with the formulas, options and defaults of their terms\n".into());
    let mut presets = Table::bare().left(3);
    for Preset { name, spec, role, .. } in &listing.presets {
        presets.row([(*name).into(), (*spec).into(), role.clone()]);
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
y is the target, 0 to 1, and p_y the probability of the true class; mean_n and mean_k go over samples and classes; t_k is the wanted
proportion (target); ε is epsilon, α alpha, β beta, γ gamma; s and s' are smooth_numerator and smooth_denominator, or both are
smooth; D, S and G name a score, w and φ what stands beside them; H is entropy, KL divergence.

target=given takes proportions with each call, from a program: the command line cannot give them.

TEXT: terms with weights, put together with +

  ce + 0.5 * l1(temperature=10)
  ce(class_weights=[1, 5]) + tversky(alpha=0.3, beta=0.7)
  ce + grow(1, factor=5, every=10, cap=100) * l1     a weight that grows with the epochs
  ce + dice with activation=sigmoid, ignore=255      how logits and labels are read

NAMES are the same in any case and with or without underscores: LogDice is log_dice. Longer names: cross_entropy is ce,
dice_bias is db, generalized_dice is gdice, log_dice is dice(form=log).";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_notes_claim_is_so() {
        let parse = |text: &str| text.parse::<Loss>().unwrap();
        let texts = SYNTAX.lines().filter_map(|line| line.strip_prefix("  "));
        let texts: Vec<&str> = texts.map(|line| line.split("   ").next().unwrap_or(line)).collect();
        assert_eq!(texts.len(), 4);
        texts.into_iter().for_each(|text| drop(parse(text)));
        let same = [("LogDice", "log_dice"), ("cross_entropy", "ce"), ("dice_bias", "db"), ("generalized_dice", "gdice")];
        for (one, other) in same.into_iter().chain([("log_dice", "dice(form=log)")]) {
            assert_eq!(parse(one), parse(other));
        }
    }
}
