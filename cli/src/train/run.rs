//! The training loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use segloss::burn::{BurnLoss, BurnTarget};
use segloss::{Evaluation, Loss, Pressure};
use serde::{Deserialize, Serialize};

use super::augment::Augment;
use super::data::{Dataset, Picture};
use super::network::{Shape, UNet};
use super::notes::Seen;
use super::patches::{Batch, Sampler};
use super::state::{Best, State};
use super::validation::{ClassReport, Predicting, validate};
use crate::error::CliError;

/// The numbers that steer a run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Passes.
    pub(crate) epochs: usize,
    /// Steps of one pass.
    pub(crate) steps: usize,
    /// Patches of one step.
    pub(crate) batch: usize,
    /// Size of a patch, [D, H, W]; pictures have one slice.
    pub(crate) patch: [usize; 3],
    /// Share of the patches that are centred on a pixel of a class drawn first.
    pub(crate) rare: f64,
    /// What happens to patches.
    pub(crate) augment: Augment,
    /// Channels of the network's first level.
    pub(crate) width: usize,
    /// Greatest learning rate.
    pub(crate) learning_rate: f64,
    /// Seed of everything random.
    pub(crate) seed: u64,
}

/// A term of the loss, averaged over the steps of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TermRecord {
    /// Its name, made unique within the loss.
    pub(crate) name: String,
    /// Its role, in words.
    pub(crate) role: String,
    /// Its weight in this epoch.
    #[serde(with = "super::exact")]
    pub(crate) weight: f64,
    /// Its value before the weight.
    #[serde(with = "super::exact")]
    pub(crate) value: f64,
    /// Its ground-truth matching part; NaN, as the other two, for a term without an exact split.
    #[serde(with = "super::exact")]
    pub(crate) matching: f64,
    /// Its region-size part.
    #[serde(with = "super::exact")]
    pub(crate) size: f64,
    /// Its constant part.
    #[serde(with = "super::exact")]
    pub(crate) constant: f64,
    /// Its pressure on the size of each class before the weight: above 0 it shrinks the class.
    #[serde(with = "super::exact::list")]
    pub(crate) pressure: Vec<f64>,
}

/// What an epoch came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EpochRecord {
    /// Counted from 1.
    pub(crate) epoch: usize,
    /// Learning rate of its last step.
    #[serde(with = "super::exact")]
    pub(crate) learning_rate: f64,
    /// Mean total of its steps.
    #[serde(with = "super::exact")]
    pub(crate) total: f64,
    /// Means of the terms.
    pub(crate) terms: Vec<TermRecord>,
    /// Mean pressure of the total on the size of each class.
    #[serde(with = "super::exact::list")]
    pub(crate) pressure: Vec<f64>,
    /// The classes on the validation images.
    pub(crate) classes: Vec<ClassReport>,
    /// Wall-clock time.
    #[serde(with = "super::exact")]
    pub(crate) seconds: f64,
    /// Classes that none of its patches showed.
    pub(crate) unseen: Vec<usize>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    /// All epochs are done.
    Finished,
    /// It was asked to stop.
    Stopped,
    /// The total became NaN or infinite.
    Diverged {
        /// The total.
        total: f64,
        /// Epoch, from 1.
        epoch: usize,
        /// Step, from 1.
        step: usize,
    },
}

/// What is left of a run.
pub(crate) struct Outcome {
    /// Where it computed.
    pub(crate) device: Device,
    /// The network as it was last, without gradients.
    pub(crate) network: UNet,
    /// The network of the epoch with the greatest foreground Dice.
    pub(crate) best: Option<Best>,
    /// The complete epochs.
    pub(crate) history: Vec<EpochRecord>,
    /// How it ended.
    pub(crate) end: End,
}

/// Someone who watches a run.
pub(crate) trait Observer {
    /// A step is done; `total` is its loss.
    fn step(&mut self, epoch: usize, step: usize, total: f64);
    /// The network is being judged.
    fn validating(&mut self, epoch: usize);
    /// An epoch is done, and the run can go on from here another time.
    fn keep(&mut self, state: &State) -> Result<(), CliError>;
    /// An epoch is done and kept.
    fn epoch(&mut self, record: &EpochRecord) -> Result<(), CliError>;
}

