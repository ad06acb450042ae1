//! The whole suite as a list of tests.

use std::sync::Arc;

use crate::cases::{self, Large};
use crate::tolerance::Compared;
use crate::{Adapter, Dtype, defects, semantics};

/// What a test is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// A loss in a situation, for logits of a type.
    Case {
        /// Text of the loss.
        loss: String,
        /// The situation.
        situation: String,
        /// Type of the logits.
        dtype: Dtype,
    },
    /// 10⁸ numbers.
    Large,
    /// A row of the semantics table.
    Semantics,
    /// A defect of another library.
    Defect,
}

type Body = dyn Fn(&dyn Adapter) -> Result<Vec<Compared>, String> + Send + Sync;

/// A named test of a backend.
#[derive(Clone)]
pub struct Test {
    /// Its name, without the backend's.
    pub name: String,
    /// What it is about.
    pub subject: Subject,
    body: Arc<Body>,
}

impl Test {
    fn new(
        name: String,
        subject: Subject,
        body: impl Fn(&dyn Adapter) -> Result<Vec<Compared>, String> + Send + Sync + 'static,
    ) -> Self {
        Self { name, subject, body: Arc::new(body) }
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
        match Compared::worst(self.measure(adapter)?) {
            Some(worst) if worst.times > 1.0 => Err(worst.to_string()),
            _ => Ok(()),
        }
    }
}

/// Every test of a backend.
#[must_use]
pub fn tests(adapter: &dyn Adapter) -> Vec<Test> {
    let mut tests = Vec::new();
    for case in cases::all() {
        let case = Arc::new(case);
        for dtype in case.dtypes().filter(|dtype| adapter.supports(*dtype)) {
            let (loss, situation) = (case.text.to_owned(), case.situation.to_owned());
            let subject = Subject::Case { loss, situation, dtype };
            let case = Arc::clone(&case);
            tests.push(Test::new(format!("{}/{dtype}", case.name()), subject, move |a| case.measure(a, dtype)));
        }
    }
    if let Some(large) = adapter.largest_case().map(|pixels| Large { pixels }) {
        tests.push(Test::new(format!("large/{}", large.name()), Subject::Large, move |a| large.measure(a)));
    }
    let checks = semantics::CHECKS.iter().map(|&(name, check)| ("semantics", Subject::Semantics, name, check));
    let defects = defects::CHECKS.iter().map(|&(name, check)| ("defects", Subject::Defect, name, check));
    for (group, subject, name, check) in checks.chain(defects) {
        tests.push(Test::new(format!("{group}/{name}"), subject, move |a| check(a).map(|()| Vec::new())));
    }
    tests
}
