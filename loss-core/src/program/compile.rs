//! From terms to a program.

use super::notes::TermFacts;
use super::{Detail, Program};
use crate::expr::{Classes, Expr, Index, Leaf, Op, Scalar, Tape};
use crate::term::WeightedTerm;
use crate::{
    Activation, AllRegions, Decomposition, Evaluation, LossError, Plan, Split, Statistic, Temperature, TermEvaluation,
};

impl Program {
    /// The program of some terms.
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
        let (mut outputs, mut total, mut element_exprs, mut idle) = (Vec::new(), None, Vec::new(), Vec::new());
        for (i, WeightedTerm { term, .. }) in terms.iter().enumerate() {
            term.fits(classes, activation)?;
            idle.push(if detail == Detail::Parts { term.idle_options(&regions) } else { Vec::new() });
            let (value, elements) = term.expressions(&regions);
            let split = if detail == Detail::Total { None } else { term.decompose(&regions) };
            let weighted = Expr::<Scalar>::leaf(Leaf::Weight(i)) * value.clone();
            total = Some(total.map_or(weighted.clone(), |total: Expr<Scalar>| total + weighted));
            outputs.push(TermEvaluation {
                name: term.name(),
                role: term.role(),
                weight: 0.0,
                value: push(&value),
                split: split.map(|Decomposition { matching, size, constant, of }| Split {
                    matching: push(&matching),
                    size: push(&size),
                    constant: push(&constant),
                    of,
                }),
            });
            element_exprs.push(elements);
        }
        let total = push(&total.unwrap_or_else(|| Expr::constant(0.0)));
        let report = (detail == Detail::Parts).then(|| report(&regions).map(|e| tape.push_node(e.node())));
        let outputs = Evaluation { total, terms: outputs, regions: Vec::new(), pressure: None, notes: Vec::new() };

        // The quantity differentiated is Σ seed · output, so that one backward pass serves any of
        // them.
        let mut seeded = None;
        for (i, &output) in outputs.scalars().enumerate() {
            let seed = tape.push_leaf(Leaf::Seed(i));
            let product = tape.push(Op::Mul, output, Some(seed));
            seeded = Some(seeded.map_or(product, |sum| tape.push(Op::Add, sum, Some(product))));
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
        let other = |value: Index| {
            let needed = tape.needed(&[value]);
            let mut used = tape.leaves().filter(|(i, _)| needed[*i]).filter_map(|(_, leaf)| leaf.activation());
            used.find(|used| *used != activation)
        };
        let terms = outputs.terms.iter().zip(idle).map(|(term, idle)| TermFacts { other: other(term.value), idle }).collect();
        let reads_prior = tape.leaves().any(|(_, leaf)| matches!(leaf, Leaf::GivenPrior(_)));
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
        Ok(Self { plan, activation, terms, reads_prior, tape, outputs, report, elements, adjoints, target_plan })
    }
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