/// Trains a network to the last epoch. Stops after the step during which `stop` was set.
///
/// What an epoch comes to depends on nothing but the arguments: from the same state follow the same
/// numbers, whether that state was reached in this process or kept by another one.
pub(crate) fn train(
    dataset: &Dataset,
    loss: &Loss,
    settings: &Settings,
    mut state: State,
    stop: &AtomicBool,
    observer: &mut impl Observer,
) -> Result<Outcome, CliError> {
    let device = state.device.clone();
    let Settings { patch, rare, augment, .. } = *settings;
    let mut sampler = Sampler::new(&dataset.train, patch, rare, dataset.foreground(), augment, state.chance.clone());
    let predicting = settings.predicting(dataset, loss);
    let validation: Vec<&Picture> = dataset.validation.iter().collect();
    let mut end = End::Finished;

    'run: for epoch in state.history.len()..settings.epochs {
        let started = Instant::now();
        let loss = loss.at_epoch(epoch);
        let (mut means, mut seen) = (Means::default(), Seen::new(dataset.classes));
        let mut learning_rate = 0.0;
        for step in 0..settings.steps {
            if stop.load(Ordering::Relaxed) {
                end = End::Stopped;
                break 'run;
            }
            let batch = sampler.batch(settings.batch);
            seen.add(&batch, settings.patch.iter().product());
            let (images, target) = tensors(batch, dataset, settings, &device);
            let logits = state.network.forward(images);
            let pressure = loss.pressure(logits.clone().without_autodiff(), &target)?;
            let output = loss.forward(logits, &target)?;
            let total = means.add(&output, &pressure)?;
            if !total.is_finite() {
                end = End::Diverged { total, epoch: epoch + 1, step: step + 1 };
                break 'run;
            }
            let gradients = GradientsParams::from_grads(output.total.backward(), &state.network);
            learning_rate = settings.rate(epoch * settings.steps + step);
            state.network = state.optimizer.step(learning_rate, state.network, gradients);
            observer.step(epoch, step, total);
        }
        observer.validating(epoch);
        let plain = plain_copy(&state.network);
        let judged = validate(&plain, &validation, dataset.classes, &predicting, &device.clone().inner(), stop)?;
        let Some(classes) = judged else {
            end = End::Stopped;
            break;
        };
        let (total, terms, pressure) = means.finish();
        let seconds = started.elapsed().as_secs_f64();
        let record =
            EpochRecord { epoch: epoch + 1, learning_rate, total, terms, pressure, classes, seconds, unseen: seen.unseen() };
        state.chance = sampler.chance.clone();
        state.add(record.clone(), &plain, dataset.foreground());
        observer.keep(&state)?;
        match observer.epoch(&record) {
            // Nobody reads on: keep what there is, as after Ctrl-C.
            Err(CliError::OutputClosed) => {
                end = End::Stopped;
                break;
            }
            other => other?,
        }
    }
    let network = plain_copy(&state.network);
    Ok(Outcome { device, network, best: state.best, history: state.history, end })
}

impl Settings {
    /// The network that fits the images.
    pub(crate) fn shape(&self, dataset: &Dataset) -> Shape {
        let Dataset { channels, classes, volumes, .. } = *dataset;
        Shape { channels, classes, width: self.width, volumes }
    }

    /// How images are predicted.
    pub(crate) fn predicting(&self, dataset: &Dataset, loss: &Loss) -> Predicting {
        Predicting { activation: loss.activation(), window: self.patch, overlapping: dataset.overlapping }
    }

    /// The learning rate rises over the first twentieth of the run and falls along a cosine to a
    /// hundredth.
    fn rate(&self, step: usize) -> f64 {
        let total = (self.epochs * self.steps) as f64;
        let done = (step as f64 + 1.0) / total;
        let rise = (done / 0.05).min(1.0);
        let fall = 0.01 + 0.99 * (0.5 + 0.5 * (std::f64::consts::PI * done).cos());
        self.learning_rate * rise * fall
    }
}

/// The network for use only.
fn plain_copy(network: &UNet) -> UNet {
    burn::module::Module::valid(network)
}

