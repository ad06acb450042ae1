//! Terms per sample and class, before their reduction.

use backend_burn::{BurnLoss, BurnTarget};
use backend_ndarray::{NdarrayLoss, Target};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use loss_core::Loss;
use loss_core::expr::Table;
use ndarray::{Array2, Array3};

use conformance_tests::inputs::input;
use conformance_tests::oracle;

const SHAPE: [usize; 3] = [2, 3, 8];

/// The elements of a loss of one term, which both backends agree on, and its value.
fn elements(text: &str) -> (Table, f64) {
    let loss: Loss = text.parse().unwrap();
    let input = input(&SHAPE, 21);
    let oracle::Target::Labels(labels) = input.target else { panic!("labels") };
    let logits = Array3::from_shape_vec(SHAPE, input.logits.clone()).unwrap();
    let pixels = Array2::from_shape_vec((2, 8), labels.clone()).unwrap();
    let target = Target::labels(pixels.view());
    let value = loss.value(logits.view(), &target).unwrap();
    let table = NdarrayLoss::elements(&loss, logits.view(), &target).unwrap().remove(0).unwrap();

    let device = Device::flex();
    let logits = Tensor::<3>::from_data(TensorData::new(input.logits, SHAPE), (&device, DType::F64));
    let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [2, 8]), (&device, DType::I64));
    assert_eq!(
        BurnLoss::elements(&loss, logits, &BurnTarget::labels(labels)).unwrap().remove(0).as_ref(),
        Some(&table),
        "{text}"
    );
    (table, value)
}

fn close(text: &str, a: f64, b: f64) {
    assert!((a - b).abs() < 1e-14, "{text}: {a} and {b}");
}

#[test]
fn a_mean_over_samples_and_classes() {
    for text in ["l1", "db", "dice(pooling=sample, absent=count)", "tversky(alpha=0.3, beta=0.7, pooling=sample)"] {
        let (table, value) = elements(text);
        assert_eq!((table.rows(), table.columns()), (2, 3), "{text}");
        close(text, value, table.values().iter().sum::<f64>() / 6.0);
        assert!(table.values().iter().any(|element| (element - value).abs() > 1e-3), "{text}: they differ");
    }
}

#[test]
fn a_mean_over_samples_of_sums_over_classes() {
    for text in ["kl", "ce(pooling=sample)", "focal(pooling=sample)"] {
        let (table, value) = elements(text);
        assert_eq!((table.rows(), table.columns()), (2, 3), "{text}");
        close(text, value, table.values().iter().sum::<f64>() / 2.0);
    }
}

#[test]
fn a_value_per_class_where_pooled_over_the_batch() {
    for text in ["dice", "jaccard(form=log)", "log_recall"] {
        let (table, value) = elements(text);
        assert_eq!((table.rows(), table.columns()), (1, 3), "{text}");
        close(text, value, table.values().iter().sum::<f64>() / 3.0);
    }
}

#[test]
fn shares_of_the_sum_where_the_divisor_is_pooled() {
    for text in ["ce", "ce(class_weights=[1, 2, 3])", "focal"] {
        let (table, value) = elements(text);
        assert_eq!((table.rows(), table.columns()), (2, 3), "{text}");
        close(text, value, table.values().iter().sum());
    }
}
