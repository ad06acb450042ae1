//! A part of the pixels, and what a plan sums over it, by ordinary operations.

use loss_core::{Activation, LossError, Plan, Side, Statistic, Temperature};
use tch::{Kind, TchError, Tensor};

use crate::algebra::{Interpreter, Shared};
use crate::error::During;
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

/// Boxes of `limit` pixels at most: the longest axis is cut first, and where single indices of it are too much, the next.
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

    /// The same as `[n, K, s]`, or `[n, 1, s]` where there is no class axis. A copy where strides ask for one.
    fn flat(&self, tensor: &Tensor, classes: Option<usize>) -> Result<Tensor, TchError> {
        let part = self.of(tensor, classes.is_none())?;
        part.f_reshape([self.count, classes.unwrap_or(1) as i64, -1])
    }
}

/// Pixels ready to be summed; nothing here is on the tape.
pub(crate) struct Chunk {
    /// `[n, K, s]`, 0 at pixels that are not valid.
    pub(crate) logits: Tensor,
    /// `[n, 1, s]`, where a pixel is not valid; `None` where all are.
    pub(crate) invalid: Option<Tensor>,
    /// w, `[n, 1, s]`, 0 at pixels that are not valid; `None` where it is 1 everywhere.
    weight: Option<Tensor>,
    target: Shares,
    kind: Kind,
}

enum Shares {
    /// Index of each pixel's class, in range, and 1 where it is the pixel's own, 0 where it has none: `[n, 1, s]`.
    Labels { index: Tensor, own: Tensor },
    /// y, `[n, K, s]`
    Soft(Tensor),
}

