//! Vectors of floats whose width is chosen at run time, and what a column of pixels needs of them.
//!
//! [`pulp`] has the instructions, and the functions that are compiled once for each set of them. Here a pair of vectors is a number:
//! [`Lanes`] adds, multiplies and compares like one, so that a formula reads as it is written on paper. A pair, because a loop then
//! brings its constants half as often, and neither vector waits for what is made of the other.

use std::ops::{Add, Div, Mul, Neg, Sub};

use pulp::{Simd, WithSimd};

/// Numbers of the widest pair of vectors: 128 bytes of `f32`. Of `f64` it is two pairs.
pub(crate) const WIDEST: usize = 32;

/// Columns are padded to an even number of pairs, so that two can be taken at once.
pub(crate) const PADDING: usize = 2 * WIDEST;

/// Two vectors.
pub(crate) type Pair<S, C> = [<C as Vectors>::Vector<S>; 2];

/// What the vectors of a float type can do, on any set of instructions.
pub trait Vectors: bytemuck::Pod {
    /// A vector.
    type Vector<S: Simd>: bytemuck::Pod;
    /// A truth value for each of its lanes.
    type Mask<S: Simd>: Copy;
    /// What its functions have in every lane: brought once, and then read where it is needed.
    type Constants<S: Simd>: Copy;
    /// The τ of e^−τx, as that needs it.
    type Rate<S: Simd>: Copy;

