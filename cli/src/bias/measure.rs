//! The sizes that losses prefer, and what they do along the shift of a class's logits.

use ndarray::{ArrayD, ArrayViewD, Axis};
use segloss::ndarray::{NdarrayLoss, ShiftedSums, Target};
use segloss::{Loss, LossError, Preference, Shifted};
use serde::Serialize;

/// What was measured.
#[derive(Serialize)]
pub(crate) struct Bias {
    /// How logits become probabilities, by the first loss.
    pub(crate) activation: String,
    /// The classes asked about.
    pub(crate) classes: Vec<Class>,
    /// The losses in the order they were named.
    pub(crate) losses: Vec<OfLoss>,
}

/// A class as it is.
#[derive(Serialize)]
pub(crate) struct Class {
    pub(crate) class: usize,
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

/// Measures losses, with their names, on logits.
pub(crate) fn measure(
    losses: &[(String, Loss)],
    logits: ArrayViewD<'_, f64>,
    target: &Target<'_>,
    classes: &[usize],
    curves: bool,
) -> Result<Bias, LossError> {
    let mut now = Vec::new();
    for &class in classes {
        let Some((_, first)) = losses.first() else { break };
        let Shifted { target, predicted, decided, .. } = present(first, logits.view(), target, class)?;
        now.push(Class { class, target, predicted, decided });
    }
    let mut all = Vec::new();
    for (name, loss) in losses {
        let evaluation = loss.evaluate(logits.view(), target)?;
        let pressure = evaluation.pressure.map_or_else(Vec::new, |pressure| pressure.total);
        let mut wishes = Vec::new();
        for &class in classes {
            let preference = loss.preferred_size(logits.view(), target, class)?;
            let [predicted_ratio, decided_ratio] = match &preference {
                Preference::Size(size) => [size.predicted_ratio(), size.decided_ratio()],
                _ => [None, None],
            };
            let curve = if curves { curve(loss, logits.view(), target, class)? } else { Vec::new() };
            let pressure = pressure.get(class).copied().unwrap_or(f64::NAN);
            wishes.push(Wish { class, pressure, preference, predicted_ratio, decided_ratio, curve });
        }
        all.push(OfLoss { loss: name.clone(), value: evaluation.total, classes: wishes });
    }
    let activation = losses.first().map_or_else(String::new, |(_, loss)| loss.activation().to_string());
    Ok(Bias { activation, classes: now, losses: all })
}

/// The sizes of a class without a shift.
fn present(loss: &Loss, logits: ArrayViewD<'_, f64>, target: &Target<'_>, class: usize) -> Result<Shifted, LossError> {
    let mut sums = ShiftedSums::new(loss, logits.shape().get(1).copied().unwrap_or(1), class, 0.0)?;
    sums.add(logits, target)?;
    sums.whole(None)
}

/// Shifts of a curve to either side, and the farthest. They lie closer together near 0.
const STEPS: i32 = 40;
const FARTHEST: f64 = 24.0;

/// A loss along the shift of a class's logits, from next to nothing to next to everything.
pub(crate) fn curve(
    loss: &Loss,
    logits: ArrayViewD<'_, f64>,
    target: &Target<'_>,
    class: usize,
) -> Result<Vec<Point>, LossError> {
    let mut moved = logits.to_owned();
    let at = |step: i32| {
        let part = f64::from(step) / f64::from(STEPS);
        FARTHEST * part * part.abs()
    };
    (-STEPS..=STEPS).map(|step| point(loss, logits.view(), &mut moved, target, class, at(step))).collect()
}

fn point(
    loss: &Loss,
    logits: ArrayViewD<'_, f64>,
    moved: &mut ArrayD<f64>,
    target: &Target<'_>,
    class: usize,
    shift: f64,
) -> Result<Point, LossError> {
    let channel = logits.index_axis(Axis(1), class);
    moved.index_axis_mut(Axis(1), class).zip_mut_with(&channel, |to, from| *to = from + shift);
    let evaluation = loss.evaluate(moved.view(), target)?;
    let part = |of: fn(&segloss::Split) -> f64| -> Option<f64> {
        evaluation.terms.iter().map(|term| Some(term.weight * of(term.split.as_ref()?))).sum()
    };
    let region = evaluation.regions.get(class);
    let pressure = evaluation.pressure.as_ref().and_then(|pressure| pressure.total.get(class));
    let (Some(region), Some(&pressure)) = (region, pressure) else {
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
