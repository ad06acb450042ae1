//! The exponential and the logarithm of `f32` vectors by polynomials, without branches and tables.

use pulp::Simd;

use crate::functions::Functions;
use crate::simd::Lanes;

/// e^−x is 0 from x = 99.5·ln 2 on, about 1e-30, where 2^−99 is no longer the nearest power.
/// Smaller values, times derivatives far below 1, would be subnormal, and a subnormal costs a
/// processor as much as a hundred normal numbers.
const POWERS: f64 = 100.0;

/// Powers of two are made 2²⁷ times too small, so that the bits of the smallest are 0; their
/// factor is 2²⁷ times too large.
const UNIT: f32 = 134_217_728.0;

/// ln 2 in two parts: the product of the first with a whole number of up to 14 bits is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// Adding 1.5·2²³ rounds to a whole number and leaves it in the low bits. With 100 on top, those
/// bits are not negative for numbers ≥ −100.
const ROUND: f32 = 12_582_912.0 + POWERS as f32;

/// (2^f − 1)/f for |f| ≤ ½; the largest relative error of 2^f, 2^−27, is minimal.
const EXP2: [f32; 6] = [0.693_147_24, 0.240_226_55, 0.055_502_728, 0.009_617_064, 0.001_341_817_2, 0.000_158_347_58];

/// (e^r − 1 − r)/r² for |r| ≤ ln 2 / 2, likewise: 2^−34.
const EXP_M1: [f32; 6] = [0.5, 0.166_666_66, 0.041_666_294, 0.008_333_498, 0.001_394_475_8, 0.000_197_902_43];

/// (log(1 + f) − f + f²/2)/f³ for 1 + f in [⅔, 4/3], likewise: 2^−30.
const LN_1P: [f32; 9] = [
    0.333_333_36,
    -0.249_998_2,
    0.199_995_98,
    -0.166_795_78,
    0.143_044_55,
    -0.121_957_78,
    0.107_542_52,
    -0.128_450_61,
    0.120_070_89,
];

/// (log(1 + x) − x)/x² for 0 ≤ x ≤ 1, likewise: 2^−27.
const LN_1P_OF_SHARE: [f32; 9] = [
    -0.499_999_3,
    0.333_304_64,
    -0.249_580_19,
    0.196_921_02,
    -0.153_448_8,
    0.106_611_28,
    -0.057_457_23,
    0.020_086_242,
    -0.003_290_468_6,
];

/// Each constant in all lanes of a pair of vectors. They are more than a processor has registers,
/// so instructions read them from memory; each vector of the pair has its own copy, so that the
/// compiler has no reason to keep one in a register.
#[derive(Clone, Copy)]
pub struct Constants<S: Simd> {
    one: Lanes<S, f32>,
    unit: Lanes<S, f32>,
    round: Lanes<S, f32>,
    /// A copy, so that both uses read it from memory.
    round_again: Lanes<S, f32>,
    ln2: [Lanes<S, f32>; 2],
    exp2: [Lanes<S, f32>; 6],
    exp_m1: [Lanes<S, f32>; 6],
    ln_1p: [Lanes<S, f32>; 9],
    ln_1p_of_share: [Lanes<S, f32>; 9],
}

/// Each number in all lanes of a pair.
#[inline(always)]
fn splat<S: Simd, const N: usize>(simd: S, numbers: [f32; N]) -> [Lanes<S, f32>; N] {
    // Not by `map`: its closure would lack the instructions of the function around it.
    let mut lanes = [Lanes::of(simd, 0.0); N];
    for (lanes, number) in lanes.iter_mut().zip(numbers) {
        *lanes = Lanes::of(simd, number);
    }
    lanes
}

/// τ for [`Functions::exp_of_minus`]: −τ·log₂ e in two parts, and the x from which on
/// e^−τx is 0.
#[derive(Clone, Copy)]
pub struct Rate<S: Simd> {
    minus_high: Lanes<S, f32>,
    minus_low: Lanes<S, f32>,
    most: Lanes<S, f32>,
}

