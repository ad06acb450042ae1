//! Statistics as a value: sums of tiles, of threads and of machines, and the loss of them all.

use std::ops::Range;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::expr::Table;
use crate::{Detail, Evaluation, Facts, Inputs, Loss, LossError, Map, Passes, Pressure, Program, Scope, Statistic};

/// What a loss knows of logits and target: a table of `[N, K]` numbers for each statistic.
///
/// Statistics add up. Feed a volume in tiles, `[N, K, *tile]`, of any shape and in any order, and
/// only one tile is in memory at a time. Statistics also stack: the samples of another thread or
/// machine become further rows. Sums are `f64`, so the result matches the same pixels in one piece
/// up to the last digits.
///
/// With serde they can be stored and sent, as the text of the loss and one table per statistic.
/// [`Loss`] must be able to read its terms back.
///
/// A map derived from whole samples cannot be made from tiles. Give it with each tile, or pass each
/// sample as one tile; otherwise the second tile is refused with [`LossError::DerivedInParts`].
///
/// ```
/// # use loss_core::{Loss, expr::Table};
/// let loss: Loss = "ce + dice".parse()?;
/// let sums = loss.statistics(3)?;      // with backend-ndarray: sums.add(logits.view(), &target)?
/// assert!(sums.whole(None).is_err());  // then sums.whole(None)?.evaluation() and .gradient(..)?
/// # Ok::<(), loss_core::LossError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Statistics {
    loss: Loss,
    program: Arc<Program>,
    tables: Vec<Table>,
    derived: Vec<Map>,
    facts: Option<Facts>,
}

/// The loss of everything that was added: its value, and the gradient of each tile.
#[derive(Clone, Debug)]
pub struct Whole {
    loss: Loss,
    program: Arc<Program>,
    samples: usize,
    evaluation: Evaluation,
    inputs: Inputs,
    upstream: Vec<Option<Table>>,
    /// That of each term.
    of_terms: Vec<Vec<Option<Table>>>,
    derived: Vec<Map>,
}

impl Loss {
    /// Empty statistics, for logits with K classes.
    ///
    /// # Errors
    /// As [`Loss::program`].
    pub fn statistics(&self, classes: usize) -> Result<Statistics, LossError> {
        let program = self.program(classes, Detail::Parts)?;
        Ok(Statistics { program, loss: self.clone(), tables: Vec::new(), derived: Vec::new(), facts: None })
    }
}

fn fits(expected: [usize; 2], got: [usize; 2]) -> Result<(), LossError> {
    if expected == got { Ok(()) } else { Err(LossError::TileMismatch { expected, got }) }
}

fn of_the_whole(map: &Map, of: &'static str) -> LossError {
    LossError::DerivedInParts { map: map.id(), name: map.name().to_owned(), of }
}

/// Refuses maps that were made of a whole batch, where it is, or becomes, a part.
fn no_batch<'m>(mut derived: impl Iterator<Item = &'m Map>) -> Result<(), LossError> {
    let of_batch = |map: &&Map| matches!(map, Map::Derived(how) if how.scope() == Scope::Batch);
    derived.find(of_batch).map_or(Ok(()), |map| Err(of_the_whole(map, "whole batches")))
}

impl Statistics {
    /// The loss.
    #[must_use]
    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// The sums, in the order of [`Plan::statistics`](crate::Plan::statistics); none before the
    /// first pixels.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Adds pixels of the same samples, on a backend that keeps its small arrays on the host.
    ///
    /// # Errors
    /// [`LossError::TileMismatch`] where it has other samples than the tiles before it, or other
    /// classes; [`LossError::DerivedInParts`]; what the backend refuses. Then nothing is added.
    pub fn add_on<P: Passes + ?Sized>(&mut self, call: &mut P) -> Result<(), LossError> {
        let geometry = call.geometry();
        let samples = self.samples().unwrap_or(geometry.samples);
        fits([samples, self.classes()], [geometry.samples, geometry.classes])?;
        let facts = call.facts();
        let plan = self.program.plan();
        let derived: Vec<Map> = call.derive(plan)?.into_iter().cloned().collect();
        let tables = call.statistics(plan)?;
        let valid = plan.statistics().iter().position(|known| *known == Statistic::VALID_SIZE).and_then(|at| tables.get(at));
        let weight = valid.map_or(0.0, |table| table.values().iter().sum());
        let facts = facts.map(|facts| Facts { valid: Some(facts.counted(weight)), ..facts });
        self.sum(tables, derived, facts)
    }

