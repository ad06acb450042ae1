//! Image, truth and prediction side by side.

use std::path::Path;

use ndarray::Array2;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{Brush, Canvas, color};
use super::data::{IGNORED, Picture};
use crate::error::CliError;

/// Most rows of a sheet.
const ROWS: usize = 6;

/// Sides that a panel is enlarged to or reduced to, by whole factors.
const PANEL: [usize; 2] = [256, 640];

const MARGIN: usize = 24;
const HEAD: usize = 92;
const CAPTION: usize = 30;

/// Indices of the images that a sheet shows: evenly spread.
pub(crate) fn chosen(images: usize) -> Vec<usize> {
    let rows = images.min(ROWS);
    (0..rows).map(|row| row * images / rows).collect()
}

/// Writes a sheet with a row for each image and its predicted classes.
pub(crate) fn write(
    path: &Path,
    pictures: &[&Picture],
    predictions: &[Array2<u8>],
    classes: usize,
) -> Result<(), CliError> {
    let views: Vec<View> = pictures.iter().map(|p| View::of(p.size())).collect();
    let panel = views.iter().map(|v| v.width).max().unwrap_or(0);
    let width = 3 * (panel + MARGIN) + MARGIN;
    let height = HEAD + views.iter().map(|v| CAPTION + v.height + MARGIN).sum::<usize>();
    let mut canvas = Canvas::new(width as u32, height as u32);

    let mut top = HEAD;
    let mut captions = Vec::new();
    for ((picture, prediction), view) in pictures.iter().zip(predictions).zip(&views) {
        captions.push((top, caption(picture, prediction)));
        top += CAPTION;
        for (column, classes_shown) in [None, Some(&picture.labels), Some(prediction)].into_iter().enumerate() {
            let left = MARGIN + column * (panel + MARGIN);
            for y in 0..view.height {
                for x in 0..view.width {
                    let at = view.source([y, x]);
                    let label = classes_shown.and_then(|labels| labels.get(at)).copied();
                    let ignored = picture.labels.get(at) == Some(&IGNORED) && classes_shown.is_some();
                    let grey = view.grey(picture, [y, x]);
                    if let Some(pixel) = canvas.pixel(left + x, top + y) {
                        *pixel = shade(grey, if ignored { Some(IGNORED) } else { label }, [y, x]);
                    }
                }
            }
        }
        top += view.height + MARGIN;
    }
    words(&canvas.area(), panel, classes, &captions)
        .map_err(|error| CliError::Encode { path: path.to_path_buf(), reason: error.to_string() })?;
    canvas.save(path)
}

fn words(
    area: &DrawingArea<Brush<'_>, plotters::coord::Shift>,
    panel: usize,
    classes: usize,
    captions: &[(usize, String)],
) -> Result<(), Box<dyn std::error::Error>> {
    let anchor = Pos::new(HPos::Left, VPos::Center);
    let style = ("sans-serif", 16.0).into_font().color(&BLACK).pos(anchor);
    let bold = ("sans-serif", 20.0).into_font().style(FontStyle::Bold).color(&BLACK).pos(anchor);
    for (column, name) in ["image", "truth", "prediction"].into_iter().enumerate() {
        area.draw_text(name, &bold, ((MARGIN + column * (panel + MARGIN)) as i32, 28))?;
    }
    let mut x = MARGIN as i32;
    for class in 1..classes {
        let [r, g, b] = paint(class);
        let name = format!("class {class}");
        area.draw(&Rectangle::new([(x, 54), (x + 14, 68)], RGBColor(r, g, b).filled()))?;
        area.draw_text(&name, &style, (x + 20, 61))?;
        x += 20 + area.estimate_text_size(&name, &style)?.0 as i32 + 22;
    }
    for (top, caption) in captions {
        area.draw_text(caption, &style, (MARGIN as i32, *top as i32 + CAPTION as i32 / 2))?;
    }
    Ok(())
}

/// Name of an image and how well its foreground was found.
fn caption(picture: &Picture, prediction: &Array2<u8>) -> String {
    let pairs = || picture.labels.iter().zip(prediction).filter(|&(&label, _)| label != IGNORED);
    let truth = pairs().filter(|&(&label, _)| label > 0).count();
    let found = pairs().filter(|&(_, &guess)| guess > 0).count();
    let both = pairs().filter(|&(label, guess)| *label > 0 && label == guess).count();
    if truth + found == 0 {
        return format!("{}: no foreground, none found", picture.name);
    }
    format!("{}: foreground Dice {:.3}", picture.name, 2.0 * both as f64 / (truth + found) as f64)
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
    fn grey(&self, picture: &Picture, at: [usize; 2]) -> u8 {
        let [y, x] = self.source(at);
        let square = (0..self.reduce).flat_map(|i| (0..self.reduce).map(move |j| [y + i, x + j]));
        let values: Vec<u32> = square.filter_map(|at| picture.pixels.get(at)).map(|&v| u32::from(v)).collect();
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
