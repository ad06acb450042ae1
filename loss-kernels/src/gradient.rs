//! The second pass: the gradient for the logits.

use loss_core::expr::Table;
use loss_core::{Activation, LossError, Plan, Side, Statistic};
use num_traits::Zero;
use rayon::prelude::*;

use crate::block::{Block, Cut, sigmoid};
use crate::statistics::{Columns, Groups};
use crate::{Element, Problem, Real};

/// Writes ∂loss/∂logits into `gradient`, reading the logits once more, given the loss's derivative for each statistic of the plan
/// (`None` where it is zero).
///
/// Softmax: `∂/∂z_j = τ·(g_j − p_j Σ_k g_k)`, where `g_k = ∂/∂(log p_k)` collects what the statistics hand down:
/// `w·p_k·(∂/∂P + y·∂/∂I + 2p·∂/∂Q) + w·y·(∂/∂L + φ'·∂/∂F) + w·∂/∂A`. Sigmoid: each channel by itself.
///
/// The gradient is stored as the logits are, or as they are computed in: what scales it further rounds it once, at the end.
///
/// # Errors
/// As [`statistics`](crate::statistics).
pub fn logit_gradient<E: Element, G: Element<Compute = E::Compute>>(
    logits: &[E],
    problem: &Problem<'_>,
    plan: &Plan,
    upstream: &[Option<Table>],
    gradient: &mut [G],
) -> Result<(), LossError> {
    problem.logits_fit(logits.len())?;
    problem.logits_fit(gradient.len())?;
    let geometry = problem.geometry();
    let (classes, pixels) = (geometry.classes, geometry.pixels);
    let cut = Cut::new::<E::Compute>(classes, pixels);
    let given = |i: usize| upstream.get(i).and_then(Option::as_ref);
    let groups = Groups::new(plan, |i| given(i).is_some());

    // Segments of all class planes of a sample, regrouped by segment: what one task writes.
    let mut tasks: Vec<(usize, usize, Vec<&mut [G]>)> = Vec::new();
    for (sample, planes) in gradient.chunks_mut(classes * pixels).enumerate() {
        let first = tasks.len();
        for plane in planes.chunks_mut(pixels) {
            for (segment, part) in plane.chunks_mut(cut.segment).enumerate() {
                match tasks.get_mut(first + segment) {
                    Some((_, _, parts)) => parts.push(part),
                    None => tasks.push((sample, segment * cut.segment, vec![part])),
                }
            }
        }
    }
    let results: Vec<_> = tasks
        .into_par_iter()
        .map(|(sample, start, mut parts)| {
            let mut pass = Pass {
                plan,
                upstream: upstream.iter().map(|table| row(table.as_ref(), sample, classes)).collect(),
                groups: &groups,
                block: Block::new(classes, cut.block),
                columns: Columns::new(cut.block),
                log_gradient: vec![E::Compute::zero(); classes * cut.block],
                out: vec![E::Compute::zero(); classes * cut.block],
                capacity: cut.block,
            };
            let length = parts.first().map_or(0, |part| part.len());
            for offset in (0..length).step_by(cut.block) {
                let len = cut.block.min(length - offset);
                pass.block.load(problem, logits, sample, start + offset, len)?;
                pass.run();
                for (k, part) in parts.iter_mut().enumerate() {
                    let from = &pass.out[k * cut.block..k * cut.block + len];
                    let weights = pass.block.weights();
                    for ((out, &value), &weight) in part[offset..offset + len].iter_mut().zip(from).zip(weights) {
                        *out = G::store(if weight == E::Compute::zero() { E::Compute::zero() } else { value });
                    }
                }
            }
            Ok(())
        })
        .collect();
    results.into_iter().collect()
}

/// One sample's derivatives, as computed with.
fn row<C: Real>(table: Option<&Table>, sample: usize, classes: usize) -> Vec<C> {
    table.map_or_else(Vec::new, |table| (0..classes).map(|k| C::of(table.get(sample, k).unwrap_or(f64::NAN))).collect())
}

struct Pass<'a, C> {
    plan: &'a Plan,
    /// Per statistic and class; empty where zero.
    upstream: Vec<Vec<C>>,
    groups: &'a Groups,
    block: Block<C>,
    columns: Columns<C>,
    /// ∂/∂(log p) per class, of one group.
    log_gradient: Vec<C>,
    /// ∂/∂z per class.
    out: Vec<C>,
    capacity: usize,
}

