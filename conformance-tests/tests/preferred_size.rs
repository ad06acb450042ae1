//! Pressure and preferred size against an independent sketch in numpy (`golden/pressure.json`), for
//! every built-in term and one of a user's own, on ndarray and Burn, and fed image by image.

use std::ops::Range;

use backend_burn::{BurnLoss, BurnTarget};
use backend_ndarray::{NdarrayLoss, ShiftedSums, Target};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use loss_core::expr::{Expr, Scalar};
use loss_core::{
    Activation, Loss, LossError, Preference, Pressure, RegionSizePenalty, RegionSizes, Temperature, penalty, preferred_size,
};
use ndarray::{Array2, Array3, s};
use serde::Deserialize;

/// A user's term: proportions above a cap cost the square of what is above.
struct SizeCap;

impl RegionSizePenalty for SizeCap {
    fn penalty(&self, sizes: &RegionSizes) -> Expr<Scalar> {
        (sizes.predicted(Temperature::ONE) - 0.2).relu().squared().sum_classes().mean_samples()
    }
}

#[derive(Deserialize)]
struct Scene {
    scene: String,
    shape: [usize; 3],
    labels: Vec<u8>,
    logits: Vec<f64>,
    losses: Vec<Golden>,
}

#[derive(Deserialize)]
struct Golden {
    loss: String,
    classes: Vec<Class>,
}

#[derive(Deserialize)]
struct Class {
    pressure: f64,
    preferred: Wanted,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Wanted {
    Size { value: f64, predicted: f64, decided: f64, target: f64 },
    Nothing,
    Everything,
}

impl Scene {
    fn all() -> Vec<Self> {
        let scenes: Vec<Self> = serde_json::from_str(include_str!("../golden/pressure.json")).unwrap();
        assert!(scenes.iter().map(|scene| scene.losses.len()).sum::<usize>() > 50);
        scenes
    }

    fn arrays(&self) -> (Array3<f64>, Array2<u8>) {
        let [samples, _, pixels] = self.shape;
        let logits = Array3::from_shape_vec(self.shape, self.logits.clone()).unwrap();
        (logits, Array2::from_shape_vec([samples, pixels], self.labels.clone()).unwrap())
    }

    fn tensors(&self) -> (Tensor<3>, BurnTarget) {
        let ([samples, _, pixels], device) = (self.shape, Device::flex());
        let logits = Tensor::from_data(TensorData::new(self.logits.clone(), self.shape), (&device, DType::F64));
        let labels = self.labels.iter().map(|&label| i64::from(label)).collect::<Vec<_>>();
        let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [samples, pixels]), (&device, DType::I64));
        (logits, BurnTarget::labels(labels))
    }

    fn loss(&self, text: &str) -> Loss {
        let loss = if text == "size_cap" { penalty(SizeCap) } else { text.parse().unwrap() };
        loss.with_activation(if self.shape[1] == 1 { Activation::Sigmoid } else { Activation::Softmax })
    }

    /// Compares what a backend finds with the sketch.
    fn check(
        &self,
        pressure: impl Fn(&Loss) -> Result<Pressure, LossError>,
        preferred: impl Fn(&Loss, usize) -> Result<Preference, LossError>,
    ) {
        for Golden { loss: text, classes } in &self.losses {
            let loss = self.loss(text);
            let found = pressure(&loss).unwrap();
            for (k, Class { pressure, preferred: wanted }) in classes.iter().enumerate() {
                let what = format!("{}, {text}, class {k}", self.scene);
                assert!((found.total[k] - pressure).abs() < 1e-8, "{what}: {} and {pressure}", found.total[k]);
                self.same(&what, preferred(&loss, k).unwrap(), wanted);
            }
        }
    }

    fn same(&self, what: &str, found: Preference, wanted: &Wanted) {
        let [samples, _, pixels] = self.shape;
        let one_pixel = 1.0 / (samples * pixels) as f64;
        match (found, wanted) {
            (Preference::Nothing, Wanted::Nothing) | (Preference::Everything, Wanted::Everything) => {}
            (Preference::Size(size), Wanted::Size { value, predicted, decided, target }) => {
                assert!((size.at.value - value).abs() < 1e-9, "{what}: {size:?}, {value}");
                assert!((size.at.predicted - predicted).abs() < 2e-4 * predicted, "{what}: {size:?}, {predicted}");
                // A pixel may lie on the edge.
                assert!((size.at.decided - decided).abs() < 1.5 * one_pixel, "{what}: {size:?}, {decided}");
                assert!((size.at.target - target).abs() < 1e-12, "{what}: {size:?}, {target}");
            }
            _ => panic!("{what}: {found:?}"),
        }
    }
}

