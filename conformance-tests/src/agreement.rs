//! Backends among themselves: each pair on every case that both support.
//!
//! Two backends may differ by twice what each may differ from the oracle, on the oracle's scales.
//! The case of 10⁸ numbers is left to the oracle: two of its gradients do not fit beside each
//! other everywhere.

use std::fmt::{Display, Formatter};

use serde::Serialize;

use crate::cases::{Case, Reference};
use crate::ledger::Ledger;
use crate::suite::{self, About, Selection, Test};
use crate::tolerance::Compared;
use crate::work::{guarded, spread};
use crate::{Adapter, Dtype, Output};

/// A number that was measured, and where.
#[derive(Clone, Debug, Serialize)]
pub struct Place {
    /// The case.
    #[serde(flatten)]
    pub about: About,
    /// What was measured there.
    #[serde(flatten)]
    pub measured: Compared,
}

impl Place {
    /// Keeps the worse of two places.
    pub(crate) fn keep_worst(worst: &mut Option<Self>, about: &About, measured: &Compared) {
        if worst.as_ref().is_none_or(|worst| worst.measured.times < measured.times) {
            *worst = Some(Self { about: about.clone(), measured: measured.clone() });
        }
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.measured.what, self.about)
    }
}

/// Two backends on the cases that both support.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// Their names.
    pub backends: [String; 2],
    /// Cases that both computed.
    pub cases: usize,
    /// Where they are farthest apart, in units of what is allowed; `got` is the first's number and
    /// `want` the second's.
    pub worst: Option<Place>,
    /// Where they are too far apart.
    pub disagreements: Vec<Disagreement>,
    #[serde(skip)]
    members: [usize; 2],
}

/// A case on which two backends disagree.
#[derive(Clone, Debug, Serialize)]
pub struct Disagreement {
    /// Name of the case.
    pub test: String,
    /// How they differ.
    pub message: String,
}

impl Display for Pair {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let [one, other] = &self.backends;
        write!(f, "{one} and {other}")
    }
}

/// Compares each pair of backends on every selected case; each backend computes a case once. Known
/// differences are left out.
///
/// # Errors
/// A ledger that does not read, or that names no test.
pub fn agreement(adapters: &[&dyn Adapter], selection: &Selection) -> Result<Vec<Pair>, String> {
    let backends = Backend::all(adapters)?;
    let tests: Vec<Shared> =
        Shared::all(&backends, selection).into_iter().filter(|shared| shared.test.case().is_some()).collect();
    let found = spread(tests.len(), |i| Round::new(&tests[i], &backends).map(|round| round.apart()));
    let mut pairs = pairs(&backends);
    for (shared, apart) in tests.iter().zip(found) {
        add(&mut pairs, &backends, &shared.test, apart.unwrap_or_default());
    }
    Ok(pairs)
}

/// A backend with its tests and its ledger.
pub(crate) struct Backend<'a> {
    pub(crate) adapter: &'a dyn Adapter,
    pub(crate) tests: Vec<Test>,
    pub(crate) ledger: Ledger,
}

impl<'a> Backend<'a> {
    pub(crate) fn all(adapters: &[&'a dyn Adapter]) -> Result<Vec<Self>, String> {
        let backend = |adapter: &&'a dyn Adapter| {
            let tests = suite::tests(*adapter);
            let ledger = suite::ledger(*adapter, &tests)?;
            Ok(Self { adapter: *adapter, tests, ledger })
        };
        adapters.iter().map(backend).collect()
    }
}

/// A test, and the backends that have it.
pub(crate) struct Shared {
    pub(crate) test: Test,
    pub(crate) members: Vec<usize>,
}

impl Shared {
    /// The selected tests of all backends, each once.
    pub(crate) fn all(backends: &[Backend<'_>], selection: &Selection) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        let mut known = std::collections::HashMap::new();
        for (i, backend) in backends.iter().enumerate() {
            for test in backend.tests.iter().filter(|test| selection.takes(test)) {
                let at = *known.entry(test.name.clone()).or_insert(all.len());
                match all.get_mut(at) {
                    Some(shared) => shared.members.push(i),
                    None => all.push(Self { test: test.clone(), members: vec![i] }),
                }
            }
        }
        all
    }
}

/// A case, computed once by the oracle and by each backend that supports it.
pub(crate) struct Round<'a> {
    backends: &'a [Backend<'a>],
    reference: Reference,
    outputs: Vec<(usize, Result<Output, String>)>,
}

