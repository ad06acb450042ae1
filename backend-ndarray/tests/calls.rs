//! Every way of asking gives the same numbers.

use backend_ndarray::{NdarrayLoss, Target};
use loss_core::Loss;
use ndarray::{Array2, Array3};

#[test]
fn every_call_gives_the_same_numbers() {
    let loss: Loss = "ce(pooling=sample) + 0.5 * dice + 0.1 * gdice".parse().unwrap();
    let logits = Array3::from_shape_fn((2, 3, 8), |(n, k, s)| ((7 * n + 5 * k + 3 * s) % 11) as f64 / 4.0 - 1.0);
    let labels = Array2::from_shape_fn((2, 8), |(n, s)| ((n + 2 * s) % 3) as u8);
    let target = Target::labels(labels.view());
    let both = loss.value_and_gradient(logits.view(), &target).unwrap();
    assert!(both.value.total > 0.1 && both.gradient.iter().any(|g| g.abs() > 1e-3));
    assert_eq!(loss.value(logits.view(), &target).unwrap(), both.value.total);
    assert_eq!(loss.evaluate(logits.view(), &target).unwrap().total, both.value.total);
    let mut gradient = Array3::zeros(logits.raw_dim());
    let value = loss.value_and_gradient_into(logits.view(), &target, gradient.view_mut()).unwrap();
    assert_eq!((value, gradient), (both.value.clone(), both.gradient));
    let elements = loss.elements(logits.view(), &target).unwrap();
    assert_eq!((elements.len(), &elements[2]), (3, &None));
    // A mean over samples of sums over classes, and a mean over classes pooled over the batch.
    for (term, of) in [(0, 2.0), (1, 3.0)] {
        let sum: f64 = elements[term].iter().flat_map(|table| table.values()).sum();
        assert!(
            (sum / of - both.value.terms[term].value).abs() < 1e-14,
            "term {term}: {} and {:?}",
            sum / of,
            both.value.terms
        );
    }
}
