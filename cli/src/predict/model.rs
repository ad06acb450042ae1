//! A network as `segloss train` left it.

use std::path::Path;

use burn::tensor::Device;
use segloss::Loss;
use segloss_data::{Common, Image, Options, Scale, Taken};

use crate::error::CliError;
use crate::train::network::UNet;
use crate::train::run_file::RunFile;
use crate::train::validation::Predicting;
use crate::train::weights;

/// A trained network with all that was said of it.
pub(crate) struct Model {
    /// What run.json says.
    pub(crate) run: RunFile,
    /// The network.
    pub(crate) network: UNet,
    /// Where it computes.
    pub(crate) device: Device,
    /// How images are predicted.
    pub(crate) predicting: Predicting,
    /// How intensities are scaled.
    pub(crate) scale: Scale,
    /// The grid that images are brought to.
    pub(crate) common: Common,
    /// The epoch of its weights.
    pub(crate) epoch: usize,
}

impl Model {
    /// Reads it from the folder of a run: the weights of the last epoch, or of the best one.
    pub(crate) fn open(folder: &Path, best: bool, device: Device) -> Result<Self, CliError> {
        let refuse = |reason: &str| CliError::Folder { path: folder.to_path_buf(), reason: reason.into() };
        let description = folder.join("run.json");
        if !description.exists() {
            return Err(refuse(
                "holds no model; --model takes a folder that segloss train filled (run.json and model.safetensors)",
            ));
        }
        let run = RunFile::read(&description)?;
        let epoch = if best { run.best_epoch } else { Some(run.epochs_done) };
        let Some(epoch) = epoch else {
            return Err(refuse("no epoch of this run was the best, as no validation image has foreground; leave --best out"));
        };
        let path = folder.join(if best { "best.safetensors" } else { "model.safetensors" });
        let network = weights::read(&path, UNet::new(run.shape(), &device))?;
        let loss: Loss = run.loss.parse()?;
        Ok(Self {
            predicting: run.predicting(&loss),
            scale: run.scale.parse()?,
            common: Common::new(run.orientation.clone(), run.spacing),
            network,
            device,
            epoch,
            run,
        })
    }

    /// What it takes, for reading images.
    pub(crate) fn taken(&self) -> Taken {
        Taken { axes: if self.run.volumes { 3 } else { 2 }, channels: self.run.channels }
    }

    /// Refuses an image that it cannot take; none is read yet.
    pub(crate) fn check(&self, image: &Image, options: &Options) -> Result<(), CliError> {
        let path = image.sources.first().map(|source| source.path.clone()).unwrap_or_default();
        let refuse = |reason: String| Err(CliError::Folder { path, reason });
        let size = || image.size.iter().rev().map(usize::to_string).collect::<Vec<_>>().join("x");
        let [known, other] = if self.run.volumes { ["volumes", "a picture"] } else { ["pictures", "a volume"] };
        match image.size.len() {
            axes if axes == self.taken().axes => {}
            2 | 3 => {
                let kind = if self.run.volumes { "pictures" } else { "volumes" };
                return refuse(format!(
                    "is {other} of {}, but the model was trained on {known}; take a model that was trained on {kind}",
                    size()
                ));
            }
            _ => return refuse(format!("is an array of {}; predict takes pictures and volumes", size())),
        }
        let [found, wanted] = [image.channels, self.run.channels];
        match (found, wanted) {
            _ if found == wanted => Ok(()),
            (3, 1) if options.grey => Ok(()),
            (1, 3) if self.run.colour => Ok(()),
            (3, 1) => refuse("has 3 channels, but the model takes 1; --grey makes colours grey".into()),
            _ => refuse(format!(
                "has {found} channel{}, but the model takes {wanted}; give images with the channels of those it was trained on ({})",
                if found == 1 { "" } else { "s" },
                self.run.data
            )),
        }
    }
}
