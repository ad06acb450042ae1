//! The terms, each written out from its definition.

use super::tape::Var;
use super::{Activation, Quantity, World};

/// Over what sums are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The batch.
    Batch,
    /// Each sample.
    Sample,
}

/// What an absent class contributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// 0, and it counts.
    Zero,
    /// 0, and it does not count.
    Skip,
    /// Its score.
    Count,
}

/// How a score becomes a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// 1 − score
    Linear,
    /// −log max(score, 1e-7)
    Log,
}

/// Weight of a class in generalised Dice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// 1/T²
    Square,
    /// 1/T
    Simple,
    /// 1
    Uniform,
}

/// Which ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RatioKind {
    /// 2I/(P+T)
    Dice,
    /// 2I/(Σp²+Σy²)
    SquaredDice,
    /// I/(I+α(P−I)+β(T−I))
    Tversky(f64, f64),
    /// I/(P+T−I)
    Jaccard,
}

/// Options of Cross-Entropy.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct CrossEntropy {
    pub class_weights: Option<Vec<f64>>,
    pub label_smoothing: f64,
    pub pooling: Pooling,
    pub activation: Option<Activation>,
}

/// Options of focal.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Focal {
    pub gamma: f64,
    pub alpha: Option<f64>,
    pub class_weights: Option<Vec<f64>>,
    pub pooling: Pooling,
    pub activation: Option<Activation>,
}

/// Options of −log(I/T).
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct LogRecall {
    pub pooling: Pooling,
    pub temperature: f64,
    pub smooth: f64,
    pub absent: Absent,
    pub classes: Option<Vec<usize>>,
    pub class_weights: Option<Vec<f64>>,
}

/// Options of Dice, Tversky, Jaccard.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Ratio {
    pub kind: RatioKind,
    pub form: Form,
    pub pooling: Pooling,
    pub smooth_numerator: f64,
    pub smooth_denominator: f64,
    pub temperature: f64,
    pub absent: Absent,
    pub classes: Option<Vec<usize>>,
    pub class_weights: Option<Vec<f64>>,
}

/// Options of generalised Dice.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct GeneralizedDice {
    pub form: Form,
    pub pooling: Pooling,
    pub weighting: Weighting,
    pub classes: Option<Vec<usize>>,
    pub activation: Option<Activation>,
}

/// Options of the proportion penalties.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Proportion {
    pub temperature: f64,
    pub pooling: Pooling,
    pub prior: Option<Vec<f64>>,
    pub epsilon: f64,
    pub classes: Option<Vec<usize>>,
    pub class_weights: Option<Vec<f64>>,
}

/// Options of L1.
pub type L1 = Proportion;
/// Options of KL.
pub type Kl = Proportion;
/// Options of Dice's bias.
pub type DiceBias = Proportion;

impl Default for CrossEntropy {
    fn default() -> Self {
        Self { class_weights: None, label_smoothing: 0.0, pooling: Pooling::Batch, activation: None }
    }
}

impl Default for Focal {
    fn default() -> Self {
        Self { gamma: 2.0, alpha: None, class_weights: None, pooling: Pooling::Batch, activation: Some(Activation::Sigmoid) }
    }
}

impl Default for LogRecall {
    fn default() -> Self {
        let (pooling, absent) = (Pooling::Batch, Absent::Zero);
        Self { pooling, temperature: 1.0, smooth: 0.0, absent, classes: None, class_weights: None }
    }
}

impl Default for Ratio {
    fn default() -> Self {
        Self {
            kind: RatioKind::Dice,
            form: Form::Linear,
            pooling: Pooling::Batch,
            smooth_numerator: 0.0,
            smooth_denominator: 0.0,
            temperature: 1.0,
            absent: Absent::Zero,
            classes: None,
            class_weights: None,
        }
    }
}

impl Default for GeneralizedDice {
    fn default() -> Self {
        let activation = Some(Activation::Sigmoid);
        Self { form: Form::Linear, pooling: Pooling::Batch, weighting: Weighting::Square, classes: None, activation }
    }
}

impl Default for Proportion {
    fn default() -> Self {
        let pooling = Pooling::Sample;
        Self { temperature: 10.0, pooling, prior: None, epsilon: 1e-10, classes: None, class_weights: None }
    }
}

