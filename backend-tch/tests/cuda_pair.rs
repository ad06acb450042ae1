//! What the shared suite cannot see of the kernels for CUDA: sizes, layouts, types, what is kept,
//! and what fails. They run on the CPU here.

mod shim;

use std::sync::Arc;

use backend_tch::cuda::{Compiler, Failure, Kernel, Kernels, Launcher, evaluate_by, forward_by};
use backend_tch::{Path, TchLoss, TchTarget};
use loss_core::expr::{Expr, Scalar};
use loss_core::{Activation, AllRegions, Evaluation, Loss, LossError, Map, Temperature, Unsplit, unsplit};
use shim::Shim;
use tch::{Device, Kind, Tensor};

fn loss(text: &str) -> Loss {
    text.parse().unwrap()
}

/// Two temperatures, logarithms, a pixel function, and an ignored label.
fn mixed() -> Loss {
    loss("ce(label_smoothing=0.1) + 0.5 * focal + dice + 0.1 * l1").with_ignore_index(255)
}

/// Numbers that look random, from -1 to 1.
fn numbers(shape: &[i64], seed: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    ((Tensor::arange(count, (Kind::Double, Device::Cpu)) * 12.9898 + seed).sin() * 43.758).sin().reshape(shape)
}

fn logits(shape: &[i64], kind: Kind) -> Tensor {
    (numbers(shape, 1.0) * 3.0).to_kind(kind)
}

/// Labels for logits of a shape, some of them ignored.
fn labels(shape: &[i64]) -> Tensor {
    let plain = [&shape[..1], &shape[2..]].concat();
    let labels = ((numbers(&plain, 0.25) + 1.0) * 0.499 * shape[1].max(2) as f64).to_kind(Kind::Int64);
    labels.masked_fill(&numbers(&plain, 7.0).lt(-0.8), 255)
}

fn number(tensor: &Tensor) -> f64 {
    tensor.double_value(&[])
}

type Forward<'a> = &'a dyn Fn(&Tensor) -> Result<Evaluation<Tensor>, LossError>;

/// The total and its gradient.
fn run(forward: Forward<'_>, logits: &Tensor) -> (f64, Tensor) {
    let logits = logits.detach().set_requires_grad(true);
    let out = forward(&logits).unwrap();
    out.total.backward();
    (number(&out.total), logits.grad())
}

/// The kernels have the CPU's total and gradient.
fn agree(compiler: &Compiler, loss: &Loss, logits: &Tensor, target: &TchTarget, name: &str) {
    let (want, want_gradient) = run(&|logits| loss.forward_by(Path::Fused, logits, target), logits);
    let (got, gradient) = run(&|logits| forward_by(compiler, loss, logits, target), logits);
    // Both may be off by what the suite allows.
    let roundings = 2.0 * (13 + logits.size()[1]) as f64;
    let (allowed, rounding) = match logits.kind() {
        Kind::Double => (1e-12, 0.0),
        Kind::Float => (roundings * 2f64.powi(-24), 0.0),
        Kind::Half => (roundings * 2f64.powi(-24), 2f64.powi(-10)),
        _ => (roundings * 2f64.powi(-24), 2f64.powi(-7)),
    };
    assert!((got - want).abs() <= allowed * want.abs().max(1.0), "{name}: {got}, not {want}");
    let largest = |tensor: &Tensor| number(&tensor.to_kind(Kind::Double).abs().max());
    let (off, scale) = (largest(&(&gradient - &want_gradient)), largest(&want_gradient));
    assert!(off <= (allowed + rounding) * scale, "{name}: gradients off by {off} of {scale}");
}

