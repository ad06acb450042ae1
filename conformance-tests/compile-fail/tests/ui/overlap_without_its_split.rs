use loss_core::expr::{Expr, Scalar};
use loss_core::{AllRegions, Overlap, Temperature};

struct Covered;

impl Overlap for Covered {
    fn overlap(&self, regions: &AllRegions) -> Expr<Scalar> {
        let inside = regions.inside();
        inside.intersection(Temperature::ONE).ratio(&inside.target_size()).sum_classes().mean_samples()
    }
}

fn main() {}
