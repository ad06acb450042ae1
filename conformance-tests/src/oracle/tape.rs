//! A scalar tape: every number with its parents and partial derivatives, sums compensated. Slow and
//! obvious.

/// A number on the tape.
pub(super) type Var = usize;

#[derive(Default)]
pub(super) struct Tape {
    values: Vec<f64>,
    parents: Vec<Vec<(Var, f64)>>,
}

/// Neumaier's sum: the rounding errors are summed beside.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    total: f64,
    lost: f64,
}

impl Sum {
    pub(super) fn add(&mut self, x: f64) {
        let next = self.total + x;
        self.lost += if self.total.abs() >= x.abs() { (self.total - next) + x } else { (x - next) + self.total };
        self.total = next;
    }

    pub(super) fn value(self) -> f64 {
        self.total + self.lost
    }
}

impl Tape {
    pub(super) fn push(&mut self, value: f64, parents: Vec<(Var, f64)>) -> Var {
        self.values.push(value);
        self.parents.push(parents);
        self.values.len() - 1
    }

    pub(super) fn value(&self, x: Var) -> f64 {
        self.values[x]
    }

    pub(super) fn constant(&mut self, value: f64) -> Var {
        self.push(value, Vec::new())
    }

    /// Σ c·x
    pub(super) fn combine(&mut self, parts: &[(f64, Var)]) -> Var {
        let mut sum = Sum::default();
        parts.iter().for_each(|&(c, x)| sum.add(c * self.values[x]));
        self.push(sum.value(), parts.iter().map(|&(c, x)| (x, c)).collect())
    }

    pub(super) fn add(&mut self, x: Var, y: Var) -> Var {
        self.combine(&[(1.0, x), (1.0, y)])
    }

    pub(super) fn sub(&mut self, x: Var, y: Var) -> Var {
        self.combine(&[(1.0, x), (-1.0, y)])
    }

    pub(super) fn scale(&mut self, factor: f64, x: Var) -> Var {
        self.combine(&[(factor, x)])
    }

    pub(super) fn offset(&mut self, x: Var, by: f64) -> Var {
        self.push(self.values[x] + by, vec![(x, 1.0)])
    }

    pub(super) fn div(&mut self, x: Var, y: Var) -> Var {
        let (a, b) = (self.values[x], self.values[y]);
        self.push(a / b, vec![(x, 1.0 / b), (y, -a / b / b)])
    }

    pub(super) fn ln(&mut self, x: Var) -> Var {
        let a = self.values[x];
        self.push(a.ln(), vec![(x, 1.0 / a)])
    }

    pub(super) fn abs(&mut self, x: Var) -> Var {
        let a = self.values[x];
        let sign = if a == 0.0 { 0.0 } else { a.signum() };
        self.push(a.abs(), vec![(x, sign)])
    }

    pub(super) fn at_least(&mut self, x: Var, floor: f64) -> Var {
        let a = self.values[x];
        if a > floor { x } else { self.constant(floor) }
    }

    /// Adjoints of all numbers for one output.
    pub(super) fn backward(&self, output: Var) -> Vec<f64> {
        let mut adjoints = vec![Sum::default(); self.values.len()];
        adjoints[output].add(1.0);
        for i in (0..=output).rev() {
            let adjoint = adjoints[i].value();
            if adjoint != 0.0 {
                self.parents[i].iter().for_each(|&(parent, partial)| adjoints[parent].add(adjoint * partial));
            }
        }
        adjoints.into_iter().map(Sum::value).collect()
    }
}
