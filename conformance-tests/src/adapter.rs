//! What the suite asks of a backend.

use std::fmt::{Display, Formatter};

use half::{bf16, f16};
use loss_core::expr::Table;
use loss_core::{Evaluation, Loss, LossError, TermEvaluation};
use serde::Serialize;

use crate::oracle;

/// Type of the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// Double precision.
    F64,
    /// Single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// Brain float.
    Bf16,
}

impl Dtype {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::F64, Self::F32, Self::F16, Self::Bf16];

    /// A number as this type holds it.
    #[must_use]
    pub fn round(self, value: f64) -> f64 {
        match self {
            Self::F64 => value,
            Self::F32 => f64::from(value as f32),
            Self::F16 => f16::from_f64(value).to_f64(),
            Self::Bf16 => bf16::from_f64(value).to_f64(),
        }
    }

    /// The largest finite number.
    #[must_use]
    pub fn largest(self) -> f64 {
        match self {
            Self::F64 => f64::MAX,
            Self::F32 => f64::from(f32::MAX),
            Self::F16 => f16::MAX.to_f64(),
            Self::Bf16 => bf16::MAX.to_f64(),
        }
    }
}

impl Display for Dtype {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

/// Type of labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Labels {
    /// Booleans: of labels 0 and 1.
    Bool,
    /// Bytes.
    U8,
    /// Bytes with a sign.
    I8,
    /// 16-bit integers without a sign.
    U16,
    /// 16-bit integers.
    I16,
    /// 32-bit integers without a sign.
    U32,
    /// 32-bit integers.
    I32,
    /// 64-bit integers without a sign, of the bits that an input's labels have.
    U64,
    /// 64-bit integers.
    #[default]
    I64,
}

impl Labels {
    /// All of them.
    pub const ALL: [Self; 9] =
        [Self::Bool, Self::U8, Self::I8, Self::U16, Self::I16, Self::U32, Self::I32, Self::U64, Self::I64];

    /// The number that an input's label is in this type.
    #[must_use]
    pub fn number(self, label: i64) -> i128 {
        match self {
            Self::Bool => i128::from(label != 0),
            Self::U8 => i128::from(label as u8),
            Self::I8 => i128::from(label as i8),
            Self::U16 => i128::from(label as u16),
            Self::I16 => i128::from(label as i16),
            Self::U32 => i128::from(label as u32),
            Self::I32 => i128::from(label as i32),
            Self::U64 => i128::from(label as u64),
            Self::I64 => i128::from(label),
        }
    }
}

/// Type of soft targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shares {
    /// The widest that a backend reads.
    #[default]
    Wide,
    /// IEEE half precision.
    F16,
    /// Brain float.
    Bf16,
}

/// Factors of pixels and classes that come with the target.
#[derive(Clone, Debug, PartialEq)]
pub struct InputMap {
    /// Name that terms read it by.
    pub name: &'static str,
    /// K, or 1 for all classes.
    pub channels: usize,
    /// `[N, channels, *spatial]`
    pub values: Vec<f64>,
}

/// Logits and target of a case. Loss settings (activation, ignored labels) are part of the
/// [`Loss`].
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// Shape of the logits, `[N, K, *spatial]`.
    pub shape: Vec<usize>,
    /// Logits, row-major.
    pub logits: Vec<f64>,
    /// Labels `[N, *spatial]`, or soft targets of the logits' shape.
    pub target: oracle::Target,
    /// Shape of the target, where it is another than the one that fits.
    pub target_shape: Option<Vec<usize>>,
    /// Type of the labels.
    pub labels: Labels,
    /// Type of the soft targets.
    pub shares: Shares,
    /// Pixel weights `[N, *spatial]`.
    pub weights: Option<Vec<f64>>,
    /// Shape of the weights, where it is another.
    pub weights_shape: Option<Vec<usize>>,
    /// Proportions `[N, K]` for penalties that are given theirs.
    pub prior: Option<Vec<f64>>,
    /// Distance of neighbouring pixels along each spatial axis; by default 1.
    pub spacing: Option<Vec<f64>>,
    /// Maps given with the target.
    pub maps: Vec<InputMap>,
    /// Whether logits and target are handed over as transposed, non-contiguous views.
    pub strided: bool,
}

