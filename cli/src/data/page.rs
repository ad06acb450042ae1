//! A survey as a page: no scripts, nothing loaded from elsewhere.

use ndarray::{ArrayD, ArrayView2, Axis, Ix2};
use segloss_data::{ClassSurvey, Dataset, Survey, Target};

use super::text::{channels, counted, ignored, list, sizes, values};
use super::{PLACES, histogram, median, percent};
use crate::error::CliError;
use crate::page::{self as frame, escape};
use crate::train::canvas::{Canvas, color};

const STYLE: &str = include_str!("page.css");

/// Images that are shown, spread over all.
const SHOWN: usize = 12;

/// The longest side of one of them, of two beside each other.
const SIDE: usize = 256;

/// Files that the table of ignored pixels lists, the worst first.
const FILES: usize = 20;

/// The whole page.
pub(super) fn page(dataset: &Dataset, survey: &Survey) -> Result<String, CliError> {
    let body = [header(survey), classes(survey), pictures(dataset, survey)?, lists(dataset, survey), worst(survey)];
    Ok(frame::page(&format!("Data of {}", survey.folder), STYLE, &body))
}

fn header(survey: &Survey) -> String {
    let splits: Vec<String> = survey.splits.iter().map(|(split, count)| format!("{split} {count}")).collect();
    let facts = [
        ("pairs", format!("{} with masks, {}", counted(survey.pairs, "image"), survey.masks)),
        ("splits", splits.join(", ")),
        ("groups", survey.groups.map_or_else(String::new, |groups| groups.to_string())),
        ("sizes", sizes(survey)),
        ("images", list(&survey.image_types)),
        ("masks", list(&survey.mask_types)),
        ("spacing", list(&survey.spacings)),
        ("axes to", list(&survey.orientations)),
        ("channels", channels(survey)),
        ("values", values(survey)),
        ("ignored", ignored(survey)),
        ("prior", survey.prior.clone().unwrap_or_default()),
    ];
    frame::facts(facts.iter().map(|(name, fact)| (*name, fact.as_str())))
}

fn classes(survey: &Survey) -> String {
    let share = |share: Option<f64>| share.map_or_else(String::new, percent);
    let split = !survey.splits.is_empty();
    let row = |(k, class): (usize, &ClassSurvey)| {
        let splits: Vec<String> = class.splits.iter().map(|(split, share)| format!("{split} {}", percent(*share))).collect();
        let numbers = [
            percent(class.share),
            format!("{} of {}", class.images, survey.pairs),
            share(class.shares.first().copied()),
            share(median(&class.shares)),
            share(class.shares.last().copied()),
        ];
        let numbers: String = numbers.iter().map(|text| format!("<td class=\"number\">{text}</td>")).collect();
        let splits = if split { format!("<td>{}</td>", splits.join(", ")) } else { String::new() };
        format!(
            "<tr><th scope=\"row\">{}{}</th>{numbers}<td>{}</td>{splits}</tr>\n",
            swatch(k),
            escape(&class.name),
            plot(&class.shares)
        )
    };
    let rows: String = survey.classes.iter().enumerate().map(row).collect();
    let numbers = ["share", "images", "least", "median", "greatest"];
    let numbers = numbers.map(|name| format!("<th class=\"number\" scope=\"col\">{name}</th>")).concat();
    let splits = if split { "<th scope=\"col\">by split</th>" } else { "" };
    format!(
        "<h2>Classes</h2>\n<p>The share of the pixels that count; in how many images a class occurs, and how large it is there: \
         each bar is the number of images in half a power of ten.</p>\n<div class=\"wide\"><table>\n\
         <tr><th scope=\"col\">class</th>{numbers}<th scope=\"col\">sizes</th>{splits}</tr>\n{rows}</table></div>\n"
    )
}

/// The square of a class's colour; class 0 has none in the pictures.
fn swatch(class: usize) -> String {
    if class == 0 {
        return "<span class=\"swatch\"></span>".into();
    }
    let plotters::style::RGBColor(r, g, b) = color(class);
    format!("<span class=\"swatch\" style=\"background: #{r:02x}{g:02x}{b:02x}\"></span>")
}

