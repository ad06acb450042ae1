//! Curves in a page: a panel of a figure as SVG.

use super::svg::{Axis, Chart, TICKS, number};
use crate::curves::{Panel, short};

/// A panel with its lines, which have names.
pub(crate) fn chart(panel: &Panel, names: &[&str]) -> String {
    let y = panel.y();
    let axes = [Axis::powers(panel.x.start, panel.x.end), Axis::plain(y.start, y.end)];
    let mut chart = Chart::new(axes[0], axes[1], &panel.x_name, &across(panel), &number);
    chart.level("zero", 0.0);
    if let Some(at) = panel.upright {
        chart.upright("upright", at);
    }
    for (i, line) in panel.lines.iter().enumerate() {
        chart.line(line.ink, names.get(i).copied().unwrap_or_default(), &line.points, line.dot.as_slice());
    }
    chart.figure(&panel.title)
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

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::curves::{Ink, Line};

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
    }

    #[test]
    fn lines_and_dots_lie_where_their_numbers_are() {
        let html = chart(&panel(0.25..4.0, Some(1.0)), &["a < b"]);
        // In the middle of 46 and 430.
        assert!(html.contains("<circle cx=\"238.0\"") && html.contains("<path class=\"upright\" d=\"M238.0 212.0"), "{html}");
        assert!(html.contains("<g class=\"ink ink-1 dashed\"><title>a &lt; b</title>\n<path d=\"M142.0"), "{html}");
    }
}
