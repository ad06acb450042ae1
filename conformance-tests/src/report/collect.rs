//! Runs the suite and sorts what it finds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::{Cell, Failure, HALVINGS, Numbers, OfDtype, Origin, Report, Standing, Summary, passes};
use crate::agreement::{self, Apart, Backend, Pair, Place, Round, Shared};
use crate::suite::{About, Selection, Subject, judge};
use crate::tolerance::Compared;
use crate::work::{guarded, spread};
use crate::{Adapter, Dtype};

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Tests done, each on all backends that have it.
    pub done: usize,
    /// Tests in all.
    pub of: usize,
    /// The one just done.
    pub test: &'a str,
}

/// Runs the selected tests of the suite on the adapters, and compares these with each other; each
/// computes a case once.
///
/// # Errors
/// A ledger that does not read, or that names no test.
pub fn run(
    adapters: &[&dyn Adapter],
    selection: &Selection,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Report, String> {
    let start = Instant::now();
    let backends = Backend::all(adapters)?;
    let is_large = |shared: &Shared| matches!(shared.test.subject, Subject::Large(_));
    // The large ones alone and last: each fills memory, and has all threads to itself.
    let (large, mut tests): (Vec<_>, Vec<_>) = Shared::all(&backends, selection).into_iter().partition(is_large);
    let (done, of) = (AtomicUsize::new(0), large.len() + tests.len());
    let outcome = |shared: &Shared| {
        let outcome = Outcome::of(shared, &backends);
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        progress(Progress { done, of, test: &shared.test.name });
        outcome
    };
    let mut outcomes = spread(tests.len(), |i| outcome(&tests[i]));
    outcomes.extend(large.iter().map(outcome));
    tests.extend(large);
    let mut collection = Collection::new(&backends);
    for (shared, outcome) in tests.iter().zip(outcomes) {
        collection.add(shared, outcome);
    }
    Ok(collection.report(selection.clone(), start.elapsed().as_secs_f64()))
}

/// What a test came to on each backend that has it, and between them.
struct Outcome {
    found: Vec<(usize, Result<Vec<Compared>, String>)>,
    apart: Vec<Apart>,
}

impl Outcome {
    fn of(shared: &Shared, backends: &[Backend<'_>]) -> Self {
        if let Some(round) = Round::new(shared, backends) {
            return Self { found: round.against_oracle(), apart: round.apart() };
        }
        let measure = |&i: &usize| (i, guarded(|| shared.test.measure(backends[i].adapter)));
        Self { found: shared.members.iter().map(measure).collect(), apart: Vec::new() }
    }
}

/// A report in the making.
struct Collection<'a> {
    backends: &'a [Backend<'a>],
    summaries: Vec<Summary>,
    cells: Vec<Cell>,
    standing: Vec<Standing>,
    pairs: Vec<Pair>,
    failures: Vec<Failure>,
    known: Vec<Failure>,
}

