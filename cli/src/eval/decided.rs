//! Metrics of the labels that logits decide for, beside the soft scores of the loss.

use ndarray::{ArrayD, Axis, IxDyn};
use segloss::{Activation, TargetKind};
use segloss_metrics::{Bootstrap, LabelMaps, Settings};

use super::input::{Input, TargetArray};
use crate::error::CliError;
use crate::metrics::report::{ImageScores, Report};

/// What stands where a pixel does not count, and where no class is decided for.
const NONE: i64 = i64::MIN;

/// Scores of every sample, and over all of them.
pub(super) fn scores(input: &Input, settings: &Settings) -> Result<Report, CliError> {
    let labels = labels(input).ok_or_else(|| {
        let value = settings.metrics.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let expected = "metrics compare decided labels with true ones: give a target of labels [N, *spatial]".into();
        CliError::Option { option: "metrics", value, expected }
    })?;
    let ignored = [&[NONE], input.loss.ignored()].concat();
    let (classes, decided) = decided(input);
    let mut images = Vec::new();
    for (n, target) in labels.axis_iter(Axis(0)).enumerate() {
        let (mut spacing, mut scores) = (Vec::new(), Vec::new());
        for Decided { classes, labels } in &decided {
            let maps = LabelMaps::new(labels.index_axis(Axis(0), n), target.view())?.with_ignored(&ignored);
            let maps = match &input.spacing {
                Some(spacing) => maps.with_spacing(spacing)?,
                None => maps,
            };
            spacing = maps.spacing().to_vec();
            scores.extend(settings.scores(&maps, classes)?);
        }
        images.push(ImageScores { name: n.to_string(), spacing, scores });
    }
    Ok(Report::new(&classes, images, input.spacing.is_some(), settings, &Bootstrap::default()))
}

/// What is decided for some of the classes.
struct Decided {
    classes: Vec<i64>,
    /// `[N, *spatial]`
    labels: ArrayD<i64>,
}

/// Under softmax the class of the largest logit, the first of equal ones, and under sigmoid each
/// class whose logit is above 0; with the classes to score, all but the background.
fn decided(input: &Input) -> (Vec<i64>, Vec<Decided>) {
    let logits = input.logits.floats();
    let channels = logits.len_of(Axis(1));
    if input.loss.activation() == Activation::Softmax {
        let largest = |pixel: ndarray::ArrayView1<'_, f64>| {
            let first = (0i64, f64::NEG_INFINITY);
            (0i64..).zip(pixel).fold(first, |best, (k, &z)| if z > best.1 { (k, z) } else { best }).0
        };
        let classes: Vec<i64> = (1..channels as i64).collect();
        let labels = logits.map_axis(Axis(1), largest);
        return (classes.clone(), vec![Decided { classes, labels }]);
    }
    // A single channel is the foreground: label 1.
    let label = |k: usize| if channels == 1 { 1 } else { k as i64 };
    let of = |(k, logits): (usize, ndarray::ArrayViewD<'_, f64>)| Decided {
        classes: vec![label(k)],
        labels: logits.mapv(|z| if z > 0.0 { label(k) } else { NONE }),
    };
    let classes = (0..channels).map(label).collect();
    (classes, logits.axis_iter(Axis(1)).enumerate().map(of).collect())
}

/// The true labels, `[N, *spatial]`, where the target is labels; those of pixels of weight 0 do not
/// count.
fn labels(input: &Input) -> Option<ArrayD<i64>> {
    let shape = input.logits.shape();
    let (TargetArray::Labels(labels), (TargetKind::Labels, _)) = (&input.target, input.target.beside(shape)) else {
        return None;
    };
    let mut labels = labels.wide();
    if let Some(weights) = &input.weights {
        let mut place = 0;
        labels.mapv_inplace(|label| {
            let counts = weights.at(place) != 0.0;
            place += 1;
            if counts { label } else { NONE }
        });
    }
    labels.into_shape_with_order(IxDyn(&[&shape[..1], &shape[2..]].concat())).ok()
}
