use loss_core::expr::{Expr, Scalar};
use loss_core::{RegionSizePenalty, RegionSizes, Temperature};

struct Overlapping;

impl RegionSizePenalty for Overlapping {
    fn penalty(&self, sizes: &RegionSizes) -> Expr<Scalar> {
        sizes.intersection(Temperature::ONE).sum_classes().mean_samples()
    }
}

fn main() {}
