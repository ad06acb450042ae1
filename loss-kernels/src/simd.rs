//! Vectors of floats whose width is chosen at run time, and what a column of pixels needs of them.
//!
//! [`pulp`] has the instructions, and the functions that are compiled once for each set of them. Here a vector is a number:
//! [`Lanes`] adds, multiplies and compares like one, so that a formula reads as it is written on paper.

use std::ops::{Add, Div, Mul, Neg, Sub};

use loss_core::LossError;
use pulp::{Simd, WithSimd};

/// Columns are padded to a whole number of the widest vectors: 64 bytes of `f32`, 128 of `f64`.
pub(crate) const PADDING: usize = 16;

/// What the vectors of a float type can do, on any set of instructions.
pub trait Vectors: bytemuck::Pod {
    /// A vector.
    type Vector<S: Simd>: Copy;
    /// A truth value for each of its lanes.
    type Mask<S: Simd>: Copy;

    /// Numbers of a vector.
    #[must_use]
    fn lanes<S: Simd>() -> usize {
        size_of::<Self::Vector<S>>() / size_of::<Self>()
    }
    /// The whole vectors of a column.
    fn vectors<S: Simd>(column: &[Self]) -> &[Self::Vector<S>];
    /// The whole vectors of a column, to be written.
    fn vectors_mut<S: Simd>(column: &mut [Self]) -> &mut [Self::Vector<S>];
    /// The numbers of a vector.
    fn numbers<S: Simd>(vector: &Self::Vector<S>) -> &[Self];
    /// The numbers of a vector, to be written.
    fn numbers_mut<S: Simd>(vector: &mut Self::Vector<S>) -> &mut [Self];
    /// One number in every lane.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;
    /// a + b
    fn add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a − b
    fn sub<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a · b
    fn mul<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a / b
    fn div<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a · b + c, rounded once or twice.
    fn mul_add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    /// √a
    fn sqrt<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// |a|
    fn abs<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// min(a, b)
    fn min<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// max(a, b)
    fn max<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a = b
    fn equal<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S>;
    /// a > b
    fn greater<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S>;
    /// Whether a = b in every lane.
    fn all_equal<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> bool;
    /// a where the mask is true, else b.
    fn select<S: Simd>(simd: S, mask: Self::Mask<S>, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// 1/x for x > 0, neither nearly 0 nor nearly overflowing.
    fn reciprocal<S: Simd>(simd: S, x: Self::Vector<S>) -> Self::Vector<S>;
    /// e^x for x ≤ 0.
    fn exp_nonpositive<S: Simd>(simd: S, x: Self::Vector<S>) -> Self::Vector<S>;
    /// e^x − 1 for x ≤ 0.
    fn exp_m1_nonpositive<S: Simd>(simd: S, x: Self::Vector<S>) -> Self::Vector<S>;
    /// log(1 + x) for x ≥ 0.
    fn ln_1p<S: Simd>(simd: S, x: Self::Vector<S>) -> Self::Vector<S>;
}

/// The operations that pulp has, under its names.
macro_rules! forwarded {
    ($vector:ident, $mask:ident, $split:ident, $split_mut:ident, $splat:ident, $abs:ident, $sqrt:ident, $first_true:ident, $not:ident, $mul_add:ident, $select:ident;
     $($name:ident = $method:ident),*; $($comparison:ident = $compare:ident),*) => {
        type Vector<S: Simd> = S::$vector;
        type Mask<S: Simd> = S::$mask;

        #[inline(always)]
        fn vectors<S: Simd>(column: &[Self]) -> &[S::$vector] {
            S::$split(column).0
        }
        #[inline(always)]
        fn vectors_mut<S: Simd>(column: &mut [Self]) -> &mut [S::$vector] {
            S::$split_mut(column).0
        }
        #[inline(always)]
        fn numbers<S: Simd>(vector: &S::$vector) -> &[Self] {
            bytemuck::cast_slice(std::slice::from_ref(vector))
        }
        #[inline(always)]
        fn numbers_mut<S: Simd>(vector: &mut S::$vector) -> &mut [Self] {
            bytemuck::cast_slice_mut(std::slice::from_mut(vector))
        }
        #[inline(always)]
        fn splat<S: Simd>(simd: S, value: Self) -> S::$vector {
            simd.$splat(value)
        }
        #[inline(always)]
        fn abs<S: Simd>(simd: S, a: S::$vector) -> S::$vector {
            simd.$abs(a)
        }
        #[inline(always)]
        fn sqrt<S: Simd>(simd: S, a: S::$vector) -> S::$vector {
            simd.$sqrt(a)
        }
        #[inline(always)]
        fn all_equal<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> bool {
            // The first lane where they differ, or the number of lanes.
            simd.$first_true(simd.$not(Self::equal(simd, a, b))) == Self::lanes::<S>()
        }
        #[inline(always)]
        fn mul_add<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
            simd.$mul_add(a, b, c)
        }
        #[inline(always)]
        fn select<S: Simd>(simd: S, mask: S::$mask, a: S::$vector, b: S::$vector) -> S::$vector {
            simd.$select(mask, a, b)
        }
        $(#[inline(always)]
        fn $name<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
            simd.$method(a, b)
        })*
        $(#[inline(always)]
        fn $comparison<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$mask {
            simd.$compare(a, b)
        })*
    };
}

