//! What a study consists of: losses, seeds, learning rates, conditions.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Parser;
use segloss::Loss;
use segloss_data::shown;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::train::TrainArgs;

/// A study.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// The losses, as they were written.
    pub(crate) losses: Vec<String>,
    /// The one that the others are compared with.
    pub(crate) reference: String,
    /// Seeds from 1 on.
    pub(crate) seeds: u64,
    /// Learning rates of which each loss gets the best.
    pub(crate) rates: Vec<f64>,
    /// The smallest difference of Dice that matters.
    pub(crate) margin: f64,
    /// Data and the ways to train on them.
    pub(crate) conditions: Vec<Condition>,
}

/// Data and a way to train on them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Condition {
    /// Its name, which is that of its folder of results.
    pub(crate) name: String,
    /// Options of `segloss train`, with their values.
    pub(crate) options: Vec<(String, String)>,
    /// Made-up images to be judged by.
    pub(crate) test: usize,
}

/// A plan as it stands in a file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanFile {
    losses: Option<Vec<String>>,
    reference: Option<String>,
    seeds: Option<u64>,
    rates: Option<Vec<f64>>,
    margin: Option<f64>,
    #[serde(default)]
    condition: Vec<ConditionFile>,
}

#[derive(Debug, Deserialize)]
struct ConditionFile {
    name: String,
    test: Option<usize>,
    /// Options of `segloss train`.
    #[serde(flatten)]
    options: toml::Table,
}

/// What is studied where nothing is said: the losses of the paper's table.
pub(crate) const LOSSES: [&str; 7] = ["ce", "dice", "ce + dice", "ce + log_dice", "focal", "ce + l1", "ce + kl"];
const SEEDS: u64 = 4;
const RATES: [f64; 3] = [0.0015, 0.005, 0.015];
/// Where Dice is better or worse by less, nobody would choose by it.
const MARGIN: f64 = 0.01;
/// Made-up images to be judged by.
const TEST: usize = 80;

/// Options of `segloss train` that the study itself decides.
const DECIDED: [&str; 6] = ["loss", "seed", "lr", "out", "resume", "device"];

/// `segloss train` on a command line of its own.
#[derive(Parser, Debug)]
#[command(name = "train", no_binary_name = true)]
struct Train {
    #[command(flatten)]
    args: TrainArgs,
}

impl Default for Plan {
    /// Without a condition.
    fn default() -> Self {
        Self {
            losses: LOSSES.map(String::from).into(),
            reference: LOSSES[0].into(),
            seeds: SEEDS,
            rates: RATES.into(),
            margin: MARGIN,
            conditions: Vec::new(),
        }
    }
}

impl Plan {
    /// A study of less than four minutes on two cores.
    pub(crate) fn quick() -> Self {
        let options = [("lesions", "5"), ("images", "96"), ("epochs", "30"), ("steps", "20"), ("batch", "4")];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let conditions = vec![Condition { name: "lesions-5".into(), options, test: 40 }];
        Self {
            losses: ["ce", "dice", "ce + dice", "ce + l1"].map(String::from).into(),
            seeds: 3,
            rates: vec![0.01],
            conditions,
            ..Self::default()
        }
    }

    /// Reads a file; folders in it are seen from where it lies.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path).map_err(|error| CliError::io(path, error))?;
        let refuse = |reason: String| CliError::Plan { path: path.to_path_buf(), reason };
        let file: PlanFile = toml::from_str(&text).map_err(|error| refuse(one_line(&error.to_string())))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let conditions = file.condition.into_iter().map(|condition| condition.resolved(folder).map_err(&refuse));
        let usual = Self::default();
        let losses = file.losses.unwrap_or(usual.losses);
        let reference = file.reference.or_else(|| losses.first().cloned()).unwrap_or(usual.reference);
        Ok(Self {
            losses,
            reference,
            seeds: file.seeds.unwrap_or(usual.seeds),
            rates: file.rates.unwrap_or(usual.rates),
            margin: file.margin.unwrap_or(usual.margin),
            conditions: conditions.collect::<Result<_, _>>()?,
        })
    }

    /// Whether it can be run.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        let refuse = |what: String| Err(CliError::Study(what));
        if self.losses.is_empty() {
            return refuse("there is no loss; name some by --loss or `losses = [...]`".into());
        }
        let mut texts = BTreeSet::new();
        for text in &self.losses {
            let loss: Loss = text.parse()?;
            if !texts.insert(loss.to_string()) {
                return refuse(format!("the loss {text:?} is there twice"));
            }
        }
        if !self.losses.contains(&self.reference) {
            return refuse(format!("the reference {:?} is none of the losses ({})", self.reference, self.losses.join(", ")));
        }
        if self.seeds == 0 || self.seeds > 1000 {
            return refuse(format!("{} seeds; 1 to 1000 are possible, and four tell something", self.seeds));
        }
        let sound = |rate: &f64| *rate > 0.0 && *rate <= 1.0;
        if self.rates.is_empty() || !self.rates.iter().all(sound) {
            return refuse("learning rates must be numbers above 0 and at most 1, and one at least".into());
        }
        if !(self.margin > 0.0 && self.margin < 1.0) {
            return refuse(format!("the margin is {}; a difference of Dice is above 0 and below 1", self.margin));
        }
        if self.conditions.is_empty() {
            return refuse(
                "there is nothing to train on; name a plan's file, --data FOLDER, --lesions PERCENT, or --quick".into(),
            );
        }
        let mut names = BTreeSet::new();
        for condition in &self.conditions {
            if !names.insert(folder_name(&condition.name)) {
                return refuse(format!("two conditions are called {:?}", condition.name));
            }
            condition.args(&self.losses[0], 1, self.rates[0])?;
        }
        Ok(())
    }
}

