//! The oracle: every loss once more, written straight from the definitions, in scalar `f64` with
//! compensated sums.
//!
//! It shares no code with what it checks, neither formulas nor activations nor derivatives: its
//! gradient comes from a scalar tape. Slow on purpose. It is itself checked against hand-computed
//! values and central differences below.

mod mapped;
mod maps;
mod options;
mod tape;
mod terms;

use std::collections::HashMap;

#[cfg(test)]
pub(crate) use maps::clearance;
pub use options::{
    Absent, Boundary, CrossEntropy, Focal, Form, GeneralizedDice, HARDEST_PIXELS, LogRecall, Pooling, Proportion, Ratio,
    RatioKind, SIGNED_DISTANCES, Term, TopK, Wanted, Weighting, named,
};
use tape::{Sum, Tape, Var};
use terms::Made;

use crate::InputMap;
use crate::tolerance::ROUNDINGS;

/// How logits become probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// Over classes.
    Softmax,
    /// Each channel by itself.
    Sigmoid,
}

/// What logits are compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// `[N, S]`
    Labels(Vec<i64>),
    /// `[N, K, S]`
    Soft(Vec<f64>),
}

impl Default for Target {
    fn default() -> Self {
        Self::Labels(Vec::new())
    }
}

/// Logits `[N, K, S]` and a target.
#[derive(Clone, Debug)]
pub struct Problem {
    /// N
    pub samples: usize,
    /// K
    pub classes: usize,
    /// S
    pub pixels: usize,
    /// The lengths whose product is S.
    pub spatial: Vec<usize>,
    /// The loss's own activation.
    pub activation: Activation,
    /// Row-major.
    pub logits: Vec<f64>,
    /// Labels or soft targets.
    pub target: Target,
    /// Labels without influence.
    pub ignore: Vec<i64>,
    /// `[N, S]`
    pub weights: Option<Vec<f64>>,
    /// `[N, K]`, for penalties that are given theirs.
    pub prior: Option<Vec<f64>>,
    /// Distance of neighbours along each spatial axis; by default 1.
    pub spacing: Option<Vec<f64>>,
    /// In place of the maps that terms derive, by name.
    pub maps: Vec<InputMap>,
}

/// Sums per sample and class, row-major `[N, K]`; `valid` is `[N]`.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// M
    pub valid: Vec<f64>,
    /// T
    pub target: Vec<f64>,
    /// P(τ)
    pub predicted: Vec<f64>,
    /// I(τ)
    pub intersection: Vec<f64>,
    /// Σ y log p
    pub log_likelihood: Vec<f64>,
}

/// A valid pixel: its sample and its place there, weight, target per class, and logits per class.
struct Pixel {
    sample: usize,
    place: usize,
    weight: f64,
    target: Vec<f64>,
    logits: Vec<Var>,
}

/// What the sums of one call are made of.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Quantity {
    /// Σ p at a temperature; with `true`, Σ (1 − p).
    Mass(Activation, bool, u64),
    /// Σ y p; with `true`, Σ (1 − y)(1 − p).
    Inside(Activation, bool, u64),
    Squares(Activation),
    /// Σ y log p; with `true`, Σ (1 − y) log(1 − p).
    Log(Activation, bool),
    /// Σ log p; with `true`, Σ log(1 − p).
    LogEverywhere(Activation, bool),
    /// Σ y φ(log p), φ focal with γ; with `true`, the background's.
    Focal(Activation, bool, u64),
}

/// A problem on the tape.
struct World<'a> {
    problem: &'a Problem,
    tape: Tape,
    pixels: Vec<Pixel>,
    known: HashMap<Quantity, Vec<Vec<Var>>>,
    /// Every sum made, and the sum of its summands' magnitudes.
    sums: Vec<(Var, f64)>,
    /// Per pixel: the numbers made of its logits, and how strongly each hands its adjoint on.
    handed_on: Vec<Vec<(Var, f64)>>,
}

/// A number, and what it is made of: an error of ε in the statistics moves it by up to ε times
/// its scale.
#[derive(Clone, Copy, Debug)]
pub struct Scaled {
    /// The number.
    pub value: f64,
    /// Σ |∂value/∂statistic| · Σ |summand of the statistic|, at least |value|, and the
    /// magnitudes of what it is added up from.
    pub scale: f64,
}

