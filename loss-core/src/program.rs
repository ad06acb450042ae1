//! A loss ready to run: its expressions in order, the statistics they need, and their derivative;
//! and what they come to on statistics.

mod compile;
mod notes;

use self::notes::TermFacts;
use crate::expr::{Algebra, HostAlgebra, Index, Leaf, Table, Tape};
use crate::{Activation, Evaluation, Facts, LossError, Passes, Plan, Pressure, RegionReport, Statistic, TermEvaluation, prior};

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
    /// What notes are made of, beside the statistics; an evaluation has none without.
    pub facts: Option<Facts>,
}

/// The expressions of a loss for a number of classes, ready to be interpreted by any [`Algebra`].
#[derive(Debug)]
pub struct Program {
    plan: Plan,
    activation: Activation,
    terms: Vec<TermFacts>,
    /// Whether a term reads proportions that are given with the target.
    reads_prior: bool,
    tape: Tape,
    /// Where total, values and parts are; weights are bound at each call.
    outputs: Evaluation<Index>,
    /// Where the report's rows of one number per class are.
    report: Option<[Index; 3]>,
    elements: Vec<Option<Index>>,
    /// Per statistic of the plan: where its adjoint is.
    adjoints: Vec<Option<Index>>,
    /// The plan's sums over the target alone, where every adjoint is made of nothing else.
    target_plan: Option<Plan>,
}

impl Program {
    /// The statistics the program needs.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The sums over the target that all derivatives are made of, where they are made of those
    /// alone: then the derivatives are known before the logits are read, and one read gives
    /// statistics and gradient. Cross-Entropy and focal are so, by themselves and with each other.
    #[must_use]
    pub fn target_plan(&self) -> Option<&Plan> {
        self.target_plan.as_ref()
    }

