//! What Dice, Tversky, Jaccard and recall share: a ratio of masses per class, its form, its split
//! and its mean.

use crate::expr::{Expr, Regions, Samples, Scalar};
use crate::options::{AbsentClass, ClassOptions, Form, Pooling, require, require_smoothing};
use crate::spec::describe::Visitor;
use crate::term::Term;
use crate::{Activation, AllRegions, Decomposition, LossError, SplitOf, Temperature};

/// A score per class, `numerator / denominator`, before smoothing.
pub(crate) struct RatioScore {
    pub(crate) numerator: Expr<Regions>,
    pub(crate) denominator: Expr<Regions>,
    /// The numerator of a prediction that covers the true region (I = T).
    pub(crate) covered: Expr<Regions>,
}

impl RatioScore {
    /// Adds pixels to numerator and denominator. What nothing is added to has a floor instead:
    /// smoothing of any size is honoured.
    pub(crate) fn smoothed(self, numerator: f64, denominator: f64) -> Self {
        let floored = |mass: Expr<Regions>, pixels| if pixels > 0.0 { mass + pixels } else { mass.max(Form::FLOOR) };
        Self {
            numerator: self.numerator + numerator,
            denominator: floored(self.denominator, denominator),
            covered: floored(self.covered, numerator),
        }
    }

    pub(crate) fn score(&self) -> Expr<Regions> {
        self.numerator.clone() / self.denominator.clone()
    }
}

/// Values per class, and how they are averaged.
pub(crate) struct ClassMean {
    /// Zero for classes that contribute nothing.
    pub(crate) elements: Expr<Regions>,
    /// c_k for each class that counts.
    counted: Expr<Regions>,
}

impl ClassMean {
    /// The denominator is the score's before smoothing: at its floor there is nothing to score.
    pub(crate) fn new(
        values: Expr<Regions>,
        denominator: &Expr<Regions>,
        target: &Expr<Regions>,
        valid: &Expr<Samples>,
        absent: AbsentClass,
        classes: &ClassOptions,
    ) -> Self {
        let weights: Expr<Regions> = classes.expr().broadcast();
        let present = target.positive();
        let scored = || valid.positive().broadcast();
        let (contributes, counted) = match absent {
            AbsentClass::Zero => (present, weights),
            AbsentClass::Skip => (present.clone(), weights * present),
            AbsentClass::SkipEmpty => (scored(), weights * (denominator.clone() - Form::FLOOR).positive()),
            AbsentClass::Count => (scored(), weights),
        };
        Self { elements: values * contributes, counted }
    }

    /// Σ_k c_k v_k / Σ_k c_k per sample; then the mean over samples.
    pub(crate) fn of(&self, elements: &Expr<Regions>) -> Expr<Scalar> {
        (self.counted.clone() * elements.clone()).sum_classes().ratio(&self.counted.sum_classes()).mean_samples()
    }

    pub(crate) fn value(&self) -> Expr<Scalar> {
        self.of(&self.elements)
    }
}

/// Options of every term that is a ratio per class.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RatioOptions {
    pub(crate) form: Form,
    pub(crate) pooling: Pooling,
    /// Of both; then the two are 0.
    pub(crate) smooth: f64,
    pub(crate) smooth_numerator: f64,
    pub(crate) smooth_denominator: f64,
    pub(crate) temperature: Temperature,
    pub(crate) absent: AbsentClass,
    pub(crate) classes: ClassOptions,
    pub(crate) activation: Option<Activation>,
}

impl Default for RatioOptions {
    fn default() -> Self {
        Self {
            form: Form::Linear,
            pooling: Pooling::Batch,
            smooth: 0.0,
            smooth_numerator: 0.0,
            smooth_denominator: 0.0,
            temperature: Temperature::ONE,
            absent: AbsentClass::Zero,
            classes: ClassOptions::default(),
            activation: None,
        }
    }
}

/// A score per class of the pooled masses: all that differs between Dice, Tversky and Jaccard.
pub(crate) trait Ratio {
    fn options(&self) -> &RatioOptions;

    /// The score of masses that are pooled already.
    fn ratio(&self, masses: &Masses) -> RatioScore;

    fn masses(&self, regions: &AllRegions) -> Masses {
        let options = self.options();
        let regions = regions.under(options.activation);
        let pool = |statistic| options.pooling.regions(statistic);
        let temperature = options.temperature;
        Masses {
            valid: options.pooling.samples(regions.valid_size()),
            target: pool(regions.target_size()),
            predicted: pool(regions.sizes().predicted_size(temperature)),
            both: pool(regions.inside().intersection(temperature)),
            squares: pool(regions.squared_mass() + regions.squared_target()),
        }
    }

    fn smoothed(&self, masses: &Masses) -> RatioScore {
        let [numerator, denominator] = self.options().smoothing();
        self.ratio(masses).smoothed(numerator, denominator)
    }

