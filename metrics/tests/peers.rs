//! The numbers of MONAI, `surface-distance`, SimpleITK and scipy on the same maps: golden/make.py.

use ndarray::{ArrayD, IxDyn};
use segloss_metrics::{Calibration, Connectivity, Counts, Empties, LabelMaps, Lesions, Matching, Surface, SurfaceDistances};
use serde_json::Value;

/// MONAI computes in float32.
const F32: f64 = 1e-6;
/// So is the rank of a percentile among up to some 100 points, which is off by 100 · 2^-24: times
/// the step to the next distance.
const RANK: f64 = 1e-5;
const F64: f64 = 1e-12;

/// The rule of make.py.
fn noise(seed: u64, index: u64) -> f64 {
    let mut x = (index * 2_654_435_761 + seed * 40_503 + 12_345) & 0xffff_ffff;
    for _ in 0..2 {
        x ^= x >> 16;
        x = (x * 0x045d_9f3b) & 0xffff_ffff;
    }
    x ^= x >> 16;
    x as f64 / 4_294_967_296.0
}

fn scene(shape: &[usize], how: &Value) -> ArrayD<u8> {
    let (seed, moved, rough) = (how[0].as_u64().unwrap(), how[1].as_f64().unwrap(), how[2].as_f64().unwrap());
    let mut index = 0;
    ArrayD::from_shape_fn(IxDyn(shape), |place| {
        let part = |a: usize| {
            let n = shape[a] as f64;
            ((place[a] as f64 - (0.5 * (n - 1.0) + moved)) / (0.3 * n)).powi(2)
        };
        let inside = (0..shape.len()).map(part).sum::<f64>() <= 1.0;
        index += 1;
        u8::from(inside ^ (noise(seed, index - 1) < rough))
    })
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

struct Golden {
    name: String,
    spacing: Vec<f64>,
    target: ArrayD<u8>,
    prediction: ArrayD<u8>,
    theirs: Value,
    percentiles: Vec<f64>,
    tolerances: Vec<f64>,
}

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/golden.json")).unwrap()
}

fn cases() -> Vec<Golden> {
    let all = golden();
    let case = |case: &Value| {
        let shape: Vec<usize> = numbers(&case["shape"]).into_iter().map(|n| n as usize).collect();
        Golden {
            name: case["name"].as_str().unwrap().to_owned(),
            spacing: numbers(&case["spacing"]),
            target: scene(&shape, &case["target"]),
            prediction: scene(&shape, &case["prediction"]),
            theirs: case.clone(),
            percentiles: numbers(&all["percentiles"]),
            tolerances: numbers(&all["tolerances"]),
        }
    };
    let cases: Vec<Golden> = all["cases"].as_array().unwrap().iter().map(case).collect();
    assert_eq!(cases.len(), 7);
    cases
}

impl Golden {
    fn maps(&self) -> LabelMaps<'_, u8, u8> {
        LabelMaps::new(self.prediction.view(), self.target.view()).unwrap().with_spacing(&self.spacing).unwrap()
    }

    fn counts(&self) -> Counts {
        self.maps().counts(1)
    }

    fn distances(&self, surface: Surface) -> SurfaceDistances {
        self.maps().surface_distances(1, surface).unwrap().unwrap()
    }

    #[track_caller]
    fn close(&self, what: &str, ours: f64, theirs: &Value, tolerance: f64) {
        let theirs = theirs.as_f64().unwrap_or_else(|| panic!("{}: no {what}", self.name));
        assert!((ours - theirs).abs() <= tolerance * theirs.abs().max(1.0), "{}, {what}: {ours} for {theirs}", self.name);
    }
}

#[test]
fn the_maps_are_those_of_the_script() {
    for case in cases() {
        let counts = case.counts();
        let ours = [counts.target, counts.predicted, counts.both].map(|n| n as f64);
        assert_eq!(numbers(&case.theirs["counts"]), ours, "{}", case.name);
    }
}

#[test]
fn overlap_and_size_are_those_of_monai() {
    let usual = Empties::default();
    for case in cases() {
        let (counts, monai) = (case.counts(), &case.theirs["monai"]);
        case.close("Dice", counts.dice(usual).unwrap(), &monai["dice"], F32);
        case.close("IoU", counts.iou(usual).unwrap(), &monai["iou"], F32);
        case.close("precision", counts.precision(usual).unwrap(), &monai["precision"], F32);
        case.close("recall", counts.recall(usual).unwrap(), &monai["recall"], F32);
        let pixels = counts.size_error(usual).unwrap().abs() * counts.target as f64;
        case.close("size", pixels, &monai["size_difference"], F32);
    }
}