    /// Adds what another has seen of the same samples: tiles in another thread, or on another
    /// machine.
    ///
    /// # Errors
    /// [`LossError::OtherLoss`] where it is of another loss, [`LossError::TileMismatch`] where it
    /// has other samples or classes, [`LossError::DerivedInParts`]. Then nothing is added.
    pub fn merge(&mut self, other: Self) -> Result<(), LossError> {
        self.belongs(&other)?;
        let got = other.samples().or(self.samples()).unwrap_or(0);
        fits([self.samples().unwrap_or(got), self.classes()], [got, other.classes()])?;
        self.sum(other.tables, other.derived, other.facts)
    }

    /// Appends the samples of another.
    ///
    /// # Errors
    /// [`LossError::OtherLoss`] where it is of another loss, [`LossError::TileMismatch`] where it
    /// has other classes, [`LossError::DerivedInParts`] where a map was made of a batch that is a
    /// part now. Then nothing is taken.
    pub fn stack(&mut self, other: Self) -> Result<(), LossError> {
        self.belongs(&other)?;
        let rows = other.samples().unwrap_or(0);
        fits([rows, self.classes()], [rows, other.classes()])?;
        if self.tables.is_empty() || other.tables.is_empty() {
            return self.sum(other.tables, other.derived, other.facts);
        }
        no_batch(self.derived.iter().chain(&other.derived))?;
        let below = |(a, b): (&Table, &Table)| {
            let values = a.values().iter().chain(b.values()).copied().collect();
            Table::new(a.rows() + b.rows(), a.columns(), values)
        };
        self.tables = self.tables.iter().zip(&other.tables).map(below).collect::<Result<_, _>>()?;
        self.derived.extend(other.derived);
        self.facts = self.facts.take().zip(other.facts).map(|(a, b)| a.with(b));
        Ok(())
    }

    fn belongs(&self, other: &Self) -> Result<(), LossError> {
        if self.loss == other.loss {
            return Ok(());
        }
        Err(LossError::OtherLoss { loss: self.loss.to_string(), other: other.loss.to_string() })
    }

    /// Samples seen so far, if any.
    #[must_use]
    pub fn samples(&self) -> Option<usize> {
        self.tables.first().map(Table::rows)
    }

    fn classes(&self) -> usize {
        self.program.plan().classes()
    }

    fn sum(&mut self, tables: Vec<Table>, derived: Vec<Map>, facts: Option<Facts>) -> Result<(), LossError> {
        if self.tables.is_empty() {
            (self.tables, self.derived, self.facts) = (tables, derived, facts);
        } else if !tables.is_empty() {
            if let Some(map) = self.derived.iter().chain(&derived).next() {
                return Err(of_the_whole(map, "whole samples"));
            }
            self.tables = self.tables.iter().zip(&tables).map(|(a, b)| a.plus(b)).collect();
            self.facts = self.facts.take().zip(facts).map(|(a, b)| a.with(b));
        }
        Ok(())
    }

    /// The loss of all that was seen. The prior is for penalties with `target=given`: `[N, K]`, or
    /// `[1, K]` for all samples.
    ///
    /// # Errors
    /// [`LossError::NoTiles`] where nothing was added; as [`Program::outputs`].
    pub fn whole(&self, prior: Option<&Table>) -> Result<Whole, LossError> {
        let samples = self.samples().ok_or(LossError::NoTiles)?;
        let inputs = Inputs { facts: self.facts.clone(), ..self.loss.inputs(samples, prior.cloned()) };
        Ok(Whole {
            loss: self.loss.clone(),
            program: Arc::clone(&self.program),
            samples,
            evaluation: self.program.evaluate(&self.tables, &inputs)?,
            upstream: self.program.upstream(&self.tables, &inputs, &[1.0])?,
            of_terms: self.program.upstream_of_terms(&self.tables, &inputs)?,
            inputs,
            derived: self.derived.clone(),
        })
    }
}

impl Whole {
    /// The loss.
    #[must_use]
    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// Its value, with all that explains it.
    #[must_use]
    pub fn evaluation(&self) -> &Evaluation {
        &self.evaluation
    }

