//! What a block adds to the statistics.

use loss_core::{Activation, Over, Plan, Probability, Quantity, Side, Statistic};
use pulp::Simd;

use crate::Real;
use crate::block::{Block, label_of};
use crate::groups::{Group, Groups};
use crate::logarithm::{LogSigmoid, Logarithms};
use crate::membership::{HardTarget, Membership};
use crate::pixel::{PixelColumns, Wanted};
use crate::simd::{Lanes, apart};
use crate::sums::{Sum, Summands, Sums, add_up, add_up_two};

/// Adds the sums over the target.
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
            for k in 0..classes {
                let (map, squared) = (block.map(simd, map, k), plan.statistics()[i].of == Quantity::Target);
                let over = plan.statistics()[i].over;
                add_up!(simd, sums, i * classes + k, w.len(), Summands::Any, |b| {
                    let once = block.over(simd, over, (k, b), w.at(b) * map.at(b));
                    if squared { block.over(simd, over, (k, b), once) } else { once }
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
            let (at, class) = (i * classes + k, Lanes::of(simd, C::of_class(label_of(k, classes))));
            if block.is_hard() {
                add_up!(simd, sums, at, w.len(), weights, |b| hard.of::<false>((k, b), class, w.at(b)));
            } else {
                add_up!(simd, sums, at, w.len(), shares, |b| {
                    let once = soft.of::<false>((k, b), class, w.at(b));
                    if squared { soft.of::<false>((k, b), class, once) } else { once }
                });
            }
        }
    }
}

/// Where the usual three sums of one side of a group stand in the plan.
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

    /// Adds masses and intersections, of all classes. What does that is compiled for each kind of target, so that its loops are free of
    /// branches.
    #[inline(always)]
    fn add_shares<S: Simd, C: Real>(
        self,
        simd: S,
        block: &Block<C>,
        (activation, side): (Activation, Side),
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

    /// In one loop where both are asked for.
    #[inline(always)]
    fn shares<S: Simd, C: Real, T: Membership<S, C>, const BACKGROUND: bool>(
        self,
        simd: S,
        block: &Block<C>,
        activation: Activation,
        y: T,
        sums: &mut Sums<'_, C>,
    ) {
        let p = if BACKGROUND { &block.complement } else { &block.power }.grid(simd);
        let scaled = block.weighted_scale(simd, activation);
        let count = scaled.len().min(p.stride());
        let (scaled, y, bound) = (scaled.first(count), y.first(count), block.bound);
        let (classes, shares) = (block.classes(), Summands::Shares(bound));
        for k in 0..classes {
            let class = Lanes::of(simd, C::of_class(label_of(k, classes)));
            // Every other summand is 0 where no pixel is of the class.
            let inside = BACKGROUND || block.has(k);
            match (self.mass, self.intersection.filter(|_| inside)) {
                (Some(mass), Some(intersection)) => {
                    let places = [mass * classes + k, intersection * classes + k];
                    add_up_two!(simd, sums, places, count, (bound, false), |b| {
                        let share = p.at(k, b) * scaled.at(b);
                        [share, y.of::<BACKGROUND>((k, b), class, share)]
                    });
                }
                (Some(mass), None) => add_up!(simd, sums, mass * classes + k, count, shares, |b| p.at(k, b) * scaled.at(b)),
                (None, Some(intersection)) => add_up!(simd, sums, intersection * classes + k, count, shares, |b| {
                    y.of::<BACKGROUND>((k, b), class, p.at(k, b) * scaled.at(b))
                }),
                (None, None) => {}
            }
        }
    }
}

/// Adds the likelihoods that are asked for, of the region and of the background, of all classes.
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
    if let Some(region) = region {
        let to = (region, &mut *sums);
        match (activation, block.is_hard()) {
            (Activation::Softmax, true) => apart!(simd, likelihood::<S, C, _, _, false>(simd, block, hard, softmax, to)),
            (Activation::Softmax, false) => apart!(simd, likelihood::<S, C, _, _, false>(simd, block, soft, softmax, to)),
            (Activation::Sigmoid, true) => apart!(simd, likelihood::<S, C, _, _, false>(simd, block, hard, p, to)),
            (Activation::Sigmoid, false) => apart!(simd, likelihood::<S, C, _, _, false>(simd, block, soft, p, to)),
        }
    }
    if let Some(background) = background {
        let to = (background, sums);
        if block.is_hard() {
            apart!(simd, likelihood::<S, C, _, _, true>(simd, block, hard, q, to));
        } else {
            apart!(simd, likelihood::<S, C, _, _, true>(simd, block, soft, q, to));
        }
    }
}

/// Both of a sigmoid with labels, where a pixel has the logarithm of one side.
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
        let class = Lanes::of(simd, C::of_class(label_of(k, classes)));
        let places = [region * classes + k, background * classes + k];
        add_up_two!(simd, sums, places, count, (bound, true), |b| {
            let own = w.at(b) * log.of(y.signed(b, class, log.z.at(k, b)), (k, b));
            [y.of::<false>((k, b), class, own), y.of::<true>((k, b), class, own)]
        });
    }
}

