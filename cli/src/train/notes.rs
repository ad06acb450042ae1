//! What is to be told of a training beside its numbers.

use segloss::{Activation, Loss, LossError, Note};
use serde::Serialize;

use super::data::Dataset;
use super::run::EpochRecord;

/// Notes of a whole run: of the loss, and classes that no training image has.
pub(super) fn of_run(loss: &Loss, dataset: &Dataset) -> Result<Vec<Note>, LossError> {
    let mut notes = loss.notes(dataset.classes)?;
    let shares = Dataset::shares(&dataset.train, dataset.classes);
    notes.extend(absent(shares.iter().map(|share| *share > 0.0), loss.activation()));
    Ok(notes)
}

/// The classes that are not there.
fn absent(there: impl Iterator<Item = bool>, activation: Activation) -> Option<Note> {
    let classes: Vec<usize> = there.enumerate().filter(|(_, there)| !there).map(|(class, _)| class).collect();
    (!classes.is_empty()).then_some(Note::AbsentClasses { classes, activation })
}

/// The classes that patches show.
pub(super) struct Seen(Vec<bool>);

impl Seen {
    pub(super) fn new(classes: usize) -> Self {
        Self(vec![false; classes])
    }

    /// Looks at the labels of a batch.
    pub(super) fn add(&mut self, labels: &[i32]) {
        for &label in labels {
            if let Some(seen) = usize::try_from(label).ok().and_then(|label| self.0.get_mut(label)) {
                *seen = true;
            }
        }
    }

    pub(super) fn notes(&self, activation: Activation) -> Vec<Note> {
        absent(self.0.iter().copied(), activation).into_iter().collect()
    }
}

/// The notes of an epoch, where they are not those of the epoch before.
#[derive(Serialize)]
pub(crate) struct EpochNotes<'a> {
    epoch: usize,
    notes: &'a [Note],
}

impl<'a> EpochNotes<'a> {
    pub(super) fn changes(history: &'a [EpochRecord]) -> Vec<Self> {
        let mut before: &[Note] = &[];
        let mut changes = Vec::new();
        for EpochRecord { epoch, notes, .. } in history {
            if notes != before {
                changes.push(Self { epoch: *epoch, notes });
                before = notes;
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_that_no_patch_shows_is_told_where_that_changes() {
        let notes = |labels: &[i32]| {
            let mut seen = Seen::new(3);
            seen.add(labels);
            seen.notes(Activation::Softmax)
        };
        let told = |classes: &[usize]| Note::AbsentClasses { classes: classes.to_vec(), activation: Activation::Softmax };
        assert!(notes(&[0, 2, 1, 255, -1]).is_empty());
        assert_eq!(notes(&[0, 255, 0]), [told(&[1, 2])]);
        let record = |epoch, labels: &[i32]| EpochRecord {
            epoch,
            learning_rate: 0.1,
            total: 1.0,
            terms: Vec::new(),
            classes: Vec::new(),
            seconds: 0.0,
            notes: notes(labels),
        };
        let history = [record(1, &[0, 1, 2]), record(2, &[0, 1]), record(3, &[1, 0]), record(4, &[0, 1, 2])];
        let changes: Vec<_> = EpochNotes::changes(&history).iter().map(|c| (c.epoch, c.notes.to_vec())).collect();
        assert_eq!(changes, [(2, vec![told(&[2])]), (4, vec![])]);
    }
}
