//! Sums times maps that come with the target: tensor operations against the kernels, and both
//! against LibTorch's autograd.

use std::io::Write;

use backend_tch::{Path, TchLoss, TchTarget};
use loss_core::expr::{Expr, Pixel, PixelFunction, Regions, Scalar};
use loss_core::{Activation, AllRegions, Evaluation, Loss, LossError, Map, Side, Temperature, Unsplit, unsplit};
use tch::{Device, Kind, Tensor};

const PATHS: [Path; 2] = [Path::Fused, Path::Operations];

/// A sum, of whatever map the regions are multiplied by.
type Sum = fn(&AllRegions) -> Expr<Regions>;

fn focal(log_p: Expr<Pixel>) -> Expr<Pixel> {
    -((-log_p.clone().exp_m1()).squared() * log_p)
}

fn squared(log_p: Expr<Pixel>) -> Expr<Pixel> {
    log_p.squared()
}

/// Every sum that softmax and sigmoid have.
const REGION: [Sum; 11] = [
    AllRegions::target_size,
    AllRegions::squared_target,
    |regions| regions.sizes().predicted_size(Temperature::TEN),
    |regions| regions.sizes().predicted_size(Temperature::ONE),
    |regions| regions.inside().intersection(Temperature::ONE),
    |regions| regions.inside().intersection(Temperature::new(0.5).unwrap()),
    AllRegions::squared_mass,
    |regions| regions.inside().log_likelihood(Side::Region),
    // With the sum of log p over all pixels.
    |regions| regions.inside().smoothed_log_likelihood(0.5, Side::Region),
    |regions| regions.inside().pixel_sum(&PixelFunction::new(focal), Side::Region),
    |regions| regions.inside().pixel_sum(&PixelFunction::new(squared), Side::Region),
];

/// What sigmoid has beside.
const BACKGROUND: [Sum; 7] = [
    |regions| regions.target_size_on(Side::Background),
    |regions| regions.sizes().predicted_size_on(Side::Background, Temperature::ONE),
    |regions| regions.sizes().predicted_size_on(Side::Background, Temperature::TEN),
    |regions| regions.inside().intersection_on(Side::Background, Temperature::ONE),
    |regions| regions.inside().log_likelihood(Side::Background),
    |regions| regions.inside().smoothed_log_likelihood(0.25, Side::Background),
    |regions| regions.inside().pixel_sum(&PixelFunction::new(focal), Side::Background),
];

fn sums(activation: Activation) -> Vec<Sum> {
    match activation {
        Activation::Softmax => REGION.to_vec(),
        Activation::Sigmoid => REGION.into_iter().chain(BACKGROUND).collect(),
    }
}

/// Σ_n Σ_k (1 + k)(x + x²) for every x = Σ w … φ / M, where φ are the maps of these names,
/// and none for the name "".
struct Mapped {
    sums: Vec<Sum>,
    maps: &'static [&'static str],
}

impl Unsplit for Mapped {
    fn value(&self, regions: &AllRegions) -> Expr<Scalar> {
        let classes: Vec<f64> = (0..regions.classes()).map(|k| (1 + k) as f64).collect();
        let each = self.sums.iter().flat_map(|sum| self.maps.iter().map(move |map| (sum, *map)));
        let each = each.map(|(sum, map)| {
            let sum = if map.is_empty() { sum(regions) } else { sum(&regions.times(&Map::given(map))) };
            let share = sum.ratio(&regions.valid_size());
            ((share.clone() + share.squared()) * Expr::classes(&classes)).sum_classes().sum_samples()
        });
        each.reduce(|a, b| a + b).expect("a sum")
    }
}

/// Σ_n Σ_k (1 + k) Σ w φ.
struct Size(&'static str);

impl Unsplit for Size {
    fn value(&self, regions: &AllRegions) -> Expr<Scalar> {
        let classes: Vec<f64> = (0..regions.classes()).map(|k| (1 + k) as f64).collect();
        (regions.map_size(&Map::given(self.0)) * Expr::classes(&classes)).sum_classes().sum_samples()
    }
}

fn mapped(sums: &[Sum], maps: &'static [&'static str], activation: Activation) -> Loss {
    unsplit(Mapped { sums: sums.to_vec(), maps }).with_activation(activation).with_ignore_index(255)
}

