//! A run in text: the line of an epoch, the table at the end, and `metrics.csv`.

use std::path::Path;

use super::run::{EpochRecord, TermRecord};
use super::validation::{ClassReport, foreground_dice};
use crate::error::CliError;
use crate::output;
use crate::table::{Table, decimal};

/// The running table of epochs. Its columns are those of the first epoch.
pub(crate) struct EpochTable {
    epochs: usize,
    columns: Vec<Column>,
}

/// A group of numbers under one heading.
struct Column {
    heading: String,
    below: Vec<String>,
    truth: Vec<String>,
    digits: usize,
}

/// Characters of a part of the loss.
const PART: usize = 8;

/// Characters of a score or a share, of which there may be many.
const SHARE: usize = 6;

impl EpochTable {
    /// A table for a run of so many epochs, begun with its first one.
    pub(crate) fn new(epochs: usize, first: &EpochRecord) -> Self {
        let blank = |heading: &str, below: Vec<String>, digits: usize| {
            let truth = vec![String::new(); below.len()];
            Column { heading: heading.into(), below, truth, digits }
        };
        let mut columns = vec![blank("", vec!["total".into()], PART)];
        for term in &first.terms {
            let below = parts(term).iter().map(|(name, _)| (*name).to_string()).collect();
            columns.push(blank(&term.name, below, PART));
        }
        let classes: Vec<String> = (0..first.classes.len()).map(|k| k.to_string()).collect();
        columns.push(blank("Dice by class", classes.clone(), SHARE));
        let truth = first.classes.iter().map(|c| percent(c.target)).collect();
        columns.push(Column { heading: "area by class, %".into(), below: classes, truth, digits: SHARE });
        Self { epochs, columns }
    }

    /// What stands above the epochs: headings, and the true areas in the same columns as the
    /// predicted ones.
    pub(crate) fn heading(&self) -> [String; 3] {
        let headings = self.columns.iter().map(|c| format!("{:^1$}", c.heading, width(c))).collect();
        let cells = |of: fn(&Column) -> &[String]| self.columns.iter().map(|c| join(of(c), c)).collect();
        [self.line("", headings), self.line("epoch", cells(|c| &c.below)), self.line("truth", cells(|c| &c.truth))]
    }

    /// The line of an epoch.
    pub(crate) fn epoch(&self, record: &EpochRecord) -> String {
        let mut groups = vec![vec![decimal(record.total)]];
        groups.extend(record.terms.iter().map(|term| parts(term).iter().map(|(_, v)| decimal(*v)).collect()));
        groups.push(record.classes.iter().map(|c| score(c.dice)).collect());
        groups.push(record.classes.iter().map(|c| percent(c.predicted)).collect());
        let cells = groups.iter().zip(&self.columns).map(|(group, c)| join(group, c)).collect();
        let digits = self.epochs.to_string().len();
        let name = format!("{:>digits$}/{}", record.epoch, self.epochs);
        format!("{} {:.1} s", self.line(&name, cells), record.seconds)
    }

    fn line(&self, name: &str, cells: Vec<String>) -> String {
        let digits = 2 * self.epochs.to_string().len() + 1;
        format!("{name:<0$} | {1} |", digits.max(5), cells.join(" | "))
    }
}

/// The parts of a term that say something: a size penalty has no matching part, and a term without
/// an exact split has its value alone.
fn parts(term: &TermRecord) -> Vec<(&'static str, f64)> {
    match term.role.as_str() {
        _ if term.matching.is_nan() => vec![("value", term.value)],
        "size" => vec![("size", term.size)],
        _ => vec![("match", term.matching), ("size", term.size)],
    }
}

fn width(column: &Column) -> usize {
    (column.below.len() * (column.digits + 1) - 1).max(column.heading.chars().count())
}

fn join(cells: &[String], column: &Column) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>0$}", column.digits)).collect();
    format!("{:>1$}", cells.join(" "), width(column))
}

fn percent(share: f64) -> String {
    format!("{:.2}", 100.0 * share)
}

pub(crate) fn score(dice: f64) -> String {
    if dice.is_nan() { "-".into() } else { format!("{dice:.4}") }
}

/// The table at the end.
pub(crate) fn summary(record: &EpochRecord, images: usize, foreground: usize) -> String {
    let table = class_table(&record.classes, |k| k.to_string());
    let plural = if images == 1 { "" } else { "s" };
    format!(
        "Validation after epoch {}, {images} image{plural}\n{table}\nforeground Dice {}",
        record.epoch,
        score(foreground_dice(&record.classes, foreground))
    )
}

