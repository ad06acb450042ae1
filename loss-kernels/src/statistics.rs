//! What a block adds to the statistics.

use loss_core::{Activation, Plan, Probability, Quantity, Side, Statistic};
use pulp::Simd;

use crate::Real;
use crate::block::Block;
use crate::functions::Math;
use crate::groups::{Group, Groups, Usual};
use crate::logarithm::Logarithms;
use crate::membership::Membership;
use crate::pixel::{OfPixel, PixelColumns, Wanted};
use crate::simd::{Lanes, apart};
use crate::sums::{NOWHERE, Sums, add_exactly, add_up};

/// Adds the sums over the target alone, but for the class sizes that a group's loops count.
#[inline(always)]
pub(crate) fn add_target<S: Simd, C: Real>(simd: S, block: &Block<C>, plan: &Plan, groups: &Groups, sums: &mut Sums<'_>) {
    let classes = plan.classes();
    let w = block.weight.lanes(simd, 0);
    let counted = groups.counted_size(block.is_counted());
    for &i in groups.target.iter().filter(|&&i| Some(i) != counted) {
        let statistic = &plan.statistics()[i];
        if statistic.is_shared() {
            if block.is_counted() {
                add_up!(short, simd, sums, [[i * classes]], w.len(), |b| [[w.at(b)]]);
            } else {
                add_exactly!(simd, sums, i * classes, w.len(), |b| w.at(b));
            }
            continue;
        }
        let (over, squared) = (statistic.over, statistic.of == Quantity::Target);
        if let Some(map) = plan.map(i) {
            for k in 0..classes {
                let map = block.map(simd, map, k);
                add_exactly!(simd, sums, i * classes + k, w.len(), |b| {
                    let once = block.over(simd, over, k, b, w.at(b) * map.at(b));
                    if squared { block.over(simd, over, k, b, once) } else { once }
                });
            }
            continue;
        }
        let (hard, soft) = block.targets(simd);
        let hard = hard.first(w.len());
        for k in (0..classes).filter(|&k| block.has(k)) {
            let (at, class) = (i * classes + k, block.class(simd, k));
            match (block.is_hard(), block.is_counted()) {
                (true, true) => add_up!(short, simd, sums, [[at]], w.len(), |b| [[hard.of::<false>(k, b, class, w.at(b))]]),
                (true, false) => add_exactly!(simd, sums, at, w.len(), |b| hard.of::<false>(k, b, class, w.at(b))),
                (false, _) => add_exactly!(simd, sums, at, w.len(), |b| {
                    let once = soft.of::<false>(k, b, class, w.at(b));
                    if squared { soft.of::<false>(k, b, class, once) } else { once }
                }),
            }
        }
    }
}

/// The sums of a group's side that most losses have, class by class in one loop each. Compiled for
/// each kind of target and of logarithm, so that the loops have no branches.
struct ClassSums<'a, C> {
    block: &'a Block<C>,
    usual: Usual,
    /// The place of the class sizes, where they are counted in the same loop.
    size: Option<usize>,
    activation: Activation,
}