/// c₀ + c₁·x + c₂·x² + …
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(x: Lanes<S, f32>, coefficients: &[Lanes<S, f32>; N]) -> Lanes<S, f32> {
    let mut sum = coefficients[N - 1];
    for &coefficient in coefficients[..N - 1].iter().rev() {
        sum = sum.mul_add(x, coefficient);
    }
    sum
}

/// The bits of a pair of vectors.
#[derive(Clone, Copy)]
struct Bits<S: Simd> {
    simd: S,
    pair: [S::u32s; 2],
}

impl<S: Simd> Bits<S> {
    #[inline(always)]
    fn of(x: Lanes<S, f32>) -> Self {
        let (simd, [a, b]) = (x.simd, x.pair);
        Self { simd, pair: [simd.transmute_u32s_f32s(a), simd.transmute_u32s_f32s(b)] }
    }

    #[inline(always)]
    fn splat(self, bits: u32) -> Self {
        Self { simd: self.simd, pair: [self.simd.splat_u32s(bits); 2] }
    }

    #[inline(always)]
    fn float(self) -> Lanes<S, f32> {
        let Self { simd, pair: [a, b] } = self;
        Lanes::new(simd, [simd.transmute_f32s_u32s(a), simd.transmute_f32s_u32s(b)])
    }

    /// self − other
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        let Self { simd, pair: [a, b] } = self;
        Self { simd, pair: [simd.sub_u32s(a, other.pair[0]), simd.sub_u32s(b, other.pair[1])] }
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        let Self { simd, pair: [a, b] } = self;
        Self { simd, pair: [simd.or_u32s(a, other.pair[0]), simd.or_u32s(b, other.pair[1])] }
    }

    #[inline(always)]
    fn left(self, places: u32) -> Self {
        let Self { simd, pair: [a, b] } = self;
        let places = simd.splat_u32s(places);
        Self { simd, pair: [simd.wrapping_dyn_shl_u32s(a, places), simd.wrapping_dyn_shl_u32s(b, places)] }
    }

    #[inline(always)]
    fn right(self, places: u32) -> Self {
        let Self { simd, pair: [a, b] } = self;
        let places = simd.splat_u32s(places);
        Self { simd, pair: [simd.wrapping_dyn_shr_u32s(a, places), simd.wrapping_dyn_shr_u32s(b, places)] }
    }
}

impl Functions for f32 {
    type Constants<S: Simd> = Constants<S>;
    type Rate<S: Simd> = Rate<S>;

    #[inline(always)]
    fn constants<S: Simd>(simd: S) -> Constants<S> {
        Constants {
            one: Lanes::of(simd, 1.0),
            unit: Lanes::of(simd, UNIT),
            round: Lanes::of(simd, ROUND),
            round_again: Lanes::of(simd, ROUND),
            ln2: splat(simd, [LN2_HIGH, LN2_LOW]),
            exp2: splat(simd, EXP2.map(|coefficient| UNIT * coefficient)),
            exp_m1: splat(simd, EXP_M1),
            ln_1p: splat(simd, LN_1P),
            ln_1p_of_share: splat(simd, LN_1P_OF_SHARE),
        }
    }

    #[inline(always)]
    fn rate<S: Simd>(simd: S, tau: f64) -> Rate<S> {
        let rate = tau * std::f64::consts::LOG2_E;
        let high = rate as f32;
        let low = (rate - f64::from(high)) as f32;
        let most = (POWERS / rate).min(f64::from(f32::MAX)) as f32;
        Rate { minus_high: Lanes::of(simd, -high), minus_low: Lanes::of(simd, -low), most: Lanes::of(simd, most) }
    }

