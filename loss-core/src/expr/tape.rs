//! Expressions in the order in which they are computed: equal parts once, and the derivative behind them.

use std::collections::HashMap;
use std::sync::Arc;

use super::algebra::elementwise;
use super::{Algebra, Extent, Kind, Leaf, Node, Op, TINY, Table};
use crate::LossError;

/// Place of a step on its tape.
pub(crate) type Index = usize;

/// One computed value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Leaf(Leaf),
    Apply(Op, Index, Option<Index>),
}

/// Steps in order; equal steps are shared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape {
    steps: Vec<Step>,
    extents: Vec<Extent>,
    active: Vec<bool>,
    known: HashMap<Step, Index>,
    /// Expression nodes already on the tape, by address; kept alive so that no address is used twice.
    nodes: HashMap<usize, (Index, Arc<Node>)>,
}

fn address(node: &Arc<Node>) -> usize {
    Arc::as_ptr(node) as usize
}

impl Tape {
    /// Forgets what was only needed to append.
    pub(crate) fn finish(&mut self) {
        self.known = HashMap::new();
        self.nodes = HashMap::new();
    }

    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    pub(crate) fn leaves(&self) -> impl Iterator<Item = (Index, &Leaf)> {
        self.steps.iter().enumerate().filter_map(|(i, step)| if let Step::Leaf(leaf) = step { Some((i, leaf)) } else { None })
    }

    /// Appends a whole expression. Walks with its own stack: a deep expression must not overflow the thread's.
    pub(crate) fn push_node(&mut self, root: &Arc<Node>) -> Index {
        let mut pending = vec![Arc::clone(root)];
        while let Some(node) = pending.last() {
            let key = address(node);
            if self.nodes.contains_key(&key) {
                pending.pop();
                continue;
            }
            let index = match &node.kind {
                Kind::Leaf(leaf) => self.push_leaf(leaf.clone()),
                Kind::Apply(op, arguments) => {
                    let missing: Vec<_> =
                        arguments.iter().filter(|a| !self.nodes.contains_key(&address(a))).map(Arc::clone).collect();
                    if !missing.is_empty() {
                        pending.extend(missing);
                        continue;
                    }
                    let mut at = arguments.iter().map(|a| self.nodes[&address(a)].0);
                    let first = at.next().unwrap_or_default();
                    let second = at.next();
                    self.push(*op, first, second)
                }
            };
            let node = pending.pop().unwrap_or_else(|| Arc::clone(root));
            self.nodes.insert(key, (index, node));
        }
        self.nodes[&address(root)].0
    }

    pub(crate) fn push_leaf(&mut self, leaf: Leaf) -> Index {
        let (extent, active) = (leaf.extent(), leaf.is_active());
        self.append(Step::Leaf(leaf), extent, active)
    }

    fn constant(&mut self, value: f64) -> Index {
        self.push_leaf(Leaf::constant(value))
    }

    fn constant_at(&self, index: Index) -> Option<f64> {
        if let Step::Leaf(Leaf::Constant(bits)) = &self.steps[index] { Some(f64::from_bits(*bits)) } else { None }
    }

    /// Appends an operation; constants are folded, and neutral elements dropped.
    pub(crate) fn push(&mut self, op: Op, x: Index, y: Option<Index>) -> Index {
        if matches!(op, Op::SumSamples | Op::SumClasses) {
            let from = self.extents[x];
            let to = if op == Op::SumSamples { Extent { samples: false, ..from } } else { Extent { classes: false, ..from } };
            return self.append(Step::Apply(op, x, None), to, self.active[x]);
        }
        let (cx, cy) = (self.constant_at(x), y.map(|y| self.constant_at(y)));
        match (op, cx, cy.flatten()) {
            (_, Some(a), None) if y.is_none() => return self.constant(elementwise(op, a, 0.0)),
            (_, Some(a), Some(b)) => return self.constant(elementwise(op, a, b)),
            (Op::Add | Op::Sub, _, Some(0.0)) | (Op::Mul | Op::Div, _, Some(1.0)) => return x,
            (Op::Add, Some(0.0), _) | (Op::Mul, Some(1.0), _) => return y.unwrap_or(x),
            _ => {}
        }
        let extent = y.map_or(self.extents[x], |y| self.extents[x].join(self.extents[y]));
        let active = op != Op::Greater && op != Op::Sign && (self.active[x] || y.is_some_and(|y| self.active[y]));
        self.append(Step::Apply(op, x, y), extent, active)
    }

