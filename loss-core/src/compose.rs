//! Losses: weighted terms, put together with operators or read from text.

use std::fmt::{Debug, Display, Formatter};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::program::{Detail, Program};
use crate::spec::{Vocabulary, number};
use crate::{Activation, GroundTruthMatching, LossError, Overlap, RegionSizePenalty, Schedule};

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
}

impl Display for Role {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Matching => "matching",
            Self::Size => "size",
            Self::Overlap => "overlap",
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
    /// Sees both.
    Overlap(Arc<dyn Overlap>),
}

impl Term {
    /// Its role.
    #[must_use]
    pub fn role(&self) -> Role {
        match self {
            Self::Matching(_) => Role::Matching,
            Self::Size(_) => Role::Size,
            Self::Overlap(_) => Role::Overlap,
        }
    }

    /// Its name in reports.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Matching(term) => term.name(),
            Self::Size(term) => term.name(),
            Self::Overlap(term) => term.name(),
        }
    }

    fn text(&self) -> Option<String> {
        match self {
            Self::Matching(term) => term.text(),
            Self::Size(term) => term.text(),
            Self::Overlap(term) => term.text(),
        }
    }

    /// Whether both are known to be the same: by their texts, and one without a text by being this very one.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Matching(a), Self::Matching(b)) if Arc::ptr_eq(a, b) => true,
            (Self::Size(a), Self::Size(b)) if Arc::ptr_eq(a, b) => true,
            (Self::Overlap(a), Self::Overlap(b)) if Arc::ptr_eq(a, b) => true,
            _ => self.role() == other.role() && self.text().is_some_and(|text| Some(text) == other.text()),
        }
    }

    pub(crate) fn fits(&self, classes: usize, activation: Activation) -> Result<(), LossError> {
        match self {
            Self::Matching(term) => term.fits(classes, activation),
            Self::Size(term) => term.fits(classes, activation),
            Self::Overlap(term) => term.fits(classes, activation),
        }
    }
}

#[derive(Clone)]
pub(crate) struct WeightedTerm {
    pub(crate) schedule: Schedule,
    pub(crate) term: Term,
}

/// A segmentation loss: a weighted sum of terms, and how logits and labels are read.
///
/// It is data: no tensor library and no type parameter in it, cheap to clone, and `Send + Sync`. Backends bring their own
/// extension trait that evaluates it.
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
    terms: Arc<[WeightedTerm]>,
    activation: Option<Activation>,
    ignore: Vec<i64>,
    epoch: usize,
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

impl From<Term> for Loss {
    fn from(term: Term) -> Self {
        Self { terms: Arc::new([WeightedTerm { schedule: Schedule::Constant(1.0), term }]), ..Self::default() }
    }
}

impl Loss {
    /// Reads a loss from text, with terms of the caller's own beside the built-in ones. `text.parse()` knows the built-in ones.
    ///
    /// ```text
    /// loss     = sum [ "with" setting { "," setting } ]
    /// sum      = product { ("+" | "-") product }
    /// product  = [ "-" ] factor { "*" factor }            one of the factors is a loss, the others are weights
    /// factor   = number | grow | "(" sum ")" | name [ "(" [ option { "," option } ] ")" ]
    /// grow     = "grow" "(" number { "," ( "factor" | "every" | "cap" ) "=" number } ")"
    /// option   = name "=" ( number | name | list )
    /// setting  = "activation" "=" name | "ignore" "=" ( number | list )
    /// list     = "[" [ number { "," number } ] "]"
    /// number   = [ "-" ] digits with "." and an exponent, as in 0.5 or 1e-3
    /// ```
    ///
    /// - `grow(a)` is a [`Schedule::grow`] from a on; what is left out is `factor=1, every=1, cap=100`. A product has one of them at most.
    /// - An option, and what `grow` and `with` take, is given once.
    /// - `with` sets how logits and labels are read, once for the whole loss: `ce + dice with activation=sigmoid, ignore=[254, 255]`.
    /// - Names of terms are the same in any case and with or without underscores: `LogDice` is `log_dice`. Longer names are
    ///   `cross_entropy` (`ce`), `dice_bias` (`db`), `generalized_dice` (`gdice`) and `log_dice` (`dice(form=log)`). Names of options, and
    ///   words that they are set to, are lower case.
    /// - A term of the caller's own must not be called `grow` or `with`, which are read first. One with the name of a built-in term takes
    ///   its place.
    /// - [`catalogue`](crate::catalogue) lists the terms, their options, and what these can be.
    ///
    /// ```
    /// use loss_core::Loss;
    /// let loss: Loss = "ce + grow(1, factor=5, every=10) * l1(epsilon=0) with ignore=255".parse()?;
    /// assert_eq!(loss.to_string(), "ce + grow(1, factor=5, every=10, cap=100) * l1(epsilon=0) with ignore=255");
    /// # Ok::<(), loss_core::LossError>(())
    /// ```
    ///
    /// # Errors
    /// [`LossError::Syntax`], [`LossError::UnknownTerm`] and [`LossError::UnknownOption`] (with the nearest name),
    /// [`LossError::OptionOutOfRange`], and what [`Loss::scheduled`] refuses.
    pub fn parse(text: &str, vocabulary: &Vocabulary) -> Result<Self, LossError> {
        crate::spec::parse(text, vocabulary)
    }

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

