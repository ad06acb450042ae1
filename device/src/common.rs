//! What the programs of the bundle share: cases, their inputs, and where results go. See
//! `docs/cuda.md`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use loss_core::{Activation, Loss};
use serde_json::{Value, json};

pub(crate) type Failed = Box<dyn Error>;

/// What is measured, and its text.
pub(crate) const LOSSES: [(&str, &str); 3] = [
    ("ce + dice + l1", "ce + dice + l1"),
    ("ce", "ce"),
    ("DiceCELoss", "dice(pooling=sample, absent=count, smooth_numerator=1e-5, smooth_denominator=1e-5) + ce"),
];

/// Keeps gradients within what half precision holds, as training does. A power of two rounds
/// nothing.
pub(crate) const SCALE: f64 = 65536.0;

/// Batches of steps of which the median is taken.
const BATCHES: usize = 5;

/// How long a batch should take.
const BATCH: Duration = Duration::from_millis(50);

/// Numbers of a gradient that are compared.
const SAMPLE: usize = 4096;

/// Logits `[N, K, *spatial]`, under softmax or sigmoid.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) shape: &'static [usize],
    sigmoid: bool,
}

const fn softmax(shape: &'static [usize]) -> Case {
    Case { shape, sigmoid: false }
}

/// The last has a gigabyte of logits in single precision.
const FULL: [Case; 6] = [
    softmax(&[4, 20, 512, 512]),
    softmax(&[2, 4, 96, 96, 96]),
    softmax(&[8, 4, 256, 256]),
    softmax(&[1, 2, 128, 128, 128]),
    Case { shape: &[1, 1, 128, 128, 128], sigmoid: true },
    softmax(&[2, 32, 160, 160, 160]),
];

const SMALL: [Case; 6] = [
    softmax(&[2, 20, 32, 64]),
    softmax(&[2, 4, 16, 16, 16]),
    softmax(&[3, 4, 32, 32]),
    softmax(&[1, 2, 16, 16, 16]),
    Case { shape: &[1, 1, 16, 16, 16], sigmoid: true },
    softmax(&[2, 32, 8, 16, 16]),
];

impl Case {
    pub(crate) fn all(small: bool) -> [Self; 6] {
        if small { SMALL } else { FULL }
    }

    pub(crate) fn name(&self) -> String {
        let shape = self.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        if self.sigmoid { format!("{shape} sigmoid") } else { shape }
    }

    pub(crate) fn logits(&self) -> usize {
        self.shape.iter().product()
    }

    /// `[N, *spatial]`
    pub(crate) fn size(&self) -> Vec<usize> {
        [&self.shape[..1], &self.shape[2..]].concat()
    }

    /// How many labels there are: two for one channel.
    pub(crate) fn labels(&self) -> usize {
        self.shape[1].max(2)
    }

    pub(crate) fn loss(&self, text: &str) -> Result<Loss, Failed> {
        let activation = if self.sigmoid { Activation::Sigmoid } else { Activation::Softmax };
        Ok(text.parse::<Loss>()?.with_activation(activation))
    }
}

/// Options of a program, and where its results go.
pub(crate) struct Run {
    pub(crate) small: bool,
    /// Only losses and cases named so.
    only: Option<String>,
    step: &'static str,
    results: Option<PathBuf>,
}

