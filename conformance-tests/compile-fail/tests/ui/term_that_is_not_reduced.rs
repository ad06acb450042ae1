use loss_core::expr::{Expr, Scalar};
use loss_core::{RegionSizePenalty, RegionSizes, Temperature};

struct Squares;

impl RegionSizePenalty for Squares {
    fn penalty(&self, sizes: &RegionSizes) -> Expr<Scalar> {
        (sizes.predicted(Temperature::ONE) - sizes.target()).squared()
    }
}

fn main() {}