impl Vectors for f32 {
    forwarded! {
        f32s, m32s, as_simd_f32s, as_mut_simd_f32s, splat_f32s, abs_f32s, sqrt_f32s, first_true_m32s, not_m32s, mul_add_e_f32s, select_f32s;
        add = add_f32s, sub = sub_f32s, mul = mul_f32s, div = div_f32s, min = min_f32s, max = max_f32s;
        equal = equal_f32s, greater = greater_than_f32s
    }

    #[inline(always)]
    fn reciprocal<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        crate::functions::reciprocal(Lanes::<S, f32>::new(simd, x)).vector
    }

    #[inline(always)]
    fn exp_nonpositive<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        crate::functions::exp_nonpositive(Lanes::<S, f32>::new(simd, x)).vector
    }

    #[inline(always)]
    fn exp_m1_nonpositive<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        crate::functions::exp_m1_nonpositive(Lanes::<S, f32>::new(simd, x)).vector
    }

    #[inline(always)]
    fn ln_1p<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        crate::functions::ln_1p(Lanes::<S, f32>::new(simd, x)).vector
    }
}

/// In `f64` the exponential and the logarithm are the C library's, lane by lane.
impl Vectors for f64 {
    forwarded! {
        f64s, m64s, as_simd_f64s, as_mut_simd_f64s, splat_f64s, abs_f64s, sqrt_f64s, first_true_m64s, not_m64s, mul_add_e_f64s, select_f64s;
        add = add_f64s, sub = sub_f64s, mul = mul_f64s, div = div_f64s, min = min_f64s, max = max_f64s;
        equal = equal_f64s, greater = greater_than_f64s
    }

    #[inline(always)]
    fn reciprocal<S: Simd>(simd: S, x: S::f64s) -> S::f64s {
        simd.div_f64s(simd.splat_f64s(1.0), x)
    }

    #[inline(always)]
    fn exp_nonpositive<S: Simd>(_: S, mut x: S::f64s) -> S::f64s {
        Self::numbers_mut::<S>(&mut x).iter_mut().for_each(|x| *x = x.exp());
        x
    }

    #[inline(always)]
    fn exp_m1_nonpositive<S: Simd>(_: S, mut x: S::f64s) -> S::f64s {
        Self::numbers_mut::<S>(&mut x).iter_mut().for_each(|x| *x = x.exp_m1());
        x
    }

    #[inline(always)]
    fn ln_1p<S: Simd>(_: S, mut x: S::f64s) -> S::f64s {
        Self::numbers_mut::<S>(&mut x).iter_mut().for_each(|x| *x = x.ln_1p());
        x
    }
}

/// A vector of floats.
pub(crate) struct Lanes<S: Simd, C: Vectors> {
    pub(crate) simd: S,
    pub(crate) vector: C::Vector<S>,
}

impl<S: Simd, C: Vectors> Clone for Lanes<S, C> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Simd, C: Vectors> Copy for Lanes<S, C> {}

macro_rules! operator {
    ($($trait:ident, $method:ident;)*) => {$(
        impl<S: Simd, C: Vectors> $trait for Lanes<S, C> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self::new(self.simd, C::$method(self.simd, self.vector, other.vector))
            }
        }
    )*};
}

operator! {
    Add, add;
    Sub, sub;
    Mul, mul;
    Div, div;
}

impl<S: Simd, C: Vectors + Neg<Output = C> + num_traits::Zero> Neg for Lanes<S, C> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self.splat(-C::zero()) - self
    }
}

