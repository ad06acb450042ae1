//! What pixel sums and sums with a map hand down to log p. It differs from pixel to pixel, so it is
//! collected in columns first.

use loss_core::{Plan, Probability, Quantity, Side};
use pulp::Simd;

use crate::Real;
use crate::block::Block;
use crate::columns::{Columns, Grid};
use crate::functions::Math;
use crate::pixel::{OfPixel, PixelColumns, Wanted};
use crate::simd::{Lanes, write_column};
use crate::upstream::Handed;

/// Columns per class: Σ φ'·∂/∂F of the region, then of the background; then in the same
/// order what sums with a map hand down, y included.
pub(crate) struct Slopes<C>(Columns<C>);

impl<C: Real> Slopes<C> {
    pub(crate) fn new(classes: usize, capacity: usize, pixel_sums: bool, maps: bool) -> Self {
        let columns = if maps { 4 * classes } else { usize::from(pixel_sums) * 2 * classes };
        Self(Columns::new(columns, capacity))
    }

    #[inline(always)]
    pub(crate) fn grid<S: Simd>(&self, simd: S) -> Grid<'_, S, C> {
        self.0.grid(simd)
    }

    /// Collects what pixel sums without a map hand down.
    #[inline(always)]
    pub(crate) fn collect_pixel_sums<S: Simd>(
        &mut self,
        math: Math<'_, S, C>,
        block: &Block<C>,
        pixels: &mut PixelColumns<C>,
        plan: &Plan,
        handed: &Handed<C>,
    ) {
        if handed.pixels.is_empty() {
            return;
        }
        let (simd, classes, padded) = (math.simd, plan.classes(), block.padded());
        (0..2 * classes).for_each(|column| self.0.column_mut(column)[..padded].fill(C::zero()));
        for (i, derivatives) in &handed.pixels {
            let Quantity::Function(activation, side, function) = &plan.statistics()[*i].of else { continue };
            let of = OfPixel { function, activation: *activation, side: *side };
            let first = if *side == Side::Background { classes } else { 0 };
            for (k, &u) in derivatives.iter().enumerate() {
                let u = Lanes::of(simd, u);
                let slope = pixels.of_class(math, block, of, Wanted::Slope, k);
                write_column!(simd, &mut self.0.column_mut(first + k)[..padded], |b, old| slope.at(b).mul_add(u, old));
            }
        }
    }

    /// Collects what sums with a map hand down.
    #[inline(always)]
    pub(crate) fn collect_mapped<S: Simd>(
        &mut self,
        math: Math<'_, S, C>,
        block: &Block<C>,
        pixels: &mut PixelColumns<C>,
        plan: &Plan,
        handed: &Handed<C>,
    ) {
        if handed.mapped.is_empty() {
            return;
        }
        let (simd, classes, padded) = (math.simd, plan.classes(), block.padded());
        (2 * classes..4 * classes).for_each(|column| self.0.column_mut(column)[..padded].fill(C::zero()));
        for (i, derivatives) in &handed.mapped {
            let (statistic, Some(map)) = (&plan.statistics()[*i], plan.map(*i)) else { continue };
            let Some(Probability { activation, side, .. }) = statistic.probability() else { continue };
            let first = if side == Side::Background { 3 * classes } else { 2 * classes };
            let (scale, over) = (block.scale(simd, activation), statistic.over);
            for (k, &u) in derivatives.iter().enumerate() {
                let (u, map) = (Lanes::of(simd, u), block.map(simd, map, k));
                let (p, column) = (block.side(side).lanes(simd, k), &mut self.0.column_mut(first + k)[..padded]);
                let plus = |old: Lanes<S, C>, b: usize, x: Lanes<S, C>| old + block.over(simd, over, k, b, u * map.at(b) * x);
                match &statistic.of {
                    Quantity::One | Quantity::Target => {}
                    Quantity::Mass(_) => write_column!(simd, column, |b, old| plus(old, b, p.at(b) * scale.at(b))),
                    Quantity::SquaredMass(_) => write_column!(simd, column, |b, old| {
                        let p = p.at(b) * scale.at(b);
                        plus(old, b, p * p + p * p)
                    }),
                    Quantity::Log(..) => write_column!(simd, column, |b, old| plus(old, b, u.splat(C::one()))),
                    Quantity::Function(.., function) => {
                        let of = OfPixel { function, activation, side };
                        let slope = pixels.of_class(math, block, of, Wanted::Slope, k);
                        write_column!(simd, column, |b, old| plus(old, b, slope.at(b)));
                    }
                }
            }
        }
    }
}
