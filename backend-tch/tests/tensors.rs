//! What the shared suite cannot see: the tape, the choice of the path, types, layouts and bad
//! tensors.

use std::error::Error;
use std::io::Write;

use backend_tch::{Path, TchLoss, TchTarget};
use loss_core::{Activation, Loss, LossError};
use tch::{Device, Kind, Tensor};

const PATHS: [Path; 2] = [Path::Fused, Path::Operations];

fn loss(text: &str) -> Loss {
    text.parse().unwrap()
}

fn mixed() -> Loss {
    loss("ce + 0.5 * focal + dice + 0.1 * l1").with_ignore_index(255)
}

/// Logits `[2, 3, 4, 5]` that need a gradient, and labels, some of them ignored.
fn input(kind: Kind) -> (Tensor, Tensor) {
    let numbers: Vec<f64> = (0..120).map(|i| f64::from((i * 37 + 11) % 101) / 25.0 - 2.0).collect();
    let labels: Vec<i64> = (0..40).map(|i| if i % 7 == 3 { 255 } else { i * 5 % 3 }).collect();
    let logits = Tensor::from_slice(&numbers).to_kind(kind).reshape([2, 3, 4, 5]).set_requires_grad(true);
    (logits, Tensor::from_slice(&labels).reshape([2, 4, 5]))
}

fn largest(tensor: &Tensor) -> f64 {
    tensor.to_kind(Kind::Double).abs().max().double_value(&[])
}

fn refused<T: std::fmt::Debug>(result: Result<T, LossError>, text: &str) {
    assert_eq!(result.unwrap_err().to_string(), text);
}

#[test]
fn the_path_follows_the_memory() {
    let (logits, _) = input(Kind::Float);
    assert_eq!(mixed().path(&logits).unwrap(), Path::Fused);
    let strided = logits.transpose(2, 3).contiguous().transpose(2, 3);
    assert_eq!(mixed().path(&strided).unwrap(), Path::Operations);
    // A part of a larger tensor is contiguous where it is in one piece.
    let whole = Tensor::cat(&[&logits, &logits], 0);
    assert_eq!(mixed().path(&whole.narrow(0, 1, 2)).unwrap(), Path::Fused);
    assert_eq!(mixed().path(&whole.slice(0, 0, 4, 2)).unwrap(), Path::Operations);
    // One value seen as many.
    let expanded = Tensor::zeros([2, 3, 1, 1], (Kind::Float, Device::Cpu)).expand([2, 3, 4, 5], false);
    assert_eq!(mixed().path(&expanded).unwrap(), Path::Operations);
}

#[test]
fn numbers_that_lie_apart_are_read_as_they_are() {
    let loss = loss("ce + dice").with_activation(Activation::Sigmoid);
    for count in [1, 2, 3, 8] {
        let numbers = (Tensor::arange(2 * count, (Kind::Float, Device::Cpu)) * 0.7 - 2.0).reshape([1, 1, 2 * count]);
        let labels = Tensor::arange(2 * count, (Kind::Int64, Device::Cpu)).remainder(2).reshape([1, 2 * count]);
        // Every second one: seen as one axis, of stride 2.
        let (logits, labels) = (numbers.slice(2, 0, None, 2), labels.slice(1, None, None, 2));
        let want = loss.forward(&logits.copy(), &TchTarget::labels(&labels.copy())).unwrap();
        let got = loss.forward(&logits, &TchTarget::labels(&labels)).unwrap();
        let (got, want) = (got.total.double_value(&[]), want.total.double_value(&[]));
        assert!((got - want).abs() < 1e-6, "{count}: {got}, not {want}");
    }
}

