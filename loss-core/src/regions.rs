//! What each kind of term is handed: the views of the regions that make "matching" and "size" facts
//! the compiler checks.

use crate::expr::{Classes, Expr, Leaf, PixelFunction, Regions, Samples};
use crate::{Activation, Map, Probability, Side, Statistic, Temperature};

macro_rules! scene {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            activation: Activation,
            classes: usize,
            map: Option<Map>,
        }

        impl $name {
            fn statistic<A>(&self, statistic: Statistic) -> Expr<A> {
                Expr::leaf(Leaf::Statistic(Statistic { map: self.map.clone(), ..statistic }))
            }

            /// The same regions with every pixel and class multiplied by a map: T becomes Σ w φ
            /// y, P becomes Σ w φ p, and so on. M stays as it is: [`Self::map_size`] is Σ w φ.
            #[must_use]
            pub fn times(&self, map: &Map) -> Self {
                Self { map: Some(map.clone()), ..self.clone() }
            }

            /// Σ w φ over all valid pixels, for a map φ (`[N, K]`).
            #[must_use]
            pub fn map_size(&self, map: &Map) -> Expr<Regions> {
                Expr::leaf(Leaf::Statistic(Statistic::VALID_SIZE.times(map.clone())))
            }

            /// The activation in force: the loss's own, unless the term chose another.
            #[must_use]
            pub fn activation(&self) -> Activation {
                self.activation
            }

            /// Number of classes K.
            #[must_use]
            pub fn classes(&self) -> usize {
                self.classes
            }

            /// The same regions under another activation; `None` keeps the loss's own.
            #[must_use]
            pub fn under(&self, activation: Option<Activation>) -> Self {
                Self { activation: activation.unwrap_or(self.activation), ..self.clone() }
            }

            /// T: size of the true region (`[N, K]`).
            #[must_use]
            pub fn target_size(&self) -> Expr<Regions> {
                self.statistic(Statistic::TARGET_SIZE)
            }

            /// M: valid pixels, or their weight (`[N, 1]`).
            #[must_use]
            pub fn valid_size(&self) -> Expr<Samples> {
                Expr::leaf(Leaf::Statistic(Statistic::VALID_SIZE))
            }

            /// The two sides of each channel's problem under sigmoid, the region alone under
            /// softmax.
            #[must_use]
            pub fn sides(&self) -> &'static [Side] {
                match self.activation {
                    Activation::Softmax => &[Side::Region],
                    Activation::Sigmoid => &[Side::Region, Side::Background],
                }
            }

            /// Size of the true region on a side: T, or M − T.
            #[must_use]
            pub fn target_size_on(&self, side: Side) -> Expr<Regions> {
                match (side, &self.map) {
                    (Side::Region, _) => self.target_size(),
                    (Side::Background, None) => self.valid_size() - self.target_size(),
                    (Side::Background, Some(map)) => self.map_size(map) - self.target_size(),
                }
            }
        }
    )*};
}

scene! {
    /// What lies inside the true regions: all that a
    /// [`GroundTruthMatching`](crate::GroundTruthMatching) term can see.
    InsideTruth;
    /// Sizes, true and predicted: all that a [`RegionSizePenalty`](crate::RegionSizePenalty) can
    /// see.
    RegionSizes;
    /// Everything: what an [`Overlap`](crate::Overlap) is made of.
    AllRegions;
}

impl InsideTruth {
    /// I(τ): predicted mass inside the true region.
    #[must_use]
    pub fn intersection(&self, temperature: Temperature) -> Expr<Regions> {
        self.intersection_on(Side::Region, temperature)
    }

    /// Predicted mass inside the true region on a side; the background's, Σ (1 − y)(1 − p),
    /// exists under sigmoid.
    #[must_use]
    pub fn intersection_on(&self, side: Side, temperature: Temperature) -> Expr<Regions> {
        self.statistic(Statistic::intersection(Probability::new(self.activation, temperature, side)))
    }

