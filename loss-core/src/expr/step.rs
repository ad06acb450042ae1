//! Steps in the order in which they are computed, and running them.

use super::algebra::Algebra;
use super::op::Op;
use crate::error::LossError;

/// Place of a step among the others.
pub(crate) type Index = usize;

/// One computed value; arguments are places of earlier steps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step<L> {
    Leaf(L),
    Apply(Op, Index, Option<Index>),
}

impl<L> Step<L> {
    fn arguments(&self) -> impl Iterator<Item = Index> {
        let arguments = match self {
            Self::Leaf(_) => [None, None],
            Self::Apply(_, x, y) => [Some(*x), *y],
        };
        arguments.into_iter().flatten()
    }
}

/// Which steps have to be computed for `wanted`.
pub(crate) fn needed<L>(steps: &[Step<L>], wanted: &[Index]) -> Vec<bool> {
    let mut needed = vec![false; steps.len()];
    wanted.iter().for_each(|&i| needed[i] = true);
    for (i, step) in steps.iter().enumerate().rev() {
        if needed[i] {
            step.arguments().for_each(|argument| needed[argument] = true);
        }
    }
    needed
}

/// Computes the steps that `wanted` needs, and returns those.
pub(crate) fn run<L, A: Algebra>(
    steps: &[Step<L>],
    algebra: &A,
    wanted: &[Index],
    mut bind: impl FnMut(&L) -> Result<A::Array, LossError>,
) -> Result<Vec<A::Array>, LossError> {
    let needed = needed(steps, wanted);
    let in_order = || steps.iter().enumerate().filter(|(i, _)| needed[*i]);
    // A value is dropped after its last use: a pixel function's may be as large as the logits.
    let mut last = vec![0; steps.len()];
    for (i, step) in in_order() {
        step.arguments().for_each(|argument| last[argument] = i);
    }
    wanted.iter().for_each(|&i| last[i] = steps.len());
    let mut values: Vec<Option<A::Array>> = vec![None; steps.len()];
    for (i, step) in in_order() {
        values[i] = Some(match step {
            Step::Leaf(leaf) => bind(leaf)?,
            Step::Apply(op, x, None) => algebra.apply(*op, &[known(&values, *x)?])?,
            Step::Apply(op, x, Some(y)) => algebra.apply(*op, &[known(&values, *x)?, known(&values, *y)?])?,
        });
        step.arguments().filter(|&argument| last[argument] == i).for_each(|done| values[done] = None);
    }
    wanted.iter().map(|&i| known(&values, i).cloned()).collect()
}

fn known<T>(values: &[Option<T>], i: Index) -> Result<&T, LossError> {
    values[i].as_ref().ok_or_else(|| LossError::Internal { what: "a step is used before it is computed" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{HostAlgebra, Table};

    #[test]
    fn a_step_before_its_argument_is_refused() {
        let steps = [Step::Apply(Op::Neg, 1, None), Step::Leaf(2.0)];
        let got = run(&steps, &HostAlgebra, &[0], |value| Ok(Table::scalar(*value)));
        assert!(matches!(got, Err(LossError::Internal { .. })), "{got:?}");
    }
}