#[test]
fn a_view_with_its_sign_kept_apart_is_read_with_its_sign() {
    let (logits, labels) = input(Kind::Float);
    let target = TchTarget::labels(&labels);
    let want = mixed().forward(&logits, &target).unwrap().total.double_value(&[]);
    let negated = logits.detach().neg().internal_neg_view();
    assert!(negated.is_neg());
    assert_eq!(mixed().path(&negated).unwrap(), Path::Operations);
    for path in PATHS {
        let got = mixed().forward_by(path, &negated, &target).unwrap().total.double_value(&[]);
        assert!((got - want).abs() < 1e-6, "{path:?}: {got}, not {want}");
    }
}

#[test]
fn both_paths_agree() {
    for kind in [Kind::Double, Kind::Float, Kind::Half, Kind::BFloat16] {
        for activation in [Activation::Softmax, Activation::Sigmoid] {
            let loss = mixed().with_activation(activation);
            let [fused, operations] = PATHS.map(|path| {
                let (logits, labels) = input(kind);
                let out = loss.forward_by(path, &logits, &TchTarget::labels(&labels)).unwrap();
                out.total.backward();
                (out.total.detach(), logits.grad())
            });
            let allowed = if kind == Kind::Double { 1e-14 } else { 1e-6 };
            let half = if kind == Kind::BFloat16 { 2f64.powi(-8) } else { 2f64.powi(-11) };
            let rounding = if matches!(kind, Kind::Half | Kind::BFloat16) { half } else { 0.0 };
            let scale = largest(&fused.1);
            assert!(largest(&(fused.0 - operations.0)) < 10.0 * allowed, "{kind:?} {activation}: totals");
            let off = largest(&(fused.1.to_kind(Kind::Double) - operations.1.to_kind(Kind::Double)));
            assert!(off <= (allowed + 2.0 * rounding) * scale, "{kind:?} {activation}: gradients off by {off} of {scale}");
        }
    }
}

#[test]
fn backward_runs_again_and_with_any_factor() {
    for path in PATHS {
        let (logits, labels) = input(Kind::Float);
        let target = TchTarget::labels(&labels);
        let out = mixed().forward_by(path, &logits, &target).unwrap();
        let want = Tensor::run_backward(&[&out.total], &[&logits], true, false).remove(0);
        assert!(largest(&want) > 0.0);
        // The same tape again: the same bits.
        let again = Tensor::run_backward(&[&out.total], &[&logits], true, false).remove(0);
        assert_eq!(again, want, "{path:?}");
        // A factor, before and after; a power of two so that nothing is rounded.
        let scaled = Tensor::run_backward(&[&out.total * -4.0], &[&logits], true, false).remove(0);
        assert_eq!(scaled, &want * -4.0, "{path:?}");
        // Gradients add up over calls, and flow on into what the logits were made of.
        out.total.backward();
        mixed().forward_by(path, &logits, &target).unwrap().total.backward();
        assert_eq!(logits.grad(), &want * 2.0, "{path:?}");
        let weight = Tensor::from(2.0f32).set_requires_grad(true);
        let made = logits.detach() * &weight;
        let out = mixed().forward_by(path, &made, &target).unwrap();
        // Beside another use of the same logits.
        (out.total + made.sum(Kind::Float)).backward();
        let own = made.detach().set_requires_grad(true);
        mixed().forward_by(path, &own, &target).unwrap().total.backward();
        let chain = ((own.grad() + 1.0) * logits.detach()).sum(Kind::Double).double_value(&[]);
        assert!((weight.grad().double_value(&[]) - chain).abs() < 1e-4 * chain.abs(), "{path:?}");
    }
}

#[test]
fn the_value_on_the_tape_is_the_value() {
    for path in PATHS {
        for kind in [Kind::Float, Kind::Half, Kind::Double] {
            let (logits, labels) = input(kind);
            let target = TchTarget::labels(&labels);
            let on_tape = mixed().forward_by(path, &logits, &target).unwrap().total;
            let off_tape = mixed().forward_by(path, &logits.detach(), &target).unwrap().total;
            assert!(on_tape.requires_grad() && !off_tape.requires_grad());
            assert_eq!(on_tape.double_value(&[]).to_bits(), off_tape.double_value(&[]).to_bits(), "{path:?} {kind:?}");
            assert_eq!(on_tape.size(), [0i64; 0]);
        }
    }
}

