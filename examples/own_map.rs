//! A map of one's own: Cross-Entropy that counts a pixel the more, the smaller its region is.

use ndarray::array;
use segloss::ndarray::prelude::*;
use segloss::{Derive, GroundTruthMatching, InsideTruth, Side, backend::View, expr::Expr, expr::Scalar};

/// One over the size of each class in its sample.
struct RarePixels;

impl Derive for RarePixels {
    fn name(&self) -> &'static str {
        "rare_pixels" // a target can bring the map under this name instead
    }

    fn channels(&self, classes: usize) -> usize {
        classes
    }

    fn fill(&self, view: &View<'_>, out: &mut [f32]) -> Result<(), LossError> {
        for (k, out) in out.chunks_mut(view.pixels()).enumerate() {
            let size: f64 = (0..view.pixels()).map(|s| view.weight(0, s) * view.share(0, k, s)).sum();
            out.fill(if size > 0.0 { 1.0 / size as f32 } else { 0.0 });
        }
        Ok(())
    }
}

struct RareCrossEntropy;

impl GroundTruthMatching for RareCrossEntropy {
    fn matching(&self, truth: &InsideTruth) -> Expr<Scalar> {
        (-truth.times(&Map::derived(RarePixels)).log_likelihood(Side::Region)).sum_classes().mean_samples()
    }
}

fn main() -> Result<(), LossError> {
    let (logits, labels) = (array![[[2.0f32, 0.5, -0.2], [0.0, 1.5, 0.3]]], array![[0u8, 1, 0]]);
    println!("{:.4}", matching(RareCrossEntropy).value(logits.view(), &Target::labels(labels.view()))?);
    Ok(())
}
