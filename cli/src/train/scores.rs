//! The images that validate, each judged by its decided pixels and surfaces: `images.csv`, and
//! means with their intervals.

use std::path::Path;

use segloss_metrics::{Bootstrap, Empties, Summary};
use serde::{Deserialize, Serialize};

use super::judge::{ClassScore, ImageScores};
use crate::error::CliError;
use crate::output;
use crate::table::Table;

/// What is measured of each image and class.
const METRICS: [&str; 4] = ["dice", "size_error", "hd95", "missed"];

/// A class over all images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClassScores {
    /// Its name.
    pub(crate) class: String,
    /// Mean Dice of the images that have the class or are given it.
    pub(crate) dice: MeanScore,
    /// Mean of (predicted − true) ÷ true pixels, of the images that have it.
    pub(crate) size_error: MeanScore,
    /// Mean 95th percentile of surface distances; the image's diagonal where one region is empty.
    pub(crate) hd95: MeanScore,
    /// Share of the images that have it and are not given it.
    pub(crate) missed: MeanScore,
}

/// A mean over images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MeanScore {
    /// None where no image counts.
    pub(crate) mean: Option<f64>,
    /// In which it lies in 95 % of draws of as many images; none of one image.
    pub(crate) interval: Option<[f64; 2]>,
    /// Images that count.
    pub(crate) images: usize,
}

/// A score of an image: left out as [`Empties::default`] has it.
pub(crate) fn score(class: &ClassScore, diagonal: f64, metric: &str) -> Option<f64> {
    let (counts, usual) = (class.counts, Empties::default());
    let there = [counts.target > 0, counts.predicted > 0];
    match metric {
        "dice" => counts.dice(usual),
        "size_error" => counts.size_error(usual),
        "missed" => there[0].then(|| f64::from(!there[1])),
        _ => match there {
            [true, true] => class.hd95,
            [false, false] => None,
            _ => Some(diagonal),
        },
    }
}

/// Means over images of every class from `foreground` on.
pub(crate) fn means(judged: &[&ImageScores], names: &[String], foreground: usize) -> Vec<ClassScores> {
    let bootstrap = Bootstrap::default();
    let of = |k: usize, metric: &str| {
        let score = |image: &&ImageScores| image.classes.get(k).and_then(|class| score(class, image.diagonal, metric));
        let summary = Summary::of_images(&judged.iter().map(score).collect::<Vec<_>>(), &bootstrap);
        MeanScore { mean: summary.mean, interval: summary.interval, images: summary.images }
    };
    let class = |k: usize| ClassScores {
        class: names.get(k).cloned().unwrap_or_else(|| k.to_string()),
        dice: of(k, "dice"),
        size_error: of(k, "size_error"),
        hd95: of(k, "hd95"),
        missed: of(k, "missed"),
    };
    (foreground..judged.first().map_or(0, |image| image.classes.len())).map(class).collect()
}

/// The means as a table.
pub(crate) fn table(scores: &[ClassScores]) -> Table {
    let mut table = Table::new(["by image", "Dice", "size error", "HD95", "missed"]);
    for class in scores {
        let text = |score: &MeanScore, scale: f64, digits: usize, unit: &str| {
            let Some(mean) = score.mean else { return "-".to_owned() };
            let range = score
                .interval
                .map_or_else(String::new, |[low, high]| format!(" ({:.digits$} to {:.digits$})", scale * low, scale * high));
            format!("{:.digits$}{unit}{range}", scale * mean)
        };
        table.row([
            class.class.clone(),
            text(&class.dice, 1.0, 4, ""),
            text(&class.size_error, 100.0, 1, " %"),
            text(&class.hd95, 1.0, 2, ""),
            text(&class.missed, 100.0, 1, " %"),
        ]);
    }
    table
}

/// Every image and class.
pub(crate) fn write(
    path: &Path,
    names: &[String],
    judged: &[&ImageScores],
    classes: &[String],
    foreground: usize,
) -> Result<(), CliError> {
    let fail = |reason: String| CliError::Encode { path: path.to_path_buf(), reason };
    let mut writer = csv::Writer::from_writer(Vec::new());
    let heads = ["image", "class", "true_pixels", "predicted_pixels", "both"];
    writer.write_record(heads.iter().chain(&METRICS)).map_err(|error| fail(error.to_string()))?;
    for (name, image) in names.iter().zip(judged) {
        for (k, class) in image.classes.iter().enumerate().skip(foreground) {
            let mut cells = vec![name.clone(), classes.get(k).cloned().unwrap_or_else(|| k.to_string())];
            cells.extend([class.counts.target, class.counts.predicted, class.counts.both].map(|n| n.to_string()));
            cells
                .extend(METRICS.map(|metric| score(class, image.diagonal, metric).map_or_else(String::new, |s| s.to_string())));
            writer.write_record(cells).map_err(|error| fail(error.to_string()))?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| fail(error.to_string()))?;
    output::write_file(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use segloss_metrics::Counts;

    #[test]
    fn what_is_missing_is_left_out_or_worst() {
        let class = |target, predicted, both, hd95| ClassScore { counts: Counts { valid: 9, target, predicted, both }, hd95 };
        let judged: Vec<ImageScores> =
            [class(4, 2, 2, Some(1.5)), class(4, 0, 0, None), class(0, 0, 0, None), class(0, 3, 0, None)]
                .into_iter()
                .map(|class| ImageScores { diagonal: 5.0, classes: vec![class, class] })
                .collect();
        let judged: Vec<&ImageScores> = judged.iter().collect();
        let [lesion] = &means(&judged, &["background".into(), "lesion".into()], 1)[..] else { panic!() };
        assert_eq!((lesion.dice.mean, lesion.dice.images), (Some((2.0 / 3.0) / 3.0), 3));
        assert_eq!((lesion.size_error.mean, lesion.size_error.images), (Some(-0.75), 2));
        assert_eq!((lesion.hd95.mean, lesion.missed.mean), (Some(11.5 / 3.0), Some(0.5)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images.csv");
        write(&path, &["a".into(), "b".into()], &judged, &["background".into(), "lesion".into()], 1).unwrap();
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            "image,class,true_pixels,predicted_pixels,both,dice,size_error,hd95,missed\n\
             a,lesion,4,2,2,0.6666666666666666,-0.5,1.5,0\nb,lesion,4,0,0,0,-1,5,1\n"
        );
    }
}
