//! Expressions: what terms are written in.

use std::marker::PhantomData;
use std::sync::Arc;

use super::axes::{Axes, Broadcast, Classes, Extent, Regions, Samples, Scalar};
use super::leaf::Leaf;
use super::node::{Kind, Node};
use super::op::Op;

/// Smaller than any mass, proportion or divisor that means something, and still a normal number in
/// `f32`.
pub(crate) const TINY: f64 = 1e-30;

/// An expression that varies over the axes `A`. Cloning is cheap.
///
/// ```
/// use loss_core::expr::{Expr, Classes, Scalar};
/// let cap: Expr<Classes> = Expr::classes(&[1.0, 0.05]);
/// let total: Expr<Scalar> = (2.0 * cap.squared()).sum_classes();
/// assert_eq!(total.to_string(), "sum_classes(2 * [1, 0.05]^2)");
/// ```
pub struct Expr<A> {
    node: Arc<Node>,
    axes: PhantomData<fn() -> A>,
}

impl<A> Clone for Expr<A> {
    fn clone(&self) -> Self {
        Self::wrap(Arc::clone(&self.node))
    }
}

impl<A> std::fmt::Debug for Expr<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl<A> Expr<A> {
    fn wrap(node: Arc<Node>) -> Self {
        Self { node, axes: PhantomData }
    }

