//! Pixels that plots and photographs are drawn on.
//!
//! Text is set here with a font that comes with the program: not every machine has one, and
//! plotters loses the space beside letters.

use std::convert::Infallible;
use std::path::Path;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend, IntoDrawingArea, RGBColor};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{BackendColor, BackendCoord, BackendTextStyle, DrawingErrorKind, FontStyle};

use crate::error::CliError;
use crate::output;

/// Colours that people of any colour vision tell apart (after Okabe and Ito).
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 97, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(225, 190, 0),
    RGBColor(125, 75, 190),
];

/// The colour of something that comes at this place in a list.
pub(crate) fn color(index: usize) -> RGBColor {
    COLORS[index % COLORS.len()]
}

/// Red, green and blue, white at first.
pub(crate) struct Canvas {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Canvas {
    /// A white canvas.
    pub(crate) fn new(width: u32, height: u32) -> Self {
        Self { width, height, pixels: vec![255; 3 * width as usize * height as usize] }
    }

    /// A pixel, if it is there.
    pub(crate) fn pixel(&mut self, x: usize, y: usize) -> Option<&mut [u8; 3]> {
        let inside = x < self.width as usize && y < self.height as usize;
        let at = if inside { 3 * (y * self.width as usize + x) } else { usize::MAX - 3 };
        self.pixels.get_mut(at..at + 3)?.try_into().ok()
    }

    /// The surface that plotters draws on.
    pub(crate) fn area(&mut self) -> DrawingArea<Brush<'_>, Shift> {
        Brush(self).into_drawing_area()
    }

    /// Half as wide and high, each pixel the mean of four: what was drawn with hard edges becomes
    /// smooth.
    pub(crate) fn halved(&self) -> Self {
        let (width, height) = (self.width / 2, self.height / 2);
        let row = 3 * self.width as usize;
        let mean = |i: usize| {
            let (pixel, channel) = (i / 3, i % 3);
            let at = pixel / width as usize * 2 * row + pixel % width as usize * 6 + channel;
            let four = [at, at + 3, at + row, at + row + 3];
            (four.iter().map(|&at| u32::from(self.pixels[at])).sum::<u32>() / 4) as u8
        };
        Self { width, height, pixels: (0..3 * width as usize * height as usize).map(mean).collect() }
    }

    /// Its bytes as a PNG, or the encoder's words.
    pub(crate) fn encoded(&self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let encoder = PngEncoder::new(&mut bytes);
        let written = encoder.write_image(&self.pixels, self.width, self.height, ExtendedColorType::Rgb8);
        written.map(|()| bytes).map_err(|error| error.to_string())
    }

    /// Writes it as a PNG.
    pub(crate) fn save(&self, path: &Path) -> Result<(), CliError> {
        let bytes = self.encoded().map_err(|reason| CliError::Encode { path: path.to_path_buf(), reason })?;
        output::write_file(path, &bytes)
    }
}

/// Draws for plotters on a canvas.
pub(crate) struct Brush<'a>(&'a mut Canvas);

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Brush<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (self.0.width, self.0.height)
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Drawn {
        let place = usize::try_from(x).ok().zip(usize::try_from(y).ok());
        if let Some(pixel) = place.and_then(|(x, y)| self.0.pixel(x, y)) {
            let (r, g, b) = color.rgb;
            for (old, new) in pixel.iter_mut().zip([r, g, b]) {
                *old = (f64::from(*old) * (1.0 - color.alpha) + f64::from(new) * color.alpha).round() as u8;
            }
        }
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (x, y): BackendCoord) -> Drawn {
        let line = Line::set(text, style)?;
        let left = match style.anchor().h_pos {
            HPos::Left => 0.0,
            HPos::Center => line.width / 2.0,
            HPos::Right => line.width,
        };
        let top = match style.anchor().v_pos {
            VPos::Top => 0.0,
            VPos::Center => line.height / 2.0,
            VPos::Bottom => line.height,
        };
        let [x, y] = [x as f32 - left, y as f32 - top].map(f32::round);
        let ink = style.color();
        for glyph in line.glyphs {
            let mut result = Ok(());
            let corner = glyph.px_bounds().min;
            glyph.draw(|i, j, cover| {
                let place = ((x + corner.x) as i32 + i as i32, (y + corner.y) as i32 + j as i32);
                let alpha = ink.alpha * f64::from(cover.clamp(0.0, 1.0));
                let drawn = self.draw_pixel(place, BackendColor { alpha, rgb: ink.rgb });
                if drawn.is_err() {
                    result = drawn;
                }
            });
            result?;
        }
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let line = Line::set(text, style)?;
        Ok((line.width.ceil() as u32, line.height.ceil() as u32))
    }
}

/// A line of text whose upper left corner is at the origin.
struct Line {
    glyphs: Vec<ab_glyph::OutlinedGlyph>,
    width: f32,
    height: f32,
}

impl Line {
    fn set<S: BackendTextStyle>(text: &str, style: &S) -> Result<Self, DrawingErrorKind<Infallible>> {
        let bytes = match style.style() {
            FontStyle::Bold => dejavu::sans::bold(),
            _ => dejavu::sans::regular(),
        };
        let font = FontRef::try_from_slice(bytes).map_err(|error| DrawingErrorKind::FontError(Box::new(error)))?;
        let scale = PxScale::from(style.size() as f32);
        let font = font.as_scaled(scale);
        let mut glyphs = Vec::new();
        let mut width = 0.0;
        let mut before = None;
        for letter in text.chars() {
            let id = font.glyph_id(letter);
            width += before.map_or(0.0, |before| font.kern(before, id));
            glyphs.extend(font.outline_glyph(id.with_scale_and_position(scale, point(width, font.ascent()))));
            width += font.h_advance(id);
            before = Some(id);
        }
        Ok(Self { glyphs, width, height: font.height() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plotters::prelude::{BLACK, Color, IntoFont, TextStyle};

    #[test]
    fn text_is_drawn_without_fonts_of_the_system() {
        let mut canvas = Canvas::new(120, 40);
        let style: TextStyle = ("sans-serif", 24.0).into_font().color(&BLACK.to_rgba());
        canvas.area().draw_text("Dice α", &style, (4, 4)).unwrap();
        assert!(canvas.pixels.iter().filter(|&&v| v < 128).count() > 100);
        let (width, height) = canvas.area().estimate_text_size("Dice α", &style).unwrap();
        assert!((50..100).contains(&width) && (20..32).contains(&height), "{width} {height}");
        assert_eq!(canvas.halved().pixels.len(), canvas.pixels.len() / 4);
        assert!(canvas.pixel(120, 0).is_none() && canvas.pixel(119, 39).is_some() && canvas.pixel(0, 40).is_none());
    }
}
