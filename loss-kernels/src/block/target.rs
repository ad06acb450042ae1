//! Reading a block's target: labels, or what a pixel's classes share. What must not be there is
//! refused.

use half::{bf16, f16};
use loss_core::backend::{LABEL_RANGE, ONE_HOT_RANGE, SHARE_RANGE, SHARE_SLACK};
use loss_core::{Argument, LossError};

use super::{Block, Span};
use crate::membership::{Label, NO_CLASS, Seen};
use crate::target::{Target, each_label, each_share};
use crate::{Problem, Real};

/// A number that a share comes in.
trait Share: Copy {
    /// In the type that is computed in; an integer other than 0 and 1 as a number out of range.
    fn real<C: Real>(self) -> C;
    fn wide(self) -> f64;
}

macro_rules! share {
    ($($type:ty, |$x:ident, $C:ident| $real:expr, $wide:expr;)*) => {$(
        impl Share for $type {
            #[inline(always)]
            fn real<$C: Real>(self) -> $C {
                let $x = self;
                $real
            }
            #[inline(always)]
            fn wide(self) -> f64 {
                let $x = self;
                $wide
            }
        }
    )*};
}

share! {
    f32, |x, C| C::of(x.into()), x.into();
    f64, |x, C| C::of(x), x;
    f16, |x, C| C::of(x.into()), x.into();
    bf16, |x, C| C::of(x.into()), x.into();
    u8, |x, C| of_integer(x == 0, x == 1), x.into();
    i8, |x, C| of_integer(x == 0, x == 1), x.into();
    u16, |x, C| of_integer(x == 0, x == 1), x.into();
    i16, |x, C| of_integer(x == 0, x == 1), x.into();
    u32, |x, C| of_integer(x == 0, x == 1), x.into();
    i32, |x, C| of_integer(x == 0, x == 1), x.into();
    u64, |x, C| of_integer(x == 0, x == 1), x as f64;
    i64, |x, C| of_integer(x == 0, x == 1), x as f64;
}

/// Without a conversion, which for wide integers is none of vectors.
#[inline(always)]
fn of_integer<C: Real>(is_zero: bool, is_one: bool) -> C {
    let other = C::one() + C::one();
    let one_or_other = if is_one { C::one() } else { other };
    if is_zero { C::zero() } else { one_or_other }
}

/// What shares are, and what is allowed of them.
#[derive(Clone, Copy)]
struct Allowed {
    what: Argument,
    range: &'static str,
    slack: f64,
}

impl<C: Real> Block<C> {
    /// Reads the target of a span, whose weights have been read.
    #[inline(always)]
    pub(super) fn load_target(&mut self, problem: &Problem<'_>, span: Span) -> Result<(), LossError> {
        match problem.target {
            Target::Labels(labels) => each_label!(labels, v => self.load_labels(problem, v, span)),
            Target::OneHot(labels) => {
                let allowed = Allowed { what: Argument::OneHot, range: ONE_HOT_RANGE, slack: SHARE_SLACK };
                each_label!(labels, v => {
                    self.leave_out(problem, v, span);
                    self.load_shares(problem, v, span, allowed)
                })
            }
            Target::Soft(shares) => {
                let allowed = Allowed { what: Argument::SoftTargets, range: SHARE_RANGE, slack: shares.slack() };
                each_share!(shares, v => self.load_shares(problem, v, span, allowed))
            }
        }
    }

    #[inline(always)]
    fn load_labels<L: Label>(&mut self, problem: &Problem<'_>, labels: &[L], span: Span) -> Result<(), LossError> {
        let first = span.sample * problem.geometry.pixels + span.start;
        self.load_integers(problem, &labels[first..first + span.len]).map_err(|(label, b)| {
            let position = problem.pixel_position(span.sample, span.start + b);
            match label.wide() {
                Some(label) => LossError::LabelOutOfRange { label, classes: problem.geometry.labels(), position },
                None => {
                    let (what, value, expected) = (Argument::Labels, label.number(), LABEL_RANGE);
                    LossError::ValueOutOfRange { what, value, expected, position }
                }
            }
        })
    }