/// Everything at once: a term of every sum with two maps, and with none; the sizes of the maps; and
/// terms of the library.
fn everything(activation: Activation) -> Loss {
    let all = sums(activation).into_iter().map(|sum| mapped(&[sum], &["a", "", "b"], activation));
    let rest: Loss = "ce + dice + 0.5 * focal + 0.1 * l1".parse().unwrap();
    let sizes = (unsplit(Size("a")) + unsplit(Size("b"))).with_activation(activation).with_ignore_index(255);
    all.fold(rest.with_activation(activation).with_ignore_index(255), |all, more| all + more) + 0.001 * sizes
}

/// What a target has beside its classes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Validity {
    All,
    /// Labels that are ignored; soft targets have none.
    Ignored,
    /// Weights, some of them 0, and ignored labels.
    Weighted,
}

struct Scene {
    logits: Tensor,
    target: TchTarget,
    /// `[N, 1, *spatial]`, where a pixel counts for nothing.
    invalid: Tensor,
}

/// Numbers that look random, from -1 to 1.
fn numbers(shape: &[i64], seed: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    ((Tensor::arange(count, (Kind::Double, Device::Cpu)) * 12.9898 + seed).sin() * 43.758).sin().reshape(shape)
}

/// Where nothing counts, logits, maps and soft targets are NaN. `channels` of the maps "a" and "b".
fn scene(shape: &[i64], channels: [i64; 2], soft: bool, validity: Validity) -> Scene {
    let (samples, classes, spatial) = (shape[0], shape[1], &shape[2..]);
    let of = |channels: i64| [&[samples, channels], spatial].concat();
    let plain = [&[samples], spatial].concat();
    let labels = ((numbers(&plain, 0.25) + 1.0) * 0.499 * classes.max(2) as f64).to_kind(Kind::Int64);
    let ignored = match (validity, soft) {
        (Validity::Ignored | Validity::Weighted, false) => numbers(&plain, 7.0).lt(-0.7),
        _ => labels.lt(0),
    };
    let labels = labels.masked_fill(&ignored, 255);
    let weights = numbers(&plain, 3.0).clamp_min(-0.5) + 0.5;
    let unweighted = if validity == Validity::Weighted { weights.eq(0.0) } else { ignored.zeros_like() };
    let invalid = ignored.logical_or(&unweighted).unsqueeze(1);
    let holed = |values: Tensor| values.masked_fill(&invalid, f64::NAN);
    let shares = (numbers(shape, 5.0) + 1.0) / 2.0;
    let shares = if classes > 1 { shares.softmax(1, Kind::Double) } else { shares };
    let target = if soft { TchTarget::soft(&holed(shares)) } else { TchTarget::labels(&labels) };
    let target = if validity == Validity::Weighted { target.weights(&weights) } else { target };
    let maps = [0, 1].map(|i| holed(numbers(&of(channels[i]), 11.0 + i as f64) * 2.0));
    let target = target.map("a", &maps[0]).map("unread", &maps[1].full_like(f64::NAN)).map("b", &maps[1]);
    Scene { logits: holed(numbers(shape, 1.0) * 3.0), target, invalid }
}

fn number(tensor: &Tensor) -> f64 {
    tensor.double_value(&[])
}

fn largest(tensor: &Tensor) -> f64 {
    number(&tensor.to_kind(Kind::Double).abs().max())
}

/// The loss and its gradient.
fn run(loss: &Loss, path: Path, logits: &Tensor, target: &TchTarget) -> (Evaluation<Tensor>, Tensor) {
    let logits = logits.detach().set_requires_grad(true);
    let out = loss.forward_by(path, &logits, target).unwrap();
    out.total.backward();
    (out, logits.grad())
}

