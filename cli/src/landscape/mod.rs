//! `segloss landscape`: what losses want of sizes, without data.

mod picture;
mod sample;

use std::path::PathBuf;

use clap::Args;
use segloss::ndarray::Target;
use segloss::{Activation, Loss};
use segloss_data::shown;
use serde::Serialize;

use self::sample::{Sample, Setting};
use crate::bias::batch::One;
use crate::bias::measure::{Bias, measure};
use crate::bias::text::{preferred, verb};
use crate::curves::short;
use crate::error::CliError;
use crate::output::{self, Console};
use crate::table::{Table, decimal};

/// Draw what losses want of the size of a region, on made predictions of a known quality
///
/// The pixels of class k have one feature, normal with mean k times --distance and deviation 1.
/// Logits are those that Bayes' rule gives, times --sharpness: 1 is calibrated, more is too sure,
/// less too unsure. The feature lies on a grid weighted by its density, so there is no chance in
/// it. Then all logits of class 1 are shifted, and the loss, its matching and size parts and the
/// pressure are computed at each size. Options with several values are combined.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
#[command(after_help = "Examples:
  segloss landscape
  segloss landscape --loss ce --loss dice --true 0.005,0.02,0.3 --picture landscape.png
  segloss landscape --loss 'ce + kl(temperature=1)' --distance 1,2.5,4 --sharpness 1,3 --json")]
pub(crate) struct LandscapeArgs {
    /// A loss, as text or by name; may be given more than once [default: ce, dice, ce + dice, ce +
    /// l1, ce + kl, focal]
    #[arg(long, value_name = "SPEC")]
    loss: Vec<String>,
    /// True proportion of each foreground class
    #[arg(long = "true", value_name = "T,..", value_delimiter = ',', default_value = "0.02")]
    shares: Vec<f64>,
    /// Distance of the classes' features in standard deviations: how well they can be told apart
    #[arg(long, value_name = "D,..", value_delimiter = ',', default_value = "2.5")]
    distance: Vec<f64>,
    /// What the calibrated logits are multiplied by
    #[arg(long, value_name = "F,..", value_delimiter = ',', default_value = "1")]
    sharpness: Vec<f64>,
    /// Channels of the logits; a single one is of sigmoid
    #[arg(long, value_name = "K", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    classes: u8,
    /// Draw the curves, a row for each setting
    #[arg(long, value_name = "OUT.png")]
    picture: Option<PathBuf>,
    /// Print JSON, with the curves
    #[arg(long)]
    json: bool,
}

const USUAL: [&str; 6] = ["ce", "dice", "ce + dice", "ce + l1", "ce + kl", "focal"];

/// Most settings of one call, and most rows of a picture.
const SETTINGS: usize = 256;
const ROWS: usize = 12;

/// A setting with what losses want there.
#[derive(Serialize)]
struct Landscape {
    #[serde(flatten)]
    setting: Setting,
    #[serde(flatten)]
    bias: Bias,
}

/// Runs it.
pub(crate) fn run(args: &LandscapeArgs, console: &mut Console) -> Result<(), CliError> {
    let settings = args.settings()?;
    if let Some(path) = &args.picture {
        output::check_writable(path)?;
    }
    let losses = args.losses()?;
    let class = usize::from(args.classes > 1);
    let mut all = Vec::new();
    for setting in settings {
        let Sample { logits, labels, weights } = setting.sample();
        let target = Target::labels(labels.view()).weights(weights.view());
        let batch = One { logits: logits.view(), target };
        let bias = measure(&losses, &batch, &[class], args.json || args.picture.is_some(), &|| {})?;
        all.push(Landscape { setting, bias });
    }
    if let Some(path) = &args.picture {
        picture::write(path, &all)?;
    }
    if args.json {
        return console.line(&serde_json::to_string_pretty(&all).map_err(CliError::json)?);
    }
    console.line(&text(&all))?;
    match &args.picture {
        Some(path) => console.line(&format!("\npicture written to {}", shown(path))),
        None => Ok(()),
    }
}

impl LandscapeArgs {
    fn losses(&self) -> Result<Vec<(String, Loss)>, CliError> {
        let named: Vec<&str> = if self.loss.is_empty() { USUAL.into() } else { self.loss.iter().map(String::as_str).collect() };
        let activation = if self.classes == 1 { Activation::Sigmoid } else { Activation::Softmax };
        let with = |spec: &str| {
            let loss: Loss = spec.parse()?;
            Ok((loss.to_string(), loss.with_activation(activation)))
        };
        named.into_iter().map(with).collect()
    }

    /// Every combination, in the order of the options.
    fn settings(&self) -> Result<Vec<Setting>, CliError> {
        let classes = usize::from(self.classes);
        let foreground = classes.max(2) - 1;
        let wrong = |option, value: f64, expected: String| CliError::Option { option, value: value.to_string(), expected };
        let most = 1.0 / foreground as f64;
        if let Some(&share) = self.shares.iter().find(|&&share| !(share >= 1e-6 && share * (foreground as f64) <= 1.0 - 1e-6)) {
            let expected = match foreground {
                1 => "expected a proportion of the pixels, from 1e-6 to 1 - 1e-6".into(),
                _ => format!("expected a proportion from 1e-6 to below {most}: {foreground} classes have it each"),
            };
            return Err(wrong("true", share, expected));
        }
        for (option, values, most) in [("distance", &self.distance, 20.0), ("sharpness", &self.sharpness, 100.0)] {
            if let Some(&value) = values.iter().find(|&&value| !(value > 0.0 && value <= most)) {
                return Err(wrong(option, value, format!("expected a number above 0 and at most {most}")));
            }
        }
        let count = self.shares.len() * self.distance.len() * self.sharpness.len();
        let most = if self.picture.is_some() { ROWS } else { SETTINGS };
        if count > most {
            let option = if self.picture.is_some() { "picture" } else { "true" };
            let expected = format!("{count} settings are asked for, of at most {most}; give fewer values");
            let value = self.picture.as_ref().map_or_else(String::new, |path| shown(path));
            return Err(CliError::Option { option, value, expected });
        }
        let mut settings = Vec::new();
        for &share in &self.shares {
            for &distance in &self.distance {
                for &sharpness in &self.sharpness {
                    settings.push(Setting { share, distance, sharpness, classes });
                }
            }
        }
        Ok(settings)
    }
}

fn text(all: &[Landscape]) -> String {
    let mut table =
        Table::new(["true size", "distance", "sharpness", "loss", "probability", "decisions", "pressure", "so it"]).left(4);
    for Landscape { setting, bias } in all {
        for loss in &bias.losses {
            for (wish, class) in loss.classes.iter().zip(&bias.classes) {
                let [probability, decisions] = preferred(wish, class);
                table.row([
                    format!("{} %", short(100.0 * setting.share)),
                    setting.distance.to_string(),
                    setting.sharpness.to_string(),
                    loss.loss.clone(),
                    probability,
                    decisions,
                    decimal(wish.pressure),
                    verb(wish).into(),
                ]);
            }
        }
    }
    format!("Size that each loss prefers, in true sizes, and what it does to these predictions:\n\n{table}")
}