impl<C: Real> ClassSums<'_, C> {
    /// Adds them, of the region or of the background.
    #[inline(always)]
    fn add<S: Simd>(&self, simd: S, side: Side, sums: &mut Sums<'_>) {
        let Self { block, activation, .. } = *self;
        match (activation, side) {
            (Activation::Softmax, _) => self.softmax(simd, block.log_softmax(simd), sums),
            (Activation::Sigmoid, Side::Region) => self.sigmoid::<S, _, false>(simd, block.log_sigmoid::<S, false>(simd), sums),
            (Activation::Sigmoid, Side::Background) => {
                self.sigmoid::<S, _, true>(simd, block.log_sigmoid::<S, true>(simd), sums);
            }
        }
    }

    #[inline(always)]
    fn softmax<S: Simd, L: Logarithms<S, C>>(&self, simd: S, log: L, sums: &mut Sums<'_>) {
        let (hard, soft) = self.block.targets(simd);
        let shares = self.usual.mass.or(self.usual.intersection).is_some();
        match (self.block.is_hard(), self.size.is_some(), shares, self.usual.likelihood.is_some()) {
            (true, true, true, true) => apart!(simd, self.loops::<S, _, L, false, true, true, true>(simd, hard, log, sums)),
            (true, true, false, _) => apart!(simd, self.loops::<S, _, L, false, false, true, true>(simd, hard, log, sums)),
            (true, true, true, false) => apart!(simd, self.loops::<S, _, L, false, true, false, true>(simd, hard, log, sums)),
            (true, false, true, true) => apart!(simd, self.loops::<S, _, L, false, true, true, false>(simd, hard, log, sums)),
            (true, false, false, _) => apart!(simd, self.loops::<S, _, L, false, false, true, false>(simd, hard, log, sums)),
            (true, false, true, false) => apart!(simd, self.loops::<S, _, L, false, true, false, false>(simd, hard, log, sums)),
            (false, _, true, true) => apart!(simd, self.loops::<S, _, L, false, true, true, false>(simd, soft, log, sums)),
            (false, _, false, _) => apart!(simd, self.loops::<S, _, L, false, false, true, false>(simd, soft, log, sums)),
            (false, _, true, false) => apart!(simd, self.loops::<S, _, L, false, true, false, false>(simd, soft, log, sums)),
        }
    }

    /// Everything in one loop, wanted or not: what is common goes by `channels.rs`.
    #[inline(always)]
    fn sigmoid<S: Simd, L: Logarithms<S, C>, const BACKGROUND: bool>(&self, simd: S, log: L, sums: &mut Sums<'_>) {
        let (hard, soft) = self.block.targets(simd);
        if self.block.is_hard() {
            apart!(simd, self.loops::<S, _, L, BACKGROUND, true, true, true>(simd, hard, log, sums));
        } else {
            apart!(simd, self.loops::<S, _, L, BACKGROUND, true, true, false>(simd, soft, log, sums));
        }
    }

    #[inline(always)]
    fn loops<
        S: Simd,
        T: Membership<S, C>,
        L: Logarithms<S, C>,
        const BACKGROUND: bool,
        const SHARES: bool,
        const LIKELIHOOD: bool,
        const SIZE: bool,
    >(
        &self,
        simd: S,
        y: T,
        log: L,
        sums: &mut Sums<'_>,
    ) {
        let Self { block, usual, size, activation } = *self;
        let p = block.side(if BACKGROUND { Side::Background } else { Side::Region }).grid(simd);
        let (scaled, w) = (block.weighted_scale(simd, activation), block.weight.lanes(simd, 0));
        let count = scaled.len().min(w.len()).min(p.stride());
        let count = if LIKELIHOOD { count.min(log.length()) } else { count };
        let (scaled, w, y) = (scaled.first(count), w.first(count), y.first(count));
        let (classes, zero, one) = (block.classes(), Lanes::of(simd, C::zero()), Lanes::of(simd, C::one()));
        for k in 0..classes {
            let at = |wanted: bool, place: Option<usize>| place.filter(|_| wanted).map_or(NOWHERE, |i| i * classes + k);
            // Where no pixel is of the class, only its mass is not 0.
            if (!BACKGROUND && !block.has(k)) || (usual.intersection.is_none() && !LIKELIHOOD && !SIZE) {
                if SHARES && usual.mass.is_some() {
                    add_up!(short, simd, sums, [[at(true, usual.mass)]], count, |b| [[p.at(k, b) * scaled.at(b)]]);
                }
                continue;
            }
            let class = block.class(simd, k);
            let shares = [at(SHARES, usual.mass), at(SHARES, usual.intersection)];
            let places = [shares[0], shares[1], at(LIKELIHOOD, usual.likelihood), at(SIZE, size)];
            add_up!(short, simd, sums, [places], count, |b| {
                let share = if SHARES { p.at(k, b) * scaled.at(b) } else { zero };
                [[
                    share,
                    if SHARES { y.of::<BACKGROUND>(k, b, class, share) } else { zero },
                    if LIKELIHOOD { y.of::<BACKGROUND>(k, b, class, w.at(b) * log.at(k, b)) } else { zero },
                    if SIZE { y.of::<false>(k, b, class, one) } else { zero },
                ]]
            });
        }
    }
}