/// The distribution of sizes, on a logarithmic axis.
fn plot(shares: &[f64]) -> String {
    const WIDTH: usize = 22;
    const HEIGHT: usize = 44;
    let places: [usize; PLACES] = histogram(shares);
    let most = places.iter().copied().max().unwrap_or(0).max(1);
    let mut marks = String::new();
    for (i, count) in places.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = (HEIGHT * count).div_ceil(most);
        let (x, y) = (i * WIDTH + 11, HEIGHT - height + 2);
        marks.push_str(&format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{height}\"><title>{count}</title></rect>",
            WIDTH - 2
        ));
    }
    // Every other tick has its text, so that they do not meet.
    for (tick, text) in ["0.001 %", "", "0.1 %", "", "10 %", ""].into_iter().enumerate() {
        let x = 2 * tick * WIDTH + 10;
        marks.push_str(&format!("<line x1=\"{x}\" x2=\"{x}\" y1=\"{}\" y2=\"{}\"/>", HEIGHT + 2, HEIGHT + 6));
        marks.push_str(&format!("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{text}</text>", x.max(20), HEIGHT + 16));
    }
    let width = PLACES * WIDTH + 22;
    format!(
        "<svg width=\"{width}\" height=\"{}\" role=\"img\"><line x1=\"10\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>{marks}</svg>",
        HEIGHT + 20,
        width - 12,
        HEIGHT + 2,
        HEIGHT + 2
    )
}

/// Images beside the same with their masks over them; of volumes the slice with most foreground.
fn pictures(dataset: &Dataset, survey: &Survey) -> Result<String, CliError> {
    let shown = dataset.len().min(SHOWN);
    let mut items = String::new();
    for i in (0..shown).map(|i| i * dataset.len() / shown) {
        // What cannot be read stands among the problems.
        let (Ok(item), Ok(image)) = (dataset.item(i), dataset.image(i)) else { continue };
        let Some((slice, pictures)) = drawn(&image, &item.target)? else { continue };
        let name = survey.files.get(i).map_or("", |file| file.name.as_str());
        let slice = slice.map_or_else(String::new, |slice| format!(", slice {slice}"));
        let text = format!("{}{slice}", escape(name));
        let [plain, painted] = pictures.map(|png| base64(&png));
        items.push_str(&format!(
            "<li><div><img alt=\"{text}\" src=\"data:image/png;base64,{plain}\">\
             <img alt=\"the same with its mask\" src=\"data:image/png;base64,{painted}\"></div><span>{text}</span></li>\n"
        ));
    }
    Ok(format!(
        "<h2>Images and masks</h2>\n<p>{shown} of {}: the image, and the same with its mask over it.</p>\n<ul class=\"pictures\">\n{items}</ul>\n",
        survey.pairs
    ))
}

/// The class of each pixel of a slice, as far as one colour shows it; none where it does not count.
fn painted(target: &Target, slice: Option<usize>) -> Option<ndarray::Array2<Option<usize>>> {
    let cut = |array: ndarray::ArrayViewD<'_, f32>| -> Option<ndarray::Array2<f32>> {
        let array = slice.map_or_else(|| array.to_owned(), |slice| array.index_axis(Axis(0), slice).to_owned());
        array.into_dimensionality::<Ix2>().ok()
    };
    match target {
        Target::Labels(labels) => {
            let labels = cut(labels.mapv(|label| label as f32).view())?;
            Some(labels.mapv(|label| (label >= 0.0).then_some(label as usize)))
        }
        Target::Soft(shares) | Target::Overlapping(shares) => {
            let mut classes: Option<ndarray::Array2<Option<usize>>> = None;
            let overlapping = matches!(target, Target::Overlapping(_));
            for (k, channel) in shares.outer_iter().enumerate() {
                let channel = cut(channel)?;
                let classes = classes.get_or_insert_with(|| ndarray::Array2::from_elem(channel.dim(), Some(0)));
                let class = if overlapping { k + 1 } else { k };
                classes.zip_mut_with(&channel, |of, share| {
                    if *share >= 0.5 {
                        *of = Some(class);
                    }
                });
            }
            classes
        }
        _ => None,
    }
}

/// The slice with the most foreground.
fn fullest(target: &Target, rank: usize) -> Option<usize> {
    let foreground = |slice: &ndarray::ArrayViewD<'_, f32>| slice.iter().filter(|v| **v > 0.0).count();
    let best =
        |array: &ArrayD<f32>| (0..array.len_of(Axis(0))).max_by_key(|slice| foreground(&array.index_axis(Axis(0), *slice)));
    if rank < 3 {
        return None;
    }
    match target {
        Target::Labels(labels) => best(&labels.mapv(|label| label as f32)),
        Target::Soft(shares) | Target::Overlapping(shares) => {
            best(&shares.index_axis(Axis(0), shares.len_of(Axis(0)) - 1).to_owned())
        }
        _ => None,
    }
}

