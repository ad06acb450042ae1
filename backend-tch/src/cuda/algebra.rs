//! The algebra of a loss as steps of one kernel: LibTorch would launch one for each.

use std::cell::{Cell, RefCell};

use loss_core::LossError;
use loss_core::expr::{Algebra, Op, Table};

/// The kernel.
const KERNEL: &str = include_str!("algebra.cu");

/// Words of a launch: a kernel's arguments are 4 KB at most.
const WORDS: usize = 480;

/// Numbers that all arrays of a loss may take: half a mebibyte.
const NUMBERS: usize = 1 << 16;

/// The kernel's source.
#[must_use]
pub fn source(threads: usize) -> String {
    format!("#define THREADS {threads}\n#define WORDS {WORDS}\n{KERNEL}")
}

const FILL: u64 = 0;
const COPY: u64 = 1;
const COLUMN: u64 = 2;

/// What the kernel knows an operation by.
fn code(op: Op) -> Option<u64> {
    Some(match op {
        Op::Neg => 3,
        Op::Abs => 4,
        Op::Sign => 5,
        Op::Exp => 6,
        Op::ExpM1 => 7,
        Op::Ln => 8,
        Op::Powf(_) => 9,
        Op::Add => 10,
        Op::Sub => 11,
        Op::Mul => 12,
        Op::Div => 13,
        Op::Max => 14,
        Op::Greater => 15,
        Op::SumSamples => 16,
        Op::SumClasses => 17,
        _ => return None,
    })
}

/// An array: where it lies, and which of its axes are longer than one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) at: usize,
    rows: bool,
    columns: bool,
}

/// Records what is done with arrays, and where they are to lie.
pub(crate) struct Recorder {
    samples: usize,
    classes: usize,
    /// Each step with the number that follows a [`FILL`].
    steps: RefCell<Vec<(u64, Option<u64>)>>,
    next: Cell<usize>,
    /// Single numbers that are there already.
    filled: RefCell<Vec<(u64, Place)>>,
}

impl Recorder {
    /// Nothing is recorded; the first numbers are left for the statistics.
    pub(crate) fn new(samples: usize, classes: usize, taken: usize) -> Self {
        Self { samples, classes, steps: RefCell::default(), next: Cell::new(taken), filled: RefCell::default() }
    }

    /// Numbers that all arrays take; `None` where they are too many.
    pub(crate) fn numbers(&self) -> Option<usize> {
        Some(self.next.get()).filter(|numbers| *numbers <= NUMBERS)
    }

    /// An array `[N, K]` that is there.
    pub(crate) fn given(&self, at: usize) -> Place {
        self.shaped(at, true, true)
    }

    /// The first column of one, `[N, 1]`.
    pub(crate) fn column(&self, at: usize) -> Place {
        let to = self.place(true, false);
        self.record(COLUMN, to, self.given(at), to);
        to
    }

    fn shaped(&self, at: usize, rows: bool, columns: bool) -> Place {
        Place { at, rows: rows && self.samples > 1, columns: columns && self.classes > 1 }
    }

    /// A new array.
    fn place(&self, rows: bool, columns: bool) -> Place {
        let place = self.shaped(self.next.get(), rows, columns);
        let length = (if place.rows { self.samples } else { 1 }).saturating_mul(if place.columns { self.classes } else { 1 });
        self.next.set(place.at.saturating_add(length));
        place
    }

    fn word(code: u64, to: Place, x: Place, y: Place) -> u64 {
        let flags = [to.rows, to.columns, x.rows, x.columns, y.rows, y.columns];
        let shape = flags.iter().enumerate().fold(0u64, |shape, (bit, flag)| shape | u64::from(*flag) << bit);
        // What does not fit here is not launched (`numbers`).
        let at = |place: Place| (place.at & 0xffff) as u64;
        code | shape << 8 | at(to) << 16 | at(x) << 32 | at(y) << 48
    }

    fn record(&self, code: u64, to: Place, x: Place, y: Place) {
        self.steps.borrow_mut().push((Self::word(code, to, x, y), None));
    }

    fn fill(&self, to: Place, value: f64) {
        self.steps.borrow_mut().push((Self::word(FILL, to, to, to), Some(value.to_bits())));
    }

    /// Arrays one after the other, each `[N, K]` or one number: zeros where there is none.
    pub(crate) fn together(&self, arrays: &[Option<Place>], full: bool) -> usize {
        let first = self.next.get();
        for array in arrays {
            let to = self.place(full, full);
            match array {
                Some(array) => self.record(COPY, to, *array, *array),
                None => self.fill(to, 0.0),
            }
        }
        first
    }

