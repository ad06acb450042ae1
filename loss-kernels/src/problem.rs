//! What stands beside the logits: target, weights, ignored labels.

use std::borrow::Cow;
use std::sync::Arc;

use loss_core::backend::{Pixels, derive_with, ignored_classes};
use loss_core::{Activation, Facts, Geometry, LossError, Map, Plan, Precision, TargetKind};
use num_traits::{ToPrimitive, Zero};
use rayon::prelude::*;

use crate::prefetch::Ahead;
use crate::{Element, Shares, Target};

/// A target that fits logits of a shape, row-major.
#[derive(Clone, Debug)]
pub struct Problem<'a> {
    pub(crate) geometry: Geometry,
    pub(crate) shape: Vec<usize>,
    pub(crate) target: Target<'a>,
    pub(crate) weights: Option<Shares<'a>>,
    pub(crate) ignore: &'a [i64],
    /// Whether the classes exclude each other, so that a pixel's shares add up to 1.
    pub(crate) exclusive: bool,
    spacing: Option<&'a [f64]>,
    pub(crate) maps: Vec<NamedMap<'a>>,
    pub(crate) shift: Option<Shift>,
}

/// A number that is added to all logits of a class as they are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shift {
    pub(crate) class: usize,
    pub(crate) by: f64,
}

/// Factors of pixels and classes, under a name; derived ones under their id.
#[derive(Clone, Debug)]
pub(crate) struct NamedMap<'a> {
    pub(crate) name: Cow<'a, str>,
    values: MapValues<'a>,
    /// K, or 1 for all classes.
    pub(crate) channels: usize,
}

#[derive(Clone, Debug)]
enum MapValues<'a> {
    Given(Shares<'a>),
    Derived(Arc<[f32]>),
}

impl NamedMap<'_> {
    pub(crate) fn values(&self) -> Shares<'_> {
        match &self.values {
            MapValues::Given(values) => *values,
            MapValues::Derived(values) => Shares::F32(values),
        }
    }
}

/// A map that was made from a target: to be kept until its gradient is asked for, or to be brought
/// to a device.
#[derive(Clone, Debug)]
pub struct DerivedMap {
    /// [`Map::id`]
    pub id: String,
    /// K, or 1 for all classes.
    pub channels: usize,
    /// `[N, channels, S]`
    pub values: Arc<[f32]>,
}

impl<'a> Problem<'a> {
    /// Notes that the target of the pixels from one on will be needed.
    pub(crate) fn ahead(&self, first: usize, ahead: &mut Ahead) {
        if let Target::Labels(labels) = &self.target {
            labels.ahead(first, ahead);
        }
    }

