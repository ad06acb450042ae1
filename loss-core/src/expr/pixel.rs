//! Pixel functions φ(log p): summed over a true region, they are one more statistic.

use std::sync::Arc;

use num_traits::Float;

use super::algebra::elementwise;
use super::tape::{Index, Step, Tape};
use super::{Algebra, Expr, Leaf, Op, Pixel, Table};
use crate::LossError;

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

struct Inner {
    text: String,
    tape: Tape,
    value: Index,
    slope: Index,
}

impl PartialEq for PixelFunction {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.value == other.0.value && self.0.slope == other.0.slope && self.0.tape.steps() == other.0.tape.steps())
    }
}

impl Eq for PixelFunction {}

impl std::hash::Hash for PixelFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.tape.steps().hash(state);
        self.0.value.hash(state);
    }
}

impl std::fmt::Debug for PixelFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl PixelFunction {
    /// The function that `build` makes of log p.
    ///
    /// It must be finite for every log p ≤ 0, and so must its slope: backends may evaluate it for classes that are not the pixel's,
    /// and at p = 1/K for pixels that do not count. What is not finite there can make the loss so.
    #[must_use]
    pub fn new(build: impl FnOnce(Expr<Pixel>) -> Expr<Pixel>) -> Self {
        let function = build(Expr::leaf(Leaf::LogProbability));
        let mut tape = Tape::default();
        let value = tape.push_node(function.node());
        let slopes = tape.differentiate(value);
        let slope = slopes.first().map_or_else(|| tape.push_leaf(Leaf::constant(0.0)), |&(_, adjoint)| adjoint);
        tape.finish();
        Self(Arc::new(Inner { text: function.to_string(), tape, value, slope }))
    }

    /// Values, and on request slopes φ'(log p), for a block of log-probabilities. All slices have one length; what is beyond
    /// the shortest stays as it was.
    pub fn evaluate<F: Float>(&self, log_p: &[F], value: &mut [F], slope: Option<&mut [F]>) {
        let wanted = if slope.is_some() { self.0.value.max(self.0.slope) } else { self.0.value };
        let steps = &self.0.tape.steps()[..=wanted];
        // Short columns stay in the first-level cache.
        const COLUMN: usize = 64;
        let mut columns = vec![[F::zero(); COLUMN]; steps.len()];
        let mut slope = slope;
        for (block, start) in log_p.chunks(COLUMN).zip((0..).step_by(COLUMN)) {
            for (i, step) in steps.iter().enumerate() {
                let (done, rest) = columns.split_at_mut(i);
                let out = &mut rest[0][..block.len()];
                match step {
                    Step::Leaf(Leaf::LogProbability) => out.copy_from_slice(block),
                    Step::Leaf(Leaf::Constant(bits)) => out.fill(F::from(f64::from_bits(*bits)).unwrap_or_else(F::nan)),
                    Step::Leaf(_) => out.fill(F::nan()),
                    Step::Apply(op, x, y) => {
                        let y = &done[y.unwrap_or(*x)];
                        out.iter_mut().zip(&done[*x]).zip(y).for_each(|((out, &x), &y)| *out = elementwise(*op, x, y));
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

    /// The steps that value and slope are computed in, for kernels that are compiled for a function rather than handed columns.
    pub fn steps(&self) -> impl Iterator<Item = PixelStep> {
        self.0.tape.steps().iter().map(|step| match step {
            Step::Leaf(Leaf::LogProbability) => PixelStep::LogProbability,
            Step::Leaf(Leaf::Constant(bits)) => PixelStep::Constant(*bits),
            // Functions are made of the two leaves above alone.
            Step::Leaf(_) => PixelStep::Constant(f64::NAN.to_bits()),
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
        let mut out = self.0.tape.run(algebra, &[wanted], |leaf| match leaf {
            Leaf::LogProbability => Ok(log_p.clone()),
            Leaf::Constant(bits) => algebra.constant(&Table::scalar(f64::from_bits(*bits))),
            _ => algebra.constant(&Table::scalar(f64::NAN)),
        })?;
        Ok(out.swap_remove(0))
    }
}
