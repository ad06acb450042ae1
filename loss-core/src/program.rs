//! A loss ready to run: its expressions in order, the statistics they need, and their derivative.

use crate::compose::{Term, WeightedTerm};
use crate::expr::{Algebra, Classes, Expr, HostAlgebra, Index, Leaf, Scalar, Table, Tape};
use crate::{Activation, AllRegions, Argument, Decomposition, LogitGradient, LossError, Plan, SplitOf, Statistic, Temperature};

/// How much a program computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Detail {
    /// The total and the value of each term: what a training step needs.
    Total,
    /// Also the matching, size and constant part of each term.
    Terms,
    /// Also a report per class.
    Parts,
}

/// Everything a program needs beside the statistics.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Number of samples N.
    pub samples: usize,
    /// Present weights of the terms.
    pub weights: Vec<f64>,
    /// Proportions for penalties with `target=given`: `[N, K]`, or `[1, K]` for all samples.
    pub prior: Option<Table>,
}

/// What one term comes to.
#[derive(Clone, Debug)]
pub struct TermOutputs<T> {
    /// Its value, before its weight.
    pub value: T,
    /// Matching, size and constant part; not with [`Detail::Total`].
    pub parts: Option<[T; 3]>,
    /// What the parts add up to.
    pub of: SplitOf,
}

/// What a program returns.
#[derive(Clone, Debug)]
pub struct Outputs<T> {
    /// Weighted sum of the terms.
    pub total: T,
    /// The terms in order.
    pub terms: Vec<TermOutputs<T>>,
    /// Per class, pooled over the batch: true proportion, predicted proportion, soft Dice; only with [`Detail::Parts`].
    pub regions: Option<[T; 3]>,
}

impl<T> Outputs<T> {
    /// Total, then value (and parts) of each term: the outputs that can be differentiated, in the order of the seeds.
    pub fn scalars(&self) -> impl Iterator<Item = &T> {
        let terms = self.terms.iter().flat_map(|t| std::iter::once(&t.value).chain(t.parts.iter().flatten()));
        std::iter::once(&self.total).chain(terms)
    }

    /// The same outputs in another form; the scalars are visited in the order of [`Outputs::scalars`], then the report.
    pub fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> Outputs<U> {
        let total = f(&self.total);
        let terms = self.terms.iter().map(|t| TermOutputs {
            value: f(&t.value),
            parts: t.parts.as_ref().map(|[m, s, c]| [f(m), f(s), f(c)]),
            of: t.of,
        });
        let terms = terms.collect();
        Outputs { total, terms, regions: self.regions.as_ref().map(|[t, p, d]| [f(t), f(p), f(d)]) }
    }
}

/// The expressions of a loss for a number of classes, ready to be interpreted by any [`Algebra`].
#[derive(Debug)]
pub struct Program {
    plan: Plan,
    tape: Tape,
    outputs: Outputs<Index>,
    elements: Vec<Option<Index>>,
    /// Per statistic of the plan: where its adjoint is.
    adjoints: Vec<Option<Index>>,
    /// The plan's sums over the target alone, where every adjoint is made of nothing else.
    target_plan: Option<Plan>,
}