#[test]
fn blocks_and_threads_that_do_not_come_out_even_miss_nothing() {
    let compiler = [1, 3, 100].map(Shim::compiler);
    for pixels in [1, 2, 31, 33, 63, 64, 65, 129, 513, 2500] {
        for (samples, classes) in [(1, 3), (3, 2)] {
            let shape = [samples, classes, pixels];
            let (logits, target) = (logits(&shape, Kind::Float), TchTarget::labels(&labels(&shape)));
            for (i, compiler) in compiler.iter().enumerate() {
                agree(compiler, &mixed(), &logits, &target, &format!("{shape:?}, compiler {i}"));
            }
        }
    }
    // A thread of the only block adds up in double several times.
    let shape = [1, 3, 64 * 32 * 3 + 17];
    agree(&compiler[0], &mixed(), &logits(&shape, Kind::Float), &TchTarget::labels(&labels(&shape)), "several runs");
}

#[test]
fn any_number_of_classes_is_read_once_or_in_parts() {
    let compiler = Shim::compiler(5);
    for classes in [1, 2, 5, 8, 13, 20, 31, 32, 33, 64, 150] {
        let shape = [2, classes, 9, 17];
        let soft = TchTarget::soft(&numbers(&shape, 5.0).softmax(1, Kind::Double));
        for kind in [Kind::Float, Kind::Double, Kind::BFloat16] {
            let logits = logits(&shape, kind);
            for activation in [Activation::Softmax, Activation::Sigmoid] {
                if classes == 1 && activation == Activation::Softmax {
                    continue;
                }
                let loss = mixed().with_activation(activation);
                let name = format!("{classes} classes, {kind:?}, {activation}");
                agree(&compiler, &loss, &logits, &TchTarget::labels(&labels(&shape)), &name);
                agree(&compiler, &loss, &logits, &soft, &format!("{name}, soft"));
            }
        }
    }
}

#[test]
fn logits_and_targets_of_any_strides_have_the_same_bits() {
    let compiler = Shim::compiler(5);
    let shape = [2, 3, 12, 14];
    let (logits, labels, weights) = (logits(&shape, Kind::Float), labels(&shape), numbers(&[2, 12, 14], 3.0).abs());
    let (a, b) = (numbers(&shape, 4.0), numbers(&[2, 1, 12, 14], 5.0));
    let all = mixed() + unsplit(Mapped).with_ignore_index(255);
    let go = |order: &dyn Fn(&Tensor) -> Tensor, flat: &dyn Fn(&Tensor) -> Tensor| {
        let target = TchTarget::labels(&flat(&labels)).weights(&flat(&weights)).map("a", &order(&a)).map("b", &order(&b));
        run(&|logits| forward_by(&compiler, &all, logits, &target), &order(&logits))
    };
    let want = go(&Tensor::shallow_clone, &Tensor::shallow_clone);
    // Channels last and samples last are read as they lie; a transposed plane is copied.
    let last = |tensor: &Tensor| tensor.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
    let samples = |tensor: &Tensor| tensor.transpose(0, -1).contiguous().transpose(0, -1);
    let planes = |tensor: &Tensor| tensor.transpose(-2, -1).contiguous().transpose(-2, -1);
    assert_eq!(go(&last, &Tensor::shallow_clone), want);
    assert_eq!(go(&samples, &samples), want);
    assert_eq!(go(&planes, &planes), want);
    // One for the sums, one for the algebra.
    assert_eq!(compiler.compiled(), 2);
    // Zeros without memory, and a view whose sign is kept apart.
    let zeros = Tensor::internal_efficientzerotensor(shape, (Kind::Float, Device::Cpu));
    let target = TchTarget::labels(&labels);
    let total = |logits: &Tensor| number(&forward_by(&compiler, &mixed(), logits, &target).unwrap().total);
    assert_eq!(total(&zeros), total(&logits.zeros_like()));
    let negative = Tensor::complex(&logits, &-&logits).conj().imag();
    assert_eq!(total(&negative), total(&logits));
}

/// Sums times two maps: of a channel for each class, and of one for all.
struct Mapped;

impl Unsplit for Mapped {
    fn value(&self, regions: &AllRegions) -> Expr<Scalar> {
        let sums = ["a", "b"].map(|name| {
            let by = regions.times(&Map::given(name));
            let sums = by.sizes().predicted_size(Temperature::TEN) + 2.0 * by.inside().intersection(Temperature::ONE)
                - by.inside().log_likelihood(loss_core::backend::Side::Region)
                + 3.0 * by.squared_mass()
                + by.target_size();
            sums + regions.map_size(&Map::given(name))
        });
        let [a, b] = sums;
        ((a + b).ratio(&regions.valid_size())).sum_classes().sum_samples()
    }
}

