//! Loss and pressure over the size of each class, one colour a loss.

use std::ops::Range;
use std::path::Path;

use segloss::Preference;

use super::measure::{Bias, Class, OfLoss, Point};
use super::text::called;
use crate::curves::{Figure, Ink, Line, Panel, within};
use crate::error::CliError;

/// Multiples of the true size that are shown at least.
const AROUND: f64 = 8.0;

pub(super) fn write(path: &Path, bias: &Bias) -> Result<(), CliError> {
    let index = if bias.activation == "sigmoid" { "Channel" } else { "Class" };
    let row = |(i, class): (usize, &Class)| row(bias, i, class, index);
    let figure = Figure {
        title: "The size that each loss prefers".into(),
        origin: "All logits of a class shifted by one number. Dots: where a loss is least. Grey: the true size.".into(),
        names: bias.losses.iter().enumerate().map(|(i, loss)| (loss.loss.clone(), Ink::of(i))).collect(),
        rows: bias.classes.iter().enumerate().map(row).collect(),
    };
    figure.write(path)
}

/// Multiples of the true size; plain proportions where there is none.
fn unit(class: &Class) -> f64 {
    if class.target > 0.0 { class.target } else { 1.0 }
}

/// What the axis shows: the sizes around the true one, all that are preferred, and the present one.
fn range(bias: &Bias, i: usize, class: &Class) -> Range<f64> {
    let unit = unit(class);
    let sizes = bias.losses.iter().filter_map(|loss| match &loss.classes.get(i)?.preference {
        Preference::Size(size) => Some(size.at.predicted / unit),
        _ => None,
    });
    let [low, high] = if class.target > 0.0 { [1.0 / AROUND, AROUND] } else { [1e-4, 1.0] };
    let sizes = sizes.chain([class.predicted / unit]).filter(|size| *size > 1e-9);
    let (low, high) = sizes.fold((low, high), |(low, high), size| (low.min(size / 1.3), high.max(size * 1.3)));
    low..high.min(1.0 / unit)
}

/// Loss and pressure of one class, which is at this place in the list.
pub(super) fn row(bias: &Bias, i: usize, class: &Class, index: &str) -> Vec<Panel> {
    let x = range(bias, i, class);
    let absent = class.target == 0.0;
    let x_name = if absent { "predicted proportion" } else { "predicted size ÷ true size" };
    let of = |what: &str| {
        let name = called(class);
        if absent { format!("{index} {name}, absent: {what}") } else { format!("{index} {name}: {what}") }
    };
    let panel = |title: String, lines| Panel {
        title,
        x_name: x_name.into(),
        x: x.clone(),
        upright: (!absent).then_some(1.0),
        percent: false,
        lines,
    };
    let lines = |value: &dyn Fn(&Point) -> f64, scaled: &dyn Fn(f64, [f64; 2]) -> f64| -> Vec<Line> {
        let line = |(place, loss): (usize, &OfLoss)| {
            let wish = loss.classes.get(i)?;
            let unit = unit(class);
            let mut points = within(wish.curve.iter().map(|point| (point.predicted / unit, value(point))), &x);
            let values = || points.iter().map(|(_, y)| *y);
            let ends = [values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max)];
            points.iter_mut().for_each(|(_, y)| *y = scaled(*y, ends));
            let dot = match &wish.preference {
                Preference::Size(size) => Some((size.at.predicted / unit, 0.0)),
                _ => None,
            };
            Some(Line { ink: Ink::of(place), points, dot })
        };
        bias.losses.iter().enumerate().filter_map(line).collect()
    };
    let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    let loss = lines(&|point| point.value, &|y, [low, high]| share(y - low, high - low));
    let pressure = lines(&|point| point.pressure, &|y, [low, high]| share(y, low.abs().max(high.abs())));
    vec![
        panel(of("loss, from its least to its greatest here"), loss),
        panel(of("pressure, of its greatest here (> 0 shrinks)"), pressure),
    ]
}