/// Both paths have the same total, terms and gradient.
fn agree(loss: &Loss, scene: &Scene, kind: Kind, name: &str) {
    let logits = scene.logits.to_kind(kind);
    let [(fused, want), (operations, got)] = PATHS.map(|path| run(loss, path, &logits, &scene.target));
    let (allowed, rounding) = match kind {
        Kind::Double => (1e-13, 0.0),
        Kind::Float => (1e-6, 0.0),
        Kind::Half => (1e-6, 2f64.powi(-11)),
        _ => (1e-6, 2f64.powi(-8)),
    };
    let values = |forward: &Evaluation<Tensor>| -> Vec<f64> {
        [&forward.total].into_iter().chain(forward.terms.iter().map(|term| &term.value)).map(number).collect()
    };
    for (i, (want, got)) in values(&fused).into_iter().zip(values(&operations)).enumerate() {
        assert!(got.is_finite() && want.is_finite(), "{name}: value {i} is {got} for {want}");
        assert!((got - want).abs() <= allowed * want.abs().max(1.0), "{name}: value {i} is {got} for {want}");
    }
    let (scale, off) = (largest(&want), largest(&(got.to_kind(Kind::Double) - want.to_kind(Kind::Double))));
    assert!(off <= (allowed + 2.0 * rounding) * scale, "{name}: gradients off by {off} of {scale}");
    let outside = got.masked_select(&scene.invalid.expand_as(&got));
    assert!(outside.numel() == 0 || largest(&outside) == 0.0, "{name}: something is handed to ignored pixels");
}

/// Activations, shapes and channels of two maps.
fn layouts() -> Vec<(Activation, [i64; 4], [i64; 2])> {
    let classes = |activation, first: i64| (first..5).map(move |classes| (activation, classes));
    let all = classes(Activation::Softmax, 2).chain(classes(Activation::Sigmoid, 1));
    all.flat_map(|(activation, k)| [(activation, [3, k, 6, 7], [k, 1]), (activation, [2, k, 5, 1], [1, k])]).collect()
}

#[test]
fn every_sum_times_maps_is_that_of_the_kernels() {
    let maps: [&[&str]; 4] = [&["a"], &["b"], &["b", "a"], &["a", "", "b"]];
    for (activation, shape, channels) in layouts() {
        for (soft, validity) in [(false, Validity::Ignored), (true, Validity::Weighted), (false, Validity::All)] {
            let scene = scene(&shape, channels, soft, validity);
            for (i, sum) in sums(activation).into_iter().enumerate() {
                for maps in maps {
                    let name =
                        format!("sum {i} of {activation} {shape:?}, {maps:?} of {channels:?}, soft: {soft}, {validity:?}");
                    agree(&mapped(&[sum], maps, activation), &scene, Kind::Double, &name);
                }
            }
        }
    }
}

#[test]
fn all_sums_at_once_are_those_of_the_kernels_in_every_type() {
    for (activation, shape, channels) in layouts() {
        for soft in [false, true] {
            for validity in [Validity::All, Validity::Ignored, Validity::Weighted] {
                let scene = scene(&shape, channels, soft, validity);
                for kind in [Kind::Double, Kind::Float, Kind::Half, Kind::BFloat16] {
                    let name = format!("{activation} {shape:?} {kind:?}, maps of {channels:?}, soft: {soft}, {validity:?}");
                    agree(&everything(activation), &scene, kind, &name);
                }
            }
        }
    }
}

#[test]
fn every_chunk_brings_its_part_of_the_maps() {
    // Some samples at a time, and boxes of one.
    for shape in [[5, 3, 100, 120], [2, 2, 300, 310]] {
        assert!(shape.iter().product::<i64>() > 1 << 17);
        for activation in [Activation::Softmax, Activation::Sigmoid] {
            for (soft, validity) in [(false, Validity::Weighted), (true, Validity::Weighted), (false, Validity::All)] {
                let scene = scene(&shape, [shape[1], 1], soft, validity);
                let name = format!("{activation} {shape:?}, soft: {soft}, {validity:?}");
                agree(&everything(activation), &scene, Kind::Double, &name);
            }
        }
    }
}

