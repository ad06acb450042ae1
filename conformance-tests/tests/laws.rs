//! The laws of the traits, for every built-in term on every backend, and caught where a term breaks
//! them.

use conformance_tests::adapters::{BurnFused, BurnOperations, Ndarray};
use conformance_tests::{Adapter, laws};
use loss_core::expr::{Expr, Scalar};
use loss_core::{GroundTruthMatching, InsideTruth, RegionSizePenalty, RegionSizes, Side, Temperature, matching, penalty};

#[test]
fn built_in_terms_keep_them() {
    for adapter in [&Ndarray as &dyn Adapter, &BurnFused, &BurnOperations] {
        laws::check_built_in(adapter).unwrap_or_else(|error| panic!("{}: {error}", adapter.name()));
    }
}

/// A likelihood with the wrong sign.
struct Backwards;

impl GroundTruthMatching for Backwards {
    fn matching(&self, truth: &InsideTruth) -> Expr<Scalar> {
        truth.log_likelihood(Side::Region).sum_classes().mean_samples()
    }
}

/// A penalty that wants something where nothing is valid.
struct Demanding;

impl RegionSizePenalty for Demanding {
    fn penalty(&self, sizes: &RegionSizes) -> Expr<Scalar> {
        (sizes.predicted(Temperature::ONE) - 0.5).abs().sum_classes().mean_samples()
    }
}

#[test]
fn terms_that_break_them_are_named() {
    let error = laws::check(&matching(Backwards), 3, &Ndarray).unwrap_err();
    assert!(error.starts_with("backwards with activation=softmax, ignore=255: ") && error.contains("at the truth"), "{error}");
    let error = laws::check(&penalty(Demanding), 3, &Ndarray).unwrap_err();
    assert!(error.ends_with("1.5 where no pixel is valid"), "{error}");
}