    /// The arguments of each launch, but for the address of the arrays, which is their first word.
    pub(crate) fn launches(&self) -> Vec<Vec<u64>> {
        let mut all: Vec<Vec<u64>> = Vec::new();
        for (word, number) in self.steps.borrow().iter() {
            let length = 1 + usize::from(number.is_some());
            if all.last().is_none_or(|last| last.len() + length > WORDS) {
                all.push(Vec::with_capacity(WORDS));
            }
            all.last_mut().into_iter().for_each(|last| last.extend(std::iter::once(*word).chain(*number)));
        }
        let arguments = |mut words: Vec<u64>| {
            let head = [0, self.samples as u64, self.classes as u64, words.len() as u64];
            words.resize(WORDS, 0);
            head.into_iter().chain(words).collect()
        };
        all.into_iter().map(arguments).collect()
    }
}

impl Algebra for Recorder {
    type Array = Place;

    fn constant(&self, table: &Table) -> Result<Place, LossError> {
        let (rows, columns, values) = (table.rows(), table.columns(), table.values());
        if let [value] = values {
            let known = self.filled.borrow().iter().find(|(bits, _)| *bits == value.to_bits()).map(|(_, place)| *place);
            return Ok(known.unwrap_or_else(|| {
                let to = self.place(false, false);
                self.fill(to, *value);
                self.filled.borrow_mut().push((value.to_bits(), to));
                to
            }));
        }
        let to = self.place(rows > 1, columns > 1);
        match values {
            [first, rest @ ..] if rest.iter().all(|value| value.to_bits() == first.to_bits()) => self.fill(to, *first),
            _ => {
                let one = |(i, value): (usize, &f64)| self.fill(Place { at: to.at + i, rows: false, columns: false }, *value);
                values.iter().enumerate().for_each(one);
            }
        }
        Ok(to)
    }

    fn apply(&self, op: Op, arguments: &[&Place]) -> Result<Place, LossError> {
        let unsupported = || LossError::Unsupported {
            what: "operation",
            got: format!("{op:?}"),
            expected: "one of the operations known to this version",
        };
        let (Some(code), Some(&&x)) = (code(op), arguments.first()) else { return Err(unsupported()) };
        let y = match op.exponent() {
            // As the host computes it.
            Some(2.0) => return self.apply(Op::Mul, &[&x, &x]),
            Some(exponent) => self.constant(&Table::scalar(exponent))?,
            None => arguments.get(1).map_or(x, |y| **y),
        };
        let (rows, columns) = match op {
            Op::SumSamples => (false, x.columns),
            Op::SumClasses => (x.rows, false),
            _ => (x.rows || y.rows, x.columns || y.columns),
        };
        let to = self.place(rows, columns);
        self.record(code, to, x, y);
        Ok(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_words_that_fit_a_launch() {
        let recorder = Recorder::new(3, 4, 12);
        let given = recorder.given(0);
        let two = recorder.constant(&Table::scalar(2.0)).unwrap();
        assert_eq!(recorder.constant(&Table::scalar(2.0)).unwrap(), two);
        let row = recorder.constant(&Table::new(1, 4, vec![1.0, 2.0, 3.0, 4.0]).unwrap()).unwrap();
        let product = recorder.apply(Op::Mul, &[&given, &row]).unwrap();
        let sum = recorder.apply(Op::SumClasses, &[&product]).unwrap();
        assert_eq!([two.at, row.at, product.at, sum.at], [12, 13, 17, 29]);
        assert_eq!((sum.rows, sum.columns), (true, false));
        assert_eq!(recorder.numbers(), Some(32));
        let launches = recorder.launches();
        let words = &launches[0][4..];
        assert_eq!((launches.len(), launches[0].len(), &launches[0][..4]), (1, 4 + WORDS, &[0, 3, 4, 12][..]));
        assert_eq!(words[..2], [12 << 16 | 12 << 32 | 12 << 48, 2f64.to_bits()]);
        assert_eq!(words[10], 12 | 0b10_1111 << 8 | 17 << 16 | 13 << 48);
        assert_eq!(words[11], 17 | 0b11_1101 << 8 | 29 << 16 | 17 << 32 | 17 << 48);
    }

    #[test]
    fn many_steps_are_several_launches_and_none_is_torn() {
        let recorder = Recorder::new(1, 2, 2);
        let all: Vec<Place> = (0..400).map(|i| recorder.constant(&Table::scalar(f64::from(i))).unwrap()).collect();
        recorder.together(&all.iter().copied().map(Some).collect::<Vec<_>>(), false);
        let launches = recorder.launches();
        let counts: Vec<u64> = launches.iter().map(|words| words[3]).collect();
        assert_eq!(counts, [480, 480, 240]);
        assert!(launches.iter().all(|words| words.len() == 4 + WORDS));
        let large = Recorder::new(300, 300, 0);
        large.constant(&Table::new(300, 300, vec![1.0; 90_000]).unwrap()).unwrap();
        assert_eq!(large.numbers(), None);
    }
}