impl<S: Simd, C: Vectors> Lanes<S, C> {
    #[inline(always)]
    pub(crate) fn new(simd: S, vector: C::Vector<S>) -> Self {
        Self { simd, vector }
    }

    /// One number in every lane.
    #[inline(always)]
    pub(crate) fn of(simd: S, value: C) -> Self {
        Self::new(simd, C::splat(simd, value))
    }

    /// One number in every lane.
    #[inline(always)]
    pub(crate) fn splat(self, value: C) -> Self {
        Self::of(self.simd, value)
    }

    /// self · b + c, rounded once or twice.
    #[inline(always)]
    pub(crate) fn mul_add(self, b: Self, c: Self) -> Self {
        Self::new(self.simd, C::mul_add(self.simd, self.vector, b.vector, c.vector))
    }

    #[inline(always)]
    pub(crate) fn abs(self) -> Self {
        Self::new(self.simd, C::abs(self.simd, self.vector))
    }

    #[inline(always)]
    pub(crate) fn min(self, other: Self) -> Self {
        Self::new(self.simd, C::min(self.simd, self.vector, other.vector))
    }

    #[inline(always)]
    pub(crate) fn max(self, other: Self) -> Self {
        Self::new(self.simd, C::max(self.simd, self.vector, other.vector))
    }

    /// `a` where it equals `other`, else `b`.
    #[inline(always)]
    pub(crate) fn if_equal(self, other: Self, a: Self, b: Self) -> Self {
        let mask = C::equal(self.simd, self.vector, other.vector);
        Self::new(self.simd, C::select(self.simd, mask, a.vector, b.vector))
    }

    /// `a` where it is greater than `other`, else `b`.
    #[inline(always)]
    pub(crate) fn if_greater(self, other: Self, a: Self, b: Self) -> Self {
        let mask = C::greater(self.simd, self.vector, other.vector);
        Self::new(self.simd, C::select(self.simd, mask, a.vector, b.vector))
    }

    /// 1/self, where it is > 0, neither nearly 0 nor nearly overflowing.
    #[inline(always)]
    pub(crate) fn reciprocal(self) -> Self {
        Self::new(self.simd, C::reciprocal(self.simd, self.vector))
    }

    /// e^self, where it is ≤ 0; 0 where that is below the least normal number.
    #[inline(always)]
    pub(crate) fn exp_nonpositive(self) -> Self {
        Self::new(self.simd, C::exp_nonpositive(self.simd, self.vector))
    }

    /// e^self − 1, where it is ≤ 0.
    #[inline(always)]
    pub(crate) fn exp_m1_nonpositive(self) -> Self {
        Self::new(self.simd, C::exp_m1_nonpositive(self.simd, self.vector))
    }

    #[inline(always)]
    pub(crate) fn sqrt(self) -> Self {
        Self::new(self.simd, C::sqrt(self.simd, self.vector))
    }

    /// log(1 + self), where it is ≥ 0.
    #[inline(always)]
    pub(crate) fn ln_1p(self) -> Self {
        Self::new(self.simd, C::ln_1p(self.simd, self.vector))
    }
}

/// A column of pixels, read vector by vector.
pub(crate) struct Column<'a, S: Simd, C: Vectors> {
    simd: S,
    vectors: &'a [C::Vector<S>],
}

impl<S: Simd, C: Vectors> Clone for Column<'_, S, C> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Simd, C: Vectors> Copy for Column<'_, S, C> {}

impl<'a, S: Simd, C: Vectors> Column<'a, S, C> {
    #[inline(always)]
    pub(crate) fn new(simd: S, column: &'a [C]) -> Self {
        Self { simd, vectors: C::vectors::<S>(column) }
    }

    /// How many vectors it has.
    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        self.vectors.len()
    }

    /// Some of its vectors. Where all columns of a loop are cut alike, the compiler knows that none is too short.
    #[inline(always)]
    pub(crate) fn part(self, start: usize, end: usize) -> Self {
        Self { simd: self.simd, vectors: &self.vectors[start..end] }
    }

    #[inline(always)]
    pub(crate) fn at(self, i: usize) -> Lanes<S, C> {
        Lanes::new(self.simd, self.vectors[i])
    }

    /// Number by number.
    pub(crate) fn numbers(self) -> impl Iterator<Item = &'a C> {
        self.vectors.iter().flat_map(|vector| C::numbers::<S>(vector))
    }
}

// What stands between the bars is put into the loop as it stands, not called: a closure that is compiled by itself has none of the
// instructions of the function around it, and calls each of them as a function of its own.

