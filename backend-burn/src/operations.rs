//! Statistics and algebra of ordinary Burn operations: any device, any autodiff, no host
//! synchronisation.

use burn::tensor::activation::sigmoid;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use loss_core::backend::{Algebra, LARGEST_SUM, LARGEST_SUM_F32, Op, Table};
use loss_core::{Activation, LossError, Map, Over, Plan, Probability, Quantity, Side, Statistic, Temperature};

use crate::BurnTarget;
use crate::device::wide;
use crate::forms::{exp_m1, ln_1p, log_sigmoid, power};
use crate::host::read_error;
use crate::target::Values;

/// Interprets expressions with tensors of rank `D`: 2 for regions `[N, K]`, 3 for pixels
/// `[N, K, S]`.
pub(crate) struct Interpreter<const D: usize> {
    device: Device,
    dtype: DType,
}

/// The algebra of regions.
pub(crate) type Operations = Interpreter<2>;

impl Operations {
    pub(crate) fn for_logits<const D: usize>(logits: &Tensor<D>) -> Self {
        let device = logits.device();
        Self { dtype: wide(&device), device }
    }
}

impl<const D: usize> Algebra for Interpreter<D> {
    type Array = Tensor<D>;

    fn constant(&self, table: &Table) -> Result<Tensor<D>, LossError> {
        // Leading axes of length one make a table of any rank; only scalars occur beyond rank 2.
        let mut shape = vec![1; D];
        if let [.., rows, columns] = shape.as_mut_slice() {
            (*rows, *columns) = (table.rows(), table.columns());
        }
        let data = TensorData::new(table.values().to_vec(), shape);
        Ok(Tensor::from_data(data, (&self.device, self.dtype)))
    }

    fn apply(&self, op: Op, arguments: &[&Tensor<D>]) -> Result<Tensor<D>, LossError> {
        let unsupported = || LossError::Unsupported {
            what: "operation",
            got: format!("{op:?}"),
            expected: "one of the operations known to this version",
        };
        let x = arguments.first().map(|&x| x.clone()).ok_or_else(unsupported)?;
        let y = || arguments.get(1).map(|&y| y.clone()).ok_or_else(unsupported);
        Ok(match op {
            Op::Neg => -x,
            Op::Abs => x.abs(),
            Op::Sign => x.sign(),
            Op::Exp => x.exp(),
            Op::ExpM1 => exp_m1(x),
            Op::Ln => x.log(),
            Op::Powf(_) => match op.exponent() {
                Some(2.0) => x.clone() * x,
                Some(exponent) => power_from_zero(x, self.constant(&Table::scalar(TINY))?, exponent),
                None => return Err(unsupported()),
            },
            Op::Add => x + y()?,
            Op::Sub => x - y()?,
            Op::Mul => x * y()?,
            Op::Div => x / y()?,
            Op::Max => at_least(x, y()?),
            Op::Greater => {
                let (x, y) = same_shape(x, y()?);
                x.greater(y).float().cast(self.dtype)
            }
            Op::SumSamples => x.sum_dim(0),
            Op::SumClasses => x.sum_dim(1),
            _ => return Err(unsupported()),
        })
    }
}

/// Where `Expr::powf` ends its slope.
const TINY: f64 = 1e-30;

/// x^c for x ≥ 0, with the value of the host at 0 and the slope of `Expr::powf`: c·max(x,
/// 1e-30)^(c−1).
fn power_from_zero<const D: usize>(x: Tensor<D>, tiny: Tensor<D>, exponent: f64) -> Tensor<D> {
    let (at, tiny) = same_shape(x.clone().detach(), tiny);
    // By half of it: the floor itself, as any type rounds it, is no zero.
    let low = at.clone().lower_elem(0.5 * TINY);
    let floored = at.clone().mask_where(low.clone(), tiny);
    let value = power(floored.clone(), exponent);
    let slope = value.clone() / floored * exponent;
    value.mask_fill(low, 0f64.powf(exponent)) + (x - at) * slope
}

