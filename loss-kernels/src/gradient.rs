//! What a block's statistics hand back to its logits.
//!
//! Softmax: `∂/∂z_j = τ·(g_j − p_j Σ_k g_k)`, where `g_k = ∂/∂(log p_k)` collects what the statistics hand down:
//! `w·p_k·(∂/∂P + y·∂/∂I + 2p·∂/∂Q) + w·y·(∂/∂L + φ'·∂/∂F) + w·∂/∂A`. Sigmoid: each channel by itself, where
//! `∂ log p/∂z = τ·(1 − p)` and `∂ log(1 − p)/∂z = −τ·p`.

use loss_core::{Activation, Over, Plan, Probability, Quantity, Side};
use pulp::Simd;

use crate::Real;
use crate::block::{Block, MANY, few, label_of};
use crate::columns::{Columns, Grid, GridMut};
use crate::groups::Group;
use crate::membership::Membership;
use crate::pixel::{PixelColumns, Wanted};
use crate::simd::{Column, Lanes, Pair, apart, pairs_mut, write_column};

/// Buffers of the gradient of a block.
pub(crate) struct GradientColumns<C> {
    /// ∂/∂z per class, but for what [`Self::excess`] takes from the likeliest.
    out: Columns<C>,
    /// Σ_k ∂/∂z under softmax: what it is off from zero by. That is the likeliest class's: where p is nearly 1 its difference cancels.
    excess: Columns<C>,
    /// Σ φ'·∂/∂F per class, of the region and then of the background; then likewise what sums with
    /// a map hand to log p, y included. Where there are any.
    slopes: Columns<C>,
    /// One column, ready to be stored.
    stage: Vec<C>,
    /// Whether nothing has been written since the last block.
    fresh: bool,
}

impl<C: Real> GradientColumns<C> {
    pub(crate) fn new(classes: usize, capacity: usize, [pixel_sums, maps]: [bool; 2]) -> Self {
        Self {
            out: Columns::new(classes, capacity),
            excess: Columns::new(1, capacity),
            slopes: Columns::new(if maps { 4 * classes } else { usize::from(pixel_sums) * 2 * classes }, capacity),
            stage: vec![C::zero(); capacity],
            fresh: true,
        }
    }

    /// Before a block's first group.
    pub(crate) fn begin(&mut self, padded: usize) {
        self.fresh = true;
        self.excess.column_mut(0)[..padded].fill(C::zero());
    }
}

/// What one side of a class's statistics hands down.
#[derive(Clone, Copy)]
struct Upstream<C> {
    /// The class's number.
    class: C,
    /// ∂/∂P
    mass: C,
    /// ∂/∂I
    intersection: C,
    /// 2·∂/∂Q
    squared: C,
    /// ∂/∂L
    likelihood: C,
    /// ∂/∂A
    log_mass: C,
    /// Whether there is any ∂/∂F.
    pixels: bool,
    /// How far behind those of pixel sums the columns of sums with a map stand; 0 where there are
    /// none.
    mapped: usize,
}

/// What a group's statistics hand down to the pixels of one sample.
pub(crate) struct Handed<C> {
    /// Per side and class; empty where all is zero.
    sides: [Vec<Upstream<C>>; 2],
    /// ∂/∂F per class, with the statistic's place in the plan.
    pixels: Vec<(usize, Vec<C>)>,
    /// The derivatives for sums with a map, likewise.
    mapped: Vec<(usize, Vec<C>)>,
    /// Whether any class has them: see [`Upstream::own`] and [`Upstream::more`].
    own: bool,
    more: bool,
}

