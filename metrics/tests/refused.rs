//! What is refused, in which words; intervals.

use ndarray::{ArrayD, IxDyn, arr1, arr2};
use segloss_metrics::{Bootstrap, Calibration, Counts, Empties, LabelMaps, Matching, Metric, Settings, Summary};

fn map(shape: &[usize]) -> ArrayD<u8> {
    ArrayD::zeros(IxDyn(shape))
}

#[test]
fn maps_that_do_not_fit_name_both_shapes() {
    let refused = |a: &[usize], b: &[usize]| LabelMaps::new(map(a).view(), map(b).view()).unwrap_err().to_string();
    assert_eq!(refused(&[2, 3], &[3, 2]), "prediction of shape [2, 3] for a target of shape [3, 2]; expected one shape");
    for shape in [&[][..], &[2, 0], &[1, 1, 1, 1]] {
        let expected = format!("label maps of shape {shape:?}; expected one to three axes of length 1 or more");
        assert_eq!(refused(shape, shape), expected);
    }
    let array = map(&[2, 3]);
    let spaced =
        |spacing: &[f64]| LabelMaps::new(array.view(), array.view()).unwrap().with_spacing(spacing).unwrap_err().to_string();
    assert_eq!(spaced(&[1.0]), "1 spacings for label maps of shape [2, 3]; expected one for each axis");
    assert_eq!(spaced(&[1.0, 0.0]), "spacing 0 at [1] is outside [1e-18, 1e18]");
}

#[test]
fn options_out_of_range_are_refused() {
    let array = arr1(&[0, 1]);
    let maps = LabelMaps::new(array.view(), array.view()).unwrap();
    let refused = |settings: Settings| settings.scores(&maps, &[1]).unwrap_err().to_string();
    let metrics = |metric| Settings { metrics: vec![metric], ..Settings::default() };
    assert_eq!(refused(metrics(Metric::HausdorffPercentile(101.0))), "percentile 101: expected a number in [0, 100]");
    assert_eq!(refused(metrics(Metric::SurfaceDice(-1.0))), "tolerance -1: expected a finite number of at least 0");
    let matching = Settings { matching: Matching::Iou(0.2), ..Settings::default() };
    assert_eq!(
        refused(matching),
        "intersection over union of lesions 0.2: expected a number in [0.5, 1), so that no lesion has two partners"
    );
    assert_eq!(Calibration::new(0).unwrap_err().to_string(), "bins 0: expected a number from 1 to 1000000");
    let level = Bootstrap { level: 1.0, ..Bootstrap::default() }.check().unwrap_err().to_string();
    assert_eq!(level, "level of intervals 1: expected a number between 0 and 1, such as 0.95");
    assert!(Bootstrap { resamples: 0, ..Bootstrap::default() }.check().is_err());
}

#[test]
fn metrics_have_a_text() {
    for metric in Metric::ALL {
        assert_eq!(metric.to_string().parse::<Metric>().unwrap(), metric);
    }
    assert_eq!("hd99.5".parse::<Metric>().unwrap(), Metric::HausdorffPercentile(99.5));
    assert_eq!("nsd@2.5".parse::<Metric>().unwrap(), Metric::SurfaceDice(2.5));
    assert_eq!("hd101".parse::<Metric>().unwrap_err().to_string(), "percentile 101: expected a number in [0, 100]");
    for wrong in ["", "dise", "hd", "nsd", "surface_dice@x"] {
        let error = wrong.parse::<Metric>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("metric {wrong}: expected dice, iou, ")), "{error}");
    }
    assert!(Metric::Recall.is_of_counts() && !Metric::Hausdorff.is_of_counts());
}

