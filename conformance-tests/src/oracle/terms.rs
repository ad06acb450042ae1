//! The terms and their parts, each written out from its definition.

use super::options::{
    Absent, CrossEntropy, Focal, Form, GeneralizedDice, LogRecall, Pooling, Proportion, Ratio, RatioKind, Term, Wanted,
    Weighting,
};
use super::tape::Var;
use super::{Activation, Quantity, World, mapped};

/// A term's value; and its matching, size and constant parts, where it splits exactly.
pub(super) struct Made {
    pub(super) value: Var,
    pub(super) split: Option<[Var; 3]>,
}

impl From<[Var; 4]> for Made {
    fn from([value, matching, size, constant]: [Var; 4]) -> Self {
        Self { value, split: Some([matching, size, constant]) }
    }
}

/// c_k for the classes that count, else 0.
pub(super) fn weights(classes: usize, only: Option<&[usize]>, weights: Option<&[f64]>) -> Vec<f64> {
    let counts = |k: &usize| only.is_none_or(|only| only.contains(k));
    (0..classes).map(|k| if counts(&k) { weights.map_or(1.0, |w| w[k]) } else { 0.0 }).collect()
}

impl World<'_> {
    /// Rows of sums at the level of the pooling.
    pub(super) fn pooled(&mut self, pooling: Pooling, sums: Vec<Vec<Var>>) -> Vec<Vec<Var>> {
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
        self.pooled_constants(pooling, self.target_sums(f))
    }

    pub(super) fn pooled_constants(&self, pooling: Pooling, sums: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
        match pooling {
            Pooling::Sample => sums,
            Pooling::Batch => vec![(0..self.problem.classes).map(|k| sums.iter().map(|row| row[k]).sum()).collect()],
        }
    }

    pub(super) fn pooled_valid(&self, pooling: Pooling) -> Vec<f64> {
        self.pooled_target(pooling, |_| 1.0).into_iter().map(|row| row[0]).collect()
    }

    /// Mean of the rows' values.
    pub(super) fn mean(&mut self, values: &[Var]) -> Var {
        let share = 1.0 / values.len() as f64;
        let parts: Vec<_> = values.iter().map(|&v| (share, v)).collect();
        self.tape.combine(&parts)
    }

    fn form(&mut self, form: Form, score: Var, smooth: f64) -> Var {
        match form {
            Form::Linear => {
                let negative = self.tape.scale(-1.0, score);
                self.tape.offset(negative, 1.0)
            }
            Form::Log => {
                let floored = self.tape.at_least(score, if smooth > 0.0 { 1e-30 } else { 1e-7 });
                let log = self.tape.ln(floored);
                self.tape.scale(-1.0, log)
            }
        }
    }
}

/// A term that is all matching.
fn all_matching(world: &mut World<'_>, value: Var) -> Made {
    let nothing = world.tape.constant(0.0);
    [value, value, nothing, nothing].into()
}

impl Term {
    pub(super) fn on(&self, world: &mut World<'_>) -> Made {
        match self {
            Self::CrossEntropy(o) => cross_entropy(world, o),
            Self::Focal(o) => Made { value: focal(world, o), split: None },
            Self::Boundary(o) => Made { value: mapped::boundary(world, o), split: None },
            Self::TopK(o) => Made { value: mapped::topk(world, o), split: None },
            Self::LogRecall(o) => {
                let value = log_recall(world, o);
                all_matching(world, value)
            }
            Self::Ratio(o) => ratio(world, o),
            Self::GeneralizedDice(o) => generalized_dice(world, o),
            Self::L1(_) | Self::DiceBias(_) | Self::Kl(..) => {
                let value = self.penalty(world);
                let nothing = world.tape.constant(0.0);
                [value, nothing, value, nothing].into()
            }
        }
    }