    /// On failure, the first label that is out of range, and its pixel.
    #[inline(always)]
    fn load_integers<L: Label>(&mut self, problem: &Problem<'_>, labels: &[L]) -> Result<(), (L, usize)> {
        let count = problem.geometry.labels();
        let (none, column) = (C::of_class(NO_CLASS), self.target.column_mut(0));
        column[labels.len()..].fill(none);
        // Nearly always every label is a class, so check all of them at once, without a branch.
        let seen = Seen::of(labels, column);
        let ignored_class = problem.ignore.iter().any(|&label| (0..count as i64).contains(&label));
        if !ignored_class && seen.are_below(count, labels) {
            self.present = seen;
            return Ok(());
        }
        self.present = Seen::default();
        for (b, (to, label)) in column.iter_mut().zip(labels).enumerate() {
            if label.wide().is_some_and(|label| problem.ignore.contains(&label)) {
                self.weight.column_mut(0)[b] = C::zero();
                self.all_valid = false;
                *to = none;
            } else if label.is_below(count) {
                self.present.add(*label);
            } else {
                return Err((*label, b));
            }
        }
        Ok(())
    }

    /// Leaves out the pixels of ignored classes, one-hot.
    #[inline(always)]
    fn leave_out<L: Label>(&mut self, problem: &Problem<'_>, one_hot: &[L], span: Span) {
        for k in problem.ignored_classes() {
            let first = self.plane(problem, span, k);
            for (weight, label) in self.weight.column_mut(0).iter_mut().zip(&one_hot[first..first + span.len]) {
                if label.wide() == Some(1) {
                    *weight = C::zero();
                    self.all_valid = false;
                }
            }
        }
    }

    /// Where a span begins in an array `[N, K, S]`.
    fn plane(&self, problem: &Problem<'_>, span: Span, k: usize) -> usize {
        (span.sample * self.classes + k) * problem.geometry.pixels + span.start
    }

    #[inline(always)]
    fn load_shares<N: Share>(
        &mut self,
        problem: &Problem<'_>,
        numbers: &[N],
        span: Span,
        allowed: Allowed,
    ) -> Result<(), LossError> {
        let (zero, one, slack) = (C::zero(), C::one(), C::of(allowed.slack));
        let (low, high) = (-slack, one + slack);
        // Without a branch in the loops: the first misfit is looked for when there is one.
        let mut fits = true;
        self.total.column_mut(0).fill(zero);
        for k in 0..self.classes {
            let first = self.plane(problem, span, k);
            let column = self.target.column_mut(k);
            column[span.len..].fill(zero);
            let numbers = numbers[first..first + span.len].iter().zip(self.weight.column(0));
            for ((to, total), (number, &weight)) in column.iter_mut().zip(self.total.column_mut(0)).zip(numbers) {
                let share = if weight == zero { zero } else { number.real::<C>() };
                fits &= share >= low && share <= high;
                let share = if share < zero { zero } else { share };
                let share = if share > one { one } else { share };
                *to = share;
                *total = *total + share;
            }
        }
        if problem.exclusive {
            for (&total, &weight) in self.total.column(0)[..span.len].iter().zip(self.weight.column(0)) {
                fits &= (total >= one - slack && total <= high) || weight == zero;
            }
        }
        if fits { Ok(()) } else { Err(self.misfit(problem, numbers, span, allowed)) }
    }

    /// The first share that is out of range, else the first pixel whose shares do not add up to 1.
    #[cold]
    fn misfit<N: Share>(&self, problem: &Problem<'_>, numbers: &[N], span: Span, allowed: Allowed) -> LossError {
        let Allowed { what, range: expected, slack } = allowed;
        let valid = || (0..span.len).filter(|&b| self.weight.column(0)[b] != C::zero());
        let share = |k: usize, b: usize| numbers[self.plane(problem, span, k) + b];
        let outside = |share: C| !(share >= C::of(-slack) && share <= C::of(1.0 + slack));
        for k in 0..self.classes {
            if let Some(b) = valid().find(|&b| outside(share(k, b).real())) {
                let position = problem.logit_position(span.sample, k, span.start + b);
                return LossError::ValueOutOfRange { what, value: share(k, b).wide(), expected, position };
            }
        }
        let off = |b: &usize| (self.total.column(0)[*b] - C::one()).abs() > C::of(slack);
        let b = valid().find(off).unwrap_or_default();
        let sum = (0..self.classes).map(|k| share(k, b).wide().clamp(0.0, 1.0)).sum();
        LossError::SharesSum { what, sum, position: problem.pixel_position(span.sample, span.start + b) }
    }
}
