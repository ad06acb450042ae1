//! The landscape of each loss: value, parts and pressure over the predicted proportion.

use std::ops::Range;
use std::path::Path;

use segloss::Preference;

use super::Landscape;
use crate::bias::measure::{OfLoss, Point};
use crate::curves::{Figure, Ink, Line, Panel, short, within};
use crate::error::CliError;

/// Multiples of the true proportion that are shown.
const AROUND: f64 = 16.0;

pub(super) fn write(path: &Path, all: &[Landscape]) -> Result<(), CliError> {
    let losses = all.first().map_or(&[][..], |first| &first.bias.losses);
    let mut names: Vec<(String, Ink)> = losses.iter().enumerate().map(|(i, loss)| (loss.loss.clone(), Ink::of(i))).collect();
    let identities = losses.iter().any(|loss| loss.loss == "ce" || loss.loss.starts_with("ce + "));
    if identities {
        names.push(("H + KL(t ‖ p), its slope p − t".into(), Ink::BESIDE));
    }
    let figure = Figure {
        title: "What losses want of the size of a region".into(),
        origin: "All logits of the region shifted by one number. Dots: where a loss is least. Grey: the true proportion."
            .into(),
        names,
        rows: all.iter().map(|landscape| row(landscape, identities)).collect(),
    };
    figure.write(path)
}

fn row(landscape: &Landscape, identities: bool) -> Vec<Panel> {
    let Landscape { setting, bias } = landscape;
    let truth = setting.share;
    // Near everything losses have no bound, and would hide the rest.
    let x = (truth / AROUND)..(truth * AROUND).min(truth.midpoint(1.0));
    let about = format!("{} % true, distance {}, sharpness {}", short(100.0 * truth), setting.distance, setting.sharpness);
    let panel = |title: String, lines| Panel {
        title,
        x_name: "predicted proportion".into(),
        x: x.clone(),
        upright: Some(truth),
        percent: true,
        lines,
    };
    let lines = |of: &dyn Fn(&Point) -> Option<f64>, least: bool| -> Vec<Line> {
        let line = |(i, loss): (usize, &OfLoss)| {
            let wish = loss.classes.first()?;
            let points: Vec<_> = wish.curve.iter().filter_map(|point| Some((point.predicted, of(point)?))).collect();
            let dot = match &wish.preference {
                Preference::Size(size) if least => Some((size.at.predicted, size.at.value)),
                _ => None,
            };
            Some(Line { ink: Ink::of(i), points: within(points.into_iter(), &x), dot })
        };
        bias.losses.iter().enumerate().filter_map(line).collect()
    };
    // What Cross-Entropy would be of a prediction that is the same everywhere, and its own slope.
    let identity = |of: &dyn Fn(f64) -> f64| {
        identities.then(|| Line { ink: Ink::BESIDE, points: sizes(&x).map(|p| (p, of(p))).collect(), dot: None })
    };
    let two = setting.classes <= 2;
    let constant = |p: f64| -(truth * p.ln() + (1.0 - truth) * (1.0 - p).ln());
    let mut value = lines(&|point| Some(point.value), true);
    value.extend(identity(&constant).filter(|_| two));
    let mut pressure = lines(&|point| Some(point.pressure), false);
    pressure.extend(identity(&|p| p - truth));
    vec![
        panel(format!("Loss: {about}"), value),
        panel("Matching part".into(), lines(&|point| point.matching, false)),
        panel("Size part".into(), lines(&|point| point.size, false)),
        panel("Pressure (> 0 shrinks)".into(), pressure),
    ]
}

/// Places of a logarithmic axis.
fn sizes(x: &Range<f64>) -> impl Iterator<Item = f64> {
    const PLACES: i32 = 60;
    let (start, ratio) = (x.start, x.end / x.start);
    (0..=PLACES).map(move |place| start * ratio.powf(f64::from(place) / f64::from(PLACES)))
}