    /// Checks that all fits.
    ///
    /// `logits`, `target` and `weights` come with their shapes: `[N, K, *spatial]`, what the
    /// target's [`TargetKind`] allows, `[N, *spatial]` or `[N, 1, *spatial]`.
    ///
    /// # Errors
    /// Those of [`Geometry::new`], and [`LossError::Length`] where a slice is not as long as its
    /// shape says.
    pub fn new(
        logits: &[usize],
        (target, target_shape): (Target<'a>, &[usize]),
        weights: Option<(Shares<'a>, &[usize])>,
        ignore: &'a [i64],
        activation: Activation,
    ) -> Result<Self, LossError> {
        let target = target.beside(logits, target_shape);
        let geometry = Geometry::new(logits, (target.kind(), target_shape), weights.map(|(_, shape)| shape), activation)?;
        slice_fits("target", target_shape, target.len())?;
        if let Some((weights, shape)) = weights {
            slice_fits("pixel weights", shape, weights.len())?;
        }
        Ok(Self {
            geometry,
            shape: logits.to_vec(),
            target,
            weights: weights.map(|(w, _)| w),
            ignore,
            exclusive: activation == Activation::Softmax,
            spacing: None,
            maps: Vec::new(),
            shift: None,
        })
    }

    /// With all logits of a class read as if a number had been added to them.
    ///
    /// # Errors
    /// [`LossError::ClassIndex`] for a class that the logits do not have.
    pub fn with_shift(mut self, class: usize, by: f64) -> Result<Self, LossError> {
        let classes = self.geometry.classes;
        if class >= classes {
            return Err(LossError::ClassIndex { class, classes });
        }
        self.shift = Some(Shift { class, by });
        Ok(self)
    }

    /// What is added to the logits of a class.
    pub(crate) fn shift_of(&self, class: usize) -> f64 {
        self.shift.filter(|shift| shift.class == class).map_or(0.0, |shift| shift.by)
    }

    /// With a map: factors of its own for every pixel and class, `[N, K, *spatial]`, or
    /// `[N, 1, *spatial]` for all classes. What has no weight is not read.
    ///
    /// # Errors
    /// [`LossError::ShapeMismatch`] where the shape does not fit the logits, or the slice its
    /// shape.
    pub fn with_map(mut self, name: &'a str, values: Shares<'a>, shape: &[usize]) -> Result<Self, LossError> {
        Geometry::map_fits(&self.shape, shape)?;
        slice_fits("map", shape, values.len())?;
        self.maps.push(NamedMap { name: name.into(), values: MapValues::Given(values), channels: shape[1] });
        Ok(self)
    }

    /// With the distance of neighbouring pixels along each spatial axis.
    ///
    /// # Errors
    /// Those of [`Geometry::spacing_fits`].
    pub fn with_spacing(mut self, spacing: &'a [f64]) -> Result<Self, LossError> {
        Geometry::spacing_fits(&self.shape, spacing)?;
        self.spacing = Some(spacing);
        Ok(self)
    }

    /// With maps that were derived from the same target and logits before.
    #[must_use]
    pub fn with_derived(mut self, maps: &[DerivedMap]) -> Self {
        self.maps.extend(maps.iter().map(|DerivedMap { id, channels, values }| NamedMap {
            name: id.clone().into(),
            values: MapValues::Derived(Arc::clone(values)),
            channels: *channels,
        }));
        self
    }

    /// Makes the derived maps of a plan that are not there yet; samples are shared out over
    /// threads.
    ///
    /// # Errors
    /// What the maps refuse; [`LossError::Length`] where the logits are not as long as the problem
    /// says.
    pub fn derive<'p, E: Element>(&self, logits: &[E], plan: &'p Plan) -> Result<Vec<(&'p Map, DerivedMap)>, LossError> {
        let missing: Vec<&Map> = self.underived(plan).collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        self.logits_fit(logits.len())?;
        self.derived(missing, &Numbers { problem: self, logits })
    }

    /// Those of [`Problem::derive`] that depend on the target alone.
    ///
    /// # Errors
    /// What the maps refuse.
    pub fn derive_of_target<'p>(&self, plan: &'p Plan) -> Result<Vec<(&'p Map, DerivedMap)>, LossError> {
        let of_target = |map: &&Map| matches!(map, Map::Derived(how) if !how.reads_logits());
        self.derived(self.underived(plan).filter(of_target).collect(), &Numbers::<f32> { problem: self, logits: &[] })
    }

