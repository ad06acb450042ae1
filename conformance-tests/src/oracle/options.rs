//! What a loss is for the oracle: terms with their options.

use super::Activation;

/// Name of the map of boundary.
pub const SIGNED_DISTANCES: &str = "signed_distances";
/// Name of the map of top-k.
pub const HARDEST_PIXELS: &str = "hardest_pixels";

/// Over what sums are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The batch.
    Batch,
    /// Each sample.
    Sample,
}

/// What an absent class contributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// 0, and it counts.
    Zero,
    /// 0, and it does not count.
    Skip,
    /// Its score, and it does not count where there is nothing to score.
    SkipEmpty,
    /// Its score.
    Count,
}

/// How a score becomes a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// 1 − score
    Linear,
    /// −log(score), of a score without smoothing −log max(score, 1e-7)
    Log,
}

/// Weight of a class in generalised Dice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// 1/T²
    Square,
    /// 1/T
    Simple,
    /// 1
    Uniform,
}

/// Which ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RatioKind {
    /// 2I/(P+T)
    Dice,
    /// 2I/(Σp²+Σy²)
    SquaredDice,
    /// I/(I+α(P−I)+β(T−I))
    Tversky(f64, f64),
    /// I/(P+T−I)
    Jaccard,
}

/// Options of Cross-Entropy.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct CrossEntropy {
    pub class_weights: Option<Vec<f64>>,
    pub label_smoothing: f64,
    pub pooling: Pooling,
    pub activation: Option<Activation>,
}

/// Options of focal.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Focal {
    pub gamma: f64,
    pub alpha: Option<f64>,
    pub class_weights: Option<Vec<f64>>,
    pub pooling: Pooling,
    pub activation: Option<Activation>,
}

/// Options of −log(I/T).
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct LogRecall {
    pub pooling: Pooling,
    pub temperature: f64,
    pub smooth: f64,
    pub absent: Absent,
    pub classes: Option<Vec<usize>>,
    pub class_weights: Option<Vec<f64>>,
}

/// Options of Dice, Tversky, Jaccard.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Ratio {
    pub kind: RatioKind,
    pub form: Form,
    pub pooling: Pooling,
    pub smooth_numerator: f64,
    pub smooth_denominator: f64,
    pub temperature: f64,
    pub absent: Absent,
    pub classes: Option<Vec<usize>>,
    pub class_weights: Option<Vec<f64>>,
}

/// Options of generalised Dice.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct GeneralizedDice {
    pub form: Form,
    pub pooling: Pooling,
    pub weighting: Weighting,
    pub classes: Option<Vec<usize>>,
    pub activation: Option<Activation>,
}

/// The proportions that a penalty pulls to.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// The ground truth's.
    Truth,
    /// The same in every sample, per class.
    Prior(Vec<f64>),
    /// The problem's own, per sample and class.
    Given,
}

/// Options of the proportion penalties.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Proportion {
    pub temperature: f64,
    pub pooling: Pooling,
    pub wanted: Wanted,
    pub epsilon: f64,
    pub classes: Option<Vec<usize>>,
    pub class_weights: Option<Vec<f64>>,
}

/// Options of boundary.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Boundary {
    pub classes: Option<Vec<usize>>,
    pub class_weights: Option<Vec<f64>>,
    pub pooling: Pooling,
    pub activation: Option<Activation>,
}

/// Options of top-k.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct TopK {
    pub fraction: f64,
    pub class_weights: Option<Vec<f64>>,
    pub pooling: Pooling,
    pub activation: Option<Activation>,
}

impl Default for CrossEntropy {
    fn default() -> Self {
        Self { class_weights: None, label_smoothing: 0.0, pooling: Pooling::Batch, activation: None }
    }
}

impl Default for Focal {
    fn default() -> Self {
        Self { gamma: 2.0, alpha: None, class_weights: None, pooling: Pooling::Batch, activation: Some(Activation::Sigmoid) }
    }
}

impl Default for LogRecall {
    fn default() -> Self {
        let (pooling, absent) = (Pooling::Batch, Absent::Zero);
        Self { pooling, temperature: 1.0, smooth: 0.0, absent, classes: None, class_weights: None }
    }
}

impl Default for Ratio {
    fn default() -> Self {
        Self {
            kind: RatioKind::Dice,
            form: Form::Linear,
            pooling: Pooling::Batch,
            smooth_numerator: 0.0,
            smooth_denominator: 0.0,
            temperature: 1.0,
            absent: Absent::Zero,
            classes: None,
            class_weights: None,
        }
    }
}

impl Default for GeneralizedDice {
    fn default() -> Self {
        let activation = Some(Activation::Sigmoid);
        Self { form: Form::Linear, pooling: Pooling::Batch, weighting: Weighting::Square, classes: None, activation }
    }
}

impl Default for Proportion {
    fn default() -> Self {
        let pooling = Pooling::Sample;
        Self { temperature: 10.0, pooling, wanted: Wanted::Truth, epsilon: 1e-10, classes: None, class_weights: None }
    }
}

impl Default for Boundary {
    fn default() -> Self {
        Self { classes: None, class_weights: None, pooling: Pooling::Batch, activation: None }
    }
}

impl Default for TopK {
    fn default() -> Self {
        Self { fraction: 0.1, class_weights: None, pooling: Pooling::Batch, activation: None }
    }
}

/// A term.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Term {
    CrossEntropy(CrossEntropy),
    Focal(Focal),
    LogRecall(LogRecall),
    Ratio(Ratio),
    GeneralizedDice(GeneralizedDice),
    L1(Proportion),
    /// The flag: whether a sigmoid channel adds its background.
    Kl(Proportion, bool),
    DiceBias(Proportion),
    Boundary(Boundary),
    TopK(TopK),
}

impl Term {
    /// Name of the map it reads, where it reads one.
    #[must_use]
    pub fn map(&self) -> Option<&'static str> {
        match self {
            Self::Boundary(_) => Some(SIGNED_DISTANCES),
            Self::TopK(_) => Some(HARDEST_PIXELS),
            _ => None,
        }
    }
}

/// The fourteen configurations of the authors.
#[must_use]
pub fn named(name: &str) -> Option<Vec<(f64, Term)>> {
    let part = |name: &str| {
        Some(match name {
            "CE" => Term::CrossEntropy(CrossEntropy::default()),
            "Focal" => Term::Focal(Focal::default()),
            "Dice" => Term::Ratio(Ratio::default()),
            "LogDice" => Term::Ratio(Ratio { form: Form::Log, ..Ratio::default() }),
            "GDice" => Term::GeneralizedDice(GeneralizedDice::default()),
            "L1" => Term::L1(Proportion::default()),
            "KL" => Term::Kl(Proportion::default(), true),
            "DB" => Term::DiceBias(Proportion::default()),
            _ => return None,
        })
    };
    name.split('+').map(|name| part(name).map(|term| (1.0, term))).collect()
}