/// Writes a column: a vector for each of its vectors, from the index, and from what is there.
macro_rules! write_column {
    ($simd:expr, $column:expr, |$i:ident| $value:expr) => {
        for ($i, vector) in crate::simd::vectors_mut($simd, $column).iter_mut().enumerate() {
            *vector = $value.vector;
        }
    };
    ($simd:expr, $column:expr, |$i:ident, $old:ident| $value:expr) => {
        for ($i, vector) in crate::simd::vectors_mut($simd, $column).iter_mut().enumerate() {
            let $old = crate::simd::Lanes::new($simd, *vector);
            *vector = $value.vector;
        }
    };
}
pub(crate) use write_column;

/// The vectors of a column, to be written.
#[inline(always)]
pub(crate) fn vectors_mut<S: Simd, C: Vectors>(_: S, column: &mut [C]) -> &mut [C::Vector<S>] {
    C::vectors_mut::<S>(column)
}

/// A sum in every lane, kept as a number and what its roundings have lost, each of which is known exactly (Knuth's two-sum): as good
/// as a sum in twice the precision, and with no other instructions than the lanes' own. Kahan's shorter sum, which takes from the next
/// summand what the last has lost, is not: it rounds that difference.
pub(crate) struct Sum<S: Simd, C: Vectors> {
    sum: Lanes<S, C>,
    lost: Lanes<S, C>,
}

impl<S: Simd, C: crate::Real> Sum<S, C> {
    #[inline(always)]
    pub(crate) fn load(simd: S, slot: &[C]) -> Self {
        let vectors = C::vectors::<S>(slot);
        Self { sum: Lanes::new(simd, vectors[0]), lost: Lanes::new(simd, vectors[vectors.len() / 2]) }
    }

    #[inline(always)]
    pub(crate) fn store(self, slot: &mut [C]) {
        let vectors = C::vectors_mut::<S>(slot);
        let half = vectors.len() / 2;
        vectors[0] = self.sum.vector;
        vectors[half] = self.lost.vector;
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, value: Lanes<S, C>) {
        let sum = self.sum + value;
        let added = sum - self.sum;
        self.lost = self.lost + ((self.sum - (sum - added)) + (value - added));
        self.sum = sum;
    }
}

impl<S: Simd, C: crate::Real> Lanes<S, C> {
    /// Whether every lane is.
    #[inline(always)]
    pub(crate) fn is_finite(self) -> bool {
        let zero = self.splat(C::zero());
        C::all_equal(self.simd, (self * zero).vector, zero.vector)
    }

    /// The sum of its numbers.
    pub(crate) fn total(self) -> f64 {
        C::numbers::<S>(&self.vector).iter().map(|number| number.wide()).sum()
    }
}

/// Numbers of a slot: the widest vector of sums, and what they have lost.
const SLOT: usize = 2 * PADDING;

/// Sums over pixels: lane by lane, and brought together after a number of blocks.
pub(crate) struct Sums<'a, C> {
    /// A slot per sum.
    pub(crate) lanes: &'a mut [C],
    pub(crate) totals: &'a mut [f64],
}

impl<C: crate::Real> Sums<'_, C> {
    /// Slots for so many sums.
    pub(crate) fn slots(count: usize) -> Vec<C> {
        vec![C::zero(); count * SLOT]
    }

    /// Adds to a sum, lane by lane.
    #[inline(always)]
    pub(crate) fn add<S: Simd>(&mut self, simd: S, at: usize, value: Lanes<S, C>) {
        let slot = &mut self.lanes[at * SLOT..(at + 1) * SLOT];
        let mut sum = Sum::load(simd, slot);
        sum.add(value);
        sum.store(slot);
    }

    /// Brings the lanes together.
    pub(crate) fn flush(&mut self) {
        for (slot, total) in self.lanes.chunks_exact_mut(SLOT).zip(self.totals.iter_mut()) {
            let (sums, lost) = slot.split_at(PADDING);
            *total += sums.iter().zip(lost).map(|(sum, lost)| sum.wide() + lost.wide()).sum::<f64>();
            slot.fill(C::zero());
        }
    }
}

/// Vectors that are added up plainly before they go to a [`Sum`], every other one by itself: eight roundings at the most.
pub(crate) const RUN: usize = 16;

