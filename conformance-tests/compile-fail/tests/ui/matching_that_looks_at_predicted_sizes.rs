use loss_core::expr::{Expr, Scalar};
use loss_core::{GroundTruthMatching, InsideTruth, Temperature};

struct Precision;

impl GroundTruthMatching for Precision {
    fn matching(&self, truth: &InsideTruth) -> Expr<Scalar> {
        let both = truth.intersection(Temperature::ONE);
        both.ratio(&truth.predicted_size(Temperature::ONE)).sum_classes().mean_samples()
    }
}

fn main() {}
