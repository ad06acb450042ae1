use super::ratio::{Masses, Ratio, RatioOptions, RatioScore, overlap_term, ratio_term};
use crate::options::{Form, out_of_range};
use crate::spec::describe::{Describe, Visitor};
use crate::term::Term;
use crate::{LossError, Temperature};

/// Dice: `D_k = 2I_k/(P_k + T_k)`, as `1 − D` or `−log D`, averaged over classes.
///
/// Defaults are the authors': masses pooled over the batch and no smoothing; a class without a true
/// pixel contributes 0 and still counts in the mean. With `squared` the denominator is
/// `Σp² + Σy²` (V-Net). Where no pixel is valid it is 0.
///
/// `smooth` adds pixels to numerator and denominator, so that a perfect prediction, and a class
/// that is neither true nor predicted, scores 1; `smooth_numerator` and `smooth_denominator` add to
/// one of them. Floors stand only where nothing is smoothed: without pixels in the denominator it
/// is at least 1e-7, without pixels in the numerator the score inside the logarithm is.
///
/// Hidden in it is a size penalty that always shrinks regions (Liu et al., arXiv 2104.08717,
/// section 3): `−log D = −log(I/T) [matching] + log(p̂ + t̂) [size] − log(2t̂)
/// [constant]`, exactly; the gradient of the linear form is D times that of the logarithmic one, so
/// it has the same two parts.
///
/// Sources: Milletari et al., arXiv 1606.04797 (squared); Drozdzal et al., arXiv 1608.04117.
///
/// ```
/// use loss_core::{overlap, overlap::Dice};
/// let foreground = overlap(Dice::log().classes(&[1, 2])?);
/// assert_eq!(foreground.to_string(), "dice(form=log, classes=[1, 2])");
/// # Ok::<(), loss_core::LossError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dice {
    options: RatioOptions,
    squared: bool,
}

impl Dice {
    /// `1 − D`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `−log D`.
    #[must_use]
    pub fn log() -> Self {
        Self::new().form(Form::Log)
    }

    /// Whether the denominator has squares: `Σp² + Σy²`.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`] for `true` at another temperature than 1.
    pub fn squared(mut self, squared: bool) -> Result<Self, LossError> {
        self.squared = squared;
        self.check().map(|()| self)
    }
}

impl Ratio for Dice {
    fn options(&self) -> &RatioOptions {
        &self.options
    }

    fn ratio(&self, masses: &Masses) -> RatioScore {
        let denominator = if self.squared { masses.squares.clone() } else { masses.predicted.clone() + masses.target.clone() };
        RatioScore { numerator: 2.0 * masses.both.clone(), denominator, covered: 2.0 * masses.target.clone() }
    }
}

ratio_term!(Dice);

impl Describe for Dice {
    const NAME: &'static str = "dice";
    const SUMMARY: &'static str = "Dice, linear or logarithmic";
    const FORMULA: &'static str = "mean_k 1 - D or -log(D), D = (2I + s)/(P + T + s'); P + T >= 1e-7 if s' = 0, D >= 1e-7 in the log if s = 0; \
         -log D = -log(I/T) + log(p̂ + t̂) - log(2t̂)";

    fn visit(&mut self, visitor: &mut Visitor<'_>) -> Result<(), LossError> {
        self.options.visit(visitor)?;
        visitor.option("squared", "squares in the denominator", &mut self.squared)
    }

    fn check(&self) -> Result<(), LossError> {
        if self.squared && self.options.temperature != Temperature::ONE {
            return Err(out_of_range(Self::NAME, "squared", "true".into(), "false at another temperature than 1"));
        }
        self.options.check(Self::NAME)
    }

    fn into_term(self) -> Term {
        overlap_term(self)
    }
}