#[test]
fn every_type_of_target_weights_and_maps_is_read() {
    let compiler = Shim::compiler(5);
    let shape = [2, 3, 5, 7];
    let logits = logits(&shape, Kind::Float);
    let all = mixed() + unsplit(Mapped).with_ignore_index(255);
    let classes = labels(&shape).clamp(0, 2);
    let value = |target: TchTarget| run(&|logits| forward_by(&compiler, &all, logits, &target), &logits);
    let (a, b) = ((numbers(&shape, 4.0) * 2.0).round(), (numbers(&[2, 1, 5, 7], 5.0) * 2.0).round());
    let with_maps = |target: TchTarget, kind| target.map("a", &a.to_kind(kind)).map("b", &b.to_kind(kind));
    let want = value(with_maps(TchTarget::labels(&classes), Kind::Double));
    for kind in [Kind::Uint8, Kind::Int8, Kind::Int16, Kind::Int] {
        let target = with_maps(TchTarget::labels(&classes.to_kind(kind)), Kind::Float);
        assert_eq!(value(target.weights(&Tensor::ones([2, 5, 7], (kind, Device::Cpu)))), want, "{kind:?}");
    }
    for kind in [Kind::Half, Kind::BFloat16, Kind::Int8, Kind::Int64] {
        assert_eq!(value(with_maps(TchTarget::labels(&classes), kind)), want, "maps of {kind:?}");
    }
    let masks = classes.one_hot(3).permute([0, 3, 1, 2]);
    let want = value(with_maps(TchTarget::soft(&masks.to_kind(Kind::Double)), Kind::Double));
    for kind in [Kind::Bool, Kind::Float, Kind::Half, Kind::BFloat16, Kind::Uint8] {
        assert_eq!(value(with_maps(TchTarget::soft(&masks.to_kind(kind)), Kind::Double)), want, "shares of {kind:?}");
    }
    // Every number of half precision, the smallest and those that are none included.
    let halves = Tensor::arange(1 << 16, (Kind::Int, Device::Cpu)).to_kind(Kind::Int16);
    for kind in [Kind::Half, Kind::BFloat16] {
        let numbers = halves.view_dtype(kind);
        let finite = numbers.isfinite().to_kind(Kind::Float);
        let shares = numbers.to_kind(Kind::Double).clamp(-4.0, 4.0).nan_to_num(0.0, 0.0, 0.0).reshape([1, 1, -1]);
        let target = || TchTarget::soft(&shares.zeros_like()).weights(&finite.reshape([1, -1]));
        let loss = unsplit(Total).with_activation(Activation::Sigmoid);
        let given = |map: &Tensor| number(&forward_by(&compiler, &loss, &shares, &target().map("a", map)).unwrap().total);
        let map = numbers.reshape([1, 1, -1]);
        assert_eq!(given(&map), given(&map.to_kind(Kind::Double)), "{kind:?}");
    }
}

/// Σ w map + Σ w p map.
struct Total;

impl Unsplit for Total {
    fn value(&self, regions: &AllRegions) -> Expr<Scalar> {
        let by = regions.times(&Map::given("a"));
        (regions.map_size(&Map::given("a")) + by.sizes().predicted_size(Temperature::ONE)).sum_classes().sum_samples()
    }
}

#[test]
fn the_same_input_has_the_same_bits_in_whatever_order_threads_run() {
    let compiler = Shim::compiler(9);
    for classes in [3, 40] {
        let shape = [2, classes, 700];
        let (logits, target) = (logits(&shape, Kind::Float), TchTarget::labels(&labels(&shape)));
        let go = || run(&|logits| forward_by(&compiler, &mixed(), logits, &target), &logits);
        let want = go();
        for _ in 0..4 {
            assert_eq!(go(), want, "{classes} classes");
        }
    }
}