/// How far the backends of a pair, by their places, are apart at most.
pub(crate) type Apart = ([usize; 2], Result<Compared, String>);

impl<'a> Round<'a> {
    /// `None` where the test is not one of a case.
    pub(crate) fn new(shared: &Shared, backends: &'a [Backend<'a>]) -> Option<Self> {
        let (case, dtype) = shared.test.case()?;
        let outputs = shared.members.iter().map(|&i| (i, output(backends[i].adapter, case, dtype))).collect();
        Some(Self { backends, reference: case.reference(dtype), outputs })
    }

    /// Each backend against the oracle.
    pub(crate) fn against_oracle(&self) -> Vec<(usize, Result<Vec<Compared>, String>)> {
        let measure = |output: &Result<Output, String>| self.reference.measure(output.as_ref().map_err(Clone::clone)?);
        self.outputs.iter().map(|(i, output)| (*i, measure(output))).collect()
    }

    /// Each pair.
    pub(crate) fn apart(&self) -> Vec<Apart> {
        let mut all = Vec::new();
        for (at, (i, one)) in self.outputs.iter().enumerate() {
            for (j, other) in self.outputs.iter().skip(at + 1) {
                let outputs = self.given(*i, one).and_then(|one| Ok((one, self.given(*j, other)?)));
                let apart = outputs.and_then(|(one, other)| self.reference.apart(one, other));
                let worst = apart.and_then(|all| Compared::worst(all).ok_or_else(|| "nothing to compare".to_owned()));
                all.push(([*i, *j], worst));
            }
        }
        all
    }

    fn given<'o>(&self, i: usize, output: &'o Result<Output, String>) -> Result<&'o Output, String> {
        output.as_ref().map_err(|error| format!("{} gives none: {error}", self.backends[i].adapter.name()))
    }
}

fn output(adapter: &dyn Adapter, case: &Case, dtype: Dtype) -> Result<Output, String> {
    guarded(|| case.output(adapter, dtype))
}

/// Every pair, with nothing compared yet.
pub(crate) fn pairs(backends: &[Backend<'_>]) -> Vec<Pair> {
    let name = |i: usize| backends[i].adapter.name().to_owned();
    let pair = |i, j| Pair { backends: [name(i), name(j)], cases: 0, worst: None, disagreements: Vec::new(), members: [i, j] };
    (0..backends.len()).flat_map(|i| (i + 1..backends.len()).map(move |j| pair(i, j))).collect()
}

/// Adds what was found on a test, unless one of the two is known to differ there.
pub(crate) fn add(pairs: &mut [Pair], backends: &[Backend<'_>], test: &Test, found: Vec<Apart>) {
    for (members, found) in found {
        let known = members.iter().any(|&i| backends[i].ledger.reason(&test.name).is_some());
        let pair = pairs.iter_mut().find(|pair| pair.members == members && !known);
        if let (Some(pair), Some(about)) = (pair, test.subject.about()) {
            pair.add(about, found);
        }
    }
}

impl Pair {
    fn add(&mut self, about: &About, found: Result<Compared, String>) {
        let wrong = match found {
            Ok(measured) => {
                self.cases += 1;
                Place::keep_worst(&mut self.worst, about, &measured);
                measured.over().then(|| self.words(&measured))
            }
            Err(error) => Some(error),
        };
        self.disagreements.extend(wrong.map(|message| Disagreement { test: about.to_string(), message }));
    }

    fn words(&self, Compared { what, at, got, want, error, times }: &Compared) -> String {
        let [one, other] = &self.backends;
        format!(
            "{what}: at {at} {one} gives {got:e}, {other} {want:e}: {error:.2e} of the scale, {times:.3} times what is allowed"
        )
    }
}
