//! Vectors of floats whose width is chosen at run time, and columns of pixels made of them.
//!
//! [`pulp`] has the instructions, and functions that are compiled once for each set of them. Here a
//! pair of vectors is a number: [`Lanes`] adds, multiplies and compares like one, so that a formula
//! reads as on paper. In pairs, because a loop then loads its constants half as often, and neither
//! vector waits for results of the other.

use std::ops::{Add, Div, Mul, Neg, Sub};

use pulp::{Simd, WithSimd};

/// Two vectors.
pub(crate) type Pair<S, C> = [<C as Vectors>::Vector<S>; 2];

/// What the vectors of a float type can do, on any set of instructions.
pub trait Vectors: bytemuck::Pod {
    /// A vector.
    type Vector<S: Simd>: bytemuck::Pod;
    /// A truth value per lane.
    type Mask<S: Simd>: Copy;

    /// Numbers of a pair of vectors.
    #[must_use]
    fn lanes<S: Simd>() -> usize {
        size_of::<[Self::Vector<S>; 2]>() / size_of::<Self>()
    }
    /// The whole pairs of a column.
    fn pairs<S: Simd>(column: &[Self]) -> &[[Self::Vector<S>; 2]];
    /// The whole pairs of a column, to write.
    fn pairs_mut<S: Simd>(column: &mut [Self]) -> &mut [[Self::Vector<S>; 2]];
    /// The numbers of a pair.
    #[must_use]
    fn numbers<S: Simd>(pair: &[Self::Vector<S>; 2]) -> &[Self] {
        bytemuck::cast_slice(pair)
    }
    /// The numbers of a pair, to write.
    fn numbers_mut<S: Simd>(pair: &mut [Self::Vector<S>; 2]) -> &mut [Self] {
        bytemuck::cast_slice_mut(pair)
    }
    /// −0
    #[must_use]
    fn minus_zero() -> Self;
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
    /// Whether a and b have the same bits.
    fn same<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S>;
    /// a < b by their bits: for numbers ≥ +0; with b = +0, whether a has a sign.
    fn below<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S>;
    /// Whether a = b in every lane.
    fn all_equal<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> bool;
    /// a where the mask is true, else b.
    fn select<S: Simd>(simd: S, mask: Self::Mask<S>, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
}

/// The operations that pulp has, under its names: for floats, and for the integers of their bits.
/// Signs and choices are made of other operations, because pulp does not force its own to be
/// inlined, and a function that is not inlined into a loop lacks the loop's instructions.
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
        fn minus_zero() -> Self {
            -0.0
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
}

impl Vectors for f64 {
    forwarded! {
        f64s, m64s, as_simd_f64s, as_mut_simd_f64s, splat_f64s, first_true_m64s, not_m64s, mul_add_f64s, mul_add_e_f64s, sqrt_f64s;
        add = add_f64s, sub = sub_f64s, mul = mul_f64s, div = div_f64s, min = min_f64s, max = max_f64s;
        equal = equal_f64s, greater = greater_than_f64s;
        xor_f64s, and_f64s, Self::from_bits(u64::MAX >> 1), select_u64s, transmute_f64s_u64s;
        transmute_u64s_f64s, equal_u64s, transmute_i64s_f64s, greater_than_i64s
    }
}

/// Implements `Copy`, without the bounds that `derive` would add.
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
pub struct Lanes<S: Simd, C: Vectors> {
    pub(crate) simd: S,
    pub(crate) pair: Pair<S, C>,
}

/// An operation on pairs, from that on vectors.
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

/// A choice between pairs by a comparison.
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

    /// A zero for lanes in which nothing is to be added. AVX-512 adds with a mask in one
    /// instruction, and the compiler uses it where the zero is −0, since x + −0 is x. Other
    /// instructions choose between a number and +0 by one bitwise and.
    #[inline(always)]
    pub(crate) fn nothing(self) -> Self {
        const WIDE: usize = 64;
        self.splat(if size_of::<C::Vector<S>>() == WIDE { C::minus_zero() } else { C::zeroed() })
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
        /// `a` where it has the bits of `other`, else `b`: with `b` = 0 one instruction less.
        if_same, same;
        /// `a` where it is below `other`, else `b`: for numbers ≥ +0; likewise.
        if_below, below;
    }

    /// `a` where it has a sign, else `b`: the processor selects by the sign bit itself.
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

    #[inline(always)]
    pub(crate) fn sqrt(self) -> Self {
        both!(sqrt(self.simd, self.pair))
    }
}

/// A column of pixels in pairs of vectors.
pub(crate) struct Column<'a, S: Simd, C: Vectors> {
    simd: S,
    pairs: &'a [Pair<S, C>],
}

impl<'a, S: Simd, C: Vectors> Column<'a, S, C> {
    #[inline(always)]
    pub(crate) fn new(simd: S, column: &'a [C]) -> Self {
        Self { simd, pairs: C::pairs::<S>(column) }
    }

    /// Its pairs.
    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        self.pairs.len()
    }

    /// Its first pairs. Where all columns of a loop are cut to one length, the compiler drops the
    /// bounds checks.
    #[inline(always)]
    pub(crate) fn first(self, count: usize) -> Self {
        Self { simd: self.simd, pairs: &self.pairs[..count] }
    }

    #[inline(always)]
    pub(crate) fn at(self, i: usize) -> Lanes<S, C> {
        Lanes::new(self.simd, self.pairs[i])
    }

    /// Its numbers.
    pub(crate) fn numbers(self) -> impl Iterator<Item = &'a C> {
        self.pairs.iter().flat_map(|pair| C::numbers::<S>(pair))
    }
}

// These are macros because a closure that is not inlined lacks the instructions of the function
// around it, and calls each of them as a function.

/// Writes every pair of a column, from its index and, on request, the old pair.
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

/// Runs loops as a function of their own: without optimisation, all loops of a pass in one function
/// would need more stack than a thread has.
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

/// The pairs of a column, to write.
#[inline(always)]
pub(crate) fn pairs_mut<S: Simd, C: Vectors>(_: S, column: &mut [C]) -> &mut [Pair<S, C>] {
    C::pairs_mut::<S>(column)
}