impl<'a> Collection<'a> {
    fn new(backends: &'a [Backend<'a>]) -> Self {
        let summary = |backend: &Backend<'_>| Summary {
            backend: backend.adapter.name().to_owned(),
            versions: backend.adapter.versions(),
            declared: backend.tests.len(),
            ran: 0,
            failed: 0,
            known: 0,
            worst: None,
            dtypes: Vec::new(),
        };
        Self {
            backends,
            summaries: backends.iter().map(summary).collect(),
            cells: Vec::new(),
            standing: Vec::new(),
            pairs: agreement::pairs(backends),
            failures: Vec::new(),
            known: Vec::new(),
        }
    }

    fn add(&mut self, shared: &Shared, outcome: Outcome) {
        for (i, found) in outcome.found {
            self.add_found(i, shared, found);
        }
        agreement::add(&mut self.pairs, self.backends, &shared.test, outcome.apart);
    }

    fn add_found(&mut self, i: usize, shared: &Shared, found: Result<Vec<Compared>, String>) {
        let (name, ledger) = (&shared.test.name, &self.backends[i].ledger);
        let about = shared.test.subject.about();
        if let Some(about) = about {
            self.stand(i, about, found.as_deref().unwrap_or_default());
        }
        let found = found.map(Compared::worst);
        let worst = found.as_ref().ok().and_then(Option::as_ref).cloned();
        let outcome = found.and_then(|worst| judge(worst.as_ref()));
        let expected = ledger.reason(name).filter(|_| outcome.is_err()).map(str::to_owned);
        let judged = ledger.judge(name, outcome);

        let summary = &mut self.summaries[i];
        summary.ran += 1;
        summary.failed += usize::from(judged.is_err());
        summary.known += usize::from(expected.is_some());
        if let Some(about) = about {
            let cell = cell(&mut self.cells, about, &summary.backend);
            cell.cases += 1;
            cell.failed += usize::from(judged.is_err());
            cell.known += usize::from(expected.is_some());
            if let Some(worst) = &worst {
                for place in [&mut cell.worst, &mut summary.worst, of_dtype(&mut summary.dtypes, about.dtype)] {
                    Place::keep_worst(place, about, worst);
                }
            }
        }
        let entry = |message| Failure { backend: self.backends[i].adapter.name().to_owned(), test: name.clone(), message };
        self.failures.extend(judged.err().map(entry));
        self.known.extend(expected.map(entry));
    }

    /// Halves the tolerance of a case. One that gave no numbers passes nothing.
    fn stand(&mut self, i: usize, about: &About, found: &[Compared]) {
        for numbers in [Numbers::All, Numbers::Values, Numbers::Gradient] {
            let meant = |c: &&Compared| match numbers {
                Numbers::All => true,
                Numbers::Values => c.what != "gradient",
                Numbers::Gradient => c.what == "gradient",
            };
            let backend = &self.summaries[i].backend;
            let is = |s: &Standing| &s.backend == backend && s.dtype == about.dtype && s.numbers == numbers;
            let at = self.standing.iter().position(is).unwrap_or_else(|| {
                let (backend, dtype) = (backend.clone(), about.dtype);
                self.standing.push(Standing { backend, dtype, numbers, cases: 0, passing: [0; HALVINGS + 1] });
                self.standing.len() - 1
            });
            let standing = &mut self.standing[at];
            standing.cases += 1;
            let times = found.iter().filter(meant).map(|c| c.times).max_by(f64::total_cmp).unwrap_or(f64::INFINITY);
            for (halved, passing) in standing.passing.iter_mut().enumerate() {
                *passing += usize::from(passes(times, halved));
            }
        }
    }

    fn report(mut self, selection: Selection, seconds: f64) -> Report {
        let backend = |name: &str| self.summaries.iter().position(|summary| summary.backend == name);
        let dtype = |dtype: Dtype| Dtype::ALL.iter().position(|d| *d == dtype);
        self.standing.sort_by_key(|s| (backend(&s.backend), dtype(s.dtype)));
        for summary in &mut self.summaries {
            summary.dtypes.sort_by_key(|of| dtype(of.dtype));
        }
        let Self { summaries: backends, cells, standing, pairs, failures, known, .. } = self;
        Report { origin: Origin::new(seconds), selection, backends, cells, pairs, standing, failures, known }
    }
}

/// The cell of a loss, new where there is none. Cases of a loss follow each other, so it is near
/// the end.
fn cell<'c>(cells: &'c mut Vec<Cell>, about: &About, backend: &str) -> &'c mut Cell {
    let is = |cell: &Cell| cell.loss == about.loss && cell.dtype == about.dtype && cell.backend == backend;
    let at = cells.iter().rposition(is).unwrap_or_else(|| {
        let (loss, backend, dtype) = (about.loss.clone(), backend.to_owned(), about.dtype);
        cells.push(Cell { loss, backend, dtype, cases: 0, failed: 0, known: 0, worst: None });
        cells.len() - 1
    });
    &mut cells[at]
}

fn of_dtype(dtypes: &mut Vec<OfDtype>, dtype: Dtype) -> &mut Option<Place> {
    let at = dtypes.iter().position(|of| of.dtype == dtype).unwrap_or_else(|| {
        dtypes.push(OfDtype { dtype, worst: None });
        dtypes.len() - 1
    });
    &mut dtypes[at].worst
}
