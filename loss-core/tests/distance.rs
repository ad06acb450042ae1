//! Distances on a grid: against brute force, against scipy, and at every edge.

use std::cell::Cell;

use loss_core::LossError;
use loss_core::distance::{Membership, signed_distances, squared_distances};
use proptest::prelude::*;

use Membership::{Ignored, Inside, Outside};

const INF: f64 = f64::INFINITY;

/// Index of a pixel on every axis.
fn position(mut pixel: usize, shape: &[usize]) -> Vec<usize> {
    let mut position = vec![0; shape.len()];
    for (index, &length) in position.iter_mut().zip(shape).rev() {
        *index = pixel % length;
        pixel /= length;
    }
    position
}

/// The definition: the least over all seeds, pixel by pixel.
fn brute_force(seeds: &[bool], shape: &[usize], spacing: &[f64]) -> Vec<f64> {
    let seeds: Vec<Vec<usize>> = (0..seeds.len()).filter(|&i| seeds[i]).map(|i| position(i, shape)).collect();
    let squared = |a: &[usize], b: &[usize]| -> f64 {
        a.iter().zip(b).zip(spacing).map(|((&a, &b), s)| ((a as f64 - b as f64) * s).powi(2)).sum()
    };
    let product = shape.iter().product();
    (0..product).map(|i| seeds.iter().map(|seed| squared(&position(i, shape), seed)).fold(INF, f64::min)).collect()
}

fn signed_brute_force(members: &[Membership], shape: &[usize], spacing: &[f64]) -> Vec<f32> {
    let to = |side| brute_force(&members.iter().map(|&m| m == side).collect::<Vec<_>>(), shape, spacing);
    let (inside, outside) = (to(Inside), to(Outside));
    let boundary = members.contains(&Inside) && members.contains(&Outside);
    let phi = |i: usize| match members[i] {
        Inside if boundary => -(outside[i].sqrt() - 1.0) as f32,
        Outside if boundary => inside[i].sqrt() as f32,
        _ => 0.0,
    };
    (0..members.len()).map(phi).collect()
}

fn squared(seeds: &[bool], shape: &[usize], spacing: &[f64]) -> Result<Vec<f64>, LossError> {
    squared_distances(seeds.iter().copied(), shape, spacing)
}

/// φ, in a slice that holds something else before.
fn signed(members: &[Membership], shape: &[usize], spacing: &[f64]) -> Result<Vec<f32>, LossError> {
    let mut phi = vec![f32::NAN; members.len()];
    signed_distances(members.iter().copied(), shape, spacing, &mut phi)?;
    Ok(phi)
}

/// A bit per character: `#` is set.
fn mask(text: &str) -> Vec<bool> {
    text.chars().filter(|c| !c.is_whitespace()).map(|c| c == '#').collect()
}

/// `#` inside, `.` outside, `?` ignored.
fn members(text: &str) -> Vec<Membership> {
    let member = |c| match c {
        '#' => Inside,
        '?' => Ignored,
        _ => Outside,
    };
    text.chars().filter(|c| !c.is_whitespace()).map(member).collect()
}

/// Shapes of one to four axes, of up to some 600 pixels; 2-D ones are wider than a run of columns.
fn shapes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        prop::collection::vec(1..300_usize, 1),
        prop::collection::vec(1..25_usize, 2),
        (1..12_usize, 17..45_usize).prop_map(|(rows, columns)| vec![rows, columns]),
        prop::collection::vec(1..9_usize, 3),
        (1..4_usize, 1..5_usize, 17..40_usize).prop_map(|(a, b, c)| vec![a, b, c]),
        prop::collection::vec(1..5_usize, 4),
    ]
}

/// A shape, a spacing per axis, and a draw from 0..1000 per pixel with the share of it that is set.
fn grids<S: Strategy<Value = f64> + Clone>(spacing: S) -> impl Strategy<Value = (Vec<usize>, Vec<f64>, Vec<u32>, u32)> {
    let share = prop_oneof![Just(0_u32), Just(5), Just(50), Just(500), Just(950), Just(1000)];
    (shapes(), share).prop_flat_map(move |(shape, share)| {
        let pixels = shape.iter().product::<usize>();
        let spacings = prop::collection::vec(spacing.clone(), shape.len());
        (Just(shape), spacings, prop::collection::vec(0..1000_u32, pixels), Just(share))
    })
}

