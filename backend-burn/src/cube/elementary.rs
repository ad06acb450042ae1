//! Exponentials and logarithms to within about two units in the last place on any device: shading
//! languages promise far less.

use burn_cubecl::cubecl::{self, prelude::*};

// ln 2 in two parts, the first exact when multiplied by an exponent.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// A number that compilers know nothing of. They may reorder additions where they see them, and
/// would find that what a sum has lost is 0; kernels are launched over two dimensions, but no
/// compiler knows that.
#[cube]
pub(super) fn opaque(x: f32) -> f32 {
    f32::reinterpret(u32::reinterpret(x) ^ (CUBE_COUNT_Z - 1u32))
}

/// n with x = n·ln 2 + r and |r| ≤ ln 2 / 2.
#[cube]
fn whole(x: f32) -> f32 {
    (x * std::f32::consts::LOG2_E + 0.5f32).floor()
}

/// e^r − 1 for the r that is left, by Taylor's series to r⁷/7!: its remainder is below 2e-9
/// there.
#[cube]
fn rest(x: f32, n: f32) -> f32 {
    let r = opaque(x - n * LN2_HIGH) - n * LN2_LOW;
    let p = f32::new(1.0 / 5040.0);
    let p = p * r + 1.0f32 / 720.0f32;
    let p = p * r + 1.0f32 / 120.0f32;
    let p = p * r + 1.0f32 / 24.0f32;
    let p = p * r + 1.0f32 / 6.0f32;
    let p = p * r + 0.5f32;
    (p * r) * r + r
}

/// 2^n, made of its bits.
#[cube]
fn power_of_two(n: f32) -> f32 {
    f32::reinterpret(u32::cast_from(i32::cast_from(n) + 127) << 23)
}

/// x where e^x is neither 0 nor infinite, else a bound beyond; NaN stays.
#[cube]
fn bounded(x: f32) -> f32 {
    let x = select(x < -104.0f32, -104.0f32, x);
    select(x > 89.0f32, 89.0f32, x)
}

/// e^x
#[cube]
pub(super) fn exp(x: f32) -> f32 {
    let x = bounded(x);
    let n = whole(x);
    // In two halves: 2^n itself may be no normal number.
    let half = (n * 0.5f32).floor();
    (rest(x, n) + 1.0f32) * power_of_two(half) * power_of_two(n - half)
}

/// e^x − 1, without cancelling near 0.
#[cube]
pub(super) fn exp_m1(x: f32) -> f32 {
    let x = bounded(x);
    let n = whole(x);
    let half = (n * 0.5f32).floor();
    let (low, high) = (power_of_two(half), power_of_two(n - half));
    let r = rest(x, n);
    // Far above 1 the 1 is lost anyway, and 2^n may be infinite.
    let power = low * high;
    select(n > 30.0f32, (r + 1.0f32) * low * high, r * power + (power - 1.0f32))
}

/// ln x of a positive normal number, as Cephes computes it; the device's own for any other.
#[cube]
pub(super) fn ln(x: f32) -> f32 {
    let bits = u32::reinterpret(x);
    let mantissa = f32::reinterpret((bits & 0x007f_ffffu32) | 0x3f00_0000u32);
    let exponent = f32::cast_from(i32::cast_from(bits >> 23u32) - 126);
    let low = mantissa < std::f32::consts::FRAC_1_SQRT_2;
    let exponent = select(low, exponent - 1.0f32, exponent);
    let r = select(low, mantissa + mantissa - 1.0f32, mantissa - 1.0f32);
    let square = r * r;
    let p = f32::new(7.037_683_6e-2);
    let p = p * r - 1.151_461e-1f32;
    let p = p * r + 1.167_699_9e-1f32;
    let p = p * r - 1.242_014_1e-1f32;
    let p = p * r + 1.424_932_3e-1f32;
    let p = p * r - 1.666_805_8e-1f32;
    let p = p * r + 2.000_071_5e-1f32;
    let p = p * r - 2.499_999_4e-1f32;
    let p = p * r + 3.333_333e-1f32;
    let y = r * square * p + exponent * LN2_LOW - 0.5f32 * square;
    let careful = opaque(r + y) + exponent * LN2_HIGH;
    let normal = x >= f32::MIN_POSITIVE && x <= f32::MAX;
    if normal { careful } else { x.ln() }
}

/// ln(1 + x) for x ≥ 0, without losing an x far below 1.
#[cube]
pub(super) fn ln_1p(x: f32) -> f32 {
    let sum = opaque(1.0f32 + x);
    // What the sum has lost, to first order.
    ln(sum) + (x - opaque(sum - 1.0f32)) / sum
}

