use loss_core::expr::{Expr, Scalar};
use loss_core::{RegionSizePenalty, RegionSizes, Temperature, matching};

struct SizeCap(Vec<f64>);

impl RegionSizePenalty for SizeCap {
    fn penalty(&self, sizes: &RegionSizes) -> Expr<Scalar> {
        (sizes.predicted(Temperature::ONE) - Expr::classes(&self.0)).relu().squared().sum_classes().mean_samples()
    }
}

fn main() {
    let _ = matching(SizeCap(vec![1.0, 0.05]));
}
