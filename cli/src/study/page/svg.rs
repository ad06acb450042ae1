//! Axes, lines and marks as SVG.

use crate::page::escape;

/// Lengths of a drawing; it is scaled to its place.
pub(super) const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 38.0;

/// An axis from one number to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    /// That holds all numbers, and some more that it must show.
    pub(super) fn over(numbers: impl Iterator<Item = f64>, shown: &[f64]) -> Self {
        let numbers = numbers.filter(|number| number.is_finite()).chain(shown.iter().copied());
        let (low, high) = numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), n| (low.min(n), high.max(n)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let air = ((high - low) * 0.05).max(1e-9);
        Self { low: low - air, high: high + air, logarithmic: false }
    }

    /// Of numbers above 0, by their logarithm where they lie far apart.
    pub(super) fn logarithmic(numbers: impl Iterator<Item = f64>) -> Self {
        let numbers = numbers.filter(|number| *number > 0.0 && number.is_finite());
        let (low, high) = numbers.fold((f64::INFINITY, 0.0f64), |(low, high), n| (low.min(n), high.max(n)));
        let (low, high) = if low <= high { (low, high) } else { (0.1, 1.0) };
        if high < 8.0 * low {
            return Self::over([low, high].into_iter(), &[]);
        }
        Self { low: low / 1.1, high: high * 1.1, logarithmic: true }
    }

    /// Where a number lies, from 0 to 1.
    fn at(&self, number: f64) -> f64 {
        match self.logarithmic {
            true => (number / self.low).ln() / (self.high / self.low).ln(),
            false => (number - self.low) / (self.high - self.low),
        }
    }

    /// Round numbers within, seven at most.
    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let steps = [1.0, 2.0, 5.0];
            let powers = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
            let all = powers.flat_map(|power| steps.map(|step| step * 10f64.powi(power)));
            let within: Vec<f64> = all.filter(|tick| (self.low..=self.high).contains(tick)).collect();
            return if within.len() <= 7 { within } else { within.into_iter().step_by(3).collect() };
        }
        let length = self.high - self.low;
        let power = 10f64.powf((length / 6.0).log10().floor());
        let fits = |step: &f64| length / step <= 6.0;
        let step = [1.0, 2.0, 5.0, 10.0].map(|part| part * power).into_iter().find(fits).unwrap_or(length);
        let (low, high) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        (low..=high).map(|i| i as f64 * step).collect()
    }
}

/// A number without needless digits.
pub(super) fn short(number: f64) -> String {
    let text = format!("{number:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.replace('-', "−") }
}

/// A drawing in the making.
pub(super) struct Chart {
    x: Axis,
    y: Axis,
    marks: String,
}

impl Chart {
    /// With its axes, whose numbers are written as told.
    pub(super) fn new(x: Axis, y: Axis, x_name: &str, write: [&dyn Fn(f64) -> String; 2]) -> Self {
        let mut chart = Self { x, y, marks: String::new() };
        let bottom = HEIGHT - BOTTOM;
        for tick in x.ticks() {
            let at = chart.across(tick);
            chart.path("grid", &[[at, bottom], [at, TOP]]);
            chart.text([at, bottom + 15.0], "middle", &write[0](tick));
        }
        for tick in y.ticks() {
            let at = chart.up(tick);
            chart.path("grid", &[[LEFT, at], [WIDTH - RIGHT, at]]);
            chart.text([LEFT - 5.0, at + 4.0], "end", &write[1](tick));
        }
        chart.text([LEFT.midpoint(WIDTH - RIGHT), HEIGHT - 5.0], "middle", x_name);
        chart
    }

    fn across(&self, x: f64) -> f64 {
        LEFT + self.x.at(x) * (WIDTH - LEFT - RIGHT)
    }

    fn up(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.at(y).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn path(&mut self, class: &str, points: &[[f64; 2]]) {
        let mut path = String::new();
        for (i, [x, y]) in points.iter().enumerate() {
            path.push_str(&format!("{}{x:.1} {y:.1}", if i == 0 { "M" } else { "L" }));
        }
        self.marks.push_str(&format!("<path class=\"{class}\" d=\"{path}\"/>\n"));
    }

    fn text(&mut self, [x, y]: [f64; 2], anchor: &str, text: &str) {
        self.marks.push_str(&format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n", escape(text)));
    }

    /// A level line.
    pub(super) fn level(&mut self, y: f64) {
        let at = self.up(y);
        self.path("zero", &[[LEFT, at], [WIDTH - RIGHT, at]]);
    }

    /// The line of a loss, by its place among them.
    pub(super) fn line(&mut self, place: usize, name: &str, points: &[(f64, f64)]) {
        let points: Vec<[f64; 2]> =
            points.iter().filter(|(_, y)| y.is_finite()).map(|(x, y)| [self.across(*x), self.up(*y)]).collect();
        self.marks.push_str(&format!("<g class=\"{}\"><title>{}</title>\n", ink(place), escape(name)));
        self.path("", &points);
        for [x, y] in points.iter().filter(|_| points.len() <= 12) {
            self.marks.push_str(&format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>\n"));
        }
        self.marks.push_str("</g>\n");
    }

    /// The whole, under its title.
    pub(super) fn figure(self, title: &str) -> String {
        let title = escape(title);
        format!(
            "<figure><figcaption>{title}</figcaption>\n\
             <svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n{}</svg></figure>\n",
            self.marks
        )
    }
}

/// The class of a loss's lines: colours, and from the eighth on dashed ones.
pub(super) fn ink(place: usize) -> String {
    format!("line line-{}{}", place % 7, if place >= 7 { " dashed" } else { "" })
}

/// A loss with its difference from the reference: a line of a forest plot.
pub(super) struct Twig<'a> {
    pub(super) name: &'a str,
    pub(super) difference: Option<f64>,
    pub(super) interval: Option<[f64; 2]>,
    /// `better`, `worse` or nothing.
    pub(super) class: &'a str,
}

/// Differences with their intervals, one below the other; between the margins they do not matter.
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
            short(tick)
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
    let title = escape(title);
    format!(
        "<figure><figcaption>{title}</figcaption>\n\
         <svg class=\"chart\" viewBox=\"0 0 {WIDTH} {height:.1}\" role=\"img\" aria-label=\"{title}\">\n{marks}</svg></figure>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(Axis::over([0.0, 1.0].into_iter(), &[]).ticks(), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(Axis::logarithmic([0.003, 0.3].into_iter()).ticks(), [0.005, 0.01, 0.02, 0.05, 0.1, 0.2]);
        assert_eq!(Axis::logarithmic([0.01, 0.03].into_iter()).ticks(), [0.01, 0.015, 0.02, 0.025, 0.03]);
        assert_eq!(Axis::over(std::iter::empty(), &[]).ticks().len(), 6);
        assert_eq!([0.5, -0.25, -0.0, 2.0].map(short), ["0.5", "−0.25", "0", "2"]);
    }

    #[test]
    fn a_twig_lies_where_its_numbers_are() {
        let twig = Twig { name: "a < b", difference: Some(0.0), interval: Some([-1.0, 1.0]), class: "" };
        let html = forest("t", &[twig], None, "x");
        // From 150 to 430, and 0 in their middle.
        assert!(html.contains("<circle cx=\"290.0\"") && html.contains("a &lt; b"), "{html}");
    }
}
