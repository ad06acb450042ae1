//! A part of the pixels, with what must be known of each.

use std::cell::OnceCell;

use loss_core::Activation;
use loss_core::backend::{HALF_SHARE_SLACK, SHARE_SLACK};
use tch::{Kind, TchError, Tensor};

use crate::target::{Checked, TchTarget, Values};

/// Samples `first..first + count`, and of them a box of pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) first: i64,
    pub(crate) count: i64,
    /// Axis of the logits, start and length; all of the axes that are not named.
    spans: Vec<(usize, i64, i64)>,
}

/// The places that cover logits of a shape, each of `limit` logits at most, or of one pixel.
pub(crate) fn places(shape: &[usize], limit: usize) -> Vec<Place> {
    let [samples, classes, spatial @ ..] = shape else { return Vec::new() };
    let pixels = (limit / classes).max(1);
    let whole = pixels / spatial.iter().product::<usize>();
    if whole > 0 {
        let place = |first: usize| Place { first: first as i64, count: whole.min(samples - first) as i64, spans: Vec::new() };
        return (0..*samples).step_by(whole).map(place).collect();
    }
    let boxes = boxes(spatial, pixels);
    let place = |first: usize| boxes.iter().map(move |spans| Place { first: first as i64, count: 1, spans: spans.clone() });
    (0..*samples).flat_map(place).collect()
}

/// Boxes of `limit` pixels at most: the longest axis is cut first, and where single indices of it
/// are too much, the next.
fn boxes(spatial: &[usize], limit: usize) -> Vec<Vec<(usize, i64, i64)>> {
    let longest = spatial.iter().copied().enumerate().max_by_key(|&(_, length)| length);
    let all: usize = spatial.iter().product();
    let Some((axis, length)) = longest.filter(|&(_, length)| length > 1 && all > limit) else { return vec![Vec::new()] };
    // Parts of equal length, or nearly so.
    let step = length.div_ceil(length.div_ceil((limit / (all / length)).max(1)));
    let mut rest = spatial.to_vec();
    rest[axis] = step;
    let rest = boxes(&rest, limit);
    // Axes that were cut before have length 1 here, and are not cut again.
    let part = |start: usize| {
        let span = (axis + 2, start as i64, step.min(length - start) as i64);
        rest.iter().map(move |spans| std::iter::once(span).chain(spans.iter().copied()).collect())
    };
    (0..length).step_by(step).flat_map(part).collect()
}

impl Place {
    /// The place in an array of the logits' axes, or of all but the class axis. A view.
    pub(crate) fn of(&self, tensor: &Tensor, without_classes: bool) -> Result<Tensor, TchError> {
        let samples = tensor.f_narrow(0, self.first, self.count)?;
        self.spans.iter().try_fold(samples, |part, &(axis, start, length)| {
            part.f_narrow((axis - usize::from(without_classes)) as i64, start, length)
        })
    }

    /// The same as `[n, K, s]`, or `[n, 1, s]` where there is no class axis. A copy where strides
    /// ask for one.
    fn flat(&self, tensor: &Tensor, classes: Option<usize>) -> Result<Tensor, TchError> {
        let part = self.of(tensor, classes.is_none())?;
        part.f_reshape([self.count, classes.unwrap_or(1) as i64, -1])
    }
}

/// Pixels ready to be summed; nothing here is on the tape.
pub(crate) struct Chunk {
    /// First sample and number of samples.
    samples: (i64, i64),
    /// `[n, K, s]`, 0 at pixels that are not valid.
    pub(crate) logits: Tensor,
    /// `[n, 1, s]`, where a pixel is not valid; `None` where all are.
    pub(crate) invalid: Option<Tensor>,
    /// w, `[n, 1, s]`, 0 at pixels that are not valid; `None` where it is 1 everywhere.
    pub(crate) weight: Option<Tensor>,
    /// Whether w is more than 1 at valid pixels and 0 at others.
    weighted: bool,
    pub(crate) target: Shares,
    /// The plan's maps, `[n, K, s]` or `[n, 1, s]`, 0 at pixels that are not valid.
    pub(crate) maps: Vec<Tensor>,
    pub(crate) kind: Kind,
    /// max_k z and its class: see [`Chunk::top`].
    top: OnceCell<(Tensor, Tensor)>,
}

pub(crate) enum Shares {
    /// Index of each pixel's class, in range, and 1 where it is the pixel's own, 0 where it has
    /// none: `[n, 1, s]`.
    Labels { index: Tensor, own: Tensor },
    /// y, `[n, K, s]`
    Soft(Tensor),
}