impl<C: Real> Pass<'_, C> {
    fn run(&mut self) {
        self.out.fill(C::zero());
        if self.groups.softmax {
            self.block.find_max();
        }
        let groups = self.groups;
        for (activation, temperature, side, members) in &groups.masses {
            self.block.probabilities(*activation, *temperature, *side);
            let tau = C::of(temperature.value());
            let at_one = temperature.value() == 1.0;
            match activation {
                Activation::Softmax => {
                    self.log_gradient.fill(C::zero());
                    for &i in members {
                        self.add_mass(i);
                    }
                    if at_one {
                        for (_, side, members) in groups.logarithms.iter().filter(|(a, ..)| a == activation) {
                            self.block.logarithms(*activation, *side == Side::Background);
                            for &i in members {
                                self.add_logarithm(i);
                            }
                        }
                    }
                    self.through_softmax(tau);
                }
                Activation::Sigmoid => {
                    self.log_gradient.fill(C::zero());
                    for &i in members {
                        self.add_mass(i);
                    }
                    self.through_sigmoid(tau, *side);
                }
            }
        }
        for (activation, side, members) in groups.logarithms.iter().filter(|(a, ..)| *a == Activation::Sigmoid) {
            let background = *side == Side::Background;
            self.block.logarithms(*activation, background);
            self.log_gradient.fill(C::zero());
            for &i in members {
                self.add_logarithm(i);
            }
            self.through_sigmoid(C::one(), *side);
        }
    }

    /// Masses P, I, Q: ∂/∂(log p) = p · ∂/∂p.
    fn add_mass(&mut self, i: usize) {
        let statistic = &self.plan.statistics()[i];
        let two = C::one() + C::one();
        for k in 0..self.plan.classes() {
            let u = self.upstream[i][k];
            let (p, w, wy) = (self.block.probability(k), self.block.weights(), self.block.weighted_target(k));
            let g = &mut self.log_gradient[k * self.capacity..k * self.capacity + p.len()];
            match statistic {
                Statistic::Intersection(_, _, Side::Background) => {
                    g.iter_mut().zip(p).zip(w.iter().zip(wy)).for_each(|((g, &p), (&w, &wy))| *g = *g + (w - wy) * p * u);
                }
                Statistic::Intersection(..) => {
                    g.iter_mut().zip(p).zip(wy).for_each(|((g, &p), &wy)| *g = *g + wy * p * u);
                }
                Statistic::SquaredMass(_) => {
                    g.iter_mut().zip(p).zip(w).for_each(|((g, &p), &w)| *g = *g + two * w * p * p * u);
                }
                _ => g.iter_mut().zip(p).zip(w).for_each(|((g, &p), &w)| *g = *g + w * p * u),
            }
        }
    }

    /// Sums over logarithms L, A, F.
    fn add_logarithm(&mut self, i: usize) {
        let (classes, len) = (self.plan.classes(), self.block.len);
        match &self.plan.statistics()[i] {
            Statistic::PixelSum(Activation::Softmax, _, function) if self.block.hard => {
                let (log, value) = (&mut self.columns.log[..len], &mut self.columns.value[..len]);
                self.block.own_log(log);
                let mut slope = vec![C::zero(); len];
                function.evaluate(log, value, Some(&mut slope));
                for (b, slope) in slope.into_iter().enumerate().filter(|(b, _)| self.block.class[*b] >= 0) {
                    let class = self.block.class[b] as usize;
                    let g = &mut self.log_gradient[class * self.capacity + b];
                    *g = *g + self.block.weight[b] * slope * self.upstream[i][class];
                }
            }
            statistic => {
                let mut slope = vec![C::one(); len];
                for k in 0..classes {
                    let u = self.upstream[i][k];
                    let (log, w, wy) = (self.block.log(k), self.block.weights(), self.block.weighted_target(k));
                    if let Statistic::PixelSum(_, _, function) = statistic {
                        function.evaluate(log, &mut self.columns.value[..len], Some(&mut slope));
                    }
                    let everywhere = matches!(statistic, Statistic::LogMass(..));
                    let background = matches!(
                        statistic,
                        Statistic::LogLikelihood(_, Side::Background) | Statistic::PixelSum(_, Side::Background, _)
                    );
                    let g = &mut self.log_gradient[k * self.capacity..k * self.capacity + len];
                    for (((g, &w), &wy), &slope) in g.iter_mut().zip(w).zip(wy).zip(&slope) {
                        let weight = if everywhere {
                            w
                        } else if background {
                            w - wy
                        } else {
                            wy
                        };
                        *g = *g + weight * slope * u;
                    }
                }
            }
        }
    }

    /// ∂/∂z_j += τ·(g_j − p_j Σ_k g_k). They sum to zero over the classes, which gives the likeliest one: by itself its difference
    /// would cancel where p is nearly 1.
    fn through_softmax(&mut self, tau: C) {
        let (classes, len, capacity) = (self.plan.classes(), self.block.len, self.capacity);
        let (total, others) = (&mut self.columns.value[..len], &mut self.columns.log[..len]);
        total.fill(C::zero());
        others.fill(C::zero());
        for k in 0..classes {
            let g = &self.log_gradient[k * capacity..k * capacity + len];
            total.iter_mut().zip(g).for_each(|(total, &g)| *total = *total + g);
        }
        let top = &self.block.top;
        for (k, class) in (0..classes).zip(0..) {
            let g = &self.log_gradient[k * capacity..k * capacity + len];
            let out = &mut self.out[k * capacity..k * capacity + len];
            let pixels = out.iter_mut().zip(others.iter_mut()).zip(g.iter().zip(self.block.probability(k)));
            for (((out, others), (&g, &p)), (&total, &top)) in pixels.zip(total.iter().zip(top)) {
                let value = if class == top { C::zero() } else { tau * (g - p * total) };
                *others = *others + value;
                *out = *out + value;
            }
        }
        for (b, (&top, &others)) in top.iter().zip(others.iter()).enumerate() {
            let out = &mut self.out[top as usize * capacity + b];
            *out = *out - others;
        }
    }

    /// ∂ log p(τ)/∂z = τ·(1 − p), and ∂ log(1 − p(τ))/∂z = −τ·p: what `log_gradient` holds, for z.
    fn through_sigmoid(&mut self, tau: C, side: Side) {
        let (len, capacity) = (self.block.len, self.capacity);
        let tau = if side == Side::Background { -tau } else { tau };
        for k in 0..self.plan.classes() {
            let g = &self.log_gradient[k * capacity..k * capacity + len];
            let out = &mut self.out[k * capacity..k * capacity + len];
            for ((out, &g), &z) in out.iter_mut().zip(g).zip(self.block.logits(k)) {
                // σ(−x) is 1 − σ(x) without cancelling.
                *out = *out + tau * g * sigmoid(-tau * z);
            }
        }
    }
}
