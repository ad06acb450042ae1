//! Sums times a map that comes with the target, against plain loops and central differences.

use backend_ndarray::{NdarrayLoss, NdarrayStatistics, NdarrayWhole, Target};
use loss_core::expr::{Expr, PixelFunction, Regions, Scalar};
use loss_core::{Activation, AllRegions, Argument, Loss, LossError, Map, Side, Temperature, Unsplit, unsplit};
use ndarray::{Array2, Array3, Axis, s};

const PIXELS: usize = 700;

/// A sum of a scene, and what it is of a pixel: y, and p at a temperature.
type Probe = (&'static str, fn(&AllRegions) -> Expr<Regions>, fn(f64, &dyn Fn(f64) -> f64) -> f64);

fn focal(log_p: Expr<loss_core::expr::Pixel>) -> Expr<loss_core::expr::Pixel> {
    -((-log_p.clone().exp_m1()).squared() * log_p)
}

/// What softmax and sigmoid have.
const REGION: [Probe; 8] = [
    ("T", AllRegions::target_size, |y, _| y),
    ("Y2", AllRegions::squared_target, |y, _| y * y),
    ("P", |regions| regions.sizes().predicted_size(Temperature::TEN), |_, p| p(10.0)),
    ("I", |regions| regions.inside().intersection(Temperature::ONE), |y, p| y * p(1.0)),
    ("Q", AllRegions::squared_mass, |_, p| p(1.0) * p(1.0)),
    ("L", |regions| regions.inside().log_likelihood(Side::Region), |y, p| y * p(1.0).ln()),
    // Under two outcomes; three classes are tested in "L" and "P".
    ("L, A", |regions| regions.inside().smoothed_log_likelihood(0.5, Side::Region), |y, p| (0.5 * y + 0.25) * p(1.0).ln()),
    (
        "F",
        |regions| regions.inside().pixel_sum(&PixelFunction::new(focal), Side::Region),
        |y, p| -y * (1.0 - p(1.0)).powi(2) * p(1.0).ln(),
    ),
];

/// What sigmoid has beside.
const BACKGROUND: [Probe; 5] = [
    ("T'", |regions| regions.target_size_on(Side::Background), |y, _| 1.0 - y),
    ("P'", |regions| regions.sizes().predicted_size_on(Side::Background, Temperature::ONE), |_, p| 1.0 - p(1.0)),
    ("I'", |regions| regions.inside().intersection_on(Side::Background, Temperature::ONE), |y, p| (1.0 - y) * (1.0 - p(1.0))),
    ("L'", |regions| regions.inside().log_likelihood(Side::Background), |y, p| (1.0 - y) * (1.0 - p(1.0)).ln()),
    (
        "F'",
        |regions| regions.inside().pixel_sum(&PixelFunction::new(focal), Side::Background),
        |y, p| -(1.0 - y) * p(1.0).powi(2) * (1.0 - p(1.0)).ln(),
    ),
];

/// Σ_n Σ_k (1 + k) of a sum times the map, and of the same without: neither may take the other's
/// place.
struct Mapped(fn(&AllRegions) -> Expr<Regions>);

impl Unsplit for Mapped {
    fn value(&self, regions: &AllRegions) -> Expr<Scalar> {
        let classes: Vec<f64> = (0..regions.classes()).map(|k| (1 + k) as f64).collect();
        let with = self.0(&regions.times(&Map::given("weight")));
        ((with + 0.125 * self.0(regions)) * Expr::classes(&classes)).sum_classes().sum_samples()
    }
}

/// Two samples, the second with a weight and a map of its own.
struct Case {
    logits: Array3<f64>,
    labels: Array2<i64>,
    shares: Array3<f64>,
    weights: Array2<f64>,
    map: Array3<f64>,
    activation: Activation,
}

fn number(i: usize) -> f64 {
    (i * 7919 % 10_007) as f64 / 10_007.0
}

impl Case {
    fn new(activation: Activation, classes: usize, channels: usize) -> Self {
        let mut at = 0;
        let mut next = || {
            at += 1;
            number(at)
        };
        let shape = (2, classes, PIXELS);
        let case = Self {
            logits: Array3::from_shape_simple_fn(shape, || 6.0 * next() - 3.0),
            labels: Array2::from_shape_fn((2, PIXELS), |(n, s)| ((3 * n + 5 * s) % classes.max(2)) as i64),
            shares: Array3::from_shape_fn(shape, |(n, k, s)| number(n + 3 * k + 11 * s)),
            weights: Array2::from_shape_fn((2, PIXELS), |(n, s)| (s % 4) as f64 * (0.5 + n as f64)),
            map: Array3::from_shape_fn((2, channels, PIXELS), |(n, k, s)| 4.0 * number(13 * n + 5 * k + 7 * s) - 2.0),
            activation,
        };
        let mut shares = case.shares.clone();
        if activation == Activation::Softmax {
            for mut pixel in shares.lanes_mut(Axis(1)) {
                let sum = pixel.sum();
                pixel.mapv_inplace(|share| share / sum);
            }
        }
        // Two decimals of a binary number each: the same in f32.
        Self {
            logits: case.logits.mapv(|z| (z * 64.0).round() / 64.0),
            map: case.map.mapv(|m| (m * 64.0).round() / 64.0),
            shares,
            ..case
        }
    }

    fn target(&self, soft: bool) -> Target<'_> {
        let target = if soft { Target::soft(self.shares.view()) } else { Target::labels(self.labels.view()) };
        target.weights(self.weights.view()).map("weight", self.map.view())
    }

    fn loss(&self, probe: &Probe) -> Loss {
        unsplit(Mapped(probe.1)).with_activation(self.activation)
    }

    fn by_hand(&self, soft: bool, summand: fn(f64, &dyn Fn(f64) -> f64) -> f64) -> f64 {
        let (_, classes, _) = self.logits.dim();
        let channels = self.map.dim().1;
        let mut sum = 0.0;
        for ((n, k, s), z) in self.logits.indexed_iter() {
            let y = match soft {
                true => self.shares[[n, k, s]],
                false => f64::from(u8::from(self.labels[[n, s]] == (k + usize::from(classes == 1)) as i64)),
            };
            let p = |tau: f64| match self.activation {
                Activation::Softmax => 1.0 / (0..classes).map(|j| (tau * (self.logits[[n, j, s]] - z)).exp()).sum::<f64>(),
                Activation::Sigmoid => 1.0 / (1.0 + (-tau * z).exp()),
            };
            let map = self.map[[n, if channels == 1 { 0 } else { k }, s]];
            sum += (1 + k) as f64 * self.weights[[n, s]] * (map + 0.125) * summand(y, &p);
        }
        sum
    }
}

