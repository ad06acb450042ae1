//! A run as it stands between two epochs: all that the next epoch depends on.

use burn::module::Module;
use burn::optim::{AdamWConfig, ModuleOptimizer, OptimizerRecord};
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{Bytes, Device};
use serde::{Deserialize, Serialize};

use super::data::Dataset;
use super::network::UNet;
use super::patches::Chance;
use super::run::{EpochRecord, Settings};
use super::validation::foreground_dice;

/// A run between two epochs.
pub(crate) struct State {
    /// Where it computes, with gradients.
    pub(crate) device: Device,
    /// The network.
    pub(crate) network: UNet,
    /// Its optimizer with the moments of every weight.
    pub(crate) optimizer: ModuleOptimizer,
    /// What decides the patches to come.
    pub(crate) chance: Chance,
    /// The complete epochs.
    pub(crate) history: Vec<EpochRecord>,
    /// The network of the epoch with the greatest foreground Dice so far.
    pub(crate) best: Option<Best>,
}

/// The network of the best epoch.
#[derive(Clone)]
pub(crate) struct Best {
    /// Counted from 1.
    pub(crate) epoch: usize,
    /// Its mean Dice of the foreground classes on the validation images.
    pub(crate) dice: f64,
    /// It, without gradients.
    pub(crate) network: UNet,
}

impl State {
    /// Before the first epoch.
    pub(crate) fn new(dataset: &Dataset, settings: &Settings, device: &Device) -> Self {
        let device = device.clone().autodiff();
        device.seed(settings.seed);
        Self {
            network: UNet::new(settings.shape(dataset), &device),
            // Burn's default of 1e-5 is large beside the gradients of a mean over pixels.
            optimizer: AdamWConfig::new().with_epsilon(1e-8).init(),
            chance: Chance::new(settings.seed),
            history: Vec::new(),
            best: None,
            device,
        }
    }

    /// Adds a complete epoch, with the network after it as it is used. Classes are foreground from
    /// `foreground` on.
    pub(crate) fn add(&mut self, record: EpochRecord, network: &UNet, foreground: usize) {
        let (epoch, dice) = (record.epoch, foreground_dice(&record.classes, foreground));
        self.history.push(record);
        // No Dice, of images without foreground, is never the best.
        if !dice.is_nan() && self.best.as_ref().is_none_or(|best| dice > best.dice) {
            self.best = Some(Best { epoch, dice, network: network.clone() });
        }
    }

    /// As bytes. Nothing after the network's first weights is drawn from the device's generator, so
    /// that it is no part of this.
    pub(crate) fn pack(&self) -> Result<Packed, RecordError> {
        let plain = |network: &UNet| Ok::<_, RecordError>(network.clone().into_record().into_bytes()?.to_vec());
        Ok(Packed {
            numbers: Numbers {
                history: self.history.clone(),
                position: self.chance.rng.get_word_pos(),
                order: self.chance.order.clone(),
                best: self.best.as_ref().map(|best| best.epoch),
            },
            network: plain(&self.network)?,
            optimizer: self.optimizer.to_record().into_bytes()?.to_vec(),
            best: self.best.as_ref().map(|best| plain(&best.network)).transpose()?.unwrap_or_default(),
        })
    }

    /// From bytes.
    pub(crate) fn unpack(packed: Packed, dataset: &Dataset, settings: &Settings, device: &Device) -> Result<Self, RecordError> {
        let mut state = Self::new(dataset, settings, device);
        let record = |bytes: Vec<u8>| ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes));
        if let Some(epoch) = packed.numbers.best {
            let record_of = packed.numbers.history.get(epoch.wrapping_sub(1));
            let dice = record_of.map_or(f64::NAN, |record| foreground_dice(&record.classes, dataset.foreground()));
            let network = state.network.clone().valid().try_load_record(record(packed.best)?)?;
            state.best = Some(Best { epoch, dice, network });
        }
        state.network = state.network.try_load_record(record(packed.network)?)?;
        // The moments of a weight are found by its identity, which the network's record has
        // restored.
        let moments = OptimizerRecord::from_bytes(Bytes::from_bytes_vec(packed.optimizer))?;
        state.optimizer = state.optimizer.load_record(moments);
        state.chance.rng.set_word_pos(packed.numbers.position);
        state.chance.order = packed.numbers.order;
        state.history = packed.numbers.history;
        Ok(state)
    }
}

/// A state as bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Packed {
    /// All that is no tensor.
    pub(crate) numbers: Numbers,
    /// Weights, in Burn's format, which keeps the identity of each.
    pub(crate) network: Vec<u8>,
    /// Moments of the weights.
    pub(crate) optimizer: Vec<u8>,
    /// Weights of the best epoch; empty where there is none.
    pub(crate) best: Vec<u8>,
}

/// The numbers of a state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Numbers {
    /// The complete epochs.
    pub(crate) history: Vec<EpochRecord>,
    /// How many random words are drawn.
    #[serde(with = "super::exact")]
    pub(crate) position: u128,
    /// Images still to be seen in this pass.
    pub(crate) order: Vec<usize>,
    /// The best epoch.
    pub(crate) best: Option<usize>,
}
