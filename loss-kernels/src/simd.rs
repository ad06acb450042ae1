//! Vectors of floats whose width is chosen at run time, and what a column of pixels needs of them.
//!
//! [`pulp`] has the instructions, and the functions that are compiled once for each set of them. Here a vector is a number:
//! [`Lanes`] adds, multiplies and compares like one, so that a formula reads as it is written on paper.

use std::ops::{Add, Div, Mul, Sub};

use pulp::Simd;

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

/// A vector of floats.
pub(crate) struct Lanes<S: Simd, C: Vectors> {
    pub(crate) simd: S,
    pub(crate) vector: C::Vector<S>,
}

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

    /// The first of its vectors. Where all columns of a loop are cut alike, the compiler knows that none is too short.
    #[inline(always)]
    pub(crate) fn first(self, count: usize) -> Self {
        Self { simd: self.simd, vectors: &self.vectors[..count] }
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
