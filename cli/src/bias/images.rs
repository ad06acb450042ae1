//! Logits of a trained network on a folder of images with masks: one question about all of them.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::{Args, ValueEnum};
use ndarray::{Array4, ArrayD, Axis, IxDyn};
use segloss::ndarray::Target;
use segloss::{Activation, Detail, Loss, LossError, Map, Scope};
use segloss_data::{Coding, Dataset, IGNORED, Target as Truth, shown};

use super::batch::{Batch, See};
use super::input::Source;
use crate::data::ReadOptions;
use crate::error::CliError;
use crate::output;
use crate::predict::Model;
use crate::train::device::DeviceName;
use crate::train::folder::slices;
use crate::train::space::grid;

/// A trained network, and images with masks.
#[derive(Args, Debug)]
#[command(next_help_heading = "Logits of a trained network, in place of --logits and --target")]
pub(super) struct ModelOptions {
    /// Folder that segloss train filled
    #[arg(long, value_name = "DIR", requires = "data")]
    pub(super) model: Option<PathBuf>,
    /// Folder of images with masks
    #[arg(long, value_name = "FOLDER", requires = "model", conflicts_with = "logits")]
    data: Option<PathBuf>,
    /// Which images: new leaves out those that the network was trained on, by their names
    #[arg(long, value_enum, default_value_t = Which::New, requires = "model", conflicts_with = "logits")]
    images: Which,
    /// Use the weights of the epoch that did best on the validation images, not those of the last
    #[arg(long, requires = "model", conflicts_with = "logits")]
    best: bool,
    /// Where to predict
    #[arg(long, value_enum, default_value_t, requires = "model", conflicts_with = "logits")]
    device: DeviceName,
    #[command(flatten)]
    reading: ReadOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    New,
    All,
}

/// Logits of all images, each on its own grid.
pub(super) struct Predicted {
    model: Model,
    source: Source,
    images: Vec<Image>,
}

/// A sample.
struct Image {
    /// `[1, K, *size]`, in the precision that the network has.
    logits: ArrayD<f32>,
    mask: Mask,
    /// Millimetres between neighbours.
    spacing: Option<Vec<f64>>,
}

/// What is true of a sample.
enum Mask {
    /// `[1, *size]`
    Labels(ArrayD<i32>),
    /// `[1, K, *size]`
    Shares(ArrayD<f32>),
}

