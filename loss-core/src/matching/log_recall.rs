use crate::expr::{Expr, Regions, Scalar};
use crate::options::{AbsentClass, ClassOptions, Form, Pooling, require_smoothing, setters};
use crate::overlap::ratio::{ClassMean, RatioScore};
use crate::spec::describe::{Describe, Visitor};
use crate::term::Term;
use crate::{Activation, AllRegions, Decomposition, GroundTruthMatching, InsideTruth, LossError, Temperature};

/// The matching part that Dice, Tversky and Jaccard share: `−log(I/T)`, minus the logarithm of
/// the soft recall.
///
/// `I` is the predicted mass inside the true region of size T; unless smoothed, ratio and
/// denominator are at least 1e-7. It is bounded by the class's Cross-Entropy,
/// `−log(I/T) ≤ −L/T` (Jensen). A class without a true pixel contributes 0 and still counts
/// in the mean, unless asked otherwise; where no pixel is valid it is 0.
///
/// It does not see what is predicted outside the true region, so that `absent=skip_empty` is
/// `skip`.
///
/// Source: Liu et al., arXiv 2104.08717, section 3.
///
/// ```
/// use loss_core::{matching, matching::LogRecall, penalty, penalty::Kl};
/// let loss = matching(LogRecall::new()) + penalty(Kl::new());   // Dice's matching with an open size penalty
/// assert_eq!(loss.to_string(), "log_recall + kl");
/// # Ok::<(), loss_core::LossError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LogRecall {
    pooling: Pooling,
    temperature: Temperature,
    smooth: f64,
    absent: AbsentClass,
    classes: ClassOptions,
    activation: Option<Activation>,
}

impl Default for LogRecall {
    fn default() -> Self {
        Self {
            pooling: Pooling::Batch,
            temperature: Temperature::ONE,
            smooth: 0.0,
            absent: AbsentClass::Zero,
            classes: ClassOptions::default(),
            activation: None,
        }
    }
}

impl LogRecall {
    /// Pooled over the batch, not smoothed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Pixels added to I and T.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`] unless finite and ≥ 0.
    pub fn smooth(mut self, pixels: f64) -> Result<Self, LossError> {
        self.smooth = pixels;
        self.check().map(|()| self)
    }

    fn mean(&self, truth: &InsideTruth) -> ClassMean {
        let truth = truth.under(self.activation);
        let target = self.pooling.regions(truth.target_size());
        let inside = self.pooling.regions(truth.intersection(self.temperature));
        let score = RatioScore { numerator: inside, denominator: target.clone(), covered: target.clone() };
        let score = score.smoothed(self.smooth, self.smooth).score();
        let valid = self.pooling.samples(truth.valid_size());
        ClassMean::new(Form::Log.of(&score, self.smooth), &target, &target, &valid, self.absent, &self.classes)
    }
}

setters!(LogRecall []: pooling temperature absent classes class_weights activation);

impl GroundTruthMatching for LogRecall {
    fn matching(&self, truth: &InsideTruth) -> Expr<Scalar> {
        self.mean(truth).value()
    }

    fn elements(&self, truth: &InsideTruth) -> Option<Expr<Regions>> {
        Some(self.mean(truth).elements)
    }

    /// All matching: it is what Dice's matching part is.
    fn decompose(&self, regions: &AllRegions) -> Option<Decomposition> {
        Some(Decomposition::matching(self.matching(&regions.inside())))
    }

    crate::spec::describe::described!();
}

impl Describe for LogRecall {
    const NAME: &'static str = "log_recall";
    const SUMMARY: &'static str = "The matching part of Dice, Tversky and Jaccard by itself";
    const FORMULA: &'static str = "mean_k -log((I + s)/(T + s)); -log(max(I/max(T, 1e-7), 1e-7)) if s = 0";

    fn visit(&mut self, visitor: &mut Visitor<'_>) -> Result<(), LossError> {
        visitor.option("smooth", "pixels added to I and T", &mut self.smooth)?;
        visitor.option("pooling", "over what I and T are summed", &mut self.pooling)?;
        visitor.option("temperature", "temperature of the probabilities", &mut self.temperature)?;
        visitor.option("absent", "what a class without a true pixel contributes", &mut self.absent)?;
        visitor.option("classes", "which classes count", &mut self.classes.only)?;
        visitor.option("class_weights", "weight of each class", &mut self.classes.weights)?;
        visitor.option("activation", "the loss's own, or another", &mut self.activation)
    }

    fn check(&self) -> Result<(), LossError> {
        require_smoothing(Self::NAME, "smooth", self.smooth)?;
        self.classes.check(Self::NAME)
    }

    fn into_term(self) -> Term {
        Term::Matching(std::sync::Arc::new(self))
    }
}