#[inline(always)]
fn likelihood<S: Simd, C: Real, T: Membership<S, C>, G: Logarithms<S, C>, const BACKGROUND: bool>(
    simd: S,
    block: &Block<C>,
    y: T,
    log: G,
    (place, sums): (usize, &mut Sums<'_, C>),
) {
    let w = block.weight.lanes(simd, 0);
    let count = w.len().min(log.length());
    let (classes, w, y) = (block.classes(), w.first(count), y.first(count));
    for k in (0..classes).filter(|&k| BACKGROUND || block.has(k)) {
        let (at, class) = (place * classes + k, Lanes::of(simd, C::of_class(label_of(k, classes))));
        add_up!(simd, sums, at, count, Summands::Logarithms(block.bound), |b| {
            y.of::<BACKGROUND>((k, b), class, w.at(b) * log.at(k, b))
        });
    }
}

/// Adds the sums over the logits of a group, whose probabilities have been computed.
#[inline(always)]
pub(crate) fn add_group<S: Simd, C: Real>(
    (simd, constants): (S, &C::Constants<S>),
    (block, pixels): (&Block<C>, &mut PixelColumns<C>),
    plan: &Plan,
    group: &Group,
    sums: &mut Sums<'_, C>,
) {
    let classes = plan.classes();
    let (shares, logarithms) = (Summands::Shares(block.bound), Summands::Logarithms(block.bound));
    let (scale, scaled, w) =
        (block.scale(simd, group.activation), block.weighted_scale(simd, group.activation), block.weight.lanes(simd, 0));
    let count = w.len();
    let mut likelihoods = [None; 2];
    for (side, likelihood) in [Side::Region, Side::Background].into_iter().zip(&mut likelihoods) {
        let usual = Usual::new(plan, group, side);
        *likelihood = usual.likelihood;
        if usual.mass.or(usual.intersection).is_some() {
            usual.add_shares(simd, block, (group.activation, side), sums);
        }
    }
    add_likelihoods(simd, block, group.activation, likelihoods, sums);
    for &i in &group.members {
        let statistic = &plan.statistics()[i];
        if let Some(map) = plan.map(i) {
            apart!(simd, add_mapped((simd, constants), (block, pixels), (statistic, i), map, sums));
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
                    // The first class brings the logarithms of all.
                    if absent && k > 0 {
                        continue;
                    }
                    let y = block.target(simd, k);
                    let value =
                        pixels.of_class((simd, constants), block, (function, *activation, *side), Wanted::Value, (k, classes));
                    if !absent {
                        apart!(simd, add_up!(simd, sums, at, count, Summands::Any, |b| y.of(*side, b, w.at(b) * value.at(b))));
                    }
                }
                Quantity::Log(activation, side) if statistic.over == Over::Valid => {
                    let log = block.log(simd, *activation, *side);
                    apart!(simd, add_up!(simd, sums, at, count, logarithms, |b| w.at(b) * log.at(k, b)));
                }
                // The usual three are added above, and sums over the target beside the groups.
                Quantity::Log(..) | Quantity::Mass(_) | Quantity::One | Quantity::Target => {}
            }
        }
    }
}

/// Adds a sum over the logits that a map multiplies: any quantity over any pixels, class by class.
#[inline(always)]
fn add_mapped<S: Simd, C: Real>(
    (simd, constants): (S, &C::Constants<S>),
    (block, pixels): (&Block<C>, &mut PixelColumns<C>),
    (statistic, i): (&Statistic, usize),
    map: usize,
    sums: &mut Sums<'_, C>,
) {
    let Some(Probability { activation, side, .. }) = statistic.probability() else { return };
    let (scale, scaled, w) =
        (block.scale(simd, activation), block.weighted_scale(simd, activation), block.weight.lanes(simd, 0));
    let (classes, count, over) = (block.classes(), w.len(), statistic.over);
    for k in 0..classes {
        let (at, map) = (i * classes + k, block.map(simd, map, k));
        let p = if side == Side::Background { &block.complement } else { &block.power };
        let times = |b: usize, x: Lanes<S, C>| block.over(simd, over, (k, b), map.at(b) * x);
        match &statistic.of {
            Quantity::One | Quantity::Target => {}
            Quantity::Mass(_) => {
                let p = p.lanes(simd, k);
                add_up!(simd, sums, at, count, Summands::Any, |b| times(b, p.at(b) * scaled.at(b)));
            }
            Quantity::SquaredMass(_) => {
                let p = p.lanes(simd, k);
                add_up!(simd, sums, at, count, Summands::Any, |b| {
                    times(b, (p.at(b) * scaled.at(b)) * (p.at(b) * scale.at(b)))
                });
            }
            Quantity::Log(..) => {
                let log = block.log(simd, activation, side);
                add_up!(simd, sums, at, count, Summands::Any, |b| times(b, w.at(b) * log.at(k, b)));
            }
            Quantity::Function(.., function) => {
                let of = (function, activation, side);
                let value = pixels.of_class((simd, constants), block, of, Wanted::Value, (k, classes));
                add_up!(simd, sums, at, count, Summands::Any, |b| times(b, w.at(b) * value.at(b)));
            }
        }
    }
}
