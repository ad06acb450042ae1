//! A network as `segloss train` left it.

use std::path::Path;

use burn::tensor::Device;
use segloss::Loss;
use segloss_data::{Coding, Common, Dataset, Options, Scale, Taken};

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
    pub(crate) fn check(&self, path: &Path, size: &[usize], channels: usize, options: &Options) -> Result<(), CliError> {
        let refuse = |reason: String| Err(CliError::Folder { path: path.to_path_buf(), reason });
        let axes = size.len();
        let size = || size.iter().rev().map(usize::to_string).collect::<Vec<_>>().join("x");
        let [known, other] = if self.run.volumes { ["volumes", "a picture"] } else { ["pictures", "a volume"] };
        match axes {
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
        let [found, wanted] = [channels, self.run.channels];
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

    /// Refuses masks that mean more than the network knows; `otherwise` is how to do without them.
    pub(crate) fn check_masks(&self, dataset: &Dataset, otherwise: Option<&str>) -> Result<(), CliError> {
        let refuse = |reason: String| Err(CliError::Folder { path: dataset.scan.folder.clone(), reason });
        let overlapping = matches!(dataset.coding, Coding::Overlapping);
        if overlapping != self.run.overlapping {
            let [masks, known] = [overlapping, self.run.overlapping].map(|o| if o { "overlap" } else { "exclude each other" });
            let otherwise = otherwise.map_or_else(String::new, |way| format!("; {way}"));
            return refuse(format!("classes of the masks {masks}, but those of the model {known}{otherwise}"));
        }
        let [found, known] = [dataset.classes.len(), self.run.classes];
        if found > known || (overlapping && found != known) {
            let otherwise = otherwise.map_or_else(String::new, |way| format!(", or {way}"));
            return refuse(format!(
                "masks have {found} classes, but the model knows {known} ({}); say with --labels what values mean{otherwise}",
                self.run.class_names.join(", ")
            ));
        }
        Ok(())
    }
}