impl<C: Real> Handed<C> {
    /// `derivative`: of the statistic at a place in the plan, for a class.
    pub(crate) fn new(plan: &Plan, group: &Group, derivative: impl Fn(usize, usize) -> Option<C>) -> Self {
        let sides = [Side::Region, Side::Background].map(|side| {
            let classes = (0..plan.classes()).map(|k| Upstream::new(plan, group, &derivative, side, k));
            let classes: Vec<Upstream<C>> = classes.collect();
            if classes.iter().any(Upstream::any) { classes } else { Vec::new() }
        });
        let is_mapped = |i: &&usize| plan.statistics()[**i].map.is_some();
        let is_pixel_sum = |i: &&usize| !is_mapped(i) && matches!(plan.statistics()[**i].of, Quantity::Function(..));
        let row = |&i: &usize| Some((i, (0..plan.classes()).map(|k| derivative(i, k)).collect::<Option<_>>()?));
        let pixels = group.members.iter().filter(is_pixel_sum).filter_map(row).collect();
        let mapped = group.members.iter().filter(is_mapped).filter_map(row).collect();
        let (own, more) = (sides.iter().flatten().any(Upstream::own), sides.iter().flatten().any(Upstream::more));
        Self { sides, pixels, mapped, own, more }
    }
}

impl<C: Real> Upstream<C> {
    fn nothing(class: u32) -> Self {
        let zero = C::zero();
        Self {
            class: C::of_class(class),
            mass: zero,
            intersection: zero,
            squared: zero,
            likelihood: zero,
            log_mass: zero,
            pixels: false,
            mapped: 0,
        }
    }

    fn new(plan: &Plan, group: &Group, derivative: impl Fn(usize, usize) -> Option<C>, side: Side, k: usize) -> Self {
        let mut all = Self::nothing(label_of(k, plan.classes()));
        for &i in &group.members {
            let statistic = &plan.statistics()[i];
            let (Some(u), Some(p)) = (derivative(i, k), statistic.probability()) else { continue };
            if p.side != side {
                continue;
            }
            if statistic.map.is_some() {
                all.mapped = 2 * plan.classes();
                continue;
            }
            match (&statistic.of, statistic.over) {
                (Quantity::Mass(_), Over::Valid) => all.mass = u,
                (Quantity::Mass(_), Over::Region | Over::Background) => all.intersection = u,
                (Quantity::SquaredMass(_), _) => all.squared = u + u,
                (Quantity::Log(..), Over::Valid) => all.log_mass = u,
                (Quantity::Log(..), Over::Region | Over::Background) => all.likelihood = u,
                (Quantity::Function(..), _) => all.pixels = true,
                (Quantity::One | Quantity::Target, _) => {}
            }
        }
        all
    }

    /// Whether anything is handed to pixels of this side alone.
    fn own(&self) -> bool {
        self.pixels || self.intersection != C::zero() || self.likelihood != C::zero()
    }

    /// Whether there is anything but ∂/∂P, ∂/∂I and ∂/∂L.
    fn more(&self) -> bool {
        self.pixels || self.mapped > 0 || self.squared != C::zero() || self.log_mass != C::zero()
    }

    fn any(&self) -> bool {
        self.own() || self.more() || self.mass != C::zero()
    }

