//! What a block adds to the statistics.

use loss_core::{Activation, Plan, Side, Statistic};
use pulp::Simd;

use crate::Real;
use crate::block::{Block, label_of};
use crate::groups::{Group, Groups};
use crate::logarithm::{AnyLogarithms, Logarithms};
use crate::membership::Membership;
use crate::pixel::{PixelColumns, Wanted};
use crate::simd::Lanes;
use crate::sums::{Sum, Summands, Sums, add_up, in_runs};

/// Adds the sums over the target.
#[inline(always)]
pub(crate) fn add_target<S: Simd, C: Real>(simd: S, block: &Block<C>, plan: &Plan, groups: &Groups, sums: &mut Sums<'_, C>) {
    let (classes, shares) = (plan.classes(), Summands::Exact(block.bound));
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

    /// Adds them up, of all classes. What does that is compiled for each kind of target and of logarithm, so that its loops are free of
    /// branches.
    #[inline(always)]
    fn add<S: Simd, C: Real>(self, simd: S, block: &Block<C>, (activation, side): (Activation, Side), sums: &mut Sums<'_, C>) {
        let (hard, soft) = block.targets(simd);
        match (block.is_hard(), side) {
            (true, Side::Region) => self.add_shares::<S, C, _, false>(simd, block, activation, hard, sums),
            (true, Side::Background) => self.add_shares::<S, C, _, true>(simd, block, activation, hard, sums),
            (false, Side::Region) => self.add_shares::<S, C, _, false>(simd, block, activation, soft, sums),
            (false, Side::Background) => self.add_shares::<S, C, _, true>(simd, block, activation, soft, sums),
        }
        let Some(likelihood) = self.likelihood else { return };
        let to = (likelihood, sums);
        match (block.log(simd, activation, side), block.is_hard(), side) {
            (AnyLogarithms::Softmax(log), true, _) => add_logarithms::<S, C, _, _, false>(simd, block, hard, log, to),
            (AnyLogarithms::Softmax(log), false, _) => add_logarithms::<S, C, _, _, false>(simd, block, soft, log, to),
            (AnyLogarithms::Sigmoid(log), true, Side::Region) => {
                add_logarithms::<S, C, _, _, false>(simd, block, hard, log, to)
            }
            (AnyLogarithms::Sigmoid(log), true, Side::Background) => {
                add_logarithms::<S, C, _, _, true>(simd, block, hard, log, to)
            }
            (AnyLogarithms::Sigmoid(log), false, Side::Region) => {
                add_logarithms::<S, C, _, _, false>(simd, block, soft, log, to)
            }
            (AnyLogarithms::Sigmoid(log), false, Side::Background) => {
                add_logarithms::<S, C, _, _, true>(simd, block, soft, log, to)
            }
        }
    }

    /// Masses and intersections, in one loop where both are asked for.
    #[inline(always)]
    fn add_shares<S: Simd, C: Real, T: Membership<S, C>, const BACKGROUND: bool>(
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
        let (classes, start) = (block.classes(), bound.of_shares(simd));
        for k in 0..classes {
            let class = Lanes::of(simd, C::of_class(label_of(k, classes)));
            let mass = self.mass.map(|i| i * classes + k);
            // Every other summand is 0 where no pixel is of the class.
            let inside = BACKGROUND || block.has(k);
            let Some(intersection) = self.intersection.filter(|_| inside).map(|i| i * classes + k) else {
                if let Some(mass) = mass {
                    add_up!(simd, sums, mass, count, Summands::Shares(bound), |b| p.at(k, b) * scaled.at(b));
                }
                continue;
            };
            let (mut masses, mut intersections) = (Sum::from(start), Sum::from(start));
            in_runs!(count, |from, LENGTH| {
                let (mut mass, mut intersection) = (Sum::run(simd), Sum::run(simd));
                for b in from..from + LENGTH {
                    let share = p.at(k, b) * scaled.at(b);
                    mass = mass + share;
                    intersection = intersection + y.of::<BACKGROUND>((k, b), class, share);
                }
                masses.add(mass);
                intersections.add(intersection);
            });
            match masses.checked(start, bound, false).zip(intersections.checked(start, bound, false)) {
                Some((masses, intersections)) => {
                    if let Some(mass) = mass {
                        sums.join(simd, mass, masses);
                    }
                    sums.join(simd, intersection, intersections);
                }
                None => {
                    for b in 0..count {
                        let share = p.at(k, b) * scaled.at(b);
                        if let Some(mass) = mass {
                            sums.totals[mass] += share.total();
                        }
                        sums.totals[intersection] += y.of::<BACKGROUND>((k, b), class, share).total();
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn add_logarithms<S: Simd, C: Real, T: Membership<S, C>, G: Logarithms<S, C>, const BACKGROUND: bool>(
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
        (block.scale.lanes(simd, 0), block.weighted_scale(simd, group.activation), block.weight.lanes(simd, 0));
    let count = w.len();
    for side in [Side::Region, Side::Background] {
        let usual = Usual::new(plan, group, side);
        if usual != Usual::default() {
            usual.add(simd, block, (group.activation, side), sums);
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
                    let value =
                        pixels.of_class((simd, constants), block, (function, *activation, *side), Wanted::Value, (k, classes));
                    if !absent {
                        add_up!(simd, sums, at, count, Summands::Any, |b| y.of(*side, b, w.at(b) * value.at(b)));
                    }
                }
                Statistic::LogMass(activation, side) => {
                    let log = block.log(simd, *activation, *side);
                    add_up!(simd, sums, at, count, logarithms, |b| w.at(b) * log.at(k, b));
                }
                _ => {}
            }
        }
    }
}
