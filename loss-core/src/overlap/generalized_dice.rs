use super::ratio::overlap_term;
use crate::expr::{Expr, Regions, Samples, Scalar};
use crate::options::{ClassOptions, Form, Pooling, setters};
use crate::spec::describe::{Describe, Visitor};
use crate::spec::value::words;
use crate::term::Term;
use crate::{Activation, AllRegions, Decomposition, LossError, Overlap, Side, SplitOf, Temperature};

/// Weight of a class in [`GeneralizedDice`], from its true size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionWeight {
    /// `1/max(T², 1e-7)`
    Square,
    /// `1/max(T, 1e-7)`
    Simple,
    /// 1
    Uniform,
}

words!(RegionWeight, "square, simple or uniform":
    "square" => RegionWeight::Square, "simple" => RegionWeight::Simple, "uniform" => RegionWeight::Uniform);

/// Generalised Dice: one score for all classes, weighted by the inverse square of their true sizes:
/// `1 − 2 Σ_k w_k I_k / Σ_k max(w_k (P_k + T_k), 1e-7)`.
///
/// Sigmoid probabilities by default, as in the authors' experiments, pooled over the batch; a
/// single sigmoid channel is doubled into `(p, 1−p)`. A class absent from the target has weight
/// 1e7 (1/1e-7): it dominates, as it does for the authors; leave it out with
/// [`classes`](Self::classes), or use another weight. Where no pixel is valid the loss is 0.
///
/// With squares `w (P + T)` is about `2/T`: from 2·10⁷ pixels of a class on, which a batch of
/// volumes can have, it is below the floor, and even a perfect prediction costs something. Take
/// [`RegionWeight::Simple`] there.
///
/// It splits like Dice, with the same weights inside: matching `−log(Σ w I / Σ w T)`, size
/// `log Σ w (p̂ + t̂)`, constant `−log 2Σ w t̂`.
///
/// Source: Sudre et al., arXiv 1707.03237, equation 4.
///
/// ```
/// use loss_core::{overlap, overlap::{GeneralizedDice, RegionWeight}};
/// let loss = overlap(GeneralizedDice::new().weighting(RegionWeight::Simple));
/// assert_eq!(loss.to_string(), "gdice(weighting=simple)");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct GeneralizedDice {
    form: Form,
    pooling: Pooling,
    weighting: RegionWeight,
    classes: ClassOptions,
    activation: Option<Activation>,
}

impl Default for GeneralizedDice {
    fn default() -> Self {
        Self {
            form: Form::Linear,
            pooling: Pooling::Batch,
            weighting: RegionWeight::Square,
            classes: ClassOptions::default(),
            activation: Some(Activation::Sigmoid),
        }
    }
}

impl GeneralizedDice {
    /// Inverse squares, sigmoid, pooled over the batch, linear.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Weight of a class from its true size.
    #[must_use]
    pub fn weighting(mut self, weighting: RegionWeight) -> Self {
        self.weighting = weighting;
        self
    }

    /// Σ w I, Σ max(w (P + T), 1e-7), Σ w T and M, each pooled.
    fn sums(&self, regions: &AllRegions) -> [Expr<Samples>; 4] {
        let regions = regions.under(self.activation);
        let (truth, sizes) = (regions.inside(), regions.sizes());
        let pool = |statistic: Expr<Regions>| self.pooling.regions(statistic);
        let counted = self.classes.expr();
        let doubled = regions.classes() == 1 && regions.activation() == Activation::Sigmoid;
        let sides = if doubled { truth.sides() } else { &[Side::Region] };
        let mut sums: Option<[Expr<Samples>; 3]> = None;
        for &side in sides {
            let target = pool(truth.target_size_on(side));
            let predicted = pool(sizes.predicted_size_on(side, Temperature::ONE));
            let both = pool(truth.intersection_on(side, Temperature::ONE));
            let weight = match self.weighting {
                RegionWeight::Square => 1.0 / target.squared().max(Form::FLOOR),
                RegionWeight::Simple => 1.0 / target.max(Form::FLOOR),
                RegionWeight::Uniform => Expr::constant(1.0),
            };
            let sum = |mass: Expr<Regions>| (counted.clone() * mass).sum_classes();
            let masses = (weight.clone() * (predicted + target.clone())).max(Form::FLOOR);
            let these = [sum(weight.clone() * both), sum(masses), sum(weight * target)];
            sums = Some(match sums {
                None => these,
                Some([a, b, c]) => {
                    let [x, y, z] = these;
                    [a + x, b + y, c + z]
                }
            });
        }
        let zero = || Expr::constant(0.0);
        let [both, masses, targets] = sums.unwrap_or_else(|| [zero(), zero(), zero()]);
        [both, masses, targets, self.pooling.samples(regions.valid_size())]
    }
}

setters!(GeneralizedDice []: form pooling classes activation);

impl Overlap for GeneralizedDice {
    fn overlap(&self, regions: &AllRegions) -> Expr<Scalar> {
        let [both, masses, _, valid] = self.sums(regions);
        (self.form.of(&(2.0 * both).ratio(&masses), 0.0) * valid.positive()).mean_samples()
    }

    fn decompose(&self, regions: &AllRegions) -> Decomposition {
        let [both, masses, targets, valid] = self.sums(regions);
        let size = masses.ratio(&valid).ln();
        let constant = -(2.0 * targets).max(Form::FLOOR).ratio(&valid).ln();
        let matching = Form::Log.of(&(2.0 * both).ratio(&masses), 0.0) - size.clone() - constant.clone();
        let mean = |values: Expr<Samples>| (values * valid.positive()).mean_samples();
        let of = if self.form == Form::Log { SplitOf::Value } else { SplitOf::Logarithm };
        Decomposition { matching: mean(matching), size: mean(size), constant: mean(constant), of }
    }

    crate::spec::describe::described!();
}

impl Describe for GeneralizedDice {
    const NAME: &'static str = "gdice";
    const SUMMARY: &'static str = "Generalised Dice: one score, classes weighted by their inverse squared size";
    const FORMULA: &'static str = "1 - G or -log(max(G, 1e-7)), G = 2 Σ_k w I / Σ_k max(w (P + T), 1e-7), w = 1/max(T², 1e-7)";

    fn visit(&mut self, visitor: &mut Visitor<'_>) -> Result<(), LossError> {
        visitor.option("form", "1 - score, or -log(score)", &mut self.form)?;
        visitor.option("pooling", "over what masses are summed before the score", &mut self.pooling)?;
        visitor.option("weighting", "weight of a class from its true size", &mut self.weighting)?;
        visitor.option("classes", "which classes count", &mut self.classes.only)?;
        visitor.option("activation", "one-vs-all sigmoid, softmax, or the loss's own", &mut self.activation)
    }

    fn check(&self) -> Result<(), LossError> {
        self.classes.check(Self::NAME)
    }

    fn into_term(self) -> Term {
        overlap_term(self)
    }
}
