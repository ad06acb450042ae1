//! Figures of curves over a logarithmic axis of sizes.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::CliError;
use crate::train::canvas::{Brush, Canvas, color};

type Area<'a> = DrawingArea<Brush<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Panels under one title and one legend.
pub(crate) struct Figure {
    pub(crate) title: String,
    pub(crate) origin: String,
    /// Names in the legend.
    pub(crate) names: Vec<(String, Ink)>,
    /// Rows of panels, all of the same number.
    pub(crate) rows: Vec<Vec<Panel>>,
}

/// How a line is drawn.
#[derive(Clone, Copy)]
pub(crate) struct Ink(Option<usize>);

/// After so many colours they come again, dashed.
const COLOURS: usize = 7;

impl Ink {
    /// That of something at this place in a list.
    pub(crate) fn of(index: usize) -> Self {
        Self(Some(index))
    }

    /// Dashed and grey: what others are compared with.
    pub(crate) const BESIDE: Self = Self(None);

    fn color(self) -> RGBColor {
        self.0.map_or(RGBColor(60, 60, 60), color)
    }

    fn dashed(self) -> bool {
        self.0.is_none_or(|index| index / COLOURS % 2 == 1)
    }

    /// Its classes in a page.
    pub(crate) fn class(self) -> String {
        let colour = self.0.map_or_else(|| "beside".into(), |index| (index % COLOURS).to_string());
        format!("ink ink-{colour}{}", if self.dashed() { " dashed" } else { "" })
    }
}

/// One plot.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) x_name: String,
    pub(crate) x: Range<f64>,
    /// A place of the x axis that is marked by an upright line.
    pub(crate) upright: Option<f64>,
    pub(crate) percent: bool,
    pub(crate) lines: Vec<Line>,
}

/// A curve, with a dot where there is one to show.
pub(crate) struct Line {
    pub(crate) ink: Ink,
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) dot: Option<(f64, f64)>,
}

impl Figure {
    /// Draws it.
    pub(crate) fn write(&self, path: &Path) -> Result<(), CliError> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(1).max(1);
        // Drawn at twice the size and halved, for smooth lines; all lengths below are for that
        // size.
        let width = 850 * columns.clamp(2, 4) as u32 + 100;
        // A page of classes without end would need more memory than a picture is worth.
        let height = 290 + 620 * self.rows.len().clamp(1, 24) as u32;
        let mut canvas = Canvas::new(width, height);
        self.draw(&canvas.area()).map_err(|error| CliError::Encode { path: path.to_path_buf(), reason: error.to_string() })?;
        canvas.halved().save(path)
    }

    fn draw(&self, area: &Area) -> Drawn {
        let (top, rest) = area.split_vertically(290);
        top.draw_text(&self.title, &bold(46.0), (60, 36))?;
        top.draw_text(&self.origin, &plain(32.0).color(&RGBColor(100, 100, 100)), (60, 98))?;
        self.legend(&top.margin(160, 0, 60, 60))?;
        for (row, area) in self.rows.iter().zip(rest.split_evenly((self.rows.len().clamp(1, 24), 1))) {
            for (panel, area) in row.iter().zip(area.split_evenly((1, row.len().max(1)))) {
                panel.draw(&area)?;
            }
        }
        Ok(())
    }

    /// Names beside a piece of their line.
    fn legend(&self, area: &Area) -> Drawn {
        let style = plain(30.0).color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
        let (right, _) = area.dim_in_pixel();
        let (mut x, mut y) = (0, 20);
        for (name, ink) in &self.names {
            let (width, _) = area.estimate_text_size(name, &style)?;
            if x > 0 && x + 60 + width as i32 > right as i32 {
                (x, y) = (0, y + 44);
            }
            let pieces: &[[i32; 2]] = if ink.dashed() { &[[0, 18], [30, 48]] } else { &[[0, 48]] };
            for [begin, end] in pieces {
                area.draw(&PathElement::new([(x + begin, y), (x + end, y)], ink.color().stroke_width(6)))?;
            }
            area.draw_text(name, &style, (x + 60, y))?;
            x += 60 + width as i32 + 48;
        }
        Ok(())
    }
}

