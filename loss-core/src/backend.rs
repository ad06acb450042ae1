//! What a backend is written with: [`Passes`] or [`Algebra`], and what these meet of plans,
//! programs and maps.

use crate::LossError;
pub use crate::activation::Side;
pub use crate::expr::{Algebra, HostAlgebra, Op, PixelFunction, PixelStep, Table};
pub use crate::facts::{Facts, Precision};
pub use crate::geometry::Geometry;
pub use crate::maps::{FillSample, Pixels, View, derive, derive_with};
pub use crate::plan::Plan;
pub use crate::program::{Detail, Inputs, Program};
pub use crate::statistics::Statistic;
pub use crate::target::{
    HALF_SHARE_SLACK, LABEL_RANGE, ONE_HOT_RANGE, SHARE_RANGE, SHARE_SLACK, TargetKind, ignored_classes, shares_within,
};

/// How a loss is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// By kernels with a gradient written by hand.
    Fused,
    /// By ordinary operations of the tensor library.
    Operations,
}

/// Sums of logarithms saturate here, so that a mean over any number of samples stays finite. Only
/// logits near the largest `f64` reach it.
pub const LARGEST_SUM: f64 = 1e299;

/// The same where sums are kept in `f32`.
pub const LARGEST_SUM_F32: f32 = 1e30;

/// One call of a loss, on a backend that keeps its small arrays on the host: logits with their
/// target, and the passes over them. What computes on a device implements [`Algebra`] instead.
///
/// # Laws
/// Sums skip ignored pixels and pixels of weight 0 entirely, whatever their logits are. A gradient
/// is linear in `upstream`, and exactly zero at pixels that are not valid. What statistics of
/// softmax probabilities contribute to it sums to zero over the classes at every pixel; what those
/// of sigmoid probabilities contribute does not.
pub trait Passes {
    /// Where the gradient is put.
    type Gradient: ?Sized;

    /// Samples, classes, pixels.
    fn geometry(&self) -> Geometry;

    /// Proportions that came with the target, `[N, K]` or `[1, K]`.
    fn prior(&self) -> Option<&Table>;

    /// What notes are made of beside statistics; asked before maps are derived. The default,
    /// `None`, leaves an evaluation without notes.
    fn facts(&self) -> Option<Facts> {
        None
    }

    /// Makes the derived maps that the plan still lacks ([`Plan::underived`]), and returns them. It
    /// runs before the passes that read them. The default is for backends without maps.
    ///
    /// # Errors
    /// What the maps refuse. The default returns [`LossError::MissingMap`] for any derived map.
    fn derive<'p>(&mut self, plan: &'p Plan) -> Result<Vec<&'p crate::Map>, LossError> {
        plan.underived(std::iter::empty())
            .next()
            .map_or(Ok(Vec::new()), |map| Err(LossError::MissingMap { name: map.name().to_owned(), given: Vec::new() }))
    }

    /// Reads the logits once and returns, in the order of [`Plan::statistics`], tables of `[N, K]`,
    /// or `[N, 1]` for the valid size.
    ///
    /// # Errors
    /// [`LossError`] for arguments that do not fit, labels or logits out of range, and failures of
    /// the library.
    fn statistics(&self, plan: &Plan) -> Result<Vec<Table>, LossError>;

    /// Reads the logits once more and writes ∂loss/∂logits, given the loss's derivative for
    /// each statistic: one table per entry of [`Plan::statistics`], or `None` where it is zero.
    ///
    /// # Errors
    /// As [`Passes::statistics`].
    fn logit_gradient(&self, plan: &Plan, upstream: &[Option<Table>], gradient: &mut Self::Gradient) -> Result<(), LossError>;

    /// Σ_s ∂/∂logits over the pixels, `[N, K]`, of several outputs of a loss, given the
    /// derivatives of each for the statistics as [`Passes::logit_gradient`] takes them. It reads
    /// the logits once more, and needs no memory of their size.
    ///
    /// # Errors
    /// As [`Passes::statistics`].
    fn gradient_sums(&self, plan: &Plan, upstreams: &[Vec<Option<Table>>]) -> Result<Vec<Table>, LossError>;

    /// Statistics and gradient of one plan, when the derivatives are known beforehand. A backend
    /// can override it to read the logits only once.
    ///
    /// # Errors
    /// As [`Passes::statistics`].
    fn statistics_and_gradient(
        &self,
        plan: &Plan,
        upstream: &[Option<Table>],
        gradient: &mut Self::Gradient,
    ) -> Result<Vec<Table>, LossError> {
        let statistics = self.statistics(plan)?;
        self.logit_gradient(plan, upstream, gradient)?;
        Ok(statistics)
    }
}
