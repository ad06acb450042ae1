//! Image, truth and prediction side by side.

use std::path::Path;

use ndarray::{Array2, Axis};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{Brush, Canvas, color};
use super::data::{IGNORED, Picture, Regions};
use super::validation::image_dice;
use crate::error::CliError;

/// Most rows of a sheet of small images, and of large ones.
const ROWS: [usize; 2] = [6, 4];

/// Panels higher than this are large.
const LARGE: usize = 320;

/// Sides that a panel is enlarged to or reduced to, by whole factors.
const PANEL: [usize; 2] = [256, 640];

/// Least width of a panel, for the words above it.
const NARROWEST: usize = 140;

/// The images that a sheet shows: evenly spread.
pub(crate) fn chosen(pictures: &[Picture]) -> Vec<&Picture> {
    let large = pictures.iter().any(|p| View::of(shown_size(p)).height > LARGE);
    let rows = pictures.len().min(ROWS[usize::from(large)]);
    (0..rows).filter_map(|row| pictures.get(row * pictures.len() / rows)).collect()
}

/// Height and width of an image's slices.
fn shown_size(picture: &Picture) -> [usize; 2] {
    let [_, height, width] = picture.own.size();
    [height, width]
}

/// A slice of an image with its true and its predicted classes.
struct Row {
    caption: String,
    grey: Array2<u8>,
    truth: Array2<u8>,
    prediction: Array2<u8>,
}

impl Row {
    /// Of a volume the slice with most foreground.
    fn new(picture: &Picture, prediction: &Regions, classes: usize) -> Self {
        let z = picture.own.fullest();
        Self {
            caption: caption(picture, prediction, classes, z),
            grey: picture.pixels.index_axis(Axis(0), z).to_owned(),
            truth: picture.own.slice(z),
            prediction: prediction.slice(z),
        }
    }
}

/// Writes a sheet with a row for each image and its predicted classes.
pub(crate) fn write(path: &Path, pictures: &[&Picture], predictions: &[Regions], classes: usize) -> Result<(), CliError> {
    let fail = |reason: String| CliError::Encode { path: path.to_path_buf(), reason };
    let views: Vec<View> = pictures.iter().map(|p| View::of(shown_size(p))).collect();
    let rows: Vec<Row> = pictures.iter().zip(predictions).map(|(p, found)| Row::new(p, found, classes)).collect();
    let sheet = Sheet::new(&views);
    // Colours are numbered from 1; of classes that overlap class 0 has the first.
    let first = usize::from(pictures.iter().all(|p| matches!(p.own, Regions::Exclusive(_))));
    let mut legend: Vec<(String, Option<usize>)> =
        (first..classes).map(|k| (format!("class {k}"), Some(k + 1 - first))).collect();
    if rows.iter().any(|row| row.truth.iter().any(|&l| l == IGNORED)) {
        legend.push(("ignored".into(), None));
    }
    let places = sheet.places(&legend).map_err(|error| fail(error.to_string()))?;
    let head = places.last().map_or(sheet.scaled(44), |place| place[1] + sheet.scaled(32));
    let row = |view: &View| sheet.scaled(26) + view.height + sheet.margin;
    let height = head + views.iter().map(row).sum::<usize>();
    let mut canvas = Canvas::new(sheet.width as u32, height as u32);

    for ((_, class), [left, middle]) in legend.iter().zip(&places) {
        let side = sheet.scaled(14);
        for at in (0..side * side).map(|i| [i / side, i % side]) {
            if let Some(pixel) = canvas.pixel(left + at[1], middle - side / 2 + at[0]) {
                *pixel = class.map_or_else(|| shade(0, Some(IGNORED), at), paint);
            }
        }
    }
    let mut top = head;
    let mut captions = Vec::new();
    for (row, view) in rows.into_iter().zip(&views) {
        captions.push((top + sheet.scaled(13), row.caption));
        top += sheet.scaled(26);
        for (column, classes_shown) in [None, Some(&row.truth), Some(&row.prediction)].into_iter().enumerate() {
            for y in 0..view.height {
                for x in 0..view.width {
                    let at = view.source([y, x]);
                    let label = classes_shown.and_then(|labels| labels.get(at)).copied();
                    let ignored = row.truth.get(at) == Some(&IGNORED) && classes_shown.is_some();
                    let grey = view.grey(&row.grey, [y, x]);
                    if let Some(pixel) = canvas.pixel(sheet.left(column) + x, top + y) {
                        *pixel = shade(grey, if ignored { Some(IGNORED) } else { label }, [y, x]);
                    }
                }
            }
        }
        top += view.height + sheet.margin;
    }
    let names = legend.iter().map(|(name, _)| name.as_str()).zip(places).collect::<Vec<_>>();
    sheet.words(&canvas.area(), &names, &captions).map_err(|error| fail(error.to_string()))?;
    canvas.save(path)
}