/// What the oracle says of a loss.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The weighted sum of the terms.
    pub total: Scaled,
    /// Value of each term; and where it splits exactly, matching, size and constant.
    pub terms: Vec<Vec<Scaled>>,
    /// ∂total/∂logits, row-major.
    pub gradient: Vec<f64>,
    /// What a pixel's gradient is made of, before it cancels over classes: the largest Σ_k
    /// τ·p_k·|∂total/∂p_k|, and
    /// |∂total/∂log p_k|, of any pixel; a small p_k counts for as much more as it is less exact.
    pub gradient_scale: f64,
}

impl<'a> World<'a> {
    fn new(problem: &'a Problem) -> Self {
        let mut tape = Tape::default();
        // The first N·K·S numbers are the logits.
        for &z in &problem.logits {
            tape.constant(z);
        }
        let (classes, count) = (problem.classes, problem.pixels);
        let mut pixels = Vec::new();
        for n in 0..problem.samples {
            for s in 0..count {
                let weight = problem.weights.as_ref().map_or(1.0, |w| w[n * count + s]);
                let at = |k: usize| (n * classes + k) * count + s;
                let (target, ignored): (Vec<f64>, bool) = match &problem.target {
                    Target::Soft(shares) => ((0..classes).map(|k| shares[at(k)]).collect(), false),
                    Target::Labels(labels) => {
                        let label = labels[n * count + s];
                        let is = |k: usize| if classes == 1 { label == 1 } else { label == k as i64 };
                        let one_hot = (0..classes).map(|k| f64::from(u8::from(is(k)))).collect();
                        (one_hot, problem.ignore.contains(&label))
                    }
                };
                if weight > 0.0 && !ignored {
                    pixels.push(Pixel { sample: n, place: s, weight, target, logits: (0..classes).map(at).collect() });
                }
            }
        }
        let handed_on = pixels.iter().map(|_| Vec::new()).collect();
        Self { problem, tape, pixels, known: HashMap::new(), sums: Vec::new(), handed_on }
    }

    /// p(τ), log p and log(1 − p) of every class at one pixel, as asked.
    fn pixel(&mut self, i: usize, quantity: Quantity) -> Vec<Var> {
        let logits = self.pixels[i].logits.clone();
        let z: Vec<f64> = logits.iter().map(|&z| self.tape.value(z)).collect();
        let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let softmax = |tau: f64| {
            let e: Vec<f64> = z.iter().map(|z| (tau * (z - max)).exp()).collect();
            let sum: f64 = e.iter().sum();
            e.into_iter().map(|e| e / sum).collect::<Vec<f64>>()
        };
        // ∂p_k/∂z_j and ∂log p_k/∂z_j, with 1 − p_k as the sum of the others.
        let slope = |p: &[f64], k: usize, j: usize| {
            if j == k { (0..p.len()).filter(|&i| i != k).map(|i| p[i]).sum::<f64>() } else { -p[j] }
        };
        (0..z.len())
            .map(|k| match quantity {
                Quantity::Mass(Activation::Softmax, _, tau) | Quantity::Inside(Activation::Softmax, _, tau) => {
                    let tau = f64::from_bits(tau);
                    let p = softmax(tau);
                    let parents = logits.iter().enumerate().map(|(j, &z)| (z, tau * p[k] * slope(&p, k, j))).collect();
                    self.tape.push(p[k], parents)
                }
                Quantity::Squares(Activation::Softmax) => {
                    let p = softmax(1.0);
                    let parents = logits.iter().enumerate().map(|(j, &z)| (z, 2.0 * p[k] * p[k] * slope(&p, k, j))).collect();
                    self.tape.push(p[k] * p[k], parents)
                }
                Quantity::Mass(Activation::Sigmoid, outside, tau) | Quantity::Inside(Activation::Sigmoid, outside, tau) => {
                    let tau = if outside { -f64::from_bits(tau) } else { f64::from_bits(tau) };
                    let (p, q) = (logistic(tau * z[k]), logistic(-tau * z[k]));
                    self.tape.push(p, vec![(logits[k], tau * p * q)])
                }
                Quantity::Squares(Activation::Sigmoid) => {
                    let (p, q) = (logistic(z[k]), logistic(-z[k]));
                    self.tape.push(p * p, vec![(logits[k], 2.0 * p * p * q)])
                }
                Quantity::Log(a, outside) | Quantity::LogEverywhere(a, outside) | Quantity::Focal(a, outside, _) => {
                    let log = match a {
                        Activation::Softmax => {
                            let p = softmax(1.0);
                            let top = z.iter().position(|z| *z == max).unwrap_or(0);
                            let rest: f64 = (0..z.len()).filter(|&j| j != top).map(|j| (z[j] - max).exp()).sum();
                            let parents = logits.iter().enumerate().map(|(j, &z)| (z, slope(&p, k, j))).collect();
                            self.tape.push((z[k] - max) - rest.ln_1p(), parents)
                        }
                        Activation::Sigmoid => {
                            let sign = if outside { -1.0 } else { 1.0 };
                            let x = sign * z[k];
                            let log = x.min(0.0) - (-x.abs()).exp().ln_1p();
                            self.tape.push(log, vec![(logits[k], sign * logistic(-x))])
                        }
                    };
                    match quantity {
                        Quantity::Focal(_, _, gamma) => {
                            let (gamma, l) = (f64::from_bits(gamma), self.tape.value(log));
                            let (p, q) = (l.exp(), -l.exp_m1());
                            let fading = if q == 0.0 { 0.0 } else { gamma * q.powf(gamma - 1.0) * p * l };
                            self.tape.push(-q.powf(gamma) * l, vec![(log, fading - q.powf(gamma))])
                        }
                        _ => log,
                    }
                }
            })
            .collect()
    }

