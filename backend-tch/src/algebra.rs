//! Expressions interpreted with tensors, where the tensors are: nothing is read back, nothing
//! waits.

use loss_core::LossError;
use loss_core::expr::{Algebra, Op, Table};
use tch::{Device, Kind, TchError, Tensor};

use crate::error::During;

/// The algebra of regions `[N, K]`, and of pixels `[N, K, S]` inside pixel functions.
pub(crate) struct Interpreter {
    pub(crate) kind: Kind,
    pub(crate) device: Device,
}

/// Tables up to this size are put together from fills.
const FILLED: usize = 256;

/// How a table is brought to a device. Fills are launched like any operation; a copy from the host
/// may wait.
#[derive(Debug, PartialEq)]
enum Making {
    /// One value everywhere.
    Fill(f64),
    /// A fill for each value.
    Fills,
    Copy,
}

impl Making {
    fn of(values: &[f64]) -> Self {
        match values {
            [first, rest @ ..] if rest.iter().all(|value| value.to_bits() == first.to_bits()) => Self::Fill(*first),
            _ if values.len() > FILLED => Self::Copy,
            _ => Self::Fills,
        }
    }
}

impl Interpreter {
    fn number(&self, rows: usize, columns: usize, value: f64) -> Result<Tensor, TchError> {
        Tensor::f_full([rows as i64, columns as i64], value, (self.kind, self.device))
    }

    fn table(&self, table: &Table) -> Result<Tensor, TchError> {
        let (rows, columns, values) = (table.rows(), table.columns(), table.values());
        match Making::of(values) {
            Making::Fill(value) => self.number(rows, columns, value),
            Making::Fills => {
                let parts = values.iter().map(|&value| self.number(1, 1, value)).collect::<Result<Vec<_>, _>>()?;
                Tensor::f_cat(&parts, 1)?.f_reshape([rows as i64, columns as i64])
            }
            Making::Copy => {
                let tensor = Tensor::f_from_slice(values)?.f_reshape([rows as i64, columns as i64])?;
                tensor.f_to_device_(self.device, self.kind, true, false)
            }
        }
    }

    fn interpret(&self, op: Op, x: &Tensor, y: Option<&Tensor>) -> Result<Option<Tensor>, TchError> {
        let out = match (op, y) {
            (Op::Neg, _) => x.f_neg()?,
            (Op::Abs, _) => x.f_abs()?,
            (Op::Sign, _) => x.f_sign()?,
            (Op::Exp, _) => x.f_exp()?,
            (Op::ExpM1, _) => x.f_expm1()?,
            (Op::Ln, _) => x.f_log()?,
            (Op::Powf(_), _) => match op.exponent() {
                Some(2.0) => x.f_mul(x)?,
                Some(exponent) => power_from_zero(x, &self.number(1, 1, 1e-30)?, exponent)?,
                None => return Ok(None),
            },
            (Op::Add, Some(y)) => x.f_add(y)?,
            (Op::Sub, Some(y)) => x.f_sub(y)?,
            (Op::Mul, Some(y)) => x.f_mul(y)?,
            (Op::Div, Some(y)) => x.f_div(y)?,
            (Op::Max, Some(y)) => at_least(x, y)?,
            (Op::Greater, Some(y)) => x.f_gt_tensor(y)?.f_to_kind(self.kind)?,
            (Op::SumSamples, _) => x.f_sum_dim_intlist([0i64].as_slice(), true, self.kind)?,
            (Op::SumClasses, _) => x.f_sum_dim_intlist([1i64].as_slice(), true, self.kind)?,
            _ => return Ok(None),
        };
        Ok(Some(out))
    }
}

/// x^c for x ≥ 0, with the value of the host at 0 and the slope of `Expr::powf`: c·max(x,
/// 1e-30)^(c−1).
fn power_from_zero(x: &Tensor, tiny: &Tensor, exponent: f64) -> Result<Tensor, TchError> {
    let at = x.f_detach()?;
    // By half of it: the floor itself, as any type rounds it, is no zero.
    let low = at.f_lt(0.5e-30)?;
    let floored = tiny.f_where_self(&low, &at)?;
    let value = floored.f_pow_tensor_scalar(exponent)?;
    // Finite, so that times the difference, which is 0, it is 0.
    let largest = if x.f_kind()? == Kind::Double { f64::MAX } else { f64::from(f32::MAX) };
    let slope = value.f_div(&floored)?.f_mul_scalar(exponent)?.f_clamp(-largest, largest)?;
    value.f_masked_fill(&low, 0f64.powf(exponent))?.f_add(&x.f_sub(&at)?.f_mul(&slope)?)
}

/// max(x, y) that keeps a NaN in x, the only sign of a non-finite logit on a device; where they are
/// equal the gradient is y's.
fn at_least(x: &Tensor, y: &Tensor) -> Result<Tensor, TchError> {
    y.f_where_self(&x.f_le_tensor(y)?, x)
}

impl Algebra for Interpreter {
    type Array = Shared;

    fn constant(&self, table: &Table) -> Result<Shared, LossError> {
        self.table(table).map(Shared).during("making a constant")
    }

    fn apply(&self, op: Op, arguments: &[&Shared]) -> Result<Shared, LossError> {
        let (x, y) = (arguments.first(), arguments.get(1));
        let out = x.map(|x| self.interpret(op, &x.0, y.map(|y| &y.0))).transpose().during("interpreting a loss")?;
        out.flatten().map(Shared).ok_or_else(|| LossError::Unsupported {
            what: "operation",
            got: format!("{op:?}"),
            expected: "one of the operations known to this version",
        })
    }
}

/// A tensor whose clones share it, as an algebra's arrays are cloned.
#[derive(Debug)]
pub(crate) struct Shared(pub(crate) Tensor);

impl Clone for Shared {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_the_hosts() {
        let read = |array: Shared| {
            let [rows, columns] = <[i64; 2]>::try_from(array.0.size()).unwrap();
            Table::new(rows as usize, columns as usize, Vec::try_from(array.0.reshape([-1])).unwrap())
        };
        conformance_tests::laws::check_algebra(&Interpreter { kind: Kind::Double, device: Device::Cpu }, read).unwrap();
    }

    #[test]
    fn only_large_tables_are_copied() {
        let different: Vec<f64> = (0..257).map(f64::from).collect();
        assert_eq!(Making::of(&[0.5; 1000]), Making::Fill(0.5));
        assert_eq!(Making::of(&different[..256]), Making::Fills);
        assert_eq!(Making::of(&different), Making::Copy);
    }

    #[test]
    fn tables_arrive_as_they_are_however_they_are_made() {
        let interpreter = Interpreter { kind: Kind::Double, device: Device::Cpu };
        for (rows, columns) in [(1, 1), (1, 3), (4, 3), (20, 30)] {
            let count = rows * columns;
            for values in [vec![0.5; count], (0..count).map(|i| i as f64 - 1.5).collect()] {
                let tensor = interpreter.constant(&Table::new(rows, columns, values.clone()).unwrap()).unwrap().0;
                assert_eq!(tensor.size(), [rows as i64, columns as i64]);
                assert_eq!(Vec::<f64>::try_from(tensor.reshape([-1])).unwrap(), values);
            }
        }
    }
}
