//! Pixel functions φ(log p): summed over a true region, they are one more statistic.

use std::sync::Arc;

use num_traits::Float;

use super::algebra::Algebra;
use super::op::Op;
use super::step::{self, Index, Step};
use super::table::Table;
use crate::error::LossError;

/// A function of one pixel's log-probability, with its derivative.
///
/// ```
/// use loss_core::expr::PixelFunction;
/// // Focal with γ = 2: −(1 − p)² log p
/// let focal = PixelFunction::new(|log_p| -((-log_p.exp_m1()).powf(2.0) * log_p));
/// let (mut value, mut slope) = ([0.0f64; 1], [0.0f64; 1]);
/// focal.evaluate(&[0.5f64.ln()], &mut value, Some(&mut slope));
/// assert!((value[0] - 0.25 * 2.0f64.ln()).abs() < 1e-15);
/// ```
#[derive(Clone)]
pub struct PixelFunction(Arc<Inner>);

/// One step of a [`PixelFunction`]; arguments are places of earlier steps.
///
/// ```
/// use loss_core::expr::{Op, PixelFunction, PixelStep};
/// let negated = PixelFunction::new(|log_p| -log_p);
/// let steps: Vec<_> = negated.steps().collect();
/// let [value, _] = negated.results();
/// assert_eq!(steps[0], PixelStep::LogProbability);
/// assert_eq!(steps[value], PixelStep::Apply(Op::Neg, 0, None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelStep {
    /// log p
    LogProbability,
    /// A number, as its bits.
    Constant(u64),
    /// An operation on one or two earlier steps; never a sum over samples or classes.
    Apply(Op, usize, Option<usize>),
}

/// What the steps of a [`PixelFunction`] begin with.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum PixelLeaf {
    LogProbability,
    Constant(u64),
}

struct Inner {
    text: String,
    steps: Vec<Step<PixelLeaf>>,
    value: Index,
    slope: Index,
}

impl PartialEq for PixelFunction {
    fn eq(&self, other: &Self) -> bool {
        let of = |inner: &Inner| (inner.value, inner.slope);
        Arc::ptr_eq(&self.0, &other.0) || (of(&self.0) == of(&other.0) && self.0.steps == other.0.steps)
    }
}

impl Eq for PixelFunction {}

impl std::hash::Hash for PixelFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.steps.hash(state);
        self.0.value.hash(state);
    }
}

impl std::fmt::Debug for PixelFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl PixelFunction {
    /// From steps, and the places of value and slope among them.
    pub(crate) fn from_steps(text: String, steps: Vec<Step<PixelLeaf>>, [value, slope]: [Index; 2]) -> Self {
        Self(Arc::new(Inner { text, steps, value, slope }))
    }

    /// Values, and on request slopes φ'(log p), for a block of log-probabilities. All slices have
    /// one length; beyond the shortest, nothing changes.
    pub fn evaluate<F: Float>(&self, log_p: &[F], value: &mut [F], slope: Option<&mut [F]>) {
        let wanted = if slope.is_some() { self.0.value.max(self.0.slope) } else { self.0.value };
        let steps = &self.0.steps[..=wanted];
        // Short columns stay in the first-level cache.
        const COLUMN: usize = 64;
        let mut columns = vec![[F::zero(); COLUMN]; steps.len()];
        let mut slope = slope;
        for (block, start) in log_p.chunks(COLUMN).zip((0..).step_by(COLUMN)) {
            for (i, step) in steps.iter().enumerate() {
                let (done, rest) = columns.split_at_mut(i);
                let out = &mut rest[0][..block.len()];
                match step {
                    Step::Leaf(PixelLeaf::LogProbability) => out.copy_from_slice(block),
                    Step::Leaf(PixelLeaf::Constant(bits)) => out.fill(F::from(f64::from_bits(*bits)).unwrap_or_else(F::nan)),
                    Step::Apply(op, x, y) => {
                        let y = &done[y.unwrap_or(*x)];
                        out.iter_mut().zip(&done[*x]).zip(y).for_each(|((out, &x), &y)| *out = op.of(x, y));
                    }
                }
            }
            let copy = |from: &[F; COLUMN], to: &mut [F]| {
                to.iter_mut().skip(start).take(block.len()).zip(from).for_each(|(to, from)| *to = *from);
            };
            copy(&columns[self.0.value], value);
            if let Some(slope) = slope.as_deref_mut() {
                copy(&columns[self.0.slope], slope);
            }
        }
    }

    /// The steps that value and slope are computed in, for kernels that are compiled for a function
    /// rather than handed columns.
    pub fn steps(&self) -> impl Iterator<Item = PixelStep> {
        self.0.steps.iter().map(|step| match step {
            Step::Leaf(PixelLeaf::LogProbability) => PixelStep::LogProbability,
            Step::Leaf(PixelLeaf::Constant(bits)) => PixelStep::Constant(*bits),
            Step::Apply(op, x, y) => PixelStep::Apply(*op, *x, *y),
        })
    }

    /// Which of [`PixelFunction::steps`] is the value, and which the slope.
    #[must_use]
    pub fn results(&self) -> [usize; 2] {
        [self.0.value, self.0.slope]
    }

    /// The values through a backend's own algebra, for backends without a kernel of their own.
    ///
    /// # Errors
    /// Whatever the algebra reports.
    pub fn apply<A: Algebra>(&self, algebra: &A, log_p: &A::Array) -> Result<A::Array, LossError> {
        self.run(self.0.value, algebra, log_p)
    }

    /// The slopes φ'(log p) likewise; of one number where the slope is the same everywhere.
    ///
    /// # Errors
    /// Whatever the algebra reports.
    pub fn slope<A: Algebra>(&self, algebra: &A, log_p: &A::Array) -> Result<A::Array, LossError> {
        self.run(self.0.slope, algebra, log_p)
    }

    fn run<A: Algebra>(&self, wanted: Index, algebra: &A, log_p: &A::Array) -> Result<A::Array, LossError> {
        let mut out = step::run(&self.0.steps, algebra, &[wanted], |leaf| match leaf {
            PixelLeaf::LogProbability => Ok(log_p.clone()),
            PixelLeaf::Constant(bits) => algebra.constant(&Table::scalar(f64::from_bits(*bits))),
        })?;
        Ok(out.swap_remove(0))
    }
}
