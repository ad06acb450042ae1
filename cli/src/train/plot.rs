//! The course of a run as a plot: what each term's parts did, and what became of the regions.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{Brush, Canvas, color};
use super::run::{EpochRecord, TermRecord};
use crate::error::CliError;

type Area<'a> = DrawingArea<Brush<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// A line over the epochs.
struct Series {
    name: String,
    color: RGBColor,
    dashed: bool,
    values: Vec<f64>,
}

/// Draws the history of a run, which must have an epoch.
pub(crate) fn write(path: &Path, loss: &str, origin: &str, history: &[EpochRecord]) -> Result<(), CliError> {
    // Drawn at twice the size and halved, for smooth lines; all lengths below are for that size.
    let mut canvas = Canvas::new(4200, 2000);
    draw(&canvas.area(), loss, origin, history)
        .map_err(|error| CliError::Encode { path: path.to_path_buf(), reason: error.to_string() })?;
    canvas.halved().save(path)
}

fn draw(area: &Area, loss: &str, origin: &str, history: &[EpochRecord]) -> Drawn {
    let Some(first) = history.first() else { return Ok(()) };
    let (top, rest) = area.split_vertically(150);
    top.draw_text(&shorten(loss, 90), &bold(46.0), (60, 36))?;
    top.draw_text(origin, &plain(32.0).color(&GREY), (60, 98))?;
    let panels = rest.split_evenly((2, 3));

    let mut matching = vec![over(history, "total", BLACK, true, |r| r.total)];
    let mut sizes = Vec::new();
    for (i, term) in first.terms.iter().enumerate() {
        let part = |of: fn(&TermRecord) -> f64| move |r: &EpochRecord| r.terms.get(i).map_or(f64::NAN, of);
        if term.matching.is_nan() {
            matching.push(over(history, &format!("{}, not split", term.name), color(i), false, part(|t| t.value)));
            continue;
        }
        if term.role != "size" {
            matching.push(over(history, &term.name, color(i), false, part(|t| t.matching)));
        }
        // The size part of an overlap score is 0 at the right size only together with its constant.
        if term.role == "overlap" && term.constant != 0.0 {
            let name = format!("{} with its constant", term.name);
            sizes.push(over(history, &name, color(i), false, part(|t| t.size + t.constant)));
        } else {
            sizes.push(over(history, &term.name, color(i), false, part(|t| t.size)));
        }
    }
    let mut dice = Vec::new();
    let mut areas = Vec::new();
    for k in 0..first.classes.len() {
        let name = format!("class {k}");
        dice.push(over(history, &name, color(k), false, move |r| r.classes.get(k).map_or(f64::NAN, |c| c.dice)));
        let share = move |r: &EpochRecord| r.classes.get(k).map_or(f64::NAN, |c| c.predicted);
        areas.push(over(history, &name, color(k), false, share));
        let truth = move |r: &EpochRecord| r.classes.get(k).map_or(f64::NAN, |c| c.target);
        areas.push(over(history, "", color(k), true, truth));
    }

    let number = |v: &f64| trimmed(*v);
    panel(&panels[0], "Ground-truth matching parts and the total, training", linear(&matching), &number, &matching)?;
    panel(&panels[1], "Region-size parts, training", linear(&sizes), &number, &sizes)?;
    panel(&panels[3], "Dice on the validation images", 0.0..1.02, &number, &dice)?;
    // Classes of a tenth of a percent and of ninety percent have to be seen together; what is far
    // below the rarest class lies on the lower edge.
    let rarest = first.classes.iter().map(|c| c.target).filter(|&t| t > 0.0).fold(1.0, f64::min);
    let floor = (rarest / 10.0).max(1e-6);
    areas.iter_mut().flat_map(|s| &mut s.values).for_each(|v| *v = v.max(floor));
    let percent = |v: &f64| format!("{} %", trimmed(100.0 * v));
    let title = "Predicted area on the validation images (dashed: true area)";
    panel(&panels[4], title, (floor..1.2).log_scale(), &percent, &areas)?;

    let pressure = |k: usize| over(history, &format!("class {k}"), color(k), false, move |r| at(&r.pressure, k));
    let pressures: Vec<Series> = (0..first.classes.len()).map(pressure).collect();
    panel(
        &panels[2],
        "Pressure on the size of each class (above 0 shrinks it), training",
        linear(&pressures),
        &number,
        &pressures,
    )?;
    let rare = (0..first.classes.len()).filter(|&k| first.classes[k].target == rarest).min().unwrap_or(0);
    let of_term = |(i, term): (usize, &TermRecord)| {
        let value = move |r: &EpochRecord| r.terms.get(i).map_or(f64::NAN, |term| term.weight * at(&term.pressure, rare));
        over(history, &term.name, color(i), false, value)
    };
    let terms: Vec<Series> = first.terms.iter().enumerate().map(of_term).collect();
    panel(&panels[5], &format!("The same of each term on class {rare}, the rarest"), linear(&terms), &number, &terms)
}

