//! All scores, as they are printed and written.

use std::collections::BTreeMap;
use std::path::Path;

use segloss_data::value_text;
use segloss_metrics::{Bootstrap, ClassScores, Counts, Lesions, Metric, Presence, Settings, Summary, Surface};
use serde::Serialize;

use super::MetricsArgs;
use super::input::{self, Input};
use crate::error::CliError;

/// Everything that comes out.
#[derive(Serialize)]
pub(crate) struct Report {
    /// Texts of the metrics, in the order of values.
    pub(crate) metrics: Vec<String>,
    pub(crate) surface: Surface,
    /// Whether distances are in millimetres, as files say.
    pub(crate) spaced: bool,
    pub(crate) bootstrap: Bootstrap,
    /// Images that were left out for want of a prediction or a target.
    pub(crate) unpaired: usize,
    pub(crate) images: Vec<Image>,
    pub(crate) classes: Vec<Class>,
    #[serde(skip)]
    wanted: Vec<Metric>,
}

/// One image.
#[derive(Serialize)]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) spacing: Vec<f64>,
    pub(crate) classes: Vec<Scored>,
}

/// A class of an image.
#[derive(Serialize)]
pub(crate) struct Scored {
    pub(crate) class: String,
    pub(crate) presence: Presence,
    counts: Counts,
    lesions: Option<Lesions>,
    /// By metric; null where the image is left out.
    pub(crate) scores: BTreeMap<String, Option<f64>>,
}

/// A class over all images.
#[derive(Serialize)]
pub(crate) struct Class {
    pub(crate) class: String,
    pub(crate) presence: Presences,
    pub(crate) summaries: Vec<Row>,
}

/// In how many images which of the regions has a pixel.
#[derive(Default, Serialize)]
pub(crate) struct Presences {
    pub(crate) both: usize,
    pub(crate) missed: usize,
    pub(crate) false_alone: usize,
    pub(crate) neither: usize,
}

/// A metric of a class.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) metric: String,
    /// Over images, each as heavy as the others.
    pub(crate) images: Summary,
    /// Of the pixels of all images together, where the metric is one of pixels.
    pub(crate) pooled: Option<Summary>,
}

/// Reads and scores one image after the other.
pub(super) fn report(
    args: &MetricsArgs,
    input: &Input,
    settings: &Settings,
    bootstrap: &Bootstrap,
) -> Result<Report, CliError> {
    let classes = input::classes(args, input)?;
    let mut images = Vec::new();
    let mut spaced = 0;
    for pair in &input.pairs {
        let read = pair.read(args)?;
        for (end, maps) in read.images(args)? {
            let scores = settings.scores(&maps, &classes)?;
            spaced += usize::from(read.spacing().is_some());
            images.push(ImageScores { name: format!("{}{end}", pair.name), spacing: maps.spacing().to_vec(), scores });
        }
    }
    if spaced > 0 && spaced < images.len() && settings.metrics.iter().any(|metric| metric.is_distance()) {
        let reason = format!("{spaced} of {} images have a spacing; distances need the same unit: say --spacing", images.len());
        return Err(CliError::Unpaired { path: args.target.clone(), reason });
    }
    let report = Report::new(&classes, images, spaced > 0, settings, bootstrap);
    Ok(Report { unpaired: input.unpaired, ..report })
}

/// The scores of one image, in the order of the classes.
pub(crate) struct ImageScores {
    pub(crate) name: String,
    pub(crate) spacing: Vec<f64>,
    pub(crate) scores: Vec<ClassScores>,
}

impl Report {
    /// Of images that have the same classes.
    pub(crate) fn new(
        classes: &[i64],
        images: Vec<ImageScores>,
        spaced: bool,
        settings: &Settings,
        bootstrap: &Bootstrap,
    ) -> Self {
        let of_class = |(place, &class): (usize, &i64)| {
            let scores: Vec<&ClassScores> = images.iter().filter_map(|image| image.scores.get(place)).collect();
            Class::new(class, &scores, settings, bootstrap)
        };
        let classes = classes.iter().enumerate().map(of_class).collect();
        let image = |ImageScores { name, spacing, scores }: ImageScores| Image {
            name,
            spacing,
            classes: scores.iter().map(|scores| Scored::new(scores, settings)).collect(),
        };
        Self {
            metrics: settings.metrics.iter().map(Metric::to_string).collect(),
            surface: settings.surface,
            spaced,
            bootstrap: *bootstrap,
            unpaired: 0,
            images: images.into_iter().map(image).collect(),
            classes,
            wanted: settings.metrics.clone(),
        }
    }
}

impl Scored {
    fn new(scores: &ClassScores, settings: &Settings) -> Self {
        Self {
            class: value_text(scores.class),
            presence: scores.counts.presence(),
            counts: scores.counts,
            lesions: scores.lesions,
            scores: settings.metrics.iter().map(Metric::to_string).zip(scores.values.iter().copied()).collect(),
        }
    }
}

impl Class {
    fn new(class: i64, scores: &[&ClassScores], settings: &Settings, bootstrap: &Bootstrap) -> Self {
        let mut presence = Presences::default();
        for scores in scores {
            match scores.counts.presence() {
                Presence::Both => presence.both += 1,
                Presence::TruthOnly => presence.missed += 1,
                Presence::PredictionOnly => presence.false_alone += 1,
                Presence::Neither => presence.neither += 1,
            }
        }
        let counts: Vec<Counts> = scores.iter().map(|scores| scores.counts).collect();
        let row = |(i, metric): (usize, &Metric)| {
            let values: Vec<Option<f64>> = scores.iter().map(|scores| scores.values.get(i).copied().flatten()).collect();
            let pooled = |counts: Counts| metric.of_counts(&counts, settings.empties).flatten();
            Row {
                metric: metric.to_string(),
                images: Summary::of_images(&values, bootstrap),
                pooled: metric.is_of_counts().then(|| Summary::pooled(&counts, pooled, bootstrap)),
            }
        };
        let summaries = settings.metrics.iter().enumerate().map(row).collect();
        Self { class: value_text(class), presence, summaries }
    }
}

impl Report {
    /// A line for each image and class.
    pub(crate) fn csv(&self, path: &Path) -> Result<Vec<u8>, CliError> {
        let fail = |error: csv::Error| CliError::Encode { path: path.to_path_buf(), reason: error.to_string() };
        let mut writer = csv::Writer::from_writer(Vec::new());
        let headings = ["image", "class", "valid", "target", "predicted", "both"].map(String::from);
        writer.write_record(headings.iter().chain(&self.metrics)).map_err(fail)?;
        for image in &self.images {
            for class in &image.classes {
                let counts = [class.counts.valid, class.counts.target, class.counts.predicted, class.counts.both];
                let mut record = vec![image.name.clone(), class.class.clone()];
                record.extend(counts.map(|count| count.to_string()));
                let value =
                    |name: &String| class.scores.get(name).copied().flatten().map_or_else(String::new, |v| v.to_string());
                record.extend(self.metrics.iter().map(value));
                writer.write_record(&record).map_err(fail)?;
            }
        }
        writer.into_inner().map_err(|error| CliError::Encode { path: path.to_path_buf(), reason: error.to_string() })
    }

    /// Whether any of the metrics is a distance.
    pub(crate) fn has_distances(&self) -> bool {
        self.wanted.iter().any(|metric| metric.is_distance())
    }
}
