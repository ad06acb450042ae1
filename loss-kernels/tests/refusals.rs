//! What does not fit is refused, also where no other part of a call would notice; many classes are
//! not.

use loss_core::expr::PixelFunction;
use loss_core::{Activation, Argument, LossError, Plan, Probability, Side, Statistic, Temperature};
use loss_kernels::{Instructions, Labels, Problem, Shares, Target, f16, logit_gradient, statistics, validate};

fn problem<'a>(labels: &'a [u8], classes: usize, pixels: usize) -> Result<Problem<'a>, LossError> {
    let target = (Target::Labels(Labels::U8(labels)), [1, pixels]);
    Problem::new(&[1, classes, pixels], (target.0, &target.1), None, &[], Activation::Softmax)
}

#[test]
fn slices_that_are_not_as_long_as_their_shape_are_refused() {
    assert!(matches!(problem(&[0, 1], 2, 3), Err(LossError::Length { .. })));
    let (problem, plan) = (problem(&[0, 1, 0], 2, 3).unwrap(), Plan::new(2, [Statistic::VALID_SIZE]).unwrap());
    for length in [5, 7] {
        let got = statistics(&vec![0f32; length], &problem, &plan);
        assert!(matches!(got, Err(LossError::Length { what: "logits", .. })), "{length}: {got:?}");
    }
}

#[test]
fn a_background_of_softmax_is_refused() {
    let (tau, softmax, side) = (Temperature::ONE, Activation::Softmax, Side::Background);
    for statistic in [
        Statistic::predicted_size(Probability::new(softmax, tau, side)),
        Statistic::intersection(Probability::new(softmax, tau, side)),
        Statistic::log_likelihood(softmax, side),
        Statistic::log_mass(softmax, side),
        Statistic::pixel_sum(softmax, side, PixelFunction::new(|log_p| log_p)),
    ] {
        let problem = problem(&[0, 1, 0], 2, 3).unwrap();
        let got = Plan::new(2, [statistic]).and_then(|plan| statistics(&[0f32; 6], &problem, &plan));
        assert!(matches!(got, Err(LossError::Unsupported { what: "statistic", .. })), "{got:?}");
    }
}

#[test]
fn a_plan_for_another_number_of_classes_is_refused() {
    let problem = problem(&[0, 1, 0], 2, 3).unwrap();
    for classes in [0, 1, 3, 100] {
        let size = Statistic::predicted_size(Probability::new(Activation::Sigmoid, Temperature::ONE, Side::Region));
        for wanted in [Statistic::TARGET_SIZE, size] {
            let plan = Plan::new(classes, [wanted]).unwrap();
            let got = statistics(&[0f32; 6], &problem, &plan);
            assert!(matches!(got, Err(LossError::PlanClasses { classes: 2, .. })), "{classes}: {got:?}");
            let got = logit_gradient(&[0f32; 6], &problem, &plan, &[], &mut [0f32; 6][..]);
            assert!(matches!(got, Err(LossError::PlanClasses { classes: 2, .. })), "{classes}: {got:?}");
        }
    }
}

#[test]
fn validate_names_a_logit_that_is_not_finite() {
    let problem = problem(&[0, 1, 0], 2, 3).unwrap();
    assert!(validate(&[0f32; 6], &problem).is_ok());
    let got = validate(&[0.0, 0.0, 0.0, 0.0, f32::INFINITY, 0.0], &problem);
    assert!(matches!(&got, Err(LossError::NonFiniteLogit { position, .. }) if position[..] == [0, 1, 1]), "{got:?}");
}

#[test]
fn more_than_64_classes_are_counted() {
    let labels: Vec<u8> = (0..70).collect();
    let plan = Plan::new(70, [Statistic::TARGET_SIZE]).unwrap();
    let got = statistics(&vec![0f32; 70 * 70], &problem(&labels, 70, 70).unwrap(), &plan).unwrap();
    assert_eq!(got[0].values(), [1.0; 70]);
}

/// Two samples of three classes and more pixels than a block has; the place of a pixel far into the
/// second sample.
const SHAPE: [usize; 3] = [2, 3, 1000];
const AT: [usize; 2] = [1, 777];
const PIXEL: usize = 1777;

