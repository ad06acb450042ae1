//! What the sums hand back to the logits.
//!
//! The gradient is that of `loss-kernels` in whole arrays: the statistics hand down ∂/∂(log p),
//! everywhere and where a pixel is of a region, and the activation hands it on. LibTorch's autograd
//! would take three times as many passes over memory.

use loss_core::expr::PixelFunction;
use loss_core::{Activation, LossError, Over, Plan, Quantity, Side, Temperature};
use tch::{Kind, TchError, Tensor};

use crate::chunk::{Chunk, Shares};
use crate::error::During;
use crate::pixels::{Group, Needs, Probabilities, Value, groups, missing, outside};

/// What the sums of one kind hand down, times τ and the sign of their side: `[N, K, 1]` in the
/// type computed in, for the sum without a map and for those with one, beside the map's place in
/// the plan.
#[derive(Default)]
struct Handed {
    plain: Option<Tensor>,
    mapped: Vec<(usize, Tensor)>,
}

impl Handed {
    fn add(&mut self, map: Option<usize>, handed: Tensor) {
        match map {
            Some(map) => self.mapped.push((map, handed)),
            None => self.plain = Some(handed),
        }
    }

    /// What all of them hand to the pixels of a chunk, each times its map: `[n, K, s]`, or
    /// `[n, K, 1]` where none has a map; for the classes of an index `[n, 1, s]`.
    fn at(&self, chunk: &Chunk, index: Option<&Tensor>) -> Result<Option<Tensor>, TchError> {
        let of_chunk = |handed: &Tensor| chunk.at(&chunk.samples_of(handed)?, index);
        let mut sum: Option<Tensor> = None;
        for (map, handed) in &self.mapped {
            let (map, handed) = (chunk.at(&chunk.maps[*map], index)?, of_chunk(handed)?);
            sum = Some(match sum {
                Some(mut sum) => sum.f_addcmul_(&map, &handed)?,
                None => map.f_mul(&handed)?,
            });
        }
        // The last, as it may be `[n, K, 1]`.
        match &self.plain {
            Some(handed) => added(sum, of_chunk(handed)?).map(Some),
            None => Ok(sum),
        }
    }
}

/// What one side of a group's statistics hands down.
#[derive(Default)]
struct Upstream<'a> {
    /// ∂/∂P
    mass: Handed,
    /// 2·∂/∂Q
    squared: Handed,
    /// ∂/∂A
    log_mass: Handed,
    /// ∂/∂I
    intersection: Handed,
    /// ∂/∂L
    likelihood: Handed,
    /// ∂/∂F
    functions: Vec<(&'a PixelFunction, Handed)>,
}

impl<'a> Upstream<'a> {
    fn new(
        plan: &'a Plan,
        group: &Group,
        side: Side,
        handed: &[Option<Tensor>],
        (factor, kind): (f64, Kind),
    ) -> Result<Option<Self>, TchError> {
        let mut all = Self::default();
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
            let sums = match (&statistic.of, statistic.over) {
                (Quantity::Mass(_), Over::Valid) => &mut all.mass,
                (Quantity::Mass(_), Over::Region | Over::Background) => &mut all.intersection,
                (Quantity::SquaredMass(_), _) => &mut all.squared,
                (Quantity::Log(..), Over::Valid) => &mut all.log_mass,
                (Quantity::Log(..), Over::Region | Over::Background) => &mut all.likelihood,
                (Quantity::Function(.., function), _) => all.function(function),
                (Quantity::One | Quantity::Target, _) => continue,
            };
            sums.add(plan.map(i), handed);
        }
        Ok(any.then_some(all))
    }

    /// A function is differentiated once, whatever maps its sums have.
    fn function(&mut self, function: &'a PixelFunction) -> &mut Handed {
        let known = self.functions.iter().position(|(known, _)| *known == function);
        let at = known.unwrap_or_else(|| {
            self.functions.push((function, Handed::default()));
            self.functions.len() - 1
        });
        &mut self.functions[at].1
    }

    /// ∂/∂(log p) of what is summed over all pixels, `[n, K, s]`: p(p·2∂/∂Q + ∂/∂P) +
    /// ∂/∂A.
    fn everywhere(&self, of: &Probabilities<'_>) -> Result<Option<Tensor>, TchError> {
        let (chunk, p) = (of.chunk, of.p()?);
        let squared = self.squared.at(chunk, None)?.map(|squared| p.f_mul(&squared)).transpose()?;
        let slope = match (squared, self.mass.at(chunk, None)?) {
            (Some(mut slope), Some(mass)) => Some(slope.f_add_(&mass)?.f_mul_(p)?),
            (Some(mut slope), None) => Some(slope.f_mul_(p)?),
            (None, Some(mass)) => Some(p.f_mul(&mass)?),
            (None, None) => None,
        };
        match (slope, self.log_mass.at(chunk, None)?) {
            (Some(mut slope), Some(log_mass)) => slope.f_add_(&log_mass).map(Some),
            (None, Some(log_mass)) => p.f_zeros_like()?.f_add_(&log_mass).map(Some),
            (slope, None) => Ok(slope),
        }
    }

    /// ∂/∂(log p) of what is summed inside of a region (or outside of it), without y: for the
    /// classes of an index, or everywhere; there `[n, K, s]` or `[n, K, 1]`.
    fn own(&self, of: &Probabilities<'_>, index: Option<&Tensor>) -> Result<Option<Tensor>, LossError> {
        let during = "differentiating inside the regions";
        let mut sum: Option<Tensor> = None;
        if let Some(intersection) = self.intersection.at(of.chunk, index).during(during)? {
            sum = Some(of.at(Value::Probability, index)?.f_mul(&intersection).during(during)?);
        }
        for (function, handed) in &self.functions {
            let slope = of.at(Value::Slope(function), index)?;
            if let Some(handed) = handed.at(of.chunk, index).during(during)? {
                sum = Some(slope.f_mul(&handed).and_then(|slope| added(sum, slope)).during(during)?);
            }
        }
        // The last, as it may be `[n, K, 1]`.
        if let Some(likelihood) = self.likelihood.at(of.chunk, index).during(during)? {
            sum = Some(added(sum, likelihood).during(during)?);
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
    pub(crate) fn gradient(&self, chunk: &Chunk) -> Result<Tensor, LossError> {
        let during = "differentiating";
        let of = |activation| self.groups.iter().filter(move |(group, _)| group.activation == activation);
        let mut sum: Option<Tensor> = None;
        for (group, sides) in of(Activation::Softmax) {
            let [Some(up), _] = sides else { continue };
            let part = softmax(chunk, group.temperature, up)?;
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
                sum = add_sigmoid(chunk, (&inner, &outer), (up, Side::Region), sum)?;
            }
            if let Some(up) = background {
                sum = add_sigmoid(chunk, (&outer, &inner), (up, Side::Background), sum)?;
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
    let mut g = up.everywhere(&of).during(during)?;
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

/// Adds `g·(1 − p)`, where p is the probability of a side and g is ∂/∂(log p); τ and the
/// sign of the side are in g.
fn add_sigmoid(
    chunk: &Chunk,
    (of, other): (&Probabilities<'_>, &Probabilities<'_>),
    (up, side): (&Upstream<'_>, Side),
    sum: Option<Tensor>,
) -> Result<Option<Tensor>, LossError> {
    let during = "differentiating the sigmoid";
    let (p, q) = (of.p().during(during)?, other.p().during(during)?);
    let g = up.everywhere(of).during(during)?;
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
