//! Which prediction goes with which target, and what both hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, Axis};
use segloss_data::{LabelFile, Limits, label_files, read_labels, value_text};
use segloss_metrics::LabelMaps;

use segloss_data::shown;

use super::MetricsArgs;
use crate::error::CliError;

/// A prediction and its target, not read yet.
pub(super) struct Pair {
    pub(super) name: String,
    prediction: PathBuf,
    target: PathBuf,
}

/// What is to be scored.
pub(super) struct Input {
    pub(super) pairs: Vec<Pair>,
    /// Images that lack a prediction or a target, and are left out by --subset.
    pub(super) unpaired: usize,
}

/// Finds pairs by their names.
pub(super) fn find(args: &MetricsArgs) -> Result<Input, CliError> {
    let (prediction, target) = (&args.prediction, &args.target);
    for path in [prediction, target] {
        std::fs::metadata(path).map_err(|error| CliError::io(path, error))?;
    }
    match (prediction.is_dir(), target.is_dir()) {
        (false, false) => {
            let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let pair = Pair { name, prediction: prediction.clone(), target: target.clone() };
            Ok(Input { pairs: vec![pair], unpaired: 0 })
        }
        (true, true) => folders(args),
        _ => {
            let reason = "one of --prediction and --target is a folder and the other a file; give two of a kind".into();
            Err(CliError::Unpaired { path: prediction.clone(), reason })
        }
    }
}

fn folders(args: &MetricsArgs) -> Result<Input, CliError> {
    let mut predictions: BTreeMap<String, PathBuf> = label_files(&args.prediction)?.into_iter().collect();
    let (mut pairs, mut alone) = (Vec::new(), Vec::new());
    for (name, target) in label_files(&args.target)? {
        match predictions.remove(&name) {
            Some(prediction) => pairs.push(Pair { name, prediction, target }),
            None => alone.push(name),
        }
    }
    let refuse = |reason| Err(CliError::Unpaired { path: args.prediction.clone(), reason });
    let extra: Vec<&String> = predictions.keys().collect();
    if pairs.is_empty() {
        let such = |names: &[&String]| names.first().map_or_else(String::new, |name| format!(", such as {name}"));
        let alone: Vec<&String> = alone.iter().collect();
        return refuse(format!(
            "no prediction has the name of a target: {} predictions{}, {} targets{}; names must be the same but for .png, .nii.gz and the like",
            extra.len(),
            such(&extra),
            alone.len(),
            such(&alone)
        ));
    }
    let unpaired = alone.len() + extra.len();
    if !args.subset {
        if let Some(name) = alone.first() {
            let reason =
                format!("{} of the targets have no prediction, such as {name}; --subset scores the others", alone.len());
            return refuse(reason);
        }
        if let Some(name) = extra.first() {
            let reason =
                format!("{} of the predictions have no target, such as {name}; --subset scores the others", extra.len());
            return refuse(reason);
        }
    }
    Ok(Input { pairs, unpaired })
}

/// A prediction and a target of the same grid.
pub(super) struct Read {
    prediction: ArrayD<i64>,
    target: ArrayD<i64>,
    spacing: Option<Vec<f64>>,
    /// Whether the first axis is that of images.
    batch: bool,
}

impl Pair {
    /// Reads both files and makes sure that they show the same place.
    pub(super) fn read(&self, args: &MetricsArgs) -> Result<Read, CliError> {
        let read = |path: &Path| read_labels(path, args.threshold, &Limits::default());
        let (prediction, target) = (read(&self.prediction)?, read(&self.target)?);
        let shape = |file: &LabelFile| format!("{:?}", file.labels.shape());
        if prediction.labels.shape() != target.labels.shape() {
            return self.differ("shape", shape(&prediction), shape(&target), "resample one onto the other's grid");
        }
        if let (Some(p), Some(t)) = (&prediction.header.orientation, &target.header.orientation)
            && p != t
        {
            return self.differ(
                "orientation",
                p.clone(),
                t.clone(),
                "turn one of them, such as by nibabel.as_closest_canonical",
            );
        }
        let axes = target.labels.ndim() - usize::from(args.batch && target.labels.ndim() > 0);
        if !(1..=3).contains(&axes) {
            let found = if args.batch { format!("{} with --batch", shape(&target)) } else { shape(&target) };
            let reason =
                format!("label maps of shape {found}; expected one to three axes, and with --batch one more before them");
            return Err(CliError::Unpaired { path: self.target.clone(), reason });
        }
        let spacing = if args.spacing.is_empty() { self.spacing(&prediction, &target)? } else { Some(args.spacing.clone()) };
        Ok(Read { prediction: prediction.labels, target: target.labels, spacing, batch: args.batch })
    }

