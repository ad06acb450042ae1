//! `segloss predict`: a trained network on images.

mod files;
mod masks;
mod model;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::Args;
use ndarray::{Array4, Axis};
use segloss_data::formats::Format;
use segloss_data::{Image, Images, Options};

use self::files::Files;
use self::masks::{Masks, Score};
pub(crate) use self::model::Model;
use crate::data::ReadOptions;
use crate::error::CliError;
use crate::output::{self, Console};
use crate::train::data::Regions;
use crate::train::device::DeviceName;
use crate::train::folder::slices;
use crate::train::space::{grid_of, three};
use segloss_data::shown;

/// Use a trained network on images
///
/// DIR of --model is what `segloss train` filled. Every image below FOLDER, or every file named, is
/// predicted on its own grid, in windows that overlap, its intensities scaled by the rule of the
/// training. A picture becomes NAME.png, whose numbers are the classes, and a volume NAME.nii.gz;
/// with classes that overlap a picture becomes NAME_CLASS.png for each.
///
/// Where masks lie beside the images, as for `segloss data`, a table compares the predictions with
/// them. The masks change nothing in the predictions: intensities are scaled over all pixels.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
#[command(after_help = "Examples:
  segloss predict --model segloss-train --data new-images --out predicted
  segloss predict --model runs/l1 --best --data a.png b.png --out predicted --colour
  segloss predict --model runs/brain --data imagesTs --out predicted --probabilities")]
pub(crate) struct PredictArgs {
    /// Folder that segloss train filled
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Folder of images, with or without masks, or image files
    #[arg(long, value_name = "FOLDER_OR_FILES", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Folder for the predictions
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Use the weights of the epoch that did best on the validation images, not those of the last
    #[arg(long)]
    best: bool,
    /// Write the probability of each class too: NAME.npy, [K, H, W] or [K, D, H, W]
    #[arg(long)]
    probabilities: bool,
    /// Give pictures a palette, so that classes show in colours; their numbers stay the classes
    #[arg(long)]
    colour: bool,
    /// Leave masks alone
    #[arg(long)]
    no_dice: bool,
    /// Where to compute
    #[arg(long, value_enum, default_value_t)]
    device: DeviceName,
    #[command(flatten)]
    reading: ReadOptions,
}

/// An image, with the folder or file that it comes from.
struct Work {
    image: Image,
    of: usize,
}

/// Runs it.
pub(crate) fn run(args: &PredictArgs, console: &mut Console) -> Result<(), CliError> {
    let mut options = args.reading.options()?;
    let model = Model::open(&args.model, args.best, args.device.device()?)?;
    options.grey |= model.run.grey;
    let sources = args.data.iter().map(|path| Images::open(path, model.taken(), &options)).collect::<Result<Vec<_>, _>>()?;
    let works = || (0..sources.len()).flat_map(|of| sources[of].all.iter().map(move |image| Work { image: image.clone(), of }));
    let works: Vec<Work> = works().collect();
    for work in &works {
        let Image { sources, size, channels, .. } = &work.image;
        let path = sources.first().map(|source| source.path.clone()).unwrap_or_default();
        model.check(&path, size, *channels, &options)?;
    }
    apart(&works)?;
    let masks = masks(args, &model, &sources, &options)?;
    output::prepare_folder(&args.out)?;
    introduce(args, &model, &sources, &works, console)?;

    let files = Files { out: &args.out, volumes: model.run.volumes, colour: args.colour, classes: &model.run.class_names };
    let mut score = Score::new(&model);
    let mut written = Vec::new();
    let bar = output::bar(works.len(), "[{bar:32}] {percent}% {eta} left");
    for work in &works {
        let found = predict(&model, &sources[work.of], &work.image)?;
        let regions = Regions::of(&found.view(), model.run.overlapping);
        let first = work.image.sources.first().filter(|source| source.header.format == Format::Nifti);
        written.extend(files.write(&work.image.name, &regions, first.map(|source| source.path.as_path()))?);
        if let Some(truth) =
            masks.get(work.of).and_then(Option::as_ref).map(|masks| masks.of(&work.image)).transpose()?.flatten()
        {
            let spacing = work.image.sources.first().and_then(|source| three(&source.header));
            score.add(&truth, &regions, &found, spacing.unwrap_or([1.0; 3]))?;
        }
        if args.probabilities {
            written.push(files.probabilities(&work.image.name, found)?);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if let Some(text) = score.text(&model.run.class_names) {
        console.line(&text)?;
        console.line("")?;
    }
    let first = written.first().map(|path| shown(path)).unwrap_or_default();
    console.line(&format!(
        "wrote {} file{} in {}, such as {first}",
        written.len(),
        if written.len() == 1 { "" } else { "s" },
        shown(&args.out)
    ))
}

/// Probabilities [K, D, H, W] on an image's own grid.
fn predict(model: &Model, images: &Images, image: &Image) -> Result<Array4<f32>, CliError> {
    let mut read = images.read(image, model.run.channels)?;
    for mut channel in read.axis_iter_mut(Axis(0)) {
        if let Some(values) = channel.as_slice_mut() {
            model.scale.channel(values, |_| true);
        }
    }
    let input = slices(read);
    let grid = grid_of(&image.size, image.sources.first().map(|source| &source.header), &model.common);
    let input = if grid.is_same() { input } else { grid.image(&input) };
    let go_on = AtomicBool::new(false);
    let found = model.predicting.image(&model.network, &input, &grid, &model.device, &go_on)?;
    Ok(found.unwrap_or_default())
}

/// Refuses images that would be written to one file.
fn apart(works: &[Work]) -> Result<(), CliError> {
    let mut seen: HashMap<&Path, &Path> = HashMap::new();
    for work in works {
        let path = work.image.sources.first().map(|source| source.path.as_path()).unwrap_or(Path::new(""));
        if let Some(other) = seen.insert(&work.image.name, path) {
            let reason = format!(
                "would be written to the same file as {}; predict them one after the other, each with an --out of its own",
                shown(other)
            );
            return Err(CliError::Folder { path: path.to_path_buf(), reason });
        }
    }
    Ok(())
}

/// The masks of each folder that has some.
fn masks(args: &PredictArgs, model: &Model, sources: &[Images], options: &Options) -> Result<Vec<Option<Masks>>, CliError> {
    let open = |(path, images): (&PathBuf, &Images)| {
        let masked = !args.no_dice && images.all.iter().any(|image| image.masked);
        masked.then(|| Masks::open(path, model, options)).transpose()
    };
    args.data.iter().zip(sources).map(open).collect()
}

fn introduce(
    args: &PredictArgs,
    model: &Model,
    sources: &[Images],
    works: &[Work],
    console: &mut Console,
) -> Result<(), CliError> {
    let run = &model.run;
    let names = run.class_names.join(", ");
    console.line(&format!("model     {}: {}, after epoch {} of {}", shown(&args.model), run.loss, model.epoch, run.epochs))?;
    console.line(&format!("classes   {}: {names}", run.classes))?;
    console.line(&format!("images    {}", works.len()))?;
    for (path, images) in args.data.iter().zip(sources) {
        for note in &images.notes {
            console.line(&format!("note      {}", note.line(path)))?;
        }
    }
    console.line("")
}