impl Chunk {
    /// `maps`: the places of the plan's maps among the target's.
    pub(crate) fn new(
        logits: &Tensor,
        target: &TchTarget,
        maps: &[usize],
        checked: &Checked,
        ignore: &[i64],
        place: &Place,
    ) -> Result<Self, TchError> {
        let (kind, classes) = (checked.compute(), checked.geometry.classes);
        let weight = target.weights.as_ref().map(|weights| place.flat(weights, None)?.f_to_kind(kind)).transpose()?;
        let mut invalid = weight.as_ref().map(|weight| weight.f_eq(0.0)).transpose()?;
        let labels = match &target.values {
            Values::Labels(labels) => Some(place.flat(labels, None)?.f_to_kind(Kind::Int64)?),
            Values::OneHot(_) | Values::Soft(_) => None,
        };
        for &label in labels.iter().flat_map(|_| ignore) {
            let Some(labels) = &labels else { break };
            let ignored = labels.f_eq(label)?;
            invalid = Some(match invalid {
                Some(invalid) => invalid.f_logical_or(&ignored)?,
                None => ignored,
            });
        }
        // Filled, not multiplied: a pixel that is not valid may hold NaN.
        let valid = |tensor: Tensor| match &invalid {
            Some(invalid) => tensor.f_masked_fill(invalid, 0.0),
            None => Ok(tensor),
        };
        let logits = valid(place.flat(logits, Some(classes))?.f_to_kind(kind)?)?;
        let map = |&at: &usize| {
            let (values, channels) = (&target.maps[at].1, checked.maps[at][1]);
            valid(place.flat(values, Some(channels))?.f_to_kind(kind)?)
        };
        let maps = maps.iter().map(map).collect::<Result<_, _>>()?;
        let weighted = weight.is_some();
        let weight = match (weight, &invalid) {
            (Some(weight), _) => Some(valid(weight)?),
            (None, Some(invalid)) => Some(invalid.f_logical_not()?.f_to_kind(kind)?),
            (None, None) => None,
        };
        let target = match (&target.values, labels) {
            // Beyond what rounding does, `validate` says so.
            (Values::OneHot(shares) | Values::Soft(shares), _) => {
                Shares::Soft(valid(place.flat(shares, Some(classes))?.f_to_kind(kind)?.f_clamp(0.0, 1.0)?)?)
            }
            (Values::Labels(_), Some(labels)) => {
                // A single channel is the class 1; its background has no channel of its own.
                let class = if classes == 1 { labels.f_sub_scalar(1)? } else { labels };
                let index = class.f_clamp(0, classes as i64 - 1)?;
                let own = class.f_eq_tensor(&index)?.f_to_kind(kind)?;
                Shares::Labels { index, own }
            }
            // Labels are there where the target has some.
            (Values::Labels(_), None) => return Err(TchError::Shape("no labels".to_owned())),
        };
        let samples = (place.first, place.count);
        Ok(Self { samples, logits, invalid, weight, weighted, target, maps, kind, top: OnceCell::new() })
    }

    /// What an array of all samples has for those of the chunk. A view.
    pub(crate) fn samples_of(&self, tensor: &Tensor) -> Result<Tensor, TchError> {
        tensor.f_narrow(0, self.samples.0, self.samples.1)
    }

    /// Values that fit the logits, `[n, 1, s]` of them for the classes of an index; all of them
    /// where there is none, not a copy.
    pub(crate) fn at(&self, values: &Tensor, index: Option<&Tensor>) -> Result<Tensor, TchError> {
        match index {
            Some(index) => values.f_expand_as(&self.logits)?.f_gather(1, index, false),
            None => Ok(values.shallow_clone()),
        }
    }

    /// The largest logit of each pixel and its class, `[n, 1, s]`: read off once.
    pub(crate) fn top(&self) -> Result<&(Tensor, Tensor), TchError> {
        if let Some(top) = self.top.get() {
            return Ok(top);
        }
        let top = self.logits.f_max_dim(1, true)?;
        Ok(self.top.get_or_init(|| top))
    }

    /// 0 per sample `[n, 1]`, or NaN where a logit or a map is not finite at a valid pixel: a class
    /// that is not the pixel's own may leave no other trace, nor does an infinite sum, which is
    /// saturated.
    pub(crate) fn poison(&self, wide: Kind) -> Result<Tensor, TchError> {
        let all = [1i64, 2];
        let highest = self.top.get().map_or(&self.logits, |(largest, _)| largest).f_amax(all, false)?;
        let mut zero = self.logits.f_amin(all, false)?.f_mul_scalar(0.0)?.f_add_(&highest.f_mul_scalar(0.0)?)?;
        for map in &self.maps {
            for extreme in [map.f_amin(all, false)?, map.f_amax(all, false)?] {
                zero = zero.f_add_(&extreme.f_mul_scalar(0.0)?)?;
            }
        }
        zero.f_to_kind(wide)?.f_reshape([-1, 1])
    }

