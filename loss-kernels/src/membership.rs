//! Which class a pixel is of: labels as they are given, and y·x and (1 − y)·x.

use loss_core::Side;
use pulp::Simd;

use crate::Real;
use crate::columns::Grid;
use crate::simd::{Column, Lanes, Vectors, copied};

/// The class bits of a pixel without a class.
pub(crate) const NO_CLASS: u32 = u32::MAX;

/// The label of a channel: a single channel is class 1, and its background has no channel.
pub(crate) fn label_of(k: usize, classes: usize) -> u32 {
    (k + usize::from(classes == 1)) as u32
}

/// Whether pixels are of a class. `class` is its bits in all lanes.
pub(crate) trait Membership<S: Simd, C: Real>: Copy {
    /// Whether a pixel is of one class at most.
    const COUNTED: bool;
    /// Its first pairs.
    fn first(self, count: usize) -> Self;
    /// y·x, on the background side (1 − y)·x, at the pair `b` of the class `k`.
    fn of<const BACKGROUND: bool>(self, k: usize, b: usize, class: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C>;
}

/// Labels.
pub(crate) struct HardTarget<'a, S: Simd, C: Vectors>(pub(crate) Column<'a, S, C>);

/// Shares, class by class.
pub(crate) struct SoftTarget<'a, S: Simd, C: Vectors>(pub(crate) Grid<'a, S, C>);

copied!(HardTarget<'_>, SoftTarget<'_>);

impl<S: Simd, C: Real> HardTarget<'_, S, C> {
    /// x where a pixel is of the class, else −x.
    #[inline(always)]
    pub(crate) fn signed(self, b: usize, class: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C> {
        self.0.at(b).if_same(class, x, -x)
    }
}

impl<S: Simd, C: Real> Membership<S, C> for HardTarget<'_, S, C> {
    const COUNTED: bool = true;

    #[inline(always)]
    fn first(self, count: usize) -> Self {
        Self(self.0.first(count))
    }

    #[inline(always)]
    fn of<const BACKGROUND: bool>(self, _: usize, b: usize, class: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C> {
        let (label, nothing) = (self.0.at(b), x.nothing());
        if BACKGROUND { label.if_same(class, nothing, x) } else { label.if_same(class, x, nothing) }
    }
}

impl<S: Simd, C: Real> Membership<S, C> for SoftTarget<'_, S, C> {
    const COUNTED: bool = false;

    #[inline(always)]
    fn first(self, _: usize) -> Self {
        self
    }

    #[inline(always)]
    fn of<const BACKGROUND: bool>(self, k: usize, b: usize, _: Lanes<S, C>, x: Lanes<S, C>) -> Lanes<S, C> {
        let share = self.0.at(k, b);
        if BACKGROUND { (x.splat(C::one()) - share) * x } else { share * x }
    }
}

/// The target of one class.
pub(crate) enum TargetColumn<'a, S: Simd, C: Vectors> {
    /// Labels, and the class's bits.
    Hard(HardTarget<'a, S, C>, Lanes<S, C>),
    /// Shares, and the class's number.
    Soft(SoftTarget<'a, S, C>, usize),
}

impl<S: Simd, C: Real> TargetColumn<'_, S, C> {
    /// y·x, on the background side (1 − y)·x.
    #[inline(always)]
    pub(crate) fn of(&self, side: Side, b: usize, x: Lanes<S, C>) -> Lanes<S, C> {
        // Labels do not look at the class number, shares not at the class bits.
        match (self, side) {
            (Self::Hard(label, class), Side::Region) => label.of::<false>(0, b, *class, x),
            (Self::Hard(label, class), Side::Background) => label.of::<true>(0, b, *class, x),
            (Self::Soft(share, k), Side::Region) => share.of::<false>(*k, b, x, x),
            (Self::Soft(share, k), Side::Background) => share.of::<true>(*k, b, x, x),
        }
    }
}

/// An integer that labels are given in.
pub(crate) trait Label: Copy {
    /// Its lower 32 bits: all of a class.
    fn low(self) -> u32;
    /// Writes labels as class bits; the bits of all labels, or-ed.
    fn convert<C: Real>(labels: &[Self], classes: &mut [C]) -> u64;
    /// `None` beyond `i64`.
    fn wide(self) -> Option<i64>;
    /// The nearest number.
    fn number(self) -> f64;

    /// Whether it is a class of 0..count.
    #[inline(always)]
    fn is_below(self, count: usize) -> bool {
        self.wide().and_then(|label| usize::try_from(label).ok()).is_some_and(|label| label < count)
    }
}

/// A summary of labels.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    /// The bits of all labels, or-ed.
    any: u64,
    /// A bit for each label, modulo 32.
    set: u32,
}

