//! What a block adds to the statistics.

use loss_core::{Activation, Plan, Side, Statistic};
use pulp::Simd;

use crate::Real;
use crate::block::{Block, LogSigmoid, LogSoftmax, Logarithm, Membership};
use crate::groups::{Group, Groups};
use crate::pixel::{PixelColumns, Wanted};
use crate::simd::{Column, Lanes, RUN, Sums, add_up};

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
                let once = y.of(b, w.at(b));
                if squared { y.of(b, once) } else { once }
            });
        }
    }
}

/// A column of logarithms of probabilities.
enum LogColumn<'a, S: Simd, C: Real> {
    Softmax(LogSoftmax<'a, S, C>),
    Sigmoid(LogSigmoid<'a, S, C>),
}

impl<'a, S: Simd, C: Real> LogColumn<'a, S, C> {
    #[inline(always)]
    fn new(simd: S, block: &'a Block<C>, activation: Activation, side: Side, k: usize) -> Self {
        match activation {
            Activation::Softmax => Self::Softmax(block.log_softmax(simd, k)),
            Activation::Sigmoid => Self::Sigmoid(block.log_sigmoid(simd, k, side == Side::Background)),
        }
    }

    #[inline(always)]
    fn at(&self, b: usize) -> Lanes<S, C> {
        match self {
            Self::Softmax(log) => log.at(b),
            Self::Sigmoid(log) => log.at(b),
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
        let log = likelihood.map(|_| LogColumn::new(simd, block, activation, side, k));
        let class = Lanes::of(simd, C::of_class(k as i32));
        let at = |i: Option<usize>| i.map(|i| i * classes + k);
        let run = Run { p, scaled, w, class, k, background, places: [self.mass, intersection, likelihood].map(at), weighted };
        let (hard, soft) = block.targets(simd);
        match (log, block.is_hard()) {
            (Some(LogColumn::Softmax(log)), true) => run.add(simd, hard, Some(log), sums),
            (Some(LogColumn::Softmax(log)), false) => run.add(simd, soft, Some(log), sums),
            (Some(LogColumn::Sigmoid(log)), true) => run.add(simd, hard, Some(log), sums),
            (Some(LogColumn::Sigmoid(log)), false) => run.add(simd, soft, Some(log), sums),
            (None, true) => run.add(simd, hard, None::<LogSoftmax<'_, S, C>>, sums),
            (None, false) => run.add(simd, soft, None::<LogSoftmax<'_, S, C>>, sums),
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
    background: bool,
    /// Of the sums of masses, intersections and likelihoods.
    places: [Option<usize>; 3],
    weighted: bool,
}

impl<S: Simd, C: Real> Run<'_, S, C> {
    /// The summands at a vector of pixels.
    #[inline(always)]
    fn at<T: Membership<S, C>, L: Logarithm<S, C>>(&self, y: T, log: &Option<L>, b: usize) -> [Lanes<S, C>; 3] {
        let mass = self.p.at(b) * self.scaled.at(b);
        let likelihood = if let Some(log) = log { self.w.at(b) * log.at(b) } else { mass };
        let (at, class) = ((self.k, b), self.class);
        if self.background {
            [mass, y.outside(at, class, mass), y.outside(at, class, likelihood)]
        } else {
            [mass, y.of(at, class, mass), y.of(at, class, likelihood)]
        }
    }

    #[inline(always)]
    fn add<T: Membership<S, C>, L: Logarithm<S, C>>(self, simd: S, y: T, log: Option<L>, sums: &mut Sums<'_, C>) {
        let zero = Lanes::of(simd, C::zero());
        let checked = [self.weighted, self.weighted, log.is_some()];
        let count = self.w.len();
        for start in (0..count).step_by(RUN) {
            let end = count.min(start + RUN);
            let [p, scaled, w] = [self.p, self.scaled, self.w].map(|column| column.part(start, end));
            let (y, log) = (y.part(start, end), log.as_ref().map(|log| log.part(start, end)));
            let part = Self { p, scaled, w, ..self };
            let (mut run, mut odd) = ([zero; 3], [zero; 3]);
            for b in 0..(end - start) / 2 {
                let summands = [part.at(y, &log, 2 * b), part.at(y, &log, 2 * b + 1)];
                for i in 0..3 {
                    run[i] = run[i] + summands[0][i];
                    odd[i] = odd[i] + summands[1][i];
                }
            }
            if (end - start) % 2 == 1 {
                let summands = part.at(y, &log, end - start - 1);
                for i in 0..3 {
                    run[i] = run[i] + summands[i];
                }
            }
            for i in 0..3 {
                run[i] = run[i] + odd[i];
            }
            let mut fits = true;
            for (sum, checked) in run.iter().zip(checked) {
                fits &= !checked || sum.is_finite();
            }
            for (i, place) in self.places.iter().enumerate() {
                let Some(place) = *place else { continue };
                if fits {
                    sums.add(simd, place, run[i]);
                } else {
                    // As in `add_up`.
                    (0..end - start).for_each(|b| sums.totals[place] += part.at(y, &log, b)[i].total());
                }
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
                    let background = *side == Side::Background;
                    let absent = !background && !block.has(k);
                    // The first class brings the logarithms of all.
                    if absent && k > 0 {
                        continue;
                    }
                    let y = block.target(simd, k);
                    let value = pixels.of_class(simd, block, (function, *activation, *side), Wanted::Value, (k, classes));
                    if !absent {
                        add_up!(simd, sums, at, count, true, |b| y.on_side(background, b, w.at(b) * value.at(b)));
                    }
                }
                Statistic::LogMass(activation, side) => {
                    let log = LogColumn::new(simd, block, *activation, *side, k);
                    add_up!(simd, sums, at, count, true, |b| w.at(b) * log.at(b));
                }
                _ => {}
            }
        }
    }
}