fn cases() -> Vec<(Case, Vec<Probe>)> {
    let sigmoid: Vec<Probe> = REGION.into_iter().chain(BACKGROUND).collect();
    let all: Vec<Probe> = REGION.to_vec();
    let three: Vec<Probe> = REGION.into_iter().filter(|probe| probe.0 != "L, A").collect();
    vec![
        (Case::new(Activation::Softmax, 2, 2), all.clone()),
        (Case::new(Activation::Softmax, 2, 1), all),
        (Case::new(Activation::Softmax, 6, 6), three),
        (Case::new(Activation::Sigmoid, 1, 1), sigmoid.clone()),
        (Case::new(Activation::Sigmoid, 3, 3), sigmoid.clone()),
        (Case::new(Activation::Sigmoid, 3, 1), sigmoid),
    ]
}

#[test]
fn every_sum_times_a_map_is_the_sum_by_hand() {
    for (case, probes) in cases() {
        for (probe, soft) in probes.iter().flat_map(|probe| [(probe, false), (probe, true)]) {
            let loss = case.loss(probe);
            let want = case.by_hand(soft, probe.2);
            let wide = loss.value(case.logits.view(), &case.target(soft)).unwrap();
            let single = loss.value(case.logits.mapv(|z| z as f32).view(), &case.target(soft)).unwrap();
            let scale = case.logits.len() as f64;
            let name = format!("{} of {:?}, {:?}, soft: {soft}", probe.0, case.activation, case.map.dim());
            assert!((wide - want).abs() < 1e-12 * scale, "{name}: {wide} for {want}");
            assert!((single - want).abs() < 2e-6 * scale, "{name}: {single} for {want} in f32");
        }
    }
}

#[test]
fn gradients_go_through_the_sum_and_never_through_the_map() {
    for (case, probes) in cases() {
        for (probe, soft) in probes.iter().flat_map(|probe| [(probe, false), (probe, true)]) {
            let loss = case.loss(probe);
            let gradient = loss.value_and_gradient(case.logits.view(), &case.target(soft)).unwrap().gradient;
            let single = loss.value_and_gradient(case.logits.mapv(|z| z as f32).view(), &case.target(soft)).unwrap().gradient;
            for at in [[0, 0, 1], [1, case.logits.dim().1 - 1, 2], [1, 0, 3], [0, 0, 4], [1, 0, PIXELS - 1]] {
                let moved = |by: f64| {
                    let mut logits = case.logits.clone();
                    logits[at] += by;
                    loss.value(logits.view(), &case.target(soft)).unwrap()
                };
                let difference = (moved(1e-4) - moved(-1e-4)) / 2e-4;
                let name = format!("{} of {:?}, {:?}, soft: {soft}, at {at:?}", probe.0, case.activation, case.map.dim());
                assert!((gradient[at] - difference).abs() < 2e-6, "{name}: {} for {difference}", gradient[at]);
                assert!((f64::from(single[at]) - gradient[at]).abs() < 2e-5, "{name}: {} for {}", single[at], gradient[at]);
            }
        }
    }
}