impl Panel {
    fn draw(&self, area: &Area) -> Drawn {
        let area = area.margin(10, 30, 50, 50);
        area.draw_text(&self.title, &bold(34.0), (0, 0))?;
        let (_, area) = area.split_vertically(56);
        let x_label = |x: &f64| if self.percent { format!("{} %", short(100.0 * x)) } else { short(*x) };
        let mut chart = ChartBuilder::on(&area)
            .x_label_area_size(84)
            .y_label_area_size(120)
            .build_cartesian_2d(self.x.clone().log_scale(), self.y())?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(222, 222, 222).stroke_width(2))
            .axis_style(RGBColor(110, 110, 110).stroke_width(2))
            .label_style(("sans-serif", 30.0))
            .x_desc(&self.x_name)
            .axis_desc_style(("sans-serif", 30.0))
            .y_labels(5)
            .x_label_formatter(&x_label)
            .y_label_formatter(&|y: &f64| short(*y))
            .draw()?;
        let [low, high] = [self.y().start, self.y().end];
        let grey = RGBColor(120, 120, 120).stroke_width(3);
        if let Some(x) = self.upright.filter(|x| self.x.contains(x)) {
            chart.draw_series(LineSeries::new([(x, low), (x, high)], grey))?;
        }
        chart.draw_series(LineSeries::new([(self.x.start, 0.0), (self.x.end, 0.0)], grey))?;
        for line in &self.lines {
            let points = line.points.iter().copied();
            let style = line.ink.color().stroke_width(if line.ink.dashed() { 4 } else { 5 });
            if line.ink.dashed() {
                chart.draw_series(DashedLineSeries::new(points, 16, 12, style))?;
            } else {
                chart.draw_series(LineSeries::new(points, style))?;
            }
        }
        for line in &self.lines {
            if let Some((x, y)) = line.dot.filter(|(x, y)| self.x.contains(x) && y.is_finite()) {
                chart.draw_series([Circle::new((x, y), 11, line.ink.color().filled())])?;
            }
        }
        Ok(())
    }

    /// The range of what is drawn, with a little air, and always with 0.
    pub(crate) fn y(&self) -> Range<f64> {
        let values = || self.lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y).filter(|y| y.is_finite());
        let [low, high] = [values().fold(0.0, f64::min), values().fold(0.0, f64::max)];
        let air = ((high - low) * 0.05).max(1e-9);
        (low - air)..(high + air)
    }
}

/// A number with few digits.
pub(crate) fn short(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 {
        return if value.abs() < 1e-7 { "0".into() } else { format!("{value:.0e}") };
    }
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

fn plain(size: f64) -> FontDesc<'static> {
    ("sans-serif", size).into_font()
}

fn bold(size: f64) -> TextStyle<'static> {
    plain(size).style(FontStyle::Bold).color(&BLACK)
}

/// The part of a curve within a range of its axis, cut at the ends.
pub(crate) fn within(points: impl Iterator<Item = (f64, f64)>, x: &Range<f64>) -> Vec<(f64, f64)> {
    let points: Vec<(f64, f64)> = points.collect();
    let inside = |i: usize| points.get(i).is_some_and(|(at, _)| (x.start..=x.end).contains(at));
    let mut kept = Vec::new();
    for (i, &point) in points.iter().enumerate() {
        if inside(i) {
            kept.push(point);
        }
        // Where it crosses an end, on the straight line that would be drawn (in the logarithm).
        let Some(&next) = points.get(i + 1) else { break };
        for end in [x.start, x.end] {
            if (point.0 < end) != (next.0 < end) && point.0 > 0.0 && next.0 > 0.0 && point.0 != end && next.0 != end {
                let part = (end / point.0).ln() / (next.0 / point.0).ln();
                kept.push((end, point.1 + part * (next.1 - point.1)));
            }
        }
    }
    kept.sort_by(|a, b| a.0.total_cmp(&b.0));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_cut_where_the_axis_ends() {
        let points = [(0.1, 0.0), (1.0, 1.0), (10.0, 3.0), (100.0, 3.0)];
        let cut = within(points.into_iter(), &(0.316_227_766..31.622_776_6));
        let expected = [(0.316_227_766, 0.5), (1.0, 1.0), (10.0, 3.0), (31.622_776_6, 3.0)];
        assert_eq!(cut.len(), 4);
        for ((x, y), (to_x, to_y)) in cut.into_iter().zip(expected) {
            assert!((x - to_x).abs() < 1e-9 && (y - to_y).abs() < 1e-6, "{x} {y}");
        }
    }

    #[test]
    fn numbers_on_axes_are_short() {
        assert_eq!([0.0, -0.0, 0.25, 1e-4, 30.0, 1e-12].map(short), ["0", "0", "0.25", "1e-4", "30", "0"]);
    }
}
