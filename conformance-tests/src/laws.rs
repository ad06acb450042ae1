//! The laws of the traits, for any term, also one of the user's own.

use loss_core::expr::{Algebra, HostAlgebra, Op, Table};
use loss_core::{Activation, Loss, LossError, Role};

use crate::check::{labels, run, takes};
use crate::inputs::input;
use crate::{Adapter, Dtype, Input, Output};

/// Checks that a loss keeps the laws that the traits state for its terms and that composition
/// states for all: on a backend, in `f64`, for as many classes as it needs.
///
/// # Errors
/// The first law that is broken, in words.
pub fn check(loss: &Loss, classes: usize, adapter: &dyn Adapter) -> Result<(), String> {
    let loss = &loss.clone().with_ignore_index(255);
    for seed in 0..8 {
        let input = input(&[2, classes, 12], 900 + seed);
        let out = on(adapter, loss, &input)?;
        composition(loss, &input, &out, adapter)?;
        for (i, (_, term)) in loss.terms().enumerate() {
            let parts = out.terms.get(i).map_or(&[][..], Vec::as_slice);
            let [value, matching, size, constant] = match *parts {
                [value, matching, size, constant] => [value, matching, size, constant],
                // Without an exact split it claims none.
                [value] if matches!(term.role(), Role::Matching | Role::Unsplit) => [value, value, 0.0, 0.0],
                _ => return Err(format!("{} has the parts {parts:?}", term.name())),
            };
            let close =
                |a: f64, b: f64| (a - b).abs() <= 1e-11 * (a.abs() + matching.abs() + size.abs() + constant.abs()).max(1.0);
            match term.role() {
                Role::Matching if !close(value, matching + size + constant) => {
                    return Err(format!("{}: {value} is not {matching} + {size} + {constant}", term.name()));
                }
                Role::Size if (matching, size, constant) != (0.0, value, 0.0) => {
                    return Err(format!("{}: a size penalty is all size, not {:?}", term.name(), out.terms[i]));
                }
                // A linear score reports the parts of its logarithm, which is the larger: 1 − D
                // ≤ −log D.
                Role::Overlap if matching + size + constant < value - 1e-9 => {
                    return Err(format!("{}: the parts add up to less than {value}", term.name()));
                }
                _ => {}
            }
            let alone = Loss::from(term.clone()).with_activation(loss.activation()).with_ignore_index(255);
            match term.role() {
                Role::Matching => least_at_the_truth(&alone, &input, value, adapter)?,
                Role::Size => sizes_alone(&alone, &input, value, adapter)?,
                Role::Overlap | Role::Unsplit => {}
            }
        }
    }
    nothing_valid(loss, classes, adapter)
}

fn on(adapter: &dyn Adapter, loss: &Loss, input: &Input) -> Result<Output, String> {
    run(adapter, loss, input, Dtype::F64).map_err(|error| format!("{loss}: {error}"))
}