/// Lengths of a sheet. Text grows with a wide one, which will be looked at reduced.
struct Sheet {
    panel: usize,
    width: usize,
    margin: usize,
    scale: f64,
}

impl Sheet {
    fn new(views: &[View]) -> Self {
        let panel = views.iter().map(|v| v.width).max().unwrap_or(0).max(NARROWEST);
        let scale = (panel as f64 / 320.0).clamp(1.0, 2.0);
        let margin = (24.0 * scale) as usize;
        Self { panel, width: 3 * (panel + margin) + margin, margin, scale }
    }

    fn scaled(&self, length: usize) -> usize {
        (length as f64 * self.scale) as usize
    }

    fn left(&self, column: usize) -> usize {
        self.margin + column * (self.panel + self.margin)
    }

    fn style(&self) -> TextStyle<'static> {
        ("sans-serif", 16.0 * self.scale).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center))
    }

    /// Left and middle of each swatch of the legend, in as many rows as it takes.
    fn places(&self, legend: &[(String, Option<usize>)]) -> Result<Vec<[usize; 2]>, Box<dyn std::error::Error>> {
        let mut ruler = Canvas::new(1, 1);
        let area = ruler.area();
        let (mut x, mut y) = (self.margin, self.scaled(56));
        let mut places = Vec::new();
        for (name, _) in legend {
            let (text, _) = area.estimate_text_size(name, &self.style())?;
            let whole = self.scaled(20) + text as usize;
            if x > self.margin && x + whole + self.margin > self.width {
                (x, y) = (self.margin, y + self.scaled(24));
            }
            places.push([x, y]);
            x += whole + self.scaled(22);
        }
        Ok(places)
    }

    fn words(
        &self,
        area: &DrawingArea<Brush<'_>, plotters::coord::Shift>,
        legend: &[(&str, [usize; 2])],
        captions: &[(usize, String)],
    ) -> Result<(), Box<dyn std::error::Error>> {
        let style = self.style();
        let bold = ("sans-serif", 20.0 * self.scale).into_font().style(FontStyle::Bold).color(&BLACK).pos(style.pos);
        for (column, name) in ["image", "truth", "prediction"].into_iter().enumerate() {
            area.draw_text(name, &bold, (self.left(column) as i32, self.scaled(26) as i32))?;
        }
        for (name, [x, y]) in legend {
            area.draw_text(name, &style, ((x + self.scaled(20)) as i32, *y as i32))?;
        }
        for (middle, caption) in captions {
            area.draw_text(caption, &style, (self.margin as i32, *middle as i32))?;
        }
        Ok(())
    }
}

/// Name of an image and how well its foreground was found, over all its slices.
fn caption(picture: &Picture, prediction: &Regions, classes: usize, z: usize) -> String {
    let dice = image_dice(&picture.own, prediction, classes);
    let slice = match picture.own.size()[0] {
        1 => String::new(),
        depth => format!(", slice {} of {depth}", z + 1),
    };
    if dice.is_nan() {
        return format!("{}{slice}: no foreground, none found", picture.name);
    }
    format!("{}{slice}: foreground Dice {dice:.3}", picture.name)
}

/// How an image is brought to the size of a panel.
struct View {
    height: usize,
    width: usize,
    enlarge: usize,
    reduce: usize,
}