/// Σ_n Σ_k (1 + k) Σ w φ, which is not multiplied by the map once more.
struct MapSize;

impl Unsplit for MapSize {
    fn value(&self, regions: &AllRegions) -> Expr<Scalar> {
        let map = Map::given("weight");
        let classes: Vec<f64> = (0..regions.classes()).map(|k| (1 + k) as f64).collect();
        (regions.times(&map).map_size(&map) * Expr::classes(&classes)).sum_classes().sum_samples()
    }
}

#[test]
fn the_size_of_a_map_is_a_sum_per_class() {
    for (case, _) in cases() {
        let got = unsplit(MapSize).with_activation(case.activation).value(case.logits.view(), &case.target(false)).unwrap();
        let channels = case.map.dim().1;
        let summands = case
            .logits
            .indexed_iter()
            .map(|((n, k, s), _)| (1 + k) as f64 * case.weights[[n, s]] * case.map[[n, if channels == 1 { 0 } else { k }, s]]);
        let want: f64 = summands.sum();
        assert!((got - want).abs() < 1e-9, "{got} for {want}");
    }
}

#[test]
fn tiles_bring_their_part_of_a_map() {
    let case = Case::new(Activation::Softmax, 2, 2);
    let loss = case.loss(&REGION[3]) + case.loss(&REGION[6]) + "ce".parse::<Loss>().unwrap();
    let whole = loss.value_and_gradient(case.logits.view(), &case.target(false)).unwrap();
    let mut tiles = loss.statistics(2).unwrap();
    let parts = [0..300, 300..301, 301..PIXELS];
    let with = |range: &std::ops::Range<usize>, f: &mut dyn FnMut(Array3<f64>, &Target<'_>)| {
        let weights = case.weights.slice(s![.., range.clone()]);
        let target = Target::labels(case.labels.slice(s![.., range.clone()])).weights(weights);
        f(
            case.logits.slice(s![.., .., range.clone()]).to_owned(),
            &target.map("weight", case.map.slice(s![.., .., range.clone()])),
        );
    };
    for range in &parts {
        with(range, &mut |logits, target| tiles.add(logits.view(), target).unwrap());
    }
    let of_tiles = tiles.whole(None).unwrap();
    assert!((of_tiles.evaluation().total - whole.value.total).abs() < 1e-10 * whole.value.total.abs());
    for range in &parts {
        with(range, &mut |logits, target| {
            let gradient = of_tiles.gradient(logits.view(), target).unwrap();
            let difference = &gradient - &whole.gradient.slice(s![.., .., range.clone()]);
            assert!(difference.iter().all(|d| d.abs() < 1e-12));
        });
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut case = Case::new(Activation::Softmax, 2, 2);
    let loss = case.loss(&REGION[3]);
    let plain = Target::labels(case.labels.view());
    let missing = loss.value(case.logits.view(), &plain).unwrap_err();
    assert_eq!(missing.to_string(), "the loss reads the map `weight`, and the target has none");
    let other = loss.value(case.logits.view(), &plain.clone().map("wieght", case.map.view())).unwrap_err();
    assert_eq!(other.to_string(), "the loss reads the map `weight`, and the target has only wieght");
    let narrow = case.map.slice(s![.., .., 1..]);
    let unfit = loss.value(case.logits.view(), &plain.map("weight", narrow)).unwrap_err();
    assert!(matches!(unfit, LossError::ShapeMismatch { what: Argument::Map, .. }), "{unfit}");
    // The weight of every fourth pixel is 0: what the map holds there is not read.
    case.map[[1, 1, 4]] = f64::NAN;
    assert!(loss.value(case.logits.view(), &case.target(false)).unwrap().is_finite());
    case.map[[1, 1, 5]] = f64::INFINITY;
    let infinite = loss.value(case.logits.view(), &case.target(false)).unwrap_err();
    assert_eq!(infinite.to_string(), "map inf at [1, 1, 5] is outside finite numbers of the type that is computed in");
}