    /// L: log-likelihood of the true region, Σ y log p, on a side.
    #[must_use]
    pub fn log_likelihood(&self, side: Side) -> Expr<Regions> {
        self.statistic(Statistic::log_likelihood(self.activation, side))
    }

    /// The log-likelihood of the target smoothed towards the uniform one: y' = (1 − e)·y + e/C,
    /// with C = K classes under softmax and C = 2 sides under sigmoid.
    #[must_use]
    pub fn smoothed_log_likelihood(&self, smoothing: f64, side: Side) -> Expr<Regions> {
        if smoothing == 0.0 {
            return self.log_likelihood(side);
        }
        let everywhere: Expr<Regions> = self.statistic(Statistic::log_mass(self.activation, side));
        (1.0 - smoothing) * self.log_likelihood(side) + smoothing / self.outcomes() * everywhere
    }

    /// Size of the smoothed true region; see [`Self::smoothed_log_likelihood`].
    #[must_use]
    pub fn smoothed_target_size(&self, smoothing: f64, side: Side) -> Expr<Regions> {
        (1.0 - smoothing) * self.target_size_on(side) + smoothing / self.outcomes() * self.valid_size()
    }

    fn outcomes(&self) -> f64 {
        match self.activation {
            Activation::Softmax => self.classes as f64,
            Activation::Sigmoid => 2.0,
        }
    }

    /// F: sum of a pixel function φ(log p) over the true region, Σ y φ(log p), on a side.
    #[must_use]
    pub fn pixel_sum(&self, function: &PixelFunction, side: Side) -> Expr<Regions> {
        self.statistic(Statistic::pixel_sum(self.activation, side, function.clone()))
    }
}

impl RegionSizes {
    /// P(τ): predicted mass of each class.
    #[must_use]
    pub fn predicted_size(&self, temperature: Temperature) -> Expr<Regions> {
        self.predicted_size_on(Side::Region, temperature)
    }

    /// Predicted mass on a side; the background's, Σ (1 − p), exists under sigmoid.
    #[must_use]
    pub fn predicted_size_on(&self, side: Side, temperature: Temperature) -> Expr<Regions> {
        self.statistic(Statistic::predicted_size(Probability::new(self.activation, temperature, side)))
    }

    /// p̂(τ) = P(τ)/M: predicted proportion of each class; 0 in a sample without a valid pixel.
    #[must_use]
    pub fn predicted(&self, temperature: Temperature) -> Expr<Regions> {
        self.predicted_size(temperature).ratio(&self.valid_size())
    }

    /// t̂ = T/M: true proportion of each class; 0 in a sample without a valid pixel.
    #[must_use]
    pub fn target(&self) -> Expr<Regions> {
        self.target_size().ratio(&self.valid_size())
    }

    /// A proportion per sample and class that the caller gives with the target (a size known per
    /// image).
    #[must_use]
    pub fn given(&self) -> Expr<Regions> {
        Expr::leaf(Leaf::GivenPrior(self.activation()))
    }
}

impl AllRegions {
    pub(crate) fn new(activation: Activation, classes: usize) -> Self {
        Self { activation, classes, map: None }
    }

    /// The part inside the true regions.
    #[must_use]
    pub fn inside(&self) -> InsideTruth {
        InsideTruth { activation: self.activation, classes: self.classes, map: self.map.clone() }
    }

    /// The sizes.
    #[must_use]
    pub fn sizes(&self) -> RegionSizes {
        RegionSizes { activation: self.activation, classes: self.classes, map: self.map.clone() }
    }

    /// Q = Σ p².
    #[must_use]
    pub fn squared_mass(&self) -> Expr<Regions> {
        self.statistic(Statistic::squared_mass(self.activation))
    }

    /// Σ y².
    #[must_use]
    pub fn squared_target(&self) -> Expr<Regions> {
        self.statistic(Statistic::SQUARED_TARGET)
    }
}

/// 1 for the classes listed, 0 for the others.
pub(crate) fn class_indicator(classes: &[usize]) -> Expr<Classes> {
    Expr::leaf(Leaf::ClassIn(classes.into()))
}