#[test]
fn borders_are_those_of_monai() {
    for case in cases() {
        let (ours, monai) = (case.distances(Surface::Border), &case.theirs["monai"]);
        case.close("Hausdorff", ours.hausdorff(), &monai["hausdorff"], F32);
        case.close("average", ours.average(), &monai["average"], F32);
        case.close("to target", ours.mean_to_target(), &monai["to_target"], F32);
        case.close("to prediction", ours.mean_to_prediction(), &monai["to_prediction"], F32);
        for (i, &percent) in case.percentiles.iter().enumerate() {
            case.close("percentile", ours.hausdorff_percentile(percent).unwrap(), &monai["percentiles"][i], RANK);
        }
        // MONAI has no surface Dice on a line.
        if case.spacing.len() > 1 {
            for (i, &tolerance) in case.tolerances.iter().enumerate() {
                case.close("surface Dice", ours.surface_dice(tolerance).unwrap(), &monai["surface_dice"][i], F32);
            }
        }
    }
}

#[test]
fn elements_are_those_of_surface_distance() {
    let cases: Vec<Golden> = cases().into_iter().filter(|case| !case.theirs["deepmind"].is_null()).collect();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let (ours, deepmind) = (case.distances(Surface::Elements), &case.theirs["deepmind"]);
        case.close("Hausdorff", ours.hausdorff(), &deepmind["hausdorff"], F64);
        case.close("average", ours.average(), &deepmind["average"], F64);
        case.close("to target", ours.mean_to_target(), &deepmind["to_target"], F64);
        case.close("to prediction", ours.mean_to_prediction(), &deepmind["to_prediction"], F64);
        for (i, &percent) in case.percentiles.iter().enumerate() {
            case.close("percentile", ours.hausdorff_percentile(percent).unwrap(), &deepmind["percentiles"][i], F64);
        }
        for (i, &tolerance) in case.tolerances.iter().enumerate() {
            case.close("surface Dice", ours.surface_dice(tolerance).unwrap(), &deepmind["surface_dice"][i], F64);
        }
    }
}

#[test]
fn pixels_are_those_of_simple_itk() {
    let cases: Vec<Golden> = cases().into_iter().filter(|case| !case.theirs["simple_itk"].is_null()).collect();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let (ours, itk) = (case.distances(Surface::Pixels), &case.theirs["simple_itk"]);
        case.close("Hausdorff", ours.hausdorff(), &itk["hausdorff"], F32);
        case.close("average", 0.5 * (ours.mean_to_target() + ours.mean_to_prediction()), &itk["average"], F64);
        case.close("Dice", case.counts().dice(Empties::default()).unwrap(), &itk["dice"], F64);
    }
}

#[test]
fn lesions_are_those_of_scipy() {
    for case in cases() {
        for (i, connectivity) in [Connectivity::Faces, Connectivity::Edges, Connectivity::Corners].into_iter().enumerate() {
            let theirs: Vec<u64> = numbers(&case.theirs["lesions"][i]).into_iter().map(|n| n as u64).collect();
            let [target, found, predicted, matched, pairs] = theirs[..] else { panic!("five numbers") };
            let ours = case.maps().lesions(1, connectivity, Matching::Overlap);
            assert_eq!(ours, Lesions { target, found, predicted, matched }, "{}, {connectivity:?}", case.name);
            let ours = case.maps().lesions(1, connectivity, Matching::Iou(0.5));
            assert_eq!(ours, Lesions { target, found: pairs, predicted, matched: pairs }, "{}, {connectivity:?}", case.name);
        }
    }
}

#[test]
fn calibration_is_that_of_guo_and_of_monai() {
    let all = golden();
    let given = &all["calibration"];
    let shape: Vec<usize> = numbers(&given["shape"]).into_iter().map(|n| n as usize).collect();
    let probabilities = ArrayD::from_shape_vec(IxDyn(&shape), numbers(&given["probabilities"])).unwrap();
    let labels = numbers(&given["target"]).into_iter().map(|label| label as i32).collect();
    let target = ArrayD::from_shape_vec(IxDyn(&shape[1..]), labels).unwrap();
    let mut top = Calibration::new(15).unwrap();
    top.top_label(probabilities.view(), target.view(), &[]).unwrap();
    assert!((top.expected().unwrap() - given["guo_15"].as_f64().unwrap()).abs() < F64);
    for class in 0..shape[0] {
        let mut ours = Calibration::new(20).unwrap();
        ours.class(class, probabilities.view(), target.view(), &[]).unwrap();
        for (name, ours) in [("expected", ours.expected()), ("average", ours.average()), ("maximum", ours.maximum())] {
            let theirs = given["monai_20"][name][class].as_f64().unwrap();
            assert!((ours.unwrap() - theirs).abs() < 1e-5, "{name} of class {class}: {ours:?} for {theirs}");
        }
    }
}