    /// Numbers of a pair of vectors.
    #[must_use]
    fn lanes<S: Simd>() -> usize {
        size_of::<[Self::Vector<S>; 2]>() / size_of::<Self>()
    }
    /// The whole pairs of a column.
    fn pairs<S: Simd>(column: &[Self]) -> &[[Self::Vector<S>; 2]];
    /// The whole pairs of a column, to be written.
    fn pairs_mut<S: Simd>(column: &mut [Self]) -> &mut [[Self::Vector<S>; 2]];
    /// The numbers of a pair.
    #[must_use]
    fn numbers<S: Simd>(pair: &[Self::Vector<S>; 2]) -> &[Self] {
        bytemuck::cast_slice(pair)
    }
    /// The numbers of a pair, to be written.
    fn numbers_mut<S: Simd>(pair: &mut [Self::Vector<S>; 2]) -> &mut [Self] {
        bytemuck::cast_slice_mut(pair)
    }
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
    /// a · b + c, rounded once.
    fn fused_mul_add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    /// a · b + c, rounded once or twice.
    fn mul_add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    /// −a
    fn neg<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
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
    /// Whether a and b are the same, bit by bit.
    fn same<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S>;
    /// a < b by their bits: of numbers that are +0 or positive; or, with b = +0, whether a has a sign.
    fn below<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S>;
    /// Whether a = b in every lane.
    fn all_equal<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> bool;
    /// a where the mask is true, else b.
    fn select<S: Simd>(simd: S, mask: Self::Mask<S>, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// The constants of the functions below.
    fn constants<S: Simd>(simd: S) -> Self::Constants<S>;
    /// τ as a rate.
    fn rate<S: Simd>(simd: S, tau: f64) -> Self::Rate<S>;
    /// e^−τx for x ≥ +0.
    fn exp_of_minus<S: Simd>(
        simd: S,
        x: [Self::Vector<S>; 2],
        rate: &Self::Rate<S>,
        constants: &Self::Constants<S>,
    ) -> [Self::Vector<S>; 2];
    /// e^−x − 1 for x ≥ +0.
    fn exp_m1_of_minus<S: Simd>(simd: S, x: [Self::Vector<S>; 2], constants: &Self::Constants<S>) -> [Self::Vector<S>; 2];
    /// log(1 + x) for x ≥ 0.
    fn ln_1p<S: Simd>(simd: S, x: [Self::Vector<S>; 2], constants: &Self::Constants<S>) -> [Self::Vector<S>; 2];
    /// log(1 + x) for 0 ≤ x ≤ 1.
    fn ln_1p_of_share<S: Simd>(simd: S, x: [Self::Vector<S>; 2], constants: &Self::Constants<S>) -> [Self::Vector<S>; 2] {
        Self::ln_1p(simd, x, constants)
    }
}

/// The operations that pulp has, under its names: for floats, and for the integers of their bits. Signs and choices are made of others:
/// pulp leaves it to the compiler whether its own become part of a loop, and as functions of their own they would be without its instructions.
macro_rules! forwarded {
    ($vector:ident, $mask:ident, $split:ident, $split_mut:ident, $splat:ident, $first_true:ident, $not:ident, $fused_mul_add:ident, $mul_add:ident, $sqrt:ident;
     $($name:ident = $method:ident),*; $($comparison:ident = $compare:ident),*;
     $xor:ident, $and:ident, $magnitude:expr, $select:ident, $from_bits:ident;
     $to_bits:ident, $same:ident, $to_signed:ident, $below:ident) => {
        type Vector<S: Simd> = S::$vector;
        type Mask<S: Simd> = S::$mask;

        #[inline(always)]
        fn pairs<S: Simd>(column: &[Self]) -> &[[S::$vector; 2]] {
            S::$split(column).0.as_chunks().0
        }
        #[inline(always)]
        fn pairs_mut<S: Simd>(column: &mut [Self]) -> &mut [[S::$vector; 2]] {
            S::$split_mut(column).0.as_chunks_mut().0
        }
        #[inline(always)]
        fn splat<S: Simd>(simd: S, value: Self) -> S::$vector {
            simd.$splat(value)
        }
        #[inline(always)]
        fn all_equal<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> bool {
            // The first lane where they differ, or the number of lanes.
            simd.$first_true(simd.$not(Self::equal(simd, a, b))) == size_of::<S::$vector>() / size_of::<Self>()
        }
        #[inline(always)]
        fn fused_mul_add<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
            simd.$fused_mul_add(a, b, c)
        }
        #[inline(always)]
        fn mul_add<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
            simd.$mul_add(a, b, c)
        }
        #[inline(always)]
        fn select<S: Simd>(simd: S, mask: S::$mask, a: S::$vector, b: S::$vector) -> S::$vector {
            simd.$from_bits(simd.$select(mask, simd.$to_bits(a), simd.$to_bits(b)))
        }
        #[inline(always)]
        fn same<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$mask {
            simd.$same(simd.$to_bits(a), simd.$to_bits(b))
        }
        #[inline(always)]
        fn below<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$mask {
            simd.$below(simd.$to_signed(b), simd.$to_signed(a))
        }
        #[inline(always)]
        fn neg<S: Simd>(simd: S, a: S::$vector) -> S::$vector {
            simd.$xor(simd.$splat(-0.0), a)
        }
        #[inline(always)]
        fn abs<S: Simd>(simd: S, a: S::$vector) -> S::$vector {
            simd.$and(simd.$splat($magnitude), a)
        }
        #[inline(always)]
        fn sqrt<S: Simd>(simd: S, a: S::$vector) -> S::$vector {
            simd.$sqrt(a)
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
        f32s, m32s, as_simd_f32s, as_mut_simd_f32s, splat_f32s, first_true_m32s, not_m32s, mul_add_f32s, mul_add_e_f32s, sqrt_f32s;
        add = add_f32s, sub = sub_f32s, mul = mul_f32s, div = div_f32s, min = min_f32s, max = max_f32s;
        equal = equal_f32s, greater = greater_than_f32s;
        xor_f32s, and_f32s, Self::from_bits(u32::MAX >> 1), select_u32s, transmute_f32s_u32s;
        transmute_u32s_f32s, equal_u32s, transmute_i32s_f32s, greater_than_i32s
    }

    type Constants<S: Simd> = crate::functions::Constants<S>;
    type Rate<S: Simd> = crate::functions::Rate<S>;

    #[inline(always)]
    fn constants<S: Simd>(simd: S) -> Self::Constants<S> {
        crate::functions::Constants::new(simd)
    }

