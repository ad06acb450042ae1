//! The scores for a reader.

use segloss_metrics::{Presence, Summary};

use segloss_data::shown;

use super::MetricsArgs;
use super::report::{Class, Report, Row};
use crate::table::{Table, decimal};

/// All tables.
pub(super) fn text(args: &MetricsArgs, report: &Report) -> String {
    let mut lines = vec![
        format!("prediction  {}", shown(&args.prediction)),
        format!("target      {}", shown(&args.target)),
        format!("images      {}{}", report.images.len(), left_out(report.unpaired)),
    ];
    if report.has_distances() {
        let unit = match (args.spacing.is_empty(), report.spaced) {
            (false, _) => "in the unit of --spacing",
            (true, true) => "in millimetres, as the files say",
            (true, false) => "in pixels: the files have no spacing",
        };
        lines.push(format!("distances   {unit}"));
    }
    lines.push(String::new());
    lines.push(tables(report, "image"));
    lines.join("\n")
}

/// The table of the images, or what they are called, and those of the classes.
pub(crate) fn tables(report: &Report, image: &str) -> String {
    let mut lines = vec![images(report, image).to_string()];
    for class in &report.classes {
        lines.push(String::new());
        lines.push(presences(class));
        lines.push(summaries(report, class).to_string());
    }
    lines.join("\n")
}

fn left_out(unpaired: usize) -> String {
    if unpaired == 0 { String::new() } else { format!(", and {unpaired} without a prediction or a target that are left out") }
}

/// A number for a table; `-` where there is none.
fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), decimal)
}

fn images(report: &Report, image: &str) -> Table {
    let mut table = Table::bare().left(2);
    let headings = [image, "class"].map(String::from).into_iter().chain(report.metrics.iter().cloned());
    table.row(headings.chain([String::new()]).collect::<Vec<_>>());
    for image in &report.images {
        for class in &image.classes {
            let values = report.metrics.iter().map(|name| cell(class.scores.get(name).copied().flatten()));
            let remark = match class.presence {
                Presence::Both => "",
                Presence::TruthOnly => "missed",
                Presence::PredictionOnly => "no truth",
                Presence::Neither => "neither",
            };
            let names = [image.name.clone(), class.class.clone()].into_iter();
            table.row(names.chain(values).chain([remark.to_owned()]).collect::<Vec<_>>());
        }
    }
    table
}

fn presences(class: &Class) -> String {
    let presence = &class.presence;
    format!(
        "class {}: both regions in {} images, missed in {}, predicted without truth in {}, neither in {}",
        class.class, presence.both, presence.missed, presence.false_alone, presence.neither
    )
}

fn summaries(report: &Report, class: &Class) -> Table {
    let interval = format!("{}% interval", 100.0 * report.bootstrap.level);
    let mut table = Table::new(["metric", "mean", &interval, "images", "left out", "pooled", &interval]);
    for Row { metric, images, pooled } in &class.summaries {
        let pooled = pooled.unwrap_or_default();
        table.row([
            metric.clone(),
            cell(images.mean),
            between(images),
            images.images.to_string(),
            images.left_out.to_string(),
            cell(pooled.mean),
            between(&pooled),
        ]);
    }
    table
}

fn between(summary: &Summary) -> String {
    summary.interval.map_or_else(|| "-".into(), |[low, high]| format!("{} to {}", decimal(low), decimal(high)))
}
