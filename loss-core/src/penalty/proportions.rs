//! What the proportion penalties share: p̂(τ) = (P(τ) + ε)/(M + ε) against a target
//! proportion, and how it is averaged.

use crate::expr::{Expr, Regions, Samples, Scalar};
use crate::options::{ClassOptions, Pooling, out_of_range, require};
use crate::prior::distribution;
use crate::spec::describe::Visitor;
use crate::spec::value::{Misfit, OptionValue, Value};
use crate::{Activation, LossError, RegionSizes, Side, Temperature};

/// The proportions that predicted ones are drawn to.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum SizeTarget {
    /// Those of the image's own ground truth.
    #[default]
    Truth,
    /// One proportion per class, the same for every image; under softmax they sum to 1.
    Prior(Vec<f64>),
    /// One proportion per sample and class, or one per class for all samples, given with the target
    /// at each call.
    Given,
}

impl OptionValue for SizeTarget {
    const EXPECTED: &'static str = "truth, given, or a list of one proportion per class, [a, b, ..]";
    fn write(&self) -> Value {
        match self {
            Self::Truth => Value::Word("truth".into()),
            Self::Given => Value::Word("given".into()),
            Self::Prior(prior) => Value::List(prior.clone()),
        }
    }
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Word(word) if word == "truth" => Some(Self::Truth),
            Value::Word(word) if word == "given" => Some(Self::Given),
            Value::List(prior) => Some(Self::Prior(prior.clone())),
            _ => None,
        }
    }
    fn misfit(&self, classes: usize) -> Option<Misfit> {
        if let Self::Prior(prior) = self { Misfit::of_values(prior, classes) } else { None }
    }
}

/// Options of every proportion penalty.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProportionOptions {
    pub(crate) temperature: Temperature,
    pub(crate) pooling: Pooling,
    pub(crate) target: SizeTarget,
    pub(crate) epsilon: f64,
    pub(crate) classes: ClassOptions,
    pub(crate) activation: Option<Activation>,
}

impl Default for ProportionOptions {
    fn default() -> Self {
        Self {
            temperature: Temperature::TEN,
            pooling: Pooling::Sample,
            target: SizeTarget::Truth,
            epsilon: 1e-10,
            classes: ClassOptions::default(),
            activation: None,
        }
    }
}

/// Predicted and wanted proportion, on the region's side and outside of it.
pub(crate) struct Proportions {
    pub(crate) predicted: Expr<Regions>,
    pub(crate) wanted: Expr<Regions>,
    pub(crate) predicted_outside: Expr<Regions>,
    pub(crate) wanted_outside: Expr<Regions>,
    valid: Expr<Samples>,
}

impl Proportions {
    /// Nothing valid, nothing to penalise: also where a prior wants something.
    pub(crate) fn where_valid(&self, elements: Expr<Regions>) -> Expr<Regions> {
        elements * self.valid.positive()
    }
}

impl ProportionOptions {
    pub(crate) fn proportions(&self, sizes: &RegionSizes) -> Proportions {
        let sizes = sizes.under(self.activation);
        let epsilon = self.epsilon;
        let valid = self.pooling.samples(sizes.valid_size());
        let of =
            |size: Expr<Regions>| (self.pooling.regions(size) + epsilon) / (valid.clone() + epsilon).max(crate::expr::TINY);
        // 1 − (size + ε)/(M + ε), from the mass outside: there is no cancelling where nearly
        // all is inside.
        let outside = |size: Expr<Regions>| self.pooling.regions(size) / (valid.clone() + epsilon).max(crate::expr::TINY);
        let predicted_size = sizes.predicted_size(self.temperature);
        // Under softmax a class has no background of its own: the others are in the sum.
        let predicted_outside = match sizes.activation() {
            Activation::Sigmoid => outside(sizes.predicted_size_on(Side::Background, self.temperature)),
            Activation::Softmax => Expr::constant(0.0),
        };
        let (wanted, wanted_outside) = match &self.target {
            SizeTarget::Truth => (of(sizes.target_size()), outside(sizes.target_size_on(Side::Background))),
            SizeTarget::Prior(prior) => {
                let prior: Expr<Regions> = Expr::classes(prior).broadcast();
                (prior.clone(), 1.0 - prior)
            }
            SizeTarget::Given => {
                let given = match self.pooling {
                    Pooling::Sample => sizes.given(),
                    // Weighted by valid sizes, as pooled proportions are.
                    Pooling::Batch => self.pooling.regions(sizes.given() * sizes.valid_size()).ratio(&valid),
                };
                (given.clone(), 1.0 - given)
            }
        };
        Proportions { predicted: of(predicted_size), wanted, predicted_outside, wanted_outside, valid }
    }