    /// ∂/∂(log p) of this side without the weight, as p·`.0` + `.1`, where p is its probability. `slopes` has a column per class, the
    /// background's last. `OWN`, `MORE`: whether any class has such; without `MORE` p is not looked at.
    #[inline(always)]
    fn parts<S: Simd, T: Membership<S, C>, const BACKGROUND: bool, const OWN: bool, const MORE: bool>(
        &self,
        p: Lanes<S, C>,
        y: T,
        (slopes, column): (Grid<'_, S, C>, usize),
        at: (usize, usize),
    ) -> (Lanes<S, C>, Lanes<S, C>) {
        let class = p.splat(self.class);
        let (mut per_p, mut alone) = (p.splat(self.mass), p.splat(C::zero()));
        if OWN {
            per_p = per_p + y.of::<BACKGROUND>(at, class, p.splat(self.intersection));
            alone = y.of::<BACKGROUND>(at, class, p.splat(self.likelihood));
        }
        if MORE {
            per_p = p.mul_add(p.splat(self.squared), per_p);
            alone = alone + p.splat(self.log_mass);
            if self.pixels {
                alone = alone + y.of::<BACKGROUND>(at, class, slopes.at(column, at.1));
            }
            if self.mapped > 0 {
                alone = alone + slopes.at(column + self.mapped, at.1);
            }
        }
        (per_p, alone)
    }
}

impl<C: Real> GradientColumns<C> {
    /// Adds a group's part, whose probabilities have been computed.
    #[inline(always)]
    pub(crate) fn add_group<S: Simd>(
        &mut self,
        (simd, constants): (S, &C::Constants<S>),
        block: &Block<C>,
        pixels: &mut PixelColumns<C>,
        plan: &Plan,
        (group, handed): (&Group, &Handed<C>),
    ) {
        if handed.sides.iter().all(Vec::is_empty) {
            return;
        }
        self.collect_slopes((simd, constants), block, pixels, plan, handed);
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

    /// Σ φ'·∂/∂F of every class, on both sides.
    #[inline(always)]
    fn collect_slopes<S: Simd>(
        &mut self,
        (simd, constants): (S, &C::Constants<S>),
        block: &Block<C>,
        pixels: &mut PixelColumns<C>,
        plan: &Plan,
        handed: &Handed<C>,
    ) {
        let (classes, padded) = (plan.classes(), block.padded());
        if !handed.pixels.is_empty() {
            (0..2 * classes).for_each(|column| self.slopes.column_mut(column)[..padded].fill(C::zero()));
        }
        for (i, derivatives) in &handed.pixels {
            let Quantity::Function(activation, side, function) = &plan.statistics()[*i].of else { continue };
            let first = if *side == Side::Background { classes } else { 0 };
            for (k, &u) in derivatives.iter().enumerate() {
                let u = Lanes::of(simd, u);
                let slope =
                    pixels.of_class((simd, constants), block, (function, *activation, *side), Wanted::Slope, (k, classes));
                write_column!(simd, &mut self.slopes.column_mut(first + k)[..padded], |b, old| slope.at(b).mul_add(u, old));
            }
        }
        if !handed.mapped.is_empty() {
            (2 * classes..4 * classes).for_each(|column| self.slopes.column_mut(column)[..padded].fill(C::zero()));
        }
        for (i, derivatives) in &handed.mapped {
            let (statistic, Some(map)) = (&plan.statistics()[*i], plan.map(*i)) else { continue };
            let Some(Probability { activation, side, .. }) = statistic.probability() else { continue };
            let first = if side == Side::Background { 3 * classes } else { 2 * classes };
            let (scale, over) = (block.scale(simd, activation), statistic.over);
            for (k, &u) in derivatives.iter().enumerate() {
                let (u, map) = (Lanes::of(simd, u), block.map(simd, map, k));
                let p = if side == Side::Background { &block.complement } else { &block.power }.lanes(simd, k);
                let column = &mut self.slopes.column_mut(first + k)[..padded];
                let times =
                    |b: usize, old: Lanes<S, C>, x: Lanes<S, C>| old + block.over(simd, over, (k, b), u * map.at(b) * x);
                match &statistic.of {
                    Quantity::One | Quantity::Target => {}
                    Quantity::Mass(_) => write_column!(simd, column, |b, old| times(b, old, p.at(b) * scale.at(b))),
                    Quantity::SquaredMass(_) => write_column!(simd, column, |b, old| {
                        let p = p.at(b) * scale.at(b);
                        times(b, old, p * p + p * p)
                    }),
                    Quantity::Log(..) => {
                        let one = u.splat(C::one());
                        write_column!(simd, column, |b, old| times(b, old, one));
                    }
                    Quantity::Function(.., function) => {
                        let of = (function, activation, side);
                        let slope = pixels.of_class((simd, constants), block, of, Wanted::Slope, (k, classes));
                        write_column!(simd, column, |b, old| times(b, old, slope.at(b)));
                    }
                }
            }
        }
    }

    /// Specialised, so that the loops over classes are free of branches.
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
            Activation::Sigmoid => self.sigmoid::<S, T, OWN, MORE>(simd, block, y, group, &handed.sides),
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
        let excess = pairs_mut(simd, &mut self.excess.column_mut(0)[..block.padded()]);
        let (count, mut out) = (excess.len(), self.out.grid_mut(simd));
        let (scale, weight) = (block.scale(simd, group.activation).first(count), block.weight.lanes(simd, 0).first(count));
        let (power, slopes, y) = (block.power.grid(simd), self.slopes.grid(simd), y.first(count));
        let rows = handed.len().min(power.rows()).min(out.rows());
        let pairs = Softmax { tau, scale, weight, power, slopes, y, handed: &handed[..rows] };
        match if MORE { MANY } else { few::<S, C>(rows) } {
            2 => apart!(simd, pairs.add::<OWN, MORE, FRESH, 2>(&mut out, excess)),
            3 => apart!(simd, pairs.add::<OWN, MORE, FRESH, 3>(&mut out, excess)),
            4 => apart!(simd, pairs.add::<OWN, MORE, FRESH, 4>(&mut out, excess)),
            // Not apart: so it is a twentieth faster.
            _ => pairs.add::<OWN, MORE, FRESH, MANY>(&mut out, excess),
        }
    }

