//! The sizes that losses prefer, and what they do along the shift of a class's logits.

use ndarray::Axis;
use segloss::ndarray::{NdarrayStatistics, NdarrayWhole, ShiftedSums};
use segloss::{Evaluation, Loss, LossError, Note, Preference, Pressure, Shifted, preferred_size};
use serde::Serialize;

use super::batch::{Batch, Logits, Mapped};

/// What was measured.
#[derive(Serialize)]
pub(crate) struct Bias {
    /// How logits become probabilities, by the first loss.
    pub(crate) activation: String,
    /// The classes asked about.
    pub(crate) classes: Vec<Class>,
    /// The losses in the order they were named.
    pub(crate) losses: Vec<OfLoss>,
    /// What these numbers do not show, as `segloss eval` tells it.
    pub(crate) notes: Vec<Note>,
}

/// A class as it is.
#[derive(Serialize)]
pub(crate) struct Class {
    pub(crate) class: usize,
    /// What it is called, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// True proportion of the valid pixels.
    pub(crate) target: f64,
    /// Predicted proportion.
    pub(crate) predicted: f64,
    /// Share of the valid pixels that are given to it.
    pub(crate) decided: f64,
}

/// A loss on each class.
#[derive(Serialize)]
pub(crate) struct OfLoss {
    pub(crate) loss: String,
    /// The total now.
    pub(crate) value: f64,
    pub(crate) classes: Vec<Wish>,
}

/// What a loss wants of a class.
#[derive(Serialize)]
pub(crate) struct Wish {
    pub(crate) class: usize,
    /// The slope now.
    pub(crate) pressure: f64,
    pub(crate) preference: Preference,
    /// Preferred predicted proportion ÷ true proportion.
    pub(crate) predicted_ratio: Option<f64>,
    /// Pixels given to it there ÷ true pixels.
    pub(crate) decided_ratio: Option<f64>,
    /// The loss along the shift; empty where nobody asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) curve: Vec<Point>,
}

/// A loss at one shift of a class's logits.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Point {
    /// The shift.
    pub(crate) shift: f64,
    /// Predicted proportion of the class.
    pub(crate) predicted: f64,
    /// The total.
    pub(crate) value: f64,
    /// Its matching parts, weighted, where every term has an exact split.
    pub(crate) matching: Option<f64>,
    /// Its size parts.
    pub(crate) size: Option<f64>,
    /// The pressure on the class.
    pub(crate) pressure: f64,
}

/// Measures losses, with their names, on logits; `step` is called after each loss.
pub(crate) fn measure(
    losses: &[(String, Loss)],
    batch: &dyn Batch,
    classes: &[usize],
    curves: bool,
    step: &dyn Fn(),
) -> Result<Bias, LossError> {
    let mut now = Vec::new();
    for &class in classes {
        let Some((_, first)) = losses.first() else { break };
        let Shifted { target, predicted, decided, .. } = shifted(first, batch, class, 0.0)?;
        now.push(Class { class, name: batch.class_name(class), target, predicted, decided });
    }
    let (mut all, mut notes) = (Vec::new(), Vec::new());
    for (name, loss) in losses {
        let (evaluation, pressure) = evaluate(loss, batch, None)?;
        notes.push(evaluation.notes);
        let batch = &Mapped::new(loss, batch)?;
        let mut wishes = Vec::new();
        for &class in classes {
            let preference = preferred_size(|by| shifted(loss, batch, class, by))?;
            let [predicted_ratio, decided_ratio] = match &preference {
                Preference::Size(size) => [size.predicted_ratio(), size.decided_ratio()],
                _ => [None, None],
            };
            let curve = if curves { curve(loss, batch, class)? } else { Vec::new() };
            let pressure = pressure.total.get(class).copied().unwrap_or(f64::NAN);
            wishes.push(Wish { class, pressure, preference, predicted_ratio, decided_ratio, curve });
        }
        all.push(OfLoss { loss: name.clone(), value: evaluation.total, classes: wishes });
        step();
    }
    let activation = losses.first().map_or_else(String::new, |(_, loss)| loss.activation().to_string());
    Ok(Bias { activation, classes: now, losses: all, notes: together(&notes) })
}