    /// What is at pixels, times w; `fresh` where nobody else has it.
    pub(crate) fn times_weight(&self, mut values: Tensor, fresh: bool) -> Result<Tensor, TchError> {
        match &self.weight {
            Some(weight) if fresh => values.f_mul_(weight),
            Some(weight) => values.f_mul(weight),
            None => Ok(values),
        }
    }

    /// A gradient `[n, K, s]` times w in place: exactly 0 at pixels that are not valid.
    pub(crate) fn finish(&self, mut gradient: Tensor) -> Result<Tensor, TchError> {
        if let (Some(weight), true) = (&self.weight, self.weighted) {
            gradient = gradient.f_mul_(weight)?;
        }
        match &self.invalid {
            Some(invalid) => gradient.f_masked_fill_(invalid, 0.0),
            None => Ok(gradient),
        }
    }

    /// Number of pixels of a sample.
    pub(crate) fn count(&self) -> i64 {
        self.logits.size().last().copied().unwrap_or(0)
    }
}

/// 0 where labels, soft targets and weights of a place are within their range: what the kernels
/// would refuse.
pub(crate) fn misfits(target: &TchTarget, checked: &Checked, ignore: &[i64], place: &Place) -> Result<Tensor, TchError> {
    let outside = |values: &Tensor, low: f64, high: f64| values.f_ne_tensor(&values.f_clamp(low, high)?);
    let classes = checked.geometry.classes;
    let weights = target.weights.as_ref().map(|weights| place.flat(weights, None)?.f_to_kind(Kind::Double)).transpose()?;
    let mut wrong = match &target.values {
        Values::Labels(labels) => {
            let labels = place.flat(labels, None)?.f_to_kind(Kind::Int64)?;
            let mut wrong = labels.f_ne_tensor(&labels.f_clamp(0, checked.geometry.labels() as i64 - 1)?)?;
            for &label in ignore {
                wrong = wrong.f_masked_fill(&labels.f_eq(label)?, false as i64)?;
            }
            wrong
        }
        Values::OneHot(shares) | Values::Soft(shares) => {
            let shares = place.flat(shares, Some(classes))?;
            let half = matches!(shares.f_kind()?, Kind::Half | Kind::BFloat16);
            let slack = if half { HALF_SHARE_SLACK } else { SHARE_SLACK };
            // Wide enough that its own rounding is far below that.
            let shares = shares.f_to_kind(checked.compute())?;
            let mut wrong = outside(&shares, -slack, 1.0 + slack)?;
            if checked.activation == Activation::Softmax {
                let sums = shares.f_clamp(0.0, 1.0)?.f_sum_dim_intlist([1i64].as_slice(), true, None)?;
                wrong = wrong.f_logical_or(&outside(&sums, 1.0 - slack, 1.0 + slack)?)?;
            }
            match &weights {
                Some(weights) => wrong.f_masked_fill(&weights.f_eq(0.0)?, false as i64)?,
                None => wrong,
            }
        }
    };
    if let Some(weights) = &weights {
        wrong = wrong.f_logical_or(&outside(weights, 0.0, f64::MAX)?)?;
    }
    wrong.f_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_cover_every_pixel_once_and_keep_to_the_limit() {
        let shapes: [&[usize]; 8] = [
            &[5, 3],
            &[2, 3, 7],
            &[1, 2, 1, 1],
            &[1, 1, 4, 4],
            &[3, 2, 4, 6],
            &[2, 4, 5, 1, 9],
            &[1, 3, 6, 7, 8],
            &[2, 1, 2, 3, 2, 3],
        ];
        for shape in shapes {
            for limit in [1, 4, 10, 30, 100, 1000] {
                let sizes: Vec<i64> = shape.iter().map(|&length| length as i64).collect();
                let seen = Tensor::zeros(&sizes, (Kind::Int64, tch::Device::Cpu));
                let places = places(shape, limit);
                // As few as fit, or at most twice as many where parts of an axis are rounded.
                let logits: usize = shape.iter().product();
                let one = limit.max(shape[1]) / shape[1] * shape[1];
                assert!(places.len() <= 2 * logits.div_ceil(one), "{shape:?}, {limit}: {}", places.len());
                for place in places {
                    let mut part = place.of(&seen, false).unwrap();
                    assert!(part.numel() <= limit.max(shape[1]), "{shape:?}, {limit}: {place:?}");
                    let _ = part.g_add_scalar_(1);
                }
                assert_eq!(seen.min().int64_value(&[]), 1, "{shape:?}, {limit}");
                assert_eq!(seen.max().int64_value(&[]), 1, "{shape:?}, {limit}");
            }
        }
    }
}
