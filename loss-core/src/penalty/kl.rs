use super::proportions::{ProportionOptions, proportion_term};
use crate::expr::{Expr, Regions, Scalar};
use crate::spec::describe::{Describe, Visitor};
use crate::term::Term;
use crate::{Activation, LossError, RegionSizes};

/// KL size penalty: the mean over samples of `KL(t‖p̂(τ)) = Σ_k t_k log(t_k/p̂_k(τ))`.
///
/// Summed over classes, where [`L1`](super::L1) takes the mean. So class weights c multiply,
/// `Σ_k c_k t_k log(t_k/p̂_k)`, and are not divided by their sum as L1's are. Under sigmoid every
/// channel is a two-class problem, so each adds its background's part
/// `(1−t) log((1−t)/(1−p̂))`; `background(false)` leaves it out. Over all classes,
/// unweighted and with the background's part, it is at least ½‖p̂ − t‖₁² (Pinsker; under
/// sigmoid, of each channel's two classes) and 0 only where all sizes agree. Without that part, or
/// over some of the classes of a softmax, neither holds, and it can be negative. The arguments of
/// logarithms are floored at 1e-30; `t = 0` gives 0.
///
/// Source: Liu et al., arXiv 2104.08717, equation 13, and the authors' settings.
///
/// ```
/// use loss_core::{penalty, penalty::Kl};
/// assert_eq!(penalty(Kl::new().temperature(1.0)?).to_string(), "kl(temperature=1)");
/// # Ok::<(), loss_core::LossError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Kl {
    options: ProportionOptions,
    background: bool,
}

impl Default for Kl {
    fn default() -> Self {
        Self { options: ProportionOptions::default(), background: true }
    }
}

impl Kl {
    /// Whether a sigmoid channel adds its background's part.
    #[must_use]
    pub fn background(mut self, background: bool) -> Self {
        self.background = background;
        self
    }

    fn per_region(&self, sizes: &RegionSizes) -> Expr<Regions> {
        let p = self.options.proportions(sizes);
        let part = |wanted: &Expr<Regions>, predicted: &Expr<Regions>| wanted.clone() * (wanted.ln() - predicted.ln());
        let region = part(&p.wanted, &p.predicted);
        let sigmoid = sizes.under(self.options.activation).activation() == Activation::Sigmoid;
        p.where_valid(if self.background && sigmoid { region + part(&p.wanted_outside, &p.predicted_outside) } else { region })
    }

    fn reduce(&self, elements: &Expr<Regions>) -> Expr<Scalar> {
        (self.options.classes.expr() * elements.clone()).sum_classes().mean_samples()
    }
}

proportion_term!(Kl);

impl Describe for Kl {
    const NAME: &'static str = "kl";
    const SUMMARY: &'static str = "Kullback-Leibler divergence of predicted from wanted proportions";
    const FORMULA: &'static str = "mean_n Σ_k t_k log(t_k / p̂_k(τ)), p̂ = (P(τ) + ε)/(M + ε); sigmoid: + (1-t) log((1-t)/(1-p̂))";

    fn visit(&mut self, visitor: &mut Visitor<'_>) -> Result<(), LossError> {
        self.options.visit(visitor)?;
        visitor.option("background", "whether a sigmoid channel adds its background's part", &mut self.background)
    }

    fn check(&self) -> Result<(), LossError> {
        self.options.check(Self::NAME)
    }

    fn into_term(self) -> Term {
        Term::Size(std::sync::Arc::new(self))
    }
}