#[test]
fn maps_and_logits_of_any_strides_are_read_as_they_lie() {
    for activation in [Activation::Softmax, Activation::Sigmoid] {
        let Scene { logits, .. } = scene(&[2, 3, 5, 8], [3, 1], false, Validity::All);
        let logits = logits.to_kind(Kind::Float);
        let labels = Tensor::arange(2 * 5 * 8, (Kind::Int64, Device::Cpu)).remainder(3).reshape([2, 5, 8]);
        let [a, b] = [numbers(&[2, 3, 5, 8], 11.0), numbers(&[2, 1, 5, 8], 12.0)];
        let plain = TchTarget::labels(&labels).map("a", &a).map("b", &b);
        let apart = |tensor: &Tensor| tensor.transpose(2, 3).contiguous().transpose(2, 3);
        // A single value seen as many, and every second of a larger one.
        let wide = Tensor::stack(&[&a, &a], 4).flatten(3, 4);
        let strided = TchTarget::labels(&labels).map("a", &wide.slice(3, 0, None, 2)).map("b", &apart(&b));
        let loss = everything(activation);
        let (want, gradient) = run(&loss, Path::Fused, &logits, &plain);
        let strided_logits = apart(&logits);
        assert!(!strided_logits.is_contiguous());
        let out = loss.forward(&strided_logits, &strided).unwrap();
        assert!((number(&out.total) - number(&want.total)).abs() < 1e-5);
        let (_, got) = run(&loss, Path::Operations, &strided_logits, &strided);
        assert!(largest(&(&got - &gradient)) <= 1e-6 * largest(&gradient), "{activation}");
        // One value seen as many.
        let one = TchTarget::labels(&labels).map("a", &a).map("b", &Tensor::from(0.75f32).expand([2, 1, 5, 8], false));
        let same = TchTarget::labels(&labels).map("a", &a).map("b", &b.full_like(0.75));
        let [one, same] = [one, same].map(|target| run(&loss, Path::Operations, &logits, &target).1);
        assert_eq!(one, same, "{activation}");
    }
}

#[test]
fn maps_of_every_real_type_are_read_and_the_last_of_a_name_counts() {
    let loss = mapped(&[REGION[4], REGION[6]], &["a"], Activation::Softmax);
    let scene = scene(&[2, 3, 6, 7], [3, 1], false, Validity::All);
    let labels = Tensor::zeros([2, 6, 7], (Kind::Int64, Device::Cpu));
    let map = (numbers(&[2, 3, 6, 7], 4.0) * 2.0).round();
    let gradient = |map: &Tensor, path| {
        let target = TchTarget::labels(&labels).map("a", &map.full_like(3.0)).map("a", map);
        run(&loss, path, &scene.logits, &target).1
    };
    for path in PATHS {
        let want = gradient(&map, path);
        for kind in [Kind::Float, Kind::Half, Kind::BFloat16, Kind::Int, Kind::Int8, Kind::Int64] {
            assert_eq!(gradient(&map.to_kind(kind), path), want, "{path:?} {kind:?}");
        }
        let mask = map.gt(0.0);
        assert_eq!(gradient(&mask, path), gradient(&mask.to_kind(Kind::Double), path), "{path:?}");
    }
}

/// P(1), I(1), L, Q and M of softmax, each times "a", where M has no map.
struct Composed;

impl Unsplit for Composed {
    fn value(&self, regions: &AllRegions) -> Expr<Scalar> {
        let by = regions.times(&Map::given("a"));
        let sums = by.sizes().predicted_size(Temperature::ONE) + 2.0 * by.inside().intersection(Temperature::ONE)
            - by.inside().log_likelihood(Side::Region)
            + 3.0 * by.squared_mass();
        (sums.ratio(&regions.valid_size()) * Expr::classes(&[1.0, -2.0, 4.0])).sum_classes().sum_samples()
    }
}

