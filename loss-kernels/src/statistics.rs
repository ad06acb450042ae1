//! What a block adds to the statistics.

use loss_core::{Activation, Over, Plan, Probability, Quantity, Side, Statistic};
use pulp::Simd;

use crate::Real;
use crate::block::Block;
use crate::functions::Math;
use crate::groups::{Group, Groups};
use crate::logarithm::{LogSigmoid, Logarithms};
use crate::membership::{HardTarget, Membership};
use crate::pixel::{OfPixel, PixelColumns, Wanted};
use crate::simd::{Lanes, apart};
use crate::sums::{Sum, Summands, Sums, add_up, add_up_two};

/// Adds the sums over the target alone.
#[inline(always)]
pub(crate) fn add_target<S: Simd, C: Real>(simd: S, block: &Block<C>, plan: &Plan, groups: &Groups, sums: &mut Sums<'_, C>) {
    let (classes, shares) = (plan.classes(), Summands::Exact(block.bound));
    let weights = block.bound.of_weights();
    let w = block.weight.lanes(simd, 0);
    for &i in &groups.target {
        if plan.statistics()[i].is_shared() {
            add_up!(simd, sums, i * classes, w.len(), weights, |b| w.at(b));
            continue;
        }
        if let Some(map) = plan.map(i) {
            let (over, squared) = (plan.statistics()[i].over, plan.statistics()[i].of == Quantity::Target);
            for k in 0..classes {
                let map = block.map(simd, map, k);
                add_up!(simd, sums, i * classes + k, w.len(), Summands::Any, |b| {
                    let once = block.over(simd, over, k, b, w.at(b) * map.at(b));
                    if squared { block.over(simd, over, k, b, once) } else { once }
                });
            }
            continue;
        }
        let squared = match &plan.statistics()[i].of {
            Quantity::One => false,
            Quantity::Target => true,
            Quantity::Mass(_) | Quantity::SquaredMass(_) | Quantity::Log(..) | Quantity::Function(..) => continue,
        };
        let (hard, soft) = block.targets(simd);
        let hard = hard.first(w.len());
        for k in (0..classes).filter(|&k| block.has(k)) {
            let (at, class) = (i * classes + k, block.class(simd, k));
            if block.is_hard() {
                add_up!(simd, sums, at, w.len(), weights, |b| hard.of::<false>(k, b, class, w.at(b)));
            } else {
                add_up!(simd, sums, at, w.len(), shares, |b| {
                    let once = soft.of::<false>(k, b, class, w.at(b));
                    if squared { soft.of::<false>(k, b, class, once) } else { once }
                });
            }
        }
    }
}

/// Places in the plan of the three sums that most losses have, for one side of a group.
#[derive(Clone, Copy, Default)]
struct Usual {
    mass: Option<usize>,
    intersection: Option<usize>,
    likelihood: Option<usize>,
}

impl Usual {
    fn new(plan: &Plan, group: &Group, side: Side) -> Self {
        let mut usual = Self::default();
        for &i in &group.members {
            let statistic = &plan.statistics()[i];
            if statistic.map.is_some() || statistic.probability().is_none_or(|p| p.side != side) {
                continue;
            }
            match (&statistic.of, statistic.over) {
                (Quantity::Mass(_), Over::Valid) => usual.mass = Some(i),
                (Quantity::Mass(_), Over::Region | Over::Background) => usual.intersection = Some(i),
                (Quantity::Log(..), Over::Region | Over::Background) => usual.likelihood = Some(i),
                (Quantity::Log(..), Over::Valid) => {}
                (Quantity::One | Quantity::Target | Quantity::SquaredMass(_) | Quantity::Function(..), _) => {}
            }
        }
        usual
    }