impl Seen {
    /// Writes labels as class bits and summarises them, without a branch. Of labels that are all 0
    /// or 1, it is not looked at which there are.
    #[inline(always)]
    pub(crate) fn of<L: Label, C: Real>(labels: &[L], classes: &mut [C]) -> Self {
        let any = L::convert(labels, classes);
        if any < 2 {
            return Self { any, set: (1 << (any + 1)) - 1 };
        }
        let mut set = 0;
        for class in &classes[..labels.len().min(classes.len())] {
            set |= 1u32.wrapping_shl(class.class());
        }
        Self { any, set }
    }

    /// Whether all of `labels`, of which it was made, are classes of 0..count.
    #[inline(always)]
    pub(crate) fn are_below<L: Label>(self, count: usize, labels: &[L]) -> bool {
        if self.any < u32::BITS.into() {
            (u32::BITS - self.set.leading_zeros()) as usize <= count
        } else {
            labels.iter().all(|label| label.is_below(count))
        }
    }

    #[inline(always)]
    pub(crate) fn add<L: Label>(&mut self, class: L) {
        self.set |= 1u32.wrapping_shl(class.low());
    }

    /// False only if no label is of the class.
    #[inline(always)]
    pub(crate) fn may_have(self, class: u32) -> bool {
        self.set >> (class % 32) & 1 == 1
    }
}

macro_rules! label {
    ($($type:ty, $bits:ty;)*) => {$(
        impl Label for $type {
            #[inline(always)]
            fn low(self) -> u32 {
                self as u32
            }
            #[inline(always)]
            fn convert<C: Real>(labels: &[Self], classes: &mut [C]) -> u64 {
                // A negative label sets the highest bit.
                let mut any = 0;
                for (class, &label) in classes.iter_mut().zip(labels) {
                    *class = C::of_class(label.low());
                    any |= label as $bits;
                }
                any.into()
            }
            #[inline(always)]
            fn wide(self) -> Option<i64> {
                i64::try_from(self).ok()
            }
            #[inline(always)]
            fn number(self) -> f64 {
                self as f64
            }
        }
    )*};
}

label! {
    u8, u8;
    i8, u8;
    u16, u16;
    i16, u16;
    u32, u32;
    i32, u32;
    u64, u64;
    i64, u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels at the ends of what a set holds, alone and with another.
    fn check<L: Label + TryFrom<i64>>(ends: &[i64]) {
        let labels: Vec<L> = ends.iter().filter_map(|&label| L::try_from(label).ok()).collect();
        let mut groups: Vec<Vec<L>> = vec![Vec::new()];
        groups.extend(labels.iter().map(|&a| vec![a]));
        groups.extend(labels.iter().flat_map(|&a| labels.iter().map(move |&b| vec![a, b])));
        for group in groups {
            let wide: Vec<i64> = group.iter().filter_map(|label| label.wide()).collect();
            let mut numbers = vec![0.0f32; group.len()];
            let seen = Seen::of(&group, &mut numbers);
            assert!(numbers.iter().zip(&group).all(|(number, label)| number.to_bits() == label.low()));
            for count in [1, 2, 20, 31, 32, 33, 63, 64, 65, 150, 256] {
                let all = wide.iter().all(|&label| (0..count).contains(&label));
                assert_eq!(seen.are_below(count as usize, &group), all, "{wide:?} {count}");
            }
            let mut added = Seen::default();
            group.iter().for_each(|&label| added.add(label));
            for class in 0..32 {
                let modulo = |by: i64| wide.iter().any(|label| label.rem_euclid(by) == class as i64 % by);
                assert_eq!(added.may_have(class), modulo(32), "{wide:?} {class}");
                // Of labels 0 and 1 it is not looked at which there are.
                let either = class < 2 && wide.iter().all(|label| [0, 1].contains(label));
                assert!(seen.may_have(class) == modulo(32) || (either && !modulo(32)), "{wide:?} {class}");
            }
            assert!(wide.iter().all(|&label| label < 0 || seen.may_have(label as u32) && added.may_have(label as u32)));
        }
    }

    #[test]
    fn labels_are_told_from_what_is_none() {
        let ends = [0, 1, 2, 19, 20, 30, 31, 32, 33, 62, 63, 64, 65, 95, 96, 127, 128, 149, 150, 255];
        let odd = [-1, -64, i64::from(i32::MAX), i64::from(i32::MIN), 1 << 32, (1 << 32) + 1, i64::MAX, i64::MIN];
        let all: Vec<i64> = ends.iter().chain(&odd).copied().collect();
        check::<u8>(&all);
        check::<i8>(&all);
        check::<u16>(&all);
        check::<i16>(&all);
        check::<u32>(&all);
        check::<i32>(&all);
        check::<u64>(&all);
        check::<i64>(&all);
    }

    #[test]
    fn a_label_beyond_the_signed_types_is_no_class_and_no_other_number() {
        for label in [u64::MAX, 1 << 63, (1 << 63) + 1] {
            let seen = Seen::of(&[1, label], &mut [0.0f32; 2]);
            assert!(!seen.are_below(256, &[1, label]) && !label.is_below(256) && label.wide().is_none());
            assert_eq!(label.number(), label as f64);
        }
    }
}
