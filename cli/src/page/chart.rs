//! Curves in a page: a panel of a figure as SVG.

use std::ops::Range;

use super::escape;
use crate::curves::{Ink, Line, Panel, short};

/// The rules that charts need in the page.
pub(crate) const CHARTS: &str = include_str!("chart.css");

/// Lengths of the drawing; it is scaled to its place.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 236.0;
const LEFT: f64 = 38.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 38.0;

/// Most ticks of an axis.
const TICKS: usize = 7;

/// A panel with its lines, which have names.
pub(crate) fn chart(panel: &Panel, names: &[&str]) -> String {
    let y_range = panel.y();
    let x = |value: f64| {
        let part = (value / panel.x.start).ln() / (panel.x.end / panel.x.start).ln();
        LEFT + part * (WIDTH - LEFT - RIGHT)
    };
    let y = |value: f64| {
        let part = (value - y_range.start) / (y_range.end - y_range.start);
        HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
    };
    let mut marks = String::new();
    let (low, high) = (HEIGHT - BOTTOM, TOP);
    let line =
        |class: &str, [x1, y1, x2, y2]: [f64; 4]| format!("<path class=\"{class}\" d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\"/>\n");
    for (value, text) in across(panel) {
        let at = x(value);
        marks.push_str(&line("grid", [at, low, at, high]));
        marks.push_str(&format!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>\n", low + 15.0));
    }
    for value in upwards(&y_range) {
        let at = y(value);
        marks.push_str(&line(if value == 0.0 { "zero" } else { "grid" }, [LEFT, at, WIDTH - RIGHT, at]));
        let text = short(value).replace('-', "−");
        marks.push_str(&format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>\n", LEFT - 5.0, at + 4.0));
    }
    if let Some(at) = panel.upright.filter(|at| panel.x.contains(at)).map(&x) {
        marks.push_str(&line("upright", [at, low, at, high]));
    }
    let middle = LEFT.midpoint(WIDTH - RIGHT);
    marks.push_str(&format!(
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
        HEIGHT - 5.0,
        escape(&panel.x_name)
    ));
    for (i, one) in panel.lines.iter().enumerate() {
        marks.push_str(&drawn(one, names.get(i).copied().unwrap_or_default(), panel, &x, &y));
    }
    let title = escape(&panel.title);
    format!(
        "<figure><figcaption>{title}</figcaption>\n\
         <svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n{marks}</svg></figure>\n"
    )
}

/// A line with its dot, and its name under the pointer.
fn drawn(line: &Line, name: &str, panel: &Panel, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) -> String {
    let mut path = String::new();
    for (i, (at, value)) in line.points.iter().filter(|(_, value)| value.is_finite()).enumerate() {
        path.push_str(&format!("{}{:.1} {:.1}", if i == 0 { "M" } else { "L" }, x(*at), y(*value)));
    }
    let dot = line.dot.filter(|(at, value)| panel.x.contains(at) && value.is_finite());
    let dot =
        dot.map_or_else(String::new, |(at, value)| format!("<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4.5\"/>", x(at), y(value)));
    format!("<g class=\"{}\"><title>{}</title><path d=\"{path}\"/>{dot}</g>\n", line.ink.class(), escape(name))
}

/// A piece of a line, for a legend.
pub(crate) fn sample(ink: Ink) -> String {
    format!("<svg class=\"sample {}\" aria-hidden=\"true\"><path d=\"M0 5H28\"/></svg>", ink.class())
}

/// Ticks of the logarithmic axis with their texts: multiples of the true size by powers of two,
/// proportions by powers of ten.
fn across(panel: &Panel) -> Vec<(f64, String)> {
    let base: f64 = if panel.upright == Some(1.0) { 2.0 } else { 10.0 };
    let low = (panel.x.start.log(base) - 1e-9).ceil() as i32;
    let high = (panel.x.end.log(base) + 1e-9).floor() as i32;
    let step = (high - low).max(0).div_euclid(TICKS as i32) + 1;
    let text = |power: i32| {
        let value = base.powi(power);
        if base == 2.0 && power < 0 { format!("1/{}", base.powi(-power)) } else { short(value) }
    };
    // Powers that are multiples of the step, so that 1 is among them.
    (low..=high).filter(|power| power.rem_euclid(step) == 0).map(|power| (base.powi(power), text(power))).collect()
}

/// Ticks of the other axis: at most so many round numbers, 0 among them where it lies within.
fn upwards(range: &Range<f64>) -> Vec<f64> {
    let length = range.end - range.start;
    let power = 10f64.powf((length / TICKS as f64).log10().floor());
    let fits = |step: &f64| length / step <= TICKS as f64;
    let step = [1.0, 2.0, 5.0, 10.0].map(|part| part * power).into_iter().find(fits).unwrap_or(length);
    let (low, high) = ((range.start / step).ceil() as i64, (range.end / step).floor() as i64);
    (low..=high).map(|i| i as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(x: Range<f64>, upright: Option<f64>) -> Panel {
        let lines = vec![Line { ink: Ink::of(8), points: vec![(0.5, 0.0), (2.0, 1.0)], dot: Some((1.0, 0.0)) }];
        Panel { title: "loss".into(), x_name: "size".into(), x, upright, percent: false, lines }
    }

    #[test]
    fn ticks_are_round_and_few() {
        let texts = |panel: &Panel| across(panel).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(&panel(0.125..8.0, Some(1.0))), ["1/8", "1/4", "1/2", "1", "2", "4", "8"]);
        assert_eq!(texts(&panel(0.001..70.0, Some(1.0))), ["1/512", "1/64", "1/8", "1", "8", "64"]);
        assert_eq!(texts(&panel(1e-4..1.0, None)), ["1e-4", "0.001", "0.01", "0.1", "1"]);
        assert_eq!(upwards(&(-1.05..1.05)), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        assert_eq!(upwards(&(-0.05..1.05)).len(), 6);
    }

    #[test]
    fn lines_and_dots_lie_where_their_numbers_are() {
        let html = chart(&panel(0.25..4.0, Some(1.0)), &["a < b"]);
        // In the middle of 38 and 390.
        assert!(html.contains("<circle cx=\"214.0\"") && html.contains("<path class=\"upright\" d=\"M214.0 198.0"), "{html}");
        assert!(html.contains("<g class=\"ink ink-1 dashed\"><title>a &lt; b</title><path d=\"M126.0"), "{html}");
    }
}
