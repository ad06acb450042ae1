//! The suite on several backends as one report, for people ([`html`](Report::html)) and for
//! programs (serde).

mod collect;
mod html;
mod origin;

use serde::Serialize;

use crate::Dtype;
use crate::agreement::{Pair, Place};
use crate::suite::Selection;

pub use collect::{Progress, run};
pub use origin::Origin;

/// How often tolerances are halved.
pub const HALVINGS: usize = 10;

/// What the suite found. A number that is not finite is `null` in JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Versions, machine, date.
    pub origin: Origin,
    /// Which tests were run.
    pub selection: Selection,
    /// Each backend as a whole.
    pub backends: Vec<Summary>,
    /// Each loss × backend × type.
    pub cells: Vec<Cell>,
    /// The backends among themselves.
    pub pairs: Vec<Pair>,
    /// How many cases still pass when the tolerance is halved, and halved again.
    pub standing: Vec<Standing>,
    /// Tests that failed, and passed where the ledger expects them to fail.
    pub failures: Vec<Failure>,
    /// Tests that failed as the ledger says; the message is its reason.
    pub known: Vec<Failure>,
}

/// A backend as a whole.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Its name.
    pub backend: String,
    /// What it is built on; empty where it does not say.
    pub versions: String,
    /// Tests that the suite has for it.
    pub declared: usize,
    /// Tests that were run.
    pub ran: usize,
    /// Those that failed.
    pub failed: usize,
    /// Those that failed as the ledger says.
    pub known: usize,
    /// The worst number, in units of what is allowed.
    pub worst: Option<Place>,
    /// The same for each type of logits.
    pub dtypes: Vec<OfDtype>,
}

/// A backend on one type of logits.
#[derive(Clone, Debug, Serialize)]
pub struct OfDtype {
    /// The type.
    pub dtype: Dtype,
    /// The worst number.
    pub worst: Option<Place>,
}

/// A loss on a backend for a type of logits, over all situations.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// Text of the loss.
    pub loss: String,
    /// Name of the backend.
    pub backend: String,
    /// Type of the logits.
    pub dtype: Dtype,
    /// Cases run.
    pub cases: usize,
    /// Those that failed.
    pub failed: usize,
    /// Those that failed as the ledger says.
    pub known: usize,
    /// The worst number, with its situation.
    pub worst: Option<Place>,
}

/// Which numbers of a case are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Numbers {
    /// All of them.
    All,
    /// The total and the parts.
    Values,
    /// The gradient.
    Gradient,
}

/// Where a backend stands: cases that pass as the tolerance is halved.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// Name of the backend.
    pub backend: String,
    /// Type of the logits.
    pub dtype: Dtype,
    /// Which numbers.
    pub numbers: Numbers,
    /// Cases run.
    pub cases: usize,
    /// Those that pass with the tolerance divided by 2⁰, 2¹, … 2¹⁰.
    pub passing: [usize; HALVINGS + 1],
}

/// A test of a backend, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// Name of the backend.
    pub backend: String,
    /// Name of the test.
    pub test: String,
    /// What is wrong.
    pub message: String,
}

impl Report {
    /// Whether there is nothing to complain of.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.failures.is_empty() && self.disagreements() == 0
    }

    /// Cases on which two backends are too far apart, over all pairs.
    #[must_use]
    pub fn disagreements(&self) -> usize {
        self.pairs.iter().map(|pair| pair.disagreements.len()).sum()
    }

    /// Tests run, over all backends.
    #[must_use]
    pub fn ran(&self) -> usize {
        self.backends.iter().map(|backend| backend.ran).sum()
    }

    /// All in a line.
    #[must_use]
    pub fn verdict(&self) -> String {
        let (ran, failed, apart) = (self.ran(), self.failures.len(), self.disagreements());
        let backends = counted(self.backends.len(), "backend", "backends");
        if self.agrees() {
            let each_other = if self.pairs.is_empty() { "" } else { " and with each other" };
            return format!("{backends} in {} agree with the oracle{each_other}", counted(ran, "test", "tests"));
        }
        let failed = (failed > 0).then(|| format!("{failed} of {} failed", counted(ran, "test", "tests")));
        let apart = (apart > 0).then(|| format!("backends are apart in {}", counted(apart, "comparison", "comparisons")));
        failed.into_iter().chain(apart).collect::<Vec<_>>().join(", ")
    }

    /// One page without anything from elsewhere: a heat map and tables.
    #[must_use]
    pub fn html(&self) -> String {
        html::page(self)
    }
}

fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// How often the tolerance can be halved until an error of so many times what is allowed fails, up
/// to [`HALVINGS`]; `None` where it fails as it is.
#[must_use]
pub fn halvings(times: f64) -> Option<usize> {
    (0..=HALVINGS).rev().find(|&i| passes(times, i))
}

fn passes(times: f64, halved: usize) -> bool {
    (0..halved).fold(times, |times, _| 2.0 * times) <= 1.0
}

/// An error in units of what is allowed, in a few letters.
#[must_use]
pub fn short(times: f64) -> String {
    if times == 0.0 {
        "0".to_owned()
    } else if !times.is_finite() {
        "∞".to_owned()
    } else if !(0.01..100.0).contains(&times) {
        format!("{times:.0e}")
    } else if times >= 10.0 {
        format!("{times:.0}")
    } else {
        format!("{times:.2}")
    }
}

#[cfg(all(test, feature = "ndarray"))]
mod tests;
