//! Every way of asking gives the same numbers, and what is wrong with the input is found on
//! request.

use backend_burn::{BurnLoss, BurnTarget, Path};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use loss_core::expr::{Expr, Scalar};
use loss_core::{AllRegions, Argument, Loss, LossError, Map, Side, Temperature, Unsplit, unsplit};

const SHAPE: [usize; 3] = [2, 3, 8];

fn logits(change: impl FnOnce(&mut [f64])) -> Tensor<3> {
    let mut values: Vec<f64> = (0..48).map(|i| f64::from(7 * i % 11) / 4.0 - 1.0).collect();
    change(&mut values);
    Tensor::from_data(TensorData::new(values, SHAPE), (&Device::flex(), DType::F64))
}

fn labels(change: impl FnOnce(&mut [i64])) -> BurnTarget {
    let mut labels: Vec<i64> = (0..16).map(|i| (i + i / 5) % 3).collect();
    change(&mut labels);
    BurnTarget::labels(Tensor::<2, Int>::from_data(TensorData::new(labels, [2, 8]), (&Device::flex(), DType::I64)))
}

#[test]
fn every_call_gives_the_same_numbers() {
    let loss: Loss = "ce(pooling=sample) + 0.5 * dice + 0.1 * gdice".parse().unwrap();
    let (logits, target) = (logits(|_| {}), labels(|_| {}));
    let evaluation = loss.evaluate(logits.clone(), &target).unwrap();
    let close = |what: &str, a: f64, b: f64| assert!((a - b).abs() < 1e-13, "{what}: {a} and {b}");
    for path in [Path::Fused, Path::Operations] {
        let out = loss.forward_by(path, logits.clone(), &target).unwrap();
        close("total", out.total.into_scalar::<f64>(), evaluation.total);
        for (term, at) in out.terms.into_iter().zip(&evaluation.terms) {
            let (parts, wanted) = (term.split.unwrap(), at.split.clone().unwrap());
            assert_eq!((&term.name, term.role, term.weight, parts.of), (&at.name, at.role, at.weight, wanted.of));
            close(&term.name, term.value.into_scalar::<f64>(), at.value);
            for (tensor, number) in
                [(parts.matching, wanted.matching), (parts.size, wanted.size), (parts.constant, wanted.constant)]
            {
                close(&term.name, tensor.into_scalar::<f64>(), number);
            }
        }
    }
    assert_eq!(loss.path(&logits, &target).unwrap(), Path::Fused);
    let elements = loss.elements(logits, &target).unwrap();
    assert_eq!((elements.len(), &elements[2]), (3, &None));
    // A mean over samples of sums over classes, and a mean over classes pooled over the batch.
    for (term, of) in [(0, 2.0), (1, 3.0)] {
        let sum: f64 = elements[term].iter().flat_map(|table| table.values()).sum();
        close("elements", sum / of, evaluation.terms[term].value);
    }
}