    /// Σ_k c_k v_k / Σ_k c_k, then the mean over samples.
    pub(crate) fn mean(&self, elements: &Expr<Regions>) -> Expr<Scalar> {
        let weights = self.classes.expr();
        (weights.clone() * elements.clone()).sum_classes().ratio(&weights.sum_classes()).mean_samples()
    }

    pub(crate) fn visit(&mut self, visitor: &mut Visitor<'_>) -> Result<(), LossError> {
        visitor.option("temperature", "temperature of the predicted proportion", &mut self.temperature)?;
        visitor.option("pooling", "proportions of each sample, or of the batch", &mut self.pooling)?;
        visitor.option("target", "the ground truth's proportions, a prior, or those given per call", &mut self.target)?;
        visitor.option("epsilon", "pixels added to mass and valid pixels", &mut self.epsilon)?;
        visitor.option("classes", "which classes count", &mut self.classes.only)?;
        visitor.option("class_weights", "weight of each class", &mut self.classes.weights)?;
        visitor.option("activation", "the loss's own, or another", &mut self.activation)
    }

    pub(crate) fn check(&self, term: &'static str) -> Result<(), LossError> {
        let epsilon = self.epsilon;
        require((0.0..=1.0).contains(&epsilon), term, "epsilon", epsilon, "a number in [0, 1]")?;
        match &self.target {
            SizeTarget::Prior(prior) if prior.is_empty() || prior.iter().any(|p| !(0.0..=1.0).contains(p)) => {
                Err(out_of_range(term, "target", format!("{prior:?}"), "proportions in [0, 1], one per class"))
            }
            _ => self.classes.check(term),
        }
    }

    pub(crate) fn fits(&self, term: &'static str, activation: Activation) -> Result<(), LossError> {
        if let (Activation::Softmax, SizeTarget::Prior(prior)) = (self.activation.unwrap_or(activation), &self.target) {
            distribution(prior, || format!("{term}: target"))?;
        }
        Ok(())
    }
}

/// The setters that every proportion penalty has, and its role.
macro_rules! proportion_term {
    ($type:ident) => {
        impl $type {
            /// Against the image's own proportions, per sample, at temperature 10.
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }

            /// The proportions wanted.
            ///
            /// # Errors
            /// [`LossError::OptionOutOfRange`] for a prior outside `[0, 1]`; under softmax,
            /// [`LossError::PriorNotDistribution`] when the loss is first used.
            pub fn target(mut self, target: super::SizeTarget) -> Result<Self, LossError> {
                self.options.target = target;
                $crate::spec::describe::Describe::check(&self).map(|()| self)
            }

            /// Pixels added to mass and valid pixels, so that an empty region has a logarithm.
            ///
            /// # Errors
            /// [`LossError::OptionOutOfRange`] outside `[0, 1]`.
            pub fn epsilon(mut self, pixels: f64) -> Result<Self, LossError> {
                self.options.epsilon = pixels;
                $crate::spec::describe::Describe::check(&self).map(|()| self)
            }
        }

        $crate::options::setters!($type [options]: temperature pooling classes class_weights activation);

        impl $crate::RegionSizePenalty for $type {
            fn penalty(&self, sizes: &$crate::RegionSizes) -> $crate::expr::Expr<$crate::expr::Scalar> {
                self.reduce(&self.per_region(sizes))
            }

            fn elements(&self, sizes: &$crate::RegionSizes) -> Option<$crate::expr::Expr<$crate::expr::Regions>> {
                Some(self.per_region(sizes))
            }

            fn fits(&self, _classes: usize, activation: $crate::Activation) -> Result<(), LossError> {
                self.options.fits(<Self as $crate::spec::describe::Describe>::NAME, activation)
            }

            $crate::spec::describe::described!();
        }
    };
}
pub(crate) use proportion_term;
