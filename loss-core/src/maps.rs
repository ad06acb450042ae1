//! Factors of pixels and classes that statistics are multiplied by, and what they are derived from.

use std::fmt::{Debug, Formatter};
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use crate::{Activation, LossError, Side, TargetKind};

/// A factor of its own for every pixel and class, `[N, K, *spatial]`, or one for all classes,
/// `[N, 1, *spatial]`. It may be negative, and no gradient flows into it.
#[derive(Clone)]
pub enum Map {
    /// Given with the target, under this name.
    Given(Arc<str>),
    /// Made once a call from the target and the logits, unless one is given under its name.
    Derived(Arc<dyn Derive>),
}

/// How a map is made from the target and the logits.
///
/// A map given with the target under the same name takes its place, and nothing is derived. Let the
/// data loader make it, and a GPU does not wait for the host. A volume fed in tiles needs it.
///
/// ```
/// use loss_core::backend::View;
/// use loss_core::{Derive, LossError, Map};
///
/// /// 2 at foreground pixels, 1 elsewhere.
/// struct Foreground;
///
/// impl Derive for Foreground {
///     fn name(&self) -> &str {
///         "foreground"
///     }
///
///     fn channels(&self, _classes: usize) -> usize {
///         1
///     }
///
///     fn fill(&self, view: &View<'_>, out: &mut [f32]) -> Result<(), LossError> {
///         for (s, out) in out.iter_mut().enumerate() {
///             *out = 2.0 - view.share(0, 0, s) as f32;
///         }
///         Ok(())
///     }
/// }
///
/// assert_eq!(Map::derived(Foreground).name(), "foreground");
/// ```
pub trait Derive: Send + Sync {
    /// The name under which a target can give the map instead.
    fn name(&self) -> &str;

    /// The name with the options that the numbers depend on: maps with equal ids are the same.
    fn id(&self) -> String {
        self.name().to_owned()
    }

    /// Whether it looks at one sample at a time, or at the batch.
    fn scope(&self) -> Scope {
        Scope::Sample
    }

    /// Channels of the map: K, or 1 for all classes.
    fn channels(&self, classes: usize) -> usize;

    /// Whether its numbers depend on the spacing of the pixels; `true` unless it says otherwise. A
    /// spacing that nothing reads is told in a [`Note`](crate::Note).
    fn reads_spacing(&self) -> bool {
        true
    }

    /// Whether its numbers depend on the logits; `true` unless it says otherwise. A map of the
    /// target alone can be made once for many calls.
    fn reads_logits(&self) -> bool {
        true
    }

    /// A bound of its numbers' absolute values; infinite, the default, where there is none. Where
    /// there is one, gradients that vanish in half precision are told in a [`Note`](crate::Note).
    fn bound(&self) -> f64 {
        f64::INFINITY
    }

    /// Writes the map of the view's samples, `[samples, channels, pixels]`, row-major. At pixels of
    /// weight 0 it may be anything.
    ///
    /// # Errors
    /// A [`LossError`] that says what it cannot be made of.
    fn fill(&self, view: &View<'_>, out: &mut [f32]) -> Result<(), LossError>;
}

/// What a derived map is a function of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Each sample by itself.
    Sample,
    /// The whole batch.
    Batch,
}

impl Map {
    /// A map that the caller gives with the target.
    #[must_use]
    pub fn given(name: &str) -> Self {
        Self::Given(name.into())
    }

    /// A map that is made at each call.
    #[must_use]
    pub fn derived(how: impl Derive + 'static) -> Self {
        Self::Derived(Arc::new(how))
    }

    /// The name under which a target gives it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Given(name) => name,
            Self::Derived(how) => how.name(),
        }
    }

    /// The name, and for a derived map the options that its numbers depend on.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Given(name) => name.to_string(),
            Self::Derived(how) => how.id(),
        }
    }

    /// Its place among the maps of a call. A given map is found by its name, a derived one by its
    /// id. If several have the name, the last counts.
    ///
    /// # Errors
    /// [`LossError::MissingMap`].
    pub fn place<'n>(&self, there: impl Iterator<Item = &'n str>) -> Result<usize, LossError> {
        let there: Vec<&str> = there.collect();
        let find = |wanted: &str| there.iter().rposition(|name| *name == wanted);
        find(self.name()).or_else(|| find(&self.id())).ok_or_else(|| LossError::MissingMap {
            name: self.name().to_owned(),
            given: there.into_iter().map(str::to_owned).collect(),
        })
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        matches!(self, Self::Given(_)) == matches!(other, Self::Given(_)) && self.id() == other.id()
    }
}

impl Eq for Map {}

impl Hash for Map {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl Debug for Map {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.id())
    }
}

/// Target and logits in host memory: what a backend shows of them to derive maps.
///
/// `n` is a sample, `k` a class and `s` a pixel, all from 0 and within [`Pixels::shape`].
pub trait Pixels: Sync {
    /// Shape of the logits, `[N, K, *spatial]`.
    fn shape(&self) -> &[usize];
    /// Distance of neighbouring pixels along each spatial axis, where it was given.
    fn spacing(&self) -> Option<&[f64]>;
    /// Labels, one-hot, or shares of every class.
    fn kind(&self) -> TargetKind;
    /// w; 0 where the pixel is ignored.
    fn weight(&self, n: usize, s: usize) -> f64;
    /// y: for labels and one-hot 1 where the pixel is of the class, else 0.
    fn share(&self, n: usize, k: usize, s: usize) -> f64;
    /// The logit.
    fn logit(&self, n: usize, k: usize, s: usize) -> f64;
}

