//! The gradient of a block for its logits.
//!
//! Softmax: `∂/∂z_j = τ·(g_j − p_j Σ_k g_k)`, where `g_k = ∂/∂(log p_k)` collects what
//! the statistics hand down: `w·p_k·(∂/∂P + y·∂/∂I + 2p·∂/∂Q) + w·y·(∂/∂L +
//! φ'·∂/∂F) + w·∂/∂A`. Sigmoid: each channel by itself, where
//! `∂ log p/∂z = τ·(1 − p)` and `∂ log(1 − p)/∂z = −τ·p`.

use loss_core::{Activation, Plan, Side};
use pulp::Simd;

use crate::Real;
use crate::block::Block;
use crate::columns::{Columns, Grid, GridMut};
use crate::functions::Math;
use crate::groups::Group;
use crate::layout::PADDING;
use crate::membership::Membership;
use crate::pixel::PixelColumns;
use crate::prefetch::Ahead;
use crate::real::MOST_FEW;
use crate::simd::{Column, Lanes, Pair, apart, pairs_mut, write_column};
use crate::slopes::Slopes;
use crate::upstream::{Handed, Upstream};

/// Buffers of the gradient of a block.
pub(crate) struct GradientColumns<C> {
    /// ∂/∂z per class; under softmax before [`Self::excess`] is subtracted.
    out: Columns<C>,
    /// Σ_k ∂/∂z under softmax, which should be 0. The likeliest class is corrected by it:
    /// where p is nearly 1, that class's difference cancels.
    excess: Columns<C>,
    slopes: Slopes<C>,
    /// One column, ready to be stored.
    stage: Vec<C>,
    /// Whether nothing has been written since the last block.
    fresh: bool,
    /// Whether the excess has.
    corrected: bool,
}

impl<C: Real> GradientColumns<C> {
    pub(crate) fn new(classes: usize, capacity: usize, pixel_sums: bool, maps: bool) -> Self {
        Self {
            out: Columns::new(classes, capacity),
            excess: Columns::new(1, capacity),
            slopes: Slopes::new(classes, capacity, pixel_sums, maps),
            stage: vec![C::zero(); capacity],
            fresh: true,
            corrected: false,
        }
    }

    /// Before a block's first group.
    pub(crate) fn begin(&mut self) {
        (self.fresh, self.corrected) = (true, false);
    }

    /// Adds a group's part, whose probabilities have been computed.
    #[inline(always)]
    pub(crate) fn add_group<S: Simd>(
        &mut self,
        math: Math<'_, S, C>,
        block: &Block<C>,
        pixels: &mut PixelColumns<C>,
        plan: &Plan,
        group: &Group,
        handed: &Handed<C>,
    ) {
        if handed.sides.iter().all(Vec::is_empty) {
            return;
        }
        let simd = math.simd;
        self.slopes.collect_pixel_sums(math, block, pixels, plan, handed);
        self.slopes.collect_mapped(math, block, pixels, plan, handed);
        let (hard, soft) = block.targets(simd);
        match (handed.own || handed.more, handed.more, block.is_hard()) {
            (false, false, _) => apart!(simd, self.add::<S, _, false, false>(simd, block, hard, group, handed)),
            (true, false, true) => apart!(simd, self.add::<S, _, true, false>(simd, block, hard, group, handed)),
            (_, false, false) => apart!(simd, self.add::<S, _, true, false>(simd, block, soft, group, handed)),
            (_, true, true) => apart!(simd, self.add::<S, _, true, true>(simd, block, hard, group, handed)),
            (_, true, false) => apart!(simd, self.add::<S, _, true, true>(simd, block, soft, group, handed)),
        }
        self.fresh = false;
    }

    /// Compiled for each case, so that the loops over classes have no branches.
    #[inline(always)]
    fn add<S: Simd, T: Membership<S, C>, const OWN: bool, const MORE: bool>(
        &mut self,
        simd: S,
        block: &Block<C>,
        y: T,
        group: &Group,
        handed: &Handed<C>,
    ) {
        match group.activation {
            Activation::Softmax if self.fresh => {
                self.softmax::<S, T, OWN, MORE, true>(simd, block, y, group, &handed.sides[0]);
            }
            Activation::Softmax => self.softmax::<S, T, OWN, MORE, false>(simd, block, y, group, &handed.sides[0]),
            Activation::Sigmoid => self.sigmoid::<S, T, OWN, MORE>(simd, block, y, group, handed),
        }
    }