impl Predicted {
    /// Reads the network and predicts every image.
    pub(super) fn open(folder: &Path, options: &ModelOptions) -> Result<Self, CliError> {
        let model = Model::open(folder, options.best, options.device.device()?)?;
        let mut reading = options.reading.options()?;
        reading.grey |= model.run.grey;
        reading.scale = model.scale;
        let data = options.data.as_deref().unwrap_or(Path::new("."));
        let mut dataset = Dataset::open(data, &reading)?;
        if !dataset.scan.problems.is_empty() {
            return Err(dataset.scan.problems.remove(0).into());
        }
        model.check_masks(&dataset, None)?;
        let [found, known] = [dataset.classes.len(), model.run.classes];
        if matches!(dataset.coding, Coding::Soft(_)) && found != known {
            let reason = format!("masks are shares of {found} classes, but the network gives {known}; each needs its share");
            return Err(CliError::Folder { path: data.to_path_buf(), reason });
        }
        for pair in &dataset.scan.pairs {
            let path = pair.images.first().map(|image| image.path.clone()).unwrap_or_default();
            model.check(&path, &pair.size, pair.channels, &reading)?;
        }
        // Grey among colours becomes three channels, as in the training.
        dataset.scan.channels = model.run.channels;
        let mut told: Vec<String> = dataset.scan.notes.iter().map(|note| note.line(data)).collect();
        let chosen = chosen(&dataset, &model, options.images, &mut told)?;
        let bar = output::bar(chosen.len(), "predicting [{bar:32}] {percent}% {eta} left");
        let mut images = Vec::with_capacity(chosen.len());
        for &i in &chosen {
            images.push(Image::predict(&model, &dataset, i)?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let run = &model.run;
        let facts = vec![
            ("model", format!("{}: {}, after epoch {} of {}", shown(folder), run.loss, model.epoch, run.epochs)),
            ("data", shown(data)),
            ("images", format!("{} with masks, each a sample on its own grid", chosen.len())),
        ];
        let names = chosen.iter().map(|&i| dataset.scan.pairs[i].name.clone()).collect();
        Ok(Self { source: Source { facts, images: names, told }, model, images })
    }

    /// A loss with the activation that the network was trained with, under its name without that.
    pub(super) fn loss(&self, spec: &str) -> Result<(String, Loss), CliError> {
        let loss: Loss = spec.parse()?;
        let activation = self.model.predicting.activation;
        if loss.activation() == Activation::Sigmoid && activation == Activation::Softmax {
            let expected = "the network was trained with softmax, which makes its logits; leave the activation out".into();
            return Err(CliError::Option { option: "loss", value: spec.into(), expected });
        }
        let name = loss.to_string();
        let loss = loss.with_activation(activation);
        let program = loss.program(self.classes(), Detail::Total)?;
        let of_batch = |map: &Map| matches!(map, Map::Derived(how) if how.scope() == Scope::Batch);
        if self.images.len() > 1 && program.plan().maps().iter().any(of_batch) {
            let expected = "ranks the pixels of a whole batch, but images are measured one by one; say pooling=sample".into();
            return Err(CliError::Option { option: "loss", value: name, expected });
        }
        Ok((name, if self.has_labels() { loss.with_ignore_index(IGNORED.into()) } else { loss }))
    }

    /// Whether masks are labels.
    pub(super) fn has_labels(&self) -> bool {
        self.images.iter().all(|image| matches!(image.mask, Mask::Labels(_)))
    }

    /// For a reader.
    pub(super) fn source(&self) -> Source {
        let Source { facts, images, told } = &self.source;
        Source { facts: facts.clone(), images: images.clone(), told: told.clone() }
    }
}

/// The images that are asked for.
fn chosen(dataset: &Dataset, model: &Model, which: Which, told: &mut Vec<String>) -> Result<Vec<usize>, CliError> {
    let learnt = |i: &usize| model.run.training_images.contains(&dataset.scan.pairs[*i].name);
    let all: Vec<usize> = (0..dataset.len()).collect();
    let count = all.iter().filter(|i| learnt(i)).count();
    let noun = |count: usize| if count == 1 { "image has the name of one" } else { "images have names of those" };
    match which {
        Which::New if count == all.len() => Err(CliError::Folder {
            path: dataset.scan.folder.clone(),
            reason: "holds no image but those that the network was trained on, by their names; --images all takes these".into(),
        }),
        Which::New => {
            if count > 0 {
                told.push(format!(
                    "{count} {} that the network was trained on, and left out; --images all takes all",
                    noun(count)
                ));
            }
            Ok(all.into_iter().filter(|i| !learnt(i)).collect())
        }
        Which::All => {
            if count > 0 {
                told.push(format!("{count} {} that the network was trained on: it knows their masks", noun(count)));
            }
            Ok(all)
        }
    }
}

impl Image {
    fn predict(model: &Model, dataset: &Dataset, i: usize) -> Result<Self, CliError> {
        let item = dataset.item(i)?;
        let pair = &dataset.scan.pairs[i];
        let refuse = |reason: String| CliError::Folder { path: dataset.scan.folder.clone(), reason };
        let (input, grid) = (slices(item.image), grid(pair, &model.common));
        let input = if grid.is_same() { input } else { grid.image(&input) };
        let go_on = AtomicBool::new(false);
        let found = model.predicting.image(&model.network, &input, &grid, &model.device, &go_on)?.unwrap_or_default();
        if found.iter().any(|p| !p.is_finite()) {
            return Err(refuse(format!("the network gives NaN on {}; was its training cut off as its loss rose?", item.name)));
        }
        let mask = match item.target {
            Truth::Labels(labels) => Mask::Labels(labels.insert_axis(Axis(0))),
            Truth::Soft(shares) | Truth::Overlapping(shares) => Mask::Shares(shares.insert_axis(Axis(0))),
            _ => return Err(refuse(format!("{}: masks of an unknown kind", item.name))),
        };
        let logits = logits(&found, model.predicting.activation, &pair.size);
        Ok(Self { logits, mask, spacing: item.spacing })
    }

    fn target(&self) -> Target<'_> {
        let target = match &self.mask {
            Mask::Labels(labels) => Target::labels(labels.view()),
            Mask::Shares(shares) => Target::soft(shares.view()),
        };
        self.spacing.iter().fold(target, |target, spacing| target.spacing(spacing))
    }
}

/// Logits `[1, K, *size]` whose probabilities are those of `segloss predict`, [K, D, H, W].
///
/// These are means over windows, in float32: one that is 0 or, of sigmoid, 1 there gets the
/// nearest logit that float32 tells from it.
fn logits(found: &Array4<f32>, activation: Activation, size: &[usize]) -> ArrayD<f32> {
    // Half of the distance between 1 and the float32 below it.
    const SUREST: f64 = 1.0 / (1u64 << 25) as f64;
    let log = |p: f64| p.max(f32::MIN_POSITIVE.into()).ln();
    let logit = |p: &f32| {
        let p = f64::from(*p);
        match activation {
            Activation::Softmax => log(p) as f32,
            Activation::Sigmoid => (log(p) - (1.0 - p).max(SUREST).ln()) as f32,
        }
    };
    let shape = IxDyn(&[&[1, found.len_of(Axis(0))], size].concat());
    ArrayD::from_shape_vec(shape, found.iter().map(logit).collect()).unwrap_or_default()
}

impl Batch for Predicted {
    fn classes(&self) -> usize {
        self.model.run.classes
    }

    fn class_name(&self, class: usize) -> Option<String> {
        let name = self.model.run.class_names.get(class)?;
        (*name != class.to_string()).then(|| name.clone())
    }

    fn each(&self, see: &mut See<'_>) -> Result<(), LossError> {
        self.images.iter().try_for_each(|image| see(image.logits.mapv(f64::from).view(), &image.target()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_give_the_probabilities_back_and_are_finite() {
        let found = Array4::from_shape_vec([2, 1, 1, 4], vec![0.25f32, 1.0, 0.0, 1e-30, 0.75, 0.0, 1.0, 1.0]).unwrap();
        let softmax = logits(&found, Activation::Softmax, &[1, 4]);
        assert_eq!(softmax.shape(), [1, 2, 1, 4]);
        for (s, p) in found.index_axis(Axis(0), 0).iter().enumerate() {
            let [a, b] = [0, 1].map(|k| f64::from(softmax[[0, k, 0, s]]));
            let back = a.exp() / (a.exp() + b.exp());
            assert!((back - f64::from(*p)).abs() <= 1e-7 * f64::from(*p) + 1e-37, "{back} {p}");
        }
        for (z, p) in logits(&found, Activation::Sigmoid, &[1, 4]).iter().zip(&found) {
            let back = 1.0 / (1.0 + (-f64::from(*z)).exp());
            assert!((back - f64::from(*p)).abs() <= 4e-8, "{back} {p}");
        }
    }
}
