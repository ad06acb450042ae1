//! Expressions by their numbers: each against a function of plain Rust, its derivative against
//! central differences.

use std::hash::{DefaultHasher, Hash, Hasher};

use loss_core::expr::{Classes, Expr, HostAlgebra, Op, PixelFunction, Regions, Samples, Scalar, Table};
use loss_core::{Detail, Inputs, Loss, Over, Quantity, RegionSizePenalty, RegionSizes, Statistic, Temperature, penalty};

const SAMPLES: usize = 2;
const CLASSES: usize = 3;
/// P of each sample and class, of both signs: no expression knows that it is a mass.
const MASS: [f64; 6] = [0.5, -0.75, 1.5, 2.0, 0.25, -1.25];
/// M of each sample.
const VALID: [f64; 2] = [4.0, 5.0];

/// A size term with any formula.
struct Formula(fn(&RegionSizes) -> Expr<Scalar>);

impl RegionSizePenalty for Formula {
    fn penalty(&self, sizes: &RegionSizes) -> Expr<Scalar> {
        (self.0)(sizes)
    }
}

/// The value of a loss where P is `mass`, and its derivative for P.
fn computed(loss: &Loss, mass: &[f64]) -> (f64, Vec<f64>) {
    let program = loss.program(CLASSES, Detail::Total).unwrap();
    let table = |statistic: &Statistic| match statistic {
        Statistic { of: Quantity::One, .. } => Table::new(SAMPLES, 1, VALID.to_vec()),
        Statistic { over: Over::Valid, of: Quantity::Mass(_), .. } => Table::new(SAMPLES, CLASSES, mass.to_vec()),
        other => panic!("no formula here asks for {other}"),
    };
    let statistics: Vec<Table> = program.plan().statistics().iter().map(|s| table(s).unwrap()).collect();
    let inputs = Inputs { samples: SAMPLES, weights: vec![1.0], ..Inputs::default() };
    let value = program.outputs(&HostAlgebra, &statistics, &inputs).unwrap().total.values().to_vec();
    assert_eq!(value.len(), 1, "a scalar");
    let upstream = program.upstream(&statistics, &inputs, &[1.0]).unwrap();
    let of_mass = program.plan().statistics().iter().zip(upstream).find(|(s, _)| **s != Statistic::VALID_SIZE);
    (value[0], of_mass.and_then(|(_, table)| table).map_or(vec![0.0; MASS.len()], |table| table.values().to_vec()))
}

fn mass(sizes: &RegionSizes) -> Expr<Regions> {
    sizes.predicted_size(Temperature::ONE)
}

/// Σ over samples and classes.
fn sum(x: &Expr<Regions>) -> Expr<Scalar> {
    x.sum_classes().sum_samples()
}

fn total(x: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    x.iter().map(|&x| f(x)).sum()
}

fn by_sample(x: &[f64], f: impl Fn(usize, &[f64]) -> f64) -> f64 {
    x.chunks(CLASSES).enumerate().map(|(n, row)| f(n, row)).sum()
}