/// `1/(1 + e^−x)`, from the side that does not overflow.
#[cube]
pub(super) fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    let small = 1.0f32 / (1.0f32 + e);
    select(x >= 0.0f32, small, e * small)
}

/// `log(1/(1 + e^−x))` = min(x, 0) − log(1 + e^−|x|).
#[cube]
pub(super) fn log_sigmoid(x: f32) -> f32 {
    select(x < 0.0f32, x, 0.0f32) - ln_1p(exp(-x.abs()))
}

/// x^c for x ≥ 0. Halves of small whole numbers, which nearly all exponents are, need no
/// logarithm.
#[cube]
pub(super) fn power(x: f32, #[comptime] exponent: u64) -> f32 {
    let c = comptime!(f64::from_bits(exponent));
    let halves = comptime!((2.0 * c).abs());
    if comptime!(halves.fract() == 0.0 && halves <= 16.0) {
        let mut product = f32::new(1.0);
        #[unroll]
        for _i in 0..comptime!(halves as usize / 2) {
            product *= x;
        }
        if comptime!(halves as usize % 2 == 1) {
            product *= x.sqrt();
        }
        if comptime!(c < 0.0) { 1.0f32 / product } else { product }
    } else {
        let factor = f32::new(comptime!(c as f32));
        if x > 0.0f32 { exp(factor * ln(x)) } else { x.powf(factor) }
    }
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use burn::backend::ops::FloatTensorOps;
    use burn::tensor::{FloatDType, Shape, TensorData};
    use burn_cubecl::cubecl::device::WgpuDeviceKind;
    use burn_cubecl::ops::into_data_sync;
    use burn_cubecl::{CubeBackend, CubeDevice};

    use super::*;

    type Named = (&'static str, fn(f64) -> f64);

    /// What `tabulate` computes, in its order.
    const FUNCTIONS: [Named; 8] = [
        ("e^x", f64::exp),
        ("e^x - 1", f64::exp_m1),
        ("ln |x|", |x| x.abs().ln()),
        ("ln(1 + |x|)", |x| x.abs().ln_1p()),
        ("sigmoid", |x| 1.0 / (1.0 + (-x).exp())),
        ("log sigmoid", |x| x.min(0.0) - (-x.abs()).exp().ln_1p()),
        ("|x|^3.5", |x| x.abs().powf(3.5)),
        ("|x|^-0.5", |x| x.abs().powf(-0.5)),
    ];

    #[cube(launch)]
    fn tabulate(x: &Tensor<f32>, out: &mut Tensor<f32>) {
        let (at, count) = (ABSOLUTE_POS, x.shape(0));
        if at < count {
            let x = x[at];
            out[at] = exp(x);
            out[count + at] = exp_m1(x);
            out[2 * count + at] = ln(x.abs());
            out[3 * count + at] = ln_1p(x.abs());
            out[4 * count + at] = sigmoid(x);
            out[5 * count + at] = log_sigmoid(x);
            out[6 * count + at] = power(x.abs(), comptime!(3.5f64.to_bits()));
            out[7 * count + at] = power(x.abs(), comptime!((-0.5f64).to_bits()));
        }
    }

    #[test]
    fn every_function_is_within_two_units_in_the_last_place() {
        // Of both signs, near 0, near 1 and up to where e^x ends.
        let spread = |t: f32| [-87.0 * t, 88.0 * t, -2.0 * t, 2.0 * t, -(10.0f32.powf(-8.0 * t)), 10.0f32.powf(-8.0 * t)];
        let xs: Vec<f32> = (1..=4000).flat_map(|i| spread(i as f32 / 4000.0)).collect();
        let count = xs.len();
        let device = CubeDevice::wgpu(WgpuDeviceKind::DefaultDevice).unwrap();
        let x = CubeBackend::float_from_data(TensorData::new(xs.clone(), [count]), &device);
        let out = CubeBackend::float_zeros(Shape::from([FUNCTIONS.len() * count]), &device, FloatDType::F32);
        let cubes = CubeCount::Static(count.div_ceil(64) as u32, 1, 1);
        tabulate::launch(&x.client.clone(), cubes, CubeDim::new_1d(64), x.into_tensor_arg(), out.clone().into_tensor_arg());
        let got = into_data_sync(out).try_into_vec::<f32>().unwrap();
        for ((name, function), got) in FUNCTIONS.iter().zip(got.chunks(count)) {
            for (&x, &got) in xs.iter().zip(got) {
                let want = function(f64::from(x));
                // Devices may take numbers below the least normal one for 0.
                if want.abs() > f64::from(f32::MIN_POSITIVE) {
                    let off = (f64::from(got) - want).abs() / want.abs();
                    assert!(off < 4.0 * 2.0f64.powi(-24), "{name} of {x}: {got:e}, not {want:e}");
                }
            }
        }
    }
}
