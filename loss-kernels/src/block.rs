//! A block of pixels of one sample: target, logits, and the probabilities made of them.
//!
//! Everything is a column of the block's pixels, padded to whole vectors by pixels of weight 0 and
//! logit 0.

mod load;
mod probabilities;
mod target;

use loss_core::{Activation, LossError, Over, Plan, Side};
use pulp::Simd;

use crate::columns::Columns;
use crate::layout::PADDING;
use crate::membership::{HardTarget, Seen, SoftTarget, TargetColumn, label_of};
use crate::prefetch::Ahead;
use crate::simd::{Column, Lanes};
use crate::{Problem, Real};

pub(crate) use load::Logits;
pub(crate) use probabilities::{Powers, powers};

/// Consecutive pixels of a sample.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) sample: usize,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// Which buffers a pass needs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Needs {
    pub(crate) softmax: bool,
    pub(crate) sigmoid: bool,
    /// Soft targets, or one-hot.
    pub(crate) soft: bool,
}

/// The columns of a plan's map.
#[derive(Clone, Copy)]
pub(crate) struct MapColumns {
    /// Place of the map among those given.
    place: usize,
    /// Its first column.
    first: usize,
    /// Its columns: K, or one for all classes.
    channels: usize,
}

impl MapColumns {
    /// Of all maps of a plan.
    pub(crate) fn of(problem: &Problem<'_>, plan: &Plan) -> Result<Vec<Self>, LossError> {
        let mut first = 0;
        let columns = problem.maps_of(plan)?.into_iter().map(|place| {
            let channels = problem.maps[place].channels;
            first += channels;
            Self { place, first: first - channels, channels }
        });
        Ok(columns.collect())
    }
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
    /// Whether no weights were given.
    unweighted: bool,
    /// Pixels whose weights stand in their column.
    weighted: usize,
    /// One column of labels as class bits, or y per class for soft targets.
    target: Columns<C>,
    /// Σ y over the classes, soft targets only.
    total: Columns<C>,
    /// w; 0 where the pixel is not valid.
    pub(crate) weight: Columns<C>,
    /// z per class, sigmoid only; 0 where the pixel is not valid.
    pub(crate) logits: Columns<C>,
    /// max_k z − z per class, softmax only; likewise.
    pub(crate) depth: Columns<C>,
    /// p(τ) = `power · scale`. Under softmax the powers are e^(τ(z − max)), under sigmoid p
    /// itself.
    pub(crate) power: Columns<C>,
    /// 1/Σ_k e^(τ(z − max)), softmax only.
    scale: Columns<C>,
    /// `w · scale`, softmax only.
    weighted_scale: Columns<C>,
    /// The scale under sigmoid: 1.
    ones: Columns<C>,
    /// 1 − p(τ), sigmoid only, where it was asked for.
    complement: Columns<C>,
    /// Softmax: −log Σ_k e^(z − max), the logarithm of the largest probability, in one column.
    /// Sigmoid: log(1 + e^−|z|) per class, which is that without its sign.
    log_largest: Columns<C>,
    /// Memory of the next block.
    pub(crate) ahead: Ahead,
    maps: Columns<C>,
    map_columns: Vec<MapColumns>,
}

impl<C: Real> Block<C> {
    pub(crate) fn new(classes: usize, capacity: usize, needs: Needs, maps: &[MapColumns]) -> Self {
        let columns = |count| Columns::new(count, capacity);
        let only = |needed: bool, count: usize| columns(if needed { count } else { 0 });
        Self {
            classes,
            needs,
            len: 0,
            all_valid: true,
            present: Seen::default(),
            unweighted: false,
            weighted: 0,
            target: columns(if needs.soft { classes } else { 1 }),
            total: only(needs.soft, 1),
            weight: columns(1),
            logits: only(needs.sigmoid, classes),
            depth: only(needs.softmax, classes),
            power: only(needs.softmax || needs.sigmoid, classes),
            scale: only(needs.softmax, 1),
            weighted_scale: only(needs.softmax, 1),
            ones: Columns::filled(C::one(), usize::from(needs.sigmoid), capacity),
            complement: only(needs.sigmoid, classes),
            log_largest: columns(if needs.sigmoid { classes.max(1) } else { 1 }),
            ahead: Ahead::default(),
            maps: columns(maps.iter().map(|map| map.channels).sum()),
            map_columns: maps.to_vec(),
        }
    }