    /// The same whole, for gradients of some of its samples alone: those of one machine.
    ///
    /// # Errors
    /// [`LossError::Unsupported`] for samples that it does not have; [`LossError::DerivedInParts`]
    /// for a part of a batch that a map was made of.
    pub fn rows(&self, rows: Range<usize>) -> Result<Self, LossError> {
        if rows.start > rows.end || rows.end > self.samples {
            let (got, expected) = (format!("{rows:?} of {}", self.samples), "a range of the samples that were seen");
            return Err(LossError::Unsupported { what: "rows", got, expected });
        }
        if rows.len() < self.samples {
            no_batch(self.derived.iter())?;
        }
        let part = |table: &Table| {
            let columns = table.columns();
            Table::new(rows.len(), columns, table.values()[rows.start * columns..rows.end * columns].to_vec())
        };
        let parts = |upstream: &Vec<Option<Table>>| {
            upstream.iter().map(|table| table.as_ref().map(part).transpose()).collect::<Result<Vec<_>, LossError>>()
        };
        let of_terms = self.of_terms.iter().map(parts).collect::<Result<_, _>>()?;
        Ok(Self { samples: rows.len(), upstream: parts(&self.upstream)?, of_terms, ..self.clone() })
    }

    /// Writes the gradient of the total for the logits of one tile, as they were when it was added.
    ///
    /// # Errors
    /// As [`Statistics::add_on`].
    pub fn gradient_on<P: Passes + ?Sized>(&self, call: &mut P, gradient: &mut P::Gradient) -> Result<(), LossError> {
        self.derive_on(call)?;
        call.logit_gradient(self.program.plan(), &self.upstream, gradient)
    }

    /// What the pixels of one tile, as they were when it was added, contribute to the [`Pressure`]
    /// of the whole on its classes: [`Pressure::add`] adds tiles up.
    ///
    /// # Errors
    /// As [`Statistics::add_on`].
    pub fn pressure_on<P: Passes + ?Sized>(&self, call: &mut P) -> Result<Pressure, LossError> {
        self.derive_on(call)?;
        let sums = call.gradient_sums(self.program.plan(), &self.of_terms)?;
        Ok(self.program.pressure(&sums, &self.inputs))
    }

    /// Makes the derived maps of a tile that belongs to the whole.
    fn derive_on<P: Passes + ?Sized>(&self, call: &mut P) -> Result<(), LossError> {
        let (plan, geometry) = (self.program.plan(), call.geometry());
        fits([self.samples, plan.classes()], [geometry.samples, geometry.classes])?;
        call.derive(plan).map(|_| ())
    }
}

/// Statistics as they are kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    loss: Loss,
    classes: usize,
    samples: usize,
    /// By name, which for a derived map holds its id.
    sums: Vec<(String, Vec<f64>)>,
    /// Ids of the maps that were derived.
    derived: Vec<String>,
    #[serde(default)]
    facts: Option<Facts>,
}

impl Serialize for Statistics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = self.program.plan().statistics().iter().zip(&self.tables);
        Kept {
            loss: self.loss.clone(),
            classes: self.classes(),
            samples: self.samples().unwrap_or(0),
            sums: named.map(|(statistic, table)| (statistic.to_string(), table.values().to_vec())).collect(),
            derived: self.derived.iter().map(Map::id).collect(),
            facts: self.facts.clone(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Statistics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Kept { loss, classes, samples, sums, derived, facts } = Kept::deserialize(deserializer)?;
        let mut read = loss.statistics(classes).map_err(D::Error::custom)?;
        let plan = read.program.plan();
        if !sums.is_empty() {
            let names = plan.statistics().iter().map(ToString::to_string);
            if !names.eq(sums.iter().map(|(name, _)| name.clone())) {
                return Err(D::Error::custom("the sums are not those of the loss"));
            }
            let tables = plan.statistics().iter().zip(sums);
            let tables = tables.map(|(statistic, (_, values))| Table::new(samples, plan.columns(statistic), values));
            read.tables = tables.collect::<Result<_, _>>().map_err(D::Error::custom)?;
        }
        read.facts = facts;
        read.derived = plan.maps().iter().filter(|map| derived.contains(&map.id())).cloned().collect();
        Ok(read)
    }
}
