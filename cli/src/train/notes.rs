//! What is to be told of a training beside its numbers.

use segloss::{Activation, Loss, LossError, Note};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::data::Dataset;
use super::patches::Batch;
use super::run::EpochRecord;
use crate::error::CliError;

/// Notes of a whole run: of the loss, and classes that no training image has.
pub(super) fn of_run(loss: &Loss, dataset: &Dataset) -> Result<Vec<Note>, LossError> {
    let mut notes = loss.notes(dataset.classes)?;
    let shares = Dataset::shares(&dataset.train, dataset.classes);
    let absent = (0..dataset.classes).filter(|&class| shares[class] == 0.0).collect();
    notes.extend(without_pixels(absent, loss.activation()));
    Ok(notes)
}

/// Classes without a pixel, if there are any.
fn without_pixels(classes: Vec<usize>, activation: Activation) -> Option<Note> {
    (!classes.is_empty()).then_some(Note::AbsentClasses { classes, activation })
}

/// The classes that patches show.
pub(super) struct Seen(Vec<bool>);

impl Seen {
    pub(super) fn new(classes: usize) -> Self {
        Self(vec![false; classes])
    }

    /// Looks at the labels, or the shares, of a batch whose patches have so many pixels.
    pub(super) fn add(&mut self, batch: &Batch, pixels: usize) {
        for &label in &batch.labels {
            if let Some(seen) = usize::try_from(label).ok().and_then(|label| self.0.get_mut(label)) {
                *seen = true;
            }
        }
        let classes = self.0.len().max(1);
        for (plane, shares) in batch.shares.chunks(pixels.max(1)).enumerate() {
            if let Some(seen) = self.0.get_mut(plane % classes) {
                *seen |= shares.iter().any(|share| *share > 0.0);
            }
        }
    }

    /// Those that no patch has shown.
    pub(super) fn unseen(&self) -> Vec<usize> {
        self.0.iter().enumerate().filter(|(_, seen)| !**seen).map(|(class, _)| class).collect()
    }
}

/// What is to be told of the patches of an epoch.
pub(super) fn of_epoch(record: &EpochRecord, activation: Activation) -> Option<Note> {
    without_pixels(record.unseen.clone(), activation)
}

/// The notes of an epoch, where they are not those of the epoch before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EpochNotes {
    epoch: usize,
    notes: Vec<Value>,
}

impl EpochNotes {
    pub(super) fn changes(history: &[EpochRecord], activation: Activation) -> Result<Vec<Self>, CliError> {
        let mut before: &[usize] = &[];
        let mut changes = Vec::new();
        for record in history {
            if record.unseen != before {
                let notes = of_epoch(record, activation);
                changes.push(Self { epoch: record.epoch, notes: values(notes.as_slice())? });
                before = &record.unseen;
            }
        }
        Ok(changes)
    }
}

/// Notes as JSON.
pub(super) fn values(notes: &[Note]) -> Result<Vec<Value>, CliError> {
    notes.iter().map(|note| serde_json::to_value(note).map_err(CliError::json)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_that_no_patch_shows_is_told_where_that_changes() {
        let unseen = |labels: &[i32]| {
            let mut seen = Seen::new(3);
            seen.add(&Batch { labels: labels.to_vec(), ..Batch::default() }, labels.len());
            seen.unseen()
        };
        assert!(unseen(&[0, 2, 1, 255, -1]).is_empty());
        assert_eq!(unseen(&[0, 255, 0]), [1, 2]);
        let record = |epoch, labels: &[i32]| EpochRecord {
            epoch,
            learning_rate: 0.1,
            total: 1.0,
            terms: Vec::new(),
            pressure: vec![1.0 / 3.0],
            classes: Vec::new(),
            seconds: 0.0,
            unseen: unseen(labels),
        };
        let history = [record(1, &[0, 1, 2]), record(2, &[0, 1]), record(3, &[1, 0]), record(4, &[0, 1, 2])];
        let changes = EpochNotes::changes(&history, Activation::Softmax).unwrap();
        let told = changes.iter().map(|change| (change.epoch, change.notes.len())).collect::<Vec<_>>();
        assert_eq!(told, [(2, 1), (4, 0)]);
        assert_eq!(changes[0].notes[0]["classes"], serde_json::json!([2]));
    }

    #[test]
    fn shares_show_a_class_where_any_is_above_zero() {
        let mut seen = Seen::new(2);
        // Two patches of two pixels: class 0, class 1, class 0, class 1.
        seen.add(&Batch { shares: vec![1.0, 1.0, 0.0, 0.0, 0.8, 1.0, 0.0, 0.0], ..Batch::default() }, 2);
        assert_eq!(seen.unseen(), [1]);
        seen.add(&Batch { shares: vec![1.0, 0.75, 0.0, 0.25], ..Batch::default() }, 2);
        assert!(seen.unseen().is_empty());
    }
}
