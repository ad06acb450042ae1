//! Where a training begins: anew, or after the last epoch that was kept.

use burn::tensor::Device;
use segloss::Loss;
use segloss_data::shown;

use super::checkpoints::{Checkpoints, Found};
use super::data::{Dataset, Regions, Truth};
use super::device::DeviceName;
use super::run::Settings;
use super::state::State;
use crate::error::CliError;

/// The options that decide the numbers of a run, with their values; `epochs` apart, which may grow.
pub(crate) fn asked(dataset: &Dataset, loss: &Loss, settings: &Settings, device: DeviceName) -> Vec<(String, String)> {
    let Settings { epochs: _, steps, batch, patch, rare, augment, width, learning_rate, seed } = settings;
    let patch = patch.map(|side| side.to_string()).join(",");
    let values = [
        ("segloss", env!("CARGO_PKG_VERSION").to_owned()),
        ("loss", loss.to_string()),
        ("data", format!("{:08x}", checksum(dataset))),
        ("device", device.to_string()),
        ("steps", steps.to_string()),
        ("batch", batch.to_string()),
        ("patch", patch),
        ("rare", rare.to_string()),
        ("augment", augment.words()),
        ("width", width.to_string()),
        ("lr", learning_rate.to_string()),
        ("seed", seed.to_string()),
    ];
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A checksum of all that the network sees and is judged by, in the order of the images.
pub(crate) fn checksum(dataset: &Dataset) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    for picture in dataset.train.iter().chain(&dataset.validation) {
        picture.size().iter().for_each(|length| sum.update(&length.to_le_bytes()));
        picture.input.iter().for_each(|value| sum.update(&value.to_le_bytes()));
        match &picture.truth {
            Truth::Labels(labels) => labels.iter().for_each(|label| sum.update(&[*label])),
            Truth::Shares(shares) => shares.iter().for_each(|share| sum.update(&share.to_le_bytes())),
        }
        match &picture.own {
            Regions::Exclusive(labels) => labels.iter().for_each(|label| sum.update(&[*label])),
            Regions::Overlapping(classes) => classes.iter().for_each(|class| sum.update(&[*class])),
        }
    }
    sum.update(&dataset.train.len().to_le_bytes());
    sum.finalize()
}

/// A run that goes on, and what is to be told of it.
pub(crate) struct Resumed {
    /// The run.
    pub(crate) state: State,
    /// One line each.
    pub(crate) notes: Vec<String>,
}

/// Takes up the run that was kept, if it is the one that is asked for; begins where there is none.
pub(crate) fn resume(
    found: Option<Found>,
    checkpoints: &mut Checkpoints,
    asked: &[(String, String)],
    dataset: &Dataset,
    settings: &Settings,
    device: &Device,
) -> Result<Resumed, CliError> {
    let Some(Found { checkpoint, damaged }) = found else {
        let notes = vec![format!("no checkpoint in {}; the run begins", shown(checkpoints.folder()))];
        return Ok(Resumed { state: State::new(dataset, settings, device), notes });
    };
    for (name, value) in asked {
        let before = checkpoint.asked.iter().find(|(other, _)| other == name).map_or("nothing", |(_, value)| value);
        if before != value {
            return Err(changed(name, value, before));
        }
    }
    let (done, before) = (checkpoint.done(), checkpoint.epochs);
    if settings.epochs < before {
        return Err(CliError::Option {
            option: "epochs",
            value: settings.epochs.to_string(),
            expected: format!("the run was started with {before}; --resume may add epochs, not take them away"),
        });
    }
    let mut notes = damaged;
    notes.push(format!("going on after epoch {done} of {before}"));
    if settings.epochs > before {
        notes.push(format!(
            "{} epochs instead of {before}: from here on the learning rate is that of the longer run; the epochs before had \
             that of the shorter",
            settings.epochs
        ));
    }
    checkpoints.go_on()?;
    let state = State::unpack(checkpoint.state, dataset, settings, device);
    let reason = |error: burn::store::RecordError| error.to_string();
    let state = state.map_err(|error| CliError::Folder { path: checkpoints.folder().to_path_buf(), reason: reason(error) })?;
    Ok(Resumed { state, notes })
}

/// A run cannot go on with another value of an option.
fn changed(name: &str, value: &str, before: &str) -> CliError {
    CliError::Resume(match name {
        "data" => "the images or labels, or how they are read, are not those the run was started with; give the same".into(),
        "segloss" => format!("the run was started by segloss {before}, and this is {value}; go on with that version"),
        _ => format!("--{name} is {value}, but the run was started with {before}; give the same"),
    })
}
