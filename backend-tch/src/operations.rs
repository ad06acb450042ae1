//! Tensor operations: any device, any strides, no host synchronisation.
//!
//! The pixels are taken in chunks, so that what the operations allocate is a fraction of the
//! logits: once to sum up the statistics and, after the algebra and its derivative by autograd on
//! arrays of `[N, K]`, once more to hand that derivative to the logits. On the chunks themselves
//! nothing is recorded, and everything that is not needed again is written over. No one-hot array
//! is made: what lies inside a region is gathered by label, and added up by label with scatter-add.

use loss_core::backend::{LARGEST_SUM, LARGEST_SUM_F32, Table};
use loss_core::{Evaluation, LossError, Map, Plan};
use tch::{Device, Kind, TchError, Tensor, no_grad, with_grad};

use crate::algebra::{Interpreter, Shared};
use crate::backward::Backward;
use crate::chunk::{Chunk, Place, misfits, places};
use crate::error::During;
use crate::loss::{Call, validate};
use crate::pixels::{Summand, groups, target_summand};
use crate::surrogate::Edge;
use crate::target::{Checked, TchTarget};

/// The type that sums are kept in: `Double` where the device has it.
fn wide(device: Device) -> Kind {
    if matches!(device, Device::Cpu | Device::Cuda(_)) { Kind::Double } else { Kind::Float }
}

/// Logits in a chunk. At the worst eight arrays of a chunk's size are held at a time, and one for
/// each map. On the CPU they stay in the cache; elsewhere a chunk is an eighth of the logits, less
/// where there are maps, but not so small that launching operations takes longer than running them.
fn limit(device: Device, logits: usize, maps: usize) -> usize {
    if device == Device::Cpu { 1 << 17 } else { (logits / (8 + maps)).max(1 << 20) }
}

/// Numbers of neighbouring pixels are added to sums of their own on a device that adds them at the
/// same time.
fn lanes(device: Device, pixels: i64) -> i64 {
    if device == Device::Cpu { 1 } else { 1 << pixels.trailing_zeros().min(8) }
}

/// Statistics and gradient on a device; what lies between the two is the same however they are
/// computed.
pub(crate) trait Passes {
    /// The type of sums.
    fn wide(&self) -> Kind;

    /// The plan's statistics, `[N, K]` or `[N, 1]`, off the tape.
    fn statistics(&self) -> Result<Vec<Tensor>, LossError>;

    /// ∂/∂logits, in the type it is computed in, given the derivative for each statistic,
    /// `[N, K]`.
    fn gradient(&self, upstream: &[Option<Tensor>]) -> Result<Tensor, LossError>;
}

/// Logits and target of a call, and how they are cut up.
struct Chunks<'a> {
    call: &'a Call<'a>,
    plan: &'a Plan,
    logits: Tensor,
    target: &'a TchTarget,
    /// Places of the plan's maps among the target's.
    maps: Vec<usize>,
    checked: &'a Checked,
    ignore: &'a [i64],
    places: Vec<Place>,
    wide: Kind,
}

impl<'a> Chunks<'a> {
    fn new(call: &'a Call<'a>) -> Result<Self, LossError> {
        let Call { loss, logits, target, checked, program, .. } = call;
        let plan = program.plan();
        let place = |map: &Map| map.place(target.maps.iter().map(|(name, _)| name.as_str()));
        let maps = plan.maps().iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let logits = logits.f_detach().during("leaving the tape")?;
        let count = checked.logits.iter().product();
        let places = places(&checked.logits, limit(checked.device, count, maps.len()));
        Ok(Self { call, plan, logits, target, maps, checked, ignore: loss.ignored(), places, wide: wide(checked.device) })
    }

    fn chunk(&self, place: &Place) -> Result<Chunk, LossError> {
        Chunk::new(&self.logits, self.target, &self.maps, self.checked, self.ignore, place).during("reading logits and target")
    }

    /// `[n, K]`, or `[n, 1]` where it is the same for all classes.
    fn sum(&self, summand: &Summand, count: i64, pixels: i64) -> Result<Tensor, TchError> {
        match summand {
            Summand::Count => Tensor::f_full([count, 1], pixels as f64, (self.wide, self.checked.device)),
            Summand::Each(values) => values.f_sum_dim_intlist([2i64].as_slice(), false, self.wide),
            Summand::Own(values, index) => {
                let classes = self.checked.geometry.classes as i64;
                add_by_label(values, index, classes, lanes(self.checked.device, pixels), self.wide)
            }
        }
    }
}

