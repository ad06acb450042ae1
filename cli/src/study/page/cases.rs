//! Typical and worst images, with what each loss's network made of them.

use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};
use ndarray::Array2;

use super::super::analysis::{DICE, score};
use super::super::plan::{Condition, Plan, results};
use super::super::record::{Record, Role};
use crate::data::page::base64;
use crate::error::CliError;
use crate::page::escape;
use crate::train::data::{IGNORED, Picture};

/// The seed whose predictions are kept.
const SEED: u64 = 1;

/// A region that is found, one that is missed, and one that is made up.
const FOUND: [u8; 3] = [46, 160, 110];
const MISSED: [u8; 3] = [214, 40, 57];
const FALSE: [u8; 3] = [58, 122, 235];

/// The loss of a run and its predictions.
struct Predicted<'a> {
    record: &'a Record,
    sheet: Array2<u8>,
}

/// The section of a condition; nothing where no predictions are kept or its images are gone.
pub(super) fn section(plan: &Plan, condition: &Condition, records: &[Record], out: &Path) -> Result<String, CliError> {
    let of = |loss: &String| {
        let wanted = |r: &&Record| r.role == Role::Test && r.seed == SEED && r.loss == *loss && r.condition == condition.name;
        let record = records.iter().find(wanted)?;
        let path = results(out, &condition.name, loss).join(format!("seed-{SEED}.png"));
        let sheet = image::open(path).ok()?.into_luma8();
        let (width, height) = (sheet.width() as usize, sheet.height() as usize);
        let sheet = Array2::from_shape_vec([height, width], sheet.into_raw()).ok()?;
        Some(Predicted { record, sheet })
    };
    let predicted: Vec<Predicted<'_>> = plan.losses.iter().filter_map(of).collect();
    let Some(first) = predicted.first() else { return Ok(String::new()) };
    let args = condition.args(&first.record.loss, SEED, first.record.rate)?;
    // Images that have gone are no reason to have no page.
    let Ok(dataset) = args.dataset(condition.test) else { return Ok(String::new()) };
    let pictures = dataset.validation;
    if pictures.len() != first.record.images.len() {
        return Ok(String::new());
    }
    let mut means: Vec<(usize, f64)> = (0..pictures.len()).filter_map(|i| Some((i, mean(&predicted, i)?))).collect();
    means.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    let spread = |i: usize| {
        let scores: Vec<f64> = predicted.iter().filter_map(|p| dice(p.record, i)).collect();
        scores.iter().fold(0.0, |most: f64, s| most.max(*s)) - scores.iter().fold(1.0, |least: f64, s| least.min(*s))
    };
    let apart = (0..pictures.len()).max_by(|a, b| spread(*a).total_cmp(&spread(*b)).then(b.cmp(a)));
    let mut chosen = vec![("typical", means.get(means.len() / 2).map(|mean| mean.0))];
    chosen.push(("the worst of all losses together", means.first().map(|mean| mean.0)));
    chosen.push(("where losses differ most", apart));
    let mut html = format!(
        "<h3>Images</h3>\n<p>Of the first seed. <span class=\"key\" style=\"background:{}\"></span>found \
         <span class=\"key\" style=\"background:{}\"></span>missed \
         <span class=\"key\" style=\"background:{}\"></span>false, or another class</p>\n",
        hex(FOUND),
        hex(MISSED),
        hex(FALSE)
    );
    for (why, i) in chosen {
        if let Some(i) = i {
            html.push_str(&row(why, i, &pictures, &predicted)?);
        }
    }
    Ok(html)
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn dice(record: &Record, i: usize) -> Option<f64> {
    let scores: Vec<f64> = record.classes.iter().filter_map(|class| score(record, class, i, DICE)).collect();
    (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
}

fn mean(predicted: &[Predicted<'_>], i: usize) -> Option<f64> {
    let scores: Vec<f64> = predicted.iter().filter_map(|p| dice(p.record, i)).collect();
    (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
}

/// An image alone, and with the prediction of each loss.
fn row(why: &str, i: usize, pictures: &[Picture], predicted: &[Predicted<'_>]) -> Result<String, CliError> {
    let heights: Vec<usize> = pictures.iter().map(|picture| picture.own.size()[1]).collect();
    let top: usize = heights[..i].iter().sum();
    let picture = &pictures[i];
    let z = picture.own.fullest();
    let grey = picture.pixels.index_axis(ndarray::Axis(0), z);
    let truth = picture.own.slice(z);
    let mut html = format!("<h4>{}: {}</h4>\n<div class=\"cases\">\n", escape(&picture.name), escape(why));
    html.push_str(&figure(&painted(&grey.to_owned(), None), "the image alone", "image")?);
    for Predicted { record, sheet } in predicted {
        let (height, width) = truth.dim();
        if sheet.nrows() < top + height || sheet.ncols() < width {
            continue;
        }
        let found = sheet.slice(ndarray::s![top..top + height, ..width]).to_owned();
        let score = dice(record, i).map_or("no Dice".into(), |dice| format!("Dice {dice:.3}"));
        let caption = format!("{}<br>{score}", escape(&record.loss));
        let alt = escape(&format!("what {} found", record.loss));
        html.push_str(&figure(&painted(&grey.to_owned(), Some((&truth, &found))), &alt, &caption)?);
    }
    html.push_str("</div>\n");
    Ok(html)
}

fn painted(grey: &Array2<u8>, regions: Option<(&Array2<u8>, &Array2<u8>)>) -> RgbImage {
    let (height, width) = grey.dim();
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let at = [y as usize, x as usize];
        let shade = grey[at];
        let over = regions.and_then(|(truth, found)| match (truth[at], found[at]) {
            (IGNORED, _) | (0, 0) => None,
            (truth, found) if truth == found => Some(FOUND),
            (_, 0) => Some(MISSED),
            _ => Some(FALSE),
        });
        Rgb(over.map_or([shade; 3], |ink| ink.map(|ink| ((u16::from(ink) * 2 + u16::from(shade)) / 3) as u8)))
    })
}

fn figure(image: &RgbImage, alt: &str, caption: &str) -> Result<String, CliError> {
    let mut bytes = Cursor::new(Vec::new());
    let fail = |error: image::ImageError| CliError::Study(format!("a picture of the page: {error}"));
    image.write_to(&mut bytes, ImageFormat::Png).map_err(fail)?;
    let data = base64(bytes.get_ref());
    Ok(format!("<figure><img alt=\"{alt}\" src=\"data:image/png;base64,{data}\"><figcaption>{caption}</figcaption></figure>\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr2;

    #[test]
    fn every_kind_of_pixel_has_its_colour() {
        let grey = arr2(&[[0, 0, 0, 0, 9]]);
        let (truth, found) = (arr2(&[[1, 1, 0, 2, IGNORED]]), arr2(&[[1, 0, 1, 1, 1]]));
        let image = painted(&grey, Some((&truth, &found)));
        let ink = |ink: [u8; 3]| ink.map(|ink| (u16::from(ink) * 2 / 3) as u8);
        let pixels: Vec<[u8; 3]> = image.pixels().map(|pixel| pixel.0).collect();
        assert_eq!(pixels, [ink(FOUND), ink(MISSED), ink(FALSE), ink(FALSE), [9; 3]]);
    }
}
