//! The whole suite as a list of tests, and what is taken from it.

use std::fmt::{Display, Formatter};
use std::sync::Arc;

use serde::Serialize;

use crate::cases::{self, Case, Large};
use crate::ledger::Ledger;
use crate::tolerance::Compared;
use crate::{Adapter, Dtype, defects, semantics};

/// What a test is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// A loss in a situation, for logits of a type.
    Case(About),
    /// The same with 10⁸ numbers.
    Large(About),
    /// A row of the semantics table.
    Semantics,
    /// A defect of another library.
    Defect,
}

/// A loss in a situation, for logits of a type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct About {
    /// Text of the loss.
    pub loss: String,
    /// The situation.
    pub situation: String,
    /// Type of the logits.
    pub dtype: Dtype,
}

impl Display for About {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.loss, self.situation, self.dtype)
    }
}

impl Subject {
    /// The loss, situation and type, where it is about one.
    #[must_use]
    pub fn about(&self) -> Option<&About> {
        match self {
            Self::Case(about) | Self::Large(about) => Some(about),
            Self::Semantics | Self::Defect => None,
        }
    }
}

type Body = dyn Fn(&dyn Adapter) -> Result<Vec<Compared>, String> + Send + Sync;

/// A named test of a backend.
#[derive(Clone)]
pub struct Test {
    /// Its name, without the backend's.
    pub name: String,
    /// What it is about.
    pub subject: Subject,
    case: Option<(Arc<Case>, Dtype)>,
    body: Arc<Body>,
}

impl Test {
    fn new(
        name: String,
        subject: Subject,
        body: impl Fn(&dyn Adapter) -> Result<Vec<Compared>, String> + Send + Sync + 'static,
    ) -> Self {
        Self { name, subject, case: None, body: Arc::new(body) }
    }

    fn of_case(case: &Arc<Case>, dtype: Dtype) -> Self {
        let about = About { loss: case.text.to_owned(), situation: case.situation.to_owned(), dtype };
        let body = {
            let case = Arc::clone(case);
            move |a: &dyn Adapter| case.measure(a, dtype)
        };
        Self { case: Some((Arc::clone(case), dtype)), ..Self::new(about.to_string(), Subject::Case(about), body) }
    }

    /// The case, and the type of its logits, where the test is one of a case: for comparing several
    /// backends on it.
    #[must_use]
    pub fn case(&self) -> Option<(&Case, Dtype)> {
        self.case.as_ref().map(|(case, dtype)| (case.as_ref(), *dtype))
    }

    /// Runs it on a backend. What was measured comes back also where it is too far off.
    ///
    /// # Errors
    /// What is wrong, in words, where it is not a number that is too far off.
    pub fn measure(&self, adapter: &dyn Adapter) -> Result<Vec<Compared>, String> {
        (self.body)(adapter)
    }

    /// Runs it on a backend.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn run(&self, adapter: &dyn Adapter) -> Result<(), String> {
        judge(Compared::worst(self.measure(adapter)?).as_ref())
    }
}

/// What the worst of a test's numbers means.
///
/// # Errors
/// That number, in words, if it is too far off.
pub fn judge(worst: Option<&Compared>) -> Result<(), String> {
    match worst {
        Some(worst) if worst.over() => Err(worst.to_string()),
        _ => Ok(()),
    }
}

/// The ledger of a backend, which must name nothing but its tests.
///
/// # Errors
/// The backend, and what is wrong with the ledger.
pub fn ledger(adapter: &dyn Adapter, tests: &[Test]) -> Result<Ledger, String> {
    let names: Vec<String> = tests.iter().map(|test| test.name.clone()).collect();
    Ledger::of(adapter.known_differences(), &names).map_err(|error| format!("{}: {error}", adapter.name()))
}

/// Which tests to run; by default all.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Selection {
    /// Text that the loss must contain, in any case.
    pub loss: Option<String>,
    /// Types of the logits; none means all.
    pub dtypes: Vec<Dtype>,
    /// Whether the case of 10⁸ numbers is left out.
    pub quick: bool,
}

impl Selection {
    /// Whether it takes a test. Where a loss or a type is asked for, tests that are about no single
    /// one are left out.
    #[must_use]
    pub fn takes(&self, test: &Test) -> bool {
        let Some(About { loss, dtype, .. }) = test.subject.about() else {
            return self.loss.is_none() && self.dtypes.is_empty();
        };
        let asked = |text: &String| loss.to_lowercase().contains(&text.to_lowercase());
        self.loss.as_ref().is_none_or(asked)
            && (self.dtypes.is_empty() || self.dtypes.contains(dtype))
            && !(self.quick && matches!(test.subject, Subject::Large(_)))
    }
}

/// Every test of a backend.
#[must_use]
pub fn tests(adapter: &dyn Adapter) -> Vec<Test> {
    let mut tests = Vec::new();
    for case in cases::all().into_iter().filter(|case| adapter.reads_maps() || !case.reads_maps()) {
        let case = Arc::new(case);
        tests.extend(case.dtypes().filter(|dtype| adapter.supports(*dtype)).map(|dtype| Test::of_case(&case, dtype)));
    }
    if let Some(large) = adapter.largest_case().map(|pixels| Large { pixels }) {
        let about = About { loss: Large::LOSS.to_owned(), situation: large.situation(), dtype: Large::DTYPE };
        tests.push(Test::new(format!("large/{}", large.name()), Subject::Large(about), move |a| large.measure(a)));
    }
    let rows = [semantics::CHECKS, semantics::notes::CHECKS, semantics::pressure::CHECKS, semantics::targets::CHECKS];
    let rows = rows.into_iter().flatten().chain(semantics::maps::checks(adapter.reads_maps()));
    let checks = rows.map(|&(name, check)| ("semantics", Subject::Semantics, name, check));
    let defects = defects::CHECKS.iter().map(|&(name, check)| ("defects", Subject::Defect, name, check));
    for (group, subject, name, check) in checks.chain(defects) {
        tests.push(Test::new(format!("{group}/{name}"), subject, move |a| check(a).map(|()| Vec::new())));
    }
    tests
}
