//! The grid that the images of a folder are brought to.

use std::collections::BTreeMap;

use segloss_data::formats::Header;
use segloss_data::{Common, Grid, Pair};

use crate::error::CliError;

/// Spacings that differ by no more than this share are one.
const SAME: f64 = 0.05;

/// What is said about the spacing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Spacing {
    /// The median of the images to learn from, where spacings differ.
    #[default]
    Median,
    /// Every image keeps its own.
    Own,
    /// These millimetres along [D, H, W].
    Of([f64; 3]),
}

impl Spacing {
    /// From `own`, one number, or three with commas between them.
    pub(crate) fn of(text: &str) -> Result<Self, String> {
        if text == "own" {
            return Ok(Self::Own);
        }
        let numbers: Vec<Option<f64>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
        let sound = |number: &Option<f64>| number.filter(|mm| *mm > 0.0 && mm.is_finite());
        let numbers: Option<Vec<f64>> = numbers.iter().map(sound).collect();
        match numbers.as_deref() {
            Some([all]) => Ok(Self::Of([*all; 3])),
            Some([d, h, w]) => Ok(Self::Of([*d, *h, *w])),
            _ => Err("expected own, or millimetres above 0: one number, or three (slices,rows,columns)".into()),
        }
    }
}

/// How an image's own grid lies to the common one.
pub(crate) fn grid(pair: &Pair, common: &Common) -> Grid {
    grid_of(&pair.size, pair.images.first().map(|image| &image.header), common)
}

/// The same of an image that is read by itself.
pub(crate) fn grid_of(size: &[usize], header: Option<&Header>, common: &Common) -> Grid {
    let size = match size[..] {
        [h, w] => [1, h, w],
        [d, h, w] => [d, h, w],
        _ => [0; 3],
    };
    let orientation = header.and_then(|header| header.orientation.as_deref());
    let turned = Grid::new(size, orientation, None, common);
    let own = header.and_then(three).filter(|own| common.spacing.is_some_and(|to| differ(turned.along(*own), to)));
    Grid::new(size, orientation, own, common)
}

/// The spacing of an image along [D, H, W].
pub(crate) fn three(header: &Header) -> Option<[f64; 3]> {
    match header.spacing.as_deref()? {
        [h, w] => Some([1.0, *h, *w]),
        [d, h, w] => Some([*d, *h, *w]),
        _ => None,
    }
}

/// Whether spacings differ by more than a little.
fn differ(own: [f64; 3], to: [f64; 3]) -> bool {
    own.iter().zip(to).any(|(own, to)| (own - to).abs() > SAME * to)
}

fn orientation(pair: &Pair) -> Option<&str> {
    pair.images.first()?.header.orientation.as_deref()
}

/// The spacing of a pair along [D, H, W].
pub(crate) fn spacing(pair: &Pair) -> Option<[f64; 3]> {
    three(&pair.images.first()?.header)
}

/// Decides it: the orientation that most volumes have, and the spacing that is asked for or, where
/// spacings differ, the median over the images to learn from.
pub(crate) fn common(
    pairs: &[Pair],
    train: &[usize],
    spacing_of: Spacing,
    notes: &mut Vec<String>,
) -> Result<Common, CliError> {
    let mut ways: BTreeMap<&str, usize> = BTreeMap::new();
    for way in pairs.iter().filter(|pair| pair.size.len() == 3).filter_map(orientation) {
        *ways.entry(way).or_default() += 1;
    }
    let most = ways.iter().max_by_key(|(way, count)| (**count, std::cmp::Reverse(**way)));
    let orientation = most.map(|(way, _)| (*way).to_owned());
    if let (Some(way), true) = (&orientation, ways.len() > 1) {
        notes.push(format!("volumes whose axes run otherwise are turned to {way} for the network, and predictions back"));
    }
    let turned = Common::new(orientation.clone(), None);
    let known = |i: &usize| pairs.get(*i).and_then(|pair| Some(grid(pair, &turned).along(spacing(pair)?)));
    let known: Vec<[f64; 3]> = train.iter().filter_map(known).collect();
    let all: Vec<[f64; 3]> =
        (0..pairs.len()).filter_map(|i| Some(grid(&pairs[i], &turned).along(spacing(&pairs[i])?))).collect();
    let to = match spacing_of {
        Spacing::Own => None,
        Spacing::Of(to) if all.is_empty() => {
            let value = to.map(|mm| mm.to_string()).join(",");
            let expected = "no image says how far its pixels lie apart; leave --spacing out".into();
            return Err(CliError::Option { option: "spacing", value, expected });
        }
        Spacing::Of(to) => Some(to),
        Spacing::Median if known.is_empty() => None,
        Spacing::Median => Some([0, 1, 2].map(|axis| median(known.iter().map(|mm| mm[axis]).collect()))),
    };
    let Some(to) = to else { return Ok(Common::new(orientation, None)) };
    let resampled = all.iter().filter(|own| differ(**own, to)).count();
    if resampled > 0 {
        let text = to.map(|mm| format!("{mm}")).join(" x ");
        let chosen = if spacing_of == Spacing::Median { "the median of the images to learn from; " } else { "" };
        notes.push(format!(
            "{resampled} of {} images are resampled to {text} mm (slices x rows x columns; {chosen}--spacing own leaves them)",
            all.len()
        ));
    }
    Ok(Common::new(orientation, Some(to)))
}

/// The middle of some numbers, of an even count the lower one, so that it is a spacing that occurs.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len().saturating_sub(1) / 2).copied().unwrap_or(1.0)
}