impl Input {
    /// `[N, *spatial]`
    #[must_use]
    pub fn pixel_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if shape.len() > 1 {
            shape.remove(1);
        }
        shape
    }

    /// `[N, channels, *spatial]`
    #[must_use]
    pub fn map_shape(&self, map: &InputMap) -> Vec<usize> {
        let mut shape = self.shape.clone();
        shape.iter_mut().skip(1).take(1).for_each(|axis| *axis = map.channels);
        shape
    }

    /// Shape that the target is handed over with.
    #[must_use]
    pub fn target_shape(&self) -> Vec<usize> {
        let fitting = match self.target {
            oracle::Target::Labels(_) => self.pixel_shape(),
            oracle::Target::Soft(_) => self.shape.clone(),
        };
        self.target_shape.clone().unwrap_or(fitting)
    }

    /// Shape that the weights are handed over with.
    #[must_use]
    pub fn weights_shape(&self) -> Vec<usize> {
        self.weights_shape.clone().unwrap_or_else(|| self.pixel_shape())
    }

    /// N, K, S.
    #[must_use]
    pub fn lengths(&self) -> [usize; 3] {
        let axis = |i: usize| self.shape.get(i).copied().unwrap_or(1);
        [axis(0), axis(1), self.shape.iter().skip(2).fold(1, |product, &length| product.saturating_mul(length))]
    }

    /// Checks that the numbers fill the shapes: what an adapter does before it makes tensors of
    /// them.
    ///
    /// # Errors
    /// [`LossError::Length`] with the first numbers that do not.
    pub fn check(&self) -> Result<(), LossError> {
        let [samples, classes, _] = self.lengths();
        let (what, count) = match &self.target {
            oracle::Target::Labels(labels) => ("labels", labels.len()),
            oracle::Target::Soft(shares) => ("soft targets", shares.len()),
        };
        let weights = self.weights.as_ref().map(|weights| ("pixel weights", weights.len(), self.weights_shape()));
        let prior = self.prior.as_ref().map(|prior| ("prior", prior.len(), vec![samples, classes]));
        let maps = self.maps.iter().map(|map| ("map", map.values.len(), self.map_shape(map)));
        let logits = ("logits", self.logits.len(), self.shape.clone());
        let both = [logits, (what, count, self.target_shape())];
        for (what, got, shape) in both.into_iter().chain(weights).chain(prior).chain(maps) {
            let places = shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
            if places != Some(got) {
                return Err(LossError::Length { what, shape, got });
            }
        }
        Ok(())
    }

    /// The same for the oracle.
    #[must_use]
    pub fn problem(&self, activation: oracle::Activation, ignore: Vec<i64>) -> oracle::Problem {
        let [samples, classes, pixels] = self.lengths();
        let spatial = self.shape.iter().skip(2).copied().collect();
        let Self { logits, weights, prior, spacing, maps, .. } = self.clone();
        let target = match &self.target {
            // One-hot integers are the labels that they say.
            oracle::Target::Labels(hot) if classes > 1 && self.target_shape() == self.shape => {
                let of = |i: usize| (0..classes).find(|k| hot[(i / pixels * classes + k) * pixels + i % pixels] == 1);
                oracle::Target::Labels((0..samples * pixels).map(|i| of(i).map_or(-1, |k| k as i64)).collect())
            }
            target => target.clone(),
        };
        oracle::Problem { samples, classes, pixels, spatial, activation, logits, target, ignore, weights, prior, spacing, maps }
    }

    /// The given prior as a table.
    #[must_use]
    pub fn prior_table(&self) -> Option<Table> {
        let [samples, classes, _] = self.lengths();
        self.prior.clone().and_then(|prior| Table::new(samples, classes, prior).ok())
    }
}

/// What a backend computed.
#[derive(Clone, Debug)]
pub struct Output {
    /// The total.
    pub total: f64,
    /// Per term: its value; and where it splits exactly, matching, size and constant.
    pub terms: Vec<Vec<f64>>,
    /// Gradient of the total, row-major.
    pub gradient: Vec<f64>,
}

/// A backend under test.
///
/// An input whose numbers do not fill its shapes is an error ([`Input::check`]), and so is a
/// backend that breaks a promise: another path than the one asked for, or a gradient of another
/// type. Should an adapter panic all the same, tests and reports name the case.
pub trait Adapter: Sync {
    /// Name in test names.
    fn name(&self) -> &'static str;

    /// What it is built on, for reports: `ndarray 0.17.2`. Empty where it cannot know.
    fn versions(&self) -> String {
        String::new()
    }

    /// Whether it reads logits of this type.
    fn supports(&self, dtype: Dtype) -> bool {
        let _ = dtype;
        true
    }

    /// Whether it reads labels of this type.
    fn reads_labels(&self, labels: Labels) -> bool {
        let _ = labels;
        true
    }

    /// Whether it reads soft targets of this type.
    fn reads_shares(&self, shares: Shares) -> bool {
        let _ = shares;
        true
    }

    /// Type of the algebra on the sums over pixels: `F64`, or `F32` on devices that have no other.
    fn algebra(&self) -> Dtype {
        Dtype::F64
    }

    /// Whether it reads maps. If not, cases and checks of maps are left out, but for their refusal.
    fn reads_maps(&self) -> bool {
        true
    }

    /// Whether its data is on the host, where labels and logits are checked.
    fn checks_values(&self) -> bool {
        true
    }

    /// Pixels of the largest case, of four classes each: 10⁸ logits unless it must be smaller.
    /// `None` leaves it out.
    fn largest_case(&self) -> Option<usize> {
        Some(25_000_000)
    }

    /// Text of its [ledger](crate::ledger::Ledger) of known differences.
    fn known_differences(&self) -> &'static str {
        ""
    }

    /// Total, terms and gradient.
    ///
    /// # Errors
    /// What the backend reports.
    fn value_and_gradient(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Output, LossError>;

    /// The evaluation with parts and regions.
    ///
    /// # Errors
    /// What the backend reports.
    fn evaluate(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Evaluation, LossError>;
}

/// Value of a term; and matching, size and constant where it splits: a row of [`Output::terms`].
#[must_use]
pub fn parts_of(term: &TermEvaluation) -> Vec<f64> {
    let split = term.split.iter().flat_map(|split| [split.matching, split.size, split.constant]);
    std::iter::once(term.value).chain(split).collect()
}
