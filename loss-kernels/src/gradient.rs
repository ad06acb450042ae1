//! What a block's statistics hand back to its logits.
//!
//! Softmax: `∂/∂z_j = τ·(g_j − p_j Σ_k g_k)`, where `g_k = ∂/∂(log p_k)` collects what the statistics hand down:
//! `w·p_k·(∂/∂P + y·∂/∂I + 2p·∂/∂Q) + w·y·(∂/∂L + φ'·∂/∂F) + w·∂/∂A`. Sigmoid: each channel by itself, where
//! `∂ log p/∂z = τ·(1 − p)` and `∂ log(1 − p)/∂z = −τ·p`.

use loss_core::{Activation, Plan, Side, Statistic};
use pulp::Simd;

use crate::Real;
use crate::block::{Block, Columns};
use crate::groups::Group;
use crate::pixel::{PixelColumns, Wanted};
use crate::simd::{Column, Lanes, vectors_mut, write_column};

/// Buffers of the gradient of a block.
pub(crate) struct GradientColumns<C> {
    /// ∂/∂z per class, but for what [`Self::others`] takes from the likeliest.
    out: Columns<C>,
    /// ∂/∂(log p) per class, of one group.
    log_gradient: Columns<C>,
    /// Its sum over the classes.
    total: Columns<C>,
    /// Σ_k ∂/∂z under softmax, of all classes but the likeliest. All sum to zero: by itself the likeliest one's difference would
    /// cancel where p is nearly 1.
    others: Columns<C>,
    /// Σ φ'·∂/∂F per class, of the region and then of the background; where there are pixel sums.
    slopes: Columns<C>,
    /// One column, ready to be stored.
    pub(crate) stage: Vec<C>,
    /// Whether nothing has been written since the last block.
    fresh: bool,
}

impl<C: Real> GradientColumns<C> {
    pub(crate) fn new(classes: usize, capacity: usize, pixel_sums: bool) -> Self {
        Self {
            out: Columns::new(classes, capacity),
            log_gradient: Columns::new(classes, capacity),
            total: Columns::new(1, capacity),
            others: Columns::new(1, capacity),
            slopes: Columns::new(if pixel_sums { 2 * classes } else { 0 }, capacity),
            stage: vec![C::zero(); capacity],
            fresh: true,
        }
    }

    /// Before a block's first group.
    pub(crate) fn begin(&mut self, padded: usize) {
        self.fresh = true;
        self.others.column_mut(0)[..padded].fill(C::zero());
    }
}

/// What one side of a class's statistics hands down.
#[derive(Clone, Copy)]
struct Upstream<C> {
    /// ∂/∂P
    mass: C,
    /// ∂/∂I
    intersection: C,
    /// 2·∂/∂Q
    squared: C,
    /// ∂/∂L
    likelihood: C,
    /// ∂/∂A
    log_mass: C,
    /// Whether there is any ∂/∂F.
    pixels: bool,
}

impl<C: Real> Upstream<C> {
    fn new(plan: &Plan, group: &Group, upstream: &[Vec<C>], side: Side, k: usize) -> Self {
        let zero = C::zero();
        let mut all = Self { mass: zero, intersection: zero, squared: zero, likelihood: zero, log_mass: zero, pixels: false };
        for &i in &group.members {
            let statistic = &plan.statistics()[i];
            let (Some(&u), Some((.., of))) = (upstream[i].get(k), statistic.probability()) else { continue };
            if of != side {
                continue;
            }
            match statistic {
                Statistic::Intersection(..) => all.intersection = u,
                Statistic::SquaredMass(_) => all.squared = u + u,
                Statistic::LogLikelihood(..) => all.likelihood = u,
                Statistic::LogMass(..) => all.log_mass = u,
                Statistic::PixelSum(..) => all.pixels = true,
                _ => all.mass = u,
            }
        }
        all
    }

    fn any(&self) -> bool {
        let all = [self.mass, self.intersection, self.squared, self.likelihood, self.log_mass];
        self.pixels || all.iter().any(|u| *u != C::zero())
    }
}

/// ∂/∂(log p) of one side of a channel, where p is that side's probability, without the weight.
struct OfSide<'a, S: Simd, C: Real> {
    mass: Lanes<S, C>,
    intersection: Lanes<S, C>,
    squared: Lanes<S, C>,
    likelihood: Lanes<S, C>,
    log_mass: Lanes<S, C>,
    slopes: Option<Column<'a, S, C>>,
}

