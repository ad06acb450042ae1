//! A block of pixels of one sample: decoded target, logits, and the probabilities made of them.
//!
//! Everything is a column of the block's pixels, padded to whole vectors by pixels of weight 0 and logit 0.

mod probabilities;

use loss_core::{Activation, Argument, LossError, Over, Side};
use pulp::Simd;

use crate::columns::{Columns, GridMut};
use crate::membership::{HardTarget, Label, Seen, SoftTarget, TargetColumn};
use crate::problem::{Labels, Target};
use crate::real::NO_CLASS;
use crate::simd::{Column, Lanes, PADDING, apart, write_column};
use crate::sums::Bound;
use crate::{Problem, Real};

/// Which buffers a pass needs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Needs {
    /// Softmax.
    pub(crate) softmax: bool,
    /// Sigmoid.
    pub(crate) sigmoid: bool,
    /// Soft targets.
    pub(crate) soft: bool,
}

/// The label of a channel's class: a single channel is the class 1, and its background has none of its own.
pub(crate) fn label_of(k: usize, classes: usize) -> u32 {
    (k + usize::from(classes == 1)) as u32
}

/// Buffers of one block.
pub(crate) struct Block<C> {
    classes: usize,
    needs: Needs,
    /// Pixels.
    pub(crate) len: usize,
    /// Whether all of them are valid.
    all_valid: bool,
    /// Which labels there are.
    present: Seen,
    /// What no weight exceeds.
    pub(crate) bound: Bound<C>,
    /// y per class, soft targets only; a column of labels ([`NO_CLASS`] where a pixel has none) where the target is hard.
    target: Columns<C>,
    /// w; 0 where the pixel is not valid.
    pub(crate) weight: Columns<C>,
    /// z per class, sigmoid only; 0 where the pixel is not valid.
    logits: Columns<C>,
    /// max_k z − z per class, softmax only; likewise.
    pub(crate) depth: Columns<C>,
    /// p(τ) = `power · scale`; under softmax the powers are e^(τ(z − max)), under sigmoid the probabilities.
    pub(crate) power: Columns<C>,
    /// 1/Σ_k e^(τ(z − max)), softmax only.
    scale: Columns<C>,
    /// `w · scale`, softmax only.
    weighted_scale: Columns<C>,
    /// 1 in every pixel, sigmoid only.
    ones: Columns<C>,
    /// 1 − p(τ), sigmoid only, and where it was asked for.
    pub(crate) complement: Columns<C>,
    /// The logarithm of the largest probability: −log Σ_k e^(z − max) in one column; under sigmoid, without its sign, log(1 + e^−|z|) per
    /// class.
    log_largest: Columns<C>,
    /// Factors of the maps, one after another: K columns each, or one for all classes.
    maps: Columns<C>,
    /// Of each map its place among those given, its first column, and how many it has.
    map_places: Vec<[usize; 3]>,
}

impl<C: Real> Block<C> {
    /// `maps`: of each the place among those given, and its channels.
    pub(crate) fn new(classes: usize, capacity: usize, needs: Needs, maps: &[[usize; 2]]) -> Self {
        let mut map_places = Vec::new();
        let mut map_columns = 0;
        for &[place, channels] in maps {
            map_places.push([place, map_columns, channels]);
            map_columns += channels;
        }
        let columns = |count| Columns::new(count, capacity);
        let only = |needed: bool, count: usize| columns(if needed { count } else { 0 });
        let any = needs.softmax || needs.sigmoid;
        Self {
            classes,
            needs,
            len: 0,
            all_valid: true,
            present: Seen::default(),
            bound: Bound::new(1.0, true),
            target: columns(if needs.soft { classes } else { 1 }),
            weight: columns(1),
            logits: only(needs.sigmoid, classes),
            depth: only(needs.softmax, classes),
            power: only(any, classes),
            scale: only(needs.softmax, 1),
            weighted_scale: only(needs.softmax, 1),
            ones: Columns::filled(C::one(), usize::from(needs.sigmoid), capacity),
            complement: only(needs.sigmoid, classes),
            log_largest: columns(if needs.sigmoid { classes.max(1) } else { 1 }),
            maps: columns(map_columns),
            map_places,
        }
    }