fn same_shape<const D: usize>(x: Tensor<D>, y: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
    let (mut shape, other) = (x.dims(), y.dims());
    shape.iter_mut().zip(other).for_each(|(length, other)| *length = (*length).max(other));
    (x.expand(shape), y.expand(shape))
}

/// max(x, y) that keeps a NaN in x, the only sign of a non-finite logit on a device.
fn at_least<const D: usize>(x: Tensor<D>, y: Tensor<D>) -> Tensor<D> {
    let (x, y) = same_shape(x, y);
    let lower = x.clone().lower_equal(y.clone());
    x.mask_where(lower, y)
}

/// Labels in a type with a sign. One that is too large for it becomes a label that is neither a
/// class nor ignored, and no other number.
fn integers(labels: Tensor<2, Int>, int: DType, ignore: &[i64]) -> Tensor<2, Int> {
    let may_wrap = labels.dtype() == DType::U64 || (labels.dtype() == DType::U32 && int == DType::I32);
    let labels = labels.cast(int);
    if !may_wrap {
        return labels;
    }
    let nothing = (i64::from(i32::MIN)..0).find(|label| !ignore.contains(label)).unwrap_or(-1);
    let wrapped = labels.clone().lower_elem(0);
    labels.mask_fill(wrapped, nothing)
}

/// Logits and target, ready to be summed.
struct Pixels {
    /// `[N, K, S]`, 0 at pixels that are not valid.
    logits: Tensor<3>,
    /// y, `[N, K, S]`
    target: Tensor<3>,
    /// w, `[N, 1, S]`; 0 at pixels that are not valid.
    weight: Tensor<3>,
    /// The plan's maps, `[N, K, S]` or `[N, 1, S]`; 0 at pixels that are not valid.
    maps: Vec<Tensor<3>>,
    /// Type that sums are kept in.
    wide: DType,
}

impl Pixels {
    fn new(logits: &Tensor<3>, target: &BurnTarget, plan: &Plan, ignore: &[i64]) -> Result<Self, LossError> {
        let device = logits.device();
        let [samples, classes, pixels] = logits.dims();
        let compute = crate::device::result_type(logits.dtype());
        let mut weight: Tensor<3> = match &target.weights {
            Some(weights) => weights.clone().cast(compute).unsqueeze_dim(1),
            None => Tensor::ones([samples, 1, pixels], (&device, compute)),
        };
        let shares = match &target.values {
            Values::Labels(labels) => {
                // Wide enough for every label that can be ignored.
                let int = if device.supports_dtype(DType::I64) { DType::I64 } else { DType::I32 };
                let labels: Tensor<3, Int> = integers(labels.clone(), int, ignore).unsqueeze_dim(1);
                for &label in ignore {
                    weight = weight.mask_fill(labels.clone().equal_elem(label), 0.0);
                }
                let first = i64::from(classes == 1);
                let range = Tensor::<1, Int>::arange(first..first + classes as i64, (&device, int));
                let range: Tensor<3, Int> = range.reshape([1, classes, 1]).expand([samples, classes, pixels]);
                labels.expand([samples, classes, pixels]).equal(range).float().cast(compute)
            }
            Values::OneHot(one_hot) => one_hot.clone().float().cast(compute),
            // Beyond what rounding does, `validate` says so.
            Values::Soft(shares) => shares.clone().cast(compute).clamp(0.0, 1.0),
        };
        let unweighted = weight.clone().equal_elem(0.0);
        let invalid = unweighted.clone().expand([samples, classes, pixels]);
        let map = |map: &Map| {
            let values = target.map_of(map)?.clone();
            let shape = values.dims();
            let values = values.cast(compute).mask_fill(unweighted.clone().expand(shape), 0.0);
            // NaN where a factor is not finite.
            Ok(values.clone() + values * 0.0)
        };
        let maps = plan.maps().iter().map(map).collect::<Result<_, LossError>>()?;
        // Filled, not multiplied: an ignored pixel may hold NaN.
        let logits = logits.clone().cast(compute).mask_fill(invalid.clone(), 0.0);
        // Every sum at a pixel with a logit that is not finite becomes NaN: there is no other sign
        // of it on a device.
        weight = weight + (logits.clone().detach() * 0.0).sum_dim(1);
        Ok(Self { logits, target: shares.mask_fill(invalid, 0.0), weight, maps, wide: wide(&device) })
    }