#[test]
fn ignored_pixels_get_exactly_nothing_whatever_they_hold() {
    for path in PATHS {
        for poison in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let (logits, labels) = input(Kind::Float);
            let ignored = labels.eq(255).unsqueeze(1);
            let poisoned = logits.detach().masked_fill(&ignored, poison).set_requires_grad(true);
            let out = mixed().forward_by(path, &poisoned, &TchTarget::labels(&labels)).unwrap();
            (&out.total * 3.0).backward();
            mixed().forward_by(path, &logits, &TchTarget::labels(&labels)).unwrap().total.backward();
            let zero = poisoned.grad().masked_select(&ignored.expand_as(&logits));
            assert!(zero.numel() > 0 && largest(&zero) == 0.0, "{path:?} {poison}");
            let off = largest(&(poisoned.grad() / 3.0 - logits.grad()));
            assert!(out.total.double_value(&[]).is_finite() && off < 1e-8, "{path:?} {poison}: off by {off}");
        }
    }
}

#[test]
fn half_precision_is_rounded_once_after_a_loss_scale() {
    // So many pixels that a gradient is below what half precision can hold, until it is scaled.
    for path in PATHS {
        let numbers: Vec<f32> = (0..2 * 40_000).map(|i| (i * 37 % 101) as f32 / 25.0 - 2.0).collect();
        let logits = Tensor::from_slice(&numbers).reshape([1, 2, 40_000]).to_kind(Kind::Half);
        let target = TchTarget::labels(&Tensor::zeros([1, 40_000], (Kind::Uint8, Device::Cpu)));
        let gradient = |kind: Kind, scale: f64| {
            let leaf = logits.copy().to_kind(kind).set_requires_grad(true);
            (loss("ce").forward_by(path, &leaf, &target).unwrap().total * scale).backward();
            leaf.grad()
        };
        let scale = 3.0 * 65536.0;
        let (half, exact) = (gradient(Kind::Half, scale), gradient(Kind::Float, scale));
        assert_eq!(half.kind(), Kind::Half);
        assert_eq!(half, exact.to_kind(Kind::Half), "{path:?}");
        assert!(largest(&gradient(Kind::Half, 1.0)) < 2f64.powi(-14), "{path:?}: these are subnormal");
    }
}

#[test]
fn without_a_gradient_there_is_a_value() {
    for path in PATHS {
        let (logits, labels) = input(Kind::Float);
        let target = TchTarget::labels(&labels);
        let out = mixed().forward_by(path, &logits.detach(), &target).unwrap();
        assert!(!out.total.requires_grad() && out.total.double_value(&[]).is_finite());
        assert!(out.total.f_backward().is_err());
        let inside = tch::no_grad(|| mixed().forward_by(path, &logits, &target).unwrap());
        assert!(!inside.total.requires_grad());
        assert_eq!(inside.total, out.total);
        // The mode is left as it was.
        assert!(mixed().forward_by(path, &logits, &target).unwrap().total.requires_grad());
    }
}

#[test]
fn terms_and_parts_are_values() {
    for path in PATHS {
        let (logits, labels) = input(Kind::Double);
        let out = loss("ce + 2 * logdice").forward_by(path, &logits, &TchTarget::labels(&labels.remainder(3))).unwrap();
        let number = |tensor: &Tensor| tensor.double_value(&[]);
        let weighted: f64 = out.terms.iter().map(|term| term.weight * number(&term.value)).sum();
        assert!((weighted - number(&out.total)).abs() < 1e-12);
        for term in &out.terms {
            let Some(split) = &term.split else { continue };
            let parts = number(&split.matching) + number(&split.size) + number(&split.constant);
            assert!((parts - number(&term.value)).abs() < 1e-12, "{path:?} {}", term.name);
            assert!(!term.value.requires_grad());
        }
    }
}