fn check(logits: &[f32], target: Target<'_>, weights: Option<&[f32]>, ignore: &[i64]) -> Result<(), LossError> {
    let pixels = [SHAPE[0], SHAPE[2]];
    let shape: &[usize] = if matches!(target, Target::Labels(_)) { &pixels } else { &SHAPE };
    let weights = weights.map(|weights| (Shares::F32(weights), &pixels[..]));
    validate(logits, &Problem::new(&SHAPE, (target, shape), weights, ignore, Activation::Softmax)?)
}

#[test]
fn offenders_are_named_wherever_they_are() {
    let (logits, labels, weights) = (vec![0f32; 6000], vec![1u8; 2000], vec![1f32; 2000]);
    let hard = || Target::Labels(Labels::U8(&labels));
    assert!(check(&logits, hard(), Some(&weights), &[]).is_ok());

    let mut odd = labels.clone();
    odd[PIXEL] = 3;
    for ignore in [&[][..], &[2]] {
        let got = check(&logits, Target::Labels(Labels::U8(&odd)), None, ignore);
        let is_named = matches!(&got, Err(LossError::LabelOutOfRange { label: 3, classes: 3, position }) if position[..] == AT);
        assert!(is_named, "{got:?}");
    }
    // Of some the lower half is a class.
    for value in [-1i64, 3, 1 << 31, 1 << 32, (1 << 32) + 2, -(1 << 32), i64::MIN, i64::MAX] {
        let mut odd = vec![1i64; 2000];
        odd[PIXEL] = value;
        for ignore in [&[][..], &[2]] {
            let got = check(&logits, Target::Labels(Labels::I64(&odd)), None, ignore);
            let is_named = matches!(&got, Err(LossError::LabelOutOfRange { label, position, .. }) if *label == value && position[..] == AT);
            assert!(is_named, "{value}: {got:?}");
        }
        assert!(check(&logits, Target::Labels(Labels::I64(&odd)), None, &[value]).is_ok());
    }
    for value in [-1i32, 3, i32::MIN, i32::MAX] {
        let mut odd = vec![1i32; 2000];
        odd[PIXEL] = value;
        let got = check(&logits, Target::Labels(Labels::I32(&odd)), None, &[]);
        assert!(
            matches!(&got, Err(LossError::LabelOutOfRange { label, .. }) if *label == i64::from(value)),
            "{value}: {got:?}"
        );
    }
    for value in [-1.0, f32::NAN, f32::INFINITY] {
        let mut odd = weights.clone();
        odd[PIXEL] = value;
        let got = check(&logits, hard(), Some(&odd), &[]);
        let is_named = matches!(&got, Err(LossError::ValueOutOfRange { what: Argument::PixelWeights, position, .. }) if position[..] == AT);
        assert!(is_named, "{got:?}");
    }
    // Finite, but not in the type that these logits are computed in.
    let mut wide = vec![1.0f64; weights.len()];
    wide[PIXEL] = 1e39;
    let pixels = [SHAPE[0], SHAPE[2]];
    let shares = Some((Shares::F64(&wide), &pixels[..]));
    let problem = Problem::new(&SHAPE, (hard(), &pixels), shares, &[], Activation::Softmax).unwrap();
    assert!(matches!(validate(&logits, &problem), Err(LossError::ValueOutOfRange { value: 1e39, .. })));
    for value in [-0.5, 1.5, f32::NAN] {
        let mut odd = vec![1.0 / 3.0f32; 6000];
        odd[3000 + 2 * 1000 + AT[1]] = value;
        let got = check(&logits, Target::Soft(Shares::F32(&odd)), None, &[]);
        let is_named = matches!(&got, Err(LossError::ValueOutOfRange { what: Argument::SoftTargets, position, .. })
            if position[..] == [AT[0], 2, AT[1]]);
        assert!(is_named, "{got:?}");
    }
    // A sum that is off, after many that are not: by the last class, and in any type.
    let at = 3000 + 2 * 1000 + AT[1];
    for value in [0.336f32, 0.331, 1.0] {
        let mut odd = vec![1.0 / 3.0f32; 6000];
        odd[at] = value;
        let wide: Vec<f64> = odd.iter().copied().map(f64::from).collect();
        for shares in [Shares::F32(&odd), Shares::F64(&wide)] {
            let got = check(&logits, Target::Soft(shares), None, &[]);
            let is_named = matches!(&got, Err(LossError::SharesSum { what: Argument::SoftTargets, sum, position })
                if (sum - 2.0 / 3.0 - f64::from(value)).abs() < 1e-6 && position[..] == AT);
            assert!(is_named, "{value}: {got:?}");
        }
        let halves: Vec<f16> = odd.iter().map(|&share| f16::from_f32(share)).collect();
        assert_eq!(check(&logits, Target::Soft(Shares::F16(&halves)), None, &[]).is_err(), value == 1.0);
    }
    // One-hot integers, of every type.
    let mut hot = vec![0i64; 6000];
    for n in 0..2 {
        hot[3000 * n..3000 * n + 1000].fill(1);
    }
    let one_hot = |hot: &[i64]| check(&logits, Target::OneHot(Labels::I64(hot)), None, &[]);
    assert!(one_hot(&hot).is_ok());
    hot[at] = 1;
    let got = one_hot(&hot);
    let is_named =
        matches!(&got, Err(LossError::SharesSum { what: Argument::OneHot, sum: 2.0, position }) if position[..] == AT);
    assert!(is_named, "{got:?}");
    for value in [2, -1, 256, 1 << 32, (1 << 32) + 1, i64::MIN] {
        hot[at] = value;
        let got = one_hot(&hot);
        let is_named = matches!(&got, Err(LossError::ValueOutOfRange { what: Argument::OneHot, value: named, position, .. })
            if *named == value as f64 && position[..] == [AT[0], 2, AT[1]]);
        assert!(is_named, "{got:?}");
    }
    let mut odd = logits.clone();
    odd[3000 + 1000 + AT[1]] = f32::NAN;
    let got = check(&odd, hard(), Some(&weights), &[]);
    assert!(matches!(&got, Err(LossError::NonFiniteLogit { position, .. }) if position[..] == [AT[0], 1, AT[1]]), "{got:?}");
}

