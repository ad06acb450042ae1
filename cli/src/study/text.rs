//! A study in words, and its table of numbers.

use super::analysis::{Analysis, DICE, METRICS, OfCondition, OfLoss, score};
use super::record::{Record, Role};
use crate::error::CliError;
use crate::table::Table;

/// The answer, condition by condition.
pub(crate) fn text(analysis: &Analysis) -> String {
    let parts: Vec<String> = analysis.conditions.iter().map(|condition| of_condition(analysis, condition)).collect();
    parts.join("\n\n")
}

fn of_condition(analysis: &Analysis, condition: &OfCondition) -> String {
    let OfCondition { name, losses, comparisons, .. } = condition;
    let mut lines = vec![format!("{name}: {}", condition.what()), means(losses).to_string()];
    if let Some(order) = condition.order {
        lines.push(format!(
            "size error and preferred size as decisions order the losses with a rank correlation of {order:+.2}"
        ));
    }
    let mut said = Table::bare();
    for compared in comparisons.first().into_iter().flatten() {
        said.row([compared.numbers.loss.clone(), compared.words.clone()]);
    }
    if !comparisons.is_empty() {
        lines.push(format!("{DICE}, beside {}", analysis.reference));
        lines.push(said.left(2).to_string());
    }
    lines.join("\n")
}

fn means(losses: &[OfLoss]) -> Table {
    let mut table =
        Table::new(["loss", "rate", "Dice", "size error", "HD95", "missed", "preferred size: probability", "decided"]);
    for loss in losses {
        let mean = |metric: &str| loss.mean(metric).and_then(|mean| mean.mean);
        let number = |value: Option<f64>, digits: usize| value.map_or("-".into(), |value| format!("{value:.digits$}"));
        let percent = |value: Option<f64>| value.map_or("-".into(), |value| format!("{:+.1} %", 100.0 * value));
        let sizes = |of: fn(&super::analysis::PreferredMean) -> Option<f64>| {
            let all: Vec<String> = loss.preferred.iter().map(|size| number(of(size), 2)).collect();
            all.join(" ")
        };
        table.row([
            loss.loss.clone(),
            number(loss.rate, 4),
            number(mean(DICE), 4),
            percent(mean(super::analysis::SIZE)),
            number(mean(super::analysis::HD95), 2),
            percent(mean(super::analysis::MISSED)).trim_start_matches('+').to_owned(),
            sizes(|size| size.predicted),
            sizes(|size| size.decided),
        ]);
    }
    table
}

/// Every image of every tested run and class, as CSV.
pub(crate) fn table(records: &[Record]) -> Result<Vec<u8>, CliError> {
    let fail = |error: csv::Error| CliError::Output(std::io::Error::other(error));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let names = ["condition", "loss", "rate", "seed", "image", "class", "true_pixels", "predicted_pixels", "both"];
    let scores = METRICS.map(|metric| metric.to_lowercase().replace(' ', "_"));
    writer.write_record(names.iter().map(ToString::to_string).chain(scores)).map_err(fail)?;
    for record in records.iter().filter(|record| record.role == Role::Test) {
        for (i, image) in record.images.iter().enumerate() {
            for class in &record.classes {
                let counts = class.counts(i, record.valid.get(i));
                let mut cells =
                    vec![record.condition.clone(), record.loss.clone(), record.rate.to_string(), record.seed.to_string()];
                cells.extend([image.clone(), class.name.clone()]);
                cells.extend([counts.target, counts.predicted, counts.both].map(|n| n.to_string()));
                let score = |metric: &&str| score(record, class, i, metric).map_or_else(String::new, |score| score.to_string());
                cells.extend(METRICS.iter().map(score));
                writer.write_record(cells).map_err(fail)?;
            }
        }
    }
    writer.into_inner().map_err(|error| CliError::Output(std::io::Error::other(error.to_string())))
}