impl<'a, S: Simd, C: Real> OfSide<'a, S, C> {
    #[inline(always)]
    fn new(simd: S, up: Upstream<C>, slopes: Column<'a, S, C>) -> Self {
        Self {
            mass: Lanes::of(simd, up.mass),
            intersection: Lanes::of(simd, up.intersection),
            squared: Lanes::of(simd, up.squared),
            likelihood: Lanes::of(simd, up.likelihood),
            log_mass: Lanes::of(simd, up.log_mass),
            slopes: up.pixels.then_some(slopes),
        }
    }

    /// Everywhere, and where the pixel is of this side.
    #[inline(always)]
    fn at(&self, b: usize, p: Lanes<S, C>) -> (Lanes<S, C>, Lanes<S, C>) {
        let everywhere = p.mul_add(p.mul_add(self.squared, self.mass), self.log_mass);
        let own = p.mul_add(self.intersection, self.likelihood);
        (everywhere, if let Some(slopes) = self.slopes { own + slopes.at(b) } else { own })
    }
}

/// What a plan hands down: per statistic and class; empty where it is zero.
pub(crate) struct Handed<'a, C> {
    pub(crate) plan: &'a Plan,
    pub(crate) upstream: &'a [Vec<C>],
}

impl<C: Real> GradientColumns<C> {
    /// Adds a group's part, whose probabilities have been computed.
    #[inline(always)]
    pub(crate) fn add_group<S: Simd>(
        &mut self,
        simd: S,
        block: &Block<C>,
        pixels: &mut PixelColumns<C>,
        handed: &Handed<'_, C>,
        group: &Group,
    ) {
        if group.members.iter().all(|&i| handed.upstream[i].is_empty()) {
            return;
        }
        match group.activation {
            Activation::Softmax => self.softmax(simd, block, pixels, handed, group),
            Activation::Sigmoid => self.sigmoid(simd, block, pixels, handed, group),
        }
        self.fresh = false;
    }

    /// Σ φ'·∂/∂F of every class, on both sides.
    #[inline(always)]
    fn collect_slopes<S: Simd>(
        &mut self,
        simd: S,
        block: &Block<C>,
        pixels: &mut PixelColumns<C>,
        handed: &Handed<'_, C>,
        group: &Group,
    ) {
        let (classes, padded) = (handed.plan.classes(), block.padded());
        if group.pixel_sums {
            (0..2 * classes).for_each(|column| self.slopes.column_mut(column)[..padded].fill(C::zero()));
        }
        for &i in &group.members {
            let Statistic::PixelSum(activation, side, function) = &handed.plan.statistics()[i] else { continue };
            let first = if *side == Side::Background { classes } else { 0 };
            for (k, &u) in handed.upstream[i].iter().enumerate() {
                let u = Lanes::of(simd, u);
                let slope = pixels.of_class(simd, block, (function, *activation, *side), Wanted::Slope, (k, classes));
                write_column!(simd, &mut self.slopes.column_mut(first + k)[..padded], |b, old| slope.at(b).mul_add(u, old));
            }
        }
    }

    #[inline(always)]
    fn softmax<S: Simd>(
        &mut self,
        simd: S,
        block: &Block<C>,
        pixels: &mut PixelColumns<C>,
        handed: &Handed<'_, C>,
        group: &Group,
    ) {
        let (classes, padded) = (handed.plan.classes(), block.padded());
        let (scale, scaled, w) = (block.scale.lanes(simd, 0), block.weighted_scale.lanes(simd, 0), block.weight.lanes(simd, 0));
        let zero = Lanes::of(simd, C::zero());
        self.total.column_mut(0)[..padded].fill(C::zero());
        self.collect_slopes(simd, block, pixels, handed, group);
        for k in 0..classes {
            let up = Upstream::new(handed.plan, group, handed.upstream, Side::Region, k);
            // Where there are no pixel sums it is not looked at.
            let slopes = if up.pixels { self.slopes.lanes(simd, k) } else { w };
            let (y, p) = (block.target(simd, k), block.power.lanes(simd, k));
            let inside = block.has(k) && (up.pixels || up.intersection != C::zero() || up.likelihood != C::zero());
            let (mass, intersection, squared) =
                (Lanes::of(simd, up.mass), Lanes::of(simd, up.intersection), Lanes::of(simd, up.squared));
            let (likelihood, log_mass) = (Lanes::of(simd, up.likelihood), Lanes::of(simd, up.log_mass));
            let total = vectors_mut(simd, &mut self.total.column_mut(0)[..padded]);
            let gradient = vectors_mut(simd, &mut self.log_gradient.column_mut(k)[..padded]);
            for (b, (gradient, total)) in gradient.iter_mut().zip(total).enumerate() {
                let m = p.at(b) * scaled.at(b);
                let mut g = m * mass;
                if up.squared != C::zero() {
                    g = (m * (p.at(b) * scale.at(b))).mul_add(squared, g);
                }
                if inside {
                    let mut at_own = w.at(b).mul_add(likelihood, m * intersection);
                    if up.pixels {
                        at_own = w.at(b).mul_add(slopes.at(b), at_own);
                    }
                    g = g + y.of(b, at_own);
                }
                if up.log_mass != C::zero() {
                    g = w.at(b).mul_add(log_mass, g);
                }
                *gradient = g.vector;
                *total = (Lanes::new(simd, *total) + g).vector;
            }
        }
        let tau = Lanes::of(simd, C::of(group.temperature.value()));
        let (total, top) = (self.total.lanes(simd, 0), block.top.lanes(simd, 0));
        for k in 0..classes {
            let (p, class) = (block.power.lanes(simd, k), Lanes::of(simd, C::of_class(k as i32)));
            let g = self.log_gradient.lanes(simd, k);
            let others = vectors_mut(simd, &mut self.others.column_mut(0)[..padded]);
            let out = vectors_mut(simd, &mut self.out.column_mut(k)[..padded]);
            for (b, (out, others)) in out.iter_mut().zip(others).enumerate() {
                let value = tau * (g.at(b) - (p.at(b) * scale.at(b)) * total.at(b));
                let value = top.at(b).if_equal(class, zero, value);
                *others = (Lanes::new(simd, *others) + value).vector;
                *out = if self.fresh { value } else { Lanes::new(simd, *out) + value }.vector;
            }
        }
    }