type Case = (&'static str, fn(&RegionSizes) -> Expr<Scalar>, fn(&[f64]) -> f64);

const CASES: &[Case] = &[
    ("abs", |s| sum(&mass(s).abs()), |x| total(x, f64::abs)),
    ("neg", |s| sum(&-mass(s)), |x| total(x, |x| -x)),
    ("exp", |s| sum(&mass(s).exp()), |x| total(x, f64::exp)),
    ("exp_m1", |s| sum(&mass(s).exp_m1()), |x| total(x, f64::exp_m1)),
    ("ln", |s| sum(&mass(s).abs().ln()), |x| total(x, |x| x.abs().ln())),
    ("ln of what is below 0", |s| sum(&mass(s).ln()), |x| total(x, |x| x.max(1e-30).ln())),
    ("powf", |s| sum(&mass(s).abs().powf(1.5)), |x| total(x, |x| x.abs().powf(1.5))),
    ("powf 1", |s| sum(&mass(s).powf(1.0)), |x| total(x, |x| x)),
    ("squared", |s| sum(&mass(s).squared()), |x| total(x, |x| x * x)),
    ("relu", |s| sum(&mass(s).relu()), |x| total(x, |x| x.max(0.0))),
    ("max", |s| sum(&mass(s).max(0.4)), |x| total(x, |x| x.max(0.4))),
    ("min", |s| sum(&mass(s).min(0.4)), |x| total(x, |x| x.min(0.4))),
    ("min below 0", |s| sum(&mass(s).min(-1.0)), |x| total(x, |x| x.min(-1.0))),
    ("positive", |s| sum(&(mass(s).positive() * mass(s))), |x| total(x, |x| if x > 0.0 { x } else { 0.0 })),
    ("plus, minus, times, over a number", |s| sum(&((mass(s) + 1.0 - 3.0) * 2.0 / 4.0)), |x| total(x, |x| (x - 2.0) / 2.0)),
    ("a number before", |s| sum(&(1.0 / (4.0 - (2.0 + 0.5 * mass(s))))), |x| total(x, |x| 1.0 / (2.0 - 0.5 * x))),
    ("product", |s| sum(&(mass(s) * mass(s).exp())), |x| total(x, |x| x * x.exp())),
    ("quotient", |s| sum(&(mass(s) / (mass(s) + 3.0))), |x| total(x, |x| x / (x + 3.0))),
    ("difference of functions", |s| sum(&(mass(s).exp() - mass(s).squared())), |x| total(x, |x| x.exp() - x * x)),
    ("times 0", |s| sum(&(mass(s) * 0.0 + mass(s))), |x| total(x, |x| x)),
    ("neutral numbers", |s| sum(&((0.0 + mass(s) - 0.0) * 1.0 / 1.0 * (1.0 * mass(s)))), |x| total(x, |x| x * x)),
    ("0 before a difference, 1 before a quotient", |s| sum(&(0.0 - 1.0 / (mass(s) + 3.0))), |x| total(x, |x| -1.0 / (x + 3.0))),
    ("numbers alone", |s| sum(&(mass(s) * (Expr::<Regions>::constant(2.0) + 3.0).squared())), |x| total(x, |x| 25.0 * x)),
    ("per sample", |s| sum(&mass(s).ratio(&s.valid_size())), |x| by_sample(x, |n, row| total(row, |x| x / VALID[n]))),
    ("ratio to nothing", |s| sum(&(mass(s) * 0.0).ratio(&(s.valid_size() * 0.0))), |_| 0.0),
    (
        "squares of sums over classes",
        |s| mass(s).sum_classes().squared().sum_samples(),
        |x| by_sample(x, |_, row| total(row, |x| x).powi(2)),
    ),
    (
        "squares of means over classes",
        |s| mass(s).mean_classes().squared().mean_samples(),
        |x| by_sample(x, |_, row| (total(row, |x| x) / 3.0).powi(2)) / 2.0,
    ),
    (
        "squares of sums over samples",
        |s| mass(s).sum_samples().squared().sum_classes(),
        |x| (0..CLASSES).map(|k| (x[k] + x[CLASSES + k]).powi(2)).sum(),
    ),
    (
        "squares of means over samples",
        |s| mass(s).mean_samples().squared().mean_classes(),
        |x| (0..CLASSES).map(|k| ((x[k] + x[CLASSES + k]) / 2.0).powi(2)).sum::<f64>() / 3.0,
    ),
    (
        "what is the same for every class is counted for each",
        |s| sum(&mass(s).sum_classes().squared().broadcast::<Regions>()),
        |x| 3.0 * by_sample(x, |_, row| total(row, |x| x).powi(2)),
    ),
    (
        "what is the same for every sample is counted for each",
        |s| sum(&mass(s).sum_samples().squared().broadcast::<Regions>()),
        |x| 2.0 * (0..CLASSES).map(|k| (x[k] + x[CLASSES + k]).powi(2)).sum::<f64>(),
    ),
    (
        "a mean of what is the same everywhere",
        |s| {
            let by_sample: Expr<Regions> = mass(s).sum_classes().squared().broadcast();
            let by_class: Expr<Regions> = mass(s).sum_samples().squared().broadcast();
            by_sample.mean_classes().sum_samples() + by_class.mean_samples().sum_classes()
        },
        |x| {
            let by_class: f64 = (0..CLASSES).map(|k| (x[k] + x[CLASSES + k]).powi(2)).sum();
            by_sample(x, |_, row| total(row, |x| x).powi(2)) + by_class
        },
    ),
    (
        "sums over classes against each class",
        |s| sum(&(mass(s).exp() * mass(s).sum_classes())),
        |x| by_sample(x, |_, row| total(row, f64::exp) * total(row, |x| x)),
    ),
    (
        "sums over samples against each sample",
        |s| sum(&(mass(s).exp() * mass(s).sum_samples())),
        |x| (0..CLASSES).map(|k| (x[k].exp() + x[CLASSES + k].exp()) * (x[k] + x[CLASSES + k])).sum(),
    ),
    (
        "the whole sum against each sample, and against each class",
        |s| {
            let whole = sum(&mass(s));
            let samples = (mass(s).exp().sum_classes() * whole.clone()).sum_samples();
            samples + (mass(s).squared().sum_samples() * whole).sum_classes()
        },
        |x| (total(x, f64::exp) + total(x, |x| x * x)) * total(x, |x| x),
    ),
    (
        "a number seen as a table",
        |s| {
            let number: Expr<Scalar> = sum(&mass(s)).squared();
            let (samples, classes): (Expr<Samples>, Expr<Classes>) = (number.broadcast(), number.broadcast());
            number.broadcast::<Regions>().sum_classes().sum_samples() + samples.sum_samples() + classes.sum_classes()
        },
        |x| (6.0 + 2.0 + 3.0) * total(x, |x| x).powi(2),
    ),
    (
        "one number per class",
        |s| sum(&(mass(s) * Expr::classes(&[1.0, -2.0, 0.5]))),
        |x| by_sample(x, |_, row| row[0] - 2.0 * row[1] + 0.5 * row[2]),
    ),
];

fn close(a: f64, b: f64, within: f64) -> bool {
    (a - b).abs() <= within * (1.0 + b.abs())
}

#[test]
fn values_and_derivatives_are_those_of_the_functions() {
    for (name, formula, function) in CASES {
        let loss = penalty(Formula(*formula));
        let (value, derivative) = computed(&loss, &MASS);
        assert!(close(value, function(&MASS), 1e-14), "{name}: {value} and {}", function(&MASS));
        for (i, slope) in derivative.iter().enumerate() {
            let at = |step: f64| {
                let mut moved = MASS;
                moved[i] += step;
                function(&moved)
            };
            let difference = (8.0 * (at(1e-3) - at(-1e-3)) - (at(2e-3) - at(-2e-3))) / 12e-3;
            assert!(close(*slope, difference, 1e-9), "{name}: derivative {slope} and {difference} at {i}");
        }
    }
}

#[test]
fn derivatives_at_corners_are_those_documented() {
    let at_zero = |formula: fn(&RegionSizes) -> Expr<Scalar>| computed(&penalty(Formula(formula)), &[0.0; 6]);
    assert_eq!(at_zero(|s| sum(&mass(s).abs())), (0.0, vec![0.0; 6]));
    assert_eq!(at_zero(|s| sum(&mass(s).relu())), (0.0, vec![0.0; 6]));
    assert_eq!(at_zero(|s| sum(&mass(s).min(0.0))), (0.0, vec![0.0; 6]));
    assert_eq!(at_zero(|s| sum(&mass(s).positive())), (0.0, vec![0.0; 6]));
    assert_eq!(at_zero(|s| sum(&mass(s).ln())), (6.0 * 1e-30f64.ln(), vec![0.0; 6]));
    let (value, slopes) = at_zero(|s| sum(&mass(s).powf(0.5)));
    assert!(value == 0.0 && slopes.iter().all(|slope| slope.is_finite() && *slope > 0.0), "{value}, {slopes:?}");
    // A NaN must come through: it is the only sign of a non-finite logit.
    let through: [fn(&RegionSizes) -> Expr<Scalar>; 3] =
        [|s| sum(&mass(s).max(0.5)), |s| sum(&mass(s).min(0.5)), |s| sum(&mass(s).abs().ln())];
    for formula in through {
        assert!(computed(&penalty(Formula(formula)), &[f64::NAN; 6]).0.is_nan());
    }
}

#[test]
fn nothing_is_computed_that_changes_nothing() {
    let operations = |formula: fn(&RegionSizes) -> Expr<Scalar>| {
        penalty(Formula(formula)).program(CLASSES, Detail::Total).unwrap().operations()
    };
    let plain = operations(|s| sum(&mass(s)));
    // A formula, and the numbers it names, which stay on the tape.
    type Build = fn(&RegionSizes) -> Expr<Scalar>;
    let neutral: [(Build, usize); 8] = [
        (|s| sum(&(mass(s) + 0.0)), 1),
        (|s| sum(&(0.0 + mass(s))), 1),
        (|s| sum(&(mass(s) - 0.0)), 1),
        (|s| sum(&(mass(s) * 1.0)), 1),
        (|s| sum(&(1.0 * mass(s))), 1),
        (|s| sum(&(mass(s) / 1.0)), 1),
        (|s| sum(&(mass(s) * (Expr::<Regions>::constant(0.25) + 0.75))), 3),
        (|s| sum(&(mass(s) * -Expr::<Regions>::constant(-1.0))), 2),
    ];
    for (i, (formula, numbers)) in neutral.into_iter().enumerate() {
        let operations = operations(formula);
        assert!(operations <= plain + numbers, "formula {i}: {operations} and {plain}");
    }
    // Nor a derivative of what does not depend on the logits, or has none: one more function is one
    // more operation.
    let more = |without, with| operations(with) - operations(without);
    assert_eq!(more(|s| sum(&s.target_size().squared()), |s| sum(&s.target_size().squared().abs())), 1);
    assert_eq!(more(|s| sum(&mass(s).positive()), |s| sum(&mass(s).positive().exp())), 1);
    assert!(more(|s| sum(&mass(s).squared()), |s| sum(&mass(s).squared().abs())) > 1);
}

#[test]
fn a_deep_expression_is_no_danger() {
    let formula: fn(&RegionSizes) -> Expr<Scalar> = |s| sum(&(0..20_000).fold(mass(s), |x, _| x + 1e-6));
    let (value, slopes) = computed(&penalty(Formula(formula)), &MASS);
    assert!(close(value, MASS.iter().sum::<f64>() + 0.12, 1e-9), "{value}");
    assert_eq!(slopes, [1.0; 6]);
}

#[test]
fn formulas_are_written_with_the_parentheses_they_need() {
    let x = || Expr::<Classes>::classes(&[1.0, 0.5]);
    let (a, b) = (|| Expr::<Classes>::constant(2.0), || Expr::<Classes>::constant(3.5));
    for (expression, text) in [
        (a() + b() - x(), "2 + 3.5 - [1, 0.5]"),
        (a() - (b() - x()), "2 - (3.5 - [1, 0.5])"),
        (a() - (b() + x()), "2 - (3.5 + [1, 0.5])"),
        (a() + (b() - x()), "2 + 3.5 - [1, 0.5]"),
        ((a() + b()) * x(), "(2 + 3.5) * [1, 0.5]"),
        (a() * b() / x(), "2 * 3.5 / [1, 0.5]"),
        (a() / (b() * x()), "2 / (3.5 * [1, 0.5])"),
        (a() / (b() / x()), "2 / (3.5 / [1, 0.5])"),
        (-(a() + b()), "-(2 + 3.5)"),
        (-(a() * b()), "-2 * 3.5"),
        ((a() * x()).squared(), "(2 * [1, 0.5])^2"),
        (x().squared().powf(0.5), "([1, 0.5]^2)^0.5"),
        (x().abs() * x().exp() + x().exp_m1(), "|[1, 0.5]| * exp([1, 0.5]) + expm1([1, 0.5])"),
        (x().ln(), "log(max([1, 0.5], 1e-30))"),
        (x().positive(), "[[1, 0.5] > 0]"),
    ] {
        assert_eq!(expression.to_string(), text);
        assert_eq!(format!("{expression:?}"), text);
    }
    assert_eq!(x().mean_classes().to_string(), "sum_classes([1, 0.5]) / K");
    let nested = |levels| (0..levels).fold(x(), |e: Expr<Classes>, _| e.abs()).to_string();
    assert!(!nested(200).contains('…') && nested(201).contains("|…|"));
}

#[test]
fn pixel_functions_are_the_same_where_their_steps_are() {
    let power = |exponent| PixelFunction::new(|log_p| -log_p.exp().powf(exponent));
    let hash = |function: &PixelFunction| {
        let mut hasher = DefaultHasher::new();
        function.hash(&mut hasher);
        hasher.finish()
    };
    let (function, same, other) = (power(1.5), power(1.5), power(2.5));
    assert_eq!(function, function.clone());
    assert_eq!((&function, hash(&function)), (&same, hash(&same)));
    assert_ne!(function, other);
    assert_ne!(hash(&function), hash(&other));
    assert_eq!(format!("{function:?}"), "-exp(log p)^1.5");
}

#[test]
fn a_pixel_function_is_the_same_by_an_algebra() {
    let function = PixelFunction::new(|log_p| 2.0 * log_p.exp().powf(1.5) - log_p.max(-0.5) + 0.25);
    let log_p: Vec<f64> = (0..130).map(|i| -f64::from(i) / 64.0).collect();
    let by_formula: Vec<f64> = log_p.iter().map(|l| 2.0 * l.exp().powf(1.5) - l.max(-0.5) + 0.25).collect();
    let by_algebra = function.apply(&HostAlgebra, &Table::new(1, 130, log_p.clone()).unwrap()).unwrap();
    let (mut values, mut slopes) = (vec![0.0; 130], vec![0.0; 130]);
    function.evaluate(&log_p, &mut values, None);
    assert_eq!(by_algebra.values(), values);
    assert!(values.iter().zip(&by_formula).all(|(a, b)| close(*a, *b, 1e-15)));
    function.evaluate(&log_p, &mut values, Some(&mut slopes));
    assert_eq!(by_algebra.values(), values);
    for (l, slope) in log_p.iter().zip(slopes) {
        let by_hand = 3.0 * l.exp() * l.exp().powf(0.5) - if *l > -0.5 { 1.0 } else { 0.0 };
        assert!(close(slope, by_hand, 1e-14), "{slope} and {by_hand} at {l}");
    }
    assert_eq!([Op::Powf(1.5f64.to_bits()).exponent(), Op::Add.exponent()], [Some(1.5), None]);
}
