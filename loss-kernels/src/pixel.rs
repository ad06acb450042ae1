//! Pixel functions φ(log p) over the columns of a block: the steps of their tape, one column each.

use loss_core::expr::{Op, PixelFunction, PixelStep};
use loss_core::{Activation, Side};
use pulp::Simd;

use crate::Real;
use crate::block::Block;
use crate::columns::Columns;
use crate::functions::Math;
use crate::logarithm::Logarithms;
use crate::simd::{Column, Lanes, write_column};

/// A pixel function, and the probability it is of.
#[derive(Clone, Copy)]
pub(crate) struct OfPixel<'a> {
    pub(crate) function: &'a PixelFunction,
    pub(crate) activation: Activation,
    pub(crate) side: Side,
}

/// What of a function is wanted.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    /// φ
    Value = 0,
    /// φ'
    Slope = 1,
}

/// A function's steps.
struct Compiled {
    function: PixelFunction,
    steps: Vec<PixelStep>,
    /// Which of them value and slope need.
    needed: [Vec<bool>; 2],
}

impl Compiled {
    fn new(function: &PixelFunction) -> Self {
        let steps: Vec<PixelStep> = function.steps().collect();
        let needed = function.results().map(|result| {
            let mut needed = vec![false; steps.len()];
            needed[result] = true;
            for (i, step) in steps.iter().enumerate().rev() {
                if let (true, PixelStep::Apply(_, x, y)) = (needed[i], step) {
                    needed[*x] = true;
                    y.iter().for_each(|&y| needed[y] = true);
                }
            }
            needed
        });
        Self { function: function.clone(), steps, needed }
    }
}

/// Buffers for pixel functions.
pub(crate) struct PixelColumns<C> {
    functions: Vec<Compiled>,
    /// log p, or log(1 − p).
    log: Columns<C>,
    /// A column per step of the longest function.
    steps: Columns<C>,
}

impl<C: Real> PixelColumns<C> {
    pub(crate) fn new<'f>(functions: impl Iterator<Item = &'f PixelFunction>, capacity: usize) -> Self {
        let mut compiled: Vec<Compiled> = Vec::new();
        for function in functions {
            if compiled.iter().all(|known| known.function != *function) {
                compiled.push(Compiled::new(function));
            }
        }
        let longest = compiled.iter().map(|function| function.steps.len()).max();
        let capacity = if longest.is_some() { capacity } else { 0 };
        Self { functions: compiled, log: Columns::new(1, capacity), steps: Columns::new(longest.unwrap_or(0), capacity) }
    }

    /// Writes the logarithms that a function is evaluated at for a class. False where those of the
    /// class before remain: with softmax and labels a pixel has one class, and the first call
    /// writes the logarithms of all.
    #[inline(always)]
    fn load<S: Simd>(&mut self, simd: S, block: &Block<C>, of: OfPixel<'_>, k: usize) -> bool {
        let log = self.log.column_mut(0);
        if of.activation == Activation::Softmax && block.is_hard() {
            if k > 0 {
                return false;
            }
            let logarithms = block.log_softmax(simd);
            log.fill(C::zero());
            for class in (0..block.classes()).filter(|&class| block.has(class)) {
                let own = block.target(simd, class);
                write_column!(simd, log, |i, old| own.of(Side::Region, i, logarithms.at(class, i))
                    + own.of(Side::Background, i, old));
            }
        } else {
            block.log(simd, of.activation, of.side).write(simd, k, log);
        }
        true
    }

    /// φ or φ' of log p, or of log(1 − p), for the pixels of a class. To be called for every
    /// class, in order.
    #[inline(always)]
    pub(crate) fn of_class<S: Simd>(
        &mut self,
        math: Math<'_, S, C>,
        block: &Block<C>,
        of: OfPixel<'_>,
        wanted: Wanted,
        k: usize,
    ) -> Column<'_, S, C> {
        let (simd, padded) = (math.simd, block.padded());
        self.log.resize(padded);
        let loaded = self.load(simd, block, of, k);
        let Self { functions, log, steps } = self;
        let Some(compiled) = functions.iter().find(|known| known.function == *of.function) else {
            return log.lanes(simd, 0);
        };
        let (needed, result) = (&compiled.needed[wanted as usize], of.function.results()[wanted as usize]);
        if loaded {
            for (i, step) in compiled.steps.iter().enumerate().filter(|(i, _)| needed[*i]) {
                let (before, column) = steps.column_and_before(i);
                // Cut alike, so that the loops have no bounds checks.
                let column = &mut column[..padded];
                match *step {
                    PixelStep::LogProbability => column.copy_from_slice(log.column(0)),
                    PixelStep::Constant(bits) => column.fill(C::of(f64::from_bits(bits))),
                    PixelStep::Apply(op, x, y) => {
                        let x_is_log = compiled.steps[x] == PixelStep::LogProbability;
                        let (x, y) = (before(x), before(y.unwrap_or(x)));
                        let (x, y) = (Column::new(simd, &x[..padded]), Column::new(simd, &y[..padded]));
                        apply(math, op, x_is_log, x, y, column);
                    }
                }
            }
        }
        Column::new(simd, &steps.column(result)[..padded])
    }
}