#[test]
fn elements_are_what_is_averaged() {
    let (logits, labels) = input(Kind::Double);
    let (loss, target) = (loss("l1").with_ignore_index(255), TchTarget::labels(&labels));
    let elements = loss.elements(&logits, &target).unwrap().remove(0).expect("a penalty per sample and class");
    assert_eq!((elements.rows(), elements.columns()), (2, 3));
    let mean = elements.values().iter().sum::<f64>() / 6.0;
    assert!((mean - loss.evaluate(&logits, &target).unwrap().total).abs() < 1e-14);
}

#[test]
fn targets_of_every_readable_type_are_the_same() {
    let (logits, labels) = input(Kind::Float);
    let (loss, labels) = (loss("ce + dice"), labels.remainder(2));
    let value = |path, labels: &Tensor| {
        let target = TchTarget::labels(labels).weights(&Tensor::ones([2, 4, 5], (Kind::Half, Device::Cpu)));
        loss.forward_by(path, &logits, &target).unwrap().total.double_value(&[])
    };
    for path in PATHS {
        for kind in [Kind::Uint8, Kind::Int8, Kind::Int16, Kind::Int, Kind::Bool] {
            assert_eq!(value(path, &labels.to_kind(kind)), value(path, &labels), "{path:?} {kind:?}");
        }
        // Multi-label masks as they come, and shares in half precision.
        let masks = logits.gt(0.0);
        let sigmoid = loss.clone().with_activation(Activation::Sigmoid);
        let soft = |masks: &Tensor| sigmoid.forward_by(path, &logits, &TchTarget::soft(masks)).unwrap().total.double_value(&[]);
        assert_eq!(soft(&masks), soft(&masks.to_kind(Kind::Float)), "{path:?}");
        assert_eq!(soft(&masks.to_kind(Kind::Half)), soft(&masks.to_kind(Kind::Double)), "{path:?}");
    }
}

#[test]
fn tensors_that_cannot_be_read_are_refused() {
    let (logits, labels) = input(Kind::Float);
    let target = TchTarget::labels(&labels);
    for path in PATHS {
        let run = |logits: &Tensor, target: &TchTarget| mixed().forward_by(path, logits, target);
        let floats = "expected Double, Float, Half or BFloat16";
        for kind in [Kind::ComplexFloat, Kind::ComplexDouble, Kind::Int64, Kind::Bool] {
            refused(run(&logits.detach().to_kind(kind), &target), &format!("logits: {kind:?} is not supported; {floats}"));
        }
        let quantised = logits.detach().quantize_per_tensor(0.1, 0, Kind::QInt8);
        refused(run(&quantised, &target), &format!("logits: QInt8 is not supported; {floats}"));
        let nothing = "an undefined tensor is not supported; expected a tensor with elements";
        refused(run(&Tensor::new(), &target), &format!("logits: {nothing}"));
        refused(run(&logits, &TchTarget::labels(&Tensor::new())), &format!("labels: {nothing}"));
        let text = "labels: Float is not supported; expected an integer type or Bool";
        refused(run(&logits, &TchTarget::labels(&labels.to_kind(Kind::Float))), text);
        let text = "soft targets: ComplexFloat is not supported; expected a real type";
        refused(run(&logits, &TchTarget::soft(&logits.detach().to_kind(Kind::ComplexFloat))), text);
        let weights = TchTarget::labels(&labels).weights(&labels.to_kind(Kind::ComplexFloat));
        refused(run(&logits, &weights), "pixel weights: ComplexFloat is not supported; expected a real type");
        let sparse = logits.detach().to_sparse_sparse_dim(4);
        refused(run(&sparse, &target), "logits: a sparse or opaque tensor is not supported; expected a dense tensor");
        let weights = TchTarget::labels(&labels).weights(&Tensor::ones([2, 5, 4], (Kind::Float, Device::Cpu)));
        let text = "pixel weights have shape [2, 5, 4], but logits of shape [2, 3, 4, 5] need [2, 4, 5]; the \
                    spatial axes seem to stand in the other order";
        refused(run(&logits, &weights), text);
        let scalar = Tensor::from(1.0f32);
        refused(run(&scalar, &TchTarget::soft(&scalar)), "logits need at least the axes [N, K], got shape []");
    }
}