    /// Adds masses and intersections of all classes. Compiled for each kind of target, so that the
    /// loops have no branches.
    #[inline(always)]
    fn add_shares<S: Simd, C: Real>(
        self,
        simd: S,
        block: &Block<C>,
        activation: Activation,
        side: Side,
        sums: &mut Sums<'_, C>,
    ) {
        let (hard, soft) = block.targets(simd);
        match (block.is_hard(), side) {
            (true, Side::Region) => apart!(simd, self.shares::<S, C, _, false>(simd, block, activation, hard, sums)),
            (true, Side::Background) => apart!(simd, self.shares::<S, C, _, true>(simd, block, activation, hard, sums)),
            (false, Side::Region) => apart!(simd, self.shares::<S, C, _, false>(simd, block, activation, soft, sums)),
            (false, Side::Background) => apart!(simd, self.shares::<S, C, _, true>(simd, block, activation, soft, sums)),
        }
    }

    /// Both in one loop where both are wanted.
    #[inline(always)]
    fn shares<S: Simd, C: Real, T: Membership<S, C>, const BACKGROUND: bool>(
        self,
        simd: S,
        block: &Block<C>,
        activation: Activation,
        y: T,
        sums: &mut Sums<'_, C>,
    ) {
        let p = block.side(if BACKGROUND { Side::Background } else { Side::Region }).grid(simd);
        let scaled = block.weighted_scale(simd, activation);
        let count = scaled.len().min(p.stride());
        let (scaled, y, bound) = (scaled.first(count), y.first(count), block.bound);
        let (classes, shares) = (block.classes(), Summands::Shares(bound));
        for k in 0..classes {
            let class = block.class(simd, k);
            // Where no pixel is of the class, all summands over it are 0.
            let inside = BACKGROUND || block.has(k);
            match (self.mass, self.intersection.filter(|_| inside)) {
                (Some(mass), Some(intersection)) => {
                    let places = [mass * classes + k, intersection * classes + k];
                    add_up_two!(simd, sums, places, count, bound, false, |b| {
                        let share = p.at(k, b) * scaled.at(b);
                        [share, y.of::<BACKGROUND>(k, b, class, share)]
                    });
                }
                (Some(mass), None) => add_up!(simd, sums, mass * classes + k, count, shares, |b| p.at(k, b) * scaled.at(b)),
                (None, Some(intersection)) => add_up!(simd, sums, intersection * classes + k, count, shares, |b| {
                    y.of::<BACKGROUND>(k, b, class, p.at(k, b) * scaled.at(b))
                }),
                (None, None) => {}
            }
        }
    }
}

/// Adds the likelihoods of the region and of the background, for all classes.
#[inline(always)]
fn add_likelihoods<S: Simd, C: Real>(
    simd: S,
    block: &Block<C>,
    activation: Activation,
    [region, background]: [Option<usize>; 2],
    sums: &mut Sums<'_, C>,
) {
    let (hard, soft) = block.targets(simd);
    let (softmax, p, q) = (block.log_softmax(simd), block.log_sigmoid::<S, false>(simd), block.log_sigmoid::<S, true>(simd));
    if let (Activation::Sigmoid, true, Some(region), Some(background)) = (activation, block.is_hard(), region, background) {
        return apart!(simd, own_likelihoods(simd, block, hard, p, [region, background], sums));
    }
    if let Some(i) = region {
        match (activation, block.is_hard()) {
            (Activation::Softmax, true) => apart!(simd, likelihood::<S, C, _, _, false>(simd, block, hard, softmax, i, sums)),
            (Activation::Softmax, false) => apart!(simd, likelihood::<S, C, _, _, false>(simd, block, soft, softmax, i, sums)),
            (Activation::Sigmoid, true) => apart!(simd, likelihood::<S, C, _, _, false>(simd, block, hard, p, i, sums)),
            (Activation::Sigmoid, false) => apart!(simd, likelihood::<S, C, _, _, false>(simd, block, soft, p, i, sums)),
        }
    }
    if let Some(i) = background {
        if block.is_hard() {
            apart!(simd, likelihood::<S, C, _, _, true>(simd, block, hard, q, i, sums));
        } else {
            apart!(simd, likelihood::<S, C, _, _, true>(simd, block, soft, q, i, sums));
        }
    }
}

