//! What holds for any maps, and brute force on small ones.

use ndarray::{ArrayD, Axis, IxDyn, Slice};
use proptest::prelude::*;
use segloss_metrics::{Connectivity, Empties, LabelMaps, Matching, Surface, SurfaceDistances};

const SURFACES: [Surface; 3] = [Surface::Border, Surface::Elements, Surface::Pixels];

#[derive(Clone, Debug)]
struct Scene {
    target: ArrayD<u8>,
    prediction: ArrayD<u8>,
    spacing: Vec<f64>,
}

impl Scene {
    fn maps(&self) -> LabelMaps<'_, u8, u8> {
        LabelMaps::new(self.prediction.view(), self.target.view()).unwrap().with_spacing(&self.spacing).unwrap()
    }

    fn swapped(&self) -> Self {
        Self { target: self.prediction.clone(), prediction: self.target.clone(), spacing: self.spacing.clone() }
    }

    fn distances(&self, surface: Surface) -> SurfaceDistances {
        self.maps().surface_distances(1, surface).unwrap().unwrap()
    }
}

/// Maps of one to three axes in which each region has a pixel.
fn scenes() -> impl Strategy<Value = Scene> {
    let shape = prop_oneof![
        prop::collection::vec(1..40_usize, 1),
        prop::collection::vec(1..10_usize, 2),
        prop::collection::vec(1..6_usize, 3),
    ];
    shape.prop_flat_map(|shape| {
        let pixels: usize = shape.iter().product();
        let map = || (prop::collection::vec(0..100_u8, pixels), 1..100_u8, 0..pixels);
        let spacing = prop::collection::vec(0.2..4.0_f64, shape.len());
        (Just(shape), map(), map(), spacing).prop_map(|(shape, target, prediction, spacing)| {
            let array = |(draws, share, sure): (Vec<u8>, u8, usize)| {
                let mut map: Vec<u8> = draws.into_iter().map(|draw| u8::from(draw < share)).collect();
                map[sure] = 1;
                ArrayD::from_shape_vec(IxDyn(&shape), map).unwrap()
            };
            Scene { target: array(target), prediction: array(prediction), spacing }
        })
    })
}

/// Whether a pixel is of the region; beyond the image none is.
fn at(map: &ArrayD<u8>, place: &[isize]) -> bool {
    let place: Option<Vec<usize>> = place.iter().map(|&i| usize::try_from(i).ok()).collect();
    place.and_then(|place| map.get(IxDyn(&place)).copied()) == Some(1)
}

/// The definitions, point by point: borders and pixels.
fn points(map: &ArrayD<u8>, surface: Surface) -> Vec<Vec<f64>> {
    let is_point = |place: &[isize]| {
        let outside = (0..place.len()).any(|axis| {
            [-1, 1].iter().any(|step| {
                let mut next = place.to_vec();
                next[axis] += step;
                !at(map, &next)
            })
        });
        at(map, place) && (surface == Surface::Pixels || outside)
    };
    let places = map.indexed_iter().map(|(place, _)| (0..map.ndim()).map(|a| place[a] as isize).collect::<Vec<_>>());
    places.filter(|place| is_point(place)).map(|place| place.iter().map(|&i| i as f64).collect()).collect()
}

