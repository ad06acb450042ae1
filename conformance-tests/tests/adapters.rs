//! Adapters called directly, with inputs that nobody should make: an error each, never a panic.

use conformance_tests::adapters::{BurnFused, BurnOperations, Ndarray, NdarrayTiled};
use conformance_tests::inputs::input;
use conformance_tests::oracle::Target;
use conformance_tests::{Adapter, Dtype, Input, InputMap};
use loss_core::{Loss, LossError};

fn adapters() -> Vec<&'static dyn Adapter> {
    #[cfg(feature = "tch")]
    let tch = conformance_tests::adapters::Tch::here();
    #[cfg(not(feature = "tch"))]
    let tch: &[&dyn Adapter] = &[];
    [&[&Ndarray as &dyn Adapter, &NdarrayTiled, &BurnFused, &BurnOperations], tch].concat()
}

/// What each adapter says of an input, by either call.
fn errors(input: &Input) -> Vec<(&'static str, LossError)> {
    let loss: Loss = "ce + l1".parse().unwrap();
    let of = |adapter: &'static dyn Adapter| {
        let errors = [
            adapter.value_and_gradient(&loss, input, Dtype::F32).map(|_| ()).unwrap_err(),
            adapter.evaluate(&loss, input, Dtype::F64).map(|_| ()).unwrap_err(),
        ];
        errors.map(|error| (adapter.name(), error))
    };
    adapters().into_iter().flat_map(of).collect()
}

#[test]
fn numbers_that_do_not_fill_their_shape_are_refused() {
    let fine = || input(&[2, 3, 4], 1);
    let maps = vec![InputMap { name: "weight", channels: 1, values: vec![1.0; 24] }];
    let unfit: [(Input, &str); 8] = [
        (Input { logits: vec![0.0; 23], ..fine() }, "logits: 23 numbers do not fill the shape [2, 3, 4]"),
        (Input { shape: vec![2, 3, usize::MAX], ..fine() }, "logits: 24 numbers do not fill "),
        (Input { shape: vec![usize::MAX, 3, usize::MAX, 2], ..fine() }, "logits: 24 numbers do not fill "),
        (Input { target: Target::Labels(vec![0; 9]), ..fine() }, "labels: 9 numbers do not fill the shape [2, 4]"),
        (Input { target: Target::Soft(Vec::new()), ..fine() }, "soft targets: 0 numbers do not fill "),
        (Input { weights: Some(vec![1.0; 7]), ..fine() }, "pixel weights: 7 numbers do not fill "),
        (Input { prior: Some(vec![0.5; 4]), ..fine() }, "prior: 4 numbers do not fill "),
        (Input { maps, ..fine() }, "map: 24 numbers do not fill the shape [2, 1, 4]"),
    ];
    for (input, text) in unfit {
        for strided in [false, true] {
            for (adapter, error) in errors(&Input { strided, ..input.clone() }) {
                assert!(matches!(error, LossError::Length { .. }), "{adapter}: {error:?}");
                assert!(error.to_string().starts_with(text), "{adapter}: {error}");
            }
        }
    }
}

#[test]
fn too_few_and_too_many_axes_are_refused() {
    for shape in [&[][..], &[3], &[0, 0], &[1; 9]] {
        let unfit = Input { target_shape: (shape.len() > 5).then(|| vec![1; 7]), ..input(shape, 2) };
        for (adapter, error) in errors(&unfit) {
            let known = matches!(
                error,
                LossError::LogitsRank { .. }
                    | LossError::Empty { .. }
                    | LossError::Unsupported { .. }
                    | LossError::ShapeMismatch { .. }
                    | LossError::TooFewClasses { .. }
            );
            assert!(known, "{shape:?}, {adapter}: {error:?}");
        }
    }
}
