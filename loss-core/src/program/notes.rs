//! What is to be told of an evaluation: made of its statistics and of the facts of the call.

use super::{Inputs, Known, Program};
use crate::expr::Table;
use crate::{
    Activation, Argument, Facts, LossError, Map, Note, Over, Precision, Quantity, RegionReport, Statistic, expr::PixelFunction,
};

/// What f16 rounds to 0: half of its smallest number, 2⁻²⁴.
const LOST: f64 = 1.0 / (1u64 << 25) as f64;

/// Errors up to which a gradient may be lost without a note.
const SMALL_ERROR: f64 = 1.0 / 32.0;

/// Where the factor of a note lifts the largest gradient to, at least.
const LIFTED: f64 = 1.0 / 256.0;

/// What is known of a term when its program is made.
#[derive(Clone, Debug)]
pub(super) struct TermFacts {
    /// Another activation than the loss's.
    pub(super) other: Option<Activation>,
    /// Options that change nothing.
    pub(super) idle: Vec<&'static str>,
}

impl Program {
    pub(super) fn notes(
        &self,
        statistics: &[Table],
        inputs: &Inputs,
        facts: &Facts,
        regions: &[RegionReport],
    ) -> Result<Vec<Note>, LossError> {
        let mut notes = Vec::new();
        let weight = self.valid_weight(statistics)?;
        let (valid, pixels) = (facts.counted(weight), facts.pixels);
        if valid < pixels {
            notes.push(Note::IgnoredPixels { ignored: pixels - valid, pixels });
        }
        let classes: Vec<usize> = regions.iter().filter(|region| region.target == 0.0).map(|region| region.class).collect();
        if !classes.is_empty() && valid > 0 {
            notes.push(Note::AbsentClasses { classes, activation: self.activation });
        }
        if facts.soft && !facts.ignore.is_empty() {
            notes.push(Note::IgnoreOnSoftTargets { labels: facts.ignore.clone() });
        }
        self.unread(inputs, facts, &mut notes);
        notes.extend(self.term_notes());
        if facts.logits == Precision::F16 && valid > 0 {
            notes.extend(self.vanishing(statistics, inputs, weight / valid as f64)?);
        }
        Ok(notes)
    }