    /// e^−τx for x ≥ +0: an error below 1.1 units in the last place while τx ≤ 68.9 (tested
    /// for every float at τ = 1), and 0 from 99.5·ln 2 on.
    ///
    /// −τx·log₂ e is a whole number n and a fraction f, |f| ≤ ½, and 2^f = 1 + f·q(f), q
    /// being [`EXP2`].
    #[inline(always)]
    fn exp_of_minus<S: Simd>(x: Lanes<S, f32>, rate: &Rate<S>, constants: &Constants<S>) -> Lanes<S, f32> {
        let (round, high) = (constants.round, rate.minus_high);
        // In this order the instruction can read x from memory.
        let x = rate.most.min(x);
        let biased = x.mul_add(high, round);
        let n = biased - constants.round_again;
        // Fused: n is nearly all of the product, and the rest must be exact.
        let f = x.mul_add(rate.minus_low, x.fused_mul_add(high, -n));
        // The power of two from its exponent's bits.
        polynomial(f, &constants.exp2).fused_mul_add(f, constants.unit) * Bits::of(biased).left(23).float()
    }

    /// e^−x − 1 for x ≥ +0: an error below 1.5 units in the last place (tested for every 13th
    /// float from 1e-30 to 200).
    ///
    /// With −x = n·ln 2 + r, |r| ≤ ln 2 / 2, it is 2^n·(e^r − 1) + (2^n − 1), and e^r −
    /// 1 = r + r²·q(r), q being [`EXP_M1`].
    #[inline(always)]
    fn exp_m1_of_minus<S: Simd>(x: Lanes<S, f32>, constants: &Constants<S>) -> Lanes<S, f32> {
        let (x, round) = (x.min(x.splat(POWERS as f32 * std::f32::consts::LN_2)), constants.round);
        let biased = x.mul_add(x.splat(-std::f32::consts::LOG2_E), round);
        let n = biased - round;
        let r = n.mul_add(x.splat(-LN2_LOW), n.mul_add(x.splat(-LN2_HIGH), -x));
        let q = polynomial(r, &constants.exp_m1);
        let power = Bits::of(biased).left(23).float() * x.splat(UNIT);
        q.mul_add(r * r, r).mul_add(power, power - constants.one)
    }

    /// log(1 + x) for x ≥ 0: an error below 1.75 units in the last place (tested for every float
    /// from 2⁻²⁶ to 2⁶⁴).
    ///
    /// 1 + x = 2^e·(1 + f) with 1 + f in [⅔, 4/3), but for the rounding error of 1 + x, which is
    /// added at the end; and log(1 + f) = f − f²/2 + f³·p(f), p being [`LN_1P`].
    #[inline(always)]
    fn log_1p<S: Simd>(x: Lanes<S, f32>, constants: &Constants<S>) -> Lanes<S, f32> {
        const TWO_THIRDS: u32 = 0x3f2a_aaab;
        const ONE: u32 = 0x3f80_0000;
        // The bits of 2²³, and 2²³: or-ing a whole number into the low bits adds it.
        const WHOLE: (u32, f32) = (0x4b00_0000, 8_388_608.0);
        let one = constants.one;
        let [high, low] = [constants.ln2[0], constants.ln2[1]];
        let sum = one + x;
        let bits = Bits::of(sum);
        let exponent = bits.minus(bits.splat(TWO_THIRDS)).right(23);
        let shift = exponent.left(23);
        let fraction = bits.minus(shift).float();
        let down = bits.splat(ONE).minus(shift).float();
        let e = exponent.or(bits.splat(WHOLE.0)).float() - x.splat(WHOLE.1);
        // Subtracting the larger first makes the rounding error exact.
        let (large, small) = (one.max(x), one.min(x));
        let lost = small - (sum - large);
        let (f, lost) = (fraction - one, lost * down);
        let square = f * f;
        // e·ln 2 + f − f²/2 + f³·p + lost/(1 + f), small summands first; 1/(1 + f) is nearly
        // 1 − f.
        let small = e.mul_add(low, x.splat(-0.5).mul_add(square, lost - lost * f));
        let small = (polynomial(f, &constants.ln_1p) * f).mul_add(square, small);
        e.mul_add(high, f) + small
    }

