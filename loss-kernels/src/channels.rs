//! Sigmoid channels with labels, the commonest segmentation: each channel in one loop from its
//! logits to its sums, and in one to its gradient. Nothing is kept in columns in between.
//!
//! With e = e^−τ|z|, the larger of p and 1 − p is 1/(1 + e), the smaller e/(1 + e).

use loss_core::{LossError, Plan, Side};
use pulp::Simd;

use crate::Real;
use crate::block::{Block, Span};
use crate::blocks::Work;
use crate::functions::Math;
use crate::gradient::Destination;
use crate::groups::{Group, Groups, usual};
use crate::membership::{HardTarget, Membership};
use crate::prefetch::Ahead;
use crate::real::MANY;
use crate::simd::{Column, Lanes, apart, write_column};
use crate::sums::{NOWHERE, Sums, add_up};
use crate::upstream::{Derivatives, Handed};

/// Whether these loops can compute a plan: all its probabilities are sigmoids, and its sums, and
/// what they hand down to at most one gradient, are the usual ones.
pub(crate) fn suffice<C: Real>(groups: &Groups, derivatives: &[Derivatives<C>], summed: bool) -> bool {
    groups.is_sigmoid() && usual(groups, derivatives, summed)
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
    mut sums: Option<&mut Sums<'_>>,
    mut to: Option<Destination<'_, C>>,
) -> Result<(), LossError> {
    let Work { problem, plan, groups, derivatives, logits } = work;
    let (simd, classes) = (math.simd, plan.classes());
    // If no pixel is left out and none is padding, logits are read where they are stored.
    let whole = block.is_whole();
    for k in 0..classes {
        let from = (part.sample * classes + k) * problem.geometry().pixels + part.start;
        let own = whole.then(|| logits.own(from, part.len)).flatten();
        if own.is_none() {
            block.copy_channel(simd, problem, logits, part, k);
        }
        let channel = Channel {
            math,
            k,
            logits: own.map_or(block.logits.lanes(simd, k), |own| Column::new(simd, own)),
            labels: block.targets(simd).0,
            class: block.class(simd, k),
            weight: (!block.is_counted() || !whole).then(|| block.weight.lanes(simd, 0)),
            ahead: &block.ahead,
        };
        let mut finite = true;
        if let Some(sums) = &mut sums {
            for group in &groups.groups {
                finite &= channel.add_sums(plan, group, group.size.filter(|_| block.is_counted()), sums);
            }
        }
        if let (Some(to), [derivatives]) = (&mut to, derivatives) {
            let slopes = &slopes[k * groups.groups.len()..][..groups.groups.len()];
            finite &= to.write(
                k,
                part.len,
                // Inlined, so that it is compiled for the instructions of this function.
                #[inline(always)]
                |column: &mut [C]| channel.gradient(slopes, derivatives.unit, column),
            );
        }
        if !finite {
            return Err(block.first_not_finite(problem, logits, part));
        }
        block.ahead.clear();
    }
    Ok(())
}

/// A channel of a block.
pub(crate) struct Channel<'a, S: Simd, C: Real> {
    pub(crate) math: Math<'a, S, C>,
    pub(crate) k: usize,
    pub(crate) logits: Column<'a, S, C>,
    pub(crate) labels: HardTarget<'a, S, C>,
    /// The bits of the channel's label.
    pub(crate) class: Lanes<S, C>,
    /// `None` where every pixel counts 1.
    pub(crate) weight: Option<Column<'a, S, C>>,
    pub(crate) ahead: &'a Ahead,
}