/// The notes of all losses, each once. That nothing reads an input is a note only where no loss
/// reads it.
fn together(of_losses: &[Vec<Note>]) -> Vec<Note> {
    let mut all: Vec<Note> = Vec::new();
    for note in of_losses.iter().flatten() {
        let read = matches!(note, Note::Unread { .. }) && !of_losses.iter().all(|notes| notes.contains(note));
        if !read && !all.contains(note) {
            all.push(note.clone());
        }
    }
    all
}

/// A loss, and the sizes of a class, where all logits of the class are shifted.
fn shifted(loss: &Loss, batch: &dyn Batch, class: usize, by: f64) -> Result<Shifted, LossError> {
    let mut all = ShiftedSums::new(loss, batch.classes(), class, by)?;
    batch.each(&mut |logits, target| {
        let mut part = ShiftedSums::new(loss, batch.classes(), class, by)?;
        part.add(logits, target)?;
        all.stack(part)
    })?;
    all.whole(None)
}

/// All that is said of a loss, where all logits of a class may be shifted.
fn evaluate(loss: &Loss, batch: &dyn Batch, shift: Option<(usize, f64)>) -> Result<(Evaluation, Pressure), LossError> {
    let moved = |logits: Logits<'_>| {
        let mut moved = logits.to_owned();
        if let Some((class, by)) = shift {
            moved.index_axis_mut(Axis(1), class).mapv_inplace(|logit| logit + by);
        }
        moved
    };
    let mut sums = loss.statistics(batch.classes())?;
    batch.each(&mut |logits, target| {
        let mut part = loss.statistics(batch.classes())?;
        part.add(moved(logits).view(), target)?;
        sums.stack(part)
    })?;
    let whole = sums.whole(None)?;
    let (mut pressure, mut begin) = (None::<Pressure>, 0);
    batch.each(&mut |logits, target| {
        let end = begin + logits.len_of(Axis(0));
        let part = whole.rows(begin..end)?.pressure(moved(logits).view(), target)?;
        begin = end;
        match &mut pressure {
            Some(pressure) => pressure.add(&part),
            None => pressure = Some(part),
        }
        Ok(())
    })?;
    Ok((whole.evaluation().clone(), pressure.ok_or(LossError::NoTiles)?))
}

/// Shifts of a curve to either side, and the farthest. They lie closer together near 0.
const STEPS: i32 = 40;
const FARTHEST: f64 = 24.0;

/// A loss along the shift of a class's logits, from next to nothing to next to everything.
fn curve(loss: &Loss, batch: &dyn Batch, class: usize) -> Result<Vec<Point>, LossError> {
    let at = |step: i32| {
        let part = f64::from(step) / f64::from(STEPS);
        FARTHEST * part * part.abs()
    };
    (-STEPS..=STEPS).map(|step| point(loss, batch, class, at(step))).collect()
}

fn point(loss: &Loss, batch: &dyn Batch, class: usize, shift: f64) -> Result<Point, LossError> {
    let (evaluation, pressure) = evaluate(loss, batch, Some((class, shift)))?;
    let part = |of: fn(&segloss::Split) -> f64| -> Option<f64> {
        evaluation.terms.iter().map(|term| Some(term.weight * of(term.split.as_ref()?))).sum()
    };
    let (Some(region), Some(&pressure)) = (evaluation.regions.get(class), pressure.total.get(class)) else {
        return Err(LossError::ClassIndex { class, classes: evaluation.regions.len() });
    };
    Ok(Point {
        shift,
        predicted: region.predicted,
        value: evaluation.total,
        matching: part(|split| split.matching),
        size: part(|split| split.size),
        pressure,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use segloss::Argument;

    #[test]
    fn what_some_loss_reads_is_no_note() {
        let unread = Note::Unread { what: Argument::Spacing, name: None };
        let idle = Note::IdleOptions { term: "kl".into(), options: vec!["background".into()] };
        let both = || vec![unread.clone(), idle.clone()];
        assert_eq!(together(&[both(), both()]), both());
        assert_eq!(together(&[both(), vec![idle.clone()]]), [idle]);
        assert!(together(&[]).is_empty());
    }
}