#[test]
fn what_ignored_pixels_hold_is_not_looked_at() {
    let mut logits = vec![0f32; 6000];
    logits[3000 + 1000 + AT[1]] = f32::NAN;
    let (mut labels, mut weights) = (vec![1u8; 2000], vec![1f32; 2000]);
    weights[PIXEL] = 0.0;
    assert!(check(&logits, Target::Labels(Labels::U8(&labels)), Some(&weights), &[]).is_ok());
    labels[PIXEL] = 255;
    assert!(check(&logits, Target::Labels(Labels::U8(&labels)), None, &[255]).is_ok());
    let mut shares = vec![1.0 / 3.0f32; 6000];
    shares[3000 + AT[1]] = f32::NAN;
    assert!(check(&logits, Target::Soft(Shares::F32(&shares)), Some(&weights), &[]).is_ok());
}

#[test]
fn pixels_without_weight_may_be_one_or_two_or_all_of_a_block() {
    let labels = vec![1u8; 2000];
    for pixels in [PIXEL..PIXEL + 1, PIXEL..PIXEL + 2, 1000..2000] {
        let (mut logits, mut weights) = (vec![0f32; 6000], vec![1f32; 2000]);
        weights[pixels.clone()].fill(0.0);
        logits[pixels.start + 2000..pixels.end + 2000].fill(f32::NAN);
        let got = check(&logits, Target::Labels(Labels::U8(&labels)), Some(&weights), &[]);
        assert!(got.is_ok(), "{pixels:?}: {got:?}");
    }
}

#[test]
fn instructions_have_names() {
    let available = Instructions::available();
    assert_eq!(available.first(), Some(&Instructions::Plain));
    let names = [
        (Instructions::Plain, "plain"),
        (Instructions::Avx2, "avx2"),
        (Instructions::Avx512, "avx512"),
        (Instructions::Neon, "neon"),
    ];
    assert!(names.iter().all(|(set, name)| set.name() == *name));
    let wanted = std::env::var(loss_kernels::INSTRUCTIONS_VARIABLE).ok();
    let in_use = Instructions::in_use().unwrap();
    assert_eq!(Some(in_use.name()), wanted.as_deref().or(available.last().map(|set| set.name())));
}
