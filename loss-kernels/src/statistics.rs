//! What a block adds to the statistics.

use loss_core::{Activation, Plan, Side, Statistic};
use pulp::Simd;

use crate::Real;
use crate::block::Block;
use crate::groups::{Group, Groups};
use crate::logarithm::LogColumn;
use crate::membership::Membership;
use crate::pixel::{PixelColumns, Wanted};
use crate::simd::{Column, Lanes};
use crate::sums::{Sum, Sums, add_up};

/// Adds the sums over the target.
#[inline(always)]
pub(crate) fn add_target<S: Simd, C: Real>(
    simd: S,
    block: &Block<C>,
    plan: &Plan,
    groups: &Groups,
    sums: &mut Sums<'_, C>,
    weighted: bool,
) {
    let classes = plan.classes();
    let w = block.weight.lanes(simd, 0);
    for &i in &groups.target {
        if plan.statistics()[i] == Statistic::ValidSize {
            add_up!(simd, sums, i * classes, w.len(), weighted, |b| w.at(b));
            continue;
        }
        let squared = plan.statistics()[i] == Statistic::SquaredTarget;
        for k in (0..classes).filter(|&k| block.has(k)) {
            let y = block.target(simd, k);
            add_up!(simd, sums, i * classes + k, w.len(), weighted, |b| {
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
        weighted: bool,
    ) {
        let background = side == Side::Background;
        let (scaled, w) = (block.weighted_scale.lanes(simd, 0), block.weight.lanes(simd, 0));
        let p = if background { &block.complement } else { &block.power }.lanes(simd, k);
        // Every other summand is 0 where no pixel is of the class.
        let inside = background || block.has(k);
        let (intersection, likelihood) = (self.intersection.filter(|_| inside), self.likelihood.filter(|_| inside));
        if intersection.is_none() && likelihood.is_none() {
            if let Some(i) = self.mass {
                add_up!(simd, sums, i * classes + k, w.len(), weighted, |b| p.at(b) * scaled.at(b));
            }
            return;
        }
        let log = likelihood.map(|_| block.log(simd, activation, side, k));
        let class = Lanes::of(simd, C::of_class(k as i32));
        let at = |i: Option<usize>| i.map(|i| i * classes + k);
        // Cut alike, as `Column::first` says.
        let [p, scaled, w] = [p, scaled, w].map(|column| column.first(w.len()));
        let run = Run { p, scaled, w, class, k, side, places: [self.mass, intersection, likelihood].map(at), weighted };
        let (hard, soft) = block.targets(simd);
        if block.is_hard() { run.add(simd, hard, log, sums) } else { run.add(simd, soft, log, sums) }
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
    weighted: bool,
}

impl<S: Simd, C: Real> Run<'_, S, C> {
    /// The summands at a vector of pixels.
    #[inline(always)]
    fn at<T: Membership<S, C>>(&self, y: T, log: &Option<LogColumn<'_, S, C>>, b: usize) -> [Lanes<S, C>; 3] {
        let mass = self.p.at(b) * self.scaled.at(b);
        let likelihood = if let Some(log) = log { self.w.at(b) * log.at(b) } else { mass };
        let (side, at, class) = (self.side, (self.k, b), self.class);
        [mass, y.of(side, at, class, mass), y.of(side, at, class, likelihood)]
    }

    #[inline(always)]
    fn add<T: Membership<S, C>>(self, simd: S, y: T, log: Option<LogColumn<'_, S, C>>, sums: &mut Sums<'_, C>) {
        let count = self.w.len();
        let (y, log) = (y.first(count), log.map(|log| log.first(count)));
        // Two of each, as in `add_up`.
        let (mut even, mut odd) = ([Sum::new(simd); 3], [Sum::new(simd); 3]);
        for b in 0..count / 2 {
            let summands = [self.at(y, &log, 2 * b), self.at(y, &log, 2 * b + 1)];
            for i in 0..3 {
                even[i].add(summands[0][i]);
                odd[i].add(summands[1][i]);
            }
        }
        if count % 2 == 1 {
            let summands = self.at(y, &log, count - 1);
            for i in 0..3 {
                even[i].add(summands[i]);
            }
        }
        let mut fits = true;
        for ((even, odd), checked) in even.iter_mut().zip(odd).zip([self.weighted, self.weighted, log.is_some()]) {
            even.join(odd);
            fits &= !checked || even.fits();
        }
        for (i, place) in self.places.iter().enumerate() {
            let Some(place) = *place else { continue };
            if fits {
                sums.join(simd, place, even[i]);
            } else {
                (0..count).for_each(|b| sums.totals[place] += self.at(y, &log, b)[i].total());
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
    weighted: bool,
) {
    let classes = plan.classes();
    let (scale, scaled, w) = (block.scale.lanes(simd, 0), block.weighted_scale.lanes(simd, 0), block.weight.lanes(simd, 0));
    let count = w.len();
    for side in [Side::Region, Side::Background] {
        let usual = Usual::new(plan, group, side);
        for k in (0..classes).filter(|_| usual != Usual::default()) {
            usual.add(simd, block, (group.activation, side, k), (sums, classes), weighted);
        }
    }
    for &i in &group.members {
        let statistic = &plan.statistics()[i];
        for k in 0..classes {
            let at = i * classes + k;
            match statistic {
                Statistic::SquaredMass(..) => {
                    let p = block.power.lanes(simd, k);
                    add_up!(simd, sums, at, count, weighted, |b| (p.at(b) * scaled.at(b)) * (p.at(b) * scale.at(b)));
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
                        add_up!(simd, sums, at, count, true, |b| y.of(*side, b, w.at(b) * value.at(b)));
                    }
                }
                Statistic::LogMass(activation, side) => {
                    let log = block.log(simd, *activation, *side, k);
                    add_up!(simd, sums, at, count, true, |b| w.at(b) * log.at(b));
                }
                _ => {}
            }
        }
    }
}
