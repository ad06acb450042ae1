//! Preferred size: the size of a region at which a loss is least, all else equal.

use serde::Serialize;

use crate::LossError;

/// A loss where all logits of one class are shifted by a common number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Shifted {
    /// The total.
    pub value: f64,
    /// True proportion of the class among the valid pixels.
    pub target: f64,
    /// Its predicted proportion: the mean of its probabilities.
    pub predicted: f64,
    /// The share of the valid pixels that are given to it: where its logit is the largest, or under
    /// sigmoid above 0.
    pub decided: f64,
}

/// Where a loss is least along the shift of a class's logits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Preference {
    /// At a size.
    Size(PreferredSize),
    /// Nowhere: the smaller the region, the better, down to nothing.
    Nothing,
    /// Nowhere: the larger the region, the better, up to everything.
    Everything,
    /// Nowhere: nothing and everything are as good as each other, and better than what lies
    /// between.
    Extremes,
    /// The loss does not depend on the size of this class.
    Indifferent,
}

/// The size of a region at which a loss is least.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PreferredSize {
    /// The shift that all logits of the class take there.
    pub shift: f64,
    /// The loss and the sizes there.
    #[serde(flatten)]
    pub at: Shifted,
}

impl PreferredSize {
    /// Preferred predicted proportion ÷ true proportion; `None` where there is none of the class.
    #[must_use]
    pub fn predicted_ratio(&self) -> Option<f64> {
        ratio(self.at.predicted, self.at.target)
    }

    /// Pixels that would be given to the class ÷ true pixels; `None` where there is none of it.
    #[must_use]
    pub fn decided_ratio(&self) -> Option<f64> {
        ratio(self.at.decided, self.at.target)
    }
}

fn ratio(size: f64, target: f64) -> Option<f64> {
    (target > 0.0).then(|| size / target)
}

/// Shifts that are tried first, on both sides of 0. Beyond the last, no float has another
/// probability than 0 or 1 unless logits are as far apart.
const STEPS: [f64; 15] = [0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0];

/// What an end may lack of the least value, in units of what the present size lacks of it.
const NOISE: f64 = 1e-10;

/// Proportions this near to 0 or 1 are nothing or everything.
const EXTREME: f64 = 1e-12;

/// How many of the best shifts are looked around, and into how many parts the intervals beside them
/// are cut.
const VALLEYS: usize = 3;
const PARTS: usize = 8;

/// Width at which a shift is known well enough: a loss is flat at its least, so that its value
/// tells no more.
const WIDTH: f64 = 1e-8;

/// Finds where a loss is least along the shift of one class's logits, by its values alone: what
/// [`Shifted`] is at any shift.
///
/// The preferred size is what a network that cannot change anything but the size of a region would
/// come to. It depends on the logits at hand: on vague predictions most losses prefer another size
/// than on sharp ones. Where [`Pressure`](crate::Pressure) is the slope at the present size, this
/// is the size at which the slope is 0.
///
/// First the loss is taken at some thirty shifts, then closer together around the three best of
/// them, as a loss with a high temperature has several valleys; in the deepest by golden sections.
/// No slope is needed, and a kink is no obstacle. About a hundred values are taken.
///
/// ```
/// use loss_core::{Preference, Shifted, preferred_size};
///
/// // A loss that wants a fifth.
/// let at = |shift: f64| {
///     let predicted = 1.0 / (1.0 + (-shift).exp());
///     let (value, decided) = ((predicted - 0.2).powi(2), f64::from(shift > 0.0));
///     Ok(Shifted { value, target: 0.1, predicted, decided })
/// };
/// let Preference::Size(size) = preferred_size(at)? else { panic!() };
/// assert!((size.predicted_ratio().unwrap() - 2.0).abs() < 1e-4);
/// assert_eq!(size.decided_ratio(), Some(0.0));
/// # Ok::<(), loss_core::LossError>(())
/// ```
///
/// # Errors
/// The first of `at`; [`LossError::ShiftedLoss`] where the loss is not a finite number.
pub fn preferred_size(mut at: impl FnMut(f64) -> Result<Shifted, LossError>) -> Result<Preference, LossError> {
    let mut probe = |shift: f64| {
        let there = at(shift)?;
        if there.value.is_finite() { Ok(there) } else { Err(LossError::ShiftedLoss { value: there.value, shift }) }
    };
    let present = probe(0.0)?;
    let mut tried = vec![(0.0, present)];
    for side in [-1.0, 1.0] {
        for step in STEPS {
            let there = probe(side * step)?;
            tried.push((side * step, there));
            let end = if side < 0.0 { there.predicted } else { 1.0 - there.predicted };
            if end < EXTREME && there.decided == if side < 0.0 { 0.0 } else { 1.0 } {
                break;
            }
        }
    }
    tried.sort_by(|a, b| a.0.total_cmp(&b.0));
    let values = || tried.iter().map(|(_, there)| there.value);
    let [least, largest] = [values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max)];
    if largest - least <= 1e-12 * largest.abs().max(least.abs()) {
        return Ok(Preference::Indifferent);
    }
    // As good as the least: an end that a loss only falls towards levels out before it is reached.
    let good = |i: usize| tried[i].1.value <= least + NOISE * (present.value - least);
    let last = tried.len() - 1;
    match (good(0), good(last)) {
        (true, true) => return Ok(Preference::Extremes),
        (true, false) => return Ok(Preference::Nothing),
        (false, true) => return Ok(Preference::Everything),
        (false, false) => {}
    }
    let mut ranked: Vec<usize> = (0..=last).collect();
    ranked.sort_by(|&a, &b| tried[a].1.value.total_cmp(&tried[b].1.value));
    // Intervals, by where they begin, on both sides of the best.
    let around = |&i: &usize| [i.checked_sub(1), (i < last).then_some(i)];
    let mut intervals: Vec<usize> = ranked.iter().take(VALLEYS).flat_map(around).flatten().collect();
    intervals.sort_unstable();
    intervals.dedup();
    for i in intervals {
        let [from, to] = [tried[i].0, tried[i + 1].0];
        for part in 1..PARTS {
            let shift = from + (to - from) * part as f64 / PARTS as f64;
            tried.push((shift, probe(shift)?));
        }
    }
    tried.sort_by(|a, b| a.0.total_cmp(&b.0));
    let last = tried.len() - 1;
    let best = (0..=last).min_by(|&a, &b| tried[a].1.value.total_cmp(&tried[b].1.value)).unwrap_or(0);
    let [from, to] = [tried[best.saturating_sub(1)].0, tried[(best + 1).min(last)].0];
    let found = golden_section(&mut probe, [from, to], tried[best])?;
    Ok(Preference::Size(PreferredSize { shift: found.0, at: found.1 }))
}