#[test]
fn validate_names_what_is_wrong() {
    let loss = "ce".parse::<Loss>().unwrap().with_ignore_index(255);
    loss.validate(logits(|_| {}), &labels(|_| {})).unwrap();
    // What is ignored may be anything.
    loss.validate(logits(|z| z[8 + 3] = f64::NAN), &labels(|l| l[3] = 255)).unwrap();
    let error = loss.validate(logits(|_| {}), &labels(|l| l[9] = 3)).unwrap_err();
    assert!(matches!(&error, LossError::LabelOutOfRange { label: 3, classes: 3, position } if *position == [1, 1]), "{error}");
    let error = loss.validate(logits(|z| z[8 + 3] = f64::INFINITY), &labels(|_| {})).unwrap_err();
    assert!(matches!(&error, LossError::NonFiniteLogit { position, .. } if *position == [0, 1, 3]), "{error}");
    let soft = |value: f64| {
        let mut shares = vec![1.0 / 3.0; 48];
        // Of the pixel 4 only class 2.
        (shares[4], shares[12], shares[20]) = (0.0, 0.0, value);
        BurnTarget::soft(Tensor::<3>::from_data(TensorData::new(shares, SHAPE), (&Device::flex(), DType::F64)))
    };
    loss.validate(logits(|_| {}), &soft(1.0)).unwrap();
    let error = loss.validate(logits(|_| {}), &soft(1.5)).unwrap_err();
    assert!(matches!(&error, LossError::ValueOutOfRange { position, .. } if *position == [0, 2, 4]), "{error}");
    let error = loss.validate(logits(|_| {}), &soft(0.5)).unwrap_err();
    assert!(matches!(&error, LossError::SharesSum { sum: 0.5, position, .. } if *position == [0, 4]), "{error}");
    let weights = |value: f64| {
        let mut weights = vec![1.0; 16];
        weights[11] = value;
        Tensor::<2>::from_data(TensorData::new(weights, [2, 8]), (&Device::flex(), DType::F64))
    };
    loss.validate(logits(|_| {}), &labels(|_| {}).weights(weights(0.0))).unwrap();
    let error = loss.validate(logits(|_| {}), &labels(|_| {}).weights(weights(-1.0))).unwrap_err();
    assert!(matches!(&error, LossError::ValueOutOfRange { position, .. } if *position == [1, 3]), "{error}");
    let short = BurnTarget::labels(Tensor::<2, Int>::zeros([2, 7], &Device::flex()));
    assert!(matches!(loss.validate(logits(|_| {}), &short), Err(LossError::ShapeMismatch { .. })));
}

/// Masses, likelihoods and squares, each times the map `weight`.
struct Mapped;

impl Unsplit for Mapped {
    fn value(&self, regions: &AllRegions) -> Expr<Scalar> {
        let with = regions.times(&Map::given("weight"));
        let mass = with.sizes().predicted_size(Temperature::ONE) + with.inside().intersection(Temperature::TEN);
        let all = mass - with.inside().log_likelihood(Side::Region) + with.squared_mass() + with.target_size();
        all.ratio(&regions.valid_size()).sum_classes().sum_samples()
    }
}

#[test]
fn maps_are_read_on_both_paths() {
    let loss = (unsplit(Mapped) + "ce".parse::<Loss>().unwrap()).with_ignore_index(255);
    let target = labels(|l| l[3] = 255);
    let map = |channels: usize, change: &dyn Fn(&mut [f64])| {
        let mut values: Vec<f64> = (0..16 * channels).map(|i| (5 * i % 13) as f64 / 4.0 - 1.5).collect();
        change(&mut values);
        Tensor::<3>::from_data(TensorData::new(values, [2, channels, 8]), (&Device::flex(), DType::F64))
    };
    for channels in [1, 3] {
        // What is ignored may be anything.
        let target = target.clone().map("weight", map(channels, &|m| m[3] = f64::NAN));
        let got = [Path::Fused, Path::Operations].map(|path| {
            let logits = logits(|_| {}).autodiff().require_grad();
            let out = loss.forward_by(path, logits.clone(), &target).unwrap();
            let gradient = logits.grad(&out.total.backward()).unwrap().into_data().try_into_vec::<f64>().unwrap();
            (out.total.into_scalar::<f64>(), gradient)
        });
        let [(fused, gradient), (operations, other)] = got;
        assert!(fused.is_finite() && (fused - operations).abs() < 1e-12, "{fused} and {operations}");
        assert!(gradient.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-13), "{gradient:?}\n{other:?}");
        let error = loss.validate(logits(|_| {}), &target.map("weight", map(channels, &|m| m[4] = f64::NAN))).unwrap_err();
        assert!(matches!(error, LossError::ValueOutOfRange { what: Argument::Map, .. }), "{error}");
    }
    for path in [Path::Fused, Path::Operations] {
        let error = loss.forward_by(path, logits(|_| {}), &target).unwrap_err();
        assert_eq!(error.to_string(), "the loss reads the map `weight`, and the target has none");
        let error = loss.forward_by(path, logits(|_| {}), &target.clone().map("weight", map(2, &|_| {}))).unwrap_err();
        assert!(matches!(error, LossError::ShapeMismatch { what: Argument::Map, .. }), "{error}");
    }
}