    #[inline(always)]
    fn sigmoid<S: Simd>(
        &mut self,
        simd: S,
        block: &Block<C>,
        pixels: &mut PixelColumns<C>,
        handed: &Handed<'_, C>,
        group: &Group,
    ) {
        let (w, zero) = (block.weight.lanes(simd, 0), Lanes::of(simd, C::zero()));
        let tau = Lanes::of(simd, C::of(group.temperature.value()));
        let classes = handed.plan.classes();
        self.collect_slopes(simd, block, pixels, handed, group);
        for k in 0..classes {
            let sides =
                [Side::Region, Side::Background].map(|side| Upstream::new(handed.plan, group, handed.upstream, side, k));
            // Where there are no pixel sums they are not looked at.
            let slopes = [0, 1].map(|side| if sides[side].pixels { self.slopes.lanes(simd, side * classes + k) } else { w });
            let y = block.target(simd, k);
            let (p, q) = (block.power.lanes(simd, k), block.complement.lanes(simd, k));
            let out = &mut self.out.column_mut(k)[..block.padded()];
            let fresh = self.fresh;
            let any = sides.map(|up| up.any());
            let (region, background) = (OfSide::new(simd, sides[0], slopes[0]), OfSide::new(simd, sides[1], slopes[1]));
            write_column!(simd, out, |b, old| {
                let (p, q) = (p.at(b), q.at(b));
                let mut value = zero;
                if any[0] {
                    let (everywhere, own) = region.at(b, p);
                    value = w.at(b) * (everywhere + y.of(b, own)) * q;
                }
                if any[1] {
                    let (everywhere, own) = background.at(b, q);
                    value = value - w.at(b) * (everywhere + y.outside(b, own)) * p;
                }
                let value = tau * value;
                if fresh { value } else { old + value }
            });
        }
    }

    /// The gradient of a class, ready to be stored: exactly 0 where a pixel is not valid, and where it is below the least normal
    /// number.
    #[inline(always)]
    pub(crate) fn finish<S: Simd>(&mut self, simd: S, block: &Block<C>, k: usize, unit: C) -> &[C] {
        let stage = &mut self.stage[..block.padded()];
        if self.fresh {
            stage.fill(C::zero());
            return &self.stage[..block.len];
        }
        let (w, zero) = (block.weight.lanes(simd, 0), Lanes::of(simd, C::zero()));
        let (unit, least) = (Lanes::of(simd, unit), Lanes::of(simd, C::min_positive_value() / unit));
        let (out, others) = (self.out.lanes(simd, k), self.others.lanes(simd, 0));
        // Without softmax nothing is taken from any class.
        let top = if block.is_softmax() { block.top.lanes(simd, 0) } else { others };
        let class = Lanes::of(simd, if block.is_softmax() { C::of_class(k as i32) } else { C::nan() });
        write_column!(simd, stage, |b| {
            let value = out.at(b) - top.at(b).if_equal(class, others.at(b), zero);
            let value = w.at(b).if_equal(zero, zero, value);
            least.if_greater(value.abs(), zero, value * unit)
        });
        &self.stage[..block.len]
    }
}