#[test]
fn what_libtorch_refuses_is_an_error_with_its_source() {
    // A layout that no path reads, and that only LibTorch itself can tell.
    let rows = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 2.0]).reshape([2, 2]).to_sparse_csr(None::<i64>);
    let labels = TchTarget::labels(&Tensor::from_slice(&[0i64, 1]));
    for path in PATHS {
        let error = loss("ce").forward_by(path, &rows, &labels).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, LossError::Backend { backend: "LibTorch", .. }), "{path:?}: {text}");
        assert!(text.starts_with("LibTorch failed in ") && text.lines().count() == 1, "{path:?}: {text}");
        let source = error.source().and_then(Error::source).expect("LibTorch's own error");
        assert!(source.is::<tch::TchError>());
    }
}

#[test]
fn a_bad_label_is_named_on_both_paths_and_by_validate() {
    let (logits, labels) = input(Kind::Float);
    let bad = labels.copy();
    let _ = bad.get(1).get(2).get(3).fill_(7);
    let text = "label 7 at [1, 2, 3] is outside 0..3 and not ignored; `ignore=7` leaves its pixels out";
    for path in PATHS {
        refused(mixed().forward_by(path, &logits, &TchTarget::labels(&bad)), text);
    }
    refused(mixed().validate(&logits, &TchTarget::labels(&bad)), text);
    refused(mixed().evaluate(&logits, &TchTarget::labels(&bad)), text);
    mixed().validate(&logits, &TchTarget::labels(&labels)).unwrap();
}

#[test]
fn a_logit_that_is_not_finite_is_named_on_both_paths_and_by_validate() {
    for bad in [f64::NAN, f64::NEG_INFINITY] {
        let (logits, labels) = input(Kind::Float);
        let logits = logits.detach();
        let _ = logits.get(1).get(2).get(3).get(4).fill_(bad);
        let target = TchTarget::labels(&labels);
        let named = |result: Result<(), LossError>| match result.unwrap_err() {
            LossError::NonFiniteLogit { value, position } => {
                assert_eq!((value.to_string(), position), (bad.to_string(), vec![1, 2, 3, 4]));
            }
            other => panic!("{other}"),
        };
        for path in PATHS {
            named(mixed().forward_by(path, &logits, &target).map(|_| ()));
        }
        named(mixed().validate(&logits, &target));
    }
}

#[test]
fn on_cuda_the_path_says_whether_there_are_kernels() {
    if !tch::Cuda::is_available() {
        // Not `eprintln`, which the harness keeps back where a test passes.
        let _ =
            writeln!(std::io::stderr(), "on_cuda_the_path_says_whether_there_are_kernels: not run, there is no CUDA device");
        return;
    }
    let (logits, labels) = input(Kind::Float);
    let cuda = Device::Cuda(0);
    let (logits, target) = (logits.detach().to_device(cuda), TchTarget::labels(&labels.to_device(cuda)));
    let operations = mixed().forward_by(Path::Operations, &logits, &target).unwrap().total.double_value(&[]);
    match mixed().path(&logits).unwrap() {
        Path::Fused => {
            let fused = mixed().forward(&logits, &target).unwrap().total.double_value(&[]);
            assert!((fused - operations).abs() < 1e-6, "{fused}, not {operations}");
        }
        Path::Operations => {
            let error = mixed().forward_by(Path::Fused, &logits, &target).unwrap_err().to_string();
            assert!(error.starts_with("the fused path: a tensor on Cuda(0) ("), "{error}");
        }
    }
    let text = "labels: a tensor on Cpu, with logits on Cuda(0), is not supported; expected the device of the logits";
    refused(mixed().forward(&logits, &TchTarget::labels(&labels)), text);
}