type Probed = (f64, Shifted);

/// The least value between two shifts, given one between them that is less than at both.
fn golden_section(
    probe: &mut impl FnMut(f64) -> Result<Shifted, LossError>,
    [mut from, mut to]: [f64; 2],
    mut best: Probed,
) -> Result<Probed, LossError> {
    const SHARE: f64 = 0.381_966_011_250_105;
    while to - from > WIDTH {
        // Into the longer side of the best.
        let right = to - best.0 >= best.0 - from;
        let shift = best.0 + SHARE * if right { to - best.0 } else { from - best.0 };
        let there = probe(shift)?;
        if there.value < best.1.value {
            *(if right { &mut from } else { &mut to }) = best.0;
            best = (shift, there);
        } else {
            *(if right { &mut to } else { &mut from }) = shift;
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logistic(shift: f64) -> f64 {
        1.0 / (1.0 + (-shift).exp())
    }

    fn of(value: impl Fn(f64) -> f64) -> Preference {
        let at = |shift: f64| {
            let predicted = logistic(shift - 3.0);
            Ok(Shifted { value: value(predicted), target: 0.1, predicted, decided: f64::from(u8::from(shift > 3.0)) })
        };
        preferred_size(at).unwrap()
    }

    #[test]
    fn the_least_value_is_found_with_and_without_a_kink() {
        for wanted in [0.001, 0.0474, 0.1, 0.5, 0.9999] {
            for preference in
                [of(|p| (p - wanted) * (p - wanted)), of(|p| (p - wanted).abs()), of(|p| (p / wanted).ln().powi(2))]
            {
                let Preference::Size(size) = preference else { panic!("{wanted}: {preference:?}") };
                assert!((size.at.predicted / wanted - 1.0).abs() < 1e-5, "{wanted}: {size:?}");
                assert!((size.predicted_ratio().unwrap() - wanted / 0.1).abs() < 1e-4 * wanted / 0.1);
            }
        }
    }

    #[test]
    fn what_has_no_least_value_is_named() {
        assert_eq!(of(|p| p), Preference::Nothing);
        assert_eq!(of(|p| 1.0 - p), Preference::Everything);
        assert_eq!(of(|_| 0.7), Preference::Indifferent);
        assert_eq!(of(|_| 0.0), Preference::Indifferent);
        assert_eq!(of(|p| p * (1.0 - p)), Preference::Extremes);
    }

    #[test]
    fn without_a_true_pixel_there_is_a_proportion_and_no_ratio() {
        let at = |shift: f64| {
            let predicted = logistic(shift);
            Ok(Shifted { value: (predicted - 0.25).powi(2), target: 0.0, predicted, decided: 0.0 })
        };
        let Preference::Size(size) = preferred_size(at).unwrap() else { panic!() };
        assert_eq!((size.predicted_ratio(), size.decided_ratio()), (None, None));
        assert!((size.at.predicted - 0.25).abs() < 1e-5);
    }

    #[test]
    fn a_loss_that_is_no_number_is_an_error() {
        let at = |shift: f64| {
            Ok(Shifted { value: if shift > 2.0 { f64::NAN } else { 1.0 }, target: 0.5, predicted: 0.5, decided: 0.5 })
        };
        assert!(preferred_size(at).unwrap_err().to_string().contains("NaN"));
    }
}
