use crate::expr::{Expr, Regions, Samples, Scalar};
use crate::options::{ClassOptions, Pooling, require, setters};
use crate::spec::describe::{Describe, Visitor};
use crate::term::Term;
use crate::{Activation, AllRegions, Decomposition, GroundTruthMatching, InsideTruth, LossError, SplitOf, Temperature};

/// Cross-Entropy: the mean over valid pixels of −log p of the true class.
///
/// Softmax: `CE = −(1/M) Σ_k L_k`. Sigmoid: binary Cross-Entropy with logits, the mean over
/// pixels and channels. With class weights c, softmax divides by `Σ_k c_k T_k` instead of M, and
/// sigmoid by `M Σ_k c_k`. Label smoothing e replaces the target by `(1−e)·y + e/K` (sigmoid:
/// `(1−e)·y + e/2`).
///
/// It is stable for saturated logits: log p is formed from logits by log-sum-exp or log-sigmoid,
/// never from p. Where no pixel is valid it is 0.
///
/// Hidden in it (Liu et al., arXiv 2104.08717, section 3) is a size penalty that pulls predicted
/// proportions to the true ones: `CE = −(1/M) Σ_k Σ_{s∈Ω_k} log(p/p̂_k) [matching] +
/// KL(t̂‖p̂) [size] + H(t̂) [constant]`, exactly. [`decompose`] gives the three.
///
/// [`decompose`]: GroundTruthMatching::decompose
///
/// ```
/// use loss_core::{matching, matching::CrossEntropy};
/// let loss = matching(CrossEntropy::new().label_smoothing(0.1)?.class_weights(&[0.2, 1.0])?);
/// assert_eq!(loss.to_string(), "ce(class_weights=[0.2, 1], label_smoothing=0.1)");
/// assert!(CrossEntropy::new().label_smoothing(1.5).is_err());
/// # Ok::<(), loss_core::LossError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CrossEntropy {
    classes: ClassOptions,
    label_smoothing: f64,
    pooling: Pooling,
    activation: Option<Activation>,
}

impl Default for CrossEntropy {
    fn default() -> Self {
        Self { classes: ClassOptions::default(), label_smoothing: 0.0, pooling: Pooling::Batch, activation: None }
    }
}

impl CrossEntropy {
    /// The mean over the valid pixels of the batch, unweighted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Share e of the target that is spread evenly.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`] outside `[0, 1]`.
    pub fn label_smoothing(mut self, share: f64) -> Result<Self, LossError> {
        self.label_smoothing = share;
        self.check().map(|()| self)
    }

    /// What the sum is divided by, at the level of the pooling.
    fn divisor(&self, truth: &InsideTruth) -> Expr<Samples> {
        let valid = self.pooling.samples(truth.valid_size());
        let weights = self.classes.expr();
        match (truth.activation(), &self.classes.weights) {
            (Activation::Softmax, None) => valid,
            (Activation::Softmax, Some(_)) => (weights * self.pooling.regions(truth.target_size())).sum_classes(),
            (Activation::Sigmoid, _) => valid * weights.sum_classes(),
        }
    }

    fn contributions(&self, truth: &InsideTruth) -> Expr<Regions> {
        let truth = truth.under(self.activation);
        let likelihood = sum(truth.sides().iter().map(|&side| truth.smoothed_log_likelihood(self.label_smoothing, side)));
        (-(self.classes.expr() * likelihood)).ratio(&self.divisor(&truth))
    }
}

fn sum(parts: impl Iterator<Item = Expr<Regions>>) -> Expr<Regions> {
    parts.reduce(|a, b| a + b).unwrap_or_else(|| Expr::constant(0.0))
}

setters!(CrossEntropy []: pooling class_weights activation);

impl GroundTruthMatching for CrossEntropy {
    fn matching(&self, truth: &InsideTruth) -> Expr<Scalar> {
        self.pooling.total(&self.contributions(truth))
    }

    fn elements(&self, truth: &InsideTruth) -> Option<Expr<Regions>> {
        Some(self.contributions(truth))
    }

    fn decompose(&self, regions: &AllRegions) -> Option<Decomposition> {
        let regions = regions.under(self.activation);
        let (truth, sizes) = (regions.inside(), regions.sizes());
        let valid = self.pooling.samples(truth.valid_size());
        let (mut matching, mut size, mut constant) = (Vec::new(), Vec::new(), Vec::new());
        for &side in truth.sides() {
            let mass = self.pooling.regions(truth.smoothed_target_size(self.label_smoothing, side));
            let likelihood = self.pooling.regions(truth.smoothed_log_likelihood(self.label_smoothing, side));
            let log_target = mass.ratio(&valid).ln();
            let log_predicted = self.pooling.regions(sizes.predicted_size_on(side, Temperature::ONE)).ratio(&valid).ln();
            matching.push(mass.clone() * log_predicted.clone() - likelihood);
            size.push(mass.clone() * (log_target.clone() - log_predicted));
            constant.push(-(mass * log_target));
        }
        let weights = self.classes.expr();
        let divisor = self.divisor(&truth);
        let part =
            |sides: Vec<Expr<Regions>>| (weights.clone() * sum(sides.into_iter())).ratio(&divisor).sum_classes().mean_samples();
        Some(Decomposition { matching: part(matching), size: part(size), constant: part(constant), of: SplitOf::Value })
    }

    crate::spec::describe::described!();
}

impl Describe for CrossEntropy {
    const NAME: &'static str = "ce";
    const SUMMARY: &'static str = "Cross-Entropy (binary Cross-Entropy under sigmoid)";
    const FORMULA: &'static str = "-(1/M) Σ_k L_k = -(1/M) ΣΣ_{s in Ω_k} log(p/p̂_k) + KL(t̂ || p̂) + H(t̂)";

    fn visit(&mut self, visitor: &mut Visitor<'_>) -> Result<(), LossError> {
        visitor.option("class_weights", "weight of each class", &mut self.classes.weights)?;
        visitor.option("label_smoothing", "share of the target that is spread evenly", &mut self.label_smoothing)?;
        visitor.option("pooling", "mean over the batch's pixels, or over samples of their means", &mut self.pooling)?;
        visitor.option("activation", "the loss's own, or another", &mut self.activation)
    }

    fn check(&self) -> Result<(), LossError> {
        self.classes.check(Self::NAME)?;
        let share = self.label_smoothing;
        require((0.0..=1.0).contains(&share), Self::NAME, "label_smoothing", share, "a share in [0, 1]")
    }

    fn into_term(self) -> Term {
        Term::Matching(std::sync::Arc::new(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;

    #[test]
    fn the_background_side_needs_sigmoid() {
        let softmax = AllRegions::new(Activation::Softmax, 3).inside();
        let sigmoid = AllRegions::new(Activation::Sigmoid, 3).inside();
        assert_eq!(softmax.sides(), [Side::Region]);
        assert!(!CrossEntropy::new().matching(&softmax).to_string().contains('σ'));
        assert!(CrossEntropy::new().matching(&sigmoid).to_string().contains("Lσ + L'σ"));
    }
}
