//! What the oracle says of a case, and on which scales numbers are compared.

use crate::Output;
use crate::oracle::Answer;
use crate::tolerance::{Compared, Tolerance, compared};

/// What the oracle says, the scale of each number, and how far it may be off.
#[derive(Clone, Debug)]
pub struct Reference {
    want: Output,
    scales: Scales,
    allowed: Tolerance,
}

#[derive(Clone, Debug)]
struct Scales {
    total: f64,
    terms: Vec<Vec<f64>>,
    gradient: f64,
}

impl Reference {
    pub(super) fn new(answer: &Answer, allowed: Tolerance) -> Self {
        let Answer { total, terms, gradient, gradient_scale } = answer;
        let want = Output {
            total: total.value,
            terms: terms.iter().map(|term| term.iter().map(|part| part.value).collect()).collect(),
            gradient: gradient.clone(),
        };
        let terms = terms.iter().map(|term| term.iter().map(|part| part.scale).collect()).collect();
        Self { want, scales: Scales { total: total.scale, terms, gradient: *gradient_scale }, allowed }
    }

    /// The same for a backend whose algebra on the sums over K classes is in another type than
    /// `f64`.
    pub(super) fn with_algebra_in(self, dtype: crate::Dtype, classes: usize) -> Self {
        Self { allowed: self.allowed.with_algebra_in(dtype, classes), ..self }
    }

    /// Measures what a backend computed.
    ///
    /// # Errors
    /// Where the numbers are not as many as they should be.
    pub fn measure(&self, got: &Output) -> Result<Vec<Compared>, String> {
        self.all(got, &self.want, self.allowed)
    }

    /// Measures how far two backends are apart, each of which may be off from the oracle.
    ///
    /// # Errors
    /// Where one gives another number of numbers than the other.
    pub fn apart(&self, one: &Output, other: &Output) -> Result<Vec<Compared>, String> {
        self.all(one, other, self.allowed.twice())
    }

    fn all(&self, got: &Output, want: &Output, allowed: Tolerance) -> Result<Vec<Compared>, String> {
        let mut all = self.values_of(got, want, allowed)?;
        all.push(compared("gradient", &got.gradient, &want.gradient, self.scales.gradient, allowed)?);
        Ok(all)
    }

    /// The total and the parts of the terms alone.
    pub(super) fn values(&self, got: &Output) -> Result<Vec<Compared>, String> {
        self.values_of(got, &self.want, self.allowed)
    }

    fn values_of(&self, got: &Output, want: &Output, allowed: Tolerance) -> Result<Vec<Compared>, String> {
        let allowed = Tolerance { rounding: 0.0, least: 1e-30, ..allowed };
        let mut all = vec![compared("total", &[got.total], &[want.total], self.scales.total, allowed)?];
        if got.terms.len() != want.terms.len() {
            return Err(format!("{} terms, expected {}", got.terms.len(), want.terms.len()));
        }
        for (i, ((got, want), scales)) in got.terms.iter().zip(&want.terms).zip(&self.scales.terms).enumerate() {
            if got.len() != want.len() {
                return Err(format!("term {i} has {} parts, expected {}", got.len(), want.len()));
            }
            let parts = ["value", "matching", "size", "constant"].into_iter().zip(scales);
            for ((part, scale), (got, want)) in parts.zip(got.iter().zip(want)) {
                all.push(compared(&format!("{part} of term {i}"), &[*got], &[*want], *scale, allowed)?);
            }
        }
        Ok(all)
    }
}