impl Run {
    /// `RESULTS` names the folder; without it results are printed alone.
    pub(crate) fn new(step: &'static str, words: &[String]) -> Result<Self, Failed> {
        let mut run = Self { small: false, only: None, step, results: std::env::var_os("RESULTS").map(PathBuf::from) };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--small" => run.small = true,
                "--only" => run.only = Some(words.next().ok_or("--only needs a text")?.clone()),
                other => return Err(format!("{other} is not --small or --only").into()),
            }
        }
        Ok(run)
    }

    pub(crate) fn takes(&self, case: &Case, loss: &str) -> bool {
        self.only.as_ref().is_none_or(|only| format!("{loss}, {}", case.name()).contains(only))
    }

    /// One result: a line of `results.jsonl`, written at once.
    pub(crate) fn write(&self, result: &Value) -> Result<(), Failed> {
        let mut line = json!({"step": self.step});
        if let (Some(line), Some(result)) = (line.as_object_mut(), result.as_object()) {
            line.extend(result.clone());
        }
        println!("{line}");
        if let Some(folder) = &self.results {
            let mut file = File::options().create(true).append(true).open(folder.join("results.jsonl"))?;
            file.write_all(format!("{line}\n").as_bytes())?;
        }
        Ok(())
    }

    fn reference(&self, case: &Case, loss: &str) -> Option<PathBuf> {
        let name = format!("{loss}, {}.json", case.name());
        Some(self.results.as_ref()?.join("reference").join(name))
    }

    /// What the other programs compare themselves with.
    pub(crate) fn put_reference(&self, case: &Case, loss: &str, outcome: &Outcome) -> Result<(), Failed> {
        let Some(path) = self.reference(case, loss) else { return Ok(()) };
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        let text = json!({"value": outcome.value, "largest": outcome.largest, "sample": outcome.sample});
        Ok(fs::write(path, text.to_string())?)
    }

    #[allow(dead_code, reason = "the program that writes it need not read it")]
    pub(crate) fn get_reference(&self, case: &Case, loss: &str) -> Result<Option<Outcome>, Failed> {
        let Some(path) = self.reference(case, loss).filter(|path| path.exists()) else { return Ok(None) };
        let text: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
        let number = |name: &str| text[name].as_f64().ok_or_else(|| Failed::from(format!("a reference without {name}")));
        let sample = text["sample"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        Ok(Some(Outcome { value: number("value")?, largest: number("largest")?, sample }))
    }
}

/// Value and gradient of a step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) value: f64,
    /// The largest number of the gradient.
    pub(crate) largest: f64,
    /// Every so many numbers of it: see [`stride`].
    pub(crate) sample: Vec<f64>,
}

/// Odd, so that it meets every class.
pub(crate) fn stride(logits: usize) -> usize {
    logits.div_ceil(SAMPLE) | 1
}

impl Outcome {
    /// How far value and gradient are off, of the value and of the largest number of the gradient,
    /// and whether that is what the type rounds.
    pub(crate) fn off(&self, want: &Self, dtype: &str) -> BTreeMap<&'static str, Value> {
        let value = (self.value - want.value).abs() / want.value.abs();
        let far = |(got, want): (&f64, &f64)| (got - want).abs();
        // `max` would pass over a NaN.
        let worst = |worst: f64, far: f64| if far <= worst { worst } else { far };
        let gradient = self.sample.iter().zip(&want.sample).map(far).fold(0.0, worst) / want.largest;
        let allowed = match dtype {
            "f16" => 2e-3,
            "bf16" => 1e-2,
            _ => 2e-5,
        };
        let agrees = self.sample.len() == want.sample.len() && value <= 2e-5 && gradient <= allowed;
        BTreeMap::from([("value_off", json!(value)), ("gradient_off", json!(gradient)), ("agrees", json!(agrees))])
    }
}

/// What a batch of steps took.
pub(crate) struct Taken {
    pub(crate) milliseconds: f64,
    /// Calls that wait for the device, where they are counted.
    pub(crate) waits: Option<u64>,
}

/// Milliseconds of a step, the median of some batches, and waits of a step. `batch` runs so many
/// steps.
pub(crate) fn median(mut batch: impl FnMut(usize) -> Result<Taken, Failed>) -> Result<(f64, Option<f64>), Failed> {
    batch(2)?;
    let start = Instant::now();
    batch(1)?;
    let one = start.elapsed().as_secs_f64().max(1e-6);
    let steps = ((BATCH.as_secs_f64() / one) as usize).clamp(1, 50);
    let mut times = Vec::new();
    let mut waits = Some(0);
    for _ in 0..BATCHES {
        let taken = batch(steps)?;
        times.push(taken.milliseconds / steps as f64);
        waits = waits.zip(taken.waits).map(|(waits, more)| waits + more);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[BATCHES / 2], waits.map(|waits| waits as f64 / (BATCHES * steps) as f64)))
}