    #[inline(always)]
    fn rate<S: Simd>(simd: S, tau: f64) -> Self::Rate<S> {
        crate::functions::Rate::new(simd, tau)
    }

    #[inline(always)]
    fn exp_of_minus<S: Simd>(simd: S, x: [S::f32s; 2], rate: &Self::Rate<S>, constants: &Self::Constants<S>) -> [S::f32s; 2] {
        crate::functions::exp_of_minus(Lanes::<S, f32>::new(simd, x), rate, constants).pair
    }

    #[inline(always)]
    fn exp_m1_of_minus<S: Simd>(simd: S, x: [S::f32s; 2], constants: &Self::Constants<S>) -> [S::f32s; 2] {
        crate::functions::exp_m1_of_minus(Lanes::<S, f32>::new(simd, x), constants).pair
    }

    #[inline(always)]
    fn ln_1p<S: Simd>(simd: S, x: [S::f32s; 2], constants: &Self::Constants<S>) -> [S::f32s; 2] {
        crate::functions::ln_1p(Lanes::<S, f32>::new(simd, x), constants).pair
    }

    #[inline(always)]
    fn ln_1p_of_share<S: Simd>(simd: S, x: [S::f32s; 2], constants: &Self::Constants<S>) -> [S::f32s; 2] {
        crate::functions::ln_1p_of_share(Lanes::<S, f32>::new(simd, x), constants).pair
    }
}

/// In `f64` the exponential and the logarithm are the C library's, lane by lane.
impl Vectors for f64 {
    forwarded! {
        f64s, m64s, as_simd_f64s, as_mut_simd_f64s, splat_f64s, first_true_m64s, not_m64s, mul_add_f64s, mul_add_e_f64s, sqrt_f64s;
        add = add_f64s, sub = sub_f64s, mul = mul_f64s, div = div_f64s, min = min_f64s, max = max_f64s;
        equal = equal_f64s, greater = greater_than_f64s;
        xor_f64s, and_f64s, Self::from_bits(u64::MAX >> 1), select_u64s, transmute_f64s_u64s;
        transmute_u64s_f64s, equal_u64s, transmute_i64s_f64s, greater_than_i64s
    }

    type Constants<S: Simd> = ();
    type Rate<S: Simd> = Self;

    #[inline(always)]
    fn constants<S: Simd>(_: S) {}

    #[inline(always)]
    fn rate<S: Simd>(_: S, tau: f64) -> f64 {
        tau
    }

    #[inline(always)]
    fn exp_of_minus<S: Simd>(_: S, mut x: [S::f64s; 2], tau: &f64, (): &()) -> [S::f64s; 2] {
        Self::numbers_mut::<S>(&mut x).iter_mut().for_each(|x| *x = (-*x * tau).exp());
        x
    }

    #[inline(always)]
    fn exp_m1_of_minus<S: Simd>(_: S, mut x: [S::f64s; 2], (): &()) -> [S::f64s; 2] {
        Self::numbers_mut::<S>(&mut x).iter_mut().for_each(|x| *x = (-*x).exp_m1());
        x
    }

    #[inline(always)]
    fn ln_1p<S: Simd>(_: S, mut x: [S::f64s; 2], (): &()) -> [S::f64s; 2] {
        Self::numbers_mut::<S>(&mut x).iter_mut().for_each(|x| *x = x.ln_1p());
        x
    }
}