#[test]
fn ndarray_finds_what_the_sketch_finds() {
    for scene in Scene::all() {
        let (logits, labels) = scene.arrays();
        let target = Target::labels(labels.view());
        scene.check(
            |loss| NdarrayLoss::pressure(loss, logits.view(), &target),
            |loss, k| NdarrayLoss::preferred_size(loss, logits.view(), &target, k),
        );
    }
}

#[test]
fn burn_finds_what_the_sketch_finds() {
    for scene in Scene::all() {
        let (logits, target) = scene.tensors();
        scene.check(
            |loss| BurnLoss::pressure(loss, logits.clone(), &target),
            |loss, k| BurnLoss::preferred_size(loss, logits.clone(), &target, k),
        );
    }
}

/// Ranges of a length, each at most so long.
fn cuts(length: usize, most: usize) -> Vec<Range<usize>> {
    (0..length).step_by(most).map(|start| start..length.min(start + most)).collect()
}

/// A set of images is one question: sums of samples, each fed in tiles, and pressures of tiles that
/// add up. Maps of whole samples cannot be made in tiles.
#[test]
fn tiles_and_images_find_what_the_sketch_finds() {
    use backend_ndarray::{NdarrayStatistics, NdarrayWhole};
    for scene in Scene::all() {
        let (logits, labels) = scene.arrays();
        let [samples, classes, pixels] = scene.shape;
        let in_tiles = |loss: &Loss| !["topk", "boundary"].iter().any(|name| loss.to_string().contains(name));
        let tiles = |loss: &Loss| cuts(pixels, if in_tiles(loss) { pixels / 3 } else { pixels });
        let preferred = |loss: &Loss, k: usize| {
            preferred_size(|by| {
                let mut set = ShiftedSums::new(loss, classes, k, by)?;
                // The hardest pixels are those of the batch.
                let images = cuts(samples, if loss.to_string().contains("topk") { samples } else { 1 });
                for rows in images {
                    let mut image = ShiftedSums::new(loss, classes, k, by)?;
                    for range in tiles(loss) {
                        let labels = labels.slice(s![rows.clone(), range.clone()]);
                        image.add(logits.slice(s![rows.clone(), .., range]), &Target::labels(labels))?;
                    }
                    set.stack(image)?;
                }
                set.whole(None)
            })
        };
        let pressure = |loss: &Loss| {
            let mut sums = loss.statistics(classes)?;
            let part = |range: &Range<usize>| (logits.slice(s![.., .., range.clone()]), labels.slice(s![.., range.clone()]));
            for range in tiles(loss) {
                let (logits, labels) = part(&range);
                sums.add(logits, &Target::labels(labels))?;
            }
            let whole = sums.whole(None)?;
            let mut all: Option<Pressure> = None;
            for range in tiles(loss) {
                let (logits, labels) = part(&range);
                let part = whole.pressure(logits, &Target::labels(labels))?;
                match &mut all {
                    Some(all) => all.add(&part),
                    None => all = Some(part),
                }
            }
            Ok(all.unwrap())
        };
        scene.check(pressure, preferred);
    }
}

#[test]
fn a_class_that_is_not_there_is_refused() {
    let scene = Scene::all().swap_remove(0);
    let (logits, labels) = scene.arrays();
    let loss: Loss = "ce".parse().unwrap();
    let refused = NdarrayLoss::preferred_size(&loss, logits.view(), &Target::labels(labels.view()), 3).unwrap_err();
    assert!(matches!(refused, LossError::ClassIndex { class: 3, classes: 3, .. }), "{refused}");
    let (logits, target) = scene.tensors();
    assert!(matches!(
        BurnLoss::preferred_size(&loss, logits, &target, 7),
        Err(LossError::ClassIndex { class: 7, classes: 3, .. })
    ));
}

/// Half precision is shifted in the type that is computed in: its own steps are as coarse as the
/// answer.
#[test]
fn half_precision_is_not_rounded_when_shifted() {
    let scene = Scene::all().swap_remove(0);
    let (logits, labels) = scene.arrays();
    let half = logits.mapv(half::f16::from_f64);
    let wide = half.mapv(|z| z.to_f64());
    let (loss, target): (Loss, _) = ("ce".parse().unwrap(), Target::labels(labels.view()));
    let [half, wide] = [
        NdarrayLoss::preferred_size(&loss, half.view(), &target, 2),
        NdarrayLoss::preferred_size(&loss, wide.view(), &target, 2),
    ];
    let (Preference::Size(half), Preference::Size(wide)) = (half.unwrap(), wide.unwrap()) else { panic!() };
    assert!((half.at.predicted / wide.at.predicted - 1.0).abs() < 1e-3, "{half:?} {wide:?}");
}
