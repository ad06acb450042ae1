//! Probabilities of a chunk, what is summed of them, and what the sums hand back to the logits.
//!
//! The gradient is that of `loss-kernels` in whole arrays: the statistics hand down ∂/∂(log p), everywhere and where a pixel is
//! of a region, and the activation hands it on. LibTorch's autograd would take three times as many passes over memory.

use loss_core::expr::PixelFunction;
use loss_core::{Activation, LossError, Over, Plan, Probability, Quantity, Side, Statistic, Temperature};
use tch::{Kind, TchError, Tensor};

use crate::algebra::{Interpreter, Shared};
use crate::chunk::{Chunk, Place, Shares};
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

/// Statistics that share their probabilities, by their places in the plan.
pub(crate) struct Group {
    activation: Activation,
    temperature: Temperature,
    pub(crate) members: Vec<usize>,
}

/// The groups of those statistics of a plan that are wanted and depend on the logits: one of them at a time is held.
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
enum Value<'a> {
    Probability,
    Logarithm,
    Function(&'a PixelFunction),
    /// φ'
    Slope(&'a PixelFunction),
}

/// The probabilities of one side, `[n, K, s]`, as far as they are needed.
struct Probabilities<'a> {
    chunk: &'a Chunk,
    p: Option<Tensor>,
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
struct Needs {
    p: bool,
    log: bool,
}

fn missing() -> TchError {
    TchError::Shape("probabilities that were not asked for".to_owned())
}

impl<'a> Probabilities<'a> {
    fn new(chunk: &'a Chunk, activation: Activation, t: Temperature, side: Side, needs: Needs) -> Result<Self, TchError> {
        match activation {
            Activation::Softmax => Self::softmax(chunk, t, needs),
            Activation::Sigmoid => Self::sigmoid(chunk, t, side, needs),
        }
    }

    /// τ·(z − max_k z), whose exponentials cannot overflow, and the sum of those but for the largest's own, which is 1: kept apart,
    /// a rest far below 1 loses nothing, as it does in LibTorch's own softmax.
    fn softmax(chunk: &'a Chunk, t: Temperature, needs: Needs) -> Result<Self, TchError> {
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

    fn sigmoid(chunk: &'a Chunk, t: Temperature, side: Side, needs: Needs) -> Result<Self, TchError> {
        // 1 − σ(x) = σ(−x), without cancelling.
        let factor = if side == Side::Background { -t.value() } else { t.value() };
        let raw = if factor == 1.0 { chunk.logits.shallow_clone() } else { chunk.logits.f_mul_scalar(factor)? };
        let p = if needs.p { Some(raw.f_sigmoid()?) } else { None };
        Ok(Self { chunk, p, log: needs.log.then_some(Logarithms::Sigmoid(raw)) })
    }

    fn p(&self) -> Result<&Tensor, TchError> {
        self.p.as_ref().ok_or_else(missing)
    }

    /// A value everywhere, or for the classes of an index. `Probability` everywhere is not a copy.
    fn at(&self, value: Value<'_>, index: Option<&Tensor>) -> Result<Tensor, LossError> {
        let gathered = |tensor: &Tensor| match index {
            Some(index) => tensor.f_gather(1, index, false),
            None => Ok(tensor.shallow_clone()),
        };
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
fn outside(chunk: &Chunk, values: &Tensor) -> Result<Tensor, TchError> {
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
    let summand = match (&statistic.of, &chunk.target, &chunk.weight) {
        (Quantity::Mass(_) | Quantity::SquaredMass(_) | Quantity::Log(..) | Quantity::Function(..), ..) => Err(missing()),
        (Quantity::One, _, Some(weight)) if statistic.is_shared() => Ok(Summand::Each(weight.shallow_clone())),
        (Quantity::One, _, None) if statistic.is_shared() => Ok(Summand::Count),
        (Quantity::One | Quantity::Target, Shares::Labels { index, own }, _) => {
            chunk.times_weight(own.shallow_clone(), false).map(|own| Summand::Own(own, index.shallow_clone()))
        }
        (Quantity::Target, Shares::Soft(shares), _) => {
            shares.f_mul(shares).and_then(|squared| chunk.times_weight(squared, true)).map(Summand::Each)
        }
        (Quantity::One, Shares::Soft(shares), _) => chunk.times_weight(shares.shallow_clone(), false).map(Summand::Each),
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

/// What one side of a group's statistics hands down, times τ and the sign of that side: `[N, K, 1]` in the type computed in.
struct Upstream<'a> {
    /// ∂/∂P
    mass: Option<Tensor>,
    /// 2·∂/∂Q
    squared: Option<Tensor>,
    /// ∂/∂A
    log_mass: Option<Tensor>,
    /// ∂/∂I
    intersection: Option<Tensor>,
    /// ∂/∂L
    likelihood: Option<Tensor>,
    /// ∂/∂F
    functions: Vec<(&'a PixelFunction, Tensor)>,
}

impl<'a> Upstream<'a> {
    fn new(
        plan: &'a Plan,
        group: &Group,
        side: Side,
        handed: &[Option<Tensor>],
        (factor, kind): (f64, Kind),
    ) -> Result<Option<Self>, TchError> {
        let mut all =
            Self { mass: None, squared: None, log_mass: None, intersection: None, likelihood: None, functions: Vec::new() };
        let mut any = false;
        for &i in &group.members {
            let statistic = &plan.statistics()[i];
            let (Some(handed), Some(p)) = (&handed[i], statistic.probability()) else { continue };
            if p.side != side {
                continue;
            }
            any = true;
            let factor = if matches!(statistic.of, Quantity::SquaredMass(_)) { 2.0 * factor } else { factor };
            let handed = handed.f_mul_scalar(factor)?.f_to_kind(kind)?.f_unsqueeze(2)?;
            match (&statistic.of, statistic.over) {
                (Quantity::Mass(_), Over::Valid) => all.mass = Some(handed),
                (Quantity::Mass(_), Over::Region | Over::Background) => all.intersection = Some(handed),
                (Quantity::SquaredMass(_), _) => all.squared = Some(handed),
                (Quantity::Log(..), Over::Valid) => all.log_mass = Some(handed),
                (Quantity::Log(..), Over::Region | Over::Background) => all.likelihood = Some(handed),
                (Quantity::Function(.., function), _) => all.functions.push((function, handed)),
                (Quantity::One | Quantity::Target, _) => {}
            }
        }
        Ok(any.then_some(all))
    }

    /// That of a place's samples.
    fn of(&self, place: &Place) -> Result<Self, TchError> {
        let part = |handed: &Tensor| handed.f_narrow(0, place.first, place.count);
        let some = |handed: &Option<Tensor>| handed.as_ref().map(part).transpose();
        Ok(Self {
            mass: some(&self.mass)?,
            squared: some(&self.squared)?,
            log_mass: some(&self.log_mass)?,
            intersection: some(&self.intersection)?,
            likelihood: some(&self.likelihood)?,
            functions: self
                .functions
                .iter()
                .map(|(f, handed)| part(handed).map(|handed| (*f, handed)))
                .collect::<Result<_, _>>()?,
        })
    }

    /// ∂/∂(log p) of what is summed over all pixels, `[n, K, s]`.
    fn everywhere(&self, p: &Tensor) -> Result<Option<Tensor>, TchError> {
        let slope = match (&self.squared, &self.mass) {
            (Some(squared), Some(mass)) => Some(p.f_mul(squared)?.f_add_(mass)?.f_mul_(p)?),
            (Some(squared), None) => Some(p.f_mul(p)?.f_mul_(squared)?),
            (None, Some(mass)) => Some(p.f_mul(mass)?),
            (None, None) => None,
        };
        match (slope, &self.log_mass) {
            (Some(mut slope), Some(log_mass)) => slope.f_add_(log_mass).map(Some),
            (None, Some(log_mass)) => p.f_zeros_like()?.f_add_(log_mass).map(Some),
            (slope, None) => Ok(slope),
        }
    }

    /// ∂/∂(log p) of what is summed inside of a region (or outside of it), without y: for the classes of an index, or everywhere;
    /// there `[n, K, s]` or `[n, K, 1]`.
    fn own(&self, of: &Probabilities<'_>, index: Option<&Tensor>) -> Result<Option<Tensor>, LossError> {
        let during = "differentiating inside the regions";
        let handed = |handed: &Tensor| match index {
            Some(index) => {
                handed.f_expand([-1, -1, index.size().last().copied().unwrap_or(1)], false)?.f_gather(1, index, false)
            }
            None => Ok(handed.shallow_clone()),
        };
        let mut sum: Option<Tensor> = None;
        if let Some(intersection) = &self.intersection {
            sum = Some(of.at(Value::Probability, index)?.f_mul(&handed(intersection).during(during)?).during(during)?);
        }
        for (function, up) in &self.functions {
            let slope = of.at(Value::Slope(function), index)?.f_mul(&handed(up).during(during)?);
            sum = Some(added(sum, slope.during(during)?).during(during)?);
        }
        // The last, as it may be `[n, K, 1]`.
        if let Some(likelihood) = &self.likelihood {
            sum = Some(added(sum, handed(likelihood).during(during)?).during(during)?);
        }
        Ok(sum)
    }
}

/// In place: a sum is of the whole size, whatever is added to it.
fn added(sum: Option<Tensor>, more: Tensor) -> Result<Tensor, TchError> {
    match sum {
        Some(mut sum) => sum.f_add_(&more),
        None => Ok(more),
    }
}

/// What is handed to the logits, group by group: ready for any place.
pub(crate) struct Backward<'a> {
    groups: Vec<(Group, [Option<Upstream<'a>>; 2])>,
}

impl<'a> Backward<'a> {
    pub(crate) fn new(plan: &'a Plan, handed: &[Option<Tensor>], kind: Kind) -> Result<Self, TchError> {
        let groups = groups(plan, |i| handed[i].is_some()).into_iter().map(|group| {
            let tau = group.temperature.value();
            let side = |side, factor| Upstream::new(plan, &group, side, handed, (factor, kind));
            let sides = [side(Side::Region, tau)?, side(Side::Background, -tau)?];
            Ok((group, sides))
        });
        Ok(Self { groups: groups.collect::<Result<_, TchError>>()? })
    }

    /// ∂/∂z of a chunk, `[n, K, s]`.
    pub(crate) fn gradient(&self, chunk: &Chunk, place: &Place) -> Result<Tensor, LossError> {
        let during = "differentiating";
        let of = |activation| self.groups.iter().filter(move |(group, _)| group.activation == activation);
        let mut sum: Option<Tensor> = None;
        for (group, sides) in of(Activation::Softmax) {
            let [Some(up), _] = sides else { continue };
            let part = softmax(chunk, group.temperature, &up.of(place).during(during)?)?;
            sum = Some(added(sum, part).during(during)?);
        }
        // All sum to zero: the likeliest class's own difference would cancel where p is nearly 1.
        let balanced = |mut sum: Tensor| -> Result<Tensor, TchError> {
            let (_, top) = chunk.top()?;
            sum = sum.f_scatter_value_(1, top, 0.0)?;
            let others = sum.f_sum_dim_intlist([1i64].as_slice(), true, chunk.kind)?.f_neg_()?;
            sum.f_scatter_(1, top, &others)
        };
        sum = sum.map(balanced).transpose().during(during)?;
        for (group, [region, background]) in of(Activation::Sigmoid) {
            let log = [region, background].into_iter().flatten().any(|up| !up.functions.is_empty());
            let side = |side| Probabilities::sigmoid(chunk, group.temperature, side, Needs { p: true, log }).during(during);
            let (inner, outer) = (side(Side::Region)?, side(Side::Background)?);
            if let Some(up) = region {
                sum = add_sigmoid(chunk, (&inner, &outer), (&up.of(place).during(during)?, Side::Region), sum)?;
            }
            if let Some(up) = background {
                sum = add_sigmoid(chunk, (&outer, &inner), (&up.of(place).during(during)?, Side::Background), sum)?;
            }
        }
        let all = || chunk.finish(sum.map_or_else(|| chunk.logits.f_zeros_like(), Ok)?);
        all().during(during)
    }
}

/// g − p Σ g for g = ∂/∂(log p); τ is in g.
fn softmax(chunk: &Chunk, t: Temperature, up: &Upstream<'_>) -> Result<Tensor, LossError> {
    let during = "differentiating softmax";
    let mut of = Probabilities::softmax(chunk, t, Needs { p: true, log: !up.functions.is_empty() }).during(during)?;
    let mut g = of.p().and_then(|p| up.everywhere(p)).during(during)?;
    let mut own_part = None;
    match &chunk.target {
        Shares::Labels { index, own } => {
            let part = up.own(&of, Some(index))?.map(|mut part| part.f_mul_(own)).transpose().during(during)?;
            own_part = part.map(|part| (index, part));
        }
        Shares::Soft(shares) => {
            if let Some(part) = up.own(&of, None)? {
                g = Some(part.f_mul(shares).and_then(|part| added(g, part)).during(during)?);
            }
        }
    }
    let mut p = of.p.take().ok_or_else(missing).during(during)?;
    let finish = || -> Result<Tensor, TchError> {
        let total = g.as_ref().map(|g| g.f_sum_dim_intlist([1i64].as_slice(), true, chunk.kind)).transpose()?;
        let total = match (total, &own_part) {
            (Some(mut total), Some((_, part))) => total.f_add_(part)?.f_neg_()?,
            (Some(mut total), None) => total.f_neg_()?,
            (None, Some((_, part))) => part.f_neg()?,
            (None, None) => return p.f_zero_(),
        };
        let mut out = match g {
            Some(mut g) => g.f_addcmul_(&p, &total)?,
            None => p.f_mul_(&total)?,
        };
        match &own_part {
            Some((index, part)) => out.f_scatter_add_(1, index, part),
            None => Ok(out),
        }
    };
    finish().during(during)
}

/// Adds `g·(1 − p)`, where p is the probability of a side and g is ∂/∂(log p); τ and the side's sign are in g.
fn add_sigmoid(
    chunk: &Chunk,
    (of, other): (&Probabilities<'_>, &Probabilities<'_>),
    (up, side): (&Upstream<'_>, Side),
    sum: Option<Tensor>,
) -> Result<Option<Tensor>, LossError> {
    let during = "differentiating the sigmoid";
    let (p, q) = (of.p().during(during)?, other.p().during(during)?);
    let g = up.everywhere(p).during(during)?;
    let (everywhere, inside) = match (&chunk.target, side) {
        (Shares::Labels { index, own }, Side::Region) => (None, up.own(of, Some(index))?.map(|part| (index, own, part))),
        (Shares::Soft(shares), Side::Region) => (up.own(of, None)?.map(|part| part.f_mul(shares)), None),
        (_, Side::Background) => (up.own(of, None)?.map(|part| outside(chunk, &part.f_expand_as(p)?)), None),
    };
    let add = || -> Result<Option<Tensor>, TchError> {
        let g = match everywhere.transpose()? {
            Some(part) => Some(added(g, part)?),
            None => g,
        };
        let mut sum = match g {
            Some(mut g) => Some(added(sum, g.f_mul_(q)?)?),
            None => sum,
        };
        if let Some((index, own, mut part)) = inside {
            part = part.f_mul_(own)?.f_mul_(&q.f_gather(1, index, false)?)?;
            let mut to = sum.map_or_else(|| q.f_zeros_like(), Ok)?;
            sum = Some(to.f_scatter_add_(1, index, &part)?);
        }
        Ok(sum)
    };
    add().during(during)
}