impl Program {
    pub(crate) fn new(
        terms: &[WeightedTerm],
        classes: usize,
        activation: Activation,
        detail: Detail,
    ) -> Result<Self, LossError> {
        if terms.is_empty() {
            return Err(LossError::NoTerms);
        }
        let regions = AllRegions::new(activation, classes);
        let mut tape = Tape::default();
        let mut push = |e: &Expr<Scalar>| tape.push_node(e.node());
        let (mut outputs, mut total, mut element_exprs) = (Vec::new(), None, Vec::new());
        for (i, WeightedTerm { term, .. }) in terms.iter().enumerate() {
            term.fits(classes, activation)?;
            let (value, elements) = match term {
                Term::Matching(t) => (t.matching(&regions.inside()), t.elements(&regions.inside())),
                Term::Size(t) => (t.penalty(&regions.sizes()), t.elements(&regions.sizes())),
                Term::Overlap(t) => (t.overlap(&regions), t.elements(&regions)),
            };
            let split = (detail != Detail::Total).then(|| match term {
                Term::Matching(t) => t.decompose(&regions),
                Term::Size(_) => Decomposition::size(value.clone()),
                Term::Overlap(t) => t.decompose(&regions),
            });
            let weighted = Expr::<Scalar>::leaf(Leaf::Weight(i)) * value.clone();
            total = Some(total.map_or(weighted.clone(), |total: Expr<Scalar>| total + weighted));
            outputs.push(TermOutputs {
                value: push(&value),
                parts: split.as_ref().map(|d| [push(&d.matching), push(&d.size), push(&d.constant)]),
                of: split.map_or(SplitOf::Value, |d| d.of),
            });
            element_exprs.push(elements);
        }
        let total = push(&total.unwrap_or_else(|| Expr::constant(0.0)));
        let report = (detail == Detail::Parts).then(|| report(&regions).map(|e| tape.push_node(e.node())));
        let outputs = Outputs { total, terms: outputs, regions: report };

        // The quantity differentiated is Σ seed · output, so that one backward pass serves any of them.
        let mut seeded = None;
        for (i, &output) in outputs.scalars().enumerate() {
            let seed = tape.push_leaf(Leaf::Seed(i));
            let product = tape.push(crate::expr::Op::Mul, output, Some(seed));
            seeded = Some(seeded.map_or(product, |sum| tape.push(crate::expr::Op::Add, sum, Some(product))));
        }
        let seeded = seeded.unwrap_or(total);
        let adjoint_of = tape.differentiate(seeded);
        let elements: Vec<Option<Index>> = element_exprs.iter().map(|e| e.as_ref().map(|e| tape.push_node(e.node()))).collect();
        // A training step reads nothing for elements: with `Detail::Total` only what outputs need.
        let read = (detail == Detail::Total).then(|| {
            let mut wanted: Vec<Index> = outputs.scalars().copied().collect();
            wanted.extend(adjoint_of.iter().map(|(_, adjoint)| *adjoint));
            tape.needed(&wanted)
        });
        let statistics: Vec<(Index, Statistic)> = tape
            .leaves()
            .filter(|(i, _)| read.as_ref().is_none_or(|read| read[*i]))
            .filter_map(|(i, leaf)| if let Leaf::Statistic(s) = leaf { Some((i, s.clone())) } else { None })
            .collect();
        for (_, leaf) in tape.leaves() {
            match leaf {
                Leaf::Classes(values) if values.len() != classes => {
                    return Err(LossError::ClassCount { classes, got: values.len() });
                }
                Leaf::ClassIn(list) => {
                    if let Some(&class) = list.iter().find(|&&class| class >= classes) {
                        return Err(LossError::ClassIndex { class, classes });
                    }
                }
                _ => {}
            }
        }
        tape.finish();
        let plan = Plan::new(classes, statistics.iter().map(|(_, s)| s.clone()))?;
        let find = |wanted: Index| adjoint_of.iter().find(|(leaf, _)| *leaf == wanted).map(|(_, adjoint)| *adjoint);
        let adjoints: Vec<Option<Index>> = statistics.iter().map(|(leaf, _)| find(*leaf)).collect();
        let needed = tape.needed(&adjoints.iter().flatten().copied().collect::<Vec<_>>());
        let before_logits = statistics.iter().all(|(leaf, s)| !needed[*leaf] || !s.depends_on_logits());
        let of_target = plan.statistics().iter().filter(|s| !s.depends_on_logits()).cloned();
        let target_plan = before_logits.then(|| Plan::new(classes, of_target)).transpose()?;
        Ok(Self { plan, tape, outputs, elements, adjoints, target_plan })
    }

    /// The statistics the program needs.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The sums over the target that all derivatives are made of, where they are made of those alone: then the derivatives are
    /// known before the logits are read, and one read gives statistics and gradient. Cross-Entropy and focal are so, by
    /// themselves and with each other.
    #[must_use]
    pub fn target_plan(&self) -> Option<&Plan> {
        self.target_plan.as_ref()
    }

