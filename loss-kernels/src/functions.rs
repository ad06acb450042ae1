//! The exponential and the logarithm of `f32` vectors, without branches and tables.

use pulp::Simd;

use crate::simd::Lanes;

/// From here on, e^−x is taken as 0: about 1e-30. What is made of smaller ones, times derivatives far below 1, would be less than the
/// least normal number, and each of those costs a processor as much as a hundred others.
const MOST: f32 = 69.0;

/// ln 2 in two parts: the first is exact when multiplied by a whole number of up to 14 bits.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// Adding 1.5·2²³ rounds to a whole number, and leaves it in the low bits; with the exponent's bias, 127, on top.
const ROUND: f32 = 12_582_912.0 + 127.0;

/// (e^r − 1 − r)/r² for |r| ≤ ln 2 / 2, fitted so that the largest relative error of e^r is least: 2^−34.
const EXP: [f32; 6] = [0.5, 0.166_666_66, 0.041_666_294, 0.008_333_498, 0.001_394_475_8, 0.000_197_902_43];

/// (log(1 + f) − f + f²/2)/f³ for 1 + f in [⅔, 4/3], fitted likewise: 2^−30.
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

/// Each constant in all lanes of a pair of vectors. There are more of them than a processor has registers: in memory, an instruction
/// takes them along; and as either vector has its own, the compiler has no cause to keep them.
#[derive(Clone, Copy)]
pub struct Constants<S: Simd> {
    one: [S::f32s; 2],
    minus_log2_e: [S::f32s; 2],
    round: [S::f32s; 2],
    most: [S::f32s; 2],
    ln2: [[S::f32s; 2]; 2],
    minus_ln2: [[S::f32s; 2]; 2],
    exp: [[S::f32s; 2]; 6],
    ln_1p: [[S::f32s; 2]; 9],
}

impl<S: Simd> Constants<S> {
    #[inline(always)]
    pub(crate) fn new(simd: S) -> Self {
        let mut constants = Self {
            one: [simd.splat_f32s(1.0); 2],
            minus_log2_e: [simd.splat_f32s(-std::f32::consts::LOG2_E); 2],
            round: [simd.splat_f32s(ROUND); 2],
            most: [simd.splat_f32s(MOST); 2],
            ln2: [[simd.splat_f32s(LN2_HIGH); 2], [simd.splat_f32s(LN2_LOW); 2]],
            minus_ln2: [[simd.splat_f32s(-LN2_HIGH); 2], [simd.splat_f32s(-LN2_LOW); 2]],
            exp: [[simd.splat_f32s(0.0); 2]; 6],
            ln_1p: [[simd.splat_f32s(0.0); 2]; 9],
        };
        for (pair, number) in constants.exp.iter_mut().zip(EXP) {
            *pair = [simd.splat_f32s(number); 2];
        }
        for (pair, number) in constants.ln_1p.iter_mut().zip(LN_1P) {
            *pair = [simd.splat_f32s(number); 2];
        }
        constants
    }
}

