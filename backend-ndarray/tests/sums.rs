//! What tiles refuse. That they give the whole is what the suite tests.

use backend_ndarray::{NdarrayLoss, NdarrayStatistics, NdarrayWhole, Target};
use loss_core::{Loss, LossError};
use ndarray::{Array2, Array3};

fn loss() -> Loss {
    "ce + dice".parse().unwrap()
}

#[test]
fn a_whole_needs_a_tile() {
    assert!(matches!(loss().statistics(2).unwrap().whole(None), Err(LossError::NoTiles)));
}

#[test]
fn tiles_have_the_same_samples_and_classes() {
    let mut tiles = loss().statistics(2).unwrap();
    let (one, two, labels) = (Array3::<f32>::zeros((1, 2, 5)), Array3::<f32>::zeros((2, 2, 5)), Array2::<u8>::zeros((2, 5)));
    let of = |samples: usize| labels.slice(ndarray::s![..samples, ..]);
    tiles.add(one.view(), &Target::labels(of(1))).unwrap();
    let before = tiles.whole(None).unwrap().evaluation().total;
    let error = tiles.add(two.view(), &Target::labels(of(2))).unwrap_err();
    assert_eq!(error.to_string(), "a tile has 2 samples and 2 classes; the whole has 1 and 2");
    let whole = tiles.whole(None).unwrap();
    assert_eq!(whole.evaluation().total, before, "nothing of it was added");
    assert!(whole.gradient(two.view(), &Target::labels(of(2))).is_err());
    let three = Array3::<f32>::zeros((1, 3, 5));
    let error = tiles.add(three.view(), &Target::labels(of(1))).unwrap_err();
    assert!(matches!(error, LossError::TileMismatch { expected: [1, 2], got: [1, 3], .. }));
    assert!(matches!(tiles.merge(loss().statistics(3).unwrap()), Err(LossError::TileMismatch { .. })));
}

#[test]
fn a_tile_that_is_refused_is_not_added() {
    let mut tiles = loss().statistics(2).unwrap();
    let (logits, good, bad) =
        (Array3::<f32>::zeros((1, 2, 5)), Array2::<u8>::zeros((1, 5)), Array2::<u8>::from_elem((1, 5), 7));
    tiles.add(logits.view(), &Target::labels(good.view())).unwrap();
    assert!(matches!(tiles.add(logits.view(), &Target::labels(bad.view())), Err(LossError::LabelOutOfRange { label: 7, .. })));
    let whole = tiles.whole(None).unwrap();
    let alone = loss().value(logits.view(), &Target::labels(good.view())).unwrap();
    assert!((whole.evaluation().total - alone).abs() < 1e-12);
}

#[test]
fn tiles_of_another_loss_are_not_merged() {
    let (mut dice, other) = (loss().statistics(2).unwrap(), "ce".parse::<Loss>().unwrap().statistics(2).unwrap());
    let error = dice.merge(other).unwrap_err();
    assert_eq!(error.to_string(), "statistics of ce + dice cannot be put together with those of ce");
}