/// Adds to a sum what is given for an index, over all lanes of the vectors `0..count`. `checked`: where the lanes' own type overflows,
/// as with logarithms near its limit, the run is added number by number in `f64`.
macro_rules! add_up {
    ($simd:expr, $sums:expr, $at:expr, $count:expr, $checked:expr, |$i:ident| $value:expr) => {{
        let (simd, at, count): (_, usize, usize) = ($simd, $at, $count);
        let mut start = 0;
        while start < count {
            let end = count.min(start + crate::simd::RUN);
            let (mut run, mut odd) = (Lanes::of(simd, C::zero()), Lanes::of(simd, C::zero()));
            let mut $i = start;
            while $i + 2 <= end {
                run = run + $value;
                $i += 1;
                odd = odd + $value;
                $i += 1;
            }
            if $i < end {
                run = run + $value;
            }
            run = run + odd;
            if $checked && !run.is_finite() {
                for $i in start..end {
                    $sums.totals[at] += $value.total();
                }
            } else {
                $sums.add(simd, at, run);
            }
            start = end;
        }
    }};
}
pub(crate) use add_up;

/// The sets of instructions that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// Whatever the compiler takes for the target at large.
    Plain,
    /// x86-64 with AVX2 and FMA: eight `f32` at a time.
    Avx2,
    /// x86-64 with AVX-512: sixteen.
    Avx512,
    /// AArch64: four.
    Neon,
}

/// The environment variable that names a set of instructions.
pub const INSTRUCTIONS_VARIABLE: &str = "SEGLOSS_SIMD";

const NAMES: [(&str, Instructions); 4] = [
    ("plain", Instructions::Plain),
    ("avx2", Instructions::Avx2),
    ("avx512", Instructions::Avx512),
    ("neon", Instructions::Neon),
];

impl Instructions {
    /// Those this machine has, the fastest last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        NAMES.iter().map(|(_, set)| *set).filter(|set| set.arch().is_some()).collect()
    }

    /// Its name, as [`INSTRUCTIONS_VARIABLE`] takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, set)| *set == self).map_or("plain", |(name, _)| name)
    }

    /// Those in use: the fastest that the machine has, or those that the environment variable [`INSTRUCTIONS_VARIABLE`] names
    /// (`plain`, `avx2`, `avx512`, `neon`), read once. Sums differ in their last bits between them.
    ///
    /// # Errors
    /// [`LossError::Unsupported`] where the variable names none that the machine has.
    pub fn in_use() -> Result<Self, LossError> {
        static CHOSEN: std::sync::OnceLock<Result<Instructions, String>> = std::sync::OnceLock::new();
        let chosen = CHOSEN.get_or_init(|| {
            let available = Self::available();
            let fastest = available.last().copied().unwrap_or(Self::Plain);
            match std::env::var(INSTRUCTIONS_VARIABLE) {
                Err(_) => Ok(fastest),
                Ok(name) => available.into_iter().find(|set| set.name() == name).ok_or(name),
            }
        });
        chosen.clone().map_err(|got| LossError::Unsupported {
            what: INSTRUCTIONS_VARIABLE,
            got,
            expected: "plain, avx2, avx512 or neon, where the machine has it",
        })
    }

    fn arch(self) -> Option<Chosen> {
        match self {
            Self::Plain => Some(Chosen::Plain),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => pulp::x86::V3::try_new().map(Chosen::Avx2),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => pulp::x86::V4::try_new().map(Chosen::Avx512),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => pulp::aarch64::Neon::try_new().map(Chosen::Neon),
            #[allow(unreachable_patterns, reason = "which of them there are depends on the target")]
            _ => None,
        }
    }

    /// Runs what is compiled for these instructions; the plain ones where the machine has not got them.
    pub(crate) fn run<Op: WithSimd>(self, op: Op) -> Op::Output {
        match self.arch() {
            #[cfg(target_arch = "x86_64")]
            Some(Chosen::Avx2(simd)) => Simd::vectorize(simd, op),
            #[cfg(target_arch = "x86_64")]
            Some(Chosen::Avx512(simd)) => Simd::vectorize(simd, op),
            #[cfg(target_arch = "aarch64")]
            Some(Chosen::Neon(simd)) => Simd::vectorize(simd, op),
            Some(Chosen::Plain) | None => Simd::vectorize(pulp::Scalar::new(), op),
        }
    }
}

/// A proof that the machine has a set of instructions.
enum Chosen {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    #[cfg(target_arch = "aarch64")]
    Neon(pulp::aarch64::Neon),
}
