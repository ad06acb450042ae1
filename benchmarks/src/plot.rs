//! Plots of times against sizes, as SVG.

use std::path::Path;

use plotters::prelude::*;

/// A line of a plot.
pub(crate) struct Line {
    pub(crate) name: String,
    /// Logits and seconds.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Colours that people of any colour vision tell apart (after Okabe and Ito).
const COLORS: [RGBColor; 4] = [RGBColor(0, 114, 178), RGBColor(230, 97, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// Milliseconds against logits, both in powers of ten.
pub(crate) fn write(path: &Path, title: &str, lines: &[Line]) -> Result<(), String> {
    let text = draw(title, lines).map_err(|error| format!("{}: {error}", path.display()))?;
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn draw(title: &str, lines: &[Line]) -> Result<String, Box<dyn std::error::Error>> {
    let mut text = String::new();
    let all = || lines.iter().flat_map(|line| &line.points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let (least, largest) = all().map(of).fold((f64::INFINITY, 0.0), |(a, b), v| (v.min(a), v.max(b)));
        // Whole powers of ten; without points there is nothing to see, and no range.
        if least.is_finite() { 10f64.powf(least.log10().floor())..10f64.powf(largest.log10().ceil()) } else { 0.1..1.0 }
    };
    let (x, y) = (range(|p| p.0), range(|p| 1e3 * p.1));
    {
        let area = SVGBackend::with_string(&mut text, (760, 480)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 18))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(x.log_scale(), y.log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(222, 222, 222))
            .x_desc("logits")
            .y_desc("milliseconds")
            .label_style(("sans-serif", 14))
            .x_label_formatter(&|x| format!("{x:e}"))
            .y_label_formatter(&|y| y.to_string())
            .draw()?;
        for (line, color) in lines.iter().zip(COLORS.iter().cycle()) {
            let points = || line.points.iter().map(|(logits, seconds)| (*logits, 1e3 * seconds));
            let color = *color;
            chart
                .draw_series(LineSeries::new(points(), color.stroke_width(2)))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
            chart.draw_series(points().map(|point| Circle::new(point, 3, color.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(RGBColor(180, 180, 180))
            .label_font(("sans-serif", 14))
            .draw()?;
        area.present()?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_its_lines_and_names() {
        let line = |name: &str, factor: f64| Line {
            name: name.to_owned(),
            points: [1e3, 1e5, 1e7].iter().map(|&x| (x, factor * x)).collect(),
        };
        let text = draw("Time against size", &[line("pixels", 1e-9), line("classes", 2e-9)]).unwrap();
        assert!(["<svg", "Time against size", "pixels", "classes", "1e7"].iter().all(|part| text.contains(part)), "{text}");
        assert_eq!(text.matches("<circle").count(), 6);
    }

    #[test]
    fn without_points_it_is_empty_and_whole() {
        assert!(draw("Nothing", &[]).unwrap().contains("</svg>"));
    }
}
