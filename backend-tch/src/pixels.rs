//! Probabilities of a chunk, and what is summed of them.

use loss_core::expr::PixelFunction;
use loss_core::{Activation, LossError, Over, Plan, Probability, Quantity, Side, Statistic, Temperature};
use tch::{TchError, Tensor};

use crate::algebra::{Interpreter, Shared};
use crate::chunk::{Chunk, Shares};
use crate::error::During;

/// What is to be summed over pixels.
pub(crate) enum Summand {
    /// The number of pixels.
    Count,
    /// For each class: `[n, K, s]`, or `[n, 1, s]` for the valid size.
    Each(Tensor),
    /// For the class of each pixel alone: values and classes, `[n, 1, s]`.
    Own(Tensor, Tensor),
}

impl Summand {
    /// Every summand times a map. Not in place: other sums may be of the same values.
    pub(crate) fn times(self, chunk: &Chunk, map: &Tensor) -> Result<Self, TchError> {
        Ok(match self {
            Self::Count => Self::Each(map.shallow_clone()),
            Self::Each(values) => Self::Each(values.f_mul(map)?),
            Self::Own(values, index) => Self::Own(chunk.at(map, Some(&index))?.f_mul_(&values)?, index),
        })
    }
}

/// Statistics that share their probabilities, by their places in the plan.
pub(crate) struct Group {
    pub(crate) activation: Activation,
    pub(crate) temperature: Temperature,
    pub(crate) members: Vec<usize>,
}

/// The groups of those statistics of a plan that are wanted and depend on the logits: one of them
/// at a time is held.
pub(crate) fn groups(plan: &Plan, wanted: impl Fn(usize) -> bool) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (i, statistic) in plan.statistics().iter().enumerate().filter(|(i, _)| wanted(*i)) {
        let Some(Probability { activation, temperature, .. }) = statistic.probability() else { continue };
        match groups.iter_mut().find(|g| (g.activation, g.temperature) == (activation, temperature)) {
            Some(group) => group.members.push(i),
            None => groups.push(Group { activation, temperature, members: vec![i] }),
        }
    }
    groups
}

/// Of a statistic, what is summed.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Probability,
    Logarithm,
    Function(&'a PixelFunction),
    /// φ'
    Slope(&'a PixelFunction),
}

/// The probabilities of one side, `[n, K, s]`, as far as they are needed.
pub(crate) struct Probabilities<'a> {
    pub(crate) chunk: &'a Chunk,
    pub(crate) p: Option<Tensor>,
    log: Option<Logarithms>,
}

enum Logarithms {
    /// log p is the first less the second, `[n, 1, s]`.
    Softmax(Tensor, Tensor),
    /// log p is that of the sigmoid of this.
    Sigmoid(Tensor),
}

/// What of a group must be computed.
#[derive(Clone, Copy)]
pub(crate) struct Needs {
    pub(crate) p: bool,
    pub(crate) log: bool,
}

pub(crate) fn missing() -> TchError {
    TchError::Shape("probabilities that were not asked for".to_owned())
}

impl<'a> Probabilities<'a> {
    fn new(chunk: &'a Chunk, activation: Activation, t: Temperature, side: Side, needs: Needs) -> Result<Self, TchError> {
        match activation {
            Activation::Softmax => Self::softmax(chunk, t, needs),
            Activation::Sigmoid => Self::sigmoid(chunk, t, side, needs),
        }
    }

    /// τ·(z − max_k z), whose exponentials cannot overflow, and the sum of those but for the
    /// largest's own, which is 1: kept apart, a rest far below 1 loses nothing, as it does in
    /// LibTorch's own softmax.
    pub(crate) fn softmax(chunk: &'a Chunk, t: Temperature, needs: Needs) -> Result<Self, TchError> {
        let (largest, top) = chunk.top()?;
        // The difference first: τ·z may overflow.
        let mut shifted = chunk.logits.f_sub(largest)?;
        if t != Temperature::ONE {
            shifted = shifted.f_mul_scalar_(t.value())?;
        }
        let mut power = if needs.log { shifted.f_exp()? } else { shifted.f_exp_()? };
        power = power.f_scatter_value_(1, top, 0.0)?;
        let mut rest = power.f_sum_dim_intlist([1i64].as_slice(), true, chunk.kind)?;
        let log = if needs.log { Some(Logarithms::Softmax(shifted, rest.f_log1p()?)) } else { None };
        let p = if needs.p {
            power = power.f_scatter_value_(1, top, 1.0)?;
            Some(power.f_div_(&rest.f_add_scalar_(1.0)?)?)
        } else {
            None
        };
        Ok(Self { chunk, p, log })
    }

    pub(crate) fn sigmoid(chunk: &'a Chunk, t: Temperature, side: Side, needs: Needs) -> Result<Self, TchError> {
        // 1 − σ(x) = σ(−x), without cancelling.
        let factor = if side == Side::Background { -t.value() } else { t.value() };
        let raw = if factor == 1.0 { chunk.logits.shallow_clone() } else { chunk.logits.f_mul_scalar(factor)? };
        let p = if needs.p { Some(raw.f_sigmoid()?) } else { None };
        Ok(Self { chunk, p, log: needs.log.then_some(Logarithms::Sigmoid(raw)) })
    }

    pub(crate) fn p(&self) -> Result<&Tensor, TchError> {
        self.p.as_ref().ok_or_else(missing)
    }

