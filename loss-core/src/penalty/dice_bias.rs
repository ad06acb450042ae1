use super::proportions::{ProportionOptions, proportion_term};
use crate::expr::{Expr, Regions, Scalar};
use crate::spec::describe::{Describe, Visitor};
use crate::term::Term;
use crate::{LossError, RegionSizes};

/// Dice's own size bias, by itself: the mean over samples and classes of
/// `log(p̂_k(τ) + t_k + ε)`.
///
/// For ablation: it grows with p̂ whatever the truth is, so it always shrinks regions, and its
/// values are negative. A sample without a valid pixel contributes 0.
///
/// Source: Liu et al., arXiv 2104.08717, section 3.
///
/// ```
/// use loss_core::{penalty, penalty::DiceBias};
/// assert_eq!(penalty(DiceBias::new().temperature(1.0)?).to_string(), "db(temperature=1)");
/// # Ok::<(), loss_core::LossError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiceBias {
    options: ProportionOptions,
}

impl DiceBias {
    fn per_region(&self, sizes: &RegionSizes) -> Expr<Regions> {
        let p = self.options.proportions(sizes);
        p.where_valid((p.predicted.clone() + p.wanted.clone() + self.options.epsilon).ln())
    }

    fn reduce(&self, elements: &Expr<Regions>) -> Expr<Scalar> {
        self.options.mean(elements)
    }
}

proportion_term!(DiceBias);

impl Describe for DiceBias {
    const NAME: &'static str = "db";
    const SUMMARY: &'static str = "Dice's own size bias, for ablation";
    const FORMULA: &'static str = "mean_n mean_k log(p̂_k(τ) + t_k + ε), p̂ = (P(τ) + ε)/(M + ε)";

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