impl Chunk {
    pub(crate) fn new(
        logits: &Tensor,
        target: &TchTarget,
        checked: &Checked,
        ignore: &[i64],
        place: &Place,
    ) -> Result<Self, TchError> {
        let (kind, classes) = (checked.compute(), checked.geometry.classes);
        let weight = target.weights.as_ref().map(|weights| place.flat(weights, None)?.f_to_kind(kind)).transpose()?;
        let mut invalid = weight.as_ref().map(|weight| weight.f_eq(0.0)).transpose()?;
        let labels = match &target.values {
            Values::Labels(labels) => Some(place.flat(labels, None)?.f_to_kind(Kind::Int64)?),
            Values::Soft(_) => None,
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
        let weight = match (weight, &invalid) {
            (Some(weight), _) => Some(valid(weight)?),
            (None, Some(invalid)) => Some(invalid.f_logical_not()?.f_to_kind(kind)?),
            (None, None) => None,
        };
        let target = match (&target.values, labels) {
            (Values::Soft(shares), _) => Shares::Soft(valid(place.flat(shares, Some(classes))?.f_to_kind(kind)?)?),
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
        Ok(Self { logits, invalid, weight, target, kind })
    }

    /// 0 per sample `[n, 1]`, or NaN where a valid logit is not finite: a class that is not the pixel's own may leave no other trace.
    pub(crate) fn poison(&self, wide: Kind) -> Result<Tensor, TchError> {
        let zero = self.logits.f_mul_scalar(0.0)?.f_sum_dim_intlist([1i64, 2].as_slice(), false, self.kind)?;
        zero.f_to_kind(wide)?.f_reshape([-1, 1])
    }

    fn weighted(&self, values: Tensor) -> Result<Tensor, TchError> {
        match &self.weight {
            Some(weight) => values.f_mul(weight),
            None => Ok(values),
        }
    }
}

/// What is to be summed over pixels.
pub(crate) enum Summand {
    /// The number of pixels.
    Count,
    /// For each class: `[n, K, s]`, or `[n, 1, s]` for the valid size.
    Each(Tensor),
    /// For the class of each pixel alone: values and classes, `[n, 1, s]`.
    Own(Tensor, Tensor),
}

/// What the pixels of several statistics have in common, `[n, K, s]`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Quantity {
    Probability(Activation, Temperature, Side),
    Logarithm(Activation, Side),
}

impl Quantity {
    fn of(statistic: &Statistic) -> Option<Self> {
        match *statistic {
            Statistic::PredictedSize(a, t, side) | Statistic::Intersection(a, t, side) => Some(Self::Probability(a, t, side)),
            Statistic::SquaredMass(a) => Some(Self::Probability(a, Temperature::ONE, Side::Region)),
            Statistic::LogLikelihood(a, side) | Statistic::LogMass(a, side) | Statistic::PixelSum(a, side, _) => {
                Some(Self::Logarithm(a, side))
            }
            _ => None,
        }
    }
}

/// Places of a plan's statistics, those together that share a quantity: one of them at a time is held.
pub(crate) fn groups(plan: &Plan) -> Vec<Vec<usize>> {
    let mut groups: Vec<(Option<Quantity>, Vec<usize>)> = Vec::new();
    for (i, statistic) in plan.statistics().iter().enumerate() {
        let quantity = Quantity::of(statistic);
        match groups.iter_mut().find(|(known, _)| *known == quantity) {
            Some((_, members)) => members.push(i),
            None => groups.push((quantity, vec![i])),
        }
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

/// Probabilities or logarithms of a chunk, those last asked for kept.
pub(crate) struct Pixels<'a> {
    chunk: &'a Chunk,
    logits: Tensor,
    last: Option<(Quantity, Tensor)>,
}

impl<'a> Pixels<'a> {
    /// `logits` are the chunk's, on the tape or not.
    pub(crate) fn new(chunk: &'a Chunk, logits: Tensor) -> Self {
        Self { chunk, logits, last: None }
    }

    /// τ·(z − max_k z), whose exponentials cannot overflow, and the sum of those but for the largest's own, which is 1: kept apart,
    /// a rest far below 1 loses nothing, as it does in LibTorch's own softmax. The largest's own difference is a constant, so that its
    /// gradient is made of the others'.
    fn shifted(&self, temperature: Temperature) -> Result<(Tensor, Tensor), TchError> {
        let top = self.chunk.logits.f_argmax(1, true)?;
        // The difference first: τ·z may overflow.
        let shifted = self.logits.f_sub(&self.logits.f_gather(1, &top, false)?)?.f_mul_scalar(temperature.value())?;
        let shifted = shifted.f_scatter_value(1, &top, 0.0)?;
        let rest =
            shifted.f_exp()?.f_scatter_value(1, &top, 0.0)?.f_sum_dim_intlist([1i64].as_slice(), true, self.chunk.kind)?;
        Ok((shifted, rest))
    }

    fn make(&mut self, quantity: Quantity) -> Result<Tensor, TchError> {
        if let Some((_, made)) = self.last.as_ref().filter(|(known, _)| *known == quantity) {
            return Ok(made.shallow_clone());
        }
        self.last = None;
        let made = match quantity {
            Quantity::Probability(Activation::Softmax, t, _) => {
                let (shifted, rest) = self.shifted(t)?;
                shifted.f_exp()?.f_div(&rest.f_add_scalar(1.0)?)?
            }
            // 1 − σ(x) = σ(−x), without cancelling.
            Quantity::Probability(Activation::Sigmoid, t, Side::Background) => {
                self.logits.f_mul_scalar(-t.value())?.f_sigmoid()?
            }
            Quantity::Probability(Activation::Sigmoid, t, Side::Region) => self.logits.f_mul_scalar(t.value())?.f_sigmoid()?,
            Quantity::Logarithm(Activation::Softmax, _) => {
                let (shifted, rest) = self.shifted(Temperature::ONE)?;
                shifted.f_sub(&rest.f_log1p()?)?
            }
            Quantity::Logarithm(Activation::Sigmoid, Side::Region) => self.logits.f_log_sigmoid()?,
            Quantity::Logarithm(Activation::Sigmoid, Side::Background) => self.logits.f_neg()?.f_log_sigmoid()?,
        };
        self.last = Some((quantity, made.shallow_clone()));
        Ok(made)
    }

    /// Σ w y v: only the pixel's own class counts where the target is labels.
    fn inside(&self, values: &Tensor, then: impl Fn(Tensor) -> Result<Tensor, LossError>) -> Result<Summand, LossError> {
        let chunk = self.chunk;
        match &chunk.target {
            Shares::Labels { index, own } => {
                let own_values = then(values.f_gather(1, index, false).during("gathering by label")?)?;
                let summand = own_values.f_mul(own).and_then(|v| chunk.weighted(v)).during("summing inside the regions")?;
                Ok(Summand::Own(summand, index.shallow_clone()))
            }
            Shares::Soft(shares) => {
                let values = then(values.shallow_clone())?;
                let summand = values.f_mul(shares).and_then(|v| chunk.weighted(v));
                Ok(Summand::Each(summand.during("summing inside the regions")?))
            }
        }
    }

    /// Σ w (1 − y) v: every channel but the pixel's own where the target is labels.
    fn outside(&self, values: &Tensor) -> Result<Tensor, TchError> {
        let chunk = self.chunk;
        let kept = match &chunk.target {
            Shares::Labels { index, own } => {
                // What is no class of its own pixel stays as it is.
                let background = own.f_neg()?.f_add_scalar(1.0)?;
                values.f_scatter(1, index, &values.f_gather(1, index, false)?.f_mul(&background)?)?
            }
            Shares::Soft(shares) => values.f_mul(&shares.f_neg()?.f_add_scalar(1.0)?)?,
        };
        chunk.weighted(kept)
    }

    /// Σ w y
    fn target(&self, squared: bool) -> Result<Summand, TchError> {
        let chunk = self.chunk;
        Ok(match &chunk.target {
            Shares::Labels { index, own } => Summand::Own(chunk.weighted(own.shallow_clone())?, index.shallow_clone()),
            Shares::Soft(shares) if squared => Summand::Each(chunk.weighted(shares.f_mul(shares)?)?),
            Shares::Soft(shares) => Summand::Each(chunk.weighted(shares.shallow_clone())?),
        })
    }

    pub(crate) fn summand(&mut self, statistic: &Statistic) -> Result<Summand, LossError> {
        let chunk = self.chunk;
        let each = |values: Result<Tensor, TchError>| values.map(Summand::Each).during("summing over pixels");
        let as_is = |values: Tensor| Ok(values);
        let values =
            Quantity::of(statistic).map(|quantity| self.make(quantity)).transpose().during("computing probabilities")?;
        match (statistic, values) {
            (Statistic::ValidSize, _) => Ok(match &chunk.weight {
                Some(weight) => Summand::Each(weight.shallow_clone()),
                None => Summand::Count,
            }),
            (Statistic::TargetSize, _) => self.target(false).during("summing the target"),
            (Statistic::SquaredTarget, _) => self.target(true).during("summing the target"),
            (Statistic::PredictedSize(..) | Statistic::LogMass(..), Some(values)) => each(chunk.weighted(values)),
            (Statistic::SquaredMass(_), Some(p)) => each(p.f_mul(&p).and_then(|squared| chunk.weighted(squared))),
            (Statistic::Intersection(_, _, Side::Region) | Statistic::LogLikelihood(_, Side::Region), Some(values)) => {
                self.inside(&values, as_is)
            }
            (Statistic::Intersection(_, _, Side::Background) | Statistic::LogLikelihood(_, Side::Background), Some(values)) => {
                each(self.outside(&values))
            }
            (Statistic::PixelSum(_, side, function), Some(log)) => {
                let pixels = Interpreter { kind: chunk.kind, device: chunk.logits.device() };
                let apply = |log: Tensor| function.apply(&pixels, &Shared(log)).map(|out| out.0);
                match side {
                    Side::Region => self.inside(&log, apply),
                    Side::Background => each(self.outside(&apply(log)?)),
                }
            }
            (other, _) => Err(LossError::Unsupported {
                what: "statistic",
                got: other.to_string(),
                expected: "one of those known to this version",
            }),
        }
    }

    /// Number of pixels of a sample.
    pub(crate) fn count(&self) -> i64 {
        self.logits.size().last().copied().unwrap_or(0)
    }
}

/// 0 where labels, soft targets and weights of a place are within their range: what the kernels would refuse.
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
        Values::Soft(shares) => {
            let shares = place.flat(shares, Some(classes))?;
            let shares = if shares.f_is_floating_point()? { shares } else { shares.f_to_kind(Kind::Float)? };
            let wrong = outside(&shares, 0.0, 1.0)?;
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
        let shapes: [&[usize]; 7] =
            [&[5, 3], &[2, 3, 7], &[1, 2, 1, 1], &[3, 2, 4, 6], &[2, 4, 5, 1, 9], &[1, 3, 6, 7, 8], &[2, 1, 2, 3, 2, 3]];
        for shape in shapes {
            for limit in [1, 4, 10, 30, 100, 1000] {
                let sizes: Vec<i64> = shape.iter().map(|&length| length as i64).collect();
                let seen = Tensor::zeros(&sizes, (Kind::Int64, tch::Device::Cpu));
                for place in places(shape, limit) {
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