    /// What can be told of the terms without any input.
    pub(crate) fn term_notes(&self) -> Vec<Note> {
        let mut notes: Vec<Note> = Vec::new();
        for (TermFacts { other, idle }, term) in self.terms.iter().zip(&self.outputs.terms) {
            let term = || term.name.clone();
            let other = other.map(|activation| Note::OtherActivation { term: term(), activation, loss: self.activation });
            let options = || idle.iter().map(|&option| option.to_owned()).collect();
            let idle = (!idle.is_empty()).then(|| Note::IdleOptions { term: term(), options: options() });
            for note in other.into_iter().chain(idle) {
                // Of two terms of one kind it is said once.
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
        }
        notes
    }

    fn unread(&self, inputs: &Inputs, facts: &Facts, notes: &mut Vec<Note>) {
        let unread = |what, name| Note::Unread { what, name };
        for name in &facts.maps {
            if self.plan.maps().iter().all(|map| map.name() != name && map.id() != *name) {
                notes.push(unread(Argument::Map, Some(name.clone())));
            }
        }
        let derived = self.plan.underived(facts.maps.iter().map(String::as_str));
        let mut measured = derived.filter(|map| matches!(map, Map::Derived(how) if how.reads_spacing()));
        if facts.spacing && measured.next().is_none() {
            notes.push(unread(Argument::Spacing, None));
        }
        if inputs.prior.is_some() && !self.reads_prior {
            notes.push(unread(Argument::Prior, None));
        }
    }

    /// Σ M
    fn valid_weight(&self, statistics: &[Table]) -> Result<f64, LossError> {
        let known = Known { plan: &self.plan, arrays: statistics };
        Ok(known.get(&Statistic::VALID_SIZE)?.values().iter().sum())
    }

    /// The terms whose gradients are lost in f16; `weight` is that of an average pixel.
    fn vanishing(&self, statistics: &[Table], inputs: &Inputs, weight: f64) -> Result<Option<Note>, LossError> {
        let (mut terms, mut largest, mut all) = (Vec::new(), f64::INFINITY, 0.0);
        let mut place = 1;
        for (i, term) in self.outputs.terms.iter().enumerate() {
            let mut seeds = vec![0.0; place];
            seeds.push(super::weight(inputs, i)?);
            place += if term.split.is_some() { 4 } else { 1 };
            let bound = weight * self.bound(&self.upstream(statistics, inputs, &seeds)?);
            all += bound;
            if bound > 0.0 && LOST / bound >= SMALL_ERROR {
                largest = bound.min(largest);
                if !terms.contains(&term.name) {
                    terms.push(term.name.clone());
                }
            }
        }
        if terms.is_empty() {
            return Ok(None);
        }
        let mut factor = 1.0;
        // Up to what the gradient of the whole loss allows: f16 ends at 65504.
        while factor * largest < LIFTED && factor * all < 16384.0 {
            factor *= 2.0;
        }
        Ok(Some(Note::VanishingGradients { terms, largest, error: LOST / largest, factor }))
    }

    /// A bound of the gradient of any logit at a pixel of weight 1, from the derivatives for the
    /// statistics.
    ///
    /// A pixel of the region and one of the background do not meet in one sum; a pixel of either is
    /// one of all.
    fn bound(&self, upstream: &[Option<Table>]) -> f64 {
        let samples = upstream.iter().flatten().map(Table::rows).max().unwrap_or(0);
        let of_sample = |n: usize| {
            let [mut everywhere, mut region, mut background] = [0.0; 3];
            for (statistic, table) in self.plan.statistics().iter().zip(upstream) {
                let Some(table) = table else { continue };
                let row: Vec<f64> = (0..table.columns()).filter_map(|k| table.get(n, k)).collect();
                let sum = match statistic.over {
                    Over::Valid => &mut everywhere,
                    Over::Region => &mut region,
                    Over::Background => &mut background,
                };
                *sum += slope(statistic, &row);
            }
            everywhere + f64::max(region, background)
        };
        (0..samples).map(of_sample).fold(0.0, f64::max)
    }
}

/// A bound of Σ_k u_k ∂s_k/∂z for a summand s of a statistic and any logit z of the pixel,
/// where u is the derivative for the statistic.
fn slope(statistic: &Statistic, upstream: &[f64]) -> f64 {
    let Some(probability) = statistic.probability() else { return 0.0 };
    let softmax = probability.activation == Activation::Softmax;
    let largest = upstream.iter().fold(0.0, |largest: f64, u| largest.max(u.abs()));
    let map = statistic.map.as_ref().map_or(1.0, |map| if let Map::Derived(how) = map { how.bound() } else { f64::INFINITY });
    let bound = match (&statistic.of, statistic.over) {
        (Quantity::One | Quantity::Target, _) => 0.0,
        // ∂p_k/∂z_j = τ p_k (δ_kj − p_j): over all classes τ p_j (u_j − Σ u p).
        (Quantity::Mass(p), Over::Valid) if softmax => {
            let least = upstream.iter().copied().fold(f64::INFINITY, f64::min);
            let most = upstream.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            p.temperature.value() * (most - least).max(0.0) / 4.0
        }
        (Quantity::Mass(p), _) => p.temperature.value() * largest / 4.0,
        // 2p²(1 − p) is at most 8/27; under softmax the other classes can add as much.
        (Quantity::SquaredMass(_), _) => largest * if softmax { 16.0 / 27.0 } else { 8.0 / 27.0 },
        // ∂log p_k/∂z_j = δ_kj − p_j
        (Quantity::Log(..), Over::Valid) if softmax => largest + upstream.iter().map(|u| u.abs()).sum::<f64>(),
        (Quantity::Log(..), _) => largest,
        (Quantity::Function(_, _, function), _) => largest * steepest(function),
    };
    if bound == 0.0 { 0.0 } else { bound * map }
}

/// The largest |φ'(log p)|·(1 − p), looked for among many p.
fn steepest(function: &PixelFunction) -> f64 {
    const POINTS: usize = 200;
    let logs: Vec<f64> = (1..=POINTS).map(|i| (i as f64 / (POINTS + 1) as f64).ln()).chain([-7.0, -10.0, -20.0]).collect();
    let (mut values, mut slopes) = (vec![0.0; logs.len()], vec![0.0; logs.len()]);
    function.evaluate(&logs, &mut values, Some(&mut slopes));
    logs.iter().zip(&slopes).map(|(log, slope)| (slope * -log.exp_m1()).abs()).filter(|s| s.is_finite()).fold(0.0, f64::max)
}