    fn each(&mut self) -> [&mut Columns<C>; 12] {
        [
            &mut self.target,
            &mut self.total,
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

    /// Notes where the next block's labels lie. A task's last block has no next.
    pub(crate) fn look_ahead(&mut self, problem: &Problem<'_>, part: Span, span: Span) {
        self.ahead.clear();
        let next = part.start + part.len;
        if next < span.start + span.len {
            problem.ahead(span.sample * problem.geometry().pixels + next, &mut self.ahead);
        }
    }

    /// Pixels with the padding.
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

    /// Whether sizes can be counted: the target is labels, and no weights were given.
    pub(crate) fn is_counted(&self) -> bool {
        self.is_hard() && self.unweighted
    }

    pub(crate) fn is_all_valid(&self) -> bool {
        self.all_valid
    }

    /// Whether no pixel is left out and none is padding.
    pub(crate) fn is_whole(&self) -> bool {
        self.all_valid && self.padded() == self.len
    }

    /// p, or 1 − p, up to the scale.
    #[inline(always)]
    pub(crate) fn side(&self, side: Side) -> &Columns<C> {
        match side {
            Side::Region => &self.power,
            Side::Background => &self.complement,
        }
    }

    /// p / power.
    #[inline(always)]
    pub(crate) fn scale<S: Simd>(&self, simd: S, activation: Activation) -> Column<'_, S, C> {
        match activation {
            Activation::Softmax => &self.scale,
            Activation::Sigmoid => &self.ones,
        }
        .lanes(simd, 0)
    }

    /// w·p / power.
    #[inline(always)]
    pub(crate) fn weighted_scale<S: Simd>(&self, simd: S, activation: Activation) -> Column<'_, S, C> {
        match activation {
            Activation::Softmax => &self.weighted_scale,
            Activation::Sigmoid => &self.weight,
        }
        .lanes(simd, 0)
    }

    /// Whether any pixel can be of the class.
    #[inline(always)]
    pub(crate) fn has(&self, k: usize) -> bool {
        self.needs.soft || self.present.may_have(label_of(k, self.classes))
    }

    /// The bits of a class in all lanes.
    #[inline(always)]
    pub(crate) fn class<S: Simd>(&self, simd: S, k: usize) -> Lanes<S, C> {
        Lanes::of(simd, C::of_class(label_of(k, self.classes)))
    }

    /// y of a class.
    #[inline(always)]
    pub(crate) fn target<S: Simd>(&self, simd: S, k: usize) -> TargetColumn<'_, S, C> {
        let (hard, soft) = self.targets(simd);
        if self.needs.soft { TargetColumn::Soft(soft, k) } else { TargetColumn::Hard(hard, self.class(simd, k)) }
    }

    /// The labels, or the shares of all classes.
    #[inline(always)]
    pub(crate) fn targets<S: Simd>(&self, simd: S) -> (HardTarget<'_, S, C>, SoftTarget<'_, S, C>) {
        (HardTarget(self.target.lanes(simd, 0)), SoftTarget(self.target.grid(simd)))
    }

    /// A plan's map, for a class.
    #[inline(always)]
    pub(crate) fn map<S: Simd>(&self, simd: S, map: usize, k: usize) -> Column<'_, S, C> {
        let MapColumns { first, channels, .. } = self.map_columns[map];
        self.maps.lanes(simd, if channels == 1 { first } else { first + k })
    }

    /// x, y·x or (1 − y)·x, at the pair `b` of the class `k`.
    #[inline(always)]
    pub(crate) fn over<S: Simd>(&self, simd: S, over: Over, k: usize, b: usize, x: Lanes<S, C>) -> Lanes<S, C> {
        match over {
            Over::Valid => x,
            Over::Region => self.target(simd, k).of(Side::Region, b, x),
            Over::Background => self.target(simd, k).of(Side::Background, b, x),
        }
    }
}