/// Parts of the kernels, each once in a source, and what is wrong in their place.
const FAULTS: [(&str, &str); 11] = [
    // Threads that do not wait for each other: before rows are added up, and after.
    ("__syncthreads();\n    const int lane", "const int lane"),
    ("        }\n    }\n    __syncthreads();\n}", "        }\n    }\n}"),
    ("= x;\n    __syncthreads();\n    if (threadIdx.x == 0)", "= x;\n    if (threadIdx.x == 0)"),
    ("    }\n    __syncthreads();\n    for (long long start", "    }\n    for (long long start"),
    // Lanes and blocks that are left out or counted twice.
    ("int offset = 16;", "int offset = 8;"),
    ("block = threadIdx.x % 32; block < a.blocks", "block = threadIdx.x % 32; block + 1 < a.blocks"),
    ("*to = again ? *to + sum : sum;", "*to = sum;"),
    // Wrong numbers.
    ("? -others : out[k]", "? others : out[k]"),
    ("1 / (1 + rest[t])", "1 / rest[t]"),
    ("if (is_logarithm(i)) sum *= LOGARITHMS_IN;", ""),
    ("own_sums[i * THREADS + thread] = 0;\n            }\n            run = 0;", ";\n            }\n            run = 0;"),
];

#[test]
fn a_fault_in_the_kernels_is_seen() {
    // A thread adds up in double twice.
    let shape = [9, 3, 64 * 32 * 3];
    let (logits, target) = (logits(&shape, Kind::Float), TchTarget::labels(&labels(&shape)));
    // Every number that can be wrong: statistics of either kind, and the gradient.
    let loss = loss("ce + dice + l1").with_ignore_index(255);
    let go = |compiler: &Compiler| run(&|logits| forward_by(compiler, &loss, logits, &target), &logits);
    let (want, want_gradient) = go(&Shim::compiler(2));
    for fault in FAULTS {
        let (got, gradient) = go(&Compiler::new(Box::new(Shim { blocks: 2, fault: Some(fault) })));
        let off = number(&(&gradient - &want_gradient).abs().max());
        let same = (got - want).abs() < 1e-9 && off < 1e-9 * number(&want_gradient.abs().max());
        assert!(!same, "{fault:?}");
    }
}

#[test]
fn a_source_is_compiled_once() {
    let compiler = Shim::compiler(2);
    let shape = [2, 3, 4, 5];
    let target = TchTarget::labels(&labels(&shape));
    let go = |text: &str, kind, shape: &[i64]| {
        let target = TchTarget::labels(&labels(shape));
        forward_by(&compiler, &loss(text), &logits(shape, kind), &target).unwrap();
        compiler.compiled()
    };
    // With the algebra, which is the same for all.
    assert_eq!(go("ce + dice", Kind::Float, &shape), 2);
    // Another shape, another weight of a term, another order of sums over classes: the same sums.
    assert_eq!(go("ce + dice", Kind::Float, &[1, 3, 9]), 2);
    assert_eq!(go("ce + 0.5 * dice", Kind::Float, &shape), 2);
    assert_eq!(go("ce + dice", Kind::Half, &shape), 3);
    assert_eq!(go("ce + dice", Kind::Float, &[2, 4, 5]), 4);
    assert_eq!(go("ce + dice + l1", Kind::Float, &shape), 5);
    // Several threads that ask for the same.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| go("ce + dice + l1", Kind::Float, &shape));
        }
    });
    assert_eq!(compiler.compiled(), 5);
    let value = evaluate_by(&compiler, &mixed(), &logits(&shape, Kind::Float), &target).unwrap().total;
    let want = mixed().evaluate(&logits(&shape, Kind::Float), &target).unwrap().total;
    assert!((value - want).abs() < 1e-6, "{value}, not {want}");
}