/// A term.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Term {
    CrossEntropy(CrossEntropy),
    Focal(Focal),
    LogRecall(LogRecall),
    Ratio(Ratio),
    GeneralizedDice(GeneralizedDice),
    L1(Proportion),
    /// The flag: whether a sigmoid channel adds its background.
    Kl(Proportion, bool),
    DiceBias(Proportion),
}

/// The fourteen configurations of the authors.
#[must_use]
pub fn named(name: &str) -> Option<Vec<(f64, Term)>> {
    let part = |name: &str| {
        Some(match name {
            "CE" => Term::CrossEntropy(CrossEntropy::default()),
            "Focal" => Term::Focal(Focal::default()),
            "Dice" => Term::Ratio(Ratio::default()),
            "LogDice" => Term::Ratio(Ratio { form: Form::Log, ..Ratio::default() }),
            "GDice" => Term::GeneralizedDice(GeneralizedDice::default()),
            "L1" => Term::L1(Proportion::default()),
            "KL" => Term::Kl(Proportion::default(), true),
            "DB" => Term::DiceBias(Proportion::default()),
            _ => return None,
        })
    };
    name.split('+').map(|name| part(name).map(|term| (1.0, term))).collect()
}

/// c_k for the classes that count, else 0.
fn weights(classes: usize, only: Option<&[usize]>, weights: Option<&[f64]>) -> Vec<f64> {
    let counts = |k: &usize| only.is_none_or(|only| only.contains(k));
    (0..classes).map(|k| if counts(&k) { weights.map_or(1.0, |w| w[k]) } else { 0.0 }).collect()
}

impl World<'_> {
    /// Rows of sums at the level of the pooling.
    fn pooled(&mut self, pooling: Pooling, sums: Vec<Vec<Var>>) -> Vec<Vec<Var>> {
        match pooling {
            Pooling::Sample => sums,
            Pooling::Batch => {
                let classes = self.problem.classes;
                let column = |k: usize| sums.iter().map(|row| (1.0, row[k])).collect::<Vec<_>>();
                vec![(0..classes).map(|k| self.tape.combine(&column(k))).collect()]
            }
        }
    }

    fn pooled_target(&self, pooling: Pooling, f: impl Fn(f64) -> f64) -> Vec<Vec<f64>> {
        let sums = self.target_sums(f);
        match pooling {
            Pooling::Sample => sums,
            Pooling::Batch => vec![(0..self.problem.classes).map(|k| sums.iter().map(|row| row[k]).sum()).collect()],
        }
    }

    fn pooled_valid(&self, pooling: Pooling) -> Vec<f64> {
        self.pooled_target(pooling, |_| 1.0).into_iter().map(|row| row[0]).collect()
    }

    /// Mean of the rows' values.
    fn mean(&mut self, values: &[Var]) -> Var {
        let share = 1.0 / values.len() as f64;
        let parts: Vec<_> = values.iter().map(|&v| (share, v)).collect();
        self.tape.combine(&parts)
    }

    fn form(&mut self, form: Form, score: Var) -> Var {
        match form {
            Form::Linear => {
                let negative = self.tape.scale(-1.0, score);
                self.tape.offset(negative, 1.0)
            }
            Form::Log => {
                let floored = self.tape.at_least(score, 1e-7);
                let log = self.tape.ln(floored);
                self.tape.scale(-1.0, log)
            }
        }
    }
}

impl Term {
    pub(super) fn on(&self, world: &mut World<'_>) -> Var {
        match self {
            Self::CrossEntropy(o) => cross_entropy(world, o),
            Self::Focal(o) => focal(world, o),
            Self::LogRecall(o) => log_recall(world, o),
            Self::Ratio(o) => ratio(world, o),
            Self::GeneralizedDice(o) => generalized_dice(world, o),
            Self::L1(o) => proportion(
                world,
                o,
                |world, p, t, _| {
                    let difference = world.tape.offset(p, -t);
                    world.tape.abs(difference)
                },
                true,
            ),
            Self::DiceBias(o) => proportion(
                world,
                o,
                |world, p, t, _| {
                    let sum = world.tape.offset(p, t + o.epsilon);
                    world.tape.ln(sum)
                },
                true,
            ),
            Self::Kl(o, background) => proportion(
                world,
                o,
                |world, p, t, (outside, wanted_outside)| {
                    let mut parts = vec![divergence(world, t, p)];
                    if *background && world.problem.activation == Activation::Sigmoid {
                        parts.push(divergence(world, wanted_outside, outside));
                    }
                    let parts: Vec<_> = parts.into_iter().map(|p| (1.0, p)).collect();
                    world.tape.combine(&parts)
                },
                false,
            ),
        }
    }
}