    fn form(&self, form: Form, score: &RatioScore) -> Expr<Regions> {
        let [numerator, _] = self.options().smoothing();
        form.of(&score.score(), numerator)
    }

    fn mean(&self, regions: &AllRegions) -> ClassMean {
        let masses = self.masses(regions);
        let score = self.smoothed(&masses);
        self.average(&masses, self.form(self.options().form, &score))
    }

    fn average(&self, masses: &Masses, values: Expr<Regions>) -> ClassMean {
        let (options, score) = (self.options(), self.ratio(masses));
        ClassMean::new(values, &score.denominator, &masses.target, &masses.valid, options.absent, &options.classes)
    }

    /// −log(score) = −log(numerator / covered) [matching] + log(denominator / M) [size] −
    /// log(covered / M) [constant], where `covered` is the numerator at I = T. Where the score is
    /// below its floor, the matching part is what remains.
    fn split(&self, regions: &AllRegions) -> Decomposition {
        let masses = self.masses(regions);
        let score = self.smoothed(&masses);
        let size = score.denominator.ratio(&masses.valid).ln();
        let constant = -score.covered.ratio(&masses.valid).ln();
        let whole = self.form(Form::Log, &score);
        let matching = whole - size.clone() - constant.clone();
        let mean = |values| self.average(&masses, values).value();
        let of = if self.options().form == Form::Log { SplitOf::Value } else { SplitOf::Logarithm };
        Decomposition { matching: mean(matching), size: mean(size), constant: mean(constant), of }
    }
}

/// Pooled masses.
pub(crate) struct Masses {
    pub(crate) valid: Expr<Samples>,
    pub(crate) target: Expr<Regions>,
    pub(crate) predicted: Expr<Regions>,
    pub(crate) both: Expr<Regions>,
    pub(crate) squares: Expr<Regions>,
}

/// What `smooth` has to be beside the options that it stands for.
const BOTH: &str = "neither smooth_numerator nor smooth_denominator beside it: it is both";

impl RatioOptions {
    /// Pixels added to numerator and denominator.
    fn smoothing(&self) -> [f64; 2] {
        [self.smooth_numerator + self.smooth, self.smooth_denominator + self.smooth]
    }

    pub(crate) fn visit(&mut self, visitor: &mut Visitor<'_>) -> Result<(), LossError> {
        visitor.option("form", "1 - score, or -log(score)", &mut self.form)?;
        visitor.option("pooling", "over what masses are summed before the score", &mut self.pooling)?;
        visitor.alone("smooth", &["smooth_numerator", "smooth_denominator"], BOTH)?;
        visitor.option("smooth", "pixels added to both, so that a perfect or empty class scores 1", &mut self.smooth)?;
        visitor.option("smooth_numerator", "pixels added to the numerator", &mut self.smooth_numerator)?;
        visitor.option("smooth_denominator", "pixels added to the denominator", &mut self.smooth_denominator)?;
        visitor.option("temperature", "temperature of the probabilities", &mut self.temperature)?;
        visitor.option("absent", "what a class without a true pixel contributes", &mut self.absent)?;
        visitor.option("classes", "which classes count", &mut self.classes.only)?;
        visitor.option("class_weights", "weight of each class", &mut self.classes.weights)?;
        visitor.option("activation", "the loss's own, or another", &mut self.activation)
    }

    pub(crate) fn check(&self, term: &'static str) -> Result<(), LossError> {
        let apart = [("smooth_numerator", self.smooth_numerator), ("smooth_denominator", self.smooth_denominator)];
        for (option, value) in apart.into_iter().chain([("smooth", self.smooth)]) {
            require_smoothing(term, option, value)?;
        }
        require(self.smooth == 0.0 || apart.iter().all(|(_, value)| *value == 0.0), term, "smooth", self.smooth, BOTH)?;
        self.classes.check(term)
    }
}

/// The setters and trait implementations that every ratio term has.
macro_rules! ratio_term {
    ($type:ident) => {
        $crate::options::setters! {
            $type [options]:
            form pooling smooth smooth_numerator smooth_denominator temperature absent classes class_weights activation
        }

        impl $crate::Overlap for $type {
            fn overlap(&self, regions: &$crate::AllRegions) -> $crate::expr::Expr<$crate::expr::Scalar> {
                self.mean(regions).value()
            }

            fn elements(&self, regions: &$crate::AllRegions) -> Option<$crate::expr::Expr<$crate::expr::Regions>> {
                Some(self.mean(regions).elements)
            }

            fn decompose(&self, regions: &$crate::AllRegions) -> $crate::Decomposition {
                self.split(regions)
            }

            $crate::spec::describe::described!();
        }
    };
}
pub(crate) use ratio_term;

/// A ratio term in its role.
pub(crate) fn overlap_term(term: impl crate::Overlap) -> Term {
    Term::Overlap(std::sync::Arc::new(term))
}
