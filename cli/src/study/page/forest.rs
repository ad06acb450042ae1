//! Differences with their intervals, one below the other: a forest plot.

use crate::page::escape;
use crate::page::svg::{Axis, BOTTOM, RIGHT, TOP, WIDTH, figure, number};

/// A loss with its difference from the reference: a line of a forest plot.
pub(super) struct Twig<'a> {
    pub(super) name: &'a str,
    pub(super) difference: Option<f64>,
    pub(super) interval: Option<[f64; 2]>,
    /// `better`, `worse` or nothing.
    pub(super) class: &'a str,
}

/// Draws them; between the margins they do not matter.
pub(super) fn forest(title: &str, twigs: &[Twig<'_>], margin: Option<f64>, axis_name: &str) -> String {
    const ROW: f64 = 26.0;
    const NAMES: f64 = 150.0;
    let numbers = twigs.iter().flat_map(|twig| twig.interval.unwrap_or_default().into_iter().chain(twig.difference));
    let bound = margin.unwrap_or(0.0);
    let axis = Axis::over(numbers, &[-1.5 * bound, 0.0, 1.5 * bound]);
    let height = TOP + ROW * twigs.len() as f64 + BOTTOM;
    let across = |x: f64| NAMES + axis.at(x) * (WIDTH - NAMES - RIGHT);
    let bottom = height - BOTTOM;
    let mut marks = String::new();
    if bound > 0.0 {
        let (from, to) = (across(-bound), across(bound));
        marks.push_str(&format!(
            "<rect class=\"margin\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>\n",
            to - from,
            bottom - TOP
        ));
    }
    for tick in axis.ticks() {
        let (at, class) = (across(tick), if tick == 0.0 { "zero" } else { "grid" });
        marks.push_str(&format!("<path class=\"{class}\" d=\"M{at:.1} {bottom:.1}L{at:.1} {TOP}\"/>\n"));
        marks.push_str(&format!(
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            bottom + 15.0,
            number(tick)
        ));
    }
    for (i, twig) in twigs.iter().enumerate() {
        let y = TOP + ROW * (i as f64 + 0.5);
        let name: String =
            if twig.name.chars().count() > 24 { twig.name.chars().take(23).chain(['…']).collect() } else { twig.name.into() };
        marks.push_str(&format!("<text class=\"name\" x=\"0\" y=\"{:.1}\">{}</text>\n", y + 4.0, escape(&name)));
        let mut drawn = format!("<title>{}</title>", escape(twig.name));
        if let Some([low, high]) = twig.interval {
            drawn.push_str(&format!("<path d=\"M{:.1} {y:.1}L{:.1} {y:.1}\"/>", across(low), across(high)));
        }
        if let Some(difference) = twig.difference {
            drawn.push_str(&format!("<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>", across(difference)));
        }
        marks.push_str(&format!("<g class=\"twig {}\">{drawn}</g>\n", twig.class));
    }
    let middle = NAMES.midpoint(WIDTH - RIGHT);
    marks.push_str(&format!(
        "<text x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
        height - 5.0,
        escape(axis_name)
    ));
    figure(title, height, &marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twig_lies_where_its_numbers_are() {
        let twig = Twig { name: "a < b", difference: Some(0.0), interval: Some([-1.0, 1.0]), class: "" };
        let html = forest("t", &[twig], None, "x");
        // From 150 to 430, and 0 in their middle.
        assert!(html.contains("<circle cx=\"290.0\"") && html.contains("a &lt; b"), "{html}");
    }
}
