//! A target in host memory, in tensors of a backend's own.

use loss_core::{Activation, LossError, TargetKind};

use crate::{Labels, Problem, Shares, Target};

/// A tensor in host memory, row-major.
pub trait Memory {
    /// Its numbers as labels.
    ///
    /// # Errors
    /// [`LossError::Unsupported`] for numbers of another type.
    fn labels(&self) -> Result<Labels<'_>, LossError>;

    /// Its numbers as soft targets, weights or factors of a map.
    ///
    /// # Errors
    /// [`LossError::Unsupported`] for numbers of another type.
    fn shares(&self) -> Result<Shares<'_>, LossError>;
}

/// A target of tensors in host memory, each with its shape.
#[derive(Clone, Debug)]
pub struct HostTarget<T> {
    /// Shape of the logits.
    pub logits: Vec<usize>,
    /// What `values` are.
    pub kind: TargetKind,
    /// Labels or soft targets.
    pub values: T,
    /// Shape of these.
    pub shape: Vec<usize>,
    /// Pixel weights.
    pub weights: Option<(T, Vec<usize>)>,
    /// Maps by name.
    pub maps: Vec<(String, T, Vec<usize>)>,
    /// Distance of neighbouring pixels along each spatial axis.
    pub spacing: Option<Vec<f64>>,
    /// Ignored labels.
    pub ignore: Vec<i64>,
    /// The loss's activation.
    pub activation: Activation,
}

impl<T: Memory> HostTarget<T> {
    /// What the kernels read beside the logits.
    ///
    /// # Errors
    /// Those of [`Problem::new`], [`Problem::with_spacing`] and [`Problem::with_map`], and what the
    /// memory refuses.
    pub fn problem(&self) -> Result<Problem<'_>, LossError> {
        let target = match self.kind {
            TargetKind::Labels => Target::Labels(self.values.labels()?),
            TargetKind::OneHot => Target::OneHot(self.values.labels()?),
            TargetKind::Soft => Target::Soft(self.values.shares()?),
        };
        let weights = match &self.weights {
            Some((weights, shape)) => Some((weights.shares()?, shape.as_slice())),
            None => None,
        };
        let problem = Problem::new(&self.logits, (target, &self.shape), weights, &self.ignore, self.activation)?;
        let problem = self.spacing.iter().try_fold(problem, |problem, spacing| problem.with_spacing(spacing))?;
        self.maps.iter().try_fold(problem, |problem, (name, map, shape)| problem.with_map(name, map.shares()?, shape))
    }
}