    /// log(1 + x) for 0 ≤ x ≤ 1: an error below 1.75 units in the last place (tested for every
    /// float from 2⁻²⁶ on).
    ///
    /// x + x²·p(x), p being [`LN_1P_OF_SHARE`].
    #[inline(always)]
    fn log_1p_of_share<S: Simd>(x: Lanes<S, f32>, constants: &Constants<S>) -> Lanes<S, f32> {
        polynomial(x, &constants.ln_1p_of_share).mul_add(x * x, x)
    }

    /// log(1 + x) for 0 ≤ x ≤ 3: an error below 1.75 units in the last place (tested for every
    /// float from 2⁻²⁶ on).
    ///
    /// Above 1, log 2 + log(1 + (x − 1)/2), of which the second is that of a share.
    #[inline(always)]
    fn log_1p_of_three<S: Simd>(x: Lanes<S, f32>, constants: &Constants<S>) -> Lanes<S, f32> {
        let half = x.splat(0.5);
        let share = x.if_greater(constants.one, x.mul_add(half, -half), x);
        let log = Self::log_1p_of_share(share, constants);
        log + x.if_greater(constants.one, x.splat(std::f32::consts::LN_2), x.nothing())
    }
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;
    use rayon::prelude::*;

    use super::*;
    use crate::instructions::Instructions;
    use crate::layout::PADDING;
    use crate::simd::{Column, write_column};

    /// A function over all of a column.
    #[derive(Clone, Copy)]
    enum Function {
        /// e^−τx, of a τ.
        Exp(f64),
        ExpM1,
        Ln1p,
        Ln1pOfShare,
        Ln1pOfThree,
    }

    struct Apply<'a>(Function, &'a [f32], &'a mut [f32]);