/// Adds the sums over the logits of a group, whose probabilities have been computed.
#[inline(always)]
pub(crate) fn add_group<S: Simd, C: Real>(
    math: Math<'_, S, C>,
    block: &Block<C>,
    pixels: &mut PixelColumns<C>,
    plan: &Plan,
    group: &Group,
    sums: &mut Sums<'_>,
) {
    let (simd, activation) = (math.simd, group.activation);
    for (side, usual) in [Side::Region, Side::Background].into_iter().zip(group.usual) {
        let size = group.size.filter(|_| side == Side::Region && block.is_counted());
        if usual.any() || size.is_some() {
            ClassSums { block, usual, size, activation }.add(simd, side, sums);
        }
    }
    let (scale, scaled) = (block.scale(simd, activation), block.weighted_scale(simd, activation));
    let w = block.weight.lanes(simd, 0);
    let (classes, count) = (plan.classes(), w.len());
    for &i in &group.others {
        let statistic = &plan.statistics()[i];
        if let Some(map) = plan.map(i) {
            apart!(simd, add_mapped(math, block, pixels, statistic, i, map, sums));
            continue;
        }
        for k in 0..classes {
            let at = i * classes + k;
            match &statistic.of {
                Quantity::SquaredMass(_) => {
                    let p = block.power.lanes(simd, k);
                    apart!(simd, add_exactly!(simd, sums, at, count, |b| (p.at(b) * scaled.at(b)) * (p.at(b) * scale.at(b))));
                }
                Quantity::Function(activation, side, function) => {
                    let absent = *side == Side::Region && !block.has(k);
                    // The call for the first class also writes the logarithms of the others.
                    if absent && k > 0 {
                        continue;
                    }
                    let of = OfPixel { function, activation: *activation, side: *side };
                    let (y, value) = (block.target(simd, k), pixels.of_class(math, block, of, Wanted::Value, k));
                    if !absent {
                        apart!(simd, add_exactly!(simd, sums, at, count, |b| y.of(*side, b, w.at(b) * value.at(b))));
                    }
                }
                Quantity::Log(activation, side) => {
                    let log = block.log(simd, *activation, *side);
                    apart!(simd, add_exactly!(simd, sums, at, count, |b| w.at(b) * log.at(k, b)));
                }
                // Added above, or by `add_target`.
                Quantity::Mass(_) | Quantity::One | Quantity::Target => {}
            }
        }
    }
}

/// Adds a sum over the logits with a map: any quantity over any pixels, class by class.
#[inline(always)]
fn add_mapped<S: Simd, C: Real>(
    math: Math<'_, S, C>,
    block: &Block<C>,
    pixels: &mut PixelColumns<C>,
    statistic: &Statistic,
    i: usize,
    map: usize,
    sums: &mut Sums<'_>,
) {
    let Some(Probability { activation, side, .. }) = statistic.probability() else { return };
    let simd = math.simd;
    let (scale, scaled) = (block.scale(simd, activation), block.weighted_scale(simd, activation));
    let w = block.weight.lanes(simd, 0);
    let (classes, count, over) = (block.classes(), w.len(), statistic.over);
    for k in 0..classes {
        let (at, map, p) = (i * classes + k, block.map(simd, map, k), block.side(side).lanes(simd, k));
        let times = |b: usize, x: Lanes<S, C>| block.over(simd, over, k, b, map.at(b) * x);
        match &statistic.of {
            Quantity::One | Quantity::Target => {}
            Quantity::Mass(_) => add_exactly!(simd, sums, at, count, |b| times(b, p.at(b) * scaled.at(b))),
            Quantity::SquaredMass(_) => {
                add_exactly!(simd, sums, at, count, |b| times(b, (p.at(b) * scaled.at(b)) * (p.at(b) * scale.at(b))))
            }
            Quantity::Log(..) => {
                let log = block.log(simd, activation, side);
                add_exactly!(simd, sums, at, count, |b| times(b, w.at(b) * log.at(k, b)));
            }
            Quantity::Function(.., function) => {
                let value = pixels.of_class(math, block, OfPixel { function, activation, side }, Wanted::Value, k);
                add_exactly!(simd, sums, at, count, |b| times(b, w.at(b) * value.at(b)));
            }
        }
    }
}