    fn append(&mut self, step: Step, extent: Extent, active: bool) -> Index {
        if let Some(&index) = self.known.get(&step) {
            return index;
        }
        self.steps.push(step.clone());
        self.extents.push(extent);
        self.active.push(active);
        self.known.insert(step, self.steps.len() - 1);
        self.steps.len() - 1
    }

    /// Brings an adjoint to the extent of the value it belongs to: sums over axes the value lacks, repeats along those it has.
    fn fit(&mut self, mut adjoint: Index, extent: Extent) -> Index {
        let has = self.extents[adjoint];
        if has.samples && !extent.samples {
            adjoint = self.push(Op::SumSamples, adjoint, None);
        }
        if has.classes && !extent.classes {
            adjoint = self.push(Op::SumClasses, adjoint, None);
        }
        if self.extents[adjoint] != extent {
            let zeros = self.push_leaf(Leaf::Zeros(extent));
            adjoint = self.append(Step::Apply(Op::Add, adjoint, Some(zeros)), extent, false);
        }
        adjoint
    }

    /// Appends the derivative of a scalar for every active leaf: pairs of a leaf and its adjoint.
    pub(crate) fn differentiate(&mut self, of: Index) -> Vec<(Index, Index)> {
        let one = self.constant(1.0);
        let mut adjoints: Vec<Option<Index>> = vec![None; of + 1];
        adjoints[of] = Some(one);
        let mut leaves = Vec::new();
        for i in (0..=of).rev() {
            let (Some(adjoint), true) = (adjoints[i], self.active[i]) else { continue };
            let Step::Apply(op, x, y) = self.steps[i].clone() else {
                leaves.push((i, adjoint));
                continue;
            };
            // The value's own axes first: an argument with fewer is summed over them.
            let adjoint = self.fit(adjoint, self.extents[i]);
            for (argument, contribution) in self.pull_back(op, i, x, y, adjoint) {
                let contribution = self.fit(contribution, self.extents[argument]);
                adjoints[argument] = Some(match adjoints[argument] {
                    Some(sum) => self.push(Op::Add, sum, Some(contribution)),
                    None => contribution,
                });
            }
        }
        leaves
    }