impl Passes for Chunks<'_> {
    fn wide(&self) -> Kind {
        self.wide
    }

    /// On the CPU what is out of range is refused.
    fn statistics(&self) -> Result<Vec<Tensor>, LossError> {
        let plan = self.plan;
        let samples = self.checked.geometry.samples as i64;
        let zeros = |columns: i64| Tensor::f_zeros([samples, columns], (self.wide, self.checked.device));
        let mut poison = zeros(1).during("allocating sums")?;
        let columns = plan.statistics().iter().map(|statistic| plan.columns(statistic) as i64);
        let sums = columns.map(zeros).collect::<Result<Vec<_>, _>>().during("allocating sums")?;
        let add = |sums: &Tensor, place: &Place, more: &Tensor| -> Result<(), TchError> {
            sums.f_narrow(0, place.first, place.count)?.f_add_(more).map(|_| ())
        };
        let groups = groups(plan, |_| true);
        for place in &self.places {
            let chunk = self.chunk(place)?;
            let then = |i: usize, summand: Summand| {
                let summand = match plan.map(i) {
                    Some(map) => summand.times(&chunk, &chunk.maps[map]),
                    None => Ok(summand),
                };
                let more = summand.and_then(|summand| self.sum(&summand, place.count, chunk.count()));
                more.and_then(|more| add(&sums[i], place, &more)).during("summing over pixels")
            };
            for (i, statistic) in plan.statistics().iter().enumerate().filter(|(_, s)| !s.depends_on_logits()) {
                then(i, target_summand(&chunk, statistic)?)?;
            }
            for group in &groups {
                group.summands(plan, &chunk, then)?;
            }
            chunk.poison(self.wide).and_then(|more| add(&poison, place, &more)).during("summing over pixels")?;
            if self.checked.device == Device::Cpu {
                let misfits = misfits(self.target, self.checked, self.ignore, place);
                let checked = misfits.and_then(|wrong| poison.f_masked_fill_(&wrong, f64::NAN).map(|_| ()));
                checked.during("checking the target")?;
            }
        }
        // Sums of logarithms saturate instead of overflowing, as in the kernels; NaN stays.
        let largest = if self.wide == Kind::Double { LARGEST_SUM } else { f64::from(LARGEST_SUM_F32) };
        let finish = |sums: &Tensor| sums.f_clamp(-largest, largest)?.f_add(&poison);
        let statistics = sums.iter().map(finish).collect::<Result<Vec<_>, _>>().during("summing over pixels")?;
        refuse(self.call, &statistics)?;
        Ok(statistics)
    }

    fn gradient(&self, upstream: &[Option<Tensor>]) -> Result<Tensor, LossError> {
        let kind = self.checked.compute();
        let size: Vec<i64> = self.checked.logits.iter().map(|&length| length as i64).collect();
        let gradient = Tensor::f_empty(size, (kind, self.checked.device)).during("allocating a gradient")?;
        let backward = Backward::new(self.plan, upstream, kind).during("differentiating")?;
        for place in &self.places {
            let chunk = self.chunk(place)?;
            let part = backward.gradient(&chunk)?;
            let write = || -> Result<(), TchError> {
                let mut to = place.of(&gradient, false)?;
                to.f_copy_(&part.f_view(to.size().as_slice())?)
            };
            write().during("writing a gradient")?;
        }
        Ok(gradient)
    }
}

/// Sums `[n, K]` of values `[n, 1, s]` by label. Within a lane the order of addition is the
/// device's.
fn add_by_label(values: &Tensor, index: &Tensor, classes: i64, lanes: i64, wide: Kind) -> Result<Tensor, TchError> {
    let count = values.size().first().copied().unwrap_or(0);
    let shape = [count, -1, lanes];
    let values = values.f_to_kind(wide)?.f_reshape(shape)?;
    let mut sums = Tensor::f_zeros([count, classes, lanes], (wide, values.device()))?;
    sums.f_scatter_add_(1, &index.f_reshape(shape)?, &values)?.f_sum_dim_intlist([2i64].as_slice(), false, wide)
}

/// Total and parts; the total is on the tape where the logits are.
pub(crate) fn forward(call: &Call<'_>) -> Result<Evaluation<Tensor>, LossError> {
    forward_on(call, &Chunks::new(call)?)
}

/// The same with statistics and gradient of any passes.
pub(crate) fn forward_on(call: &Call<'_>, passes: &dyn Passes) -> Result<Evaluation<Tensor>, LossError> {
    let Call { logits, checked, program, inputs, .. } = call;
    let plan = program.plan();
    let edge = Edge::behind(logits)?;
    let statistics = no_grad(|| passes.statistics())?;
    let algebra = Interpreter { kind: passes.wide(), device: checked.device };

    // A tape of its own for the small arrays, from the statistics to the total.
    let leaves = || -> Result<Vec<Tensor>, TchError> {
        let leaf = |(statistic, sums): (&loss_core::Statistic, &Tensor)| {
            sums.f_set_requires_grad(edge.is_some() && statistic.depends_on_logits())
        };
        plan.statistics().iter().zip(&statistics).map(leaf).collect()
    };
    let leaves = leaves().during("starting a tape")?;
    let arrays: Vec<Shared> = leaves.iter().map(|leaf| Shared(leaf.shallow_clone())).collect();
    let run = || program.outputs(&algebra, &arrays, inputs);
    let outputs = if edge.is_some() { with_grad(run)? } else { no_grad(run)? };
    let finish = |value: &Shared| value.0.f_detach()?.f_to_kind(checked.compute())?.f_reshape([0i64; 0]);
    let mut finished = outputs.try_map(|value| finish(value).during("finishing a loss"))?;
    if let Some(edge) = edge {
        let upstream = upstream(&outputs.total.0, &leaves).during("differentiating")?;
        drop(outputs);
        let gradient = no_grad(|| passes.gradient(&upstream))?;
        finished.total = edge.attach(&finished.total, &gradient)?;
    }
    Ok(finished)
}

