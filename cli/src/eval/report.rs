//! An evaluation as text and as JSON.

use segloss::{Activation, Evaluation, Role, Split, SplitOf, TargetKind};
use segloss_data::shown;
use serde::Serialize;

use super::EvalArgs;
use super::arrays::lengths;
use super::elements::{self, Elements};
use super::input::Input;
use super::values::Dtype;
use crate::error::CliError;
use crate::metrics::report::Report as Metrics;
use crate::metrics::text::tables;
use crate::table::{Table, decimal, fine};

/// Everything that came out.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) evaluation: &'a Evaluation,
    /// Values below the total, where they are asked for.
    pub(super) elements: Option<&'a Elements>,
    /// Metrics of decided labels, where they are asked for.
    pub(super) metrics: Option<&'a Metrics>,
}

impl EvalArgs {
    /// Logits and target with what their files hold.
    pub(super) fn files(input: &Input) -> [String; 2] {
        let (kind, shape) = input.target.beside(input.logits.shape());
        let kind = match kind {
            TargetKind::Labels => "labels",
            TargetKind::OneHot => "one-hot",
            TargetKind::Soft => "soft",
        };
        let logits = format!("{}  {} {:?}", input.shown.logits, input.logits.dtype(), input.logits.shape());
        [logits, format!("{}  {kind} {shape:?}", input.shown.target)]
    }

    pub(super) fn text(&self, input: &Input, dtype: Dtype, found: &Found<'_>) -> String {
        let Found { evaluation, elements, metrics } = *found;
        let [logits, target] = Self::files(input);
        let mut lines = vec![format!("loss      {}", input.loss)];
        lines.push(format!("logits    {logits}"));
        lines.push(format!("target    {target}"));
        lines.push(format!("computed  by {} in {}, {}", input.backend.name(), dtype.name(), input.loss.activation()));
        if let (Some(spacing), Some(from)) = (&input.spacing, &input.shown.spacing) {
            lines.push(format!("spacing   {} of {from}", lengths(spacing)));
        }
        lines.extend(input.told.iter().map(|told| format!("note      {told}")));
        lines.push(String::new());

        let mut terms = Table::new(["term", "role", "weight", "value", "matching", "size", "constant"]).left(2);
        let (mut logarithms, mut unsplit) = (false, false);
        for term in &evaluation.terms {
            // A linear score and its logarithm are told apart in the table.
            let logarithm = term.split.as_ref().is_some_and(|split| split.of == SplitOf::Logarithm);
            let mark = if logarithm { " *" } else { "" };
            logarithms |= logarithm;
            let part = |of: fn(&Split) -> f64, exists: bool| match &term.split {
                Some(split) if exists => fine(of(split)),
                Some(_) => String::new(),
                None => "-".to_owned(),
            };
            unsplit |= term.split.is_none();
            let inside = term.role != Role::Size;
            terms.row([
                format!("{}{mark}", term.name),
                term.role.to_string(),
                weight(term.weight),
                fine(term.value),
                part(|split| split.matching, inside),
                part(|split| split.size, true),
                part(|split| split.constant, inside),
            ]);
        }
        let blank = String::new;
        terms.row(["total".into(), blank(), blank(), fine(evaluation.total), blank(), blank(), blank()]);
        lines.push(terms.to_string());
        if logarithms {
            lines.push("  * the parts are those of the logarithmic form, -log of the score".into());
        }
        if unsplit {
            lines.push("  - no exact split into matching and size is known".into());
        }
        lines.push(String::new());

        // Under sigmoid a single channel is the foreground, not class 0.
        let index = if input.loss.activation() == Activation::Sigmoid { "channel" } else { "class" };
        let mut regions = Table::new([index, "true area", "predicted area", "soft Dice", "pressure"]);
        for region in &evaluation.regions {
            let percent = |share: f64| format!("{:.3} %", 100.0 * share);
            let pressure = evaluation.pressure.as_ref().and_then(|pressure| pressure.total.get(region.class));
            regions.row([
                region.class.to_string(),
                percent(region.target),
                percent(region.predicted),
                decimal(region.dice),
                pressure.map_or_else(String::new, |&pressure| decimal(pressure)),
            ]);
        }
        lines.push(regions.to_string());
        lines.push("  pressure > 0: a step of gradient descent shrinks the region; < 0: it grows it".into());
        if let Some(elements) = elements {
            lines.push(format!("\n{}", elements.text(evaluation, index)));
        }
        if let Some(metrics) = metrics {
            let distances = match (metrics.has_distances(), metrics.spaced) {
                (false, _) => "",
                (true, true) => "; distances in the unit of the spacing",
                (true, false) => "; distances in pixels",
            };
            lines.push(format!("\nmetrics of what the logits decide for{distances}"));
            lines.push(tables(metrics, "sample"));
        }
        if !evaluation.notes.is_empty() {
            lines.push("\nnotes".into());
            lines.extend(evaluation.notes.iter().map(|note| format!("  {note}")));
        }
        if let Some(path) = &self.grad {
            lines.push(format!("\ngradient written to {}", shown(path)));
        }
        if let Some(Some(path)) = &self.elements {
            lines.push(format!("\nelements written to {}", shown(path)));
        }
        lines.join("\n")
    }
}

/// A weight as short as it is.
fn weight(value: f64) -> String {
    format!("{value}")
}

/// The evaluation with what it was made by.
#[derive(Serialize)]
struct Report<'a> {
    loss: String,
    activation: String,
    backend: &'a str,
    dtype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    spacing: Option<&'a [f64]>,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
    #[serde(skip_serializing_if = "Option::is_none")]
    elements: Option<elements::Report<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<&'a Metrics>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    data_notes: &'a [String],
}

pub(super) fn json(input: &Input, dtype: Dtype, found: &Found<'_>) -> Result<String, CliError> {
    let Found { evaluation, elements, metrics } = *found;
    let report = Report {
        loss: input.loss.to_string(),
        activation: input.loss.activation().to_string(),
        backend: input.backend.name(),
        dtype: dtype.name(),
        spacing: input.spacing.as_deref(),
        evaluation,
        elements: elements.map(|elements| elements.report(evaluation)),
        metrics,
        data_notes: &input.told,
    };
    serde_json::to_string_pretty(&report).map_err(CliError::json)
}