    /// The share of the valid pixels that are given to a class: where its logit is the largest, the
    /// first of several, or under sigmoid above 0. Waits for the device.
    fn decided(&self, activation: Activation, class: usize) -> Result<f64, LossError> {
        let given = match activation {
            Activation::Softmax => self.logits.clone().argmax(1).equal_elem(class as i64),
            Activation::Sigmoid => self.logits.clone().narrow(1, class, 1).greater_elem(0.0),
        };
        let all = Tensor::cat(vec![self.weight.clone().mask_fill(given.bool_not(), 0.0), self.weight.clone()], 1);
        match to_table(self.sum(all).sum_dim(0))?.values() {
            &[decided, valid] if valid > 0.0 => Ok(decided / valid),
            _ => Ok(0.0),
        }
    }

    fn sum(&self, values: Tensor<3>) -> Tensor<2> {
        sum_of_pixels(values, self.wide)
    }

    /// Sum of logarithms, saturated where it would overflow; its gradient is that of the plain sum.
    fn sum_logarithms(&self, values: Tensor<3>) -> Tensor<2> {
        // A power of two: exact, also where Burn's autodiff takes the reciprocal of a scalar in
        // single precision.
        let count = values.dims()[2].next_power_of_two() as f64;
        let limit = if self.wide == DType::F64 { LARGEST_SUM } else { f64::from(LARGEST_SUM_F32) } / count;
        // The mean cannot overflow where the values do not.
        let mean = self.sum(values / count);
        let beyond = mean.clone().detach().clamp(-limit, limit) - mean.clone().detach();
        (mean + beyond) * count
    }

    /// τ·(z − max_k z), whose exponentials cannot overflow, and the sum of those but for the
    /// largest's own, which is 1: kept apart, a rest far below 1 loses nothing. The largest's own
    /// difference is a constant, so that its gradient is made of the others'.
    fn shifted(&self, temperature: Temperature) -> (Tensor<3>, Tensor<3>) {
        let [samples, classes, pixels] = self.logits.dims();
        let top = self.logits.clone().detach().argmax(1);
        // The difference first: τ·z may overflow.
        let shifted = (self.logits.clone() - self.logits.clone().gather(1, top.clone())) * temperature.value();
        let range = Tensor::<1, Int>::arange(0..classes as i64, (&top.device(), top.dtype()));
        let range: Tensor<3, Int> = range.reshape([1, classes, 1]).expand([samples, classes, pixels]);
        let is_top = range.equal(top.expand([samples, classes, pixels]));
        let shifted = shifted.mask_fill(is_top.clone(), 0.0);
        let rest = shifted.clone().exp().mask_fill(is_top, 0.0).sum_dim(1);
        (shifted, rest)
    }

    fn probability(&self, Probability { activation, temperature, side }: Probability) -> Tensor<3> {
        match activation {
            Activation::Softmax => {
                let (shifted, rest) = self.shifted(temperature);
                shifted.exp() / (rest + 1.0)
            }
            // 1 − σ(x) = σ(−x), without cancelling.
            Activation::Sigmoid if side == Side::Background => sigmoid(self.logits.clone() * -temperature.value()),
            Activation::Sigmoid => sigmoid(self.logits.clone() * temperature.value()),
        }
    }

    fn logarithm(&self, activation: Activation, side: Side) -> Tensor<3> {
        match (activation, side) {
            (Activation::Softmax, _) => {
                let (shifted, rest) = self.shifted(Temperature::ONE);
                shifted - ln_1p(rest)
            }
            (Activation::Sigmoid, Side::Region) => log_sigmoid(self.logits.clone()),
            (Activation::Sigmoid, Side::Background) => log_sigmoid(-self.logits.clone()),
        }
    }

