//! Results do not depend on the number of threads, to the last bit.

use conformance_tests::adapters::{BurnFused, Ndarray};
use conformance_tests::inputs::input;
use conformance_tests::{Adapter, Dtype, Output};
use loss_core::Loss;

fn bits(output: &Output) -> Vec<u64> {
    let numbers = std::iter::once(&output.total).chain(output.terms.iter().flatten()).chain(&output.gradient);
    numbers.map(|number| number.to_bits()).collect()
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    // Large enough to be cut into several segments, and not into equal ones.
    let input = input(&[2, 4, 301, 157], 5);
    let loss: Loss = "ce(label_smoothing=0.1) + focal + dice + l1 + 0.5 * kl".parse().unwrap();
    for adapter in [&Ndarray as &dyn Adapter, &BurnFused] {
        for dtype in [Dtype::F32, Dtype::F64, Dtype::F16] {
            let with = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| bits(&adapter.value_and_gradient(&loss, &input, dtype).unwrap()))
            };
            let one = with(1);
            for threads in [2, 3, 7] {
                assert!(with(threads) == one, "{}, {dtype}: {threads} threads", adapter.name());
            }
        }
    }
}