/// Both of a sigmoid with labels: each pixel needs the logarithm of one side only.
#[inline(always)]
fn own_likelihoods<S: Simd, C: Real>(
    simd: S,
    block: &Block<C>,
    y: HardTarget<'_, S, C>,
    log: LogSigmoid<'_, S, C, false>,
    [region, background]: [usize; 2],
    sums: &mut Sums<'_, C>,
) {
    let (w, bound) = (block.weight.lanes(simd, 0), block.bound);
    let count = w.len().min(log.length());
    let (classes, w, y) = (block.classes(), w.first(count), y.first(count));
    for k in 0..classes {
        let class = block.class(simd, k);
        let places = [region * classes + k, background * classes + k];
        add_up_two!(simd, sums, places, count, bound, true, |b| {
            let own = w.at(b) * log.of(y.signed(b, class, log.z.at(k, b)), k, b);
            [y.of::<false>(k, b, class, own), y.of::<true>(k, b, class, own)]
        });
    }
}

#[inline(always)]
fn likelihood<S: Simd, C: Real, T: Membership<S, C>, G: Logarithms<S, C>, const BACKGROUND: bool>(
    simd: S,
    block: &Block<C>,
    y: T,
    log: G,
    place: usize,
    sums: &mut Sums<'_, C>,
) {
    let w = block.weight.lanes(simd, 0);
    let count = w.len().min(log.length());
    let (classes, w, y) = (block.classes(), w.first(count), y.first(count));
    for k in (0..classes).filter(|&k| BACKGROUND || block.has(k)) {
        let (at, class) = (place * classes + k, block.class(simd, k));
        add_up!(simd, sums, at, count, Summands::Logarithms(block.bound), |b| {
            y.of::<BACKGROUND>(k, b, class, w.at(b) * log.at(k, b))
        });
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
    sums: &mut Sums<'_, C>,
) {
    let simd = math.simd;
    let classes = plan.classes();
    let (shares, logarithms) = (Summands::Shares(block.bound), Summands::Logarithms(block.bound));
    let (scale, scaled) = (block.scale(simd, group.activation), block.weighted_scale(simd, group.activation));
    let w = block.weight.lanes(simd, 0);
    let count = w.len();
    let mut likelihoods = [None; 2];
    for (side, likelihood) in [Side::Region, Side::Background].into_iter().zip(&mut likelihoods) {
        let usual = Usual::new(plan, group, side);
        *likelihood = usual.likelihood;
        if usual.mass.or(usual.intersection).is_some() {
            usual.add_shares(simd, block, group.activation, side, sums);
        }
    }
    add_likelihoods(simd, block, group.activation, likelihoods, sums);
    for &i in &group.members {
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
                    apart!(
                        simd,
                        add_up!(simd, sums, at, count, shares, |b| (p.at(b) * scaled.at(b)) * (p.at(b) * scale.at(b)))
                    );
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
                        apart!(simd, add_up!(simd, sums, at, count, Summands::Any, |b| y.of(*side, b, w.at(b) * value.at(b))));
                    }
                }
                Quantity::Log(activation, side) if statistic.over == Over::Valid => {
                    let log = block.log(simd, *activation, *side);
                    apart!(simd, add_up!(simd, sums, at, count, logarithms, |b| w.at(b) * log.at(k, b)));
                }
                // Added above, or by `add_target`.
                Quantity::Log(..) | Quantity::Mass(_) | Quantity::One | Quantity::Target => {}
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
    sums: &mut Sums<'_, C>,
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
            Quantity::Mass(_) => add_up!(simd, sums, at, count, Summands::Any, |b| times(b, p.at(b) * scaled.at(b))),
            Quantity::SquaredMass(_) => add_up!(simd, sums, at, count, Summands::Any, |b| {
                times(b, (p.at(b) * scaled.at(b)) * (p.at(b) * scale.at(b)))
            }),
            Quantity::Log(..) => {
                let log = block.log(simd, activation, side);
                add_up!(simd, sums, at, count, Summands::Any, |b| times(b, w.at(b) * log.at(k, b)));
            }
            Quantity::Function(.., function) => {
                let value = pixels.of_class(math, block, OfPixel { function, activation, side }, Wanted::Value, k);
                add_up!(simd, sums, at, count, Summands::Any, |b| times(b, w.at(b) * value.at(b)));
            }
        }
    }
}
