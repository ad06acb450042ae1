//! The three kinds of term.

use crate::expr::{Expr, Regions, Scalar};
use crate::{Activation, AllRegions, InsideTruth, LossError, RegionSizes};

/// A term that pulls the predicted region onto the true one. It sees only what lies inside the true regions.
///
/// # Laws
/// Its value does not change with predictions outside the true regions beyond what normalisation carries over; it is least where
/// every true pixel is predicted with probability 1; it is 0 where no pixel is valid.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a ground-truth matching term",
    label = "`matching(..)` takes terms that see only what lies inside the true regions",
    note = "a size penalty goes into `penalty(..)`, a Dice-like score into `overlap(..)`",
    note = "to write a matching term, implement `GroundTruthMatching` for `{Self}`",
    note = "an option that can be refused returns a `Result`: put `?` behind it"
)]
pub trait GroundTruthMatching: Send + Sync + 'static {
    /// The term as an expression.
    fn matching(&self, truth: &InsideTruth) -> Expr<Scalar>;

    /// The term per sample and class before its reduction, where it has such a form (one row when pooled over the batch).
    fn elements(&self, truth: &InsideTruth) -> Option<Expr<Regions>> {
        let _ = truth;
        None
    }

    /// The matching and size parts hidden in it. By default it is all matching.
    fn decompose(&self, regions: &AllRegions) -> Decomposition {
        Decomposition::matching(self.matching(&regions.inside()))
    }

    /// Refuses classes or an activation that the term cannot work with.
    ///
    /// # Errors
    /// A [`LossError`] that says what does not fit.
    fn fits(&self, classes: usize, activation: Activation) -> Result<(), LossError> {
        let _ = (classes, activation);
        Ok(())
    }

    /// Name in reports; by default that of the type.
    fn name(&self) -> String {
        crate::spec::type_name::<Self>()
    }

    /// Text that builds the term again; `None` where there is none.
    fn text(&self) -> Option<String> {
        None
    }
}

/// A term that biases how large the predicted region is. It sees only sizes.
///
/// # Laws
/// Its value depends on the prediction through predicted sizes alone; it is 0, with zero gradient, where no pixel is valid.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a region-size penalty",
    label = "`penalty(..)` takes terms that see only region sizes",
    note = "Cross-Entropy and focal go into `matching(..)`, a Dice-like score into `overlap(..)`",
    note = "to write a size penalty, implement `RegionSizePenalty` for `{Self}`",
    note = "an option that can be refused returns a `Result`: put `?` behind it"
)]
pub trait RegionSizePenalty: Send + Sync + 'static {
    /// The term as an expression.
    fn penalty(&self, sizes: &RegionSizes) -> Expr<Scalar>;

    /// The term per sample and class before its reduction, where it has such a form (one row when pooled over the batch).
    fn elements(&self, sizes: &RegionSizes) -> Option<Expr<Regions>> {
        let _ = sizes;
        None
    }

    /// Refuses classes or an activation that the term cannot work with.
    ///
    /// # Errors
    /// A [`LossError`] that says what does not fit.
    fn fits(&self, classes: usize, activation: Activation) -> Result<(), LossError> {
        let _ = (classes, activation);
        Ok(())
    }

    /// Name in reports; by default that of the type.
    fn name(&self) -> String {
        crate::spec::type_name::<Self>()
    }

    /// Text that builds the term again; `None` where there is none.
    fn text(&self) -> Option<String> {
        None
    }
}

/// A term made of both: a score of overlap, whose logarithm splits exactly into matching, size and a constant.
///
/// # Laws
/// The three parts of [`Overlap::decompose`] add up to the term, or to its logarithmic form.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an overlap term",
    label = "`overlap(..)` takes Dice-like scores",
    note = "Cross-Entropy and focal go into `matching(..)`, a size penalty into `penalty(..)`",
    note = "to write an overlap term, implement `Overlap` for `{Self}`",
    note = "an option that can be refused returns a `Result`: put `?` behind it"
)]
pub trait Overlap: Send + Sync + 'static {
    /// The term as an expression.
    fn overlap(&self, regions: &AllRegions) -> Expr<Scalar>;

    /// Its exact split.
    fn decompose(&self, regions: &AllRegions) -> Decomposition;

    /// The term per sample and class before its reduction, where it has such a form (one row when pooled over the batch).
    fn elements(&self, regions: &AllRegions) -> Option<Expr<Regions>> {
        let _ = regions;
        None
    }

    /// Refuses classes or an activation that the term cannot work with.
    ///
    /// # Errors
    /// A [`LossError`] that says what does not fit.
    fn fits(&self, classes: usize, activation: Activation) -> Result<(), LossError> {
        let _ = (classes, activation);
        Ok(())
    }

    /// Name in reports; by default that of the type.
    fn name(&self) -> String {
        crate::spec::type_name::<Self>()
    }

    /// Text that builds the term again; `None` where there is none.
    fn text(&self) -> Option<String> {
        None
    }
}

/// What the parts of a [`Decomposition`] add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitOf {
    /// The term itself.
    Value,
    /// The logarithmic form of a linear score: its gradient is the linear form's, divided by the score.
    Logarithm,
}

/// A term as ground-truth matching + region size + constant.
#[derive(Clone, Debug)]
pub struct Decomposition {
    /// Pulls the predicted region onto the true one.
    pub matching: Expr<Scalar>,
    /// Biases how large the predicted region is.
    pub size: Expr<Scalar>,
    /// Does not depend on the prediction.
    pub constant: Expr<Scalar>,
    /// What the three add up to.
    pub of: SplitOf,
}

impl Decomposition {
    /// All matching.
    #[must_use]
    pub fn matching(value: Expr<Scalar>) -> Self {
        Self { matching: value, size: Expr::constant(0.0), constant: Expr::constant(0.0), of: SplitOf::Value }
    }

    /// All size.
    #[must_use]
    pub fn size(value: Expr<Scalar>) -> Self {
        Self { matching: Expr::constant(0.0), size: value, constant: Expr::constant(0.0), of: SplitOf::Value }
    }
}

/// Name and text of a term that describes itself, inside the implementation of its role.
macro_rules! described {
    () => {
        fn name(&self) -> String {
            <Self as $crate::spec::Describe>::NAME.to_owned()
        }

        fn text(&self) -> Option<String> {
            Some($crate::spec::text_of(self))
        }
    };
}
pub(crate) use described;