/// t log(t/p)
fn divergence(world: &mut World<'_>, t: f64, p: Var) -> Var {
    if t == 0.0 {
        return world.tape.constant(0.0);
    }
    let floored = world.tape.at_least(p, 1e-30);
    let log = world.tape.ln(floored);
    let negative = world.tape.scale(-t, log);
    world.tape.offset(negative, t * t.ln())
}

fn cross_entropy(world: &mut World<'_>, o: &CrossEntropy) -> Var {
    let activation = o.activation.unwrap_or(world.problem.activation);
    let classes = world.problem.classes;
    let c = weights(classes, None, o.class_weights.as_deref());
    let e = o.label_smoothing;
    let (sides, outcomes): (&[bool], f64) = match activation {
        Activation::Softmax => (&[false], classes as f64),
        Activation::Sigmoid => (&[false, true], 2.0),
    };
    let (target, valid) = (world.pooled_target(o.pooling, |y| y), world.pooled_valid(o.pooling));
    let mut parts: Vec<Vec<(f64, Var)>> = vec![Vec::new(); valid.len()];
    for &outside in sides {
        let likelihood = world.sums(Quantity::Log(activation, outside));
        let likelihood = world.pooled(o.pooling, likelihood);
        let everywhere = world.sums(Quantity::LogEverywhere(activation, outside));
        let everywhere = world.pooled(o.pooling, everywhere);
        for (row, parts) in parts.iter_mut().enumerate() {
            for k in 0..classes {
                parts.push((-(1.0 - e) * c[k], likelihood[row][k]));
                if e > 0.0 {
                    parts.push((-e / outcomes * c[k], everywhere[row][k]));
                }
            }
        }
    }
    let values: Vec<Var> = (0..valid.len())
        .map(|row| {
            let divisor: f64 = match (activation, &o.class_weights) {
                (Activation::Softmax, None) => valid[row],
                (Activation::Softmax, Some(_)) => (0..classes).map(|k| c[k] * target[row][k]).sum(),
                (Activation::Sigmoid, _) => valid[row] * c.iter().sum::<f64>(),
            };
            let sum = world.tape.combine(&parts[row]);
            if divisor > 0.0 { world.tape.scale(1.0 / divisor, sum) } else { world.tape.constant(0.0) }
        })
        .collect();
    world.mean(&values)
}

fn focal(world: &mut World<'_>, o: &Focal) -> Var {
    let activation = o.activation.unwrap_or(world.problem.activation);
    let classes = world.problem.classes;
    let c = weights(classes, None, o.class_weights.as_deref());
    let (target, valid) = (world.pooled_target(o.pooling, |y| y), world.pooled_valid(o.pooling));
    let gamma = o.gamma.to_bits();
    let inside = world.sums(Quantity::Focal(activation, false, gamma));
    let inside = world.pooled(o.pooling, inside);
    let outside = (activation == Activation::Sigmoid).then(|| {
        let sums = world.sums(Quantity::Focal(activation, true, gamma));
        world.pooled(o.pooling, sums)
    });
    let (a, b) = o.alpha.map_or((1.0, 1.0), |alpha| (alpha, 1.0 - alpha));
    let values: Vec<Var> = (0..valid.len())
        .map(|row| {
            let mut parts = Vec::new();
            for k in 0..classes {
                parts.push((a * c[k], inside[row][k]));
                if let Some(outside) = &outside {
                    parts.push((b * c[k], outside[row][k]));
                }
            }
            let weighted = activation == Activation::Softmax && o.class_weights.is_some();
            let divisor = if weighted { (0..classes).map(|k| c[k] * target[row][k]).sum() } else { valid[row] };
            let sum = world.tape.combine(&parts);
            if divisor > 0.0 { world.tape.scale(1.0 / divisor, sum) } else { world.tape.constant(0.0) }
        })
        .collect();
    world.mean(&values)
}

