use super::ratio::{Masses, Ratio, RatioOptions, RatioScore, overlap_term, ratio_term};
use crate::LossError;
use crate::spec::describe::{Describe, Visitor};
use crate::term::Term;

/// Jaccard (intersection over union): `I/(P + T − I)`, as `1 − score` or `−log(score)`,
/// averaged over classes.
///
/// Its size part is the logarithm of the union. Pooling, floors and absent classes as for
/// [`Dice`](super::Dice).
///
/// Source: Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image
/// Segmentation", ISVC 2016.
///
/// ```
/// use loss_core::{Pooling, overlap, overlap::Jaccard};
/// assert_eq!(overlap(Jaccard::new().pooling(Pooling::Sample)).to_string(), "jaccard(pooling=sample)");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Jaccard {
    options: RatioOptions,
}

impl Jaccard {
    /// `1 − score`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Ratio for Jaccard {
    fn options(&self) -> &RatioOptions {
        &self.options
    }

    fn ratio(&self, masses: &Masses) -> RatioScore {
        let denominator = masses.predicted.clone() + masses.target.clone() - masses.both.clone();
        RatioScore { numerator: masses.both.clone(), denominator, covered: masses.target.clone() }
    }
}

ratio_term!(Jaccard);

impl Describe for Jaccard {
    const NAME: &'static str = "jaccard";
    const SUMMARY: &'static str = "Jaccard, intersection over union";
    const FORMULA: &'static str = "mean_k 1 - S or -log(S), S = (I + s)/(P + T - I + s'); floors of 1e-7 as dice's";

    fn visit(&mut self, visitor: &mut Visitor<'_>) -> Result<(), LossError> {
        self.options.visit(visitor)
    }

    fn check(&self) -> Result<(), LossError> {
        self.options.check(Self::NAME)
    }

    fn into_term(self) -> Term {
        overlap_term(self)
    }
}
