//! Expressions as formulas.

use std::fmt::{Display, Formatter, Result};

use super::expression::Expr;
use super::leaf::Leaf;
use super::node::{Kind, Node};
use super::op::Op;
use crate::number::number;

impl<A> Display for Expr<A> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(&text(self.node(), 0).0)
    }
}

/// Beyond this depth a formula is not read by anyone, and the stack is not risked for it.
const DEPTH: usize = 200;

/// The text of a node and how tightly it binds: 1 sum, 2 product, 3 power, 4 atom.
fn text(node: &Node, depth: usize) -> (String, u8) {
    if depth > DEPTH {
        return ("…".into(), 4);
    }
    let (op, x, y) = match &node.kind {
        Kind::Leaf(leaf) => return (leaf_text(leaf), 4),
        Kind::Apply(op, x, y) => (*op, x, y.as_ref().unwrap_or(x)),
    };
    let part = |node: &Node, least: u8| {
        let (text, binds) = text(node, depth + 1);
        if binds < least { format!("({text})") } else { text }
    };
    let call = |name: &str| (format!("{name}({})", part(x, 0)), 4);
    match op {
        Op::Add => (format!("{} + {}", part(x, 1), part(y, 1)), 1),
        Op::Sub => (format!("{} - {}", part(x, 1), part(y, 2)), 1),
        Op::Mul => (format!("{} * {}", part(x, 2), part(y, 2)), 2),
        Op::Div => (format!("{} / {}", part(x, 2), part(y, 3)), 2),
        Op::Neg => (format!("-{}", part(x, 2)), 2),
        Op::Powf(bits) => (format!("{}^{}", part(x, 4), number(f64::from_bits(bits))), 3),
        Op::Max => (format!("max({}, {})", part(x, 0), part(y, 0)), 4),
        Op::Greater => (format!("[{} > {}]", part(x, 0), part(y, 0)), 4),
        Op::Abs => (format!("|{}|", part(x, 0)), 4),
        Op::Sign => call("sign"),
        Op::Exp => call("exp"),
        Op::ExpM1 => call("expm1"),
        Op::Ln => call("log"),
        Op::SumSamples => call("sum_samples"),
        Op::SumClasses => call("sum_classes"),
    }
}

fn leaf_text(leaf: &Leaf) -> String {
    match leaf {
        Leaf::Constant(bits) => number(f64::from_bits(*bits)),
        Leaf::Classes(values) => {
            let values: Vec<_> = values.iter().map(|bits| number(f64::from_bits(*bits))).collect();
            format!("[{}]", values.join(", "))
        }
        Leaf::ClassIn(classes) => format!("[k in {classes:?}]"),
        Leaf::Zeros(_) => "0".into(),
        Leaf::SampleCount => "N".into(),
        Leaf::ClassCount => "K".into(),
        Leaf::Statistic(statistic) => statistic.to_string(),
        Leaf::Weight(term) => format!("weight_{term}"),
        Leaf::GivenPrior(_) => "given".into(),
        Leaf::Seed(output) => format!("seed_{output}"),
        Leaf::LogProbability => "log p".into(),
    }
}
