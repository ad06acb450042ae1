//! What stands beside the logits: target, weights, ignored labels.

use loss_core::{Activation, Geometry, LossError, Map, Plan, TargetKind};

/// Class indices, `[N, S]`.
#[derive(Clone, Copy, Debug)]
pub enum Labels<'a> {
    /// Bytes.
    U8(&'a [u8]),
    /// 32-bit integers.
    I32(&'a [i32]),
    /// 64-bit integers.
    I64(&'a [i64]),
}

/// Soft targets or pixel weights.
#[derive(Clone, Copy, Debug)]
pub enum Shares<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
}

impl Shares<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
        }
    }

    #[inline]
    pub(crate) fn at(&self, index: usize) -> f64 {
        match self {
            Self::F32(v) => f64::from(v[index]),
            Self::F64(v) => v[index],
        }
    }
}

/// What the logits are compared with.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// `[N, S]`
    Labels(Labels<'a>),
    /// `[N, K, S]`
    Soft(Shares<'a>),
}

/// A target that fits logits of a shape, row-major.
#[derive(Clone, Debug)]
pub struct Problem<'a> {
    pub(crate) geometry: Geometry,
    pub(crate) shape: Vec<usize>,
    pub(crate) target: Target<'a>,
    pub(crate) weights: Option<Shares<'a>>,
    pub(crate) ignore: &'a [i64],
    pub(crate) maps: Vec<GivenMap<'a>>,
}

/// Factors of pixels and classes, under a name.
#[derive(Clone, Debug)]
pub(crate) struct GivenMap<'a> {
    pub(crate) name: &'a str,
    pub(crate) values: Shares<'a>,
    /// K, or 1 for all classes.
    pub(crate) channels: usize,
}

impl<'a> Problem<'a> {
    /// Checks that all fits.
    ///
    /// `logits`, `target` and `weights` come with their shapes: `[N, K, *spatial]`, `[N, *spatial]` (soft: as the logits),
    /// `[N, *spatial]`.
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
        let (kind, length) = match target {
            Target::Labels(Labels::U8(v)) => (TargetKind::Labels, v.len()),
            Target::Labels(Labels::I32(v)) => (TargetKind::Labels, v.len()),
            Target::Labels(Labels::I64(v)) => (TargetKind::Labels, v.len()),
            Target::Soft(shares) => (TargetKind::Soft, shares.len()),
        };
        let geometry = Geometry::new(logits, (kind, target_shape), weights.map(|(_, shape)| shape), activation)?;
        slice_fits("target", target_shape, length)?;
        if let Some((weights, shape)) = weights {
            slice_fits("pixel weights", shape, weights.len())?;
        }
        Ok(Self { geometry, shape: logits.to_vec(), target, weights: weights.map(|(w, _)| w), ignore, maps: Vec::new() })
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
        self.maps.push(GivenMap { name, values, channels: shape[1] });
        Ok(self)
    }

    /// The maps that a plan reads, by their places among those given.
    pub(crate) fn maps_of(&self, plan: &Plan) -> Result<Vec<usize>, LossError> {
        let place = |map: &Map| map.place(self.maps.iter().map(|given| given.name));
        plan.maps().iter().map(place).collect()
    }

    /// Samples, classes, pixels.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
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

fn slice_fits(what: &'static str, shape: &[usize], length: usize) -> Result<(), LossError> {
    if shape.iter().product::<usize>() == length {
        return Ok(());
    }
    Err(LossError::Length { what, shape: shape.to_vec(), got: length })
}