/// Averages values per row and class as Dice does.
fn class_mean(
    world: &mut World<'_>,
    values: &[Vec<Var>],
    (target, valid): (&[Vec<f64>], &[f64]),
    absent: Absent,
    c: &[f64],
) -> Var {
    let rows: Vec<Var> = (0..values.len())
        .map(|row| {
            let present = |k: usize| target[row][k] > 0.0;
            let contributes = |k: usize| if absent == Absent::Count { valid[row] > 0.0 } else { present(k) };
            let counted: f64 = (0..c.len()).filter(|&k| absent != Absent::Skip || present(k)).map(|k| c[k]).sum();
            if counted == 0.0 {
                return world.tape.constant(0.0);
            }
            let parts: Vec<_> =
                (0..c.len()).filter(|&k| contributes(k) && c[k] > 0.0).map(|k| (c[k] / counted, values[row][k])).collect();
            world.tape.combine(&parts)
        })
        .collect();
    world.mean(&rows)
}

fn log_recall(world: &mut World<'_>, o: &LogRecall) -> Var {
    let classes = world.problem.classes;
    let inside = world.sums(Quantity::Inside(world.problem.activation, o.temperature.to_bits()));
    let inside = world.pooled(o.pooling, inside);
    let (target, valid) = (world.pooled_target(o.pooling, |y| y), world.pooled_valid(o.pooling));
    let values: Vec<Vec<Var>> = (0..valid.len())
        .map(|row| {
            (0..classes)
                .map(|k| {
                    let numerator = world.tape.offset(inside[row][k], o.smooth);
                    let score = world.tape.scale(1.0 / (target[row][k] + o.smooth).max(1e-7), numerator);
                    world.form(Form::Log, score)
                })
                .collect()
        })
        .collect();
    let c = weights(classes, o.classes.as_deref(), o.class_weights.as_deref());
    class_mean(world, &values, (&target, &valid), o.absent, &c)
}

fn ratio(world: &mut World<'_>, o: &Ratio) -> Var {
    let classes = world.problem.classes;
    let (activation, tau) = (world.problem.activation, o.temperature.to_bits());
    let inside = world.sums(Quantity::Inside(activation, tau));
    let inside = world.pooled(o.pooling, inside);
    let mass = match o.kind {
        RatioKind::SquaredDice => world.sums(Quantity::Squares(activation)),
        _ => world.sums(Quantity::Mass(activation, tau)),
    };
    let mass = world.pooled(o.pooling, mass);
    let (target, valid) = (world.pooled_target(o.pooling, |y| y), world.pooled_valid(o.pooling));
    let squares = world.pooled_target(o.pooling, |y| y * y);
    let values: Vec<Vec<Var>> = (0..valid.len())
        .map(|row| {
            (0..classes)
                .map(|k| {
                    let (i, p, t) = (inside[row][k], mass[row][k], target[row][k]);
                    let (factor, denominator) = match o.kind {
                        RatioKind::Dice => (2.0, world.tape.offset(p, t)),
                        RatioKind::SquaredDice => (2.0, world.tape.offset(p, squares[row][k])),
                        RatioKind::Jaccard => {
                            let union = world.tape.sub(p, i);
                            (1.0, world.tape.offset(union, t))
                        }
                        RatioKind::Tversky(alpha, beta) => {
                            let sum = world.tape.combine(&[(1.0 - alpha - beta, i), (alpha, p)]);
                            (1.0, world.tape.offset(sum, beta * t))
                        }
                    };
                    let numerator = world.tape.scale(factor, i);
                    let numerator = world.tape.offset(numerator, o.smooth_numerator);
                    let denominator = world.tape.offset(denominator, o.smooth_denominator);
                    let denominator = world.tape.at_least(denominator, 1e-7);
                    let score = world.tape.div(numerator, denominator);
                    world.form(o.form, score)
                })
                .collect()
        })
        .collect();
    let c = weights(classes, o.classes.as_deref(), o.class_weights.as_deref());
    class_mean(world, &values, (&target, &valid), o.absent, &c)
}