/// The samples that a map is made of: one of them, or the batch. They are counted from 0.
pub struct View<'a> {
    pixels: &'a dyn Pixels,
    rows: Range<usize>,
}

impl<'a> View<'a> {
    /// Some samples of a call.
    #[must_use]
    pub fn new(pixels: &'a dyn Pixels, rows: Range<usize>) -> Self {
        Self { pixels, rows }
    }

    /// How many samples there are.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.rows.len()
    }

    /// Classes K.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.pixels.shape().get(1).copied().unwrap_or(1)
    }

    /// Pixels of a sample.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.spatial().iter().product()
    }

    /// Lengths of the spatial axes.
    #[must_use]
    pub fn spatial(&self) -> &[usize] {
        self.pixels.shape().get(2..).unwrap_or_default()
    }

    /// Distance of neighbouring pixels along each spatial axis; 1 unless the target has another.
    #[must_use]
    pub fn spacing(&self) -> Vec<f64> {
        self.pixels.spacing().map_or_else(|| vec![1.0; self.spatial().len()], <[f64]>::to_vec)
    }

    /// Labels, one-hot, or shares of every class.
    #[must_use]
    pub fn kind(&self) -> TargetKind {
        self.pixels.kind()
    }

    /// w of a pixel; 0 where it is ignored.
    #[must_use]
    pub fn weight(&self, n: usize, s: usize) -> f64 {
        self.pixels.weight(self.rows.start + n, s)
    }

    /// y of a pixel and class; of labels 1 or 0.
    #[must_use]
    pub fn share(&self, n: usize, k: usize, s: usize) -> f64 {
        self.pixels.share(self.rows.start + n, k, s)
    }

    /// Writes log p of every class of a pixel to `out`, or log(1 − p) on the background side.
    /// It does not overflow for saturated logits, and is NaN where a logit is not finite.
    pub fn log_probabilities(&self, activation: Activation, side: Side, (n, s): (usize, usize), out: &mut [f64]) {
        for (k, out) in out.iter_mut().enumerate() {
            *out = self.pixels.logit(self.rows.start + n, k, s);
        }
        match activation {
            Activation::Softmax => {
                let top = (0..out.len()).fold(0, |top, k| if out[k] > out[top] { k } else { top });
                let largest = out.get(top).copied().unwrap_or_default();
                out.iter_mut().for_each(|z| *z -= largest);
                let others = out.iter().enumerate().filter(|(k, _)| *k != top);
                let rest = others.map(|(_, z)| z.exp()).sum::<f64>().ln_1p();
                out.iter_mut().for_each(|z| *z -= rest);
            }
            Activation::Sigmoid => {
                for z in out {
                    let x = if side == Side::Background { -*z } else { *z };
                    *z = x.min(0.0) - (-x.abs()).exp().ln_1p();
                }
            }
        }
    }
}

/// Makes a derived map of all samples, `[N, channels, pixels]`, one after the other.
///
/// # Errors
/// [`LossError::MissingMap`] for a map that had to be given; [`LossError::Unsupported`] for another
/// number of channels than 1 or K, or more numbers than memory holds; what [`Derive::fill`]
/// refuses.
pub fn derive(map: &Map, pixels: &dyn Pixels) -> Result<Vec<f32>, LossError> {
    derive_with(map, pixels, |size, all, fill| all.chunks_mut(size).enumerate().try_for_each(|(n, out)| fill(n, out)))
}

/// What fills the map of one sample.
pub type FillSample<'a> = dyn Fn(usize, &mut [f32]) -> Result<(), LossError> + Sync + 'a;

/// [`derive()`] with the samples' maps filled by the caller's loop, which may use threads: it is
/// handed the length of a sample's map, all maps, and what fills one.
///
/// # Errors
/// As [`derive()`].
pub fn derive_with(
    map: &Map,
    pixels: &dyn Pixels,
    each: impl FnOnce(usize, &mut [f32], &FillSample<'_>) -> Result<(), LossError>,
) -> Result<Vec<f32>, LossError> {
    let Map::Derived(how) = map else {
        return Err(LossError::MissingMap { name: map.name().to_owned(), given: Vec::new() });
    };
    let all = View::new(pixels, 0..pixels.shape().first().copied().unwrap_or(0));
    let (channels, classes) = (how.channels(all.classes()), all.classes());
    if channels != 1 && channels != classes {
        let got = format!("{channels} channels of `{}` for {classes} classes", map.id());
        return Err(LossError::Unsupported { what: "derived map", got, expected: "one channel, or one for each class" });
    }
    let size = channels * all.pixels();
    let mut out = Vec::new();
    let length = size.checked_mul(all.samples());
    if length.is_none_or(|length| out.try_reserve_exact(length).is_err()) {
        let (got, expected) = (format!("`{}` of shape {:?}", map.id(), pixels.shape()), "a map that fits into memory");
        return Err(LossError::Unsupported { what: "map", got, expected });
    }
    out.resize(size * all.samples(), 0.0);
    match how.scope() {
        Scope::Batch => how.fill(&all, &mut out)?,
        Scope::Sample => each(size.max(1), &mut out, &|n, out| how.fill(&View::new(pixels, n..n + 1), out))?,
    }
    Ok(out)
}