    impl WithSimd for Apply<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self(function, from, to) = self;
            let (from, constants) = (Column::new(simd, from), f32::constants(simd));
            let rate = f32::rate(simd, if let Function::Exp(tau) = function { tau } else { 1.0 });
            write_column!(simd, to, |i| match function {
                Function::Exp(_) => f32::exp_of_minus(from.at(i), &rate, &constants),
                Function::ExpM1 => f32::exp_m1_of_minus(from.at(i), &constants),
                Function::Ln1p => f32::log_1p(from.at(i), &constants),
                Function::Ln1pOfShare => f32::log_1p_of_share(from.at(i), &constants),
                Function::Ln1pOfThree => f32::log_1p_of_three(from.at(i), &constants),
            });
        }
    }

    /// The largest error over the floats of these bits, in units of the last place, with its float;
    /// on each set of instructions.
    fn worst(
        function: Function,
        bits: std::ops::RangeInclusive<u32>,
        step: usize,
        exact: impl Fn(f64) -> f64 + Sync,
    ) -> Vec<(f64, f32)> {
        const CHUNK: usize = 1 << 14;
        let sets = Instructions::available();
        let starts: Vec<u32> = bits.clone().step_by(CHUNK * step).collect();
        let each = starts.into_par_iter().map(|start| {
            let mut inputs: Vec<f32> = (start..=*bits.end()).step_by(step).take(CHUNK).map(f32::from_bits).collect();
            inputs.resize(inputs.len().next_multiple_of(PADDING), f32::from_bits(start));
            let wanted: Vec<f64> = inputs.iter().map(|&x| exact(f64::from(x))).collect();
            let of_set = |set: &Instructions| {
                let mut outputs = vec![f32::NAN; inputs.len()];
                set.run(Apply(function, &inputs, &mut outputs));
                let off = inputs.iter().zip(&outputs).zip(&wanted).map(|((&x, &got), &want)| {
                    let exponent = ((want.to_bits() >> 52) & 0x7ff) as i32 - 1023;
                    let unit = f64::from_bits(((exponent.max(-126) - 23 + 1023) as u64) << 52);
                    ((f64::from(got) - want).abs() / unit, x)
                });
                off.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or_default()
            };
            sets.iter().map(of_set).collect::<Vec<_>>()
        });
        let worse = |a: Vec<(f64, f32)>, b: Vec<(f64, f32)>| {
            a.into_iter().zip(b).map(|(a, b)| if b.0.total_cmp(&a.0).is_gt() { b } else { a }).collect()
        };
        each.reduce(|| vec![(0.0, 0.0); sets.len()], worse)
    }

    fn assert_below(limit: f64, worst: &[(f64, f32)]) {
        for (set, (error, x)) in Instructions::available().iter().zip(worst) {
            println!("{}: {error:.3} units in the last place at {x:e}", set.name());
            assert!(*error < limit, "{}: {error} units in the last place at {x:e}", set.name());
        }
    }

    #[test]
    fn exp_is_within_eleven_tenths_of_a_unit_in_the_last_place_for_every_float() {
        assert_below(1.1, &worst(Function::Exp(1.0), 0..=68.9f32.to_bits(), 1, |x| (-x).exp()));
    }

    #[test]
    fn exp_is_so_at_other_temperatures() {
        for tau in [10.0, 2.0, 0.37, 1.0 / 3.0, 1e6, 1e-3, 1e-30] {
            let last = (68.9 / tau) as f32;
            assert_below(1.1, &worst(Function::Exp(tau), 1..=last.to_bits(), 1009, |x| (-x * tau).exp()));
        }
    }

    #[test]
    fn exp_m1_is_within_one_and_a_half_units_in_the_last_place() {
        assert_below(1.5, &worst(Function::ExpM1, 1e-30f32.to_bits()..=200f32.to_bits(), 13, |x| (-x).exp_m1()));
    }

    #[test]
    fn ln_1p_is_within_seven_quarters_of_a_unit_in_the_last_place() {
        // A sum over up to 2⁶⁴ classes; every float from 2⁻²⁶, below which it is x itself.
        assert_below(1.75, &worst(Function::Ln1p, 2f32.powi(-26).to_bits()..=2f32.powi(64).to_bits(), 1, f64::ln_1p));
        assert_below(1.75, &worst(Function::Ln1p, 1..=2f32.powi(-26).to_bits(), 4099, f64::ln_1p));
    }

    #[test]
    fn ln_1p_of_a_share_or_three_is_within_seven_quarters_of_a_unit_in_the_last_place() {
        let least = 2f32.powi(-26).to_bits();
        assert_below(1.75, &worst(Function::Ln1pOfShare, least..=1f32.to_bits(), 1, f64::ln_1p));
        assert_below(1.75, &worst(Function::Ln1pOfShare, 0..=least, 4099, f64::ln_1p));
        assert_below(1.75, &worst(Function::Ln1pOfThree, least..=3f32.to_bits(), 1, f64::ln_1p));
    }

    #[test]
    fn exp_at_the_ends() {
        for set in Instructions::available() {
            let (mut inputs, mut outputs) = ([0.0; PADDING], [f32::NAN; PADDING]);
            inputs[..7].copy_from_slice(&[0.0, 1e38, f32::INFINITY, 69.0, f32::MAX, 88.0, 104.0]);
            for tau in [1.0, 10.0, 1e6] {
                set.run(Apply(Function::Exp(tau), &inputs, &mut outputs));
                assert_eq!(outputs[..7], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], "{} {tau}", set.name());
            }
            // So small a τ that it is 0 as a float.
            for tau in [1e-60, 1e-300] {
                set.run(Apply(Function::Exp(tau), &inputs, &mut outputs));
                assert_eq!(outputs[..7], [1.0; 7], "{} {tau}", set.name());
            }
            set.run(Apply(Function::Ln1p, &[0.0; PADDING], &mut outputs));
            assert_eq!(outputs[0], 0.0);
        }
    }
}