    /// The spacing that files give; the target's where both do.
    fn spacing(&self, prediction: &LabelFile, target: &LabelFile) -> Result<Option<Vec<f64>>, CliError> {
        let (p, t) = (&prediction.header.spacing, &target.header.spacing);
        if let (Some(p), Some(t)) = (p, t)
            && p.iter().zip(t).any(|(p, t)| (p - t).abs() > 1e-3 * p.max(*t))
        {
            return self.differ("spacing", format!("{p:?}"), format!("{t:?}"), "say which is right with --spacing");
        }
        Ok(t.clone().or_else(|| p.clone()))
    }

    fn differ<R>(&self, what: &str, found: String, expected: String, way_out: &str) -> Result<R, CliError> {
        let reason = format!("{what} {found}, but {} has {expected}; {way_out}", shown(&self.target));
        Err(CliError::Unpaired { path: self.prediction.clone(), reason })
    }

    /// The file that is named where a prediction is at fault.
    pub(super) fn refused(&self, reason: String) -> CliError {
        CliError::Unpaired { path: self.prediction.clone(), reason }
    }
}

/// An image of a file, with what is put behind the file's name: the place in a batch.
type Ended<'a> = (String, LabelMaps<'a, i64, i64>);

impl Read {
    pub(super) fn spacing(&self) -> Option<&[f64]> {
        self.spacing.as_deref()
    }

    /// The images in it, each with the end of its name.
    pub(super) fn images(&self, args: &MetricsArgs) -> Result<Vec<Ended<'_>>, CliError> {
        let mut views = vec![(String::new(), self.prediction.view(), self.target.view())];
        if self.batch {
            let both = self.prediction.axis_iter(Axis(0)).zip(self.target.axis_iter(Axis(0)));
            views = both.enumerate().map(|(i, (prediction, target))| (format!("[{i}]"), prediction, target)).collect();
        }
        let maps = views.into_iter().map(|(end, prediction, target)| {
            let maps = LabelMaps::new(prediction, target)?.with_ignored(&args.ignore_index);
            Ok((
                end,
                match &self.spacing {
                    Some(spacing) => maps.with_spacing(spacing)?,
                    None => maps,
                },
            ))
        });
        maps.collect()
    }
}

/// The classes to score: those that are named, or all labels of the targets but 0.
pub(super) fn classes(args: &MetricsArgs, input: &Input) -> Result<Vec<i64>, CliError> {
    if !args.class.is_empty() {
        let all: BTreeSet<i64> = args.class.iter().copied().collect();
        return Ok(all.into_iter().collect());
    }
    let mut true_labels = BTreeSet::new();
    let mut predicted: BTreeMap<i64, usize> = BTreeMap::new();
    for (i, pair) in input.pairs.iter().enumerate() {
        for (_, maps) in pair.read(args)?.images(args)? {
            let [of_target, of_prediction] = maps.labels();
            true_labels.extend(of_target);
            for label in of_prediction {
                predicted.entry(label).or_insert(i);
            }
        }
    }
    let list = |labels: &BTreeSet<i64>| labels.iter().map(|label| value_text(*label)).collect::<Vec<_>>().join(", ");
    if let Some((label, pair)) = predicted.iter().find(|(label, _)| **label != 0 && !true_labels.contains(label)) {
        let reason = format!(
            "holds label {}, which no target has (they have {}); name the classes to score with --class, or read both as 0 and 1 \
             with --threshold 1",
            value_text(*label),
            list(&true_labels)
        );
        return Err(input.pairs[*pair].refused(reason));
    }
    true_labels.remove(&0);
    if true_labels.is_empty() {
        let reason = "no target holds a label but 0 and those that are ignored; name the classes to score with --class".into();
        return Err(CliError::Unpaired { path: args.target.clone(), reason });
    }
    Ok(true_labels.into_iter().collect())
}