    /// Sums of a quantity: `[N][K]`.
    fn sums(&mut self, quantity: Quantity) -> Vec<Vec<Var>> {
        if let Some(known) = self.known.get(&quantity) {
            return known.clone();
        }
        let sums = self.sums_times(quantity, |_, _| 1.0);
        self.known.insert(quantity, sums.clone());
        sums
    }

    /// Sums of a quantity times a factor of each valid pixel and class, a constant.
    fn sums_times(&mut self, quantity: Quantity, factor: impl Fn(usize, usize) -> f64) -> Vec<Vec<Var>> {
        let (samples, classes) = (self.problem.samples, self.problem.classes);
        let mut parts: Vec<Vec<Vec<(f64, Var)>>> = vec![vec![Vec::new(); classes]; samples];
        for i in 0..self.pixels.len() {
            let values = self.pixel(i, quantity);
            for &value in &values {
                let p = self.tape.value(value);
                let strength = match quantity {
                    Quantity::Mass(.., tau) | Quantity::Inside(.., tau) => f64::from_bits(tau) * p * of_exponent(p),
                    Quantity::Squares(_) => 2.0 * p * of_exponent(p),
                    // A focal value hands on what its slope lets through: at most (1 + γ) times.
                    Quantity::Focal(_, _, gamma) => (1.0 + f64::from_bits(gamma)) * p.min(1.0),
                    Quantity::Log(..) | Quantity::LogEverywhere(..) => 1.0,
                };
                self.handed_on[i].push((value, strength));
            }
            let Pixel { sample, weight, target, .. } = &self.pixels[i];
            for (k, value) in values.into_iter().enumerate() {
                let share = match quantity {
                    Quantity::Mass(..) | Quantity::Squares(_) | Quantity::LogEverywhere(..) => 1.0,
                    Quantity::Inside(_, outside, _) | Quantity::Log(_, outside) | Quantity::Focal(_, outside, _) => {
                        if outside {
                            1.0 - target[k]
                        } else {
                            target[k]
                        }
                    }
                };
                // 0 times an infinite logarithm is nothing here.
                let factor = share * factor(i, k);
                if factor != 0.0 {
                    parts[*sample][k].push((weight * factor, value));
                }
            }
        }
        let mut sum = |parts: Vec<(f64, Var)>| {
            let sum = self.tape.combine(&parts);
            let mut magnitude = Sum::default();
            parts.iter().for_each(|&(factor, value)| magnitude.add((factor * self.tape.value(value)).abs()));
            self.sums.push((sum, magnitude.value()));
            sum
        };
        parts.into_iter().map(|row| row.into_iter().map(&mut sum).collect()).collect()
    }

