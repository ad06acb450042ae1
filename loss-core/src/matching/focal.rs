use crate::expr::{Expr, PixelFunction, Regions, Samples, Scalar};
use crate::options::{ClassOptions, Pooling, require, setters};
use crate::spec::describe::{Describe, Visitor};
use crate::term::Term;
use crate::{Activation, GroundTruthMatching, InsideTruth, LossError, Side};

/// Focal loss: Cross-Entropy in which a pixel counts the less, the better it is predicted:
/// `φ(log p) = −(1−p)^γ log p`.
///
/// One-vs-all sigmoid on every channel's logit by default, as in the authors' experiments, whatever
/// the activation of the loss: the mean over valid pixels, summed over channels, of
/// `α·y·φ(log p) + (1−α)·(1−y)·φ(log(1−p))` (without α, both factors are 1).
/// Softmax: the mean over valid pixels of `φ(log p_y)`; with class weights c the divisor is
/// `Σ_k c_k T_k`.
///
/// Stable for saturated logits: `1−p` is `−expm1(log p)`, so that it does not cancel. Where no
/// pixel is valid it is 0.
///
/// Source: Lin et al., "Focal Loss for Dense Object Detection", arXiv 1708.02002, equations 4 and
/// 5.
///
/// ```
/// use loss_core::{Activation, matching, matching::Focal};
/// let loss = matching(Focal::new().gamma(1.5)?.activation(Activation::Softmax));
/// assert_eq!(loss.to_string(), "focal(gamma=1.5, activation=softmax)");
/// # Ok::<(), loss_core::LossError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Focal {
    gamma: f64,
    alpha: Option<f64>,
    classes: ClassOptions,
    pooling: Pooling,
    activation: Option<Activation>,
}

impl Default for Focal {
    fn default() -> Self {
        let activation = Some(Activation::Sigmoid);
        Self { gamma: 2.0, alpha: None, classes: ClassOptions::default(), pooling: Pooling::Batch, activation }
    }
}

impl Focal {
    /// γ = 2, no α, one-vs-all sigmoid.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How quickly well-predicted pixels fade; 0 is Cross-Entropy.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`] outside `[0, 100]`.
    pub fn gamma(mut self, gamma: f64) -> Result<Self, LossError> {
        self.gamma = gamma;
        self.check().map(|()| self)
    }

    /// Weight of the true region against its background, whose weight is `1 − α`. Only for
    /// sigmoid.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`] outside `[0, 1]`; [`LossError::NotForActivation`] under
    /// softmax, when the loss meets its logits.
    pub fn alpha(mut self, alpha: f64) -> Result<Self, LossError> {
        self.alpha = Some(alpha);
        self.check().map(|()| self)
    }

    fn contributions(&self, truth: &InsideTruth) -> Expr<Regions> {
        let truth = truth.under(self.activation);
        let gamma = self.gamma;
        let function = PixelFunction::new(|log_p| -((-log_p.exp_m1()).powf(gamma) * log_p));
        let weights = self.classes.expr();
        let valid = self.pooling.samples(truth.valid_size());
        let region = truth.pixel_sum(&function, Side::Region);
        let (sum, divisor): (Expr<Regions>, Expr<Samples>) = match (truth.activation(), &self.classes.weights) {
            (Activation::Softmax, None) => (region, valid),
            (Activation::Softmax, Some(_)) => {
                (region, (weights.clone() * self.pooling.regions(truth.target_size())).sum_classes())
            }
            (Activation::Sigmoid, _) => {
                let (inside, outside) = self.alpha.map_or((1.0, 1.0), |alpha| (alpha, 1.0 - alpha));
                (inside * region + outside * truth.pixel_sum(&function, Side::Background), valid)
            }
        };
        (weights * sum).ratio(&divisor)
    }
}

setters!(Focal []: pooling class_weights activation);

impl GroundTruthMatching for Focal {
    fn matching(&self, truth: &InsideTruth) -> Expr<Scalar> {
        self.pooling.total(&self.contributions(truth))
    }

    fn elements(&self, truth: &InsideTruth) -> Option<Expr<Regions>> {
        Some(self.contributions(truth))
    }

    fn fits(&self, _classes: usize, activation: Activation) -> Result<(), LossError> {
        let activation = self.activation.unwrap_or(activation);
        match (activation, self.alpha) {
            (Activation::Softmax, Some(_)) => {
                Err(LossError::NotForActivation { term: Self::NAME, option: "alpha", activation })
            }
            _ => Ok(()),
        }
    }

    crate::spec::describe::described!();
}

impl Describe for Focal {
    const NAME: &'static str = "focal";
    const SUMMARY: &'static str = "Focal loss: well-predicted pixels count less; one-vs-all sigmoid by default";
    const FORMULA: &'static str =
        "(1/M) Σ_k [α Σ y φ(log p) + (1-α) Σ (1-y) φ(log(1-p))], φ(l) = -(1-e^l)^γ l; softmax: (1/M) Σ φ(log p_y)";

    fn visit(&mut self, visitor: &mut Visitor<'_>) -> Result<(), LossError> {
        visitor.option("gamma", "how quickly well-predicted pixels fade, 0 to 100", &mut self.gamma)?;
        visitor.option("alpha", "weight of the region against its background (sigmoid), 0 to 1", &mut self.alpha)?;
        visitor.option("class_weights", "weight of each class", &mut self.classes.weights)?;
        visitor.option("pooling", "mean over the batch's pixels, or over samples of their means", &mut self.pooling)?;
        visitor.option("activation", "one-vs-all sigmoid, softmax, or the loss's own", &mut self.activation)
    }

    fn check(&self) -> Result<(), LossError> {
        require((0.0..=100.0).contains(&self.gamma), Self::NAME, "gamma", self.gamma, "a number in [0, 100]")?;
        if let Some(alpha) = self.alpha {
            require((0.0..=1.0).contains(&alpha), Self::NAME, "alpha", alpha, "a number in [0, 1]")?;
        }
        self.classes.check(Self::NAME)
    }

    fn into_term(self) -> Term {
        Term::Matching(std::sync::Arc::new(self))
    }
}