fn generalized_dice(world: &mut World<'_>, o: &GeneralizedDice) -> Var {
    let activation = o.activation.unwrap_or(world.problem.activation);
    let classes = world.problem.classes;
    let one = 1.0f64.to_bits();
    let inside = world.sums(Quantity::Inside(activation, one));
    let inside = world.pooled(o.pooling, inside);
    let mass = world.sums(Quantity::Mass(activation, one));
    let mass = world.pooled(o.pooling, mass);
    let (target, valid) = (world.pooled_target(o.pooling, |y| y), world.pooled_valid(o.pooling));
    let c = weights(classes, o.classes.as_deref(), None);
    let doubled = classes == 1 && activation == Activation::Sigmoid;
    let values: Vec<Var> = (0..valid.len())
        .map(|row| {
            if valid[row] == 0.0 {
                return world.tape.constant(0.0);
            }
            let (mut numerators, mut denominators) = (Vec::new(), Vec::new());
            for k in (0..classes).filter(|&k| c[k] > 0.0) {
                let mut regions = vec![(inside[row][k], mass[row][k], target[row][k])];
                if doubled {
                    // Outside: predicted M − P, both M − T − P + I.
                    let (i, p, t) = regions[0];
                    let negative = world.tape.scale(-1.0, p);
                    let predicted = world.tape.offset(negative, valid[row]);
                    let both = world.tape.add(predicted, i);
                    regions.push((world.tape.offset(both, -t), predicted, valid[row] - t));
                }
                for (i, p, t) in regions {
                    let w = match o.weighting {
                        Weighting::Square => 1.0 / (t * t).max(1e-7),
                        Weighting::Simple => 1.0 / t.max(1e-7),
                        Weighting::Uniform => 1.0,
                    };
                    numerators.push((2.0 * w, i));
                    let sizes = world.tape.offset(p, t);
                    let weighted = world.tape.scale(w, sizes);
                    denominators.push((1.0, world.tape.at_least(weighted, 1e-7)));
                }
            }
            let (numerator, denominator) = (world.tape.combine(&numerators), world.tape.combine(&denominators));
            let score = world.tape.div(numerator, denominator);
            world.form(o.form, score)
        })
        .collect();
    world.mean(&values)
}

fn proportion(
    world: &mut World<'_>,
    o: &Proportion,
    value: impl Fn(&mut World<'_>, Var, f64, (Var, f64)) -> Var,
    averaged: bool,
) -> Var {
    let classes = world.problem.classes;
    let mass = world.sums(Quantity::Mass(world.problem.activation, o.temperature.to_bits()));
    let mass = world.pooled(o.pooling, mass);
    let (target, valid) = (world.pooled_target(o.pooling, |y| y), world.pooled_valid(o.pooling));
    let c = weights(classes, o.classes.as_deref(), o.class_weights.as_deref());
    let total: f64 = c.iter().sum();
    let values: Vec<Var> = (0..valid.len())
        .map(|row| {
            let m = valid[row];
            if m == 0.0 {
                return world.tape.constant(0.0);
            }
            let mut parts = Vec::new();
            for k in (0..classes).filter(|&k| c[k] > 0.0) {
                let smoothed = world.tape.offset(mass[row][k], o.epsilon);
                let predicted = world.tape.scale(1.0 / (m + o.epsilon), smoothed);
                let negative = world.tape.scale(-1.0, mass[row][k]);
                let left = world.tape.offset(negative, m);
                let outside = world.tape.scale(1.0 / (m + o.epsilon), left);
                let (wanted, wanted_outside) = match &o.prior {
                    Some(prior) => (prior[k], 1.0 - prior[k]),
                    None => ((target[row][k] + o.epsilon) / (m + o.epsilon), (m - target[row][k]) / (m + o.epsilon)),
                };
                let share = if averaged { c[k] / total } else { c[k] };
                parts.push((share, value(world, predicted, wanted, (outside, wanted_outside))));
            }
            world.tape.combine(&parts)
        })
        .collect();
    world.mean(&values)
}