    /// A value everywhere, or for the classes of an index. `Probability` everywhere is not a copy.
    pub(crate) fn at(&self, value: Value<'_>, index: Option<&Tensor>) -> Result<Tensor, LossError> {
        let gathered = |tensor: &Tensor| self.chunk.at(tensor, index);
        let log = || match self.log.as_ref().ok_or_else(missing)? {
            Logarithms::Softmax(shifted, offset) => gathered(shifted)?.f_sub(offset),
            Logarithms::Sigmoid(raw) => gathered(raw)?.f_log_sigmoid(),
        };
        let pixels = Interpreter { kind: self.chunk.kind, device: self.chunk.logits.device() };
        let log = || log().map(Shared).during("computing logarithms");
        Ok(match value {
            Value::Probability => self.p().and_then(gathered).during("computing probabilities")?,
            Value::Logarithm => log()?.0,
            Value::Function(function) => function.apply(&pixels, &log()?)?.0,
            Value::Slope(function) => function.slope(&pixels, &log()?)?.0,
        })
    }

    /// Σ w y v: only the pixel's own class counts where the target is labels.
    fn inside(&self, value: Value<'_>) -> Result<Summand, LossError> {
        let chunk = self.chunk;
        let during = "summing inside the regions";
        match &chunk.target {
            Shares::Labels { index, own } => {
                let values = self.at(value, Some(index))?;
                let summand = values.f_mul(own).and_then(|values| chunk.times_weight(values, true));
                Ok(Summand::Own(summand.during(during)?, index.shallow_clone()))
            }
            Shares::Soft(shares) => {
                let summand = self.at(value, None)?.f_mul(shares).and_then(|values| chunk.times_weight(values, true));
                Ok(Summand::Each(summand.during(during)?))
            }
        }
    }

    /// Σ w (1 − y) v
    fn outside(&self, value: Value<'_>) -> Result<Summand, LossError> {
        let kept = outside(self.chunk, &self.at(value, None)?).and_then(|values| self.chunk.times_weight(values, true));
        kept.map(Summand::Each).during("summing outside of the regions")
    }
}

/// (1 − y) v: every channel but the pixel's own where the target is labels.
pub(crate) fn outside(chunk: &Chunk, values: &Tensor) -> Result<Tensor, TchError> {
    match &chunk.target {
        Shares::Labels { index, own } => {
            // What is no class of its own pixel stays as it is.
            let background = own.f_neg()?.f_add_scalar_(1.0)?;
            values.f_scatter(1, index, &values.f_gather(1, index, false)?.f_mul_(&background)?)
        }
        Shares::Soft(shares) => shares.f_neg()?.f_add_scalar_(1.0)?.f_mul_(values),
    }
}

/// A sum over the target alone.
pub(crate) fn target_summand(chunk: &Chunk, statistic: &Statistic) -> Result<Summand, LossError> {
    let summand = match (&statistic.of, statistic.over) {
        (Quantity::One, Over::Valid) => {
            let weight = chunk.weight.as_ref();
            Ok(weight.map_or(Summand::Count, |weight| Summand::Each(weight.shallow_clone())))
        }
        (Quantity::One | Quantity::Target, Over::Region) => match &chunk.target {
            Shares::Labels { index, own } => {
                chunk.times_weight(own.shallow_clone(), false).map(|own| Summand::Own(own, index.shallow_clone()))
            }
            Shares::Soft(shares) if statistic.of == Quantity::Target => {
                shares.f_mul(shares).and_then(|squared| chunk.times_weight(squared, true)).map(Summand::Each)
            }
            Shares::Soft(shares) => chunk.times_weight(shares.shallow_clone(), false).map(Summand::Each),
        },
        // Of no plan, or not of the target alone.
        (Quantity::One, Over::Background)
        | (Quantity::Target, Over::Valid | Over::Background)
        | (Quantity::Mass(_) | Quantity::SquaredMass(_) | Quantity::Log(..) | Quantity::Function(..), _) => Err(missing()),
    };
    summand.during("summing the target")
}

impl Group {
    /// The sums over one chunk, by places in the plan: each is handed on as soon as it is there.
    pub(crate) fn summands(
        &self,
        plan: &Plan,
        chunk: &Chunk,
        mut then: impl FnMut(usize, Summand) -> Result<(), LossError>,
    ) -> Result<(), LossError> {
        let statistics = plan.statistics();
        for side in [Side::Region, Side::Background] {
            let of = |i: &&usize| statistics[**i].probability().is_some_and(|p| p.side == side);
            let members: Vec<usize> = self.members.iter().filter(of).copied().collect();
            if members.is_empty() {
                continue;
            }
            let p = members.iter().any(|&i| !statistics[i].of.is_logarithmic());
            let log = members.iter().any(|&i| statistics[i].of.is_logarithmic());
            let all = Probabilities::new(chunk, self.activation, self.temperature, side, Needs { p, log });
            let all = all.during("computing probabilities")?;
            for i in members {
                then(i, all.summand(&statistics[i])?)?;
            }
        }
        Ok(())
    }
}

impl Probabilities<'_> {
    fn summand(&self, statistic: &Statistic) -> Result<Summand, LossError> {
        let value = match &statistic.of {
            Quantity::One | Quantity::Target => return target_summand(self.chunk, statistic),
            Quantity::Mass(_) => Value::Probability,
            Quantity::SquaredMass(_) => {
                let squared = self.p().and_then(|p| p.f_mul(p)).and_then(|squared| self.chunk.times_weight(squared, true));
                return squared.map(Summand::Each).during("summing over pixels");
            }
            Quantity::Log(..) => Value::Logarithm,
            Quantity::Function(.., function) => Value::Function(function),
        };
        match statistic.over {
            Over::Valid => {
                let values = self.at(value, None)?;
                let is_copy = statistic.of.is_logarithmic();
                self.chunk.times_weight(values, is_copy).map(Summand::Each).during("summing over pixels")
            }
            Over::Region => self.inside(value),
            Over::Background => self.outside(value),
        }
    }
}
