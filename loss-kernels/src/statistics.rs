//! What a block adds to the statistics.

use loss_core::{Activation, Plan, Side, Statistic};
use pulp::Simd;

use crate::Real;
use crate::block::Block;
use crate::groups::{Group, Groups};
use crate::logarithm::{LogColumn, Logarithms};
use crate::membership::Membership;
use crate::pixel::{PixelColumns, Wanted};
use crate::simd::{Column, Lanes};
use crate::sums::{Bound, Sum, Summands, Sums, add_up};

/// Adds the sums over the target.
#[inline(always)]
pub(crate) fn add_target<S: Simd, C: Real>(simd: S, block: &Block<C>, plan: &Plan, groups: &Groups, sums: &mut Sums<'_, C>) {
    let (classes, shares) = (plan.classes(), Summands::Shares(block.bound));
    let weights = block.bound.of_weights();
    let w = block.weight.lanes(simd, 0);
    for &i in &groups.target {
        if plan.statistics()[i] == Statistic::ValidSize {
            add_up!(simd, sums, i * classes, w.len(), weights, |b| w.at(b));
            continue;
        }
        let squared = plan.statistics()[i] == Statistic::SquaredTarget;
        let (hard, soft) = block.targets(simd);
        let hard = hard.first(w.len());
        for k in (0..classes).filter(|&k| block.has(k)) {
            let (at, class) = (i * classes + k, Lanes::of(simd, C::of_class(k as i32)));
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

/// Where the usual three sums of one side of a group stand in the plan: they are added up together.
#[derive(Clone, Copy, Default, PartialEq)]
struct Usual {
    mass: Option<usize>,
    intersection: Option<usize>,
    likelihood: Option<usize>,
}

impl Usual {
    fn new(plan: &Plan, group: &Group, side: Side) -> Self {
        let mut usual = Self::default();
        for &i in &group.members {
            match &plan.statistics()[i] {
                Statistic::PredictedSize(.., of) if *of == side => usual.mass = Some(i),
                Statistic::Intersection(.., of) if *of == side => usual.intersection = Some(i),
                Statistic::LogLikelihood(_, of) if *of == side => usual.likelihood = Some(i),
                _ => {}
            }
        }
        usual
    }

    /// Adds what a class has of them.
    #[inline(always)]
    fn add<S: Simd, C: Real>(
        self,
        simd: S,
        block: &Block<C>,
        (activation, side, k): (Activation, Side, usize),
        (sums, classes): (&mut Sums<'_, C>, usize),
    ) {
        let background = side == Side::Background;
        let w = block.weight.lanes(simd, 0);
        let p = if background { &block.complement } else { &block.power }.lanes(simd, k);
        // Every other summand is 0 where no pixel is of the class.
        let inside = background || block.has(k);
        let at = |i: Option<usize>| i.map(|i| i * classes + k);
        let (intersection, likelihood) = (at(self.intersection.filter(|_| inside)), at(self.likelihood.filter(|_| inside)));
        let count = w.len();
        let run = Run {
            p: p.first(count),
            scaled: block.weighted_scale(simd, activation).first(count),
            w,
            class: Lanes::of(simd, C::of_class(k as i32)),
            k,
            bound: block.bound,
        };
        let (hard, soft) = block.targets(simd);
        let hard = hard.first(count);
        match (at(self.mass), intersection) {
            (None, None) => {}
            (Some(mass), None) => {
                add_up!(simd, sums, mass, count, Summands::Shares(run.bound), |b| run.p.at(b) * run.scaled.at(b));
            }
            (mass, Some(intersection)) => match (block.is_hard(), background) {
                (true, false) => run.add_shares::<_, false>(simd, hard, (mass, intersection), sums),
                (true, true) => run.add_shares::<_, true>(simd, hard, (mass, intersection), sums),
                (false, false) => run.add_shares::<_, false>(simd, soft, (mass, intersection), sums),
                (false, true) => run.add_shares::<_, true>(simd, soft, (mass, intersection), sums),
            },
        }
        let Some(likelihood) = likelihood else { return };
        match (block.log(simd, activation, side, k), block.is_hard(), background) {
            (LogColumn::Softmax(log), true, _) => run.add_logarithms::<_, _, false>(simd, hard, log, likelihood, sums),
            (LogColumn::Softmax(log), false, _) => run.add_logarithms::<_, _, false>(simd, soft, log, likelihood, sums),
            (LogColumn::Sigmoid(log), true, false) => run.add_logarithms::<_, _, false>(simd, hard, log, likelihood, sums),
            (LogColumn::Sigmoid(log), true, true) => run.add_logarithms::<_, _, true>(simd, hard, log, likelihood, sums),
            (LogColumn::Sigmoid(log), false, false) => run.add_logarithms::<_, _, false>(simd, soft, log, likelihood, sums),
            (LogColumn::Sigmoid(log), false, true) => run.add_logarithms::<_, _, true>(simd, soft, log, likelihood, sums),
        }
    }
}

/// One class's usual sums. What adds them up is compiled for each kind of target and of logarithm, so that its loops are free of branches.
struct Run<'a, S: Simd, C: Real> {
    p: Column<'a, S, C>,
    scaled: Column<'a, S, C>,
    w: Column<'a, S, C>,
    class: Lanes<S, C>,
    k: usize,
    bound: Bound<C>,
}

impl<S: Simd, C: Real> Run<'_, S, C> {
    /// Masses, where they are asked for, and intersections, in one loop.
    #[inline(always)]
    fn add_shares<T: Membership<S, C>, const BACKGROUND: bool>(
        &self,
        simd: S,
        y: T,
        (mass, intersection): (Option<usize>, usize),
        sums: &mut Sums<'_, C>,
    ) {
        let (count, start) = (self.w.len(), self.bound.of_shares(simd));
        let (mut masses, mut intersections) = (Sum::from(start), Sum::from(start));
        for b in 0..count {
            let share = self.p.at(b) * self.scaled.at(b);
            masses.add(share);
            intersections.add(y.of::<BACKGROUND>((self.k, b), self.class, share));
        }
        let places = [mass, Some(intersection)];
        for (i, (place, sum)) in places.into_iter().zip([masses, intersections]).enumerate() {
            match (place, sum.checked(start, self.bound, false)) {
                (None, _) => {}
                (Some(place), Some(sum)) => sums.join(simd, place, sum),
                (Some(place), None) => {
                    for b in 0..count {
                        let share = self.p.at(b) * self.scaled.at(b);
                        let share = if i == 0 { share } else { y.of::<BACKGROUND>((self.k, b), self.class, share) };
                        sums.totals[place] += share.total();
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn add_logarithms<T: Membership<S, C>, G: Logarithms<S, C>, const BACKGROUND: bool>(
        &self,
        simd: S,
        y: T,
        log: G,
        place: usize,
        sums: &mut Sums<'_, C>,
    ) {
        let (count, class) = (self.w.len(), self.class);
        let log = log.first(count);
        add_up!(simd, sums, place, count, Summands::Logarithms(self.bound), |b| {
            y.of::<BACKGROUND>((self.k, b), class, self.w.at(b) * log.at(b))
        });
    }
}

/// Adds the sums over the logits of a group, whose probabilities have been computed.
#[inline(always)]
pub(crate) fn add_group<S: Simd, C: Real>(
    simd: S,
    (block, pixels): (&Block<C>, &mut PixelColumns<C>),
    plan: &Plan,
    group: &Group,
    sums: &mut Sums<'_, C>,
) {
    let classes = plan.classes();
    let (shares, logarithms) = (Summands::Shares(block.bound), Summands::Logarithms(block.bound));
    let (scale, scaled, w) =
        (block.scale.lanes(simd, 0), block.weighted_scale(simd, group.activation), block.weight.lanes(simd, 0));
    let count = w.len();
    for side in [Side::Region, Side::Background] {
        let usual = Usual::new(plan, group, side);
        for k in (0..classes).filter(|_| usual != Usual::default()) {
            usual.add(simd, block, (group.activation, side, k), (sums, classes));
        }
    }
    for &i in &group.members {
        let statistic = &plan.statistics()[i];
        for k in 0..classes {
            let at = i * classes + k;
            match statistic {
                Statistic::SquaredMass(..) => {
                    let p = block.power.lanes(simd, k);
                    add_up!(simd, sums, at, count, shares, |b| (p.at(b) * scaled.at(b)) * (p.at(b) * scale.at(b)));
                }
                Statistic::PixelSum(activation, side, function) => {
                    let absent = *side == Side::Region && !block.has(k);
                    // The first class brings the logarithms of all.
                    if absent && k > 0 {
                        continue;
                    }
                    let y = block.target(simd, k);
                    let value = pixels.of_class(simd, block, (function, *activation, *side), Wanted::Value, (k, classes));
                    if !absent {
                        add_up!(simd, sums, at, count, Summands::<C>::Any, |b| y.of(*side, b, w.at(b) * value.at(b)));
                    }
                }
                Statistic::LogMass(activation, side) => {
                    let log = block.log(simd, *activation, *side, k);
                    add_up!(simd, sums, at, count, logarithms, |b| w.at(b) * log.at(b));
                }
                _ => {}
            }
        }
    }
}
