use super::ratio::{Masses, Ratio, RatioOptions, RatioScore, overlap_term, ratio_term};
use crate::LossError;
use crate::options::require;
use crate::spec::describe::{Describe, Visitor};
use crate::term::Term;

/// Tversky: `I/(I + α(P−I) + β(T−I))`, as `1 − score` or `−log(score)`, averaged over
/// classes.
///
/// α weighs false positives, β false negatives; α = β = ½ is [`Dice`](super::Dice), α = β =
/// 1 is [`Jaccard`](super::Jaccard). Its size part is `log(((1−α−β)I + αP + βT)/T)`, free
/// of I when α + β = 1. Pooling, floors and absent classes as for Dice.
///
/// Source: Salehi et al., arXiv 1706.05721, equation 3.
///
/// ```
/// use loss_core::{overlap, overlap::Tversky};
/// let loss = overlap(Tversky::new().alpha(0.3)?.beta(0.7)?);
/// assert_eq!(loss.to_string(), "tversky(alpha=0.3, beta=0.7)");
/// assert!(Tversky::new().alpha(-0.1).is_err());
/// # Ok::<(), loss_core::LossError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tversky {
    options: RatioOptions,
    alpha: f64,
    beta: f64,
}

impl Default for Tversky {
    fn default() -> Self {
        Self { options: RatioOptions::default(), alpha: 0.5, beta: 0.5 }
    }
}

impl Tversky {
    /// α = β = ½, which is Dice.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Weight of false positives.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`] outside `[0, 10]`, or where β is 0 too.
    pub fn alpha(mut self, alpha: f64) -> Result<Self, LossError> {
        self.alpha = alpha;
        self.check().map(|()| self)
    }

    /// Weight of false negatives.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`] outside `[0, 10]`, or where α is 0 too.
    pub fn beta(mut self, beta: f64) -> Result<Self, LossError> {
        self.beta = beta;
        self.check().map(|()| self)
    }
}

impl Ratio for Tversky {
    fn options(&self) -> &RatioOptions {
        &self.options
    }

    fn ratio(&self, masses: &Masses) -> RatioScore {
        let both = masses.both.clone();
        let false_positives = masses.predicted.clone() - both.clone();
        let false_negatives = masses.target.clone() - both.clone();
        let denominator = both.clone() + self.alpha * false_positives + self.beta * false_negatives;
        RatioScore { numerator: both, denominator, covered: masses.target.clone() }
    }
}

ratio_term!(Tversky);

impl Describe for Tversky {
    const NAME: &'static str = "tversky";
    const SUMMARY: &'static str = "Tversky: Dice with separate weights for false positives and false negatives";
    const FORMULA: &'static str = "mean_k 1 - S or -log(S), S = (I + s)/(I + α(P-I) + β(T-I) + s'); floors of 1e-7 as dice's";

    fn visit(&mut self, visitor: &mut Visitor<'_>) -> Result<(), LossError> {
        visitor.option("alpha", "weight of false positives, 0 to 10", &mut self.alpha)?;
        visitor.option("beta", "weight of false negatives, 0 to 10", &mut self.beta)?;
        self.options.visit(visitor)
    }

    fn check(&self) -> Result<(), LossError> {
        for (option, value) in [("alpha", self.alpha), ("beta", self.beta)] {
            require((0.0..=10.0).contains(&value), Self::NAME, option, value, "a number in [0, 10]")?;
        }
        require(self.alpha + self.beta > 0.0, Self::NAME, "beta", self.beta, "a number above 0 where alpha is 0")?;
        self.options.check(Self::NAME)
    }

    fn into_term(self) -> Term {
        overlap_term(self)
    }
}
