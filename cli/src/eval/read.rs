//! Everything that an evaluation reads, checked before anything is computed.

use segloss::{Activation, Detail, Geometry, Loss, Map};

use super::EvalArgs;
use super::arrays::{Floats, Labels, Loaded, Place};
use super::input::{Input, Shown, TargetArray};
use super::probabilities::{self, CERTAIN};
use super::values::{ActivationArg, Backend, DeviceArg, Given, MapArg};
use crate::error::CliError;

impl EvalArgs {
    /// Reads loss and arrays.
    pub(super) fn read(&self) -> Result<Input, CliError> {
        let loss = self.spec()?;
        let activation = loss.activation();
        let mut told = Vec::new();
        let mut logits = Loaded::read(&self.logits, false, self.limit)?;
        if !logits.values.is_float() {
            return Err(CliError::WrongDtype {
                path: self.logits.path.clone(),
                what: "logits",
                expected: "float16, float32 or float64",
                found: logits.values.dtype().into(),
            });
        }
        let mut target = Loaded::read(&self.target, true, self.limit)?;
        let mut weights = self.weights.as_ref().map(|weights| Loaded::read(weights, false, self.limit)).transpose()?;
        // One file that says which of its axes are space says it for all.
        let space = [Some(&logits), Some(&target), weights.as_ref()].into_iter().flatten().find_map(Loaded::space);
        logits.completed(Place::Channels, space, &mut told)?;
        target.on_grid_of(&logits)?;
        // Floats of one channel in NIfTI are labels, unless the logits have one channel alone.
        let soft = target.space().is_none() || logits.values.shape().get(1) == Some(&1);
        let target_place = if target.values.is_float() && soft { Place::Channels } else { Place::Pixels };
        target.completed(target_place, space, &mut told)?;
        if let Some(weights) = &mut weights {
            weights.on_grid_of(&target)?;
            weights.completed(Place::Pixels, space, &mut told)?;
        }
        let axes = logits.values.shape().len();
        if target.values.is_float() && target.space().is_some() && target.values.shape().len() + 1 == axes {
            target.whole_numbers()?;
        }
        let (given, from_header) = self.spacing_of(&logits, &target);
        let shown = Shown { logits: logits.from.to_string(), target: target.from.to_string(), spacing: from_header };
        let half = matches!(logits.header.dtype, "float16" | "bfloat16");
        let mut logits = logits.values;
        let target = match Labels::of(target.values) {
            Ok(labels) => TargetArray::Labels(labels),
            // Of one channel these are shares without their axis.
            Err(floats) if floats.shape().len() + 1 == axes && logits.shape().get(1) != Some(&1) => {
                return Err(CliError::WrongDtype {
                    path: self.target.path.clone(),
                    what: "labels [N, *spatial]",
                    expected: "integers (floats are soft targets [N, K, *spatial])",
                    found: format!("{} of shape {:?}", floats.dtype(), floats.shape()),
                });
            }
            Err(floats) => TargetArray::Soft(Floats::of(floats)),
        };
        let weights = weights.map(|weights| Floats::of(weights.values));
        // Before the arrays are handed to a backend, so that every backend says the same.
        Geometry::new(logits.shape(), target.beside(logits.shape()), weights.as_ref().map(Floats::shape), activation)
            .map_err(|error| self.locate(error.into()))?;
        if let Some(spacing) = &given {
            Geometry::spacing_fits(logits.shape(), spacing)?;
        }
        if self.from == Given::Probabilities {
            let ignored = loss.ignored();
            let counts = |pixel: usize| counts(&target, weights.as_ref(), ignored, pixel);
            let tolerance = if half { 1e-2 } else { 1e-3 };
            let shape = logits.shape().to_vec();
            probabilities::to_logits(&mut logits, activation, tolerance, counts)
                .map_err(|wrong| wrong.error(&self.logits.path, &shape))?;
            told.extend(probabilities::certain_and_wrong(&logits, &target, activation, counts).map(|(count, position)| {
                format!(
                    "at {count} places, the first at {position:?}, a probability is exactly 0 where the target has a share, or 1 \
                     where it has none: a logarithm there is infinite, and counts as -{CERTAIN}"
                )
            }));
        }
        let mut maps = Vec::new();
        for MapArg { name, array } in &self.map {
            let mut map = Loaded::read(array, false, self.limit)?;
            map.completed(Place::Channels, space, &mut told)?;
            let map = map.values;
            Geometry::map_fits(logits.shape(), map.shape())
                .map_err(|source| CliError::Refused { path: array.path.clone(), source: Box::new(source) })?;
            maps.push((name.clone(), Floats::of(map)));
        }
        let program = loss.program(logits.shape()[1], Detail::Total)?;
        if let Some((name, _)) = maps.iter().find(|(name, _)| program.plan().maps().iter().all(|map| map.name() != name)) {
            let read: Vec<&str> = program.plan().maps().iter().map(Map::name).collect();
            let read = if read.is_empty() { "none".to_owned() } else { read.join(", ") };
            let expected = format!("the loss reads no map of this name; it reads {read}");
            return Err(CliError::Option { option: "map", value: name.clone(), expected });
        }
        Ok(Input {
            loss,
            logits,
            target,
            weights,
            spacing: given,
            maps,
            backend: self.backend,
            device: self.device,
            gradient: self.grad.is_some(),
            elements: self.elements.is_some(),
            pixels: matches!(self.elements, Some(Some(_))),
            shown,
            told,
        })
    }

    /// The loss, with what options say of it.
    fn spec(&self) -> Result<Loss, CliError> {
        let loss: Loss = self.loss.parse()?;
        if self.backend != Backend::Tch && self.device != DeviceArg::Cpu {
            let expected = "goes with --backend tch".into();
            return Err(CliError::Option { option: "device", value: self.device.to_string(), expected });
        }
        let loss = match self.activation {
            Some(ActivationArg::Softmax) => loss.with_activation(Activation::Softmax),
            Some(ActivationArg::Sigmoid) => loss.with_activation(Activation::Sigmoid),
            None => loss,
        };
        Ok(self.ignore_index.iter().fold(loss, |loss, &i| loss.with_ignore_index(i)))
    }

    /// The spacing, and the file that gave it where no option did.
    fn spacing_of(&self, logits: &Loaded, target: &Loaded) -> (Option<Vec<f64>>, Option<String>) {
        if !self.spacing.is_empty() {
            return (Some(self.spacing.clone()), None);
        }
        let of = |loaded: &Loaded| Some((loaded.header.spacing.clone()?, loaded.from.to_string()));
        of(target).or_else(|| of(logits)).unzip()
    }
}

/// Whether a pixel of the batch counts: neither ignored nor of weight 0.
fn counts(target: &TargetArray, weights: Option<&Floats>, ignored: &[i64], pixel: usize) -> bool {
    let ignored = match target {
        TargetArray::Labels(labels) if !ignored.is_empty() => ignored.contains(&labels.at(pixel)),
        _ => false,
    };
    !ignored && weights.is_none_or(|weights| weights.at(pixel) != 0.0)
}