/// As many inside as `share` says, and every seventh of all ignored.
fn drawn(draws: &[u32], share: u32) -> Vec<Membership> {
    let member = |&draw: &u32| match draw {
        _ if draw % 7 == 3 => Ignored,
        _ if draw < share => Inside,
        _ => Outside,
    };
    draws.iter().map(member).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn integer_spacings_give_what_brute_force_gives((shape, spacing, draws, share) in grids((1..7_u32).prop_map(f64::from))) {
        let seeds: Vec<bool> = draws.iter().map(|&draw| draw < share).collect();
        prop_assert_eq!(squared(&seeds, &shape, &spacing)?, brute_force(&seeds, &shape, &spacing));
        let members = drawn(&draws, share);
        prop_assert_eq!(signed(&members, &shape, &spacing)?, signed_brute_force(&members, &shape, &spacing));
    }

    #[test]
    fn other_spacings_give_what_brute_force_gives((shape, spacing, draws, share) in grids(0.05..9.0_f64)) {
        let seeds: Vec<bool> = draws.iter().map(|&draw| draw < share).collect();
        for (got, expected) in squared(&seeds, &shape, &spacing)?.into_iter().zip(brute_force(&seeds, &shape, &spacing)) {
            prop_assert!(got == expected || (got - expected).abs() <= 1e-14 * expected, "{} for {}", got, expected);
        }
        let members = drawn(&draws, share);
        let phi = signed(&members, &shape, &spacing)?;
        for (got, expected) in phi.into_iter().zip(signed_brute_force(&members, &shape, &spacing)) {
            prop_assert!((got - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{} for {}", got, expected);
        }
    }
}

/// By hand, and from scipy 1.17.1: `distance_transform_edt(~seeds, sampling=[2, 1]) ** 2`.
#[test]
fn two_seeds_on_a_plane_of_flat_pixels() -> Result<(), LossError> {
    let seeds = mask(".#... ..... ....#");
    let expected = [1., 0., 1., 4., 9., 5., 4., 5., 5., 4., 16., 9., 4., 1., 0.];
    assert_eq!(squared(&seeds, &[3, 5], &[2.0, 1.0])?, expected);
    Ok(())
}

/// From scipy 1.17.1: `distance_transform_edt(~seeds, sampling=...)`. The first, squared and
/// rounded to integers, is also right by hand.
#[test]
fn two_seeds_in_a_volume() -> Result<(), LossError> {
    let seeds = mask("#... .... ....   .... .... ..#.");
    let expected = [[0., 1., 4., 9., 4., 5., 8., 13., 13., 10., 9., 10.], [9., 10., 13., 17., 8., 5., 4., 5., 4., 1., 0., 1.]];
    assert_eq!(squared(&seeds, &[2, 3, 4], &[3.0, 2.0, 1.0])?, expected.concat());

    let expected = [
        [0.0, 0.75, 1.5, 2.25],
        [0.7, 1.0259142264341596, 1.6552945357246849, 2.3563743335896357],
        [1.4, 1.588238017426859, 2.0518284528683193, 2.6100766272276377],
        [2.0518284528683193, 1.588238017426859, 1.4, 1.588238017426859],
        [1.6552945357246849, 1.0259142264341596, 0.7, 1.0259142264341596],
        [1.5, 0.75, 0.0, 0.75],
    ];
    for (got, expected) in squared(&seeds, &[2, 3, 4], &[2.5, 0.7, 0.75])?.into_iter().zip(expected.concat()) {
        assert!((got.sqrt() - expected).abs() <= 1e-15 * expected, "{} for {expected}", got.sqrt());
    }
    Ok(())
}

/// From scipy 1.17.1, with the formula of `one_hot2dist` (boundary-loss 171c32d8) and float32.
#[test]
fn the_map_of_the_boundary_loss() -> Result<(), LossError> {
    let region = members("...... .###.. .####. .###.. ......");
    let (sqrt2, sqrt5) = (2.0_f32.sqrt(), 5.0_f32.sqrt());
    let unit = [
        [sqrt2, 1., 1., 1., sqrt2, sqrt5],
        [1., 0., 0., 0., 1., sqrt2],
        [1., 0., -1., -0.414_213_57, 0., 1.],
        [1., 0., 0., 0., 1., sqrt2],
        [sqrt2, 1., 1., 1., sqrt2, sqrt5],
    ];
    assert_eq!(signed(&region, &[5, 6], &[1.0, 1.0])?, unit.concat());

    let flat = [
        [sqrt5, 2., 2., 2., sqrt5, 2.0 * sqrt2],
        [1., 0., -1., 0., 1., 2.],
        [1., 0., -1., -1., 0., 1.],
        [1., 0., -1., 0., 1., 2.],
        [sqrt5, 2., 2., 2., sqrt5, 2.0 * sqrt2],
    ];
    assert_eq!(signed(&region, &[5, 6], &[2.0, 1.0])?, flat.concat());

    // The authors' literal 1: with a finer spacing, φ is positive inside, near the boundary.
    let half = [
        [0.707_106_77, 0.5, 0.5, 0.5, 0.707_106_77, 1.118_034],
        [0.5, 0.5, 0.5, 0.5, 0.5, 0.707_106_77],
        [0.5, 0.5, 0.0, 0.292_893_23, 0.5, 0.5],
        [0.5, 0.5, 0.5, 0.5, 0.5, 0.707_106_77],
        [0.707_106_77, 0.5, 0.5, 0.5, 0.707_106_77, 1.118_034],
    ];
    assert_eq!(signed(&region, &[5, 6], &[0.5, 0.5])?, half.concat());
    Ok(())
}

#[test]
fn ignored_pixels_are_on_neither_side() -> Result<(), LossError> {
    // The nearest outside pixel lies behind the ignored one, and so does the nearest inside pixel.
    assert_eq!(signed(&members("##?..?"), &[6], &[1.0])?, [-2., -1., 0., 2., 3., 0.]);
    assert_eq!(signed(&members("#? ?."), &[2, 2], &[3.0, 4.0])?, [-4., 0., 0., 5.]);
    // Everything valid is inside, or outside.
    assert_eq!(signed(&members("#?# ###"), &[2, 3], &[1.0, 1.0])?, [0.0; 6]);
    assert_eq!(signed(&members(".?. ..."), &[2, 3], &[1.0, 1.0])?, [0.0; 6]);
    Ok(())
}

#[test]
fn edges() -> Result<(), LossError> {
    for shape in [&[1][..], &[1, 1], &[1, 1, 1]] {
        let spacing = vec![0.5; shape.len()];
        assert_eq!(squared(&[true], shape, &spacing)?, [0.0]);
        assert_eq!(squared(&[false], shape, &spacing)?, [INF]);
        for member in [Inside, Outside, Ignored] {
            assert_eq!(signed(&[member], shape, &spacing)?, [0.0]);
        }
    }
    for shape in [&[60][..], &[3, 20], &[20, 3], &[3, 4, 5], &[1, 60], &[60, 1], &[1, 60, 1], &[2, 3, 2, 5]] {
        let spacing = vec![1.5; shape.len()];
        assert_eq!(squared(&[false; 60], shape, &spacing)?, [INF; 60]);
        assert_eq!(squared(&[true; 60], shape, &spacing)?, [0.0; 60]);
        for member in [Inside, Outside, Ignored] {
            assert_eq!(signed(&[member; 60], shape, &spacing)?, [0.0; 60]);
        }
    }
    Ok(())
}

/// Axes of length 1 change nothing, wherever they stand.
#[test]
fn axes_of_length_one() -> Result<(), LossError> {
    let seeds = mask("..#.. ..... #....");
    let plane = squared(&seeds, &[3, 5], &[2.0, 1.0])?;
    assert_eq!(squared(&seeds, &[1, 3, 5], &[9.0, 2.0, 1.0])?, plane);
    assert_eq!(squared(&seeds, &[3, 1, 5], &[2.0, 9.0, 1.0])?, plane);
    assert_eq!(squared(&seeds, &[3, 5, 1], &[2.0, 1.0, 9.0])?, plane);
    let line = squared(&seeds, &[15], &[2.0])?;
    assert_eq!(squared(&seeds, &[15, 1], &[2.0, 9.0])?, line);
    assert_eq!(squared(&seeds, &[1, 15], &[9.0, 2.0])?, line);
    Ok(())
}

/// The greatest and the least spacing together: no NaN, no infinity, no 0 but at the seed.
#[test]
fn extreme_spacings_stay_in_range() -> Result<(), LossError> {
    let mut seeds = [false; 120];
    seeds[7] = true;
    for spacing in [[1e-18, 1e18, 1.0], [1e18, 1e-18, 1e18], [1e-18; 3], [1e18; 3]] {
        let squared = squared(&seeds, &[4, 5, 6], &spacing)?;
        assert!(squared.iter().enumerate().all(|(i, value)| if i == 7 { *value == 0.0 } else { value.is_normal() }));
        let members = seeds.map(|seed| if seed { Inside } else { Outside });
        assert!(signed(&members, &[4, 5, 6], &spacing)?.iter().all(|phi| phi.is_normal()));
    }
    Ok(())
}

/// Each pixel is asked for once, however many axes there are. (The envelope counts its own work,
/// in the tests of its module.)
#[test]
fn seeds_and_members_are_read_once() -> Result<(), LossError> {
    let asked = Cell::new(0);
    let ask = |i: usize| {
        asked.set(asked.get() + 1);
        i
    };
    squared_distances((0..210).map(|i| ask(i) % 11 == 0), &[5, 6, 7], &[1.0; 3])?;
    assert_eq!(asked.replace(0), 210);
    let member = |i| if ask(i) % 3 == 0 { Inside } else { Outside };
    signed_distances((0..210).map(member), &[5, 6, 7], &[1.0; 3], &mut [0.0; 210])?;
    assert_eq!(asked.get(), 210);
    Ok(())
}

/// What both functions say to the same grid, given as many pixels as `count`.
fn refusal(count: usize, shape: &[usize], spacing: &[f64]) -> String {
    let seeds = squared_distances(std::iter::repeat_n(true, count), shape, spacing).unwrap_err().to_string();
    let mut phi = vec![7.0; shape.iter().try_fold(1, |n: usize, &l| n.checked_mul(l)).filter(|&n| n < 100).unwrap_or(0)];
    let members = std::iter::repeat_n(Inside, count);
    let error = signed_distances(members, shape, spacing, &mut phi).unwrap_err().to_string();
    assert!(phi.iter().all(|&phi| phi == 7.0), "{error}");
    assert!(seeds == error || seeds.replace("seeds", "members") == error || shape[0] > 100, "{seeds} / {error}");
    seeds
}

#[test]
fn what_is_no_grid_is_refused() {
    let range = "is outside [1e-18, 1e18]";
    assert_eq!(refusal(1, &[], &[]), "shape: [] is not supported; expected at least one axis");
    assert_eq!(refusal(0, &[3, 0], &[1.0; 2]), "distance maps are empty: shape [3, 0]");
    assert_eq!(refusal(0, &[usize::MAX, 2, 0], &[1.0; 3]), format!("distance maps are empty: shape [{}, 2, 0]", usize::MAX));
    for wrong in [&[][..], &[1.0], &[1.0; 3]] {
        let expected = format!("number of spacings: {} for shape [2, 3] is not supported; expected one per axis", wrong.len());
        assert_eq!(refusal(6, &[2, 3], wrong), expected);
    }
    for (wrong, text) in [(0.0, "0"), (-1.0, "-1"), (f64::NAN, "nan"), (INF, "inf"), (1e-19, "1e-19"), (1e19, "1e19")] {
        let got = refusal(6, &[2, 3], &[1.0, wrong]);
        assert!(got.eq_ignore_ascii_case(&format!("spacing {text} at [1] {range}")), "{got}");
    }
    for (count, got) in [(0, "0"), (5, "5"), (7, "more than 6"), (1000, "more than 6")] {
        assert_eq!(
            refusal(count, &[2, 3], &[1.0; 2]),
            format!("seeds: a length of {got} for shape [2, 3] is not supported; expected one element per pixel")
        );
    }
    let half = usize::MAX / 2;
    assert_eq!(
        refusal(1, &[half, 3], &[1.0; 2]),
        format!("shape: [{half}, 3] is not supported; expected no more pixels than can be counted")
    );
    // It can be counted, but not allocated.
    assert_eq!(
        refusal(1, &[half], &[1.0]),
        format!("shape: [{half}] is not supported; expected no more pixels than memory holds")
    );
}

#[test]
fn seeds_without_end_are_refused() {
    assert!(squared_distances(std::iter::repeat(true), &[2, 3], &[1.0; 2]).is_err());
}

#[test]
fn out_needs_one_element_per_pixel() {
    for length in [0, 5, 7] {
        let mut phi = vec![7.0; length];
        let error = signed_distances([Inside; 6], &[2, 3], &[1.0; 2], &mut phi).unwrap_err();
        let expected = format!("out: a length of {length} for shape [2, 3] is not supported; expected one element per pixel");
        assert_eq!(error.to_string(), expected);
        assert_eq!(phi, vec![7.0; length]);
    }
}
