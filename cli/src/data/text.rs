//! A survey for a terminal.

use segloss_data::{Coding, Dataset, Kind, Survey};

use super::{PLACES, histogram, median, percent};
use crate::table::Table;

/// Kinds of a thing that are listed.
const LISTED: usize = 4;

/// All of it.
pub(super) fn text(dataset: &Dataset, survey: &Survey) -> String {
    let mut lines =
        vec![format!("folder    {}: {} with masks, {}", survey.folder, counted(survey.pairs, "image"), survey.masks)];
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{name:<9} {value}"));
        }
    };
    let splits: Vec<String> = survey.splits.iter().map(|(split, count)| format!("{split} {count}")).collect();
    fact("splits", splits.join(", "));
    fact("groups", survey.groups.map_or_else(String::new, |groups| groups.to_string()));
    fact("sizes", sizes(survey));
    fact("images", list(&survey.image_types));
    fact("masks", list(&survey.mask_types));
    fact("spacing", list(&survey.spacings));
    fact("axes to", list(&survey.orientations));
    fact("channels", channels(survey));
    fact("values", values(survey));
    fact("ignored", ignored(survey));
    lines.push(String::new());
    lines.push(classes(survey).to_string());
    lines.push("  sizes: each bar is the number of images in half a power of ten, from 0.001 % to 100 %".into());
    if let Some(prior) = &survey.prior {
        lines.push(format!("\nprior     {prior}"));
    }
    let notes: Vec<String> = survey.notes.iter().map(|note| note.line(&dataset.scan.folder)).collect();
    for (title, all) in [("notes", &notes), ("look at", &survey.warnings), ("cannot be used", &survey.problems)] {
        if !all.is_empty() {
            lines.push(format!("\n{title}"));
            lines.extend(all.iter().map(|line| format!("  {line}")));
        }
    }
    lines.join("\n")
}

/// The ignored share of all pixels, and of the images that have most of it.
pub(super) fn ignored(survey: &Survey) -> String {
    let mut files: Vec<_> = survey.files.iter().filter(|file| file.ignored > 0.0).collect();
    if files.is_empty() {
        return String::new();
    }
    files.sort_by(|a, b| b.ignored.total_cmp(&a.ignored));
    let most: Vec<String> = files.iter().take(LISTED).map(|file| format!("{} {}", file.name, percent(file.ignored))).collect();
    let more = if files.len() > LISTED { ", …" } else { "" };
    let all = percent(survey.ignored);
    format!("{all} of the pixels, in {} of {} masks: {}{more}", files.len(), survey.files.len(), most.join(", "))
}

pub(super) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// The commonest kinds, each with its count.
pub(super) fn list(kinds: &[Kind]) -> String {
    let mut texts: Vec<String> = kinds.iter().take(LISTED).map(|kind| format!("{} ({})", kind.what, kind.count)).collect();
    if kinds.len() > LISTED {
        texts.push(format!("and {} more", kinds.len() - LISTED));
    }
    texts.join(", ")
}

/// The commonest sizes, and between which lengths all are.
pub(super) fn sizes(survey: &Survey) -> String {
    if survey.sizes.len() <= LISTED {
        return list(&survey.sizes);
    }
    let ends = |i: usize| survey.lengths.iter().map(|ends| ends[i].to_string()).collect::<Vec<_>>().join("x");
    let between = if survey.lengths.is_empty() { String::new() } else { format!("; from {} to {}", ends(0), ends(1)) };
    format!("{}{between}", list(&survey.sizes))
}

/// The channels and their intensities.
pub(super) fn channels(survey: &Survey) -> String {
    let number =
        |value: f64| if value.abs() >= 100.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    let one = |[low, mean, high]: &[f64; 3]| format!("{} to {}, mean {}", number(*low), number(*high), number(*mean));
    let all: Vec<String> = survey.intensities.iter().take(LISTED).map(one).collect();
    format!("{}: {}", survey.channels, all.join("; "))
}

/// What the values of masks mean.
pub(super) fn values(survey: &Survey) -> String {
    match &survey.coding {
        Coding::Values { classes } => {
            let named = |(value, class): (&i64, &Option<usize>)| {
                let name = class.and_then(|class| survey.classes.get(class)).map_or("ignored", |class| class.name.as_str());
                let value = segloss_data::value_text(*value);
                if value == name { value } else { format!("{value} is {name}") }
            };
            classes.iter().map(named).collect::<Vec<_>>().join(", ")
        }
        Coding::Threshold(threshold) => format!("{threshold} and more is class 1"),
        Coding::Soft(Some(greatest)) => format!("shares of {greatest}"),
        Coding::Soft(None) => "shares of the greatest value of their type".into(),
        Coding::Instances => "above 0 is an object, class 1".into(),
        _ => "above 0 is in the class; classes may overlap".into(),
    }
}

fn classes(survey: &Survey) -> Table {
    let mut table = Table::new(["class", "sizes", "share", "images", "least", "median", "greatest"]).left(2);
    for class in &survey.classes {
        let share = |share: Option<f64>| share.map_or_else(String::new, percent);
        let images = format!("{} of {}", class.images, survey.pairs);
        let [least, middle, greatest] = [class.shares.first().copied(), median(&class.shares), class.shares.last().copied()];
        table.row([
            class.name.clone(),
            bars(&class.shares),
            percent(class.share),
            images,
            share(least),
            share(middle),
            share(greatest),
        ]);
    }
    table
}

/// The distribution of sizes as a row of bars.
fn bars(shares: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let places: [usize; PLACES] = histogram(shares);
    let most = places.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &usize| if *count == 0 { '·' } else { BARS[(count * BARS.len() - 1) / most] };
    places.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_bar_is_full_and_an_empty_place_is_a_dot() {
        assert_eq!(bars(&[1e-4, 1e-4, 0.5]), "··█······▄");
        assert_eq!(bars(&[]), "··········");
    }
}