/// One operation on columns, as loss-core's own on numbers. `nonpositive`: x is a logarithm of a
/// probability.
#[inline(always)]
fn apply<S: Simd, C: Real>(
    math: Math<'_, S, C>,
    op: Op,
    nonpositive: bool,
    x: Column<'_, S, C>,
    y: Column<'_, S, C>,
    out: &mut [C],
) {
    let simd = math.simd;
    let (zero, one) = (Lanes::of(simd, C::zero()), Lanes::of(simd, C::one()));
    match op {
        Op::Neg => write_column!(simd, out, |i| zero - x.at(i)),
        Op::Abs => write_column!(simd, out, |i| x.at(i).abs()),
        Op::Add => write_column!(simd, out, |i| x.at(i) + y.at(i)),
        Op::Sub => write_column!(simd, out, |i| x.at(i) - y.at(i)),
        Op::Mul => write_column!(simd, out, |i| x.at(i) * y.at(i)),
        Op::Div => write_column!(simd, out, |i| x.at(i) / y.at(i)),
        Op::Greater => write_column!(simd, out, |i| x.at(i).if_greater(y.at(i), one, zero)),
        Op::Max => write_column!(simd, out, |i| {
            let larger = x.at(i).if_greater(y.at(i), x.at(i), y.at(i));
            // NaN is not equal to itself, and stays.
            x.at(i).if_equal(x.at(i), larger, x.at(i))
        }),
        Op::Sign => write_column!(simd, out, |i| {
            let negative = zero.if_greater(x.at(i), zero - one, x.at(i));
            x.at(i).if_greater(zero, one, negative)
        }),
        Op::Exp if nonpositive => {
            let rate = &C::rate(simd, 1.0);
            write_column!(simd, out, |i| C::exp_of_minus(zero - x.at(i), rate, math.constants));
        }
        Op::ExpM1 if nonpositive => write_column!(simd, out, |i| C::exp_m1_of_minus(zero - x.at(i), math.constants)),
        Op::Powf(bits) => match Power::of(f64::from_bits(bits)) {
            Some(power) => write_column!(simd, out, |i| power.apply(x.at(i))),
            None => {
                let exponent = C::of(f64::from_bits(bits));
                each(x, out, |x| x.powf(exponent));
            }
        },
        Op::Exp => each(x, out, C::exp),
        Op::ExpM1 => each(x, out, C::exp_m1),
        Op::Ln => each(x, out, C::ln),
        // Pixel functions have no other operation; should loss-core add one, NaN shows that it is
        // missing here.
        _ => out.fill(C::nan()),
    }
}

/// Number by number, with the C library's function.
fn each<S: Simd, C: Real>(x: Column<'_, S, C>, out: &mut [C], f: impl Fn(C) -> C) {
    out.iter_mut().zip(x.numbers()).for_each(|(out, x)| *out = f(*x));
}

/// A power that is a few products, and at most one square root.
#[derive(Clone, Copy)]
struct Power {
    whole: u32,
    half: bool,
}

impl Power {
    fn of(exponent: f64) -> Option<Self> {
        let doubled = exponent * 2.0;
        let few = (0.0..=16.0).contains(&doubled) && doubled.fract() == 0.0;
        few.then_some(Self { whole: doubled as u32 / 2, half: doubled as u32 % 2 == 1 })
    }

