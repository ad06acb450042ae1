//! Functions that are taken from Burn where it has them to the last bits, and from forms of our own
//! where it has not: on wgpu.

use burn::tensor::{Tensor, activation};

use crate::device::is_wgpu;

/// x^c for x > 0.
pub(crate) fn power<const D: usize>(x: Tensor<D>, exponent: f64) -> Tensor<D> {
    if is_wgpu(&x.device()) && on_wgpu::is_of_halves(exponent) { on_wgpu::power(x, exponent) } else { x.powf_scalar(exponent) }
}

/// e^x − 1 without cancellation near 0.
pub(crate) fn exp_m1<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    // From tanh, which shading languages take from a difference themselves.
    if is_wgpu(&x.device()) { on_wgpu::exp_m1(x) } else { (x.clone() * 0.5).tanh() * (x.exp() + 1.0) }
}

/// log(1 + x) for x ≥ 0.
pub(crate) fn ln_1p<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if is_wgpu(&x.device()) { on_wgpu::ln_1p(x) } else { x.log1p() }
}

/// log σ(x)
pub(crate) fn log_sigmoid<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if is_wgpu(&x.device()) { on_wgpu::log_sigmoid(x) } else { activation::log_sigmoid(x) }
}

/// The forms, of what shading languages have: they run on any device.
mod on_wgpu {
    use burn::tensor::{Tensor, activation};

    /// Whether an exponent is a small number of halves, as nearly all are.
    pub(super) fn is_of_halves(exponent: f64) -> bool {
        let halves = 2.0 * exponent;
        halves.fract() == 0.0 && (1.0..=16.0).contains(&halves)
    }

    /// By products and a square root: shading languages take powers from an exponential and a
    /// logarithm.
    pub(super) fn power<const D: usize>(x: Tensor<D>, exponent: f64) -> Tensor<D> {
        let at = x.clone().detach();
        let first = if exponent.fract() == 0.0 { at.ones_like() } else { at.clone().sqrt() };
        let value = (0..exponent as usize).fold(first, |product, _| product * at.clone());
        let slope = value.clone() / at.clone() * exponent;
        with_slope(x, at, value, slope)
    }

    pub(super) fn exp_m1<const D: usize>(x: Tensor<D>) -> Tensor<D> {
        let at = x.clone().detach();
        let power = at.clone().exp();
        // Taylor's series to x⁹/9!, which below ½ leaves 3e-10.
        let series = (2..=9).rev().fold(at.ones_like(), |tail, n| tail * at.clone() / f64::from(n) + 1.0);
        let value = (series * at.clone()).mask_where(at.clone().abs().greater_elem(0.5), power.clone() - 1.0);
        with_slope(x, at, value, power)
    }

    /// Burn's own is the logarithm of the rounded 1 + x there.
    pub(super) fn ln_1p<const D: usize>(x: Tensor<D>) -> Tensor<D> {
        let at = x.clone().detach();
        let sum = at.clone() + 1.0;
        // log(1 + x) = 2·artanh(y), y = x/(2 + x): below ½ the series to y¹¹ leaves 3e-10.
        let y = at.clone() / (at.clone() + 2.0);
        let square = y.clone() * y.clone();
        let series = [9.0, 7.0, 5.0, 3.0].iter().fold(square.clone() / 11.0, |tail, odd| (tail + 1.0 / odd) * square.clone());
        let value = ((series + 1.0) * y * 2.0).mask_where(at.clone().greater_elem(0.5), sum.clone().log());
        with_slope(x, at, value, sum.recip())
    }

    /// log σ(x) = min(x, 0) − log(1 + e^−|x|).
    pub(super) fn log_sigmoid<const D: usize>(x: Tensor<D>) -> Tensor<D> {
        let at = x.clone().detach();
        let value = at.clone().clamp_max(0.0) - ln_1p((-at.clone().abs()).exp());
        let slope = activation::sigmoid(-at.clone());
        with_slope(x, at, value, slope)
    }

    /// `value`, which is f at `at`, the detached `x`, with f' for Burn's autodiff.
    fn with_slope<const D: usize>(x: Tensor<D>, at: Tensor<D>, value: Tensor<D>, slope: Tensor<D>) -> Tensor<D> {
        value + (x - at) * slope
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, TensorData};

    use super::*;

    /// Value and slope at numbers of both sides of every limit, in `f64`, where only the forms' own
    /// error is left.
    fn check(name: &str, f: impl Fn(Tensor<1>) -> Tensor<1>, inputs: &[f64], exact: impl Fn(f64) -> [f64; 2]) {
        let data = TensorData::new(inputs.to_vec(), [inputs.len()]);
        let x = Tensor::<1>::from_data(data, (&Device::flex().autodiff(), DType::F64)).require_grad();
        let value = f(x.clone());
        let gradients = value.clone().sum().backward();
        let slope: Vec<f64> = x.grad(&gradients).unwrap().try_into_vec_as().unwrap();
        let value: Vec<f64> = value.try_into_vec_as().unwrap();
        for (&x, got) in inputs.iter().zip(value.into_iter().zip(slope)) {
            for ((got, want), bound) in [got.0, got.1].into_iter().zip(exact(x)).zip([1e-9, 1e-12]) {
                assert!((got - want).abs() <= bound * want.abs(), "{name} of {x}: {got}, not {want}");
            }
        }
    }

    #[test]
    fn forms_have_the_values_and_slopes_of_their_functions() {
        let small = [1e-30, 1e-12, 1e-6, 1e-3, 0.1, 0.25, 0.45, 0.4999, 0.5, 0.5001, 0.75, 1.0, 3.0, 20.0, 80.0];
        let both: Vec<f64> = small.iter().flat_map(|x| [*x, -x]).chain([0.0]).collect();
        check("log(1 + x)", on_wgpu::ln_1p, &small, |x| [x.ln_1p(), 1.0 / (1.0 + x)]);
        check("e^x - 1", on_wgpu::exp_m1, &both, |x| [x.exp_m1(), x.exp()]);
        let sigmoid = |x: f64| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) };
        check("log sigmoid", on_wgpu::log_sigmoid, &both, |x| [x.min(0.0) - (-x.abs()).exp().ln_1p(), sigmoid(-x)]);
        for exponent in [0.5, 1.0, 1.5, 2.0, 3.5, 8.0] {
            assert!(on_wgpu::is_of_halves(exponent));
            let exact = |x: f64| [x.powf(exponent), exponent * x.powf(exponent - 1.0)];
            check(&format!("x^{exponent}"), |x| on_wgpu::power(x, exponent), &small, exact);
        }
        assert!([0.25, 0.0, -1.0, 8.5, 0.3].iter().all(|&exponent| !on_wgpu::is_of_halves(exponent)));
    }

    #[test]
    fn what_is_asked_for_is_the_function() {
        let small = [1e-12, 0.1, 1.0, 3.0, 20.0];
        check("log(1 + x)", ln_1p, &small, |x| [x.ln_1p(), 1.0 / (1.0 + x)]);
        check("e^x - 1", exp_m1, &[-3.0, -1e-9, 0.5], |x| [x.exp_m1(), x.exp()]);
        check("log sigmoid", log_sigmoid, &[-3.0, 0.5], |x| [-(-x).exp().ln_1p(), 1.0 / (1.0 + x.exp())]);
        check("x^0.3", |x| power(x, 0.3), &small, |x| [x.powf(0.3), 0.3 * x.powf(-0.7)]);
    }
}