fn brute_force(from: &[Vec<f64>], to: &[Vec<f64>], spacing: &[f64]) -> Vec<f64> {
    let distance =
        |a: &[f64], b: &[f64]| a.iter().zip(b).zip(spacing).map(|((a, b), s)| ((a - b) * s).powi(2)).sum::<f64>().sqrt();
    let mut all: Vec<f64> = from.iter().map(|a| to.iter().map(|b| distance(a, b)).fold(f64::INFINITY, f64::min)).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// As numpy's `percentile`.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let rank = percent / 100.0 * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    low + (high - low) * rank.fract()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

/// Components by flooding, for the regions of the map.
fn flooded(map: &ArrayD<u8>, axes: usize) -> usize {
    let places: Vec<Vec<isize>> =
        map.indexed_iter().filter(|(_, v)| **v == 1).map(|(p, _)| (0..map.ndim()).map(|a| p[a] as isize).collect()).collect();
    let touch = |a: &[isize], b: &[isize]| {
        let steps: Vec<isize> = a.iter().zip(b).map(|(a, b)| (a - b).abs()).collect();
        steps.iter().all(|&s| s <= 1) && steps.iter().filter(|&&s| s == 1).count() <= axes
    };
    let mut seen = vec![false; places.len()];
    let mut count = 0;
    for start in 0..places.len() {
        if seen[start] {
            continue;
        }
        count += 1;
        let mut open = vec![start];
        seen[start] = true;
        while let Some(i) = open.pop() {
            for j in 0..places.len() {
                if !seen[j] && touch(&places[i], &places[j]) {
                    seen[j] = true;
                    open.push(j);
                }
            }
        }
    }
    count
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn distances_are_what_brute_force_gives(scene in scenes()) {
        for surface in [Surface::Border, Surface::Pixels] {
            let ours = scene.distances(surface);
            let (p, t) = (points(&scene.prediction, surface), points(&scene.target, surface));
            let (to_target, to_prediction) = (brute_force(&p, &t, &scene.spacing), brute_force(&t, &p, &scene.spacing));
            let all = [&to_target[..], &to_prediction[..]].concat();
            prop_assert!(close(ours.hausdorff(), all.iter().copied().fold(0.0, f64::max)));
            prop_assert!(close(ours.average(), all.iter().sum::<f64>() / all.len() as f64));
            for percent in [0.0, 37.5, 95.0, 100.0] {
                let theirs = percentile(&to_target, percent).max(percentile(&to_prediction, percent));
                prop_assert!(close(ours.hausdorff_percentile(percent).unwrap(), theirs));
            }
            let within = all.iter().filter(|&&d| d <= 1.3).count() as f64 / all.len() as f64;
            prop_assert!(close(ours.surface_dice(1.3).unwrap(), within));
        }
    }

    #[test]
    fn prediction_and_target_may_change_places(scene in scenes()) {
        let swapped = scene.swapped();
        for surface in SURFACES {
            let (a, b) = (scene.distances(surface), swapped.distances(surface));
            prop_assert_eq!(a.hausdorff(), b.hausdorff());
            prop_assert_eq!(a.hausdorff_percentile(95.0).unwrap(), b.hausdorff_percentile(95.0).unwrap());
            prop_assert!(close(a.average(), b.average()));
            prop_assert!(close(a.surface_dice(1.0).unwrap(), b.surface_dice(1.0).unwrap()));
            prop_assert_eq!(a.mean_to_target(), b.mean_to_prediction());
        }
        let usual = Empties::default();
        let (a, b) = (scene.maps().counts(1), swapped.maps().counts(1));
        prop_assert_eq!((a.dice(usual), a.iou(usual), a.recall(usual)), (b.dice(usual), b.iou(usual), b.precision(usual)));
        for matching in [Matching::Overlap, Matching::Iou(0.5)] {
            let [a, b] = [&scene, &swapped].map(|scene| scene.maps().lesions(1, Connectivity::Faces, matching));
            prop_assert_eq!((a.target, a.found, a.predicted, a.matched), (b.predicted, b.matched, b.target, b.found));
        }
    }

    #[test]
    fn a_map_equals_itself(scene in scenes()) {
        let same = Scene { prediction: scene.target.clone(), ..scene };
        for surface in SURFACES {
            let distances = same.distances(surface);
            prop_assert_eq!((distances.hausdorff(), distances.average()), (0.0, 0.0));
            prop_assert_eq!(distances.surface_dice(0.0).unwrap(), 1.0);
        }
        let usual = Empties::default();
        let counts = same.maps().counts(1);
        prop_assert_eq!((counts.dice(usual), counts.iou(usual), counts.size_error(usual)), (Some(1.0), Some(1.0), Some(0.0)));
        prop_assert_eq!(same.maps().lesions(1, Connectivity::Edges, Matching::Iou(0.99)).f1(usual), Some(1.0));
    }

    #[test]
    fn background_around_both_and_ignored_labels_change_nothing(scene in scenes(), before in 0..4_usize, after in 0..4_usize) {
        let moved = |map: &ArrayD<u8>, fill: u8| {
            let shape: Vec<usize> = map.shape().iter().map(|n| n + before + after).collect();
            let mut larger = ArrayD::from_elem(IxDyn(&shape), fill);
            let mut place = larger.view_mut();
            for axis in 0..map.ndim() {
                place.slice_axis_inplace(Axis(axis), Slice::from(before..before + map.shape()[axis]));
            }
            place.assign(map);
            larger
        };
        // Around the prediction there is more of the class, which is ignored.
        for (fill, predicted) in [(0, 0), (7, 1)] {
            let (prediction, target) = (moved(&scene.prediction, predicted), moved(&scene.target, fill));
            let there = LabelMaps::new(prediction.view(), target.view()).unwrap();
            let there = there.with_spacing(&scene.spacing).unwrap().with_ignored(&[7]);
            for surface in SURFACES {
                prop_assert_eq!(scene.distances(surface), there.surface_distances(1, surface).unwrap().unwrap());
            }
            let (a, b) = (scene.maps().counts(1), there.counts(1));
            prop_assert_eq!((a.target, a.predicted, a.both), (b.target, b.predicted, b.both));
            let lesions = scene.maps().lesions(1, Connectivity::Corners, Matching::Overlap);
            prop_assert_eq!(lesions, there.lesions(1, Connectivity::Corners, Matching::Overlap));
        }
    }

    #[test]
    fn distances_grow_with_the_spacing(scene in scenes(), power in -3..4_i32) {
        let factor = 2f64.powi(power);
        let larger = Scene { spacing: scene.spacing.iter().map(|s| s * factor).collect(), ..scene.clone() };
        for surface in SURFACES {
            let (a, b) = (scene.distances(surface), larger.distances(surface));
            prop_assert_eq!(a.hausdorff() * factor, b.hausdorff());
            prop_assert_eq!(a.hausdorff_percentile(95.0).unwrap() * factor, b.hausdorff_percentile(95.0).unwrap());
            prop_assert!(close(a.average() * factor, b.average()));
            prop_assert!(close(a.surface_dice(1.0).unwrap(), b.surface_dice(factor).unwrap()));
        }
        prop_assert_eq!(scene.maps().counts(1), larger.maps().counts(1));
    }

    #[test]
    fn distances_are_in_order(scene in scenes()) {
        for surface in SURFACES {
            let distances = scene.distances(surface);
            let percentiles = [0.0, 50.0, 95.0, 100.0].map(|percent| distances.hausdorff_percentile(percent).unwrap());
            prop_assert!(percentiles.is_sorted());
            prop_assert_eq!(percentiles[3], distances.hausdorff());
            prop_assert!(distances.average() <= distances.hausdorff());
            prop_assert!(distances.hausdorff() <= scene.maps().diagonal() * (1.0 + 1e-12));
            let dice = [0.0, 1.0, 2.0, 1e9].map(|tolerance| distances.surface_dice(tolerance).unwrap());
            prop_assert!(dice.is_sorted() && dice[3] == 1.0 && dice[0] >= 0.0);
        }
        let usual = Empties::default();
        let counts = scene.maps().counts(1);
        let (dice, iou) = (counts.dice(usual).unwrap(), counts.iou(usual).unwrap());
        prop_assert!(close(dice, 2.0 * iou / (1.0 + iou)));
    }

    #[test]
    fn components_are_what_flooding_gives(scene in scenes()) {
        for (axes, connectivity) in [(1, Connectivity::Faces), (2, Connectivity::Edges), (3, Connectivity::Corners)] {
            let lesions = scene.maps().lesions(1, connectivity, Matching::Overlap);
            prop_assert_eq!(lesions.target as usize, flooded(&scene.target, axes));
            prop_assert_eq!(lesions.predicted as usize, flooded(&scene.prediction, axes));
        }
    }

    /// Any memory order, and any integer types.
    #[test]
    fn the_order_in_memory_and_the_type_do_not_matter(scene in scenes()) {
        let fortran = ArrayD::from_shape_vec(
            ndarray::ShapeBuilder::f(IxDyn(scene.target.shape())),
            scene.target.t().iter().map(|&label| i64::from(label)).collect(),
        ).unwrap();
        let prediction = scene.prediction.mapv(|label| label == 1);
        let maps = LabelMaps::new(prediction.view(), fortran.view()).unwrap().with_spacing(&scene.spacing).unwrap();
        prop_assert_eq!(maps.counts(1), scene.maps().counts(1));
        prop_assert_eq!(maps.counts_of(&[0, 1])[1], scene.maps().counts(1));
        prop_assert_eq!(maps.surface_distances(1, Surface::Elements).unwrap().unwrap(), scene.distances(Surface::Elements));
    }
}