/// A row for each class.
pub(crate) fn class_table(classes: &[ClassReport], name: impl Fn(usize) -> String) -> Table {
    let mut table = Table::new(["class", "true area", "predicted area", "mean probability", "Dice"]);
    for (k, class) in classes.iter().enumerate() {
        let share = |share| format!("{} %", percent(share));
        let ClassReport { target, predicted, probability, dice } = *class;
        table.row([name(k), share(target), share(predicted), share(probability), score(dice)]);
    }
    table
}

/// Writes every number of every epoch, except the time, so that the same run gives the same file.
pub(crate) fn write_metrics(path: &Path, history: &[EpochRecord], foreground: usize) -> Result<(), CliError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let fail = |reason: String| CliError::Encode { path: path.to_path_buf(), reason };
    if let Some(first) = history.first() {
        let mut names: Vec<String> = ["epoch", "learning_rate", "total"].map(String::from).into();
        for term in &first.terms {
            names.extend(["weight", "value", "matching", "size", "constant"].map(|part| format!("{}.{part}", term.name)));
        }
        for k in 0..first.classes.len() {
            names.push(format!("class{k}.pressure"));
            names.extend(first.terms.iter().map(|term| format!("class{k}.pressure.{}", term.name)));
            names.extend(["target", "predicted", "probability", "dice"].map(|part| format!("class{k}.{part}")));
        }
        names.push("foreground_dice".into());
        writer.write_record(&names).map_err(|error| fail(error.to_string()))?;
    }
    for record in history {
        let mut values = vec![record.epoch as f64, record.learning_rate, record.total];
        for term in &record.terms {
            values.extend([term.weight, term.value, term.matching, term.size, term.constant]);
        }
        for (k, class) in record.classes.iter().enumerate() {
            let pressures = std::iter::once(&record.pressure).chain(record.terms.iter().map(|term| &term.pressure));
            values.extend(pressures.map(|by_class| by_class.get(k).copied().unwrap_or(f64::NAN)));
            values.extend([class.target, class.predicted, class.probability, class.dice]);
        }
        values.push(foreground_dice(&record.classes, foreground));
        // A class that neither exists nor is predicted has no Dice.
        let texts = values.iter().map(|v| if v.is_nan() { String::new() } else { v.to_string() });
        writer.write_record(texts).map_err(|error| fail(error.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|error| fail(error.to_string()))?;
    output::write_file(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> EpochRecord {
        let term = |name: &str, role: &str| TermRecord {
            name: name.into(),
            role: role.into(),
            weight: 1.0,
            value: 0.5,
            matching: 0.25,
            size: 0.125,
            constant: 0.125,
            pressure: vec![-0.25, 0.25],
        };
        let class = |target, dice| ClassReport { target, predicted: 0.5, probability: 0.5, dice };
        EpochRecord {
            epoch: 3,
            learning_rate: 0.001,
            total: 1.5,
            terms: vec![term("ce", "matching"), term("l1", "size")],
            pressure: vec![-0.5, 0.5],
            classes: vec![class(0.9, 0.75), class(0.1, f64::NAN)],
            seconds: 2.0,
            unseen: Vec::new(),
        }
    }

    #[test]
    fn columns_stand_under_their_headings() {
        let table = EpochTable::new(12, &record());
        let [top, middle, truth] = table.heading();
        let line = table.epoch(&record());
        assert_eq!(
            [top, middle, truth, line].join("\n"),
            "      |          |        ce         |    l1    | Dice by class | area by class, % |
epoch |    total |    match     size |     size |      0      1 |         0      1 |
truth |          |                   |          |               |     90.00  10.00 |
 3/12 |   1.5000 |   0.2500   0.1250 |   0.1250 | 0.7500      - |     50.00  50.00 | 2.0 s"
        );
    }

    #[test]
    fn metrics_hold_every_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        write_metrics(&path, &[record()], 1).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "epoch,learning_rate,total,ce.weight,ce.value,ce.matching,ce.size,ce.constant,\
             l1.weight,l1.value,l1.matching,l1.size,l1.constant,\
             class0.pressure,class0.pressure.ce,class0.pressure.l1,\
             class0.target,class0.predicted,class0.probability,class0.dice,\
             class1.pressure,class1.pressure.ce,class1.pressure.l1,class1.target,class1.predicted,class1.probability,class1.dice,foreground_dice\n\
             3,0.001,1.5,1,0.5,0.25,0.125,0.125,1,0.5,0.25,0.125,0.125,-0.5,-0.25,-0.25,0.9,0.5,0.5,0.75,0.5,0.25,0.25,0.1,0.5,0.5,,\n"
        );
    }
}