    fn underived<'p>(&self, plan: &'p Plan) -> impl Iterator<Item = &'p Map> {
        plan.underived(self.maps.iter().map(|map| &*map.name))
    }

    fn derived<'p>(&self, maps: Vec<&'p Map>, pixels: &dyn Pixels) -> Result<Vec<(&'p Map, DerivedMap)>, LossError> {
        let make = |map: &'p Map| {
            let values = derive_with(map, pixels, |size, all, fill| {
                all.par_chunks_mut(size).enumerate().try_for_each(|(n, out)| fill(n, out))
            })?;
            let Geometry { samples, pixels, .. } = self.geometry;
            let derived = DerivedMap { id: map.id(), channels: values.len() / (samples * pixels), values: values.into() };
            Ok((map, derived))
        };
        maps.into_iter().map(make).collect()
    }

    /// The maps that a plan reads, by their places among those given.
    pub(crate) fn maps_of(&self, plan: &Plan) -> Result<Vec<usize>, LossError> {
        let place = |map: &Map| map.place(self.maps.iter().map(|there| &*there.name));
        plan.maps().iter().map(place).collect()
    }

    /// Pixels that count: those whose label is not ignored and whose weight is not 0.
    #[must_use]
    pub fn valid_pixels(&self) -> usize {
        /// Pixels that a thread counts at least.
        const AT_ONCE: usize = 1 << 16;
        let counts = |at: usize| !self.is_ignored(at) && self.weights.as_ref().is_none_or(|weights| weights.at(at) != 0.0);
        let pixels = self.geometry.samples * self.geometry.pixels;
        (0..pixels).into_par_iter().with_min_len(AT_ONCE).filter(|&at| counts(at)).count()
    }

    /// Whether a pixel, by its place in `[N, S]`, is of a label to ignore.
    fn is_ignored(&self, at: usize) -> bool {
        let Geometry { classes, pixels, .. } = self.geometry;
        match &self.target {
            Target::Labels(labels) => labels.at(at).is_some_and(|label| self.ignore.contains(&label)),
            Target::OneHot(labels) => {
                let (n, s) = (at / pixels.max(1), at % pixels.max(1));
                self.ignored_classes().any(|k| labels.at((n * classes + k) * pixels + s) == Some(1))
            }
            Target::Soft(_) => false,
        }
    }

    /// What notes are made of, for logits of a type. Pixels are counted where they have weights.
    #[must_use]
    pub fn facts(&self, logits: Precision) -> Facts {
        let valid = self.weights.is_some().then(|| self.valid_pixels());
        let maps = self.maps.iter().map(|map| &*map.name);
        Facts::new(logits, self.geometry, self.target.kind(), self.ignore)
            .with_valid(valid)
            .with_given(maps, self.spacing.is_some())
    }

    /// Samples, classes, pixels.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Ignored labels that are classes.
    pub(crate) fn ignored_classes(&self) -> impl Iterator<Item = usize> {
        ignored_classes(self.ignore, self.geometry.classes)
    }

    pub(crate) fn logits_fit(&self, length: usize) -> Result<(), LossError> {
        slice_fits("logits", &self.shape, length)
    }

    /// Index into an array of labels or weights, `[N, *spatial]`.
    pub(crate) fn pixel_position(&self, sample: usize, pixel: usize) -> Vec<usize> {
        let mut shape = self.shape.clone();
        shape.remove(1);
        Geometry::position(&shape, sample * self.geometry.pixels + pixel)
    }

    /// Index into an array of logits or soft targets, `[N, K, *spatial]`.
    pub(crate) fn logit_position(&self, sample: usize, class: usize, pixel: usize) -> Vec<usize> {
        let Geometry { classes, pixels, .. } = self.geometry;
        Geometry::position(&self.shape, (sample * classes + class) * pixels + pixel)
    }
}

/// A problem with its logits, as maps are derived from them.
pub(crate) struct Numbers<'a, E> {
    pub(crate) problem: &'a Problem<'a>,
    pub(crate) logits: &'a [E],
}

impl<E: Element> Pixels for Numbers<'_, E> {
    fn shape(&self) -> &[usize] {
        &self.problem.shape
    }

    fn spacing(&self) -> Option<&[f64]> {
        self.problem.spacing
    }

    fn kind(&self) -> TargetKind {
        self.problem.target.kind()
    }

    fn weight(&self, n: usize, s: usize) -> f64 {
        let at = n * self.problem.geometry.pixels + s;
        if self.problem.is_ignored(at) { 0.0 } else { self.problem.weights.as_ref().map_or(1.0, |weights| weights.at(at)) }
    }

    fn share(&self, n: usize, k: usize, s: usize) -> f64 {
        let Geometry { classes, pixels, .. } = self.problem.geometry;
        let at = (n * classes + k) * pixels + s;
        match &self.problem.target {
            // A single channel is the class 1.
            Target::Labels(labels) => {
                f64::from(u8::from(labels.at(n * pixels + s) == Some((k + usize::from(classes == 1)) as i64)))
            }
            Target::OneHot(labels) => f64::from(u8::from(labels.at(at) == Some(1))),
            Target::Soft(shares) => shares.at(at),
        }
    }

    fn logit(&self, n: usize, k: usize, s: usize) -> f64 {
        let Geometry { classes, pixels, .. } = self.problem.geometry;
        let Some(&at) = self.logits.get((n * classes + k) * pixels + s) else { return f64::NAN };
        let mut logit = [E::Compute::zero()];
        E::load(&[at], &mut logit);
        logit[0].to_f64().unwrap_or(f64::NAN) + self.problem.shift_of(k)
    }
}

fn slice_fits(what: &'static str, shape: &[usize], length: usize) -> Result<(), LossError> {
    if shape.iter().product::<usize>() == length {
        return Ok(());
    }
    Err(LossError::Length { what, shape: shape.to_vec(), got: length })
}