    /// How many steps its tape has: leaves and operations of outputs, derivatives and elements,
    /// equal ones once.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.tape.len()
    }

    fn run<A: Algebra>(
        &self,
        algebra: &A,
        known: Known<'_, A::Array>,
        inputs: &Inputs,
        seeds: &[f64],
        wanted: &[Index],
    ) -> Result<Vec<A::Array>, LossError> {
        let (samples, classes) = (inputs.samples, self.plan.classes());
        self.tape.run(algebra, wanted, |leaf| {
            let table = match leaf {
                Leaf::Statistic(statistic) => return known.get(statistic).cloned(),
                Leaf::Constant(bits) => Table::scalar(f64::from_bits(*bits)),
                Leaf::Classes(values) => Table::row(values.iter().map(|bits| f64::from_bits(*bits)).collect()),
                Leaf::ClassIn(list) => Table::row((0..classes).map(|k| f64::from(u8::from(list.contains(&k)))).collect()),
                Leaf::Zeros(extent) => {
                    Table::filled(if extent.samples { samples } else { 1 }, if extent.classes { classes } else { 1 }, 0.0)
                }
                Leaf::SampleCount => Table::scalar(samples as f64),
                Leaf::ClassCount => Table::scalar(classes as f64),
                Leaf::Weight(i) => Table::scalar(weight(inputs, *i)?),
                Leaf::GivenPrior(activation) => prior::given(inputs.prior.as_ref(), samples, classes, *activation)?.clone(),
                Leaf::Seed(i) => Table::scalar(seeds.get(*i).copied().unwrap_or(0.0)),
                Leaf::LogProbability => return Err(LossError::Internal { what: "a pixel's logarithm outside its function" }),
            };
            algebra.constant(&table)
        })
    }

    /// Interprets the expressions where the backend keeps its numbers: total, values and parts.
    ///
    /// # Errors
    /// [`LossError::MissingPrior`] and the like for inputs that do not fit; failures of the
    /// algebra.
    pub fn outputs<A: Algebra>(
        &self,
        algebra: &A,
        statistics: &[A::Array],
        inputs: &Inputs,
    ) -> Result<Evaluation<A::Array>, LossError> {
        let wanted: Vec<Index> = self.outputs.scalars().copied().collect();
        let known = Known { plan: &self.plan, arrays: statistics };
        self.evaluation(&mut self.run(algebra, known, inputs, &[], &wanted)?.into_iter(), inputs)
    }

    /// The same as numbers, from statistics on the host; with [`Detail::Parts`] with its report,
    /// and where the inputs have facts with its notes.
    ///
    /// # Errors
    /// As [`Program::outputs`].
    pub fn evaluate(&self, statistics: &[Table], inputs: &Inputs) -> Result<Evaluation, LossError> {
        let outputs = self.outputs(&HostAlgebra, statistics, inputs)?;
        let mut evaluation = outputs.try_map(|table| Ok::<_, LossError>(table.first()))?;
        if let Some(report) = self.report {
            let known = Known { plan: &self.plan, arrays: statistics };
            let rows = self.run(&HostAlgebra, known, inputs, &[], &report)?;
            let at = |row: usize, class| {
                let number = rows.get(row).and_then(|row: &Table| row.get(0, class));
                number.ok_or(LossError::Internal { what: "a report without a row for each class" })
            };
            let report = |class| Ok(RegionReport::new(class, at(0, class)?, at(1, class)?, at(2, class)?));
            evaluation.regions = (0..self.plan.classes()).map(report).collect::<Result<_, LossError>>()?;
            if let Some(facts) = &inputs.facts {
                evaluation.notes = self.notes(statistics, inputs, facts, &evaluation.regions)?;
            }
        }
        Ok(evaluation)
    }

    /// [`Program::outputs`] with the derivative of the total for each statistic of the plan, `None`
    /// where it is zero everywhere. It has one row or one column where all of them are the same.
    ///
    /// # Errors
    /// As [`Program::outputs`].
    #[allow(clippy::type_complexity, reason = "values and derivatives, as two of a kind")]
    pub fn differentiated<A: Algebra>(
        &self,
        algebra: &A,
        statistics: &[A::Array],
        inputs: &Inputs,
    ) -> Result<(Evaluation<A::Array>, Vec<Option<A::Array>>), LossError> {
        let wanted: Vec<Index> = self.outputs.scalars().chain(self.adjoints.iter().flatten()).copied().collect();
        let known = Known { plan: &self.plan, arrays: statistics };
        let mut values = self.run(algebra, known, inputs, &[1.0], &wanted)?.into_iter();
        let outputs = self.evaluation(&mut values, inputs)?;
        Ok((outputs, self.adjoints.iter().map(|adjoint| adjoint.and_then(|_| values.next())).collect()))
    }

    /// Outputs of values in their order.
    fn evaluation<T>(&self, values: &mut impl Iterator<Item = T>, inputs: &Inputs) -> Result<Evaluation<T>, LossError> {
        let missing = || LossError::Internal { what: "fewer outputs than were asked for" };
        let mut outputs = self.outputs.try_map(|_| values.next().ok_or_else(missing))?;
        for (i, term) in outputs.terms.iter_mut().enumerate() {
            term.weight = weight(inputs, i)?;
        }
        Ok(outputs)
    }

    /// Each term per sample and class before its reduction, where it has such a form; one row where
    /// it is pooled over the batch.
    ///
    /// # Errors
    /// As [`Program::outputs`].
    pub fn elements(&self, statistics: &[Table], inputs: &Inputs) -> Result<Vec<Option<Table>>, LossError> {
        let wanted: Vec<Index> = self.elements.iter().flatten().copied().collect();
        let known = Known { plan: &self.plan, arrays: statistics };
        let mut values = self.run(&HostAlgebra, known, inputs, &[], &wanted)?.into_iter();
        Ok(self.elements.iter().map(|e| e.and_then(|_| values.next())).collect())
    }

    /// Reads the statistics of a plan and, if a gradient is given to write to, the gradient of the
    /// total: in as few reads as there can be. The plan is the program's own, or one that holds
    /// more; derivatives are taken of the program alone.
    ///
    /// # Errors
    /// As [`Program::outputs`], and what the backend reports.
    pub fn read_on<P: Passes + ?Sized>(
        &self,
        call: &P,
        plan: &Plan,
        inputs: &Inputs,
        gradient: Option<&mut P::Gradient>,
    ) -> Result<Vec<Table>, LossError> {
        let Some(gradient) = gradient else { return call.statistics(plan) };
        if let Some(of_target) = self.target_plan() {
            let tables = call.statistics(of_target)?;
            let own = self.derivatives(Known { plan: of_target, arrays: &tables }, inputs, &[1.0])?;
            let derivative = |s| self.plan.statistics().iter().position(|known| known == s).and_then(|at| own.get(at)?.clone());
            let upstream: Vec<_> = plan.statistics().iter().map(derivative).collect();
            return call.statistics_and_gradient(plan, &upstream, gradient);
        }
        let statistics = call.statistics(plan)?;
        let upstream = self.derivatives(Known { plan, arrays: &statistics }, inputs, &[1.0])?;
        call.logit_gradient(&self.plan, &upstream, gradient)?;
        Ok(statistics)
    }

    /// The derivative of Σ seed · output for each statistic of the plan, on the host; `None`
    /// where it is zero. Seeds stand in the order of [`Evaluation::scalars`]; missing ones are 0,
    /// so `&[1.0]` is the derivative of the total.
    ///
    /// # Errors
    /// As [`Program::outputs`].
    pub fn upstream(&self, statistics: &[Table], inputs: &Inputs, seeds: &[f64]) -> Result<Vec<Option<Table>>, LossError> {
        self.derivatives(Known { plan: &self.plan, arrays: statistics }, inputs, seeds)
    }

    /// The same of each term's value by itself, before its weight.
    ///
    /// # Errors
    /// As [`Program::outputs`].
    pub fn upstream_of_terms(&self, statistics: &[Table], inputs: &Inputs) -> Result<Vec<Vec<Option<Table>>>, LossError> {
        // Where the terms' values stand among the scalars, the total being the first.
        let mut next = 1;
        let mut seeds = vec![0.0; self.outputs.scalars().count()];
        let of_term = |term: &TermEvaluation<Index>| {
            let place = next;
            next += if term.split.is_some() { 4 } else { 1 };
            seeds[place] = 1.0;
            let upstream = self.upstream(statistics, inputs, &seeds);
            seeds[place] = 0.0;
            upstream
        };
        self.outputs.terms.iter().map(of_term).collect()
    }

    /// The pressure of the loss, from Σ_s ∂/∂z of each term, `[N, K]`.
    #[must_use]
    pub fn pressure(&self, sums: &[Table], inputs: &Inputs) -> Pressure {
        Pressure::new(&inputs.weights, sums, self.plan.classes())
    }

    /// The same on a backend that keeps its small arrays on the host, given the statistics.
    pub(crate) fn pressure_on<P: Passes + ?Sized>(
        &self,
        call: &P,
        statistics: &[Table],
        inputs: &Inputs,
    ) -> Result<Pressure, LossError> {
        let upstreams = self.upstream_of_terms(statistics, inputs)?;
        Ok(self.pressure(&call.gradient_sums(&self.plan, &upstreams)?, inputs))
    }

    fn derivatives(&self, known: Known<'_, Table>, inputs: &Inputs, seeds: &[f64]) -> Result<Vec<Option<Table>>, LossError> {
        let wanted: Vec<Index> = self.adjoints.iter().flatten().copied().collect();
        let mut values = self.run(&HostAlgebra, known, inputs, seeds, &wanted)?.into_iter();
        let nonzero = |table: &Table| table.values().iter().any(|v| *v != 0.0);
        self.adjoints
            .iter()
            .zip(self.plan.statistics())
            .map(|(adjoint, statistic)| {
                let table = adjoint.and_then(|_| values.next()).filter(nonzero);
                table.map(|table| table.repeated(inputs.samples, self.plan.columns(statistic))).transpose()
            })
            .collect()
    }
}

/// One array for each statistic of a plan.
struct Known<'a, T> {
    plan: &'a Plan,
    arrays: &'a [T],
}

impl<T> Known<'_, T> {
    fn get(&self, wanted: &Statistic) -> Result<&T, LossError> {
        let at = self.plan.statistics().iter().position(|known| known == wanted);
        let array = at.and_then(|at| self.arrays.get(at));
        array.ok_or(LossError::Internal { what: "a statistic that was not summed up" })
    }
}

fn weight(inputs: &Inputs, term: usize) -> Result<f64, LossError> {
    inputs.weights.get(term).copied().ok_or(LossError::Internal { what: "fewer weights than terms" })
}