#[test]
fn what_is_no_probability_or_no_channel_is_refused_and_nothing_is_added() {
    let mut calibration = Calibration::new(10).unwrap();
    let probabilities = arr2(&[[0.5, 0.2], [0.5, 0.8]]);
    let mut add = |p: &ndarray::Array2<f64>, t: [u8; 2], ignored: &[i64]| {
        calibration.top_label(p.view(), arr1(&t).view(), ignored).map_err(|error| error.to_string())
    };
    assert_eq!(
        add(&probabilities, [0, 3], &[]).unwrap_err(),
        "label 3 at [1] of the target, with 2 channels of probabilities; ignore it, or renumber the labels from 0"
    );
    assert_eq!(
        add(&arr2(&[[0.5, 1.2], [0.5, -0.2]]), [0, 1], &[]).unwrap_err(),
        "probability 1.2 at [0, 1]: expected a number in [0, 1]; give probabilities, not logits"
    );
    assert!(add(&arr2(&[[f64::NAN, 1.0], [0.0, 0.0]]), [0, 1], &[]).is_err());
    assert_eq!(
        add(&arr2(&[[0.5], [0.5]]), [0, 1], &[]).unwrap_err(),
        "probabilities of shape [2, 1] for a target of shape [2]; expected one axis of classes before the target's"
    );
    // What is ignored is not looked at.
    add(&arr2(&[[f64::NAN, 1.0], [0.0, 0.0]]), [9, 0], &[9]).unwrap();
    assert_eq!((calibration.bins().iter().map(|bin| bin.count).sum::<u64>(), calibration.expected()), (1, Some(0.0)));
    assert_eq!(Calibration::new(3).unwrap().expected(), None);
    let channel = Calibration::new(3).unwrap().class(2, probabilities.view(), arr1(&[0u8, 1]).view(), &[]).unwrap_err();
    assert_eq!(channel.to_string(), "class 2: expected one of the channels of probabilities");
}

/// 0 is in the first bin, 1 in the last, and the upper edge of a bin belongs to it.
#[test]
fn edges_of_bins() {
    let mut calibration = Calibration::new(4).unwrap();
    let probabilities = arr2(&[[0.0, 0.25, 0.26, 0.75, 1.0]]);
    calibration.class(0, probabilities.view(), arr1(&[0u8; 5]).view(), &[]).unwrap();
    let counts: Vec<u64> = calibration.bins().iter().map(|bin| bin.count).collect();
    assert_eq!(counts, [2, 1, 1, 1]);
    let other = calibration.clone();
    calibration.merge(&other).unwrap();
    assert_eq!(calibration.expected(), other.expected());
    assert!(calibration.merge(&Calibration::new(5).unwrap()).is_err());
}

#[test]
fn intervals_are_the_same_for_the_same_seed_and_hold_the_mean() {
    let values: Vec<Option<f64>> = (0..30).map(|i| (i % 7 != 0).then(|| f64::from(i * 13 % 30) / 30.0)).collect();
    let of = |seed| Summary::of_images(&values, &Bootstrap { seed, ..Bootstrap::default() });
    assert_eq!(of(1), of(1));
    assert_ne!(of(1).interval, of(2).interval);
    let summary = of(1);
    let ([low, high], mean) = (summary.interval.unwrap(), summary.mean.unwrap());
    assert!(low < mean && mean < high);
    assert_eq!((summary.images, summary.left_out), (25, 5));
    // The normal approximation, which is close for a mean of 25 numbers.
    let variance = values.iter().flatten().map(|v| (v - mean).powi(2)).sum::<f64>() / 25.0 / 25.0;
    let width = 2.0 * 1.96 * variance.sqrt();
    assert!(((high - low) / width - 1.0).abs() < 0.1, "{} for {width}", high - low);
}

#[test]
fn pooled_counts_are_those_of_all_pixels() {
    let counts = [(10, 10, 10), (10, 30, 5), (0, 5, 0)];
    let counts = counts.map(|(target, predicted, both)| Counts { valid: 100, target, predicted, both });
    let pooled = Summary::pooled(&counts, |counts| counts.dice(Empties::default()), &Bootstrap::default());
    assert_eq!(pooled.mean, Some(30.0 / 65.0));
    let [low, high] = pooled.interval.unwrap();
    assert!(low < 30.0 / 65.0 && 30.0 / 65.0 < high && high <= 1.0);
    let sum: Counts = counts.into_iter().sum();
    assert_eq!((sum.valid, sum.target, sum.predicted, sum.both), (300, 20, 45, 15));
}

#[test]
fn no_image_has_no_mean_and_one_has_no_interval() {
    let bootstrap = Bootstrap::default();
    assert_eq!(Summary::of_images(&[], &bootstrap), Summary::default());
    let one = Summary::of_images(&[Some(0.5)], &bootstrap);
    assert_eq!((one.mean, one.interval, one.images), (Some(0.5), None, 1));
    assert_eq!(Summary::pooled(&[], |counts: Counts| counts.dice(Empties::default()), &bootstrap).mean, None);
}