    fn penalty(&self, world: &mut World<'_>) -> Var {
        match self {
            Self::L1(o) => proportion(world, o, true, |world, p, t, _| {
                let difference = world.tape.offset(p, -t);
                world.tape.abs(difference)
            }),
            Self::DiceBias(o) => proportion(world, o, true, |world, p, t, _| {
                let sum = world.tape.offset(p, t + o.epsilon);
                world.tape.ln(sum)
            }),
            Self::Kl(o, background) => proportion(world, o, false, |world, p, t, (outside, wanted_outside)| {
                let inside = divergence(world, t, p);
                if !*background || world.problem.activation == Activation::Softmax {
                    return inside;
                }
                let outside = divergence(world, wanted_outside, outside);
                world.tape.add(inside, outside)
            }),
            _ => world.tape.constant(f64::NAN),
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

fn cross_entropy(world: &mut World<'_>, o: &CrossEntropy) -> Made {
    let activation = o.activation.unwrap_or(world.problem.activation);
    let classes = world.problem.classes;
    let c = weights(classes, None, o.class_weights.as_deref());
    let e = o.label_smoothing;
    let (sides, outcomes): (&[bool], f64) = match activation {
        Activation::Softmax => (&[false], classes as f64),
        Activation::Sigmoid => (&[false, true], 2.0),
    };
    let (target, valid) = (world.pooled_target(o.pooling, |y| y), world.pooled_valid(o.pooling));
    // Per row: what value, matching and size are summed of; and the constant.
    let mut parts: Vec<[Vec<(f64, Var)>; 3]> = vec![Default::default(); valid.len()];
    let mut constants = vec![0.0; valid.len()];
    for &outside in sides {
        let likelihood = world.sums(Quantity::Log(activation, outside));
        let likelihood = world.pooled(o.pooling, likelihood);
        let everywhere = world.sums(Quantity::LogEverywhere(activation, outside));
        let everywhere = world.pooled(o.pooling, everywhere);
        let mass = world.sums(Quantity::Mass(activation, outside, 1.0f64.to_bits()));
        let mass = world.pooled(o.pooling, mass);
        for row in 0..valid.len() {
            let m = valid[row];
            for k in (0..classes).filter(|_| m > 0.0) {
                let mut log = vec![(-(1.0 - e) * c[k], likelihood[row][k])];
                if e > 0.0 {
                    log.push((-e / outcomes * c[k], everywhere[row][k]));
                }
                // The smoothed target's size, and −Σ y' log p = −Σ y' log(p/p̂) − T' log
                // p̂.
                let inside = if outside { m - target[row][k] } else { target[row][k] };
                let wanted = (1.0 - e) * inside + e / outcomes * m;
                let predicted = world.tape.scale(1.0 / m, mass[row][k]);
                let predicted = world.tape.at_least(predicted, 1e-30);
                let predicted = world.tape.ln(predicted);
                let entropy = wanted * (wanted / m).max(1e-30).ln();
                let [value, matching, size] = &mut parts[row];
                value.extend(&log);
                matching.extend(log);
                matching.push((c[k] * wanted, predicted));
                let one = world.tape.constant(c[k] * entropy);
                size.extend([(1.0, one), (-c[k] * wanted, predicted)]);
                constants[row] -= c[k] * entropy;
            }
        }
    }
    let divisor = |row: usize| match (activation, &o.class_weights) {
        (Activation::Softmax, None) => valid[row],
        (Activation::Softmax, Some(_)) => (0..classes).map(|k| c[k] * target[row][k]).sum(),
        (Activation::Sigmoid, _) => valid[row] * c.iter().sum::<f64>(),
    };
    let shares: Vec<f64> = (0..valid.len()).map(|row| if divisor(row) > 0.0 { 1.0 / divisor(row) } else { 0.0 }).collect();
    let [value, matching, size] = [0, 1, 2].map(|part| {
        let rows: Vec<Var> = (0..valid.len())
            .map(|row| {
                let sum = world.tape.combine(&parts[row][part]);
                world.tape.scale(shares[row], sum)
            })
            .collect();
        world.mean(&rows)
    });
    let constant = constants.iter().zip(&shares).map(|(constant, share)| constant * share).sum::<f64>() / valid.len() as f64;
    [value, matching, size, world.tape.constant(constant)].into()
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
    denominators: &[Vec<f64>],
    absent: Absent,
    c: &[f64],
) -> Var {
    let rows: Vec<Var> = (0..values.len())
        .map(|row| {
            let present = |k: usize| target[row][k] > 0.0;
            let contributes = |k: usize| match absent {
                Absent::Zero | Absent::Skip => present(k),
                Absent::SkipEmpty => valid[row] > 0.0 && denominators[row][k] > 1e-7,
                Absent::Count => valid[row] > 0.0,
            };
            let counts = |k: &usize| matches!(absent, Absent::Zero | Absent::Count) || contributes(*k);
            let counted: f64 = (0..c.len()).filter(counts).map(|k| c[k]).sum();
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

/// −log(score) of a score with this denominator, and its parts: log(denominator / M) is size,
/// −log(numerator at I = T / M) constant.
fn split(world: &mut World<'_>, score: Var, denominator: Var, covered: [f64; 2], valid: f64) -> [Var; 3] {
    if valid == 0.0 {
        return [world.tape.constant(0.0); 3];
    }
    let share = world.tape.scale(1.0 / valid, denominator);
    let share = world.tape.at_least(share, 1e-30);
    let size = world.tape.ln(share);
    let [covered, smooth] = covered;
    let covered = if smooth > 0.0 { covered + smooth } else { covered.max(1e-7) };
    let constant = -(covered / valid).ln();
    let whole = world.form(Form::Log, score, smooth);
    let matching = world.tape.sub(whole, size);
    [world.tape.offset(matching, -constant), size, world.tape.constant(constant)]
}

fn log_recall(world: &mut World<'_>, o: &LogRecall) -> Var {
    let classes = world.problem.classes;
    let inside = world.sums(Quantity::Inside(world.problem.activation, false, o.temperature.to_bits()));
    let inside = world.pooled(o.pooling, inside);
    let (target, valid) = (world.pooled_target(o.pooling, |y| y), world.pooled_valid(o.pooling));
    let values: Vec<Vec<Var>> = (0..valid.len())
        .map(|row| {
            (0..classes)
                .map(|k| {
                    let numerator = world.tape.offset(inside[row][k], o.smooth);
                    let size = if o.smooth > 0.0 { target[row][k] + o.smooth } else { target[row][k].max(1e-7) };
                    let score = world.tape.scale(1.0 / size, numerator);
                    world.form(Form::Log, score, o.smooth)
                })
                .collect()
        })
        .collect();
    let c = weights(classes, o.classes.as_deref(), o.class_weights.as_deref());
    class_mean(world, &values, (&target, &valid), &target, o.absent, &c)
}

fn ratio(world: &mut World<'_>, o: &Ratio) -> Made {
    let classes = world.problem.classes;
    let (activation, tau) = (world.problem.activation, o.temperature.to_bits());
    let inside = world.sums(Quantity::Inside(activation, false, tau));
    let inside = world.pooled(o.pooling, inside);
    let mass = match o.kind {
        RatioKind::SquaredDice => world.sums(Quantity::Squares(activation)),
        _ => world.sums(Quantity::Mass(activation, false, tau)),
    };
    let mass = world.pooled(o.pooling, mass);
    let (target, valid) = (world.pooled_target(o.pooling, |y| y), world.pooled_valid(o.pooling));
    let squares = world.pooled_target(o.pooling, |y| y * y);
    let mut denominators = vec![Vec::new(); valid.len()];
    let values: Vec<Vec<[Var; 4]>> = (0..valid.len())
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
                    denominators[row].push(world.tape.value(denominator));
                    let denominator = match o.smooth_denominator {
                        0.0 => world.tape.at_least(denominator, 1e-7),
                        pixels => world.tape.offset(denominator, pixels),
                    };
                    let score = world.tape.div(numerator, denominator);
                    let value = world.form(o.form, score, o.smooth_numerator);
                    let covered = [factor * t, o.smooth_numerator];
                    let [matching, size, constant] = split(world, score, denominator, covered, valid[row]);
                    [value, matching, size, constant]
                })
                .collect()
        })
        .collect();
    let c = weights(classes, o.classes.as_deref(), o.class_weights.as_deref());
    [0, 1, 2, 3]
        .map(|part| {
            let values: Vec<Vec<Var>> = values.iter().map(|row| row.iter().map(|made| made[part]).collect()).collect();
            class_mean(world, &values, (&target, &valid), &denominators, o.absent, &c)
        })
        .into()
}

fn generalized_dice(world: &mut World<'_>, o: &GeneralizedDice) -> Made {
    let activation = o.activation.unwrap_or(world.problem.activation);
    let classes = world.problem.classes;
    let one = 1.0f64.to_bits();
    let inside = world.sums(Quantity::Inside(activation, false, one));
    let inside = world.pooled(o.pooling, inside);
    let mass = world.sums(Quantity::Mass(activation, false, one));
    let mass = world.pooled(o.pooling, mass);
    let (target, valid) = (world.pooled_target(o.pooling, |y| y), world.pooled_valid(o.pooling));
    let c = weights(classes, o.classes.as_deref(), None);
    let doubled = classes == 1 && activation == Activation::Sigmoid;
    let outside = doubled.then(|| {
        [Quantity::Inside(activation, true, one), Quantity::Mass(activation, true, one)].map(|quantity| {
            let sums = world.sums(quantity);
            world.pooled(o.pooling, sums)
        })
    });
    let values: Vec<[Var; 4]> = (0..valid.len())
        .map(|row| {
            if valid[row] == 0.0 {
                return [world.tape.constant(0.0); 4];
            }
            let (mut numerators, mut denominators, mut covered) = (Vec::new(), Vec::new(), 0.0);
            for k in (0..classes).filter(|&k| c[k] > 0.0) {
                let mut regions = vec![(inside[row][k], mass[row][k], target[row][k])];
                if let Some([inside, mass]) = &outside {
                    regions.push((inside[row][k], mass[row][k], valid[row] - target[row][k]));
                }
                for (i, p, t) in regions {
                    let w = match o.weighting {
                        Weighting::Square => 1.0 / (t * t).max(1e-7),
                        Weighting::Simple => 1.0 / t.max(1e-7),
                        Weighting::Uniform => 1.0,
                    };
                    numerators.push((2.0 * w, i));
                    covered += 2.0 * w * t;
                    let sizes = world.tape.offset(p, t);
                    let weighted = world.tape.scale(w, sizes);
                    denominators.push((1.0, world.tape.at_least(weighted, 1e-7)));
                }
            }
            let (numerator, denominator) = (world.tape.combine(&numerators), world.tape.combine(&denominators));
            let score = world.tape.div(numerator, denominator);
            let value = world.form(o.form, score, 0.0);
            let [matching, size, constant] = split(world, score, denominator, [covered, 0.0], valid[row]);
            [value, matching, size, constant]
        })
        .collect();
    [0, 1, 2, 3]
        .map(|part| {
            let values: Vec<Var> = values.iter().map(|made| made[part]).collect();
            world.mean(&values)
        })
        .into()
}

/// The given proportion of a class in a sample, or in the batch by valid sizes; and what is left of
/// 1.
fn given(world: &World<'_>, pooling: Pooling, row: usize, k: usize) -> (f64, f64) {
    let at = |n: usize| world.problem.prior.as_ref().map_or(f64::NAN, |prior| prior[n * world.problem.classes + k]);
    let share = match pooling {
        Pooling::Sample => at(row),
        Pooling::Batch => {
            let valid = world.pooled_valid(Pooling::Sample);
            valid.iter().enumerate().map(|(n, m)| m * at(n)).sum::<f64>() / valid.iter().sum::<f64>()
        }
    };
    (share, 1.0 - share)
}

fn proportion(
    world: &mut World<'_>,
    o: &Proportion,
    averaged: bool,
    value: impl Fn(&mut World<'_>, Var, f64, (Var, f64)) -> Var,
) -> Var {
    let classes = world.problem.classes;
    let mass = world.sums(Quantity::Mass(world.problem.activation, false, o.temperature.to_bits()));
    let mass = world.pooled(o.pooling, mass);
    let outside = world.sums(Quantity::Mass(world.problem.activation, true, o.temperature.to_bits()));
    let outside = world.pooled(o.pooling, outside);
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
                let outside = world.tape.scale(1.0 / (m + o.epsilon), outside[row][k]);
                let (wanted, wanted_outside) = match &o.wanted {
                    Wanted::Prior(prior) => (prior[k], 1.0 - prior[k]),
                    Wanted::Given => given(world, o.pooling, row, k),
                    Wanted::Truth => ((target[row][k] + o.epsilon) / (m + o.epsilon), (m - target[row][k]) / (m + o.epsilon)),
                };
                let share = if averaged { c[k] / total } else { c[k] };
                parts.push((share, value(world, predicted, wanted, (outside, wanted_outside))));
            }
            world.tape.combine(&parts)
        })
        .collect();
    world.mean(&values)
}