/// A batch on the device: images [N, C, D, H, W] and what is to be found in them.
fn tensors(batch: Batch, dataset: &Dataset, settings: &Settings, device: &Device) -> (Tensor<5>, BurnTarget) {
    let (n, [d, h, w]) = (settings.batch, settings.patch);
    let images = Tensor::from_data(TensorData::new(batch.inputs, [n, dataset.channels, d, h, w]), device);
    let target = if batch.shares.is_empty() {
        BurnTarget::labels(Tensor::<4, Int>::from_data(TensorData::new(batch.labels, [n, d, h, w]), device))
    } else {
        let shares = Tensor::<5>::from_data(TensorData::new(batch.shares, [n, dataset.classes, d, h, w]), device);
        let weights = Tensor::<4>::from_data(TensorData::new(batch.weights, [n, d, h, w]), device);
        BurnTarget::soft(shares).weights(weights)
    };
    let target = match &dataset.common.spacing {
        Some(spacing) => target.spacing(spacing),
        None => target,
    };
    (images, target)
}

/// Sums over the steps of an epoch.
#[derive(Default)]
struct Means {
    steps: f64,
    total: f64,
    terms: Vec<TermRecord>,
    pressure: Vec<f64>,
}

impl Means {
    /// Adds a step and gives its total.
    fn add(&mut self, output: &Evaluation<Tensor<1>>, pressure: &Pressure) -> Result<f64, CliError> {
        let total = number(&output.total)?;
        self.steps += 1.0;
        self.total += total;
        if self.terms.is_empty() {
            let names = unique(output.terms.iter().map(|term| term.name.clone()));
            let none = vec![0.0; pressure.total.len()];
            let empty = |name| TermRecord { name, pressure: none.clone(), ..TermRecord::default() };
            self.terms = names.map(empty).collect();
            self.pressure = none.clone();
        }
        let add = |sums: &mut [f64], more: &[f64]| sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        add(&mut self.pressure, &pressure.total);
        self.terms.iter_mut().zip(&pressure.terms).for_each(|(sum, more)| add(&mut sum.pressure, more));
        for (sum, term) in self.terms.iter_mut().zip(&output.terms) {
            sum.role = term.role.to_string();
            sum.weight = term.weight;
            sum.value += number(&term.value)?;
            let parts = [&mut sum.matching, &mut sum.size, &mut sum.constant];
            match &term.split {
                Some(split) => {
                    for (sum, part) in parts.into_iter().zip([&split.matching, &split.size, &split.constant]) {
                        *sum += number(part)?;
                    }
                }
                None => parts.into_iter().for_each(|part| *part = f64::NAN),
            }
        }
        Ok(total)
    }

    fn finish(mut self) -> (f64, Vec<TermRecord>, Vec<f64>) {
        for term in &mut self.terms {
            let parts = [&mut term.value, &mut term.matching, &mut term.size, &mut term.constant];
            parts.into_iter().chain(&mut term.pressure).for_each(|part| *part /= self.steps);
        }
        self.pressure.iter_mut().for_each(|part| *part /= self.steps);
        (self.total / self.steps, self.terms, self.pressure)
    }
}

fn number(tensor: &Tensor<1>) -> Result<f64, CliError> {
    let values = tensor.clone().try_into_vec_as::<f64>().map_err(super::read_failure)?;
    Ok(values.first().copied().unwrap_or(f64::NAN))
}

/// Names with a number after those that came before.
fn unique(names: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut seen: Vec<String> = Vec::new();
    names.map(move |name| {
        let before = seen.iter().filter(|other| **other == name).count();
        seen.push(name.clone());
        if before == 0 { name } else { format!("{name}#{}", before + 1) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_and_falls() {
        let settings = Settings {
            epochs: 10,
            steps: 10,
            batch: 1,
            patch: [1, 16, 16],
            rare: 0.0,
            augment: Augment::default(),
            width: 4,
            learning_rate: 0.01,
            seed: 0,
        };
        let rates: Vec<f64> = (0..100).map(|step| settings.rate(step)).collect();
        let peak = rates.iter().copied().fold(0.0, f64::max);
        assert!(peak <= 0.01 && peak > 0.0095);
        assert!(rates[0] < 0.3 * peak && rates[99] < 0.02 * peak);
        assert!(rates[5..].windows(2).all(|pair| pair[1] < pair[0]));
    }

    #[test]
    fn names_are_told_apart() {
        let names = ["ce", "l1", "l1", "kl", "l1"].map(String::from);
        assert_eq!(unique(names.into_iter()).collect::<Vec<_>>(), ["ce", "l1", "l1#2", "kl", "l1#3"]);
    }
}