    /// The loss as it is in an epoch, counted from 0: schedules set the weights, nothing is rebuilt.
    #[must_use]
    pub fn at_epoch(&self, epoch: usize) -> Self {
        Self { epoch, ..self.clone() }
    }

    /// Multiplies the weight of every term by a schedule.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`] where a term's weight grows already, and as [`Schedule::grow`].
    pub fn scheduled(self, schedule: Schedule) -> Result<Self, LossError> {
        schedule.check()?;
        let mut terms = self.terms.to_vec();
        for term in &mut terms {
            term.schedule = schedule.times(term.schedule).ok_or_else(|| LossError::OptionOutOfRange {
                term: "grow",
                option: "factor",
                value: schedule.to_string(),
                expected: "a number: the weight of this term grows already",
            })?;
        }
        Ok(self.with_terms(terms))
    }

    fn with_terms(self, terms: Vec<WeightedTerm>) -> Self {
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

    pub(crate) fn weights(&self) -> Vec<f64> {
        self.terms().map(|(weight, _)| weight).collect()
    }

    /// The expressions of this loss for K classes, with their derivative; built once and kept.
    ///
    /// # Errors
    /// [`LossError`] where the terms do not fit the classes or the activation, or a weight is not finite.
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
    /// All terms of both. The left side's activation counts where both set one; ignored labels are joined.
    fn add(self, other: Self) -> Self {
        let terms = self.terms.iter().chain(other.terms.iter()).cloned().collect();
        let activation = self.activation.or(other.activation);
        let joined = Self { activation, ..self }.with_terms(terms);
        other.ignore.into_iter().fold(joined, Self::with_ignore_index)
    }
}

impl std::ops::Mul<Loss> for f64 {
    type Output = Loss;
    /// Multiplies every term's weight. A weight that is not finite is an error when the loss is used.
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

impl Display for Loss {
    /// Text that reads back as an equal loss, as far as its terms have one.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        for (i, WeightedTerm { schedule, term }) in self.terms.iter().enumerate() {
            let (sign, schedule) = match *schedule {
                Schedule::Constant(w) if w.is_sign_negative() && i > 0 => ("-", Schedule::Constant(-w)),
                other => ("+", other),
            };
            if i > 0 {
                write!(f, " {sign} ")?;
            }
            if schedule != Schedule::Constant(1.0) {
                write!(f, "{schedule} * ")?;
            }
            f.write_str(&term.text().unwrap_or_else(|| term.name()))?;
        }
        let mut settings = Vec::new();
        if let Some(activation) = self.activation {
            settings.push(format!("activation={activation}"));
        }
        match self.ignore.as_slice() {
            [] => {}
            [label] => settings.push(format!("ignore={label}")),
            labels => settings.push(format!("ignore={labels:?}")),
        }
        if settings.is_empty() { Ok(()) } else { write!(f, " with {}", settings.join(", ")) }
    }
}

impl Debug for Loss {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "Loss({self}")?;
        if self.epoch > 0 {
            write!(f, "; epoch {}: weights {:?}", self.epoch, self.weights().into_iter().map(number).collect::<Vec<_>>())?;
        }
        f.write_str(")")
    }
}

impl PartialEq for Loss {
    /// Equal text and equal epoch. Terms that have no text of their own are equal only to their clones.
    fn eq(&self, other: &Self) -> bool {
        let mut terms = self.terms.iter().zip(other.terms.iter());
        self.epoch == other.epoch && self.to_string() == other.to_string() && terms.all(|(a, b)| a.term.is(&b.term))
    }
}

impl FromStr for Loss {
    type Err = LossError;
    /// [`Loss::parse`] with the built-in terms; its documentation has the grammar.
    fn from_str(text: &str) -> Result<Self, LossError> {
        Self::parse(text, &Vocabulary::default())
    }
}

impl serde::Serialize for Loss {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Loss {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