    #[inline(always)]
    fn softmax<S: Simd, T: Membership<S, C>, const OWN: bool, const MORE: bool, const FRESH: bool>(
        &mut self,
        simd: S,
        block: &Block<C>,
        y: T,
        group: &Group,
        handed: &[Upstream<C>],
    ) {
        let tau = Lanes::of(simd, C::of(group.temperature.value()));
        self.corrected = true;
        let excess = pairs_mut(simd, &mut self.excess.column_mut(0)[..block.padded()]);
        let (count, mut out) = (excess.len(), self.out.grid_mut(simd));
        let (scale, weight) = (block.scale(simd, group.activation).first(count), block.weight.lanes(simd, 0).first(count));
        let (power, slopes, y) = (block.power.grid(simd), self.slopes.grid(simd), y.first(count));
        let rows = handed.len().min(power.rows()).min(out.rows());
        let pairs = Softmax { tau, scale, weight, power, slopes, y, handed: &handed[..rows] };
        pairs.add::<OWN, MORE, FRESH>(&mut out, excess);
    }

    #[inline(always)]
    fn sigmoid<S: Simd, T: Membership<S, C>, const OWN: bool, const MORE: bool>(
        &mut self,
        simd: S,
        block: &Block<C>,
        y: T,
        group: &Group,
        handed: &Handed<C>,
    ) {
        let tau = Lanes::of(simd, C::of(group.temperature.value()));
        let (slopes, fresh) = (self.slopes.grid(simd), self.fresh);
        let classes = handed.sides[0].len().max(handed.sides[1].len());
        for k in 0..classes {
            let [region, background] = [Side::Region, Side::Background].map(|side| handed.of(side, k, classes));
            let out = &mut self.out.column_mut(k)[..block.padded()];
            let count = pairs_mut(simd, out).len();
            let (p, q) = (block.side(Side::Region).lanes(simd, k), block.side(Side::Background).lanes(simd, k));
            let (p, q) = (p.first(count), q.first(count));
            let (w, y) = (block.weight.lanes(simd, 0).first(count), y.first(count));
            write_column!(simd, out, |b, old| {
                let (p, q) = (p.at(b), q.at(b));
                // (p·per_p + alone_p)·q − (q·per_q + alone_q)·p
                let (per_p, alone_p) = region.parts::<S, T, false, OWN, MORE>(p, y, slopes, k, k, b);
                let (per_q, alone_q) = background.parts::<S, T, true, OWN, MORE>(q, y, slopes, classes + k, k, b);
                let value = (p * q) * (per_p - per_q);
                let value = if OWN { alone_p.mul_add(q, value) - alone_q * p } else { value };
                let value = (tau * w.at(b)) * value;
                if fresh { value } else { old + value }
            });
        }
    }

    /// Stores what is written to the columns of few classes: directly, where the gradient is stored
    /// as it is computed and no padding would be written.
    #[inline(always)]
    pub(crate) fn write_few<R>(
        &mut self,
        block: &Block<C>,
        sink: &mut dyn Sink<C>,
        from: usize,
        write: impl FnOnce([&mut [C]; MOST_FEW]) -> R,
    ) -> R {
        if block.padded() == block.len
            && let Some(columns) = sink.few(from, block.len)
        {
            return write(columns);
        }
        let result = write(self.out.few_mut());
        for k in 0..block.classes() {
            sink.store(k, from, &self.out.column(k)[..block.len]);
        }
        result
    }

    /// A column, ready to be stored.
    pub(crate) fn stage(&mut self) -> &mut [C] {
        &mut self.stage
    }

    /// Stores the gradient of a block: 0 where a pixel is not valid, and in place of subnormal
    /// numbers.
    #[inline(always)]
    pub(crate) fn finish<S: Simd>(&mut self, simd: S, block: &Block<C>, unit: C, sink: &mut dyn Sink<C>, from: usize) {
        let Self { out, excess, stage, fresh, corrected, .. } = self;
        let mut to = Destination { stage, sink, from };
        let zero = Lanes::of(simd, C::zero());
        let (unit, least) = (Lanes::of(simd, unit), Lanes::of(simd, C::min_positive_value() / unit));
        for k in 0..block.classes() {
            to.write(
                k,
                block.len,
                // Inlined, so that it is compiled for the instructions of this function.
                #[inline(always)]
                |column: &mut [C]| {
                    let out = out.lanes(simd, k).first(pairs_mut(simd, column).len());
                    let (excess, w) = (excess.lanes(simd, 0).first(out.len()), block.weight.lanes(simd, 0).first(out.len()));
                    if *fresh {
                        column.fill(C::zero());
                    } else if *corrected {
                        let depth = block.depth.lanes(simd, k).first(out.len());
                        write_column!(simd, column, |b| {
                            let value = out.at(b) - depth.at(b).if_same(zero, excess.at(b), zero);
                            value.abs().if_below(least, zero, value) * unit
                        });
                    } else {
                        write_column!(simd, column, |b| out.at(b).abs().if_below(least, zero, out.at(b)) * unit);
                    }
                    if !block.is_all_valid() {
                        write_column!(simd, column, |b, value| w.at(b).if_equal(zero, zero, value));
                    }
                },
            );
        }
    }
}

/// The inputs of the loop over the pixels of a softmax.
struct Softmax<'a, S: Simd, C: Real, T> {
    tau: Lanes<S, C>,
    scale: Column<'a, S, C>,
    weight: Column<'a, S, C>,
    power: Grid<'a, S, C>,
    slopes: Grid<'a, S, C>,
    y: T,
    handed: &'a [Upstream<C>],
}