#[test]
fn both_paths_are_autograd_and_hand_nothing_to_a_map() {
    let loss = unsplit(Composed).with_ignore_index(255);
    let shape = [2, 3, 4, 5];
    let logits = numbers(&shape, 1.0) * 3.0;
    let labels = Tensor::arange(40, (Kind::Int64, Device::Cpu)).remainder(4).reshape([2, 4, 5]);
    let labels = labels.masked_fill(&labels.eq(3), 255);
    for channels in [1, 3] {
        let map = numbers(&[2, channels, 4, 5], 2.0).set_requires_grad(true);
        let by_hand = |logits: &Tensor| {
            let valid = labels.not_equal(255).to_kind(Kind::Double).unsqueeze(1);
            let own = labels.clamp(0, 2).one_hot(3).permute([0, 3, 1, 2]).to_kind(Kind::Double);
            let (p, log_p) = (logits.softmax(1, Kind::Double), logits.log_softmax(1, Kind::Double));
            let summand: Tensor = &p + 2.0 * &own * &p - own * log_p + 3.0 * &p * &p;
            let pixels = [2i64, 3];
            let sums = (summand * &valid * map.detach()).sum_dim_intlist(pixels.as_slice(), false, Kind::Double);
            let shares = sums / valid.sum_dim_intlist(pixels.as_slice(), false, Kind::Double);
            (shares * Tensor::from_slice(&[1.0, -2.0, 4.0])).sum(Kind::Double)
        };
        let own = logits.copy().set_requires_grad(true);
        let want = by_hand(&own);
        want.backward();
        for path in PATHS {
            let (got, gradient) = run(&loss, path, &logits, &TchTarget::labels(&labels).map("a", &map));
            assert!((number(&got.total) - number(&want)).abs() < 1e-12, "{path:?}: {:?} for {want:?}", got.total);
            assert!(largest(&(&gradient - own.grad())) < 1e-13, "{path:?}");
            assert!(!map.grad().defined(), "{path:?}: something is handed to the map");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_on_both_paths() {
    let loss = mapped(&[REGION[4]], &["a"], Activation::Softmax);
    let Scene { logits, .. } = scene(&[2, 3, 4, 5], [3, 1], false, Validity::All);
    let labels = Tensor::arange(40, (Kind::Int64, Device::Cpu)).remainder(3).reshape([2, 4, 5]);
    let map = numbers(&[2, 3, 4, 5], 1.0);
    for path in PATHS {
        let refused = |target: TchTarget| loss.forward_by(path, &logits, &target).unwrap_err();
        let missing = refused(TchTarget::labels(&labels));
        assert!(matches!(missing, LossError::MissingMap { .. }), "{path:?}: {missing}");
        assert_eq!(missing.to_string(), "the loss reads the map `a`, and the target has none");
        let other = refused(TchTarget::labels(&labels).map("A", &map));
        assert_eq!(other.to_string(), "the loss reads the map `a`, and the target has only A");
        let unfit = refused(TchTarget::labels(&labels).map("a", &map.narrow(3, 0, 4)));
        assert!(unfit.to_string().contains("shape [2, 3, 4, 4]"), "{path:?}: {unfit}");
        // Also where the label is another's.
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for class in 0..3 {
                let bad = map.copy();
                let _ = bad.get(1).get(class).get(2).get(3).fill_(value);
                let text = refused(TchTarget::labels(&labels).map("a", &bad)).to_string();
                let want =
                    format!("map {value} at [1, {class}, 2, 3] is outside finite numbers of the type that is computed in");
                assert_eq!(text, want, "{path:?}");
            }
        }
    }
}

#[test]
fn on_cuda_maps_are_read_as_on_the_cpu() {
    if !tch::Cuda::is_available() {
        // Not `eprintln`, which the harness keeps back where a test passes.
        let _ = writeln!(std::io::stderr(), "on_cuda_maps_are_read_as_on_the_cpu: not run, there is no CUDA device");
        return;
    }
    let cuda = Device::Cuda(0);
    for activation in [Activation::Softmax, Activation::Sigmoid] {
        let shape = [3, 3, 40, 50];
        let (logits, labels) = (numbers(&shape, 1.0) * 3.0, numbers(&[3, 40, 50], 2.0));
        let labels = ((labels + 1.0) * 1.499).to_kind(Kind::Int64);
        let [a, b] = [numbers(&shape, 11.0), numbers(&[3, 1, 40, 50], 12.0)];
        let target = |device| {
            let [labels, a, b] = [&labels, &a, &b].map(|tensor| tensor.to_device(device));
            TchTarget::labels(&labels).map("a", &a).map("b", &b)
        };
        let loss = everything(activation);
        let (want, gradient) = run(&loss, Path::Fused, &logits, &target(Device::Cpu));
        let (got, there) = run(&loss, Path::Operations, &logits.to_device(cuda), &target(cuda));
        assert!((number(&got.total) - number(&want.total)).abs() < 1e-12 * number(&want.total).abs(), "{activation}");
        assert!(largest(&(there.to_device(Device::Cpu) - &gradient)) < 1e-12 * largest(&gradient), "{activation}");
    }
}