impl ConditionFile {
    fn resolved(self, folder: &Path) -> Result<Condition, String> {
        let Self { name, test, options } = self;
        let mut words = Vec::new();
        for (option, value) in options {
            let value = match value {
                toml::Value::String(text) if option == "data" || option == "split" => {
                    folder.join(text).to_string_lossy().into_owned()
                }
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Float(number) => number.to_string(),
                toml::Value::Boolean(true) => String::new(),
                other => return Err(format!("condition {name:?}: {option} = {other} is no value of an option")),
            };
            words.push((option, value));
        }
        words.sort();
        Ok(Condition { name, options: words, test: test.unwrap_or(TEST) })
    }
}

impl Condition {
    /// Made-up lesions of a size.
    pub(crate) fn lesions(size: &str) -> Self {
        Self { name: format!("lesions-{size}"), options: vec![("lesions".into(), size.into())], test: TEST }
    }

    /// A folder.
    pub(crate) fn data(folder: &Path) -> Self {
        let name = folder.file_name().map_or_else(|| "data".into(), |name| name.to_string_lossy().into_owned());
        Self { name, options: vec![("data".into(), folder.to_string_lossy().into_owned())], test: TEST }
    }

    /// The training of one loss in it.
    pub(crate) fn args(&self, loss: &str, seed: u64, rate: f64) -> Result<TrainArgs, CliError> {
        let refuse = |reason: String| CliError::Study(format!("condition {:?}: {reason}", self.name));
        if let Some((option, _)) = self.options.iter().find(|(option, _)| DECIDED.contains(&option.as_str())) {
            return Err(refuse(format!("{option} is decided by the study; take it out")));
        }
        let words = self.options.iter().map(|(option, value)| match value.is_empty() {
            true => format!("--{option}"),
            false => format!("--{option}={value}"),
        });
        let mut train = Train::try_parse_from(words).map_err(|error| refuse(crate::one_line(&error.to_string())))?;
        train.args.loss = loss.into();
        train.args.seed = seed;
        train.args.learning_rate = rate;
        train.args.check().map_err(|error| refuse(error.to_string()))?;
        Ok(train.args)
    }

    /// Whether images are made up, anew with each seed.
    pub(crate) fn made_up(&self) -> bool {
        self.options.iter().all(|(option, _)| option != "data")
    }

    /// What results of it must agree in.
    pub(crate) fn asked(&self) -> Vec<(String, String)> {
        let mut asked: Vec<_> = self.options.iter().filter(|(option, _)| option != "data").cloned().collect();
        if self.made_up() {
            asked.push(("test".into(), self.test.to_string()));
        }
        asked
    }
}

/// A name for a file or folder: what is unusual there becomes `_`.
pub(crate) fn folder_name(text: &str) -> String {
    let usual = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    text.chars().filter(|c| !c.is_whitespace()).map(|c| if usual(c) { c } else { '_' }).collect()
}

/// Where the results of a loss in a condition lie.
pub(crate) fn results(out: &Path, condition: &str, loss: &str) -> PathBuf {
    let mut name = folder_name(loss);
    if name.contains('_') {
        // Texts that differ in what is unusual stay apart.
        name = format!("{name}-{:08x}", crc32fast::hash(loss.as_bytes()));
    }
    out.join("runs").join(folder_name(condition)).join(name)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The plan in words.
pub(crate) fn lines(plan: &Plan) -> Vec<String> {
    let Plan { losses, reference, seeds, rates, conditions, .. } = plan;
    let rates = match &rates[..] {
        [rate] => format!("{rate} for every loss"),
        _ => {
            let rates: Vec<String> = rates.iter().map(f64::to_string).collect();
            format!("{} (each loss gets the one with the greatest Dice on images that are not tested)", rates.join(", "))
        }
    };
    let mut lines = vec![
        format!("losses      {}", losses.join(" | ")),
        format!("reference   {reference}"),
        format!("seeds       1 to {seeds}"),
        format!("rates       {rates}"),
    ];
    for Condition { name, options, test } in conditions {
        let options: Vec<String> =
            options.iter().map(|(option, value)| format!("--{option} {value}").trim().to_owned()).collect();
        let made_up =
            if options.iter().any(|o| o.starts_with("--data")) { String::new() } else { format!("; {test} test images") };
        lines.push(format!("condition   {name}: {}{made_up}", shown(Path::new(&options.join(" ")))));
    }
    lines
}
