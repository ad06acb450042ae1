//! Values per sample, class and pixel: what a total hides.

use ndarray::{ArrayD, IxDyn};
use segloss::backend::Table as Values;
use segloss::{Evaluation, RegionReport};
use serde::Serialize;

use crate::npz::Entry;
use crate::table::{Table, fine};

/// Everything that was asked for below the total.
pub(super) struct Elements {
    /// The loss on each sample by itself.
    pub(super) samples: Vec<Evaluation>,
    /// Each term per sample and class before its reduction.
    pub(super) tables: Vec<Option<Values>>,
    /// What each pixel contributes to each term, where it is a sum over pixels.
    pub(super) pixels: Vec<Option<ArrayD<f32>>>,
}

/// One sample by itself.
#[derive(Serialize)]
struct Sample<'a> {
    total: f64,
    terms: Vec<Value<'a>>,
    regions: &'a [RegionReport],
}

#[derive(Serialize)]
struct Value<'a> {
    name: &'a str,
    value: f64,
}

/// A term per sample and class.
#[derive(Serialize)]
struct Classes<'a> {
    name: &'a str,
    /// One row per sample, or one for all; none where the term has no such form.
    classes: Option<Vec<&'a [f64]>>,
}

/// What JSON says of them. Pixels are in arrays alone.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    samples: Vec<Sample<'a>>,
    terms: Vec<Classes<'a>>,
}

impl Elements {
    /// For JSON.
    pub(super) fn report<'a>(&'a self, evaluation: &'a Evaluation) -> Report<'a> {
        let sample = |one: &'a Evaluation| Sample {
            total: one.total,
            terms: one.terms.iter().map(|term| Value { name: &term.name, value: term.value }).collect(),
            regions: &one.regions,
        };
        let rows = |table: &'a Values| table.values().chunks(table.columns().max(1)).collect();
        let terms = evaluation.terms.iter().zip(&self.tables);
        Report {
            samples: self.samples.iter().map(sample).collect(),
            terms: terms.map(|(term, table)| Classes { name: &term.name, classes: table.as_ref().map(rows) }).collect(),
        }
    }

    /// As arrays with names: `total_samples` and, of each term, `ce_samples`, `ce_classes` and
    /// `ce_pixels`; the second term of a name is `ce_2`.
    pub(super) fn arrays(&self, evaluation: &Evaluation) -> Vec<Entry> {
        let row = |values: Vec<f64>| ArrayD::from_shape_vec(IxDyn(&[values.len()]), values).unwrap_or_default();
        let mut entries = vec![Entry::f64("total_samples", &row(self.samples.iter().map(|one| one.total).collect()))];
        for (i, name) in self.names(evaluation).into_iter().enumerate() {
            let values = self.samples.iter().filter_map(|one| Some(one.terms.get(i)?.value)).collect();
            entries.push(Entry::f64(&format!("{name}_samples"), &row(values)));
            if let Some(Some(table)) = self.tables.get(i) {
                let shape = IxDyn(&[table.rows(), table.columns()]);
                let classes = ArrayD::from_shape_vec(shape, table.values().to_vec()).unwrap_or_default();
                entries.push(Entry::f64(&format!("{name}_classes"), &classes));
            }
            if let Some(Some(pixels)) = self.pixels.get(i) {
                entries.push(Entry::f32(&format!("{name}_pixels"), pixels));
            }
        }
        entries
    }

    /// Names of the terms, each once.
    fn names(&self, evaluation: &Evaluation) -> Vec<String> {
        let name = |i: usize| {
            let name = &evaluation.terms[i].name;
            match evaluation.terms[..i].iter().filter(|before| before.name == *name).count() {
                0 => name.clone(),
                before => format!("{name}_{}", before + 1),
            }
        };
        (0..evaluation.terms.len()).map(name).collect()
    }

    /// As tables.
    pub(super) fn text(&self, evaluation: &Evaluation, index: &'static str) -> String {
        let names = self.names(evaluation);
        let head = ["sample".to_owned(), "total".to_owned()].into_iter().chain(names.iter().cloned());
        let mut lines = vec!["each sample by itself".to_owned()];
        let mut rows = Table::bare();
        rows.row(head.collect::<Vec<_>>());
        for (n, one) in self.samples.iter().enumerate() {
            let values = std::iter::once(one.total).chain(one.terms.iter().map(|term| term.value));
            rows.row(std::iter::once(n.to_string()).chain(values.map(fine)).collect::<Vec<_>>());
        }
        lines.push(rows.to_string());
        for (name, table) in names.iter().zip(&self.tables) {
            let Some(table) = table else { continue };
            lines.push(format!("\n{name} by sample and {index}, before its reduction"));
            let head = std::iter::once("sample".to_owned()).chain((0..table.columns()).map(|k| format!("{index} {k}")));
            let mut rows = Table::bare();
            rows.row(head.collect::<Vec<_>>());
            for (n, row) in table.values().chunks(table.columns().max(1)).enumerate() {
                let n = if table.rows() == 1 && self.samples.len() > 1 { "all".to_owned() } else { n.to_string() };
                rows.row(std::iter::once(n).chain(row.iter().map(|&v| fine(v))).collect::<Vec<_>>());
            }
            lines.push(rows.to_string());
        }
        lines.join("\n")
    }
}
