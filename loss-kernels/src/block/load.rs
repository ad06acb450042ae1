//! Reading a block: weights, target, maps and logits. What must not be there is refused.

use loss_core::{Argument, Geometry, LossError};
use pulp::Simd;

use super::{Block, MapColumns, Span};
use crate::columns::{Columns, GridMut};
use crate::membership::{Label, NO_CLASS, Seen};
use crate::problem::{Labels, Shares, Target};
use crate::real::{MANY, few};
use crate::simd::{Lanes, apart, write_column};
use crate::sums::Bound;
use crate::{Problem, Real};

/// Copies logits from an index on.
pub(crate) type Read<'a, C> = &'a dyn Fn(usize, &mut [C]);

impl<C: Real> Block<C> {
    /// Reads the pixels of a span.
    #[inline(always)]
    pub(crate) fn load<S: Simd>(
        &mut self,
        simd: S,
        problem: &Problem<'_>,
        read: Read<'_, C>,
        span: Span,
    ) -> Result<(), LossError> {
        self.len = span.len;
        let padded = self.padded();
        for columns in self.each() {
            columns.resize(padded);
        }
        self.load_weights(problem, span)?;
        match problem.target {
            Target::Labels(labels) => self.load_labels(problem, labels, span)?,
            Target::Soft(shares) => self.load_shares(problem, shares, span)?,
        }
        self.load_maps(problem, span)?;
        if self.needs.softmax || self.needs.sigmoid {
            self.load_logits(simd, problem, read, span)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn load_weights(&mut self, problem: &Problem<'_>, span: Span) -> Result<(), LossError> {
        let weight = self.weight.column_mut(0);
        weight[span.len..].fill(C::zero());
        self.all_valid = true;
        let mut largest = 0.0f64;
        match problem.weights {
            None => {
                weight[..span.len].fill(C::one());
                largest = 1.0;
            }
            Some(weights) => {
                let first = span.sample * problem.geometry.pixels + span.start;
                for (b, to) in weight[..span.len].iter_mut().enumerate() {
                    let value = weights.at(first + b);
                    *to = C::of(value);
                    if !(value >= 0.0 && to.is_finite()) {
                        return Err(LossError::ValueOutOfRange {
                            what: Argument::PixelWeights,
                            value,
                            expected: "finite numbers >= 0",
                            position: problem.pixel_position(span.sample, span.start + b),
                        });
                    }
                    largest = largest.max(to.wide());
                    self.all_valid &= *to != C::zero();
                }
            }
        }
        self.bound = Bound::new(largest, problem.weights.is_none());
        Ok(())
    }

    #[inline(always)]
    fn load_labels(&mut self, problem: &Problem<'_>, labels: Labels<'_>, span: Span) -> Result<(), LossError> {
        let first = span.sample * problem.geometry.pixels + span.start;
        let range = first..first + span.len;
        match labels {
            Labels::U8(v) => self.load_integers(problem, &v[range]),
            Labels::I32(v) => self.load_integers(problem, &v[range]),
            Labels::I64(v) => self.load_integers(problem, &v[range]),
        }
        .map_err(|(label, b)| LossError::LabelOutOfRange {
            label,
            classes: problem.geometry.labels(),
            position: problem.pixel_position(span.sample, span.start + b),
        })
    }

    /// On failure, the first label that is out of range, and its pixel.
    #[inline(always)]
    fn load_integers<L: Label>(&mut self, problem: &Problem<'_>, labels: &[L]) -> Result<(), (i64, usize)> {
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
            if problem.ignore.contains(&label.wide()) {
                self.weight.column_mut(0)[b] = C::zero();
                self.all_valid = false;
                *to = none;
            } else if label.is_below(count) {
                self.present.add(*label);
            } else {
                return Err((label.wide(), b));
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn load_shares(&mut self, problem: &Problem<'_>, shares: Shares<'_>, span: Span) -> Result<(), LossError> {
        for k in 0..self.classes {
            let plane = (span.sample * self.classes + k) * problem.geometry.pixels + span.start;
            let column = self.target.column_mut(k);
            column[span.len..].fill(C::zero());
            for (b, (to, &weight)) in column[..span.len].iter_mut().zip(self.weight.column(0)).enumerate() {
                let share = if weight == C::zero() { 0.0 } else { shares.at(plane + b) };
                if !(0.0..=1.0).contains(&share) {
                    return Err(LossError::ValueOutOfRange {
                        what: Argument::SoftTargets,
                        value: share,
                        expected: "[0, 1]",
                        position: problem.logit_position(span.sample, k, span.start + b),
                    });
                }
                *to = C::of(share);
            }
        }
        Ok(())
    }

    /// The maps; 0 where a pixel is not valid, whatever they hold there.
    fn load_maps(&mut self, problem: &Problem<'_>, span: Span) -> Result<(), LossError> {
        for &MapColumns { place, first, channels } in &self.map_columns {
            let values = problem.maps[place].values();
            for channel in 0..channels {
                let plane = (span.sample * channels + channel) * problem.geometry.pixels + span.start;
                let column = self.maps.column_mut(first + channel);
                column[span.len..].fill(C::zero());
                for (b, (to, &weight)) in column[..span.len].iter_mut().zip(self.weight.column(0)).enumerate() {
                    let value = if weight == C::zero() { 0.0 } else { values.at(plane + b) };
                    *to = C::of(value);
                    if !to.is_finite() {
                        let mut shape = problem.shape.clone();
                        shape[1] = channels;
                        let position = Geometry::position(&shape, plane + b);
                        let expected = "finite numbers of the type that is computed in";
                        return Err(LossError::ValueOutOfRange { what: Argument::Map, value, expected, position });
                    }
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn load_logits<S: Simd>(&mut self, simd: S, problem: &Problem<'_>, read: Read<'_, C>, span: Span) -> Result<(), LossError> {
        let zero = Lanes::of(simd, C::zero());
        let valid = (!self.all_valid).then_some(&self.weight);
        // Becomes NaN where a logit is not finite.
        let mut check = zero;
        if self.needs.sigmoid {
            load_planes(simd, &mut self.logits, valid, problem, read, span);
            for k in 0..self.classes {
                let z = self.logits.lanes(simd, k);
                for b in 0..z.len() {
                    check = z.at(b).mul_add(zero, check);
                }
            }
        }
        if self.needs.softmax {
            load_planes(simd, &mut self.depth, valid, problem, read, span);
            let (pairs, z) = (self.weight.lanes(simd, 0).len(), self.depth.grid_mut(simd));
            check = match few::<S, C>(z.rows()) {
                2 => apart!(simd, depths::<S, C, 2>(z, pairs, check)),
                3 => apart!(simd, depths::<S, C, 3>(z, pairs, check)),
                4 => apart!(simd, depths::<S, C, 4>(z, pairs, check)),
                _ => apart!(simd, depths::<S, C, MANY>(z, pairs, check)),
            };
        }
        if check.all_equal(zero) { Ok(()) } else { Err(self.first_not_finite(problem, read, span)) }
    }

    #[cold]
    fn first_not_finite(&self, problem: &Problem<'_>, read: Read<'_, C>, span: Span) -> LossError {
        let mut column = vec![C::zero(); span.len];
        for k in 0..self.classes {
            read((span.sample * self.classes + k) * problem.geometry.pixels + span.start, &mut column);
            let mut values = column.iter().zip(self.weight.column(0)).enumerate();
            if let Some((b, (value, _))) = values.find(|(_, (z, w))| !z.is_finite() && **w != C::zero()) {
                return LossError::NonFiniteLogit {
                    value: value.wide(),
                    position: problem.logit_position(span.sample, k, span.start + b),
                };
            }
        }
        LossError::NonFiniteLogit { value: f64::NAN, position: problem.logit_position(span.sample, 0, span.start) }
    }
}

/// Subtracts logits from the largest of their pixel, in place. `check` becomes NaN where one is not
/// finite.
#[inline(always)]
fn depths<S: Simd, C: Real, const K: usize>(mut z: GridMut<'_, S, C>, pairs: usize, mut check: Lanes<S, C>) -> Lanes<S, C> {
    let (classes, zero) = (if K == MANY { z.rows() } else { K }, check.splat(C::zero()));
    for b in 0..pairs {
        let mut max = check.splat(C::neg_infinity());
        for k in 0..classes {
            let z = z.at(k, b);
            check = z.mul_add(zero, check);
            max = max.max(z);
        }
        for k in 0..classes {
            z.set(k, b, max - z.at(k, b));
        }
    }
    check
}

/// The logits of all classes; 0 where `valid` is given and 0.
#[inline(always)]
fn load_planes<S: Simd, C: Real>(
    simd: S,
    columns: &mut Columns<C>,
    valid: Option<&Columns<C>>,
    problem: &Problem<'_>,
    read: Read<'_, C>,
    span: Span,
) {
    let zero = Lanes::of(simd, C::zero());
    let classes = problem.geometry.classes;
    for k in 0..classes {
        let column = columns.column_mut(k);
        read((span.sample * classes + k) * problem.geometry.pixels + span.start, &mut column[..span.len]);
        column[span.len..].fill(C::zero());
        if let Some(weight) = valid {
            // Replaced, not multiplied by 0: the logit of such a pixel may be NaN.
            let weight = weight.lanes(simd, 0);
            write_column!(simd, column, |i, z| weight.at(i).if_equal(zero, zero, z));
        }
    }
}
