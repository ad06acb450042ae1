//! Pixel functions as C.

use std::fmt::Write as _;

use loss_core::expr::{Op, PixelFunction, PixelStep};

/// A number as C writes it.
pub(super) fn literal(value: f64) -> String {
    if value.is_nan() {
        "(real)(INFINITE - INFINITE)".to_owned()
    } else if value.is_infinite() {
        format!("(real)({}INFINITE)", if value < 0.0 { "-" } else { "" })
    } else {
        format!("(real)({value:e})")
    }
}

/// The body of a function φ(log p) or of its slope.
pub(super) fn body(function: &PixelFunction, wanted: usize) -> Option<String> {
    let mut text = String::new();
    for (i, step) in function.steps().take(wanted + 1).enumerate() {
        let value = match step {
            PixelStep::LogProbability => "x".to_owned(),
            PixelStep::Constant(bits) => literal(f64::from_bits(bits)),
            PixelStep::Apply(op, x, y) => operation(op, &format!("s{x}"), &format!("s{}", y.unwrap_or(x)))?,
        };
        let _ = writeln!(text, "    const real s{i} = {value};");
    }
    let _ = writeln!(text, "    return s{wanted};");
    Some(text)
}

/// One operation; `None` for one that this version does not know.
fn operation(op: Op, x: &str, y: &str) -> Option<String> {
    Some(match op {
        Op::Neg => format!("-{x}"),
        Op::Abs => format!("FABS({x})"),
        Op::Sign => format!("{x} > 0 ? (real)1 : {x} < 0 ? (real)-1 : {x}"),
        Op::Exp => format!("EXP({x})"),
        Op::ExpM1 => format!("EXPM1({x})"),
        Op::Ln => format!("LOG({x})"),
        Op::Add => format!("{x} + {y}"),
        Op::Sub => format!("{x} - {y}"),
        Op::Mul => format!("{x} * {y}"),
        Op::Div => format!("{x} / {y}"),
        // Keeps a NaN in x.
        Op::Max => format!("{x} <= {y} ? {y} : {x}"),
        Op::Greater => format!("{x} > {y} ? (real)1 : (real)0"),
        Op::Powf(_) => power(x, op.exponent()?),
        _ => return None,
    })
}

/// x^c. Halves of small whole numbers, which nearly all exponents are, need no logarithm.
fn power(x: &str, exponent: f64) -> String {
    let halves = (2.0 * exponent).abs();
    if halves.fract() != 0.0 || halves > 16.0 {
        return format!("POW({x}, {})", literal(exponent));
    }
    let mut factors = vec![x.to_owned(); halves as usize / 2];
    if halves as usize % 2 == 1 {
        factors.push(format!("SQRT({x})"));
    }
    let product = if factors.is_empty() { "(real)1".to_owned() } else { factors.join(" * ") };
    if exponent < 0.0 { format!("1 / ({product})") } else { product }
}
