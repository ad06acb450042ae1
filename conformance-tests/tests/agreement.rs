//! Backends among themselves: every pair, on every case.

use conformance_tests::adapters::{BurnFused, BurnOperations, Ndarray};
use conformance_tests::agreement::{Pair, agreement};
use conformance_tests::suite::{Selection, Subject, tests};
use conformance_tests::{Adapter, Dtype, Input, Output};
use loss_core::{Evaluation, Loss, LossError};

/// `backend-ndarray` with the largest number of its gradient off by a thousandth.
struct Off;

impl Adapter for Off {
    fn name(&self) -> &'static str {
        "off"
    }

    fn value_and_gradient(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Output, LossError> {
        let mut output = Ndarray.value_and_gradient(loss, input, dtype)?;
        if let Some(largest) = output.gradient.iter_mut().max_by(|a, b| a.abs().total_cmp(&b.abs())) {
            *largest *= 1.0 + 1e-3;
        }
        Ok(output)
    }

    fn evaluate(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Evaluation, LossError> {
        Ndarray.evaluate(loss, input, dtype)
    }
}

/// Refuses f16, panics on bf16, and does not read f64.
struct Absent;

impl Adapter for Absent {
    fn name(&self) -> &'static str {
        "absent"
    }

    fn supports(&self, dtype: Dtype) -> bool {
        dtype != Dtype::F64
    }

    fn value_and_gradient(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Output, LossError> {
        match dtype {
            Dtype::F16 => Err("nonsense".parse::<Loss>().unwrap_err()),
            Dtype::Bf16 => panic!("no bf16 here"),
            _ => Ndarray.value_and_gradient(loss, input, dtype),
        }
    }

    fn evaluate(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Evaluation, LossError> {
        Ndarray.evaluate(loss, input, dtype)
    }
}

fn cases(adapter: &dyn Adapter, of: impl Fn(Dtype) -> bool) -> usize {
    let case = |subject: &Subject| matches!(subject, Subject::Case(about) if of(about.dtype));
    tests(adapter).iter().filter(|test| case(&test.subject)).count()
}

#[test]
fn every_pair_agrees_on_every_case() {
    #[cfg(feature = "tch")]
    let tch = conformance_tests::adapters::Tch::here();
    #[cfg(not(feature = "tch"))]
    let tch: &[&dyn Adapter] = &[];
    let adapters = [&[&Ndarray as &dyn Adapter, &BurnFused, &BurnOperations], tch].concat();
    let pairs = agreement(&adapters, &Selection::default()).unwrap();
    assert_eq!(pairs.len(), adapters.len() * (adapters.len() - 1) / 2);
    for pair in pairs {
        let worst = pair.worst.as_ref().unwrap();
        println!("{pair}: {} cases, {worst}: {}", pair.cases, worst.measured);
        assert!(pair.disagreements.is_empty(), "{pair}: {:#?}", pair.disagreements);
        assert_eq!(pair.cases, cases(&Ndarray, |_| true));
    }
}

#[test]
fn a_wrong_gradient_is_found() {
    let selection = |dtypes: &[Dtype]| Selection { loss: Some("dice".into()), dtypes: dtypes.to_vec(), quick: true };
    let apart = |selection| -> Pair { agreement(&[&Off, &Ndarray], &selection).unwrap().remove(0) };
    let pair = apart(selection(&[Dtype::F64, Dtype::F32]));
    let worst = pair.worst.unwrap();
    assert!(worst.measured.over() && worst.measured.what == "gradient" && worst.about.dtype == Dtype::F64, "{worst}");
    assert!(worst.measured.error <= 1e-3, "{worst}");
    // All but where a gradient is zero, or next to nothing before it cancels.
    assert!(2 * pair.disagreements.len() > pair.cases, "{} of {}", pair.disagreements.len(), pair.cases);
    assert!(pair.disagreements[0].message.starts_with("gradient: at "), "{:?}", pair.disagreements[0]);
    // Half precision rounds by as much.
    assert!(apart(selection(&[Dtype::Bf16])).disagreements.is_empty());
}

#[test]
fn a_backend_that_gives_nothing_disagrees() {
    let selection = Selection { loss: Some("LogDice".into()), ..Selection::default() };
    let pair = agreement(&[&Ndarray, &Absent], &selection).unwrap().remove(0);
    let messages = |dtype: Dtype| pair.disagreements.iter().filter(move |d| d.test.ends_with(&format!("/{dtype}")));
    assert_eq!((messages(Dtype::F64).count(), messages(Dtype::F32).count()), (0, 0));
    assert!(messages(Dtype::F16).count() > 10 && messages(Dtype::F16).all(|d| d.message.starts_with("absent gives none: ")));
    assert!(messages(Dtype::Bf16).all(|d| d.message == "absent gives none: it panics: no bf16 here"));
    assert_eq!(pair.disagreements.len(), messages(Dtype::F16).count() + messages(Dtype::Bf16).count());
    assert!(pair.cases > 10);
}