#[test]
fn statistics_that_are_too_many_for_one_block_go_through_operations() {
    // What the recorded arrays take is more than the kernel has room for.
    let shape = [200, 30, 2];
    let (logits, target) = (logits(&shape, Kind::Double), TchTarget::labels(&labels(&shape)));
    let compiler = Shim::compiler(5);
    agree(&compiler, &mixed(), &logits, &target, "many statistics");
    assert_eq!(compiler.compiled(), 1);
}

#[test]
fn without_a_gradient_none_is_computed() {
    let compiler = Shim::compiler(2);
    let shape = [2, 3, 4, 5];
    let target = TchTarget::labels(&labels(&shape));
    let plain = logits(&shape, Kind::Float);
    let out = forward_by(&compiler, &mixed(), &plain, &target).unwrap();
    assert!(!out.total.requires_grad());
    let tracked = plain.set_requires_grad(true);
    assert!(!tch::no_grad(|| forward_by(&compiler, &mixed(), &tracked, &target)).unwrap().total.requires_grad());
}

#[test]
fn what_a_device_cannot_name_is_nan_or_no_class() {
    let compiler = Shim::compiler(2);
    let shape = [2, 3, 4, 5];
    let (plain, classes) = (logits(&shape, Kind::Float), labels(&shape).clamp(0, 2));
    let total = |logits: &Tensor, labels: &Tensor| {
        number(&forward_by(&compiler, &loss("dice"), logits, &TchTarget::labels(labels)).unwrap().total)
    };
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let logits = plain.copy();
        let _ = logits.get(1).get(2).get(3).get(4).fill_(bad);
        assert!(total(&logits, &classes).is_nan(), "{bad}");
    }
    for bad in [-1, 3, i64::MAX, i64::MIN] {
        let labels = classes.copy();
        let _ = labels.get(1).get(2).get(3).fill_(bad);
        assert!(total(&plain, &labels).is_finite(), "{bad}");
    }
}

/// Fails where it is told to.
struct Failing {
    compiles: bool,
}

impl Launcher for Failing {
    fn name(&self) -> &'static str {
        "CUDA"
    }

    fn threads(&self) -> usize {
        64
    }

    fn blocks(&self) -> usize {
        1
    }

    fn compile(&self, _: &str, _: &[Kernel]) -> Result<Arc<dyn Kernels>, Failure> {
        if self.compiles { Ok(Arc::new(Self { compiles: true })) } else { Err("no such architecture".into()) }
    }
}

impl Kernels for Failing {
    #[allow(unsafe_code)]
    unsafe fn launch(&self, kernel: Kernel, _: u32, _: &[u64]) -> Result<(), Failure> {
        Err(format!("{} was not launched", kernel.name()).into())
    }
}

#[test]
fn what_fails_is_an_error_with_its_source_and_nothing_is_kept() {
    let shape = [2, 3, 4, 5];
    let (logits, target) = (logits(&shape, Kind::Float), TchTarget::labels(&labels(&shape)));
    let error = |compiles| {
        let compiler = Compiler::new(Box::new(Failing { compiles }));
        let error = forward_by(&compiler, &mixed(), &logits, &target).unwrap_err();
        assert!(matches!(error, LossError::Backend { backend: "CUDA", .. }));
        assert!(std::error::Error::source(&error).is_some());
        assert_eq!(compiler.compiled(), usize::from(compiles));
        error.to_string()
    };
    assert_eq!(error(false), "CUDA failed in compiling kernels: no such architecture");
    assert_eq!(error(true), "CUDA failed in launching a kernel: sum_pixels was not launched");
}

#[test]
fn a_plan_that_is_too_large_for_the_kernels_is_refused() {
    let shape = [1, 3, 8];
    let (logits, target) = (logits(&shape, Kind::Float), TchTarget::labels(&labels(&shape)));
    let many = (1..=40).map(|t| loss(&format!("l1(temperature={t})"))).reduce(|a, b| a + b).unwrap().with_ignore_index(255);
    let error = forward_by(&Shim::compiler(1), &many, &logits, &target).unwrap_err().to_string();
    let text = "the fused path: a plan of 42 statistics and 0 maps is not supported; expected a plan that its kernels can \
                compute, or Path::Operations";
    assert_eq!(error, text);
}
