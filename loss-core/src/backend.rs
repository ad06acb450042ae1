//! What a backend is written with: its two traits, and what it meets of plans, programs and tables.

use crate::LossError;
pub use crate::expr::{Algebra, HostAlgebra, OnHost, Op, PixelFunction, PixelStep, Table};
pub use crate::geometry::{Geometry, TargetKind};
pub use crate::plan::Plan;
pub use crate::program::{Detail, Inputs, Outputs, Program, TermOutputs};
pub use crate::statistics::{Side, Statistic};

/// A tensor library that can sum up what a loss needs.
///
/// # Laws
/// [`Backend::statistics`] returns, in the order of [`Plan::statistics`], arrays of `[N, K]` (`[N, 1]` for the valid size) whose
/// sums skip ignored pixels and pixels of weight 0 entirely, whatever their logits are.
pub trait Backend: Algebra {
    /// What the library calls an array of logits.
    type Logits: ?Sized;
    /// Labels or soft targets, with weights, ignored labels and priors.
    type Target: ?Sized;

    /// Reads the logits once.
    ///
    /// # Errors
    /// [`LossError`] for arguments that do not fit, labels or logits out of range, and failures of the library.
    fn statistics(&self, logits: &Self::Logits, target: &Self::Target, plan: &Plan) -> Result<Vec<Self::Array>, LossError>;
}

/// A backend that takes the gradient by hand, for libraries without autodiff of their own.
///
/// # Laws
/// Linear in `upstream`; exactly zero at pixels that are not valid. What statistics of softmax probabilities contribute sums to zero over
/// the classes at every pixel; what those of sigmoid probabilities contribute does not.
pub trait LogitGradient: Backend {
    /// Where the gradient is put.
    type Gradient: ?Sized;

    /// Reads the logits once more and writes ∂loss/∂logits, given the loss's derivative for each statistic: one table per entry of
    /// [`Plan::statistics`], or `None` where it is zero.
    ///
    /// # Errors
    /// As [`Backend::statistics`].
    fn logit_gradient(
        &self,
        logits: &Self::Logits,
        target: &Self::Target,
        plan: &Plan,
        upstream: &[Option<Table>],
        gradient: &mut Self::Gradient,
    ) -> Result<(), LossError>;

    /// [`Backend::statistics`] and [`LogitGradient::logit_gradient`] of the same plan, for derivatives known beforehand. A backend that
    /// can reads the logits once for both.
    ///
    /// # Errors
    /// As [`Backend::statistics`].
    fn statistics_and_gradient(
        &self,
        logits: &Self::Logits,
        target: &Self::Target,
        plan: &Plan,
        upstream: &[Option<Table>],
        gradient: &mut Self::Gradient,
    ) -> Result<Vec<Self::Array>, LossError> {
        let statistics = self.statistics(logits, target, plan)?;
        self.logit_gradient(logits, target, plan, upstream, gradient)?;
        Ok(statistics)
    }
}