/// c₀ + c₁·x + c₂·x² + …
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(x: Lanes<S, f32>, coefficients: &[[S::f32s; 2]; N]) -> Lanes<S, f32> {
    let mut sum = Lanes::new(x.simd, coefficients[N - 1]);
    for &coefficient in coefficients[..N - 1].iter().rev() {
        sum = sum.mul_add(x, Lanes::new(x.simd, coefficient));
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

/// 1/x for a normal x > 0 whose reciprocal is normal too: an error below 1.25 units in the last place (tested for every float from 1
/// to 4, and for others up to 2⁶⁴). A division takes as long as several of these.
///
/// The bits of a float are nearly its logarithm: taken from a constant they give a reciprocal that is right to 5 %, and each of
/// Newton's steps squares that.
#[inline(always)]
pub(crate) fn reciprocal<S: Simd>(x: Lanes<S, f32>, constants: &Constants<S>) -> Lanes<S, f32> {
    const BITS: u32 = 0x7ef3_0000;
    let (one, minus, bits) = (Lanes::new(x.simd, constants.one), -x, Bits::of(x));
    let mut y = bits.splat(BITS).minus(bits).float();
    for _ in 0..3 {
        y = y.mul_add(minus.mul_add(y, one), y);
    }
    y
}

/// Parts of e^−x for 0 ≤ x ≤ 69: a power of two 2^n, and t = e^(−x − n·ln 2) − 1 with |−x − n·ln 2| ≤ ln 2 / 2.
///
/// With r = −x − n·ln 2, t = r + r²·q(r), q being [`EXP`].
#[inline(always)]
fn parts<S: Simd>(x: Lanes<S, f32>, constants: &Constants<S>) -> (Lanes<S, f32>, Lanes<S, f32>) {
    let round = Lanes::new(x.simd, constants.round);
    let biased = x.mul_add(Lanes::new(x.simd, constants.minus_log2_e), round);
    let n = biased - round;
    let [high, low] = constants.minus_ln2;
    let r = n.mul_add(Lanes::new(x.simd, low), n.mul_add(Lanes::new(x.simd, high), -x));
    let t = polynomial(r, &constants.exp).mul_add(r * r, r);
    // The power of two from its exponent's bits.
    (Bits::of(biased).left(23).float(), t)
}

/// e^−x for x ≥ +0: an error below 1 unit in the last place up to 69 (tested for every float there), 0 from there on.
#[inline(always)]
pub(crate) fn exp_of_minus<S: Simd>(x: Lanes<S, f32>, constants: &Constants<S>) -> Lanes<S, f32> {
    // What the parts are of larger ones, which may be NaN, is not taken.
    let (scale, t) = parts(x, constants);
    x.if_below(Lanes::new(x.simd, constants.most), t.mul_add(scale, scale), x.splat(0.0))
}

/// e^−x − 1 for x ≥ +0: an error below 1.5 units in the last place (tested likewise).
#[inline(always)]
pub(crate) fn exp_m1_of_minus<S: Simd>(x: Lanes<S, f32>, constants: &Constants<S>) -> Lanes<S, f32> {
    let (scale, t) = parts(x.min(Lanes::new(x.simd, constants.most)), constants);
    t.mul_add(scale, scale - Lanes::new(x.simd, constants.one))
}

/// log(1 + x) for x ≥ 0: an error below 1.75 units in the last place (tested for every float from 2⁻²⁶ to 2⁶⁴).
///
/// 1 + x = 2^e·(1 + f) with 1 + f in [⅔, 4/3), but for what 1 + x loses in rounding, which is added at the end; and
/// log(1 + f) = f − f²/2 + f³·p(f), p being [`LN_1P`].
#[inline(always)]
pub(crate) fn ln_1p<S: Simd>(x: Lanes<S, f32>, constants: &Constants<S>) -> Lanes<S, f32> {
    const TWO_THIRDS: u32 = 0x3f2a_aaab;
    const ONE: u32 = 0x3f80_0000;
    // 2²³ as a float: a whole number below it, put into its low bits, is added to it.
    const WHOLE: (u32, f32) = (0x4b00_0000, 8_388_608.0);
    let one = Lanes::new(x.simd, constants.one);
    let [high, low] = [Lanes::new(x.simd, constants.ln2[0]), Lanes::new(x.simd, constants.ln2[1])];
    let sum = one + x;
    let bits = Bits::of(sum);
    let exponent = bits.minus(bits.splat(TWO_THIRDS)).right(23);
    let shift = exponent.left(23);
    let fraction = bits.minus(shift).float();
    let down = bits.splat(ONE).minus(shift).float();
    let e = exponent.or(bits.splat(WHOLE.0)).float() - x.splat(WHOLE.1);
    // The larger of the two is subtracted first, so that what the sum has lost comes out exactly.
    let (large, small) = (one.max(x), one.min(x));
    let lost = small - (sum - large);
    let (f, lost) = (fraction - one, lost * down);
    let square = f * f;
    // e·ln 2 + f − f²/2 + f³·p + lost/(1 + f): the small ones together first, where 1/(1 + f) is 1 − f nearly enough.
    let small = e.mul_add(low, x.splat(-0.5).mul_add(square, lost - lost * f));
    let small = (polynomial(f, &constants.ln_1p) * f).mul_add(square, small);
    e.mul_add(high, f) + small
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;
    use rayon::prelude::*;

    use super::*;
    use crate::instructions::Instructions;
    use crate::simd::{Column, PADDING, write_column};

    /// A function over all of a column.
    #[derive(Clone, Copy)]
    enum Function {
        Exp,
        ExpM1,
        Ln1p,
        Reciprocal,
    }

    struct Apply<'a>(Function, &'a [f32], &'a mut [f32]);

    impl WithSimd for Apply<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self(function, from, to) = self;
            let (from, constants) = (Column::new(simd, from), Constants::new(simd));
            write_column!(simd, to, |i| match function {
                Function::Exp => from.at(i).exp_of_minus(&constants),
                Function::ExpM1 => from.at(i).exp_m1_of_minus(&constants),
                Function::Ln1p => from.at(i).ln_1p(&constants),
                Function::Reciprocal => from.at(i).reciprocal(&constants),
            });
        }
    }

    /// The largest error over the floats of these bits, in units of the last place, with the float that has it; on each set of
    /// instructions.
    fn worst(function: Function, bits: std::ops::RangeInclusive<u32>, step: usize, exact: fn(f64) -> f64) -> Vec<(f64, f32)> {
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
    fn exp_is_within_a_unit_in_the_last_place_for_every_float() {
        assert_below(1.0, &worst(Function::Exp, 0..=MOST.to_bits() - 1, 1, |x| (-x).exp()));
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
    fn reciprocal_is_within_five_quarters_of_a_unit_in_the_last_place_for_every_float() {
        assert_below(1.25, &worst(Function::Reciprocal, 1f32.to_bits()..=4f32.to_bits(), 1, f64::recip));
        assert_below(1.25, &worst(Function::Reciprocal, 4f32.to_bits()..=2f32.powi(64).to_bits(), 13, f64::recip));
    }

    #[test]
    fn exp_at_the_ends() {
        for set in Instructions::available() {
            let (mut inputs, mut outputs) = ([0.0; PADDING], [f32::NAN; PADDING]);
            inputs[..7].copy_from_slice(&[0.0, 1e38, f32::INFINITY, MOST, f32::MAX, 88.0, 104.0]);
            set.run(Apply(Function::Exp, &inputs, &mut outputs));
            assert_eq!(outputs[..7], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], "{}", set.name());
            set.run(Apply(Function::Ln1p, &[0.0; PADDING], &mut outputs));
            assert_eq!(outputs[0], 0.0);
        }
    }
}