/// ∂total/∂statistic for each statistic; `None` where it is zero.
fn upstream(total: &Tensor, leaves: &[Tensor]) -> Result<Vec<Option<Tensor>>, TchError> {
    if !total.requires_grad() {
        return Ok(leaves.iter().map(|_| None).collect());
    }
    let wanted: Vec<&Tensor> = leaves.iter().filter(|leaf| leaf.requires_grad()).collect();
    let mut gradients = Tensor::f_run_backward(&[total], &wanted, false, false)?.into_iter();
    Ok(leaves.iter().map(|leaf| if leaf.requires_grad() { gradients.next().filter(Tensor::defined) } else { None }).collect())
}

/// On the CPU, what made a sum NaN is named.
fn refuse(call: &Call<'_>, statistics: &[Tensor]) -> Result<(), LossError> {
    let Some(first) = statistics.first().filter(|_| call.checked.device == Device::Cpu) else { return Ok(()) };
    let wrong = first.f_isnan().and_then(|nan| nan.f_any()).and_then(|any| any.f_int64_value(&[]));
    if wrong.during("checking the target")? == 0 {
        return Ok(());
    }
    validate(call.loss, call.logits, &call.target, &call.checked)
}

/// The passes by operations.
pub(crate) fn passes<'a>(call: &'a Call<'a>) -> Result<impl Passes + 'a, LossError> {
    Chunks::new(call)
}

/// Sums on the host. Waits for the device.
pub(crate) fn to_table(sums: &Tensor, rows: usize, columns: usize) -> Result<Table, LossError> {
    let values = sums.f_reshape([-1]).and_then(|sums| sums.f_to_device_(Device::Cpu, Kind::Double, false, false));
    let values = values.and_then(|values| Vec::<f64>::try_from(&values)).during("reading sums back")?;
    Table::new(rows, columns, values)
}

#[cfg(test)]
mod tests {
    use loss_core::{Detail, Loss};

    use super::*;
    use crate::TchLoss;
    use crate::loss::facts;
    use crate::readback::OnDevice;

    #[test]
    fn chunks_and_sums_are_what_the_device_is_good_at() {
        let cuda = Device::Cuda(0);
        let limits = [(Device::Cpu, 1 << 30, 8), (cuda, 1 << 30, 0), (cuda, 1 << 30, 8), (cuda, 1 << 10, 0)];
        let limits = limits.map(|(device, logits, maps)| limit(device, logits, maps));
        assert_eq!(limits, [1 << 17, 1 << 27, 1 << 26, 1 << 20]);
        assert_eq!([Device::Cpu, Device::Cuda(0), Device::Mps].map(wide), [Kind::Double, Kind::Double, Kind::Float]);
    }

    #[test]
    fn sums_that_are_read_back_are_the_kernels() {
        let loss: Loss = "ce + dice + l1".parse().unwrap();
        let logits = (Tensor::arange(24, (Kind::Double, Device::Cpu)) * 0.7).sin().reshape([2, 3, 4]);
        let target = TchTarget::labels(&Tensor::arange(8, (Kind::Int64, Device::Cpu)).remainder(3).reshape([2, 4]));
        let evaluation = loss.evaluate(&logits, &target).unwrap();
        let checked = Checked::new(&logits, &target, loss.activation()).unwrap();
        let call = Call::new(&loss, &logits, &target, checked, Detail::Parts).unwrap();
        let facts = facts(&loss, &target, &call.checked).unwrap();
        let read = call.evaluate_on(&OnDevice(&passes(&call).unwrap()), facts).unwrap();
        assert!((read.total - evaluation.total).abs() < 1e-12, "{}, not {}", read.total, evaluation.total);
        let (read, own) = (read.pressure.unwrap(), evaluation.pressure.unwrap());
        for (read, own) in read.terms.iter().flatten().zip(own.terms.iter().flatten()) {
            assert!((read - own).abs() < 1e-12, "{read}, not {own}");
        }
    }

    #[test]
    fn sums_by_label_are_the_same_in_any_number_of_lanes() {
        let values = Tensor::arange(2 * 48, (Kind::Float, Device::Cpu)).reshape([2, 1, 48]);
        let index = Tensor::arange(2 * 48, (Kind::Int64, Device::Cpu)).remainder(5).reshape([2, 1, 48]);
        let want = add_by_label(&values, &index, 5, 1, Kind::Double).unwrap();
        assert_eq!(want.double_value(&[0, 2]), (2..48).step_by(5).sum::<usize>() as f64);
        assert_eq!((lanes(Device::Cuda(0), 48), lanes(Device::Cuda(0), 1 << 20), lanes(Device::Cpu, 48)), (16, 256, 1));
        for lanes in [2, 8, 16] {
            assert_eq!(add_by_label(&values, &index, 5, lanes, Kind::Double).unwrap(), want);
        }
    }
}