    #[inline(always)]
    fn sigmoid<S: Simd, T: Membership<S, C>, const OWN: bool, const MORE: bool>(
        &mut self,
        simd: S,
        block: &Block<C>,
        y: T,
        group: &Group,
        [region, background]: &[Vec<Upstream<C>>; 2],
    ) {
        let tau = Lanes::of(simd, C::of(group.temperature.value()));
        let (slopes, fresh) = (self.slopes.grid(simd), self.fresh);
        let classes = region.len().max(background.len());
        for k in 0..classes {
            let of_side = |side: &[Upstream<C>]| side.get(k).copied().unwrap_or(Upstream::nothing(label_of(k, classes)));
            let [region, background] = [of_side(region), of_side(background)];
            let out = &mut self.out.column_mut(k)[..block.padded()];
            let count = pairs_mut(simd, out).len();
            let (p, q) = (block.power.lanes(simd, k).first(count), block.complement.lanes(simd, k).first(count));
            let (w, y) = (block.weight.lanes(simd, 0).first(count), y.first(count));
            write_column!(simd, out, |b, old| {
                let (p, q) = (p.at(b), q.at(b));
                // (p·per_p + alone_p)·q − (q·per_q + alone_q)·p
                let (per_p, alone_p) = region.parts::<S, T, false, OWN, MORE>(p, y, (slopes, k), (k, b));
                let (per_q, alone_q) = background.parts::<S, T, true, OWN, MORE>(q, y, (slopes, classes + k), (k, b));
                let value = (p * q) * (per_p - per_q);
                let value = if OWN { alone_p.mul_add(q, value) - alone_q * p } else { value };
                let value = (tau * w.at(b)) * value;
                if fresh { value } else { old + value }
            });
        }
    }

    /// Stores the gradient of a block: exactly 0 where a pixel is not valid, and where it is below the least normal number.
    #[inline(always)]
    pub(crate) fn finish<S: Simd>(&mut self, simd: S, block: &Block<C>, unit: C, sink: &mut dyn Sink<C>, from: usize) {
        for k in 0..block.classes() {
            self.finish_class(simd, block, k, unit, sink, from);
        }
    }

    #[inline(always)]
    fn finish_class<S: Simd>(&mut self, simd: S, block: &Block<C>, k: usize, unit: C, sink: &mut dyn Sink<C>, from: usize) {
        let padded = block.padded();
        // A column of the block is either all of the sink's own, or stands on the stage first.
        let direct = (padded == block.len).then(|| sink.own(k, from, padded)).flatten();
        let is_direct = direct.is_some();
        let column = direct.unwrap_or(&mut self.stage[..padded]);
        let zero = Lanes::of(simd, C::zero());
        let (unit, least) = (Lanes::of(simd, unit), Lanes::of(simd, C::min_positive_value() / unit));
        let out = self.out.lanes(simd, k).first(pairs_mut(simd, column).len());
        let (excess, w) = (self.excess.lanes(simd, 0).first(out.len()), block.weight.lanes(simd, 0).first(out.len()));
        if self.fresh {
            column.fill(C::zero());
        } else if block.is_softmax() {
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
        if !is_direct {
            sink.store(k, from, &self.stage[..block.len]);
        }
    }
}

/// What the gradient of a softmax is made of.
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
    /// Adds a group's part, and writes what it adds up to over the classes. Two pairs at once, of which a column is full: what is handed to
    /// a class is brought to all lanes once for both.
    #[inline(always)]
    fn add<const OWN: bool, const MORE: bool, const FRESH: bool, const K: usize>(
        &self,
        out: &mut GridMut<'_, S, C>,
        excess: &mut [Pair<S, C>],
    ) {
        for (b, excess) in excess.as_chunks_mut().0.iter_mut().enumerate() {
            *excess = self.at::<OWN, MORE, FRESH, K>(out, 2 * b);
        }
    }

