//! The roles of a term, and a term in its role.

use std::fmt::{Display, Formatter};
use std::sync::Arc;

use crate::expr::{Expr, Regions, Scalar};
use crate::{Activation, AllRegions, InsideTruth, LossError, RegionSizes, Schedule};

/// What a term of any role can say of itself.
macro_rules! of_any_role {
    () => {
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
            type_name::<Self>()
        }

        /// Text that builds the term again; `None` where there is none.
        fn text(&self) -> Option<String> {
            None
        }

        /// Refuses options that do not fit the number of classes. A term that describes itself
        /// returns [`options_fit`](crate::spec::options_fit).
        ///
        /// # Errors
        /// [`LossError::OptionCount`], [`LossError::OptionClass`].
        fn options_fit(&self, classes: usize) -> Result<(), LossError> {
            let _ = classes;
            Ok(())
        }

        /// Options that are set, and change nothing for these classes and this activation.
        fn idle_options(&self, regions: &AllRegions) -> Vec<&'static str> {
            let _ = regions;
            Vec::new()
        }
    };
}

/// A term that pulls the predicted region onto the true one. It sees only what lies inside the true
/// regions.
///
/// # Laws
/// Its value does not change with predictions outside the true regions beyond what normalisation
/// carries over; it is least where every true pixel is predicted with probability 1; it is 0 where
/// no pixel is valid.
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

    /// The term per sample and class before its reduction, where it has such a form (one row when
    /// pooled over the batch).
    fn elements(&self, truth: &InsideTruth) -> Option<Expr<Regions>> {
        let _ = truth;
        None
    }

    /// The matching and size parts hidden in it; `None`, the default, where no exact split is
    /// known.
    fn decompose(&self, regions: &AllRegions) -> Option<Decomposition> {
        let _ = regions;
        None
    }

    of_any_role!();
}

/// A term that biases how large the predicted region is. It sees only sizes.
///
/// # Laws
/// Its value depends on the prediction through predicted sizes alone; it is 0, with zero gradient,
/// where no pixel is valid.
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

    /// The term per sample and class before its reduction, where it has such a form (one row when
    /// pooled over the batch).
    fn elements(&self, sizes: &RegionSizes) -> Option<Expr<Regions>> {
        let _ = sizes;
        None
    }

    of_any_role!();
}

/// A term made of both: a score of overlap, whose logarithm splits exactly into matching, size and
/// a constant.
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

    /// The term per sample and class before its reduction, where it has such a form (one row when
    /// pooled over the batch).
    fn elements(&self, regions: &AllRegions) -> Option<Expr<Regions>> {
        let _ = regions;
        None
    }

    of_any_role!();
}

/// A term that sees everything, and has no exact split into matching and size: a loss of distances,
/// for instance. Reports show its value alone.
///
/// # Laws
/// It is 0, with zero gradient, where no pixel is valid.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a term without a split",
    label = "`unsplit(..)` takes terms that are neither matching, nor size, nor a score of overlap",
    note = "what splits exactly goes into `matching(..)`, `penalty(..)` or `overlap(..)`",
    note = "an option that can be refused returns a `Result`: put `?` behind it"
)]
pub trait Unsplit: Send + Sync + 'static {
    /// The term as an expression.
    fn value(&self, regions: &AllRegions) -> Expr<Scalar>;

    /// The term per sample and class before its reduction, where it has such a form (one row when
    /// pooled over the batch).
    fn elements(&self, regions: &AllRegions) -> Option<Expr<Regions>> {
        let _ = regions;
        None
    }

    of_any_role!();
}

/// What the parts of a [`Decomposition`] add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitOf {
    /// The term itself.
    Value,
    /// The logarithmic form of a linear score: its gradient is the linear form's, divided by the
    /// score.
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

/// The role of a term in a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// [`GroundTruthMatching`]
    Matching,
    /// [`RegionSizePenalty`]
    Size,
    /// [`Overlap`]
    Overlap,
    /// [`Unsplit`]
    Unsplit,
}

impl Display for Role {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Matching => "matching",
            Self::Size => "size",
            Self::Overlap => "overlap",
            Self::Unsplit => "unsplit",
        })
    }
}

