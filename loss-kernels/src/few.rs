//! Softmax of two, three or four classes: all classes of a pixel in one loop from their logits to
//! their sums, and in one to their gradient. Nothing is kept in columns in between.

use loss_core::{LossError, Plan};
use pulp::Simd;

use crate::Real;
use crate::block::{Block, Powers, Span, powers};
use crate::blocks::Work;
use crate::functions::Math;
use crate::gradient::{GradientColumns, Sink};
use crate::groups::{Group, Groups, usual};
use crate::membership::Membership;
use crate::prefetch::Ahead;
use crate::real::{MANY, MOST_FEW, few};
use crate::simd::{Column, Lanes, apart, pairs_mut};
use crate::sums::{NOWHERE, Sums, add_up};
use crate::upstream::{Derivatives, Handed, Upstream};

/// Whether these loops can compute a plan: all its probabilities are a softmax of few classes, and
/// its sums, and what they hand down to at most one gradient, are the usual ones.
pub(crate) fn suffice<S: Simd, C: Real>(plan: &Plan, groups: &Groups, derivatives: &[Derivatives<C>], summed: bool) -> bool {
    few::<S, C>(plan.classes()) >= 2 && groups.is_softmax() && usual(groups, derivatives, summed)
}

/// The columns of a gradient, where they are stored, and the block's first pixel there.
pub(crate) struct To<'a, C> {
    pub(crate) columns: &'a mut GradientColumns<C>,
    pub(crate) sink: &'a mut dyn Sink<C>,
    pub(crate) from: usize,
}

/// Adds the sums of a block, and stores its gradient.
///
/// # Errors
/// [`LossError::NonFiniteLogit`].
#[inline(always)]
pub(crate) fn run<S: Simd, C: Real>(
    math: Math<'_, S, C>,
    work: Work<'_, C>,
    block: &mut Block<C>,
    part: Span,
    slopes: &[Slope<S, C>],
    sums: Option<&mut Sums<'_>>,
    to: Option<To<'_, C>>,
) -> Result<(), LossError> {
    let own = block.stored(work.problem, work.logits, part);
    if own.is_none() {
        block.copy_planes(math.simd, work.problem, work.logits, part);
    }
    let (stored, stride) = own.map_or(block.copied_planes(), |own| (own, work.problem.geometry().pixels));
    let planes = Planes { stored, stride };
    let finite = match work.plan.classes() {
        2 => of::<S, C, 2>(math, work, block, planes, slopes, sums, to),
        3 => of::<S, C, 3>(math, work, block, planes, slopes, sums, to),
        _ => of::<S, C, MOST_FEW>(math, work, block, planes, slopes, sums, to),
    };
    if !finite {
        return Err(block.first_not_finite(work.problem, work.logits, part));
    }
    block.ahead.clear();
    Ok(())
}

/// The logits of a block, class by class.
#[derive(Clone, Copy)]
struct Planes<'a, C> {
    stored: &'a [C],
    /// From one class to the next.
    stride: usize,
}

#[inline(always)]
fn of<S: Simd, C: Real, const K: usize>(
    math: Math<'_, S, C>,
    work: Work<'_, C>,
    block: &Block<C>,
    planes: Planes<'_, C>,
    slopes: &[Slope<S, C>],
    sums: Option<&mut Sums<'_>>,
    to: Option<To<'_, C>>,
) -> bool {
    let simd = math.simd;
    let (mut z, mut classes) = ([Column::new(simd, &[]); K], [Lanes::of(simd, C::zero()); K]);
    for k in 0..K {
        z[k] = Column::new(simd, &planes.stored[k * planes.stride..][..block.padded()]);
        classes[k] = block.class(simd, k);
    }
    let (hard, soft) = block.targets(simd);
    let weight = (!block.is_counted() || !block.is_whole()).then(|| block.weight.lanes(simd, 0));
    if block.is_hard() {
        Pixels { math, z, y: hard, classes, weight, ahead: &block.ahead }.run(work, block, slopes, sums, to)
    } else {
        Pixels { math, z, y: soft, classes, weight, ahead: &block.ahead }.run(work, block, slopes, sums, to)
    }
}

/// The pixels of a block.
struct Pixels<'a, S: Simd, C: Real, T, const K: usize> {
    math: Math<'a, S, C>,
    z: [Column<'a, S, C>; K],
    y: T,
    /// The bits of each class.
    classes: [Lanes<S, C>; K],
    /// `None` where every pixel counts 1.
    weight: Option<Column<'a, S, C>>,
    ahead: &'a Ahead,
}

