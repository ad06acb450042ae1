//! Arrays on a finer or a coarser grid over the same space.

use ndarray::{Array, Array1, Axis, Dimension, RemoveAxis};

/// The neighbours of a place along an axis, with weights that add up to 1.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// Which old places make each new one. Both grids cover the same length, so that place i of n has
/// its middle at (i + 1/2) / n.
fn taps(from: usize, to: usize) -> Vec<Taps> {
    let step = from as f64 / to.max(1) as f64;
    // A coarser grid takes the mean of what lies between its places.
    let reach = step.max(1.0);
    let last = from.saturating_sub(1) as f64;
    let at = |i: usize| {
        let middle = ((i as f64 + 0.5) * step - 0.5).clamp(0.0, last);
        let first = (middle - reach).ceil().max(0.0) as usize;
        let end = ((middle + reach).floor().min(last)) as usize;
        let weights: Vec<f64> = (first..=end).map(|j| (1.0 - (j as f64 - middle).abs() / reach).max(0.0)).collect();
        let sum: f64 = weights.iter().sum();
        Taps { first, weights: weights.iter().map(|weight| (weight / sum) as f32).collect() }
    };
    (0..to).map(at).collect()
}

/// An array with other lengths of its last axes, by linear interpolation: place i of n lies at
/// (i + 1/2) / n of an axis, what is beyond the outermost places repeats them, and a shorter axis
/// takes weighted means (a triangle as wide as two new places), so that nothing is skipped.
///
/// The last `to.len()` axes are those of space. A length of 0 gives an empty array, and an axis of
/// no length stays as it is.
///
/// ```
/// let row = ndarray::arr1(&[0.0f32, 4.0]);
/// assert_eq!(segloss_data::resize(&row, &[4]), ndarray::arr1(&[0.0, 1.0, 3.0, 4.0]));
/// assert_eq!(segloss_data::resize(&row, &[1]), ndarray::arr1(&[2.0]));
/// ```
#[must_use]
pub fn resize<D: Dimension + RemoveAxis>(array: &Array<f32, D>, to: &[usize]) -> Array<f32, D> {
    let mut result = array.clone();
    let before = array.ndim().saturating_sub(to.len());
    for (i, &length) in to.iter().enumerate() {
        let axis = Axis(before + i);
        if axis.0 < array.ndim() && result.len_of(axis) != length && result.len_of(axis) > 0 {
            result = along(&result, axis, length);
        }
    }
    result
}

fn along<D: Dimension + RemoveAxis>(array: &Array<f32, D>, axis: Axis, to: usize) -> Array<f32, D> {
    let mut shape = array.raw_dim();
    shape[axis.0] = to;
    let mut result = Array::zeros(shape);
    for (i, taps) in taps(array.len_of(axis), to).iter().enumerate() {
        let mut place = result.index_axis_mut(axis, i);
        for (j, &weight) in taps.weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            place.scaled_add(weight, &array.index_axis(axis, taps.first + j));
        }
    }
    result
}

/// An array with other lengths of its last axes, each place the nearest old one: for labels, which
/// cannot be mixed. Of two equally near the later one. An axis of no length stays as it is.
///
/// ```
/// let row = ndarray::arr1(&[3u8, 7]);
/// assert_eq!(segloss_data::nearest(&row, &[5]), ndarray::arr1(&[3, 3, 7, 7, 7]));
/// ```
#[must_use]
pub fn nearest<E: Clone, D: Dimension + RemoveAxis>(array: &Array<E, D>, to: &[usize]) -> Array<E, D> {
    let mut result = array.clone();
    let before = array.ndim().saturating_sub(to.len());
    for (i, &length) in to.iter().enumerate() {
        let axis = Axis(before + i);
        if axis.0 >= array.ndim() || result.len_of(axis) == 0 || result.len_of(axis) == length {
            continue;
        }
        let from = result.len_of(axis);
        let source = |i: usize| ((2 * i + 1) * from / (2 * length.max(1))).min(from.saturating_sub(1));
        let places: Array1<usize> = (0..length).map(source).collect();
        result = result.select(axis, &places.to_vec());
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, arr1, arr2};

    #[test]
    fn means_by_hand() {
        // The new places lie at the old 1 and 4 and take weights of 3/3, 2/3 and 1/3 around them.
        let row = resize(&arr1(&[3.0f32, 6.0, 9.0, 0.0, 0.0, 0.0]), &[2]);
        let expected = [(2.0 + 6.0 + 6.0) / (8.0 / 3.0), 3.0 / (8.0 / 3.0)];
        assert!(row.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{row}");
    }

    #[test]
    fn constants_and_ramps_stay() {
        let flat = Array2::from_elem([5, 7], 2.5f32);
        assert!(resize(&flat, &[11, 3]).iter().all(|v| (v - 2.5).abs() < 1e-6));
        let ramp = Array1::from_iter((0..8).map(|i| i as f32));
        let wide = resize(&ramp, &[16]);
        assert!((1..15).all(|i| (wide[i] - (i as f32 / 2.0 - 0.25)).abs() < 1e-6), "{wide}");
        assert_eq!(resize(&ramp, &[8]), ramp);
        assert_eq!((resize(&ramp, &[0]).len(), resize(&Array1::zeros(0), &[3]).len()), (0, 0));
    }

    #[test]
    fn labels_are_never_mixed() {
        let labels = arr2(&[[0u8, 5], [9, 5]]);
        assert_eq!(nearest(&labels, &[4, 2]), arr2(&[[0, 5], [0, 5], [9, 5], [9, 5]]));
        assert_eq!(nearest(&labels, &[2, 1]), arr2(&[[5], [5]]));
        assert_eq!((nearest(&labels, &[2, 0]).len(), nearest(&Array1::<u8>::zeros(0), &[3]).len()), (0, 0));
        assert_eq!(nearest(&nearest(&labels, &[6, 8]), &[2, 2]), labels);
    }
}