fn apart(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// A weight multiplies value and gradient, 0 leaves nothing, and a sum is a sum.
fn composition(loss: &Loss, input: &Input, out: &Output, adapter: &dyn Adapter) -> Result<(), String> {
    for weight in [0.0, -2.0, 0.5] {
        let weighted = on(adapter, &(weight * loss.clone()), input)?;
        let scaled: Vec<f64> = out.gradient.iter().map(|g| weight * g).collect();
        if (weighted.total - weight * out.total).abs() > 1e-12 * out.total.abs().max(1.0)
            || apart(&weighted.gradient, &scaled) > 1e-12
        {
            return Err(format!("{weight} times {loss}: {} and {}", weighted.total, out.total));
        }
    }
    let twice = on(adapter, &(loss.clone() + loss.clone()), input)?;
    let doubled: Vec<f64> = out.gradient.iter().map(|g| 2.0 * g).collect();
    if (twice.total - 2.0 * out.total).abs() > 1e-12 * out.total.abs().max(1.0) || apart(&twice.gradient, &doubled) > 1e-12 {
        return Err(format!("{loss} added to itself: {} and {}", twice.total, out.total));
    }
    Ok(())
}

/// A matching term is least where every true pixel is predicted with probability 1.
fn least_at_the_truth(loss: &Loss, input: &Input, value: f64, adapter: &dyn Adapter) -> Result<(), String> {
    let mut perfect = input.clone();
    let [_, classes, pixels] = input.lengths();
    let truth = labels(&mut input.clone())?.clone();
    for (i, z) in perfect.logits.iter_mut().enumerate() {
        let (k, pixel) = (i / pixels % classes, i / pixels / classes * pixels + i % pixels);
        let inside = if classes == 1 { truth[pixel] == 1 } else { truth[pixel] == k as i64 };
        *z = if inside { 40.0 } else { -40.0 };
    }
    let least = on(adapter, loss, &perfect)?.total;
    if least <= value + 1e-12 { Ok(()) } else { Err(format!("{loss}: {least} at the truth, {value} elsewhere")) }
}

/// A size penalty does not see where predictions lie: shuffling pixels of a sample, without its
/// labels, changes nothing.
fn sizes_alone(loss: &Loss, input: &Input, value: f64, adapter: &dyn Adapter) -> Result<(), String> {
    let mut shuffled = input.clone();
    let [_, _, pixels] = input.lengths();
    // 5 and 12 share no factor: every pixel goes somewhere else.
    for (row, old) in shuffled.logits.chunks_mut(pixels).zip(input.logits.chunks(pixels)) {
        row.iter_mut().enumerate().for_each(|(s, z)| *z = old[(5 * s + 1) % pixels]);
    }
    let moved = on(adapter, loss, &shuffled)?.total;
    let same = (moved - value).abs() <= 1e-12 * value.abs().max(1.0);
    if same { Ok(()) } else { Err(format!("{loss}: {value}, but {moved} with the same sizes elsewhere")) }
}

/// Nothing valid: 0, with zero gradient.
fn nothing_valid(loss: &Loss, classes: usize, adapter: &dyn Adapter) -> Result<(), String> {
    let mut empty = input(&[2, classes, 12], 950);
    labels(&mut empty)?.fill(255);
    let out = on(adapter, loss, &empty)?;
    if out.total == 0.0 && out.gradient.iter().all(|g| *g == 0.0) {
        return Ok(());
    }
    Err(format!("{loss}: {} where no pixel is valid", out.total))
}

/// The laws for every built-in term at its defaults, under both activations.
///
/// # Errors
/// The first law that is broken, in words.
pub fn check_built_in(adapter: &dyn Adapter) -> Result<(), String> {
    for term in loss_core::catalogue().into_iter().filter(|term| takes(adapter, term.name)) {
        let loss: Loss = term.name.parse().map_err(|error: loss_core::LossError| error.to_string())?;
        for (activation, classes) in [(Activation::Softmax, 3), (Activation::Sigmoid, 3), (Activation::Sigmoid, 1)] {
            check(&loss.clone().with_activation(activation), classes, adapter)?;
        }
    }
    Ok(())
}

/// Checks that a backend's operations are the host's, to a few roundings of `f64`, also those that
/// only a term of a user's own asks for. `read` brings an array to the host.
///
/// # Errors
/// The first operation that is another, in words, or a backend's own error.
pub fn check_algebra<A: Algebra>(algebra: &A, read: impl Fn(A::Array) -> Result<Table, LossError>) -> Result<(), String> {
    let words = |error: LossError| error.to_string();
    let table = |rows, columns, values: &[f64]| Table::new(rows, columns, values.to_vec()).map_err(words);
    let any = table(2, 3, &[0.5, -1.25, 2.0, 0.0, -0.75, 1.5])?;
    let positive = table(2, 3, &[0.5, 1.25, 2.0, 1.0, 0.75, 1.5])?;
    let proportions = table(2, 3, &[0.5, 0.0, 1.0, 1e-9, 0.75, 0.25])?;
    let (row, column) = (table(1, 3, &[0.5, 2.0, -0.5])?, table(2, 1, &[1.5, -2.0])?);
    // A NaN is the only sign of a logit that is not finite.
    let odd = table(2, 3, &[f64::NAN, 1.0, -1.0, f64::NAN, 0.5, 0.0])?;
    let alone = [Op::Neg, Op::Abs, Op::Sign, Op::Exp, Op::ExpM1, Op::Powf(2.0f64.to_bits()), Op::SumSamples, Op::SumClasses];
    let mut cases: Vec<(Op, Vec<&Table>)> = alone.map(|op| (op, vec![&any])).to_vec();
    cases.extend([Op::Ln, Op::Powf(1.5f64.to_bits())].map(|op| (op, vec![&positive])));
    cases.extend([0.0, 0.25, 1.5].map(|exponent: f64| (Op::Powf(exponent.to_bits()), vec![&proportions])));
    for op in [Op::Add, Op::Sub, Op::Mul, Op::Div, Op::Max, Op::Greater] {
        cases.extend([&positive, &row, &column].map(|other| (op, vec![&any, other])));
    }
    cases.push((Op::Max, vec![&odd, &any]));
    for (op, tables) in cases {
        let want = HostAlgebra.apply(op, &tables).map_err(words)?;
        let arrays = tables.iter().map(|table| algebra.constant(table)).collect::<Result<Vec<_>, _>>().map_err(words)?;
        let got = algebra.apply(op, &arrays.iter().collect::<Vec<_>>()).and_then(&read).map_err(words)?;
        let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-14 || (a.is_nan() && b.is_nan());
        if (got.rows(), got.columns()) != (want.rows(), want.columns()) || !got.values().iter().zip(want.values()).all(close) {
            return Err(format!("{op:?} of {tables:?}: {got:?}, on the host {want:?}"));
        }
    }
    Ok(())
}
