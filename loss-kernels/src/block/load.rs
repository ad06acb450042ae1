//! Reading a block: weights, maps and logits. What must not be there is refused.

use loss_core::{Argument, Geometry, LossError};
use pulp::Simd;

use super::{Block, MapColumns, Span};
use crate::columns::{Columns, GridMut};
use crate::simd::{Lanes, apart, write_column};
use crate::{Problem, Real};

/// The logits, in the type that the kernels compute in.
pub(crate) trait Logits<C> {
    /// A slice of them, if they are stored in that type.
    fn own(&self, from: usize, length: usize) -> Option<&[C]>;
    /// Copies those from an index on.
    fn read(&self, from: usize, to: &mut [C]);
}

impl<C: Real> Block<C> {
    /// Reads all but the logits of a span.
    #[inline(always)]
    pub(crate) fn load(&mut self, problem: &Problem<'_>, span: Span) -> Result<(), LossError> {
        self.len = span.len;
        let padded = self.padded();
        for columns in self.each() {
            columns.resize(padded);
        }
        self.load_weights(problem, span)?;
        self.load_target(problem, span)?;
        self.load_maps(problem, span)?;
        Ok(())
    }

    #[inline(always)]
    fn load_weights(&mut self, problem: &Problem<'_>, span: Span) -> Result<(), LossError> {
        // The column is still right if the block before had as many pixels, and each counted 1.
        let same = self.all_valid && self.unweighted && self.weighted == span.len;
        (self.all_valid, self.unweighted, self.weighted) = (true, problem.weights.is_none(), span.len);
        if same && self.unweighted {
            return Ok(());
        }
        let weight = self.weight.column_mut(0);
        weight[span.len..].fill(C::zero());
        match problem.weights {
            None => weight[..span.len].fill(C::one()),
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
                    self.all_valid &= *to != C::zero();
                }
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

    /// Reads the logits of a span.
    #[inline(always)]
    pub(crate) fn load_logits<S: Simd>(
        &mut self,
        simd: S,
        problem: &Problem<'_>,
        logits: &dyn Logits<C>,
        span: Span,
    ) -> Result<(), LossError> {
        let zero = Lanes::of(simd, C::zero());
        // Becomes NaN where a logit is not finite.
        let mut check = zero;
        if self.needs.sigmoid {
            for k in 0..self.classes {
                self.copy_channel(simd, problem, logits, span, k);
                let z = self.logits.lanes(simd, k);
                for b in 0..z.len() {
                    check = z.at(b).mul_add(zero, check);
                }
            }
        }
        if self.needs.softmax {
            let pairs = self.weight.lanes(simd, 0).len();
            let planes = if let Some(stored) = self.stored(problem, logits, span) {
                Planes { simd, stored, pixels: problem.geometry.pixels }
            } else {
                self.copy_planes(simd, problem, logits, span);
                let (stored, stride) = self.power.stored();
                Planes { simd, stored, pixels: stride }
            };
            check = apart!(simd, depths(planes, self.depth.grid_mut(simd), pairs));
        }
        if check.all_equal(zero) { Ok(()) } else { Err(self.first_not_finite(problem, logits, span)) }
    }

    /// The logits of all classes of a span, plane after plane, where they are stored: if no pixel
    /// is left out and none is padding.
    #[inline(always)]
    pub(crate) fn stored<'a>(&self, problem: &Problem<'_>, logits: &'a dyn Logits<C>, span: Span) -> Option<&'a [C]> {
        let Geometry { classes, pixels, .. } = problem.geometry;
        let first = span.sample * classes * pixels + span.start;
        self.is_whole().then(|| logits.own(first, (classes.max(1) - 1) * pixels + span.len)).flatten()
    }

    /// Copies them to the columns of powers, which are not in use yet.
    #[inline(always)]
    pub(crate) fn copy_planes<S: Simd>(&mut self, simd: S, problem: &Problem<'_>, logits: &dyn Logits<C>, span: Span) {
        let Geometry { classes, pixels, .. } = problem.geometry;
        let first = span.sample * classes * pixels + span.start;
        let valid = (!self.all_valid).then_some(&self.weight);
        for k in 0..classes {
            copy_plane(simd, self.power.column_mut(k), valid, logits, first + k * pixels, span.len);
        }
    }

    /// Those copies, and the distance from one class to the next.
    pub(crate) fn copied_planes(&self) -> (&[C], usize) {
        self.power.stored()
    }

    /// Copies the logits of a sigmoid channel to its column.
    #[inline(always)]
    pub(crate) fn copy_channel<S: Simd>(
        &mut self,
        simd: S,
        problem: &Problem<'_>,
        logits: &dyn Logits<C>,
        span: Span,
        k: usize,
    ) {
        let valid = (!self.all_valid).then_some(&self.weight);
        let from = (span.sample * self.classes + k) * problem.geometry.pixels + span.start;
        copy_plane(simd, self.logits.column_mut(k), valid, logits, from, span.len);
    }

    #[cold]
    pub(crate) fn first_not_finite(&self, problem: &Problem<'_>, logits: &dyn Logits<C>, span: Span) -> LossError {
        let mut column = vec![C::zero(); span.len];
        for k in 0..self.classes {
            logits.read((span.sample * self.classes + k) * problem.geometry.pixels + span.start, &mut column);
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

/// The planes of a sample's logits, from a pixel on.
#[derive(Clone, Copy)]
struct Planes<'a, S: Simd, C: Real> {
    simd: S,
    stored: &'a [C],
    /// From one plane to the next.
    pixels: usize,
}

impl<S: Simd, C: Real> Planes<'_, S, C> {
    /// The pair `b` of the class `k`.
    #[inline(always)]
    fn at(self, k: usize, b: usize) -> Lanes<S, C> {
        let (first, lanes) = (k * self.pixels + b * C::lanes::<S>(), C::lanes::<S>());
        Lanes::new(self.simd, C::pairs::<S>(&self.stored[first..first + lanes])[0])
    }
}

/// Writes the largest logit of each pixel less its logits. The result becomes NaN where one is not
/// finite.
#[inline(always)]
fn depths<S: Simd, C: Real>(z: Planes<'_, S, C>, mut to: GridMut<'_, S, C>, pairs: usize) -> Lanes<S, C> {
    let zero = Lanes::of(z.simd, C::zero());
    let (classes, mut check) = (to.rows(), zero);
    for b in 0..pairs {
        let mut max = zero.splat(C::neg_infinity());
        for k in 0..classes {
            let z = z.at(k, b);
            check = z.mul_add(zero, check);
            max = max.max(z);
        }
        for k in 0..classes {
            to.set(k, b, max - z.at(k, b));
        }
    }
    check
}

/// Copies logits to a column; 0 where `valid` is given and 0.
#[inline(always)]
fn copy_plane<S: Simd, C: Real>(
    simd: S,
    column: &mut [C],
    valid: Option<&Columns<C>>,
    logits: &dyn Logits<C>,
    from: usize,
    length: usize,
) {
    let zero = Lanes::of(simd, C::zero());
    logits.read(from, &mut column[..length]);
    column[length..].fill(C::zero());
    if let Some(weight) = valid {
        // Replaced, not multiplied by 0: the logit of such a pixel may be NaN.
        let weight = weight.lanes(simd, 0);
        write_column!(simd, column, |i, z| weight.at(i).if_equal(zero, zero, z));
    }
}