impl<S: Simd, C: Real, T: Membership<S, C>, const K: usize> Pixels<'_, S, C, T, K> {
    /// Adds sums and stores the gradient. False where a logit is not finite.
    #[inline(always)]
    fn run(
        &self,
        work: Work<'_, C>,
        block: &Block<C>,
        slopes: &[Slope<S, C>],
        sums: Option<&mut Sums<'_>>,
        to: Option<To<'_, C>>,
    ) -> bool {
        let mut finite = true;
        if let Some(sums) = sums {
            for group in &work.groups.groups {
                finite &= self.add_sums(group, group.size.filter(|_| block.is_counted()), sums);
            }
        }
        if let (Some(To { columns, sink, from }), [derivatives]) = (to, work.derivatives) {
            finite &= columns.write_few(
                block,
                sink,
                from,
                // Inlined, so that it is compiled for the instructions of this function.
                #[inline(always)]
                |columns: [&mut [C]; MOST_FEW]| self.gradient(slopes, derivatives.unit, columns),
            );
        }
        finite
    }

    /// Adds the sums of a group. False where a logit is not finite.
    #[inline(always)]
    fn add_sums(&self, group: &Group, size: Option<usize>, sums: &mut Sums<'_>) -> bool {
        let simd = self.math.simd;
        let [usual, _] = group.usual;
        let (shares, by_label) = (usual.mass.or(usual.intersection), usual.intersection.or(usual.likelihood).or(size));
        let all = [usual.mass, usual.intersection, usual.likelihood, size];
        let mut places = [[NOWHERE; 4]; K];
        for (k, places) in places.iter_mut().enumerate() {
            for (place, i) in places.iter_mut().zip(all) {
                *place = i.map_or(NOWHERE, |i| i * K + k);
            }
        }
        let tau = group.temperature.value();
        // Shares come with a weight, 1 where none was given.
        let plain = T::COUNTED && self.weight.is_none();
        match (by_label.is_some(), shares.is_some(), usual.likelihood.is_some(), plain) {
            (false, _, _, true) => apart!(simd, self.sums::<false, true, false, false>(tau, places, sums)),
            (false, _, _, false) => apart!(simd, self.sums::<false, true, false, true>(tau, places, sums)),
            (true, true, false, true) => apart!(simd, self.sums::<true, true, false, false>(tau, places, sums)),
            (true, true, true, true) => apart!(simd, self.sums::<true, true, true, false>(tau, places, sums)),
            (true, false, _, true) => apart!(simd, self.sums::<true, false, true, false>(tau, places, sums)),
            (true, true, _, false) => apart!(simd, self.sums::<true, true, true, true>(tau, places, sums)),
            (true, false, _, false) => apart!(simd, self.sums::<true, false, true, true>(tau, places, sums)),
        }
    }

    #[inline(always)]
    fn sums<const LABELS: bool, const SHARES: bool, const LIKELIHOODS: bool, const WEIGHTED: bool>(
        &self,
        tau: f64,
        places: [[usize; 4]; K],
        sums: &mut Sums<'_>,
    ) -> bool {
        let Math { simd, constants } = self.math;
        let (rate, one, zero) = (&C::rate(simd, tau), Lanes::of(simd, C::one()), Lanes::of(simd, C::zero()));
        // −0, which the compiler drops.
        let (lanes, nothing, mut check) = (C::lanes::<S>(), Lanes::of(simd, -C::zero()), zero);
        let Alike { count, z, y, w } = self.alike();
        add_up!(short, simd, sums, places, count, |b| {
            self.ahead.bring(b, lanes);
            let (depth, largest) = depths(&z, b, &mut check);
            let Powers { each: powers, sum, largest: log } = powers::<S, C, LIKELIHOODS, K>(&depth, rate, constants);
            let inverse = one / sum;
            let scale = if WEIGHTED { inverse * w.at(b) } else { inverse };
            let mut rows = [[nothing; 4]; K];
            for k in 0..K {
                let [share, intersection, likelihood, size] = &mut rows[k];
                if SHARES {
                    *share = powers[k] * scale;
                }
                if LABELS && SHARES {
                    *intersection = y.of::<false>(k, b, self.classes[k], *share);
                }
                if LIKELIHOODS {
                    let log = log - (largest - z[k].at(b));
                    *likelihood = y.of::<false>(k, b, self.classes[k], if WEIGHTED { log * w.at(b) } else { log });
                }
                if LABELS && T::COUNTED {
                    // A pixel that is left out is of no class.
                    *size = y.of::<false>(k, b, self.classes[k], one);
                }
            }
            rows
        });
        check.all_equal(zero)
    }

    /// Cut to one length, so that the compiler drops the bounds checks.
    #[inline(always)]
    fn alike(&self) -> Alike<'_, S, C, T, K> {
        let count = self.z[0].len();
        let mut z = self.z;
        for z in &mut z {
            *z = z.first(count);
        }
        // Where every pixel counts 1, weights are not read.
        Alike { count, z, y: self.y.first(count), w: self.weight.unwrap_or(z[0]).first(count) }
    }

    /// Writes the gradient, with 0 for subnormal numbers. False where a logit is not finite.
    #[inline(always)]
    fn gradient(&self, slopes: &[Slope<S, C>], unit: C, columns: [&mut [C]; MOST_FEW]) -> bool {
        let simd = self.math.simd;
        match (slopes, T::COUNTED && self.weight.is_none()) {
            ([_], true) => apart!(simd, self.slopes::<1, false>(slopes, unit, columns)),
            ([_, _], true) => apart!(simd, self.slopes::<2, false>(slopes, unit, columns)),
            (_, true) => apart!(simd, self.slopes::<MANY, false>(slopes, unit, columns)),
            (_, false) => apart!(simd, self.slopes::<MANY, true>(slopes, unit, columns)),
        }
    }

    #[expect(clippy::needless_range_loop, reason = "the columns are indexed alike")]
    #[inline(always)]
    fn slopes<const GROUPS: usize, const WEIGHTED: bool>(
        &self,
        slopes: &[Slope<S, C>],
        unit: C,
        columns: [&mut [C]; MOST_FEW],
    ) -> bool {
        let simd = self.math.simd;
        let zero = Lanes::of(simd, C::zero());
        let (unit, least) = (Lanes::of(simd, unit), Lanes::of(simd, C::min_positive_value() / unit));
        let (lanes, mut check) = (C::lanes::<S>(), zero);
        let Alike { count, z, y, w } = self.alike();
        let slopes = if GROUPS == MANY { slopes } else { &slopes[..GROUPS] };
        let [own, others @ ..] = slopes else { return true };
        let [first, second, third, fourth] = columns;
        let mut columns = [pairs_mut(simd, first), pairs_mut(simd, second), pairs_mut(simd, third), pairs_mut(simd, fourth)];
        for column in &mut columns[..K] {
            *column = &mut std::mem::take(column)[..count];
        }
        for b in 0..count {
            self.ahead.bring(b, lanes);
            let (depth, largest) = depths(&z, b, &mut check);
            let mut all = self.part(own, &depth, y, b);
            if GROUPS != 1 {
                for slope in others {
                    let part = self.part(slope, &depth, y, b);
                    for k in 0..K {
                        all[k] = all[k] + part[k];
                    }
                }
            }
            // Σ_k ∂/∂z, which should be 0.
            let mut excess = zero;
            for all in all {
                excess = excess + all;
            }
            for k in 0..K {
                // The likeliest class is corrected: where p is nearly 1, its difference cancels.
                let mut value = all[k] - z[k].at(b).if_equal(largest, excess, zero);
                if WEIGHTED {
                    let w = w.at(b);
                    value = w.if_equal(zero, zero, w * value);
                }
                columns[k][b] = (value.abs().if_below(least, zero, value) * unit).pair;
            }
        }
        check.all_equal(zero)
    }

    /// A group's part of ∂/∂z, at the pair `b`.
    #[inline(always)]
    fn part(&self, slope: &Slope<S, C>, depth: &[Lanes<S, C>; K], y: T, b: usize) -> [Lanes<S, C>; K] {
        let (zero, one) = (depth[0].splat(C::zero()), depth[0].splat(C::one()));
        let Powers { each: powers, sum, .. } = powers::<S, C, false, K>(depth, &slope.rate, self.math.constants);
        let scale = one / sum;
        // Σ_k g_k without the weight, as power·`per_power` + `rest`.
        let (mut per_power, mut rest, mut values) = (zero, zero, [zero; K]);
        if !slope.own {
            for (&power, &mass) in powers.iter().zip(&slope.mass) {
                per_power = power.mul_add(mass, per_power);
            }
            let (total, scaled) = (per_power * scale, scale * slope.tau);
            for ((value, &power), &mass) in values.iter_mut().zip(&powers).zip(&slope.mass) {
                *value = (power * scaled) * (mass - total);
            }
            return values;
        }
        for (k, &power) in powers.iter().enumerate() {
            per_power = power.mul_add(slope.per_p(k, b, y, self.classes[k]), per_power);
            rest = rest + slope.alone(k, b, y, self.classes[k]);
        }
        let (total, scaled) = (per_power.mul_add(scale, rest), scale * slope.tau);
        for (k, (to, &power)) in values.iter_mut().zip(&powers).enumerate() {
            let value = (power * scaled) * (slope.per_p(k, b, y, self.classes[k]) - total);
            *to = slope.alone(k, b, y, self.classes[k]).mul_add(slope.tau, value);
        }
        values
    }
}