fn at(values: &[f64], k: usize) -> f64 {
    values.get(k).copied().unwrap_or(f64::NAN)
}

fn over(history: &[EpochRecord], name: &str, color: RGBColor, dashed: bool, value: impl Fn(&EpochRecord) -> f64) -> Series {
    Series { name: name.into(), color, dashed, values: history.iter().map(value).collect() }
}

/// One plot with its title, its legend above and an axis of epochs below.
fn panel<Y>(area: &Area, title: &str, y: Y, label: &dyn Fn(&f64) -> String, series: &[Series]) -> Drawn
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let area = area.margin(20, 40, 60, 60);
    area.draw_text(title, &bold(36.0), (0, 0))?;
    let below = legend(&area, series)?;
    let (_, area) = area.split_vertically(below);
    let epochs = series.iter().map(|s| s.values.len()).max().unwrap_or(1);
    // A single epoch still gets an axis with a width.
    let x = if epochs > 1 { 1.0..epochs as f64 } else { 0.5..1.5 };
    let mut chart = ChartBuilder::on(&area).x_label_area_size(84).y_label_area_size(120).build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(222, 222, 222).stroke_width(2))
        .axis_style(RGBColor(110, 110, 110).stroke_width(2))
        .label_style(("sans-serif", 30.0))
        .x_desc("epoch")
        .axis_desc_style(("sans-serif", 30.0))
        .x_labels(epochs.clamp(2, 10))
        .y_labels(7)
        .x_label_formatter(&|epoch| if epoch.fract().abs() < 1e-9 { epoch.to_string() } else { String::new() })
        .y_label_formatter(label)
        .draw()?;
    // The first lines name what matters most and are drawn last, on top.
    for line in series.iter().rev() {
        let points = || (1..).map(f64::from).zip(line.values.iter().copied()).filter(|(_, v)| v.is_finite());
        if line.dashed {
            chart.draw_series(DashedLineSeries::new(points(), 16, 12, line.color.stroke_width(4)))?;
        } else {
            chart.draw_series(LineSeries::new(points(), line.color.stroke_width(6)))?;
        }
        if epochs <= 12 && !line.dashed {
            chart.draw_series(points().map(|point| Circle::new(point, 9, line.color.filled())))?;
        }
    }
    Ok(())
}

/// Names beside a piece of their line, in rows under the title; gives where they end.
fn legend(area: &Area, series: &[Series]) -> Result<i32, Box<dyn std::error::Error>> {
    let style = plain(30.0).color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
    let (right, _) = area.dim_in_pixel();
    let (mut x, mut y) = (0, 74);
    for line in series.iter().filter(|s| !s.name.is_empty()) {
        let pieces: &[[i32; 2]] = if line.dashed { &[[0, 18], [30, 48]] } else { &[[0, 48]] };
        let (width, _) = area.estimate_text_size(&line.name, &style)?;
        if x > 0 && x + 60 + width as i32 > right as i32 {
            (x, y) = (0, y + 44);
        }
        for [begin, end] in pieces {
            let ends = [(x + begin, y), (x + end, y)];
            area.draw(&PathElement::new(ends, line.color.stroke_width(6)))?;
        }
        area.draw_text(&line.name, &style, (x + 60, y))?;
        x += 60 + width as i32 + 48;
    }
    Ok(y + 42)
}

const GREY: RGBColor = RGBColor(100, 100, 100);

fn plain(size: f64) -> FontDesc<'static> {
    ("sans-serif", size).into_font()
}

fn bold(size: f64) -> TextStyle<'static> {
    plain(size).style(FontStyle::Bold).color(&BLACK)
}

/// The range of some lines with a little air.
fn linear(series: &[Series]) -> Range<f64> {
    let values = || series.iter().flat_map(|s| &s.values).copied().filter(|v| v.is_finite());
    let [low, high] = [values().fold(0.0, f64::min), values().fold(0.0, f64::max)];
    let air = ((high - low) * 0.05).max(1e-9);
    (low - air)..(high + air)
}

/// A number without needless digits.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

fn shorten(line: &str, most: usize) -> String {
    if line.chars().count() <= most { line.into() } else { line.chars().take(most - 1).chain(['…']).collect() }
}
