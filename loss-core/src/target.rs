//! What a target may be: what its numbers mean beside logits of a shape, which shapes fit, and what
//! soft targets must add up to. The same for every backend.

use std::ops::RangeInclusive;

use crate::Argument;

/// What the numbers of a target are.
///
/// A channel axis of length 1 has no meaning of its own and may stand or be left out: labels and
/// pixel weights are `[N, *spatial]` or `[N, 1, *spatial]`, and soft targets of one class too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// Class indices, `[N, *spatial]` or `[N, 1, *spatial]`.
    Labels,
    /// Integers 0 and 1 for every class, `[N, K, *spatial]` of K > 1: what labels say, one-hot. An
    /// ignored label that is a class leaves out its pixels here too.
    OneHot,
    /// A share of every class in `[0, 1]`, `[N, K, *spatial]`; of one class also `[N, *spatial]`.
    Soft,
}

impl TargetKind {
    /// What integers, or booleans, of a shape are beside logits of a shape: one-hot where that is
    /// the shape of logits of several classes, else labels. So integers of one class are labels, 0
    /// and 1, with or without their axis.
    ///
    /// ```
    /// use loss_core::TargetKind;
    /// let of = |logits: &[usize], target: &[usize]| TargetKind::of_integers(logits, target);
    /// assert_eq!(of(&[2, 3, 8, 8], &[2, 8, 8]), TargetKind::Labels);
    /// assert_eq!(of(&[2, 3, 8, 8], &[2, 1, 8, 8]), TargetKind::Labels);
    /// assert_eq!(of(&[2, 3, 8, 8], &[2, 3, 8, 8]), TargetKind::OneHot);
    /// assert_eq!(of(&[2, 1, 8, 8], &[2, 1, 8, 8]), TargetKind::Labels);
    /// ```
    #[must_use]
    pub fn of_integers(logits: &[usize], integers: &[usize]) -> Self {
        let several = logits.get(1).is_some_and(|&classes| classes > 1);
        if several && integers == logits { Self::OneHot } else { Self::Labels }
    }

    /// Which argument of a call such a target is.
    #[must_use]
    pub fn argument(self) -> Argument {
        match self {
            Self::Labels => Argument::Labels,
            Self::OneHot => Argument::OneHot,
            Self::Soft => Argument::SoftTargets,
        }
    }

    /// The shape that a target of this kind has beside logits `[N, K, *spatial]`, without a channel
    /// axis of length 1 where it needs none.
    pub(crate) fn shape(self, logits: &[usize]) -> Vec<usize> {
        if self == Self::Labels { without_classes(logits) } else { logits.to_vec() }
    }

    /// Whether a target of this kind may have a shape.
    pub(crate) fn fits(self, logits: &[usize], shape: &[usize]) -> bool {
        match self {
            Self::Labels => is_of_pixels(logits, shape),
            Self::OneHot => shape == logits,
            Self::Soft => shape == logits || (logits.get(1) == Some(&1) && is_of_pixels(logits, shape)),
        }
    }
}

/// How far soft targets may be from `[0, 1]`, and their sum under softmax from 1: what rounding
/// does to them. Beyond `[0, 1]` they are read as 0 or 1.
pub const SHARE_SLACK: f64 = 1e-3;

/// The same where they are stored in half precision.
pub const HALF_SHARE_SLACK: f64 = 1e-2;

/// What the range of shares is called where one is outside.
pub const SHARE_RANGE: &str = "[0, 1]";

/// What the range of one-hot integers is called where one is outside.
pub const ONE_HOT_RANGE: &str = "0 and 1, as which integers of the logits' shape are read: for class indices leave out the class \
                                 axis, for shares use floats, and to leave out a pixel give it the weight 0";

/// What the range of labels is called where one is beyond [`i64`].
pub const LABEL_RANGE: &str = "the numbers of a label, up to 9223372036854775807: one that was negative needs a signed type";

/// The shares that are no further from `[0, 1]` than rounding takes them.
#[must_use]
pub fn shares_within(slack: f64) -> RangeInclusive<f64> {
    -slack..=1.0 + slack
}

/// Ignored labels that are classes: what one-hot pixels can be of.
pub fn ignored_classes(ignore: &[i64], classes: usize) -> impl Iterator<Item = usize> {
    ignore.iter().filter_map(move |&label| usize::try_from(label).ok().filter(|&class| class < classes))
}

/// `[N, *spatial]`
pub(crate) fn without_classes(logits: &[usize]) -> Vec<usize> {
    logits.iter().enumerate().filter(|(axis, _)| *axis != 1).map(|(_, &length)| length).collect()
}

/// Whether a shape is `[N, *spatial]` or `[N, 1, *spatial]`.
pub(crate) fn is_of_pixels(logits: &[usize], shape: &[usize]) -> bool {
    let fits = |(axis, &length): (usize, &usize)| length == if axis == 1 { 1 } else { logits[axis] };
    shape == without_classes(logits) || (shape.len() == logits.len() && shape.iter().enumerate().all(fits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_axis_of_length_one_may_stand_or_be_left_out() {
        // Any number of spatial axes, one of them of length 1, as long as the number of classes or
        // as the samples are many.
        for logits in [&[4, 3][..], &[2, 3, 7], &[2, 3, 1], &[3, 3, 3, 3], &[2, 3, 4, 5], &[1, 2, 3, 4, 5], &[2, 1, 4, 5]] {
            let pixels = without_classes(logits);
            let mut channel = logits.to_vec();
            channel[1] = 1;
            for shape in [&pixels, &channel] {
                assert!(TargetKind::Labels.fits(logits, shape), "{logits:?} {shape:?}");
                assert_eq!(TargetKind::of_integers(logits, shape), TargetKind::Labels, "{logits:?} {shape:?}");
                assert_eq!(TargetKind::Soft.fits(logits, shape), logits[1] == 1, "{logits:?} {shape:?}");
            }
            assert!(TargetKind::Soft.fits(logits, logits));
            assert_eq!(TargetKind::of_integers(logits, logits) == TargetKind::OneHot, logits[1] > 1, "{logits:?}");
            // The axis elsewhere, twice, and of another length.
            let last: Vec<usize> = pixels.iter().copied().chain([1]).collect();
            let mut twice = channel.clone();
            twice.insert(1, 1);
            let mut two = channel.clone();
            two[1] = 2;
            for shape in [last, twice, two] {
                let is_channel = shape == channel || shape == pixels;
                assert_eq!(TargetKind::Labels.fits(logits, &shape), is_channel, "{logits:?} {shape:?}");
            }
        }
    }
}
