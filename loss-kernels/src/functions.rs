//! The exponential and the logarithm of pairs of vectors.

use pulp::Simd;

use crate::simd::{Lanes, Vectors};

/// The functions of a float type, on any set of instructions.
pub trait Functions: Vectors {
    /// Constants of the functions, each in every lane.
    type Constants<S: Simd>: Copy;
    /// The τ of e^−τx, as the exponential needs it.
    type Rate<S: Simd>: Copy;

    /// The constants.
    fn constants<S: Simd>(simd: S) -> Self::Constants<S>;
    /// τ as a rate.
    fn rate<S: Simd>(simd: S, tau: f64) -> Self::Rate<S>;
    /// e^−τx for x ≥ +0; in `f32`, 0 below about 1e-30.
    fn exp_of_minus<S: Simd>(x: Lanes<S, Self>, rate: &Self::Rate<S>, constants: &Self::Constants<S>) -> Lanes<S, Self>;
    /// e^−x − 1 for x ≥ +0.
    fn exp_m1_of_minus<S: Simd>(x: Lanes<S, Self>, constants: &Self::Constants<S>) -> Lanes<S, Self>;
    /// log(1 + x) for x ≥ 0.
    fn log_1p<S: Simd>(x: Lanes<S, Self>, constants: &Self::Constants<S>) -> Lanes<S, Self>;
    /// log(1 + x) for 0 ≤ x ≤ 1.
    #[inline(always)]
    fn log_1p_of_share<S: Simd>(x: Lanes<S, Self>, constants: &Self::Constants<S>) -> Lanes<S, Self> {
        Self::log_1p(x, constants)
    }
    /// log(1 + x) for 0 ≤ x ≤ 3.
    #[inline(always)]
    fn log_1p_of_three<S: Simd>(x: Lanes<S, Self>, constants: &Self::Constants<S>) -> Lanes<S, Self> {
        Self::log_1p(x, constants)
    }
}

/// The C library's functions, lane by lane.
impl Functions for f64 {
    type Constants<S: Simd> = ();
    type Rate<S: Simd> = f64;

    #[inline(always)]
    fn constants<S: Simd>(_: S) {}

    #[inline(always)]
    fn rate<S: Simd>(_: S, tau: f64) -> f64 {
        tau
    }

    #[inline(always)]
    fn exp_of_minus<S: Simd>(x: Lanes<S, f64>, tau: &f64, (): &()) -> Lanes<S, f64> {
        each(x, |x| (-x * tau).exp())
    }

    #[inline(always)]
    fn exp_m1_of_minus<S: Simd>(x: Lanes<S, f64>, (): &()) -> Lanes<S, f64> {
        each(x, |x| (-x).exp_m1())
    }

    #[inline(always)]
    fn log_1p<S: Simd>(x: Lanes<S, f64>, (): &()) -> Lanes<S, f64> {
        each(x, f64::ln_1p)
    }
}

#[inline(always)]
fn each<S: Simd>(mut x: Lanes<S, f64>, f: impl Fn(f64) -> f64) -> Lanes<S, f64> {
    f64::numbers_mut::<S>(&mut x.pair).iter_mut().for_each(|x| *x = f(*x));
    x
}

/// A set of instructions, with the constants of its functions.
pub(crate) struct Math<'a, S: Simd, C: Functions> {
    pub(crate) simd: S,
    pub(crate) constants: &'a C::Constants<S>,
}

impl<S: Simd, C: Functions> Clone for Math<'_, S, C> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Simd, C: Functions> Copy for Math<'_, S, C> {}