    #[inline(always)]
    fn apply<S: Simd, C: Real>(self, x: Lanes<S, C>) -> Lanes<S, C> {
        let mut result = if self.half { x.sqrt() } else { x.splat(C::one()) };
        let (mut square, mut left) = (x, self.whole);
        while left > 0 {
            if left % 2 == 1 {
                result = result * square;
            }
            square = square * square;
            left /= 2;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use loss_core::expr::{Expr, Pixel};
    use pulp::WithSimd;

    use super::*;
    use crate::instructions::Instructions;
    use crate::layout::WIDEST;

    struct Apply<'a>(Op, &'a [f64], &'a [f64], &'a mut [f64]);

    impl WithSimd for Apply<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self(op, x, y, out) = self;
            apply(Math { simd, constants: &() }, op, false, Column::new(simd, x), Column::new(simd, y), out);
        }
    }

    /// An operation, and its values by loss-core's own interpreter.
    fn wanted(op: impl Fn(Expr<Pixel>) -> Expr<Pixel>) -> (Op, Vec<f64>) {
        let function = PixelFunction::new(&op);
        let mut value = vec![0.0; INPUTS.len()];
        function.evaluate(&INPUTS, &mut value, None);
        let [result, _] = function.results();
        let step = function.steps().nth(result);
        let Some(PixelStep::Apply(op, ..)) = step else { panic!("an operation, not {step:?}") };
        (op, value)
    }

    #[rustfmt::skip]
    const INPUTS: [f64; WIDEST] = [
        -3.0, -2.5, -1.0, -0.5, -1e-3, -1e-9, -0.0, 0.0, 1e-9, 1e-3, 0.5, 1.0, 1.5, 2.0, 5.0, f64::NAN,
        -40.0, -7.25, -1.75, -0.75, -0.25, -0.125, -1e-2, -1e-6, 1e-12, 1e-6, 1e-2, 0.25, 0.75, 1.25, 3.0, 30.0,
    ];

    #[test]
    fn operations_are_those_of_loss_core() {
        let half = Expr::constant(0.5);
        let cases = [
            wanted(|x| -x),
            wanted(|x| x.abs()),
            wanted(|x| x.exp()),
            wanted(|x| x.exp_m1()),
            wanted(|x| x.powf(2.0)),
            wanted(|x| x.powf(0.5)),
            wanted(|x| x.powf(3.5)),
            wanted(|x| x.powf(0.3)),
            wanted(|x| x.powf(11.0)),
            wanted(|x| x + half.clone()),
            wanted(|x| x - half.clone()),
            wanted(|x| x * half.clone()),
            wanted(|x| x / half.clone()),
            wanted(|x| x.max(0.5)),
        ];
        for set in Instructions::available() {
            for (op, want) in &cases {
                let mut got = [0.0; WIDEST];
                set.run(Apply(*op, &INPUTS, &[0.5; WIDEST], &mut got));
                for ((x, got), want) in INPUTS.iter().zip(got).zip(want) {
                    let near = (got - want).abs() <= 4.0 * f64::EPSILON * want.abs();
                    assert!(near || got == *want || (got.is_nan() && want.is_nan()), "{op:?} of {x}: {got}, not {want}");
                }
            }
        }
    }

    #[test]
    fn signs_comparisons_and_logarithms() {
        let sign = |x: f64| {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                x
            }
        };
        let greater = |x: f64| f64::from(u8::from(x > 0.5));
        let cases: [(Op, &dyn Fn(f64) -> f64); 3] = [(Op::Sign, &sign), (Op::Greater, &greater), (Op::Ln, &f64::ln)];
        for set in Instructions::available() {
            for (op, wanted) in cases {
                let mut got = [f64::INFINITY; WIDEST];
                set.run(Apply(op, &INPUTS, &[0.5; WIDEST], &mut got));
                for (x, got) in INPUTS.iter().zip(got) {
                    let want = wanted(*x);
                    assert!(got == want || (got.is_nan() && want.is_nan()), "{op:?} of {x}: {got}, not {want}");
                }
            }
        }
    }
}