    pub(crate) fn leaf(leaf: Leaf) -> Self {
        let extent = leaf.extent();
        Self::wrap(Arc::new(Node { kind: Kind::Leaf(leaf), extent }))
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    fn unary<B>(&self, op: Op, extent: Extent) -> Expr<B> {
        Expr::wrap(Arc::new(Node { kind: Kind::Apply(op, Arc::clone(&self.node), None), extent }))
    }

    fn map(&self, op: Op) -> Self {
        self.unary(op, self.node.extent)
    }

    fn binary<B, C>(&self, op: Op, other: &Expr<B>) -> Expr<C> {
        let extent = self.node.extent.join(other.node.extent);
        Expr::wrap(Arc::new(Node { kind: Kind::Apply(op, Arc::clone(&self.node), Some(Arc::clone(&other.node))), extent }))
    }

    /// A number, of any shape.
    pub fn constant(value: f64) -> Self {
        Self::leaf(Leaf::constant(value))
    }

    /// Absolute value; its derivative at 0 is 0.
    #[must_use]
    pub fn abs(&self) -> Self {
        self.map(Op::Abs)
    }

    /// `e^x`.
    #[must_use]
    pub fn exp(&self) -> Self {
        self.map(Op::Exp)
    }

    /// `e^x − 1`, exact for small `x`.
    #[must_use]
    pub fn exp_m1(&self) -> Self {
        self.map(Op::ExpM1)
    }

    /// Natural logarithm of `max(x, 1e-30)`: finite for an empty region, with derivative 0 below
    /// the floor.
    #[must_use]
    pub fn ln(&self) -> Self {
        self.max(TINY).map(Op::Ln)
    }

    /// `x^exponent` for `x ≥ 0`. The derivative at 0 is finite also for exponents below 1 (`x` is
    /// floored at 1e-30 there).
    #[must_use]
    pub fn powf(&self, exponent: f64) -> Self {
        if exponent == 1.0 { self.clone() } else { self.map(Op::powf(exponent)) }
    }

    /// `x²`.
    #[must_use]
    pub fn squared(&self) -> Self {
        self.powf(2.0)
    }

    /// `max(x, 0)`; its derivative at 0 is 0.
    #[must_use]
    pub fn relu(&self) -> Self {
        self.max(0.0)
    }

    /// `max(x, floor)`; constant, with derivative 0, where the floor is reached.
    #[must_use]
    pub fn max(&self, floor: f64) -> Self {
        self.binary(Op::Max, &Self::constant(floor))
    }

    /// `min(x, ceiling)`; constant, with derivative 0, where the ceiling is reached.
    #[must_use]
    pub fn min(&self, ceiling: f64) -> Self {
        -(-self.clone()).max(-ceiling)
    }

    /// 1 where `x > 0`, else 0; its derivative is 0.
    #[must_use]
    pub fn positive(&self) -> Self {
        self.binary(Op::Greater, &Self::constant(0.0))
    }

    /// `self / max(divisor, 1e-30)`: 0 where both are 0, as for a sample without a valid pixel.
    #[must_use]
    pub fn ratio<B>(&self, divisor: &Expr<B>) -> Expr<<A as Broadcast<B>>::Output>
    where
        A: Broadcast<B>,
    {
        self.binary(Op::Div, &divisor.max(TINY))
    }

    /// The sum over an axis; of a value that does not vary over it, times the length of the axis.
    fn sum<B>(&self, op: Op, count: Leaf) -> Expr<B> {
        let (extent, after) = (self.node.extent, self.node.extent.after(op));
        if after == extent { self.binary(Op::Mul, &Expr::<A>::leaf(count)) } else { self.unary(op, after) }
    }

    fn mean<B>(&self, op: Op, count: Leaf) -> Expr<B> {
        let (extent, after) = (self.node.extent, self.node.extent.after(op));
        if after == extent {
            return Expr::wrap(Arc::clone(&self.node));
        }
        self.unary::<B>(op, after).binary(Op::Div, &Expr::<B>::leaf(count))
    }
}

macro_rules! reductions {
    ($($from:ident, $method:ident, $fold:ident($op:ident, $count:ident), $to:ident, $doc:literal;)*) => {$(
        impl Expr<$from> {
            #[doc = $doc]
            #[must_use]
            pub fn $method(&self) -> Expr<$to> {
                self.$fold(Op::$op, Leaf::$count)
            }
        }
    )*};
}

reductions! {
    Regions, sum_classes, sum(SumClasses, ClassCount), Samples, "Sum over classes: `[N, K]` to `[N, 1]`.";
    Regions, mean_classes, mean(SumClasses, ClassCount), Samples, "Mean over classes: `[N, K]` to `[N, 1]`.";
    Regions, sum_samples, sum(SumSamples, SampleCount), Classes, "Sum over samples: `[N, K]` to `[1, K]`.";
    Regions, mean_samples, mean(SumSamples, SampleCount), Classes, "Mean over all samples: `[N, K]` to `[1, K]`.";
    Classes, sum_classes, sum(SumClasses, ClassCount), Scalar, "Sum over classes: `[1, K]` to a scalar.";
    Classes, mean_classes, mean(SumClasses, ClassCount), Scalar, "Mean over classes: `[1, K]` to a scalar.";
    Samples, sum_samples, sum(SumSamples, SampleCount), Scalar, "Sum over samples: `[N, 1]` to a scalar.";
    Samples, mean_samples, mean(SumSamples, SampleCount), Scalar, "Mean over all samples: `[N, 1]` to a scalar.";
}

impl Expr<Classes> {
    /// One number per class. A length other than the number of classes is an error when the loss
    /// meets its logits.
    #[must_use]
    pub fn classes(values: &[f64]) -> Self {
        Self::leaf(Leaf::classes(values))
    }
}

impl<A: Axes> Expr<A> {
    /// The same values seen as varying over more axes (they are broadcast).
    #[must_use]
    pub fn broadcast<B>(&self) -> Expr<B>
    where
        B: Broadcast<A, Output = B>,
    {
        Expr::wrap(Arc::clone(&self.node))
    }
}

macro_rules! operators {
    ($($trait:ident, $method:ident, $op:expr;)*) => {$(
        impl<A: Broadcast<B>, B> std::ops::$trait<Expr<B>> for Expr<A> {
            type Output = Expr<<A as Broadcast<B>>::Output>;
            fn $method(self, other: Expr<B>) -> Self::Output {
                self.binary($op, &other)
            }
        }
        impl<A> std::ops::$trait<f64> for Expr<A> {
            type Output = Expr<A>;
            fn $method(self, other: f64) -> Expr<A> {
                self.binary($op, &Expr::<A>::constant(other))
            }
        }
        impl<A> std::ops::$trait<Expr<A>> for f64 {
            type Output = Expr<A>;
            fn $method(self, other: Expr<A>) -> Expr<A> {
                Expr::<A>::constant(self).binary($op, &other)
            }
        }
    )*};
}

operators! {
    Add, add, Op::Add;
    Sub, sub, Op::Sub;
    Mul, mul, Op::Mul;
    Div, div, Op::Div;
}

impl<A> std::ops::Neg for Expr<A> {
    type Output = Self;
    fn neg(self) -> Self {
        self.map(Op::Neg)
    }
}