/// Makes types of vectors copies: `derive` would ask for more than they need.
macro_rules! copied {
    ($($type:ident $(<$lifetime:lifetime>)?),*) => {$(
        impl<S: Simd, C: Vectors> Clone for $type<$($lifetime,)? S, C> {
            #[inline(always)]
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<S: Simd, C: Vectors> Copy for $type<$($lifetime,)? S, C> {}
    )*};
}
pub(crate) use copied;

copied!(Lanes, Column<'_>);

/// A pair of vectors of floats.
pub(crate) struct Lanes<S: Simd, C: Vectors> {
    pub(crate) simd: S,
    pub(crate) pair: Pair<S, C>,
}

/// An operation on pairs, out of that on vectors.
macro_rules! both {
    ($method:ident($simd:expr $(, $operand:expr)*)) => {{
        let simd = $simd;
        Self::new(simd, [C::$method(simd $(, $operand[0])*), C::$method(simd $(, $operand[1])*)])
    }};
}

macro_rules! operator {
    ($($trait:ident, $method:ident;)*) => {$(
        impl<S: Simd, C: Vectors> $trait for Lanes<S, C> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                both!($method(self.simd, self.pair, other.pair))
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

impl<S: Simd, C: Vectors> Neg for Lanes<S, C> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        both!(neg(self.simd, self.pair))
    }
}

/// A choice between pairs, where a comparison of others holds.
macro_rules! choice {
    ($($(#[$doc:meta])* $name:ident, $compare:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name(self, other: Self, a: Self, b: Self) -> Self {
            let (simd, x, y) = (self.simd, self.pair, other.pair);
            let masks = [C::$compare(simd, x[0], y[0]), C::$compare(simd, x[1], y[1])];
            both!(select(simd, masks, a.pair, b.pair))
        }
    )*};
}

impl<S: Simd, C: Vectors> Lanes<S, C> {
    #[inline(always)]
    pub(crate) fn new(simd: S, pair: Pair<S, C>) -> Self {
        Self { simd, pair }
    }

    /// One number in every lane.
    #[inline(always)]
    pub(crate) fn of(simd: S, value: C) -> Self {
        Self::new(simd, [C::splat(simd, value); 2])
    }

    /// One number in every lane.
    #[inline(always)]
    pub(crate) fn splat(self, value: C) -> Self {
        Self::of(self.simd, value)
    }

    /// self · b + c, rounded once or twice.
    #[inline(always)]
    pub(crate) fn mul_add(self, b: Self, c: Self) -> Self {
        both!(mul_add(self.simd, self.pair, b.pair, c.pair))
    }

    /// self · b + c, rounded once.
    #[inline(always)]
    pub(crate) fn fused_mul_add(self, b: Self, c: Self) -> Self {
        both!(fused_mul_add(self.simd, self.pair, b.pair, c.pair))
    }

    #[inline(always)]
    pub(crate) fn abs(self) -> Self {
        both!(abs(self.simd, self.pair))
    }

    #[inline(always)]
    pub(crate) fn min(self, other: Self) -> Self {
        both!(min(self.simd, self.pair, other.pair))
    }

    #[inline(always)]
    pub(crate) fn max(self, other: Self) -> Self {
        both!(max(self.simd, self.pair, other.pair))
    }

    choice! {
        /// `a` where it equals `other`, else `b`.
        if_equal, equal;
        /// `a` where it is greater than `other`, else `b`.
        if_greater, greater;
        /// `a` where it is `other` bit by bit, else `b`: with `b` = 0 a processor does that in one instruction less.
        if_same, same;
        /// `a` where it is below `other`, else `b`: of numbers that are +0 or positive; likewise.
        if_below, below;
    }

    /// `a` where it has a sign, else `b`: a processor chooses by the sign itself.
    #[inline(always)]
    pub(crate) fn if_negative(self, a: Self, b: Self) -> Self {
        self.if_below(self.splat(C::zeroed()), a, b)
    }

    /// Whether it equals `other` in every lane.
    #[inline(always)]
    pub(crate) fn all_equal(self, other: Self) -> bool {
        let (simd, x, y) = (self.simd, self.pair, other.pair);
        C::all_equal(simd, x[0], y[0]) && C::all_equal(simd, x[1], y[1])
    }

    /// e^−τ·self, where it is +0 or positive; in `f32`, 0 where that is below about 1e-30.
    #[inline(always)]
    pub(crate) fn exp_of_minus(self, rate: &C::Rate<S>, constants: &C::Constants<S>) -> Self {
        Self::new(self.simd, C::exp_of_minus(self.simd, self.pair, rate, constants))
    }

    /// e^−self − 1, where it is +0 or positive.
    #[inline(always)]
    pub(crate) fn exp_m1_of_minus(self, constants: &C::Constants<S>) -> Self {
        Self::new(self.simd, C::exp_m1_of_minus(self.simd, self.pair, constants))
    }

    #[inline(always)]
    pub(crate) fn sqrt(self) -> Self {
        both!(sqrt(self.simd, self.pair))
    }

    /// log(1 + self), where it is ≥ 0.
    #[inline(always)]
    pub(crate) fn ln_1p(self, constants: &C::Constants<S>) -> Self {
        Self::new(self.simd, C::ln_1p(self.simd, self.pair, constants))
    }

    /// log(1 + self), where it is between 0 and 1.
    #[inline(always)]
    pub(crate) fn ln_1p_of_share(self, constants: &C::Constants<S>) -> Self {
        Self::new(self.simd, C::ln_1p_of_share(self.simd, self.pair, constants))
    }
}

/// A column of pixels, read pair by pair of vectors.
pub(crate) struct Column<'a, S: Simd, C: Vectors> {
    simd: S,
    pairs: &'a [Pair<S, C>],
}

impl<'a, S: Simd, C: Vectors> Column<'a, S, C> {
    #[inline(always)]
    pub(crate) fn new(simd: S, column: &'a [C]) -> Self {
        Self { simd, pairs: C::pairs::<S>(column) }
    }

    /// How many pairs it has.
    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        self.pairs.len()
    }

    /// The first of its pairs. Where all columns of a loop are cut alike, the compiler knows that none is too short.
    #[inline(always)]
    pub(crate) fn first(self, count: usize) -> Self {
        Self { simd: self.simd, pairs: &self.pairs[..count] }
    }

    #[inline(always)]
    pub(crate) fn at(self, i: usize) -> Lanes<S, C> {
        Lanes::new(self.simd, self.pairs[i])
    }

    /// Number by number.
    pub(crate) fn numbers(self) -> impl Iterator<Item = &'a C> {
        self.pairs.iter().flat_map(|pair| C::numbers::<S>(pair))
    }
}

