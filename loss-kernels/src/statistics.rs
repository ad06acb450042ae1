//! What a block adds to the statistics.

use loss_core::{Activation, Plan, Side, Statistic};
use pulp::Simd;

use crate::Real;
use crate::block::Block;
use crate::groups::{Group, Groups};
use crate::logarithm::{LogColumn, Logarithms, NoLogarithms};
use crate::membership::Membership;
use crate::pixel::{PixelColumns, Wanted};
use crate::simd::{Column, Lanes};
use crate::sums::{Bound, Sum, Summands, Sums, add_up};

/// Adds the sums over the target.
#[inline(always)]
pub(crate) fn add_target<S: Simd, C: Real>(simd: S, block: &Block<C>, plan: &Plan, groups: &Groups, sums: &mut Sums<'_, C>) {
    let (classes, shares) = (plan.classes(), Summands::Shares(block.bound));
    let w = block.weight.lanes(simd, 0);
    for &i in &groups.target {
        if plan.statistics()[i] == Statistic::ValidSize {
            add_up!(simd, sums, i * classes, w.len(), shares, |b| w.at(b));
            continue;
        }
        let squared = plan.statistics()[i] == Statistic::SquaredTarget;
        for k in (0..classes).filter(|&k| block.has(k)) {
            let y = block.target(simd, k);
            add_up!(simd, sums, i * classes + k, w.len(), shares, |b| {
                let once = y.of(Side::Region, b, w.at(b));
                if squared { y.of(Side::Region, b, once) } else { once }
            });
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
        let run = Run {
            p: p.first(w.len()),
            scaled: block.weighted_scale.lanes(simd, 0).first(w.len()),
            w,
            class: Lanes::of(simd, C::of_class(k as i32)),
            k,
            side,
            places: [at(self.mass), intersection, likelihood],
            bound: block.bound,
        };
        let (hard, soft) = block.targets(simd);
        let log = likelihood.map(|_| block.log(simd, activation, side, k));
        match (log, block.is_hard()) {
            (None, true) => run.with(simd, hard, NoLogarithms(simd), sums),
            (None, false) => run.with(simd, soft, NoLogarithms(simd), sums),
            (Some(LogColumn::Softmax(log)), true) => run.with(simd, hard, log, sums),
            (Some(LogColumn::Softmax(log)), false) => run.with(simd, soft, log, sums),
            (Some(LogColumn::Sigmoid(log)), true) => run.with(simd, hard, log, sums),
            (Some(LogColumn::Sigmoid(log)), false) => run.with(simd, soft, log, sums),
        }
    }
}

/// One class's usual sums.
struct Run<'a, S: Simd, C: Real> {
    p: Column<'a, S, C>,
    scaled: Column<'a, S, C>,
    w: Column<'a, S, C>,
    class: Lanes<S, C>,
    k: usize,
    side: Side,
    /// Of the sums of masses, intersections and likelihoods.
    places: [Option<usize>; 3],
    bound: Bound<C>,
}

impl<S: Simd, C: Real> Run<'_, S, C> {
    /// Specialised, so that nothing is added up that is not asked for.
    #[inline(always)]
    fn with<T: Membership<S, C>, G: Logarithms<S, C>>(self, simd: S, y: T, log: G, sums: &mut Sums<'_, C>) {
        let count = self.w.len();
        let (y, log) = (y.first(count), log.first(count));
        match self.places {
            [_, Some(_), _] => self.add::<T, G, true, true>(simd, y, log, sums),
            [Some(_), None, _] => self.add::<T, G, true, false>(simd, y, log, sums),
            [None, None, _] => self.add::<T, G, false, false>(simd, y, log, sums),
        }
    }

    /// The summands at a pair of vectors.
    #[inline(always)]
    fn at<T: Membership<S, C>, G: Logarithms<S, C>>(&self, y: T, log: G, b: usize) -> [Lanes<S, C>; 3] {
        let (side, at, class) = (self.side, (self.k, b), self.class);
        let mass = self.p.at(b) * self.scaled.at(b);
        [mass, y.of(side, at, class, mass), y.of(side, at, class, self.w.at(b) * log.at(b))]
    }

    #[inline(always)]
    fn add<T: Membership<S, C>, G: Logarithms<S, C>, const MASS: bool, const INTERSECTION: bool>(
        self,
        simd: S,
        y: T,
        log: G,
        sums: &mut Sums<'_, C>,
    ) {
        let count = self.w.len();
        let (shares, logarithms) = (self.bound.of_shares(simd), self.bound.of_logarithms(simd));
        let (mut masses, mut intersections, mut likelihoods) = (Sum::from(shares), Sum::from(shares), Sum::from(logarithms));
        for b in 0..count {
            let [mass, intersection, likelihood] = self.at(y, log, b);
            if MASS {
                masses.add(mass);
            }
            if INTERSECTION {
                intersections.add(intersection);
            }
            if G::ANY {
                likelihoods.add(likelihood);
            }
        }
        let checked = [
            masses.checked(shares, self.bound, false),
            intersections.checked(shares, self.bound, false),
            likelihoods.checked(logarithms, self.bound, true),
        ];
        for (i, (place, sum)) in self.places.iter().zip(checked).enumerate() {
            match (*place, sum) {
                (Some(place), Some(sum)) => sums.join(simd, place, sum),
                (Some(place), None) => (0..count).for_each(|b| sums.totals[place] += self.at(y, log, b)[i].total()),
                (None, _) => {}
            }
        }
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
    let (scale, scaled, w) = (block.scale.lanes(simd, 0), block.weighted_scale.lanes(simd, 0), block.weight.lanes(simd, 0));
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
