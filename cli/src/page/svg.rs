//! Axes, lines and marks as SVG.

use super::escape;
use crate::curves::{Ink, short};

/// Lengths of a drawing; it is scaled to its place.
pub(crate) const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 46.0;
pub(crate) const RIGHT: f64 = 10.0;
pub(crate) const TOP: f64 = 8.0;
pub(crate) const BOTTOM: f64 = 38.0;

/// Most ticks of an axis.
pub(super) const TICKS: usize = 7;

/// An axis from one number to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    /// That holds all numbers, and some more that it must show.
    pub(crate) fn over(numbers: impl Iterator<Item = f64>, shown: &[f64]) -> Self {
        let numbers = numbers.filter(|number| number.is_finite()).chain(shown.iter().copied());
        let (low, high) = numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), n| (low.min(n), high.max(n)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let air = ((high - low) * 0.05).max(1e-9);
        Self { low: low - air, high: high + air, logarithmic: false }
    }

    /// Of numbers above 0, by their logarithm where they lie far apart.
    pub(crate) fn logarithmic(numbers: impl Iterator<Item = f64>) -> Self {
        let numbers = numbers.filter(|number| *number > 0.0 && number.is_finite());
        let (low, high) = numbers.fold((f64::INFINITY, 0.0f64), |(low, high), n| (low.min(n), high.max(n)));
        let (low, high) = if low <= high { (low, high) } else { (0.1, 1.0) };
        if high < 8.0 * low {
            return Self::over([low, high].into_iter(), &[]);
        }
        Self { low: low / 1.1, high: high * 1.1, logarithmic: true }
    }

    /// From one end to the other, by logarithms.
    pub(super) fn powers(low: f64, high: f64) -> Self {
        Self { low, high, logarithmic: true }
    }

    /// From one end to the other.
    pub(super) fn plain(low: f64, high: f64) -> Self {
        Self { low, high, logarithmic: false }
    }

    fn holds(&self, number: f64) -> bool {
        (self.low..=self.high).contains(&number)
    }

    /// Where a number lies, from 0 to 1.
    pub(crate) fn at(&self, number: f64) -> f64 {
        match self.logarithmic {
            true => (number / self.low).ln() / (self.high / self.low).ln(),
            false => (number - self.low) / (self.high - self.low),
        }
    }

    /// Round numbers within, few of them.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let steps = [1.0, 2.0, 5.0];
            let powers = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
            let all = powers.flat_map(|power| steps.map(|step| step * 10f64.powi(power)));
            let within: Vec<f64> = all.filter(|tick| self.holds(*tick)).collect();
            return if within.len() <= TICKS { within } else { within.into_iter().step_by(3).collect() };
        }
        let length = self.high - self.low;
        let gaps = (TICKS - 1) as f64;
        let power = 10f64.powf((length / gaps).log10().floor());
        let fits = |step: &f64| length / step <= gaps;
        let step = [1.0, 2.0, 5.0, 10.0].map(|part| part * power).into_iter().find(fits).unwrap_or(length);
        let (low, high) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        (low..=high).map(|i| i as f64 * step).collect()
    }
}

/// A number for the reader's eye.
pub(crate) fn number(value: f64) -> String {
    short(value).replace('-', "−")
}

/// A drawing in the making.
pub(crate) struct Chart {
    x: Axis,
    y: Axis,
    marks: String,
}

impl Chart {
    /// With its axes: what stands below the one, and how the numbers of the other are written.
    pub(crate) fn new(x: Axis, y: Axis, x_name: &str, below: &[(f64, String)], write: &dyn Fn(f64) -> String) -> Self {
        let mut chart = Self { x, y, marks: String::new() };
        let bottom = HEIGHT - BOTTOM;
        for (tick, text) in below {
            chart.upright("grid", *tick);
            chart.text([chart.across(*tick), bottom + 15.0], "middle", text);
        }
        for tick in y.ticks() {
            chart.level("grid", tick);
            chart.text([LEFT - 5.0, chart.up(tick) + 4.0], "end", &write(tick));
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
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        self.marks.push_str(&format!("<path{class} d=\"{path}\"/>\n"));
    }

    fn text(&mut self, [x, y]: [f64; 2], anchor: &str, text: &str) {
        self.marks.push_str(&format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n", escape(text)));
    }

    /// A level line, where the axis holds its number.
    pub(crate) fn level(&mut self, class: &str, y: f64) {
        if self.y.holds(y) {
            let at = self.up(y);
            self.path(class, &[[LEFT, at], [WIDTH - RIGHT, at]]);
        }
    }

    /// An upright line, where the axis holds its number.
    pub(crate) fn upright(&mut self, class: &str, x: f64) {
        if self.x.holds(x) {
            let at = self.across(x);
            self.path(class, &[[at, HEIGHT - BOTTOM], [at, TOP]]);
        }
    }

    /// A curve with dots on it, and its name under the pointer.
    pub(crate) fn line(&mut self, ink: Ink, name: &str, points: &[(f64, f64)], dots: &[(f64, f64)]) {
        let place = |&(x, y): &(f64, f64)| y.is_finite().then(|| [self.across(x), self.up(y)]);
        let points: Vec<[f64; 2]> = points.iter().filter_map(place).collect();
        let dots: Vec<[f64; 2]> = dots.iter().filter(|(x, _)| self.x.holds(*x)).filter_map(place).collect();
        self.marks.push_str(&format!("<g class=\"{}\"><title>{}</title>\n", ink.class(), escape(name)));
        self.path("", &points);
        for [x, y] in dots {
            self.marks.push_str(&format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>\n"));
        }
        self.marks.push_str("</g>\n");
    }

    /// The whole, under its title.
    pub(crate) fn figure(self, title: &str) -> String {
        figure(title, HEIGHT, &self.marks)
    }
}

/// Marks as a figure under its title.
pub(crate) fn figure(title: &str, height: f64, marks: &str) -> String {
    let title = escape(title);
    format!(
        "<figure><figcaption>{title}</figcaption>\n\
         <svg class=\"chart\" viewBox=\"0 0 {WIDTH} {height:.1}\" role=\"img\" aria-label=\"{title}\">\n{marks}</svg></figure>\n"
    )
}

/// A piece of a line, for a legend.
pub(crate) fn sample(ink: Ink) -> String {
    format!("<svg class=\"sample {}\" aria-hidden=\"true\"><path d=\"M0 5H28\"/></svg>", ink.class())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(Axis::over([0.0, 1.0].into_iter(), &[]).ticks(), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(Axis::plain(-1.05, 1.05).ticks(), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        assert_eq!(Axis::logarithmic([0.003, 0.3].into_iter()).ticks(), [0.005, 0.01, 0.02, 0.05, 0.1, 0.2]);
        assert_eq!(Axis::logarithmic([0.01, 0.03].into_iter()).ticks(), [0.01, 0.015, 0.02, 0.025, 0.03]);
        assert_eq!(Axis::over(std::iter::empty(), &[]).ticks().len(), 6);
        assert_eq!([0.5, -0.25, -0.0, 2.0].map(number), ["0.5", "−0.25", "0", "2"]);
    }
}