    /// How many steps its tape has: leaves and operations of outputs, derivatives and elements, equal ones once.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.tape.len()
    }

    fn run<A: Algebra>(
        &self,
        algebra: &A,
        statistics: &[A::Array],
        inputs: &Inputs,
        seeds: &[f64],
        wanted: &[Index],
    ) -> Result<Vec<A::Array>, LossError> {
        let (samples, classes) = (inputs.samples, self.plan.classes());
        self.tape.run(algebra, wanted, |leaf| {
            let table = match leaf {
                Leaf::Statistic(statistic) => {
                    let at = self.plan.statistics().iter().position(|known| known == statistic);
                    match at.and_then(|at| statistics.get(at)) {
                        Some(array) => return Ok(array.clone()),
                        None => Table::scalar(f64::NAN),
                    }
                }
                Leaf::Constant(bits) => Table::scalar(f64::from_bits(*bits)),
                Leaf::Classes(values) => Table::row(values.iter().map(|bits| f64::from_bits(*bits)).collect()),
                Leaf::ClassIn(list) => Table::row((0..classes).map(|k| f64::from(u8::from(list.contains(&k)))).collect()),
                Leaf::Zeros(extent) => {
                    Table::filled(if extent.samples { samples } else { 1 }, if extent.classes { classes } else { 1 }, 0.0)
                }
                Leaf::SampleCount => Table::scalar(samples as f64),
                Leaf::ClassCount => Table::scalar(classes as f64),
                Leaf::Weight(i) => Table::scalar(inputs.weights.get(*i).copied().unwrap_or(f64::NAN)),
                Leaf::GivenPrior(activation) => given_prior(inputs, classes, *activation)?,
                Leaf::Seed(i) => Table::scalar(seeds.get(*i).copied().unwrap_or(0.0)),
                Leaf::LogProbability => Table::scalar(f64::NAN),
            };
            algebra.constant(&table)
        })
    }

    /// Interprets the expressions where the backend keeps its numbers.
    ///
    /// # Errors
    /// [`LossError::MissingPrior`] and the like for inputs that do not fit; failures of the algebra.
    pub fn outputs<A: Algebra>(
        &self,
        algebra: &A,
        statistics: &[A::Array],
        inputs: &Inputs,
    ) -> Result<Outputs<A::Array>, LossError> {
        let mut wanted = Vec::new();
        self.outputs.map(|&i| wanted.push(i));
        let mut values = self.run(algebra, statistics, inputs, &[], &wanted)?.into_iter();
        let nan = algebra.constant(&Table::scalar(f64::NAN))?;
        Ok(self.outputs.map(|_| values.next().unwrap_or_else(|| nan.clone())))
    }

    /// Each term per sample and class before its reduction, where it has such a form; one row where it is pooled over the batch.
    ///
    /// # Errors
    /// As [`Program::outputs`].
    pub fn elements(&self, statistics: &[Table], inputs: &Inputs) -> Result<Vec<Option<Table>>, LossError> {
        let wanted: Vec<Index> = self.elements.iter().flatten().copied().collect();
        let mut values = self.run(&HostAlgebra, statistics, inputs, &[], &wanted)?.into_iter();
        Ok(self.elements.iter().map(|e| e.and_then(|_| values.next())).collect())
    }

    /// The derivative of the total for each statistic of the plan, from the statistics of [`Program::target_plan`]; `None` where
    /// there is no such plan.
    ///
    /// # Errors
    /// As [`Program::outputs`].
    pub fn upstream_of_target(&self, statistics: &[Table], inputs: &Inputs) -> Result<Option<Vec<Option<Table>>>, LossError> {
        let Some(target_plan) = &self.target_plan else { return Ok(None) };
        // No derivative looks at what is not there.
        let known = |s| target_plan.statistics().iter().position(|known| known == s).and_then(|at| statistics.get(at));
        let all: Vec<Table> =
            self.plan.statistics().iter().map(|s| known(s).cloned().unwrap_or_else(|| Table::scalar(f64::NAN))).collect();
        self.upstream(&all, inputs, &[1.0]).map(Some)
    }

    /// The statistics of a plan and, where there is a gradient to write to, the gradient of the total: in as few reads as there can
    /// be. The plan is the program's own, or one that holds more; derivatives are taken of the program alone.
    ///
    /// # Errors
    /// As [`Program::outputs`], and what the backend reports.
    pub fn read_on<B: LogitGradient<Array = Table>>(
        &self,
        backend: &B,
        (logits, target): (&B::Logits, &B::Target),
        plan: &Plan,
        inputs: &Inputs,
        gradient: Option<&mut B::Gradient>,
    ) -> Result<Vec<Table>, LossError> {
        let Some(gradient) = gradient else { return backend.statistics(logits, target, plan) };
        if let Some(of_target) = self.target_plan() {
            let known = backend.statistics(logits, target, of_target)?;
            let own = self.upstream_of_target(&known, inputs)?.unwrap_or_default();
            let derivative = |s| self.plan.statistics().iter().position(|known| known == s).and_then(|at| own.get(at)?.clone());
            let upstream: Vec<_> = plan.statistics().iter().map(derivative).collect();
            return backend.statistics_and_gradient(logits, target, plan, &upstream, gradient);
        }
        let statistics = backend.statistics(logits, target, plan)?;
        let sums = |s| plan.statistics().iter().position(|known| known == s).and_then(|at| statistics.get(at).cloned());
        let own: Vec<Table> =
            self.plan.statistics().iter().map(|s| sums(s).unwrap_or_else(|| Table::scalar(f64::NAN))).collect();
        let upstream = self.upstream(&own, inputs, &[1.0])?;
        backend.logit_gradient(logits, target, &self.plan, &upstream, gradient)?;
        Ok(statistics)
    }

    /// The derivative of Σ seed · output for each statistic of the plan, on the host; `None` where it is zero. Seeds stand in the
    /// order of [`Outputs::scalars`]; missing ones are 0, so `&[1.0]` is the derivative of the total.
    ///
    /// # Errors
    /// As [`Program::outputs`].
    pub fn upstream(&self, statistics: &[Table], inputs: &Inputs, seeds: &[f64]) -> Result<Vec<Option<Table>>, LossError> {
        let wanted: Vec<Index> = self.adjoints.iter().flatten().copied().collect();
        let mut values = self.run(&HostAlgebra, statistics, inputs, seeds, &wanted)?.into_iter();
        let nonzero = |table: &Table| table.values().iter().any(|v| *v != 0.0);
        let expand = |table: Table, columns: usize| {
            let rows = inputs.samples;
            let values = (0..rows).flat_map(|n| (0..columns).map(move |k| (n, k)));
            Table::new(rows, columns, values.map(|(n, k)| table.get(n, k).unwrap_or(f64::NAN)).collect())
        };
        self.adjoints
            .iter()
            .zip(self.plan.statistics())
            .map(|(adjoint, statistic)| {
                let table = adjoint.and_then(|_| values.next()).filter(nonzero);
                table.map(|table| expand(table, self.plan.columns(statistic))).transpose()
            })
            .collect()
    }
}

