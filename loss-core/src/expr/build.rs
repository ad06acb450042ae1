//! Pixel functions out of expressions.

use super::axes::Pixel;
use super::expression::Expr;
use super::leaf::Leaf;
use super::pixel::{PixelFunction, PixelLeaf};
use super::step::Step;
use super::tape::Tape;

impl PixelFunction {
    /// The function that `build` makes of log p.
    ///
    /// It must be finite for every log p ≤ 0, and so must its slope: backends may evaluate it for
    /// classes that are not the pixel's, and at p = 1/K for pixels that do not count. What is not
    /// finite there can make the loss so.
    #[must_use]
    pub fn new(build: impl FnOnce(Expr<Pixel>) -> Expr<Pixel>) -> Self {
        let function = build(Expr::leaf(Leaf::LogProbability));
        let mut tape = Tape::default();
        let value = tape.push_node(function.node());
        let slopes = tape.differentiate(value);
        let slope = slopes.first().map_or_else(|| tape.push_leaf(Leaf::constant(0.0)), |&(_, adjoint)| adjoint);
        let steps = tape.into_steps().into_iter().map(|step| match step {
            Step::Leaf(Leaf::LogProbability) => Step::Leaf(PixelLeaf::LogProbability),
            Step::Leaf(Leaf::Constant(bits)) => Step::Leaf(PixelLeaf::Constant(bits)),
            // No function of the public interface puts another leaf into an `Expr<Pixel>`.
            Step::Leaf(_) => Step::Leaf(PixelLeaf::Constant(f64::NAN.to_bits())),
            Step::Apply(op, x, y) => Step::Apply(op, x, y),
        });
        Self::from_steps(function.to_string(), steps.collect(), [value, slope])
    }
}
