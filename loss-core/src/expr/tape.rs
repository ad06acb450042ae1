//! Expressions in the order in which they are computed: equal parts once, and the derivative behind
//! them.

use std::collections::HashMap;
use std::sync::Arc;

use super::algebra::Algebra;
use super::axes::Extent;
use super::expression::TINY;
use super::leaf::Leaf;
use super::node::{Kind, Node};
use super::op::Op;
use super::step::{self, Index};
use crate::error::LossError;

type Step = step::Step<Leaf>;

/// Steps in order; equal steps are shared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape {
    steps: Vec<Step>,
    extents: Vec<Extent>,
    active: Vec<bool>,
    known: HashMap<Step, Index>,
    /// Expression nodes already on the tape, by address; kept alive so that no address is used
    /// twice.
    nodes: HashMap<usize, (Index, Arc<Node>)>,
}

fn address(node: &Arc<Node>) -> usize {
    Arc::as_ptr(node) as usize
}

impl Tape {
    /// Frees what is only needed to append.
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

    /// Appends a whole expression. Walks with its own stack: a deep expression must not overflow
    /// the thread's.
    pub(crate) fn push_node(&mut self, root: &Arc<Node>) -> Index {
        let mut pending = vec![Arc::clone(root)];
        while let Some(node) = pending.pop() {
            if self.nodes.contains_key(&address(&node)) {
                continue;
            }
            let index = match &node.kind {
                Kind::Leaf(leaf) => self.push_leaf(leaf.clone()),
                Kind::Apply(op, x, y) => {
                    let is_missing = |argument: &&Arc<Node>| !self.nodes.contains_key(&address(argument));
                    let missing: Vec<_> = [Some(x), y.as_ref()].into_iter().flatten().filter(is_missing).cloned().collect();
                    if !missing.is_empty() {
                        pending.push(node);
                        pending.extend(missing);
                        continue;
                    }
                    self.push(*op, self.nodes[&address(x)].0, y.as_ref().map(|y| self.nodes[&address(y)].0))
                }
            };
            self.nodes.insert(address(&node), (index, node));
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
            return self.append(Step::Apply(op, x, None), self.extents[x].after(op), self.active[x]);
        }
        let (cx, cy) = (self.constant_at(x), y.and_then(|y| self.constant_at(y)));
        if let (Some(a), Some(b)) = (cx, if y.is_some() { cy } else { cx }) {
            return self.constant(op.of(a, b));
        }
        match (op, cx, cy) {
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

    /// Brings an adjoint to the extent of the value it belongs to: sums over axes the value lacks,
    /// repeats along those it has.
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

    /// The active arguments of a step, with their adjoints.
    fn pull_back(&mut self, op: Op, step: Index, x: Index, y: Option<Index>, g: Index) -> Vec<(Index, Index)> {
        let mut out = Vec::with_capacity(2);
        // Operations with one argument do not look at `y`.
        let (binary, y) = (y.is_some(), y.unwrap_or(x));
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
                Op::Mul | Op::Div => self.push(op, g, Some(y)),
                Op::Max => {
                    let chosen = self.push(Op::Greater, x, Some(y));
                    self.push(Op::Mul, g, Some(chosen))
                }
                Op::SumSamples | Op::SumClasses => self.fit(g, self.extents[x]),
                Op::Add | Op::Sub => g,
                Op::Sign | Op::Greater => return out,
            };
            out.push((x, dx));
        }
        if binary && self.active[y] {
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
        step::needed(&self.steps, wanted)
    }

    /// Computes the steps that `wanted` needs, and returns those.
    pub(crate) fn run<A: Algebra>(
        &self,
        algebra: &A,
        wanted: &[Index],
        bind: impl FnMut(&Leaf) -> Result<A::Array, LossError>,
    ) -> Result<Vec<A::Array>, LossError> {
        step::run(&self.steps, algebra, wanted, bind)
    }

    /// The steps alone.
    pub(crate) fn into_steps(self) -> Vec<Step> {
        self.steps
    }
}