impl<S: Simd, C: Real> Channel<'_, S, C> {
    /// Adds the sums of a group. False where a logit is not finite.
    #[inline(always)]
    pub(crate) fn add_sums(&self, plan: &Plan, group: &Group, size: Option<usize>, sums: &mut Sums<'_>) -> bool {
        let simd = self.math.simd;
        let [region, background] = group.usual;
        let at = |place: Option<usize>| place.map_or(NOWHERE, |i| i * plan.classes() + self.k);
        let shares = [at(region.mass), at(region.intersection)];
        let likelihoods = [at(region.likelihood), at(background.likelihood)];
        let places = [shares[0], shares[1], likelihoods[0], likelihoods[1], at(size)];
        let tau = group.temperature.value();
        let by_label = [region.intersection, region.likelihood, background.likelihood, size].iter().any(Option::is_some);
        match (by_label, shares != [NOWHERE; 2], likelihoods != [NOWHERE; 2], self.weight) {
            (false, _, _, None) => apart!(simd, self.mass::<false>(tau, at(region.mass), self.logits, sums)),
            (false, _, _, Some(w)) => apart!(simd, self.mass::<true>(tau, at(region.mass), w, sums)),
            (true, true, false, None) => apart!(simd, self.by_label::<true, false, false>(tau, places, self.logits, sums)),
            (true, true, false, Some(w)) => apart!(simd, self.by_label::<true, false, true>(tau, places, w, sums)),
            (true, true, true, None) => apart!(simd, self.by_label::<true, true, false>(tau, places, self.logits, sums)),
            (true, true, true, Some(w)) => apart!(simd, self.by_label::<true, true, true>(tau, places, w, sums)),
            (true, false, _, None) => apart!(simd, self.by_label::<false, true, false>(tau, places, self.logits, sums)),
            (true, false, _, Some(w)) => apart!(simd, self.by_label::<false, true, true>(tau, places, w, sums)),
        }
    }

    /// The sum of p alone. `w`: not read unless `WEIGHTED`.
    #[inline(always)]
    fn mass<const WEIGHTED: bool>(&self, tau: f64, at: usize, w: Column<'_, S, C>, sums: &mut Sums<'_>) -> bool {
        let Math { simd, constants } = self.math;
        let (rate, one, zero) = (&C::rate(simd, tau), Lanes::of(simd, C::one()), Lanes::of(simd, C::zero()));
        let count = self.logits.len();
        let (z, w, lanes, mut check) = (self.logits.first(count), w.first(count), C::lanes::<S>(), zero);
        add_up!(long, simd, sums, [[at]], count, |b| {
            self.ahead.bring(b, lanes);
            let z = z.at(b);
            check = z.mul_add(zero, check);
            let e = C::exp_of_minus(z.abs(), rate, constants);
            let large = one / (one + e);
            let p = z.if_negative(e * large, large);
            [[if WEIGHTED { p * w.at(b) } else { p }]]
        });
        check.all_equal(zero)
    }

    /// Sums over the region, its background, or both.
    #[inline(always)]
    fn by_label<const SHARES: bool, const LIKELIHOODS: bool, const WEIGHTED: bool>(
        &self,
        tau: f64,
        places: [usize; 5],
        w: Column<'_, S, C>,
        sums: &mut Sums<'_>,
    ) -> bool {
        let Math { simd, constants } = self.math;
        let (rate, one, zero) = (&C::rate(simd, tau), Lanes::of(simd, C::one()), Lanes::of(simd, C::zero()));
        let count = self.logits.len();
        let (z, w, y) = (self.logits.first(count), w.first(count), self.labels.first(count));
        let (class, lanes, mut check) = (self.class, C::lanes::<S>(), zero);
        add_up!(long, simd, sums, [places], count, |b| {
            self.ahead.bring(b, lanes);
            let z = z.at(b);
            check = z.mul_add(zero, check);
            let e = C::exp_of_minus(z.abs(), rate, constants);
            let (mut share, mut log) = (zero, zero);
            if SHARES {
                let large = one / (one + e);
                share = z.if_negative(e * large, large);
            }
            if LIKELIHOODS {
                // log p for a pixel of the region, log(1 − p) for one of the background.
                log = y.signed(b, class, z).min(zero) - C::log_1p_of_share(e, constants);
            }
            if WEIGHTED {
                (share, log) = (share * w.at(b), log * w.at(b));
            }
            [[
                share,
                if SHARES { y.of::<false>(self.k, b, class, share) } else { zero },
                if LIKELIHOODS { y.of::<false>(self.k, b, class, log) } else { zero },
                if LIKELIHOODS { y.of::<true>(self.k, b, class, log) } else { zero },
                // A pixel that is left out is of no class.
                y.of::<false>(self.k, b, class, one),
            ]]
        });
        check.all_equal(zero)
    }

    /// Writes the gradient, with 0 for subnormal numbers. False where a logit is not finite.
    #[inline(always)]
    pub(crate) fn gradient(&self, slopes: &[Slope<S, C>], unit: C, column: &mut [C]) -> bool {
        let simd = self.math.simd;
        match (slopes, self.weight) {
            ([one], None) => apart!(simd, self.slopes::<1, false>(&[*one], self.logits, unit, column)),
            ([one, two], None) => apart!(simd, self.slopes::<2, false>(&[*one, *two], self.logits, unit, column)),
            (all, None) => apart!(simd, self.slopes::<MANY, false>(all, self.logits, unit, column)),
            (all, Some(w)) => apart!(simd, self.slopes::<MANY, true>(all, w, unit, column)),
        }
    }

    #[inline(always)]
    fn slopes<const GROUPS: usize, const WEIGHTED: bool>(
        &self,
        slopes: &[Slope<S, C>],
        w: Column<'_, S, C>,
        unit: C,
        column: &mut [C],
    ) -> bool {
        let Math { simd, constants } = self.math;
        let (one, zero) = (Lanes::of(simd, C::one()), Lanes::of(simd, C::zero()));
        let (unit, least) = (Lanes::of(simd, unit), Lanes::of(simd, C::min_positive_value() / unit));
        let count = crate::simd::pairs_mut(simd, column).len();
        let (z, w, y) = (self.logits.first(count), w.first(count), self.labels.first(count));
        let (class, lanes, mut check) = (self.class, C::lanes::<S>(), zero);
        let groups = if GROUPS == MANY { slopes.len() } else { GROUPS };
        write_column!(simd, column, |b| {
            self.ahead.bring(b, lanes);
            let z = z.at(b);
            check = z.mul_add(zero, check);
            let mut value = zero;
            for slope in &slopes[..groups] {
                let e = C::exp_of_minus(z.abs(), &slope.rate, constants);
                let large = one / (one + e);
                let small = e * large;
                value = slope.add(value, large, small, y.0.at(b), class, z);
            }
            if WEIGHTED {
                let w = w.at(b);
                value = w.if_equal(zero, zero, w * value);
            }
            value.abs().if_below(least, zero, value) * unit
        });
        check.all_equal(zero)
    }
}