/// A term in its role.
#[derive(Clone)]
#[non_exhaustive]
pub enum Term {
    /// Sees the inside of the true regions.
    Matching(Arc<dyn GroundTruthMatching>),
    /// Sees sizes.
    Size(Arc<dyn RegionSizePenalty>),
    /// Sees both, and splits exactly.
    Overlap(Arc<dyn Overlap>),
    /// Sees both, and does not.
    Unsplit(Arc<dyn Unsplit>),
}

macro_rules! in_role {
    ($of:expr, $term:ident => $call:expr) => {
        match $of {
            Self::Matching($term) => $call,
            Self::Size($term) => $call,
            Self::Overlap($term) => $call,
            Self::Unsplit($term) => $call,
        }
    };
}

impl Term {
    /// Its role.
    #[must_use]
    pub fn role(&self) -> Role {
        match self {
            Self::Matching(_) => Role::Matching,
            Self::Size(_) => Role::Size,
            Self::Overlap(_) => Role::Overlap,
            Self::Unsplit(_) => Role::Unsplit,
        }
    }

    /// Its name in reports.
    #[must_use]
    pub fn name(&self) -> String {
        in_role!(self, term => term.name())
    }

    /// The term as an expression, and before its reduction.
    pub(crate) fn expressions(&self, regions: &AllRegions) -> (Expr<Scalar>, Option<Expr<Regions>>) {
        let (truth, sizes) = (regions.inside(), regions.sizes());
        match self {
            Self::Matching(term) => (term.matching(&truth), term.elements(&truth)),
            Self::Size(term) => (term.penalty(&sizes), term.elements(&sizes)),
            Self::Overlap(term) => (term.overlap(regions), term.elements(regions)),
            Self::Unsplit(term) => (term.value(regions), term.elements(regions)),
        }
    }

    /// Its exact split, if it has one.
    pub(crate) fn decompose(&self, regions: &AllRegions) -> Option<Decomposition> {
        match self {
            Self::Matching(term) => term.decompose(regions),
            Self::Size(term) => Some(Decomposition::size(term.penalty(&regions.sizes()))),
            Self::Overlap(term) => Some(term.decompose(regions)),
            Self::Unsplit(_) => None,
        }
    }

    pub(crate) fn text(&self) -> Option<String> {
        in_role!(self, term => term.text())
    }

    /// Whether both are known to be the same: by their texts, and one without a text by being this
    /// very one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Matching(a), Self::Matching(b)) if Arc::ptr_eq(a, b) => true,
            (Self::Size(a), Self::Size(b)) if Arc::ptr_eq(a, b) => true,
            (Self::Overlap(a), Self::Overlap(b)) if Arc::ptr_eq(a, b) => true,
            (Self::Unsplit(a), Self::Unsplit(b)) if Arc::ptr_eq(a, b) => true,
            _ => self.role() == other.role() && self.text().is_some_and(|text| Some(text) == other.text()),
        }
    }

    pub(crate) fn fits(&self, classes: usize, activation: Activation) -> Result<(), LossError> {
        in_role!(self, term => term.options_fit(classes).and_then(|()| term.fits(classes, activation)))
    }

    pub(crate) fn idle_options(&self, regions: &AllRegions) -> Vec<&'static str> {
        in_role!(self, term => term.idle_options(regions))
    }
}

/// A term in its role, with its weight.
#[derive(Clone)]
pub(crate) struct WeightedTerm {
    pub(crate) schedule: Schedule,
    pub(crate) term: Term,
}

impl From<Term> for WeightedTerm {
    fn from(term: Term) -> Self {
        Self { schedule: Schedule::Constant(1.0), term }
    }
}

/// `crate::path::SizeCap` as `size_cap`.
fn type_name<T: ?Sized>() -> String {
    let path = std::any::type_name::<T>();
    let path = path.split('<').next().unwrap_or(path);
    let name = path.rsplit("::").next().unwrap_or(path);
    let mut out = String::new();
    for (i, c) in name.char_indices() {
        if c.is_uppercase() && i > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}