impl<S: Simd, C: Real, T: Membership<S, C>> Softmax<'_, S, C, T> {
    /// Adds a group's part, and writes its sum over the classes. Two pairs at once, so that a
    /// class's derivatives are loaded once for both; columns have an even number of pairs.
    #[inline(always)]
    fn add<const OWN: bool, const MORE: bool, const FRESH: bool>(
        &self,
        out: &mut GridMut<'_, S, C>,
        excess: &mut [Pair<S, C>],
    ) {
        for (b, excess) in excess.as_chunks_mut().0.iter_mut().enumerate() {
            *excess = self.at::<OWN, MORE, FRESH>(out, 2 * b);
        }
    }

    /// At two pairs, from `first` on.
    #[expect(
        clippy::needless_range_loop,
        reason = "the compiler drops bounds checks of the grids for a range, not for an iterator"
    )]
    #[inline(always)]
    fn at<const OWN: bool, const MORE: bool, const FRESH: bool>(
        &self,
        out: &mut GridMut<'_, S, C>,
        first: usize,
    ) -> [Pair<S, C>; 2] {
        const PAIRS: usize = 2;
        let &Self { tau, scale, weight, power, slopes, y, handed } = self;
        let (classes, zero) = (handed.len(), tau.splat(C::zero()));
        let (mut scales, mut weights) = ([zero; PAIRS], [zero; PAIRS]);
        for i in 0..PAIRS {
            (scales[i], weights[i]) = (scale.at(first + i), tau * weight.at(first + i));
        }
        // Σ_k g_k without the weight, as power·`per_power` + `rest`.
        let (mut per_power, mut rest) = ([zero; PAIRS], [zero; PAIRS]);
        for k in 0..classes {
            let up = handed[k];
            for i in 0..PAIRS {
                let power = power.at(k, first + i);
                let (per_p, alone) = up.parts::<S, T, false, OWN, MORE>(power * scales[i], y, slopes, k, k, first + i);
                per_power[i] = power.mul_add(per_p, per_power[i]);
                if OWN {
                    rest[i] = rest[i] + alone;
                }
            }
        }
        let (mut totals, mut scaled, mut sums) = ([zero; PAIRS], [zero; PAIRS], [zero; PAIRS]);
        for i in 0..PAIRS {
            (totals[i], scaled[i]) = (per_power[i].mul_add(scales[i], rest[i]), scales[i] * weights[i]);
        }
        for k in 0..classes {
            let up = handed[k];
            for i in 0..PAIRS {
                let power = power.at(k, first + i);
                let (per_p, alone) = up.parts::<S, T, false, OWN, MORE>(power * scales[i], y, slopes, k, k, first + i);
                let value = (power * scaled[i]) * (per_p - totals[i]);
                let value = if OWN { alone.mul_add(weights[i], value) } else { value };
                let value = if FRESH { value } else { out.at(k, first + i) + value };
                sums[i] = sums[i] + value;
                out.set(k, first + i, value);
            }
        }
        let mut pairs = [zero.pair; PAIRS];
        for i in 0..PAIRS {
            pairs[i] = sums[i].pair;
        }
        pairs
    }
}

/// Where the gradient of a task is stored: of class `k`, from a pixel of the task on.
pub(crate) trait Sink<C> {
    /// Memory to write to directly; `None` where the gradient is not stored as it is computed.
    fn own(&mut self, k: usize, from: usize, length: usize) -> Option<&mut [C]>;
    /// The same of few classes at once; beyond the last, empty slices.
    fn few(&mut self, from: usize, length: usize) -> Option<[&mut [C]; MOST_FEW]>;
    /// Converts and stores.
    fn store(&mut self, k: usize, from: usize, values: &[C]);
    /// Notes that the memory of all classes from a pixel on will be needed.
    fn ahead(&self, ahead: &mut Ahead, from: usize);
}

/// Where the gradient of a block is stored.
pub(crate) struct Destination<'a, C> {
    /// A column of a block.
    pub(crate) stage: &'a mut [C],
    pub(crate) sink: &'a mut dyn Sink<C>,
    /// The block's first pixel in the task.
    pub(crate) from: usize,
}

impl<C: Real> Destination<'_, C> {
    /// Stores what is written to a class's column of `length` pixels: directly, where the gradient
    /// is stored as it is computed and no padding would be written.
    #[inline(always)]
    pub(crate) fn write<R>(&mut self, k: usize, length: usize, write: impl FnOnce(&mut [C]) -> R) -> R {
        let padded = length.next_multiple_of(PADDING);
        if padded == length
            && let Some(column) = self.sink.own(k, self.from, length)
        {
            return write(column);
        }
        let result = write(&mut self.stage[..padded]);
        self.sink.store(k, self.from, &self.stage[..length]);
        result
    }
}
