//! What an image counts where a region is empty: every case by name.

use AbsentClass::{Count, Skip, SkipEmpty, Zero};
use ndarray::{Array2, arr2};
use segloss_metrics::{AbsentClass, Bootstrap, Empties, LabelMaps, Metric, OneEmpty, Settings, Summary};

/// Two pixels of four: rows 3 mm apart and columns 2 mm, so that the diagonal is √(36 + 16).
fn map(region: bool) -> Array2<u8> {
    if region { arr2(&[[0, 1], [0, 1]]) } else { Array2::zeros([2, 2]) }
}

const DIAGONAL: f64 = 7.211_102_550_927_978;

/// Dice, precision, recall, size error, HD95, average distance, surface Dice, and F1 per lesion.
fn values(truth: bool, predicted: bool, absent: AbsentClass, one_empty: OneEmpty) -> Vec<Option<f64>> {
    let metrics = ["dice", "precision", "recall", "size_error", "hd95", "assd", "nsd@1", "lesion_f1"];
    let metrics: Vec<Metric> = metrics.iter().map(|name| name.parse().unwrap()).collect();
    let settings = Settings { metrics, empties: Empties { absent, one_empty }, ..Settings::default() };
    let (target, prediction) = (map(truth), map(predicted));
    let maps = LabelMaps::new(prediction.view(), target.view()).unwrap().with_spacing(&[3.0, 2.0]).unwrap();
    settings.scores(&maps, &[1]).unwrap().remove(0).values
}

/// Scores, the size error, distances, scores.
fn expected(score: Option<f64>, size: Option<f64>, distance: Option<f64>) -> Vec<Option<f64>> {
    vec![score, score, score, size, distance, distance, score, score]
}

const ALL_ABSENT: [AbsentClass; 4] = [Zero, Skip, SkipEmpty, Count];

#[test]
fn both_present_is_measured_under_any_policy() {
    for absent in ALL_ABSENT {
        for one_empty in [OneEmpty::Skip, OneEmpty::Worst, OneEmpty::Distance(9.0)] {
            assert_eq!(values(true, true, absent, one_empty), expected(Some(1.0), Some(0.0), Some(0.0)));
        }
    }
}

#[test]
fn a_missed_region_is_the_worst_under_any_rule_for_absent_classes() {
    for absent in ALL_ABSENT {
        assert_eq!(values(true, false, absent, OneEmpty::Worst), expected(Some(0.0), Some(-1.0), Some(DIAGONAL)));
    }
}

#[test]
fn a_missed_region_has_the_distance_that_is_given() {
    assert_eq!(values(true, false, SkipEmpty, OneEmpty::Distance(50.0)), expected(Some(0.0), Some(-1.0), Some(50.0)));
}

#[test]
fn a_missed_region_is_left_out_by_skip() {
    for absent in ALL_ABSENT {
        assert_eq!(values(true, false, absent, OneEmpty::Skip), expected(None, None, None));
    }
}

#[test]
fn a_false_region_is_the_worst_by_skip_empty_and_count_and_has_no_size_error() {
    for absent in [SkipEmpty, Count] {
        assert_eq!(values(false, true, absent, OneEmpty::Worst), expected(Some(0.0), None, Some(DIAGONAL)));
        assert_eq!(values(false, true, absent, OneEmpty::Distance(5.0)), expected(Some(0.0), None, Some(5.0)));
    }
}

#[test]
fn a_false_region_is_left_out_by_skip() {
    assert_eq!(values(false, true, Skip, OneEmpty::Worst), expected(None, None, None));
    assert_eq!(values(false, true, SkipEmpty, OneEmpty::Skip), expected(None, None, None));
}

#[test]
fn a_false_region_is_perfect_by_the_authors_zero() {
    assert_eq!(values(false, true, Zero, OneEmpty::Worst), expected(Some(1.0), Some(0.0), Some(0.0)));
}

#[test]
fn neither_region_is_left_out_by_skip_and_skip_empty() {
    for absent in [Skip, SkipEmpty] {
        assert_eq!(values(false, false, absent, OneEmpty::Worst), expected(None, None, None));
    }
}

#[test]
fn neither_region_is_perfect_by_zero_and_the_worst_by_count() {
    assert_eq!(values(false, false, Zero, OneEmpty::Worst), expected(Some(1.0), Some(0.0), Some(0.0)));
    assert_eq!(values(false, false, Count, OneEmpty::Worst), expected(Some(0.0), None, Some(DIAGONAL)));
}

#[test]
fn all_pixels_ignored_is_neither_region() {
    let target = Array2::from_elem([2, 2], 255u8);
    let prediction = map(true);
    let maps = LabelMaps::new(prediction.view(), target.view()).unwrap().with_ignored(&[255]);
    let counts = maps.counts(1);
    assert_eq!((counts.valid, counts.dice(Empties::default())), (0, None));
    assert!(maps.surface_distances(1, Default::default()).unwrap().is_none());
    assert_eq!(maps.lesions(1, Default::default(), Default::default()), Default::default());
}

#[test]
fn what_is_left_out_is_counted_and_a_miss_is_not_dropped_silently() {
    let dice = |empties: Empties| {
        let images = [(true, true), (true, false), (false, true), (false, false)];
        let values: Vec<_> = images.map(|(t, p)| values(t, p, empties.absent, empties.one_empty)[0]).to_vec();
        Summary::of_images(&values, &Bootstrap::default())
    };
    let usual = dice(Empties::default());
    assert_eq!((usual.mean, usual.images, usual.left_out), (Some(1.0 / 3.0), 3, 1));
    let authors = dice(Empties::BOTH_PRESENT);
    assert_eq!((authors.mean, authors.interval, authors.images, authors.left_out), (Some(1.0), None, 1, 3));
}

#[test]
fn a_penalty_that_is_no_distance_is_refused() {
    for distance in [-1.0, f64::NAN, f64::INFINITY] {
        let settings = Settings {
            empties: Empties { one_empty: OneEmpty::Distance(distance), ..Empties::default() },
            ..Settings::default()
        };
        let maps = map(true);
        let error = settings.scores(&LabelMaps::new(maps.view(), maps.view()).unwrap(), &[1]).unwrap_err().to_string();
        assert_eq!(error, format!("distance of a missing region {distance}: expected a finite number of at least 0"));
    }
}
