//! Losses: weighted terms, put together with operators.

use std::sync::{Arc, Mutex, PoisonError};

use crate::program::{Detail, Program};
use crate::term::WeightedTerm;
use crate::{Activation, GroundTruthMatching, LossError, Note, Overlap, RegionSizePenalty, Schedule, Term, Unsplit};

/// A segmentation loss: a weighted sum of terms, and how logits and labels are read.
///
/// It is data: no tensor library and no type parameter in it, cheap to clone, and `Send + Sync`.
/// Backends bring their own extension trait that evaluates it.
///
/// ```
/// use loss_core::{Loss, matching, matching::CrossEntropy, penalty, penalty::L1};
/// let loss = matching(CrossEntropy::new()) + 0.5 * penalty(L1::new());
/// assert_eq!(loss.to_string(), "ce + 0.5 * l1");
/// let same: Loss = "ce + 0.5 * l1".parse()?;
/// assert_eq!(same, loss);
/// # Ok::<(), loss_core::LossError>(())
/// ```
#[derive(Clone, Default)]
pub struct Loss {
    pub(crate) terms: Arc<[WeightedTerm]>,
    pub(crate) activation: Option<Activation>,
    pub(crate) ignore: Vec<i64>,
    pub(crate) epoch: usize,
    programs: Arc<Mutex<Programs>>,
}

type Programs = Vec<(Key, Arc<Program>)>;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    classes: usize,
    activation: Activation,
    detail: Detail,
}

/// A loss of one ground-truth matching term.
pub fn matching(term: impl GroundTruthMatching) -> Loss {
    Term::Matching(Arc::new(term)).into()
}

/// A loss of one region-size penalty.
pub fn penalty(term: impl RegionSizePenalty) -> Loss {
    Term::Size(Arc::new(term)).into()
}

/// A loss of one overlap term.
pub fn overlap(term: impl Overlap) -> Loss {
    Term::Overlap(Arc::new(term)).into()
}

/// A loss of one term without an exact split.
pub fn unsplit(term: impl Unsplit) -> Loss {
    Term::Unsplit(Arc::new(term)).into()
}

impl From<Term> for Loss {
    fn from(term: Term) -> Self {
        Self { terms: Arc::new([term.into()]), ..Self::default() }
    }
}

impl Loss {
    /// How logits become probabilities; softmax unless set.
    #[must_use]
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = Some(activation);
        self
    }

    /// Adds a label whose pixels have no influence. May be called for several labels.
    #[must_use]
    pub fn with_ignore_index(mut self, label: i64) -> Self {
        if !self.ignore.contains(&label) {
            self.ignore.push(label);
        }
        self
    }

    /// The loss as it is in an epoch, counted from 0: schedules set the weights, nothing is
    /// rebuilt.
    #[must_use]
    pub fn at_epoch(&self, epoch: usize) -> Self {
        Self { epoch, ..self.clone() }
    }

    /// Multiplies the weight of every term by a schedule.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`] where a term's weight grows already, and as
    /// [`Schedule::grow`].
    pub fn scheduled(self, schedule: Schedule) -> Result<Self, LossError> {
        schedule.check()?;
        let mut terms = self.terms.to_vec();
        schedule.multiply(&mut terms)?;
        Ok(self.with_terms(terms))
    }

    pub(crate) fn with_terms(self, terms: Vec<WeightedTerm>) -> Self {
        Self { terms: terms.into(), programs: Arc::default(), ..self }
    }

    /// The activation in force.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.activation.unwrap_or_default()
    }

    /// Labels whose pixels have no influence.
    #[must_use]
    pub fn ignored(&self) -> &[i64] {
        &self.ignore
    }

    /// The terms, with their present weights.
    pub fn terms(&self) -> impl ExactSizeIterator<Item = (f64, &Term)> {
        self.terms.iter().map(|t| (t.schedule.at(self.epoch), &t.term))
    }

    /// What is to be told of the loss for K classes, whatever logits and targets are: terms with an
    /// activation of their own, options without effect. An evaluation's notes have these too.
    ///
    /// ```
    /// use loss_core::Loss;
    /// let loss: Loss = "ce + focal".parse()?;
    /// let notes = loss.notes(3)?;
    /// assert!(notes[0].to_string().starts_with("focal uses sigmoid, each class against"));
    /// # Ok::<(), loss_core::LossError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Loss::program`].
    pub fn notes(&self, classes: usize) -> Result<Vec<Note>, LossError> {
        Ok(self.program(classes, Detail::Parts)?.term_notes())
    }

    pub(crate) fn weights(&self) -> Vec<f64> {
        self.terms().map(|(weight, _)| weight).collect()
    }

    /// The expressions of this loss for K classes, with their derivative; built once and kept.
    ///
    /// # Errors
    /// [`LossError`] where the terms do not fit the classes or the activation, or a weight is not
    /// finite.
    pub fn program(&self, classes: usize, detail: Detail) -> Result<Arc<Program>, LossError> {
        if let Some((weight, _)) = self.terms().find(|(weight, _)| !weight.is_finite()) {
            return Err(LossError::Weight { weight });
        }
        let key = Key { classes, activation: self.activation(), detail };
        // A poisoned cache holds only whole programs.
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, program)) = programs.iter().find(|(known, _)| *known == key) {
            return Ok(Arc::clone(program));
        }
        let program = Arc::new(Program::new(&self.terms, classes, self.activation(), detail)?);
        programs.push((key, Arc::clone(&program)));
        Ok(program)
    }
}

impl std::ops::Add for Loss {
    type Output = Self;
    /// All terms of both. The left side's activation counts where both set one; ignored labels are
    /// joined.
    fn add(self, other: Self) -> Self {
        let terms = self.terms.iter().chain(other.terms.iter()).cloned().collect();
        let activation = self.activation.or(other.activation);
        let joined = Self { activation, ..self }.with_terms(terms);
        other.ignore.into_iter().fold(joined, Self::with_ignore_index)
    }
}

impl std::ops::Mul<Loss> for f64 {
    type Output = Loss;
    /// Multiplies every term's weight. A weight that is not finite is an error when the loss is
    /// used.
    fn mul(self, loss: Loss) -> Loss {
        let mut terms = loss.terms.to_vec();
        for term in &mut terms {
            term.schedule = term.schedule.times(Schedule::Constant(self)).unwrap_or(term.schedule);
        }
        loss.with_terms(terms)
    }
}

impl std::ops::Mul<f64> for Loss {
    type Output = Self;
    fn mul(self, weight: f64) -> Self {
        weight * self
    }
}