    /// At two pairs, from one on.
    #[expect(
        clippy::needless_range_loop,
        reason = "of what an iterator counts the compiler does not know that the grids have as many rows"
    )]
    #[inline(always)]
    fn at<const OWN: bool, const MORE: bool, const FRESH: bool, const K: usize>(
        &self,
        out: &mut GridMut<'_, S, C>,
        first: usize,
    ) -> [Pair<S, C>; 2] {
        const PAIRS: usize = 2;
        let &Self { tau, scale, weight, power, slopes, y, handed } = self;
        let (classes, zero) = (if K == MANY { handed.len() } else { K }, tau.splat(C::zero()));
        let (mut scales, mut weights) = ([zero; PAIRS], [zero; PAIRS]);
        for i in 0..PAIRS {
            (scales[i], weights[i]) = (scale.at(first + i), tau * weight.at(first + i));
        }
        // Σ_k g_k, without the weight: what the powers are multiplied by, and the rest.
        let (mut per_power, mut rest) = ([zero; PAIRS], [zero; PAIRS]);
        for k in 0..classes {
            let up = handed[k];
            for i in 0..PAIRS {
                let (at, power) = ((k, first + i), power.at(k, first + i));
                let (per_p, alone) = up.parts::<S, T, false, OWN, MORE>(power * scales[i], y, (slopes, k), at);
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
                let (at, power) = ((k, first + i), power.at(k, first + i));
                let (per_p, alone) = up.parts::<S, T, false, OWN, MORE>(power * scales[i], y, (slopes, k), at);
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

/// Where the gradient goes: of a class, from a pixel of the task on.
pub(crate) trait Sink<C> {
    /// So many numbers of it to be written, where they are stored as they are computed.
    fn own(&mut self, k: usize, from: usize, length: usize) -> Option<&mut [C]>;
    /// Stores what has been computed.
    fn store(&mut self, k: usize, from: usize, values: &[C]);
}

#[cfg(test)]
mod tests {
    use loss_core::{Statistic, Temperature};

    use super::*;
    use crate::groups::Groups;

    #[test]
    fn what_is_not_handed_down_is_not_computed() {
        let p = Probability::new(Activation::Softmax, Temperature::ONE, Side::Region);
        let statistics = [Statistic::predicted_size(p), Statistic::intersection(p), Statistic::squared_mass(p.activation)];
        let plan = Plan::new(2, statistics.clone()).unwrap();
        let groups = Groups::new(&plan, |_| true);
        let cases = [
            ([0.0, 0.0, 0.0], (false, false, 0)),
            ([1.0, 0.0, 0.0], (false, false, 2)),
            ([0.0, 1.0, 0.0], (true, false, 2)),
            ([0.0, 0.0, 1.0], (false, true, 2)),
        ];
        for (given, wanted) in cases {
            let derivative = |i: usize, _: usize| {
                let at = statistics.iter().position(|statistic| *statistic == plan.statistics()[i]);
                at.map(|at| given[at])
            };
            let handed = Handed::<f64>::new(&plan, &groups.groups[0], derivative);
            assert_eq!((handed.own, handed.more, handed.sides[0].len()), wanted, "{given:?}");
        }
    }
}