    /// What every pixel and class counts for: w, w·y or w·(1 − y).
    fn factor(&self, over: Over) -> Tensor<3> {
        match over {
            Over::Valid => self.weight.clone(),
            Over::Region => self.weight.clone() * self.target.clone(),
            Over::Background => self.weight.clone() * (1.0 - self.target.clone()),
        }
    }

    fn statistic(&self, statistic: &Statistic, map: Option<usize>) -> Result<Tensor<2>, LossError> {
        let factor = self.factor(statistic.over);
        let factor = match map {
            Some(map) => {
                let shape = self.target.dims();
                factor.expand(shape) * self.maps[map].clone().expand(shape)
            }
            None => factor,
        };
        let values = match &statistic.of {
            Quantity::One => factor,
            Quantity::Target => factor * self.target.clone(),
            Quantity::Mass(p) => factor * self.probability(*p),
            Quantity::SquaredMass(a) => {
                let p = self.probability(Probability::new(*a, Temperature::ONE, Side::Region));
                factor * p.clone() * p
            }
            Quantity::Log(a, side) => factor * self.logarithm(*a, *side),
            Quantity::Function(a, side, function) => {
                let log = self.logarithm(*a, *side);
                let pixels = Interpreter::<3> { device: log.device(), dtype: log.dtype() };
                factor * function.apply(&pixels, &log)?
            }
        };
        Ok(if statistic.of.is_logarithmic() { self.sum_logarithms(values) } else { self.sum(values) })
    }
}

/// The statistics of a plan, each `[N, K]` or `[N, 1]`, of logits `[N, K, S]`.
pub(crate) fn statistics(
    logits: &Tensor<3>,
    target: &BurnTarget,
    plan: &Plan,
    ignore: &[i64],
) -> Result<Vec<Tensor<2>>, LossError> {
    let pixels = Pixels::new(logits, target, plan, ignore)?;
    plan.statistics().iter().enumerate().map(|(i, statistic)| pixels.statistic(statistic, plan.map(i))).collect()
}

/// The share of the valid pixels of logits `[N, K, S]` that are given to a class. Waits for the
/// device.
pub(crate) fn decided(
    logits: &Tensor<3>,
    target: &BurnTarget,
    ignore: &[i64],
    activation: Activation,
    class: usize,
) -> Result<f64, LossError> {
    let no_maps = Plan::new(logits.dims()[1], [])?;
    Pixels::new(logits, target, &no_maps, ignore)?.decided(activation, class)
}

/// Sums over the last axis of `[N, K, S]`, kept in a type.
pub(crate) fn sum_of_pixels(values: Tensor<3>, wide: DType) -> Tensor<2> {
    let [samples, classes, _] = values.dims();
    values.cast(wide).sum_dim(2).reshape([samples, classes])
}

/// Brings an array to the host. Waits for the device.
pub(crate) fn to_table(array: Tensor<2>) -> Result<Table, LossError> {
    let [rows, columns] = array.dims();
    Table::new(rows, columns, array.try_into_vec_as::<f64>().map_err(read_error)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_the_hosts() {
        let algebra = Operations { device: Device::flex(), dtype: DType::F64 };
        conformance_tests::laws::check_algebra(&algebra, to_table).unwrap();
    }

    #[test]
    fn a_power_has_a_finite_slope_at_zero() {
        let device = Device::flex().autodiff();
        let algebra = Operations { device: device.clone(), dtype: DType::F64 };
        let x = Tensor::<2>::from_data(TensorData::from([[0.0, 0.25]]), (&device, DType::F64)).require_grad();
        let root = algebra.apply(Op::Powf(0.5f64.to_bits()), &[&x]).unwrap();
        let slope = x.grad(&root.clone().sum().backward()).unwrap();
        assert_eq!(to_table(root).unwrap().values(), [0.0, 0.5]);
        let [at_zero, beyond] = to_table(slope).unwrap().values().try_into().unwrap();
        assert!((at_zero / (0.5 * TINY.powf(-0.5)) - 1.0f64).abs() < 1e-12 && (beyond - 1.0f64).abs() < 1e-12);
    }
}