// What stands between the bars is put into the loop as it stands, not called: a closure that is compiled by itself has none of the
// instructions of the function around it, and calls each of them as a function of its own.

/// Writes a column: a pair for each of its pairs, from the index, and from what is there.
macro_rules! write_column {
    ($simd:expr, $column:expr, |$i:ident| $value:expr) => {
        for ($i, pair) in crate::simd::pairs_mut($simd, $column).iter_mut().enumerate() {
            *pair = $value.pair;
        }
    };
    ($simd:expr, $column:expr, |$i:ident, $old:ident| $value:expr) => {
        for ($i, pair) in crate::simd::pairs_mut($simd, $column).iter_mut().enumerate() {
            let $old = crate::simd::Lanes::new($simd, *pair);
            *pair = $value.pair;
        }
    };
}
pub(crate) use write_column;

/// Runs loops as a function of their own. All loops of a pass in one would ask for more stack than a thread has, where nothing is
/// optimised.
macro_rules! apart {
    ($simd:expr, $loops:expr) => {
        // Inlined, so that it is compiled for the instructions of that function.
        crate::simd::run_apart(
            $simd,
            #[inline(always)]
            || $loops,
        )
    };
}
pub(crate) use apart;

/// See [`apart`].
#[inline(always)]
pub(crate) fn run_apart<S: Simd, R>(simd: S, loops: impl FnOnce() -> R) -> R {
    struct Apart<F>(F);
    impl<R, F: FnOnce() -> R> WithSimd for Apart<F> {
        type Output = R;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> R {
            (self.0)()
        }
    }
    simd.vectorize(Apart(loops))
}

/// The pairs of a column, to be written.
#[inline(always)]
pub(crate) fn pairs_mut<S: Simd, C: Vectors>(_: S, column: &mut [C]) -> &mut [Pair<S, C>] {
    C::pairs_mut::<S>(column)
}
