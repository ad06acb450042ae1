//! The way from a layout that people have to the one that is read.

use crate::Argument;

/// What to do about an array that does not fit, as the end of a sentence; empty where nothing is
/// known.
pub(crate) fn way_out(what: Argument, logits: &[usize], expected: &[usize], got: &[usize]) -> String {
    let rank = logits.len();
    let is_pixels = matches!(what, Argument::Labels | Argument::PixelWeights);
    // [N, *spatial, K], as channels-last libraries have it.
    let last = |shape: &[usize]| -> Option<Vec<usize>> {
        let (classes, rest) = shape.split_last()?;
        let mut first = rest.to_vec();
        (!first.is_empty()).then(|| first.insert(1, *classes))?;
        Some(first)
    };
    if rank > 2 && is_pixels && logits.get(..rank - 1) == Some(got) {
        return format!(
            "; if these logits have their classes in the last axis, bring that to the second place, as in permute{}",
            permutation(rank)
        );
    }
    if !is_pixels && got.len() == rank && rank > 2 && last(got).as_deref() == Some(expected) {
        return format!(
            "; their classes seem to be in the last axis: bring that to the second place, as in permute{}",
            permutation(rank)
        );
    }
    if is_pixels && got.len() == rank && rank > 1 && (got == logits || last(got).as_deref() == Some(logits)) {
        return match what {
            Argument::Labels => "; one number for each class is a soft target, of a float type".to_owned(),
            _ => "; a weight is one number for each pixel, and one for each class is the option class_weights".to_owned(),
        };
    }
    if got.len() + 1 == expected.len() && expected.get(1..) == Some(got) && expected.first() == Some(&1) {
        return "; put an axis for the one sample before the others".to_owned();
    }
    if got.len() == expected.len() && rank > 3 {
        let mut turned = got.to_vec();
        turned.get_mut(if is_pixels { 1 } else { 2 }..).unwrap_or_default().reverse();
        if turned == expected {
            return "; the spatial axes seem to stand in the other order".to_owned();
        }
    }
    String::new()
}

/// From [N, *spatial, K] to [N, K, *spatial]: (0, 3, 1, 2) of four axes.
fn permutation(rank: usize) -> String {
    let axes: Vec<String> = [0, rank - 1].into_iter().chain(1..rank - 1).map(|axis| axis.to_string()).collect();
    format!("({})", axes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layout_has_its_way_out() {
        let logits = [2, 3, 4, 5];
        let (labels, soft, weights) = (Argument::Labels, Argument::SoftTargets, Argument::PixelWeights);
        for (what, logits, got, words) in [
            (labels, [2, 4, 5, 3], &[2, 4, 5][..], "permute(0, 3, 1, 2)"),
            (soft, logits, &[2, 4, 5, 3], "permute(0, 3, 1, 2)"),
            (labels, logits, &[2, 3, 4, 5], "soft target, of a float type"),
            (labels, logits, &[2, 4, 5, 3], "soft target, of a float type"),
            (weights, logits, &[2, 3, 4, 5], "class_weights"),
            (labels, [1, 3, 4, 5], &[4, 5], "an axis for the one sample"),
            (labels, logits, &[2, 5, 4], "the other order"),
            (soft, logits, &[2, 3, 5, 4], "the other order"),
        ] {
            let expected = if what == soft { logits.to_vec() } else { vec![logits[0], logits[2], logits[3]] };
            let said = way_out(what, &logits, &expected, got);
            assert!(said.contains(words), "{what} {got:?}: {said}");
        }
        assert_eq!(way_out(labels, &logits, &[2, 4, 5], &[2, 7, 7]), "");
        assert_eq!(way_out(labels, &[1], &[1], &[]), "; put an axis for the one sample before the others");
    }
}