/// Columns of one length.
struct Alike<'a, S: Simd, C: Real, T, const K: usize> {
    /// Pairs of vectors.
    count: usize,
    z: [Column<'a, S, C>; K],
    y: T,
    w: Column<'a, S, C>,
}

/// The largest logit of each pixel, and how far each class is below it. `check` becomes NaN where
/// one is not finite.
#[inline(always)]
fn depths<S: Simd, C: Real, const K: usize>(
    z: &[Column<'_, S, C>; K],
    b: usize,
    check: &mut Lanes<S, C>,
) -> ([Lanes<S, C>; K], Lanes<S, C>) {
    let mut largest = z[0].at(b);
    let zero = largest.splat(C::zero());
    for z in z {
        *check = z.at(b).mul_add(zero, *check);
        largest = largest.max(z.at(b));
    }
    let mut depth = [zero; K];
    for (depth, z) in depth.iter_mut().zip(z) {
        *depth = largest - z.at(b);
    }
    (depth, largest)
}

/// What a group hands down to the pixels of a sample, class by class.
#[derive(Clone, Copy)]
pub(crate) struct Slope<S: Simd, C: Real> {
    tau: Lanes<S, C>,
    rate: C::Rate<S>,
    mass: [Lanes<S, C>; MOST_FEW],
    intersection: [Lanes<S, C>; MOST_FEW],
    likelihood: [Lanes<S, C>; MOST_FEW],
    /// Whether it depends on the label.
    own: bool,
}

impl<S: Simd, C: Real> Slope<S, C> {
    /// ∂/∂(log p) of a class without the weight, as p·`per_p` + `alone`, at the pair `b`.
    #[inline(always)]
    fn per_p<T: Membership<S, C>>(&self, k: usize, b: usize, y: T, class: Lanes<S, C>) -> Lanes<S, C> {
        self.mass[k] + y.of::<false>(k, b, class, self.intersection[k])
    }

    #[inline(always)]
    fn alone<T: Membership<S, C>>(&self, k: usize, b: usize, y: T, class: Lanes<S, C>) -> Lanes<S, C> {
        y.of::<false>(k, b, class, self.likelihood[k])
    }

    /// Of all groups.
    pub(crate) fn all(simd: S, work: Work<'_, C>) -> Vec<Self> {
        let handed = work.derivatives.iter().flat_map(|derivatives| &derivatives.groups);
        work.groups.groups.iter().zip(handed).map(|(group, handed)| Self::new(simd, group, handed)).collect()
    }

    fn new(simd: S, group: &Group, handed: &Handed<C>) -> Self {
        let tau = group.temperature.value();
        let each = |of: fn(&Upstream<C>) -> C| {
            let mut lanes = [Lanes::of(simd, C::zero()); MOST_FEW];
            for (lanes, upstream) in lanes.iter_mut().zip(&handed.sides[0]) {
                *lanes = Lanes::of(simd, of(upstream));
            }
            lanes
        };
        Self {
            tau: Lanes::of(simd, C::of(tau)),
            rate: C::rate(simd, tau),
            mass: each(|upstream| upstream.mass),
            intersection: each(|upstream| upstream.intersection),
            likelihood: each(|upstream| upstream.likelihood),
            own: handed.own,
        }
    }
}
