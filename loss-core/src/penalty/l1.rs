use super::proportions::{ProportionOptions, proportion_term};
use crate::expr::{Expr, Regions, Scalar};
use crate::spec::describe::{Describe, Visitor};
use crate::term::Term;
use crate::{LossError, RegionSizes};

/// L1 size penalty: the mean over samples and classes of `|p̂_k(τ) − t_k|`.
///
/// `p̂(τ) = (P(τ) + ε)/(M + ε)` is the predicted proportion at temperature τ (10 by default),
/// t the image's own or a prior. It is 0 only where all sizes agree, and for a sample without a
/// valid pixel. With class weights c the mean over classes is `Σ c_k |…| / Σ c_k`.
///
/// Source: Liu et al., arXiv 2104.08717, equation 14, and the authors' settings.
///
/// ```
/// use loss_core::{penalty, penalty::{L1, SizeTarget}};
/// let loss = penalty(L1::new().target(SizeTarget::Prior(vec![0.9, 0.1]))?);
/// assert_eq!(loss.to_string(), "l1(target=[0.9, 0.1])");
/// # Ok::<(), loss_core::LossError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct L1 {
    options: ProportionOptions,
}

impl L1 {
    fn per_region(&self, sizes: &RegionSizes) -> Expr<Regions> {
        let p = self.options.proportions(sizes);
        p.where_valid((p.predicted.clone() - p.wanted.clone()).abs())
    }

    fn reduce(&self, elements: &Expr<Regions>) -> Expr<Scalar> {
        self.options.mean(elements)
    }
}

proportion_term!(L1);

impl Describe for L1 {
    const NAME: &'static str = "l1";
    const SUMMARY: &'static str = "Distance of predicted proportions from the wanted ones";
    const FORMULA: &'static str = "mean_n mean_k |p̂_k(τ) - t_k|, p̂ = (P(τ) + ε)/(M + ε)";

    fn visit(&mut self, visitor: &mut Visitor<'_>) -> Result<(), LossError> {
        self.options.visit(visitor)
    }

    fn check(&self) -> Result<(), LossError> {
        self.options.check(Self::NAME)
    }

    fn into_term(self) -> Term {
        Term::Size(std::sync::Arc::new(self))
    }
}