/// The slice that is shown of a volume; the image, and the same with its mask over it.
type Drawn = (Option<usize>, [Vec<u8>; 2]);

fn drawn(image: &ArrayD<f32>, target: &Target) -> Result<Option<Drawn>, CliError> {
    let slice = fullest(target, image.ndim() - 1);
    let channels: Vec<ndarray::Array2<f32>> = image
        .outer_iter()
        .filter_map(|channel| {
            let channel = slice.map_or_else(|| channel.to_owned(), |slice| channel.index_axis(Axis(0), slice).to_owned());
            channel.into_dimensionality::<Ix2>().ok()
        })
        .collect();
    let (Some(first), Some(classes)) = (channels.first(), painted(target, slice)) else { return Ok(None) };
    let (height, width) = first.dim();
    let reduce = height.max(width).div_ceil(SIDE).max(1);
    let (tall, wide) = (height.div_ceil(reduce), width.div_ceil(reduce));
    let ends = channels.iter().flatten().fold([f32::INFINITY, f32::NEG_INFINITY], |[a, b], &v| [a.min(v), b.max(v)]);
    let level = |view: ArrayView2<'_, f32>, at: [usize; 2]| {
        let part = (view[at] - ends[0]) / (ends[1] - ends[0]).max(f32::MIN_POSITIVE);
        (255.0 * part).round() as u8
    };
    let mut canvases = [0, 1].map(|_| Canvas::new(wide as u32, tall as u32));
    for y in 0..tall {
        for x in 0..wide {
            let at = [y * reduce, x * reduce];
            let shade = match &channels[..] {
                [r, g, b] => [r, g, b].map(|channel| level(channel.view(), at)),
                _ => [level(first.view(), at); 3],
            };
            let over = match classes[at] {
                Some(0) => shade,
                Some(class) => {
                    let plotters::style::RGBColor(r, g, b) = color(class);
                    let mixed = |ink: u8, grey: u8| ((u32::from(ink) * 6 + u32::from(grey) * 4) / 10) as u8;
                    [mixed(r, shade[0]), mixed(g, shade[1]), mixed(b, shade[2])]
                }
                None if (x + y) % 8 < 2 => [90; 3],
                None => [30; 3],
            };
            for (canvas, pixel) in canvases.iter_mut().zip([shade, over]) {
                if let Some(place) = canvas.pixel(x, y) {
                    *place = pixel;
                }
            }
        }
    }
    let [plain, over] =
        canvases.map(|canvas| canvas.encoded().map_err(|reason| CliError::Encode { path: "report".into(), reason }));
    Ok(Some((slice, [plain?, over?])))
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0u32, |n, byte| n << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for i in 0..4 {
            let letter = if i > three.len() { b'=' } else { LETTERS[(number >> (18 - 6 * i) & 63) as usize] };
            text.push(char::from(letter));
        }
    }
    text
}

fn lists(dataset: &Dataset, survey: &Survey) -> String {
    let notes: Vec<String> = survey.notes.iter().map(|note| note.line(&dataset.scan.folder)).collect();
    let all = [
        ("<span class=\"bad\">What cannot be used</span>", &survey.problems),
        ("What to look at", &survey.warnings),
        ("Notes", &notes),
    ];
    all.into_iter().map(|(heading, lines)| frame::list(heading, lines)).collect()
}

/// The images of which most is ignored.
fn worst(survey: &Survey) -> String {
    let mut files: Vec<_> = survey.files.iter().filter(|file| file.ignored > 0.0).collect();
    if files.is_empty() {
        return String::new();
    }
    files.sort_by(|a, b| b.ignored.total_cmp(&a.ignored));
    let row = |file: &&segloss_data::FileSurvey| {
        format!("<tr><td><code>{}</code></td><td class=\"number\">{}</td></tr>\n", escape(&file.name), percent(file.ignored))
    };
    let rows: String = files.iter().take(FILES).map(row).collect();
    format!(
        "<h2>Ignored pixels</h2>\n<p>{} of {} masks have pixels that do not count; those with most:</p>\n<table>\n\
         <tr><th>image</th><th>ignored</th></tr>\n{rows}</table>\n",
        files.len(),
        survey.files.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_the_standard_has_it() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (text, expected) in cases {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}