    /// Σ w f(y) per sample and class; Σ w per sample with one class.
    fn target_sums(&self, f: impl Fn(f64) -> f64) -> Vec<Vec<f64>> {
        self.constants(|i, k| f(self.pixels[i].target[k]))
    }

    /// Σ w f per sample and class, of a number f for each valid pixel and class.
    fn constants(&self, f: impl Fn(usize, usize) -> f64) -> Vec<Vec<f64>> {
        let mut sums = vec![vec![Sum::default(); self.problem.classes]; self.problem.samples];
        for (i, pixel) in self.pixels.iter().enumerate() {
            for (k, sum) in sums[pixel.sample].iter_mut().enumerate() {
                sum.add(pixel.weight * f(i, k));
            }
        }
        sums.into_iter().map(|row| row.into_iter().map(Sum::value).collect()).collect()
    }
}

/// How much less exact a small probability is than the tolerance has counted: of its roundings,
/// that of the shift and that of the temperature move an exponent −x by x units each, and so the
/// probability.
fn of_exponent(p: f64) -> f64 {
    if p > 0.0 { 1.0 + 2.0 * (-p.ln() - 1.0).max(0.0) / ROUNDINGS } else { 1.0 }
}

fn logistic(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

impl World<'_> {
    /// A number that is added up from others, with its scale.
    fn scaled(&self, var: Var, made_of: f64) -> Scaled {
        let adjoints = self.tape.backward(var);
        let statistics: f64 = self.sums.iter().map(|&(sum, magnitude)| adjoints[sum].abs() * magnitude).sum();
        let value = self.tape.value(var);
        Scaled { value, scale: value.abs().max(made_of).max(statistics) }
    }
}

/// The weighted sum of terms, each term with its parts, and the gradient for every logit.
#[must_use]
pub fn answer(problem: &Problem, loss: &[(f64, Term)]) -> Answer {
    let mut world = World::new(problem);
    let made: Vec<Made> = loss.iter().map(|(_, term)| term.on(&mut world)).collect();
    let weighted: Vec<(f64, Var)> = loss.iter().zip(&made).map(|((weight, _), made)| (*weight, made.value)).collect();
    let total = world.tape.combine(&weighted);
    let sum = |parts: &[(f64, Var)]| parts.iter().map(|(weight, var)| (weight * world.tape.value(*var)).abs()).sum::<f64>();
    let terms = made.iter().map(|made| {
        let parts = made.split.as_ref().map_or(&[][..], |split| split);
        // A part may be what is left of the others.
        let all = sum(&parts.iter().map(|&part| (1.0, part)).collect::<Vec<_>>());
        let parts = parts.iter().map(|&part| world.scaled(part, all));
        std::iter::once(world.scaled(made.value, 0.0)).chain(parts).collect()
    });
    let terms = terms.collect();
    let adjoints = world.tape.backward(total);
    let handed = |pixel: &Vec<(Var, f64)>| pixel.iter().map(|(var, strength)| (adjoints[*var] * strength).abs()).sum();
    let gradient_scale = world.handed_on.iter().map(handed).fold(0.0, f64::max);
    let gradient = adjoints[..problem.logits.len()].to_vec();
    Answer { total: world.scaled(total, sum(&weighted)), terms, gradient, gradient_scale }
}

/// Compensated sums at a temperature, under the problem's activation.
#[must_use]
pub fn statistics(problem: &Problem, temperature: f64) -> Statistics {
    let mut world = World::new(problem);
    let activation = problem.activation;
    let tau = temperature.to_bits();
    let mut flat = |quantity| {
        let sums = world.sums(quantity);
        sums.into_iter().flatten().map(|sum| world.tape.value(sum)).collect::<Vec<f64>>()
    };
    let predicted = flat(Quantity::Mass(activation, false, tau));
    let intersection = flat(Quantity::Inside(activation, false, tau));
    let log_likelihood = flat(Quantity::Log(activation, false));
    Statistics {
        valid: world.target_sums(|_| 1.0).into_iter().map(|row| row[0]).collect(),
        target: world.target_sums(|y| y).into_iter().flatten().collect(),
        predicted,
        intersection,
        log_likelihood,
    }
}

#[cfg(test)]
mod tests;
