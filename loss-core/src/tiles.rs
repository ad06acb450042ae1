//! A batch that is fed in tiles: statistics add up, so nothing larger than a tile need be in memory.

use std::sync::Arc;

use crate::expr::{HostAlgebra, Table};
use crate::{Backend, Detail, Evaluation, Geometry, LogitGradient, Loss, LossError, Program};

/// The statistics of the tiles added so far.
///
/// Every tile has the whole's samples and classes, `[N, K, *tile]`; tiles may differ in shape, and come in any order. Sums are `f64`,
/// so that the whole differs from the same pixels in one piece in the last places at most.
///
/// ```
/// # use loss_core::{Loss, expr::Table};
/// let loss: Loss = "ce + dice".parse()?;
/// let tiles = loss.tiles(3)?;      // then, with backend-ndarray: tiles.add(logits.view(), &target)? for each tile,
/// assert!(tiles.whole(None).is_err());   // tiles.whole(None)?.evaluation(), and whole.gradient(..)? for each tile again
/// # Ok::<(), loss_core::LossError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tiles {
    loss: Loss,
    program: Arc<Program>,
    statistics: Vec<Table>,
}

/// A loss of which every tile has been seen: its value, and what the gradient of each tile is made of.
#[derive(Clone, Debug)]
pub struct Whole {
    loss: Loss,
    program: Arc<Program>,
    samples: usize,
    evaluation: Evaluation,
    upstream: Vec<Option<Table>>,
}

impl Loss {
    /// No tiles yet, of logits with K classes.
    ///
    /// # Errors
    /// As [`Loss::program`].
    pub fn tiles(&self, classes: usize) -> Result<Tiles, LossError> {
        Ok(Tiles { program: self.program(classes, Detail::Parts)?, loss: self.clone(), statistics: Vec::new() })
    }
}

fn fits(expected: [usize; 2], got: [usize; 2]) -> Result<(), LossError> {
    if expected == got { Ok(()) } else { Err(LossError::TileMismatch { expected, got }) }
}

impl Tiles {
    /// The loss.
    #[must_use]
    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// Adds a tile, on a backend that keeps its small arrays on the host.
    ///
    /// # Errors
    /// [`LossError::TileMismatch`] where it has other samples than the tiles before it, or other classes; what the backend gives cause
    /// for. Then nothing is added.
    pub fn add_on<B: Backend<Array = Table>>(
        &mut self,
        backend: &B,
        (logits, target): (&B::Logits, &B::Target),
        geometry: Geometry,
    ) -> Result<(), LossError> {
        let samples = self.samples().unwrap_or(geometry.samples);
        fits([samples, self.classes()], [geometry.samples, geometry.classes])?;
        let statistics = backend.statistics(logits, target, self.program.plan())?;
        self.sum(statistics);
        Ok(())
    }

    /// Adds what another has seen of the same samples: tiles in another thread, or on another machine.
    ///
    /// # Errors
    /// [`LossError::OtherLoss`] where it is of another loss, [`LossError::TileMismatch`] where it has other samples or classes. Then
    /// nothing is added.
    pub fn merge(&mut self, other: Self) -> Result<(), LossError> {
        if self.loss != other.loss {
            return Err(LossError::OtherLoss { loss: self.loss.to_string(), other: other.loss.to_string() });
        }
        let got = other.samples().or(self.samples()).unwrap_or(0);
        fits([self.samples().unwrap_or(got), self.classes()], [got, other.classes()])?;
        self.sum(other.statistics);
        Ok(())
    }

    /// Samples of the tiles, where there is one.
    fn samples(&self) -> Option<usize> {
        self.statistics.first().map(Table::rows)
    }

    fn classes(&self) -> usize {
        self.program.plan().classes()
    }

    fn sum(&mut self, statistics: Vec<Table>) {
        if self.statistics.is_empty() {
            self.statistics = statistics;
        } else if !statistics.is_empty() {
            self.statistics = self.statistics.iter().zip(&statistics).map(|(a, b)| a.plus(b)).collect();
        }
    }

    /// The loss of all tiles together. The prior is for penalties with `target=given`: `[N, K]`, or `[1, K]` for all samples.
    ///
    /// # Errors
    /// [`LossError::NoTiles`] where none was added; as [`Program::outputs`].
    pub fn whole(&self, prior: Option<&Table>) -> Result<Whole, LossError> {
        let samples = self.samples().ok_or(LossError::NoTiles)?;
        let inputs = self.loss.inputs(samples, prior.cloned());
        let outputs = self.program.outputs(&HostAlgebra, &self.statistics, &inputs)?;
        Ok(Whole {
            loss: self.loss.clone(),
            program: Arc::clone(&self.program),
            samples,
            evaluation: self.loss.evaluation(&outputs),
            upstream: self.program.upstream(&self.statistics, &inputs, &[1.0])?,
        })
    }
}

impl Whole {
    /// The loss.
    #[must_use]
    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// Its value, with all that explains it.
    #[must_use]
    pub fn evaluation(&self) -> &Evaluation {
        &self.evaluation
    }

    /// Writes the gradient of the total for the logits of one tile, as they were when it was added.
    ///
    /// # Errors
    /// As [`Tiles::add_on`].
    pub fn gradient_on<B: LogitGradient<Array = Table>>(
        &self,
        backend: &B,
        (logits, target): (&B::Logits, &B::Target),
        geometry: Geometry,
        gradient: &mut B::Gradient,
    ) -> Result<(), LossError> {
        fits([self.samples, self.program.plan().classes()], [geometry.samples, geometry.classes])?;
        backend.logit_gradient(logits, target, self.program.plan(), &self.upstream, gradient)
    }
}