/// What a group hands down to a channel's pixels: ∂/∂z is `product`·p·(1 − p) plus `other`
/// times the probability of the side that the pixel is not of.
#[derive(Clone, Copy)]
pub(crate) struct Slope<S: Simd, C: Real> {
    rate: C::Rate<S>,
    /// For pixels of the region, and of the background.
    product: [Lanes<S, C>; 2],
    other: [Lanes<S, C>; 2],
    /// Whether it depends on the label.
    by_label: bool,
}

impl<S: Simd, C: Real> Slope<S, C> {
    /// Of all channels, group by group.
    pub(crate) fn all(simd: S, work: Work<'_, C>) -> Vec<Self> {
        let handed = work.derivatives.iter().flat_map(|derivatives| &derivatives.groups);
        let groups = || work.groups.groups.iter().zip(handed.clone());
        let of_channel = |k| groups().map(move |(group, handed)| Self::new(simd, work.plan, group, handed, k));
        (0..work.plan.classes()).flat_map(of_channel).collect()
    }

    fn new(simd: S, plan: &Plan, group: &Group, handed: &Handed<C>, k: usize) -> Self {
        let tau = group.temperature.value();
        let [region, background] = [Side::Region, Side::Background].map(|side| handed.of(side, k, plan.classes()));
        let mass = region.mass - background.mass;
        let scaled = |x: C| Lanes::of(simd, C::of(tau) * x);
        Self {
            rate: C::rate(simd, tau),
            product: [scaled(mass + region.intersection), scaled(mass - background.intersection)],
            other: [scaled(region.likelihood), scaled(-background.likelihood)],
            by_label: handed.own,
        }
    }

    #[inline(always)]
    fn add(
        &self,
        value: Lanes<S, C>,
        large: Lanes<S, C>,
        small: Lanes<S, C>,
        label: Lanes<S, C>,
        class: Lanes<S, C>,
        z: Lanes<S, C>,
    ) -> Lanes<S, C> {
        let both = large * small;
        if !self.by_label {
            return both.mul_add(self.product[1], value);
        }
        let product = label.if_same(class, self.product[0], self.product[1]);
        let other = label.if_same(class, self.other[0], self.other[1]);
        let side = label.if_same(class, z, -z).if_negative(large, small);
        side.mul_add(other, both.mul_add(product, value))
    }
}