    fn each(&mut self) -> [&mut Columns<C>; 11] {
        [
            &mut self.target,
            &mut self.weight,
            &mut self.logits,
            &mut self.depth,
            &mut self.power,
            &mut self.scale,
            &mut self.weighted_scale,
            &mut self.ones,
            &mut self.complement,
            &mut self.log_largest,
            &mut self.maps,
        ]
    }

    /// Pixels with those that fill up the last vector.
    pub(crate) fn padded(&self) -> usize {
        self.len.next_multiple_of(PADDING)
    }

    pub(crate) fn classes(&self) -> usize {
        self.classes
    }

    /// Whether the target is labels.
    pub(crate) fn is_hard(&self) -> bool {
        !self.needs.soft
    }

    /// Whether there is any softmax.
    pub(crate) fn is_softmax(&self) -> bool {
        self.needs.softmax
    }

    /// What a power is to be multiplied by for p.
    #[inline(always)]
    pub(crate) fn scale<S: Simd>(&self, simd: S, activation: Activation) -> Column<'_, S, C> {
        match activation {
            Activation::Softmax => &self.scale,
            Activation::Sigmoid => &self.ones,
        }
        .lanes(simd, 0)
    }

    /// What a power is to be multiplied by for w·p.
    #[inline(always)]
    pub(crate) fn weighted_scale<S: Simd>(&self, simd: S, activation: Activation) -> Column<'_, S, C> {
        match activation {
            Activation::Softmax => &self.weighted_scale,
            Activation::Sigmoid => &self.weight,
        }
        .lanes(simd, 0)
    }

    /// Whether all pixels are valid.
    pub(crate) fn is_all_valid(&self) -> bool {
        self.all_valid
    }

    /// Whether any pixel can be of the class.
    #[inline(always)]
    pub(crate) fn has(&self, k: usize) -> bool {
        self.needs.soft || self.present.may_have(label_of(k, self.classes))
    }

    /// y of a class.
    #[inline(always)]
    pub(crate) fn target<S: Simd>(&self, simd: S, k: usize) -> TargetColumn<'_, S, C> {
        let (hard, soft) = self.targets(simd);
        if self.needs.soft {
            TargetColumn::Soft(soft, k)
        } else {
            TargetColumn::Hard(hard, Lanes::of(simd, C::of_class(label_of(k, self.classes))))
        }
    }

    /// The labels, or the shares of all classes.
    #[inline(always)]
    pub(crate) fn targets<S: Simd>(&self, simd: S) -> (HardTarget<'_, S, C>, SoftTarget<'_, S, C>) {
        (HardTarget(self.target.lanes(simd, 0)), SoftTarget(self.target.grid(simd)))
    }

    /// Decodes the pixels `start..start + len` of a sample, and refuses what must not be there. `read` brings `len` logits, from an
    /// index on.
    #[inline(always)]
    pub(crate) fn load<S: Simd>(
        &mut self,
        simd: S,
        problem: &Problem<'_>,
        read: &dyn Fn(usize, &mut [C]),
        (sample, start, len): (usize, usize, usize),
    ) -> Result<(), LossError> {
        self.len = len;
        let padded = self.padded();
        for columns in self.each() {
            columns.resize(padded);
        }
        self.load_target(problem, sample, start)?;
        if !self.map_places.is_empty() {
            self.load_maps(problem, sample, start)?;
        }
        if self.needs.softmax || self.needs.sigmoid {
            self.load_logits(simd, problem, read, sample, start)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn load_target(&mut self, problem: &Problem<'_>, sample: usize, start: usize) -> Result<(), LossError> {
        let (len, pixels) = (self.len, problem.geometry.pixels);
        let first = sample * pixels + start;
        let weight = self.weight.column_mut(0);
        weight[len..].fill(C::zero());
        self.all_valid = true;
        let mut largest = 0.0f64;
        match problem.weights {
            None => {
                weight[..len].fill(C::one());
                largest = 1.0;
            }
            Some(weights) => {
                for (b, to) in weight[..len].iter_mut().enumerate() {
                    let value = weights.at(first + b);
                    *to = C::of(value);
                    if !(value >= 0.0 && to.is_finite()) {
                        return Err(LossError::ValueOutOfRange {
                            what: Argument::PixelWeights,
                            value,
                            expected: "finite numbers >= 0",
                            position: problem.pixel_position(sample, start + b),
                        });
                    }
                    largest = largest.max(to.wide());
                    self.all_valid &= *to != C::zero();
                }
            }
        }
        self.bound = Bound::new(largest, problem.weights.is_none());
        match problem.target {
            Target::Labels(labels) => {
                match labels {
                    Labels::U8(v) => self.load_labels(problem, &v[first..first + len]),
                    Labels::I32(v) => self.load_labels(problem, &v[first..first + len]),
                    Labels::I64(v) => self.load_labels(problem, &v[first..first + len]),
                }
                .map_err(|(label, b)| LossError::LabelOutOfRange {
                    label,
                    classes: problem.geometry.labels(),
                    position: problem.pixel_position(sample, start + b),
                })?;
            }
            Target::Soft(shares) => {
                for k in 0..self.classes {
                    let plane = (sample * self.classes + k) * pixels + start;
                    let column = self.target.column_mut(k);
                    column[len..].fill(C::zero());
                    for (b, (to, &weight)) in column[..len].iter_mut().zip(self.weight.column(0)).enumerate() {
                        let share = if weight == C::zero() { 0.0 } else { shares.at(plane + b) };
                        if !(0.0..=1.0).contains(&share) {
                            return Err(LossError::ValueOutOfRange {
                                what: Argument::SoftTargets,
                                value: share,
                                expected: "[0, 1]",
                                position: problem.logit_position(sample, k, start + b),
                            });
                        }
                        *to = C::of(share);
                    }
                }
            }
        }
        Ok(())
    }

    /// The maps; 0 where a pixel is not valid, whatever they hold there.
    fn load_maps(&mut self, problem: &Problem<'_>, sample: usize, start: usize) -> Result<(), LossError> {
        let (len, pixels) = (self.len, problem.geometry.pixels);
        for &[place, first, channels] in &self.map_places {
            let values = problem.maps[place].values();
            for channel in 0..channels {
                let plane = (sample * channels + channel) * pixels + start;
                let column = self.maps.column_mut(first + channel);
                column[len..].fill(C::zero());
                for (b, (to, &weight)) in column[..len].iter_mut().zip(self.weight.column(0)).enumerate() {
                    let value = if weight == C::zero() { 0.0 } else { values.at(plane + b) };
                    *to = C::of(value);
                    if !to.is_finite() {
                        let mut shape = problem.shape.clone();
                        shape[1] = channels;
                        let position = loss_core::Geometry::position(&shape, plane + b);
                        let expected = "finite numbers of the type that is computed in";
                        return Err(LossError::ValueOutOfRange { what: Argument::Map, value, expected, position });
                    }
                }
            }
        }
        Ok(())
    }

    /// A plan's map, for a class.
    #[inline(always)]
    pub(crate) fn map<S: Simd>(&self, simd: S, map: usize, k: usize) -> Column<'_, S, C> {
        let [_, first, channels] = self.map_places[map];
        self.maps.lanes(simd, if channels == 1 { first } else { first + k })
    }

    /// x, y·x or (1 − y)·x.
    #[inline(always)]
    pub(crate) fn over<S: Simd>(&self, simd: S, over: Over, (k, b): (usize, usize), x: Lanes<S, C>) -> Lanes<S, C> {
        match over {
            Over::Valid => x,
            Over::Region => self.target(simd, k).of(Side::Region, b, x),
            Over::Background => self.target(simd, k).of(Side::Background, b, x),
        }
    }

    /// The labels of a block as numbers; or the first that is out of range, and where.
    #[inline(always)]
    fn load_labels<L: Label>(&mut self, problem: &Problem<'_>, labels: &[L]) -> Result<(), (i64, usize)> {
        let count = problem.geometry.labels();
        let (none, column) = (C::of_class(NO_CLASS), self.target.column_mut(0));
        column[labels.len()..].fill(none);
        // Nearly always every label is a class: all are read without a branch, and looked at together.
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
    fn load_logits<S: Simd>(
        &mut self,
        simd: S,
        problem: &Problem<'_>,
        read: &dyn Fn(usize, &mut [C]),
        sample: usize,
        start: usize,
    ) -> Result<(), LossError> {
        let zero = Lanes::of(simd, C::zero());
        // NaN from what is not finite, else 0.
        let mut odd = zero;
        if self.needs.sigmoid {
            let valid = (!self.all_valid).then_some(&self.weight);
            bring(simd, &mut self.logits, valid, problem, read, (sample, start, self.len));
            for k in 0..self.classes {
                let z = self.logits.lanes(simd, k);
                for b in 0..z.len() {
                    odd = z.at(b).mul_add(zero, odd);
                }
            }
        }
        if self.needs.softmax {
            let valid = (!self.all_valid).then_some(&self.weight);
            bring(simd, &mut self.depth, valid, problem, read, (sample, start, self.len));
            let (pairs, z) = (self.weight.lanes(simd, 0).len(), self.depth.grid_mut(simd));
            odd = match few::<S, C>(z.rows()) {
                2 => apart!(simd, depths::<S, C, 2>(z, pairs, odd)),
                3 => apart!(simd, depths::<S, C, 3>(z, pairs, odd)),
                4 => apart!(simd, depths::<S, C, 4>(z, pairs, odd)),
                _ => apart!(simd, depths::<S, C, MANY>(z, pairs, odd)),
            };
        }
        if odd.all_equal(zero) { Ok(()) } else { Err(self.odd(problem, read, sample, start)) }
    }

    /// The first logit that is not finite.
    #[cold]
    fn odd(&self, problem: &Problem<'_>, read: &dyn Fn(usize, &mut [C]), sample: usize, start: usize) -> LossError {
        let mut column = vec![C::zero(); self.len];
        for k in 0..self.classes {
            read((sample * self.classes + k) * problem.geometry.pixels + start, &mut column);
            let mut values = column.iter().zip(self.weight.column(0)).enumerate();
            if let Some((b, (value, _))) = values.find(|(_, (z, w))| !z.is_finite() && **w != C::zero()) {
                return LossError::NonFiniteLogit {
                    value: value.wide(),
                    position: problem.logit_position(sample, k, start + b),
                };
            }
        }
        LossError::NonFiniteLogit { value: f64::NAN, position: problem.logit_position(sample, 0, start) }
    }
}

/// Any number of classes, where a number would have loops over them unrolled.
pub(crate) const MANY: usize = 0;

/// The number of classes, where loops over so few have code of their own.
#[inline(always)]
pub(crate) fn few<S: Simd, C: Real>(classes: usize) -> usize {
    if C::UNROLLED && !S::IS_SCALAR && classes <= 4 { classes } else { MANY }
}

/// Takes logits from the largest of their pixel, in place. `odd` becomes NaN from what is not finite.
#[inline(always)]
fn depths<S: Simd, C: Real, const K: usize>(mut z: GridMut<'_, S, C>, pairs: usize, mut odd: Lanes<S, C>) -> Lanes<S, C> {
    let (classes, zero) = (if K == MANY { z.rows() } else { K }, odd.splat(C::zero()));
    for b in 0..pairs {
        let mut max = odd.splat(C::neg_infinity());
        for k in 0..classes {
            let z = z.at(k, b);
            odd = z.mul_add(zero, odd);
            max = max.max(z);
        }
        for k in 0..classes {
            z.set(k, b, max - z.at(k, b));
        }
    }
    odd
}

/// The logits of all classes of a block; 0 where `valid`, where it is given, is 0.
#[inline(always)]
fn bring<S: Simd, C: Real>(
    simd: S,
    columns: &mut Columns<C>,
    valid: Option<&Columns<C>>,
    problem: &Problem<'_>,
    read: &dyn Fn(usize, &mut [C]),
    (sample, start, len): (usize, usize, usize),
) {
    let zero = Lanes::of(simd, C::zero());
    let classes = problem.geometry.classes;
    for k in 0..classes {
        let column = columns.column_mut(k);
        read((sample * classes + k) * problem.geometry.pixels + start, &mut column[..len]);
        column[len..].fill(C::zero());
        if let Some(weight) = valid {
            // What a pixel without weight holds must not even be multiplied by 0: it may be NaN.
            let weight = weight.lanes(simd, 0);
            write_column!(simd, column, |i, z| weight.at(i).if_equal(zero, zero, z));
        }
    }
}