    /// What one step hands to its active arguments.
    fn pull_back(&mut self, op: Op, step: Index, x: Index, y: Option<Index>, g: Index) -> Vec<(Index, Index)> {
        let mut out = Vec::with_capacity(2);
        if self.active[x] {
            let dx = match op {
                Op::Neg => self.push(Op::Neg, g, None),
                Op::Abs => {
                    let sign = self.push(Op::Sign, x, None);
                    self.push(Op::Mul, g, Some(sign))
                }
                Op::Exp => self.push(Op::Mul, g, Some(step)),
                Op::ExpM1 => {
                    let exp = self.push(Op::Exp, x, None);
                    self.push(Op::Mul, g, Some(exp))
                }
                Op::Ln => self.push(Op::Div, g, Some(x)),
                Op::Powf(bits) => {
                    let c = f64::from_bits(bits);
                    let base = if c == 2.0 {
                        x
                    } else {
                        let tiny = self.constant(TINY);
                        let base = self.push(Op::Max, x, Some(tiny));
                        self.push(Op::powf(c - 1.0), base, None)
                    };
                    let c = self.constant(c);
                    let slope = self.push(Op::Mul, base, Some(c));
                    self.push(Op::Mul, g, Some(slope))
                }
                Op::Mul => self.push(Op::Mul, g, Some(y.unwrap_or(x))),
                Op::Div => self.push(Op::Div, g, Some(y.unwrap_or(x))),
                Op::Max => {
                    let chosen = self.push(Op::Greater, x, y);
                    self.push(Op::Mul, g, Some(chosen))
                }
                Op::SumSamples | Op::SumClasses => self.fit(g, self.extents[x]),
                Op::Add | Op::Sub => g,
                Op::Sign | Op::Greater => return out,
            };
            out.push((x, dx));
        }
        if let Some(y) = y.filter(|&y| self.active[y]) {
            let dy = match op {
                Op::Add => g,
                Op::Sub => self.push(Op::Neg, g, None),
                Op::Mul => self.push(Op::Mul, g, Some(x)),
                Op::Div => {
                    let slope = self.push(Op::Div, step, Some(y));
                    let slope = self.push(Op::Neg, slope, None);
                    self.push(Op::Mul, g, Some(slope))
                }
                Op::Max => {
                    let one = self.constant(1.0);
                    let chosen = self.push(Op::Greater, x, Some(y));
                    let chosen = self.push(Op::Sub, one, Some(chosen));
                    self.push(Op::Mul, g, Some(chosen))
                }
                _ => return out,
            };
            out.push((y, dy));
        }
        out
    }

    /// Which steps have to be computed for `wanted`.
    pub(crate) fn needed(&self, wanted: &[Index]) -> Vec<bool> {
        let mut needed = vec![false; self.steps.len()];
        wanted.iter().for_each(|&i| needed[i] = true);
        for i in (0..self.steps.len()).rev() {
            if let (true, Step::Apply(_, x, y)) = (needed[i], &self.steps[i]) {
                needed[*x] = true;
                if let Some(y) = y {
                    needed[*y] = true;
                }
            }
        }
        needed
    }

    /// Computes the steps that `wanted` needs, and returns those.
    pub(crate) fn run<A: Algebra>(
        &self,
        algebra: &A,
        wanted: &[Index],
        mut bind: impl FnMut(&Leaf) -> Result<A::Array, LossError>,
    ) -> Result<Vec<A::Array>, LossError> {
        let needed = self.needed(wanted);
        // After which step a value is let go: of a pixel function they may be as large as the logits.
        let mut last = vec![0; self.steps.len()];
        for (i, step) in self.steps.iter().enumerate().filter(|(i, _)| needed[*i]) {
            if let Step::Apply(_, x, y) = step {
                last[*x] = i;
                last[y.unwrap_or(*x)] = i;
            }
        }
        wanted.iter().for_each(|&i| last[i] = self.steps.len());
        let mut values: Vec<Option<A::Array>> = vec![None; self.steps.len()];
        for (i, step) in self.steps.iter().enumerate().filter(|(i, _)| needed[*i]) {
            values[i] = Some(match step {
                Step::Leaf(leaf) => bind(leaf)?,
                Step::Apply(op, x, y) => match (&values[*x], y.map(|y| &values[y])) {
                    (Some(x), Some(Some(y))) => algebra.apply(*op, &[x, y])?,
                    (Some(x), _) => algebra.apply(*op, &[x])?,
                    _ => algebra.constant(&Table::scalar(f64::NAN))?,
                },
            });
            if let Step::Apply(_, x, y) = step {
                [*x, y.unwrap_or(*x)].into_iter().filter(|&argument| last[argument] == i).for_each(|done| values[done] = None);
            }
        }
        let nan = || algebra.constant(&Table::scalar(f64::NAN));
        wanted.iter().map(|&i| values[i].clone().map_or_else(nan, Ok)).collect()
    }

    /// Steps as they stand, for interpreters of another kind (pixel functions over slices).
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }
}
