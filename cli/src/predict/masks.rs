//! The masks that lie beside images, and how predictions compare with them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ndarray::Array4;
use segloss_data::{Dataset, Image, Options};

use super::model::Model;
use crate::error::CliError;
use crate::train::data::Regions;
use crate::train::folder::truth;
use crate::train::judge::ImageScores;
use crate::train::report::{class_table, score};
use crate::train::scores;
use crate::train::validation::{Sums, foreground_dice};

/// The masks of one folder.
pub(crate) struct Masks {
    dataset: Dataset,
    /// Numbers of pairs by the first file of their image.
    places: HashMap<PathBuf, usize>,
}

impl Masks {
    /// Reads what masks of a folder mean, which must be no more than the model knows.
    pub(crate) fn open(folder: &Path, model: &Model, options: &Options) -> Result<Self, CliError> {
        let mut dataset = Dataset::open(folder, options)?;
        if !dataset.scan.problems.is_empty() {
            return Err(dataset.scan.problems.remove(0).into());
        }
        model.check_masks(&dataset, Some("leave the masks alone with --no-dice"))?;
        let first = |i: usize| dataset.scan.pairs[i].images.first().map(|image| (image.path.clone(), i));
        let places = (0..dataset.len()).filter_map(first).collect();
        Ok(Self { dataset, places })
    }

    /// The mask of an image, if it has one.
    pub(crate) fn of(&self, image: &Image) -> Result<Option<Regions>, CliError> {
        let place = image.sources.first().and_then(|source| self.places.get(&source.path));
        let Some(&place) = place else { return Ok(None) };
        let target = self.dataset.item(place)?.target;
        Ok(truth(target).map(|truth| truth.regions(matches!(self.dataset.coding, segloss_data::Coding::Overlapping))))
    }
}

/// What predictions come to beside masks.
pub(crate) struct Score {
    sums: Sums,
    classes: usize,
    foreground: usize,
    images: Vec<ImageScores>,
}

impl Score {
    /// Of no image yet.
    pub(crate) fn new(model: &Model) -> Self {
        let classes = model.run.classes;
        Self { sums: Sums::new(classes), classes, foreground: usize::from(!model.run.overlapping), images: Vec::new() }
    }

    /// Adds an image: its mask, its prediction, the probabilities that this was made of, and its
    /// spacing.
    pub(crate) fn add(
        &mut self,
        truth: &Regions,
        found: &Regions,
        probabilities: &Array4<f32>,
        spacing: [f64; 3],
    ) -> Result<(), CliError> {
        self.sums.add(truth, found);
        self.sums.add_probabilities(truth, probabilities);
        self.images.push(ImageScores::of(truth, found, self.classes, spacing)?);
        Ok(())
    }

    /// A table; none where no image has a mask.
    pub(crate) fn text(&self, names: &[String]) -> Option<String> {
        if self.images.is_empty() {
            return None;
        }
        let classes = self.sums.report();
        let table = class_table(&classes, |k| names.get(k).cloned().unwrap_or_else(|| k.to_string()));
        let plural = if self.images.len() == 1 { "" } else { "s" };
        let by_image = scores::means(&self.images.iter().collect::<Vec<_>>(), names, self.foreground);
        Some(format!(
            "Compared with the masks of {} image{plural}, all pixels together\n{table}\nforeground Dice {}\n{}",
            self.images.len(),
            score(foreground_dice(&classes, self.foreground)),
            scores::table(&by_image)
        ))
    }
}