impl View {
    fn of([height, width]: [usize; 2]) -> Self {
        let longest = height.max(width).max(1);
        let enlarge = (PANEL[0] / longest).max(1);
        let reduce = longest.div_ceil(PANEL[1]).max(1);
        let scale = |length: usize| (length * enlarge / reduce).max(1);
        Self { height: scale(height), width: scale(width), enlarge, reduce }
    }

    /// The pixel of the image that a pixel of the panel shows.
    fn source(&self, at: [usize; 2]) -> [usize; 2] {
        at.map(|i| i * self.reduce / self.enlarge)
    }

    /// Mean grey of all the pixels that it stands for.
    fn grey(&self, pixels: &Array2<u8>, at: [usize; 2]) -> u8 {
        let [y, x] = self.source(at);
        let square = (0..self.reduce).flat_map(|i| (0..self.reduce).map(move |j| [y + i, x + j]));
        let values: Vec<u32> = square.filter_map(|at| pixels.get(at)).map(|&v| u32::from(v)).collect();
        (values.iter().sum::<u32>() / (values.len() as u32).max(1)) as u8
    }
}

/// Class 0 leaves the image as it is, the others colour it, and what is ignored is hatched.
fn shade(grey: u8, label: Option<u8>, [y, x]: [usize; 2]) -> [u8; 3] {
    match label {
        None | Some(0) => [grey; 3],
        Some(IGNORED) if (x + y) % 8 < 2 => [90, 90, 90],
        Some(IGNORED) => [30, 30, 30],
        Some(class) => paint(usize::from(class)).map(|c| ((u32::from(c) * 7 + u32::from(grey) * 3) / 10) as u8),
    }
}

/// The colour of a class beyond 0. The strongest contrast to grey comes first.
fn paint(class: usize) -> [u8; 3] {
    let RGBColor(r, g, b) = color(class);
    [r, g, b]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_are_scaled_by_whole_factors() {
        let size = |height, width| {
            let view = View::of([height, width]);
            (view.height, view.width)
        };
        assert_eq!(size(64, 64), (256, 256));
        assert_eq!(size(24, 20), (240, 200));
        assert_eq!(size(584, 565), (584, 565));
        assert_eq!(size(768, 1024), (384, 512));
        assert_eq!(size(1, 5000), (1, 625));
    }

    #[test]
    fn a_sheet_shows_image_truth_and_prediction() {
        let mut labels = Array2::zeros([64, 64]);
        labels[[0, 0]] = 1;
        labels[[0, 1]] = IGNORED;
        let picture = Picture::new("p".into(), Array2::from_elem([64, 64], 200), labels);
        let prediction = Regions::Exclusive(ndarray::Array3::ones([1, 64, 64]));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sheet.png");
        write(&path, &[&picture], &[prediction], 2).unwrap();
        let sheet = image::open(&path).unwrap().into_rgb8();
        assert_eq!(sheet.width(), 3 * 256 + 4 * 24);
        // From below: the panel's last row, which lies above the margin.
        let row = |up: u32| sheet.height() - 24 - up;
        let at = |column: u32, x: u32, y: u32| sheet.get_pixel(24 + column * 280 + x, y).0;
        let orange = shade(200, Some(1), [0, 0]);
        assert_eq!([at(0, 0, row(1)), at(1, 0, row(1)), at(2, 0, row(1))], [[200; 3], [200; 3], orange]);
        assert_eq!([at(0, 0, row(256)), at(1, 0, row(256)), at(2, 0, row(256))], [[200; 3], orange, orange]);
        assert_eq!([at(0, 4, row(256)), at(1, 4, row(256))], [[200; 3], shade(0, Some(IGNORED), [0, 4])]);
        assert_eq!(at(0, 0, row(257)), [255; 3]);
    }

    #[test]
    fn rows_are_spread_over_the_images() {
        let pictures: Vec<Picture> =
            (0..14).map(|i| Picture::new(i.to_string(), Array2::zeros([8, 8]), Array2::zeros([8, 8]))).collect();
        let names = |count: usize| chosen(&pictures[..count]).iter().map(|p| p.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(14), ["0", "2", "4", "7", "9", "11"]);
        assert_eq!(names(2), ["0", "1"]);
        assert!(names(0).is_empty());
    }
}