fn given_prior(inputs: &Inputs, classes: usize, activation: Activation) -> Result<Table, LossError> {
    let prior = inputs.prior.as_ref().ok_or(LossError::MissingPrior)?;
    if prior.columns() != classes || ![1, inputs.samples].contains(&prior.rows()) {
        return Err(LossError::GivenPriorShape { samples: inputs.samples, classes, got: [prior.rows(), prior.columns()] });
    }
    if let Some(i) = prior.values().iter().position(|v| !(0.0..=1.0).contains(v)) {
        let position = vec![i / classes, i % classes];
        return Err(LossError::ValueOutOfRange {
            what: Argument::Prior,
            value: prior.values()[i],
            expected: "[0, 1]",
            position,
        });
    }
    if activation == Activation::Softmax {
        prior.values().chunks(classes.max(1)).try_for_each(distribution)?;
    }
    Ok(prior.clone())
}

/// Refuses proportions that do not add up to 1, as those of softmax do.
pub(crate) fn distribution(prior: &[f64]) -> Result<(), LossError> {
    let sum: f64 = prior.iter().sum();
    if (sum - 1.0).abs() > 1e-6 { Err(LossError::PriorNotDistribution { sum }) } else { Ok(()) }
}

/// Per class, pooled over the batch: true proportion, predicted proportion, soft Dice.
fn report(regions: &AllRegions) -> [Expr<Classes>; 3] {
    let sizes = regions.sizes();
    let valid = sizes.valid_size().sum_samples();
    let target = sizes.target_size().sum_samples();
    let predicted = sizes.predicted_size(Temperature::ONE).sum_samples();
    let both = regions.inside().intersection(Temperature::ONE).sum_samples();
    let dice = (2.0 * both).ratio(&(predicted.clone() + target.clone()));
    [target.ratio(&valid), predicted.ratio(&valid), dice]
}
