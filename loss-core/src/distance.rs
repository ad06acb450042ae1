//! Exact Euclidean distances on a grid of pixels, in time linear in their number.
//!
//! [`squared_distances`] serves surface metrics (`segloss-metrics`); [`signed_distances`] is the
//! map of the boundary loss. Both take any number of axes, with a spacing for each, and measure
//! between pixel centres. Working memory is one `f64` per pixel, besides what the caller gives.
//!
//! The method is the separable transform of Felzenszwalb and Huttenlocher, "Distance Transforms of
//! Sampled Functions" (Theory of Computing 8, 2012). A squared distance is a sum over axes, so the
//! axes are treated one after the other:
//!
//! ```text
//! D_a(x) = min_y  D_(a+1)(x with y on axis a) + ((x_a - y) * spacing_a)²
//! ```
//!
//! That minimum is the lower envelope of one parabola per pixel of the line, found in one sweep.
//! Which parabolas are in it is asked without a division, as in Maurer, Qi and Raghavan, "A Linear
//! Time Algorithm for Computing Exact Euclidean Distance Transforms" (IEEE TPAMI 25, 2003).

use crate::geometry::SPACINGS;
use crate::{Argument, LossError};

/// Where a pixel lies relative to a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Membership {
    /// In the region.
    Inside,
    /// Valid, and not in the region.
    Outside,
    /// On neither side.
    Ignored,
}

/// The squared distance from every pixel to the nearest seed:
/// `min_s Σ_a ((x_a - s_a) * spacing_a)²`.
///
/// `seeds` tells for each pixel, in row-major order, whether it is a seed, and is read once:
/// `mask.iter().copied()`, or `labels.iter().map(|&label| label == 2)` without a mask in memory.
/// `spacing` holds the distance of neighbours along each axis of `shape`. The result is row-major
/// too, in squared units of the spacing. A seed has distance 0; without any seed, all distances are
/// infinite. With integer spacings, squared distances below 2^52 are exact.
///
/// ```
/// use loss_core::distance::squared_distances;
///
/// // Slices 3 mm apart, pixels 1 mm apart, one seed.
/// let seeds = [true, false, false, false, false, false];
/// let squared = squared_distances(seeds, &[2, 3], &[3.0, 1.0])?;
/// assert_eq!(squared, [0.0, 1.0, 4.0, 9.0, 10.0, 13.0]);
/// # Ok::<(), loss_core::LossError>(())
/// ```
///
/// # Errors
/// - [`LossError::Empty`] if an axis has length 0.
/// - [`LossError::ValueOutOfRange`] if a spacing is not a number in [1e-18, 1e18]. Within these
///   bounds no square leaves the range of `f64`, on any grid.
/// - [`LossError::Unsupported`] if `shape` has no axes or more pixels than memory holds, and if
///   there is not one spacing per axis or not one seed value per pixel.
pub fn squared_distances(
    seeds: impl IntoIterator<Item = bool>,
    shape: &[usize],
    spacing: &[f64],
) -> Result<Vec<f64>, LossError> {
    let pixels = pixels(shape, spacing)?;
    let heights = seeds.into_iter().map(|seed| if seed { 0.0 } else { f64::INFINITY });
    let mut squared = read("seeds", heights, pixels, shape)?;
    transform(&mut squared, shape, spacing);
    Ok(squared)
}

/// Writes φ, the signed distance map of the boundary loss, of one region.
///
/// | pixel | φ |
/// |---|---|
/// | [`Outside`](Membership::Outside) | `d`, the distance to the nearest inside pixel |
/// | [`Inside`](Membership::Inside) | `-(d - 1)`, `d` the distance to the nearest outside pixel |
/// | [`Ignored`](Membership::Ignored) | 0; nor is it the nearest pixel of any other |
///
/// φ is 0 everywhere if no pixel is inside, or none is outside: such a region has no boundary.
/// Distances are in units of the spacing, and the 1 is the number 1 whatever the unit. So with unit
/// spacing the innermost row of the boundary is 0 and the outermost is 1; with a spacing below 1,
/// inside pixels near the boundary have φ above 0.
///
/// `members` and `out` are row-major, and `members` is read once. φ is computed in `f64` and
/// rounded once to `f32`, the type in which kernels read maps; `out` is a slice so that the maps of
/// all classes can be written side by side into one array, without a copy. Errors leave it alone.
///
/// ```
/// use loss_core::distance::{Membership, signed_distances};
///
/// let labels = [0, 0, 1, 1, 1, 255];
/// let members = labels.iter().map(|&label| match label {
///     255 => Membership::Ignored,
///     1 => Membership::Inside,
///     _ => Membership::Outside,
/// });
/// let mut phi = [0.0; 6];
/// signed_distances(members, &[6], &[1.0], &mut phi)?;
/// assert_eq!(phi, [2.0, 1.0, 0.0, -1.0, -2.0, 0.0]);
/// # Ok::<(), loss_core::LossError>(())
/// ```
///
/// Source: Kervadec et al., "Boundary loss for highly unbalanced segmentation" (MIDL 2019), as in
/// `one_hot2dist` of <https://github.com/LIVIAETS/boundary-loss> at 171c32d8. There, a region that
/// covers the whole grid gets distances to a point outside of the grid; here it gets 0.
///
/// # Errors
/// As [`squared_distances`], with one member per pixel; [`LossError::Unsupported`] if `out` does
/// not have one element per pixel.
pub fn signed_distances(
    members: impl IntoIterator<Item = Membership>,
    shape: &[usize],
    spacing: &[f64],
    out: &mut [f32],
) -> Result<(), LossError> {
    let pixels = pixels(shape, spacing)?;
    if out.len() != pixels {
        return Err(not_per_pixel("out", out.len().to_string(), shape));
    }
    let signs = members.into_iter().map(|member| match member {
        Membership::Inside => -1.0,
        Membership::Outside => 1.0,
        Membership::Ignored => 0.0,
    });
    let mut squared = read("members", signs, pixels, shape)?;
    if !(squared.contains(&-1.0) && squared.contains(&1.0)) {
        out.fill(0.0);
        return Ok(());
    }
    // `out` keeps the signs while the one buffer of distances serves one side, then the other.
    for (sign, squared) in out.iter_mut().zip(&mut squared) {
        *sign = *squared as f32;
        *squared = if *squared < 0.0 { 0.0 } else { f64::INFINITY };
    }
    transform(&mut squared, shape, spacing);
    for (phi, squared) in out.iter_mut().zip(&mut squared) {
        if *phi > 0.0 {
            *phi = squared.sqrt() as f32;
            *squared = 0.0;
        } else {
            *squared = f64::INFINITY;
        }
    }
    transform(&mut squared, shape, spacing);
    for (phi, squared) in out.iter_mut().zip(&squared) {
        if *phi < 0.0 {
            *phi = (1.0 - squared.sqrt()) as f32;
        }
    }
    Ok(())
}

/// Checks a grid and counts its pixels.
fn pixels(shape: &[usize], spacing: &[f64]) -> Result<usize, LossError> {
    let unsupported = |what, got, expected| LossError::Unsupported { what, got, expected };
    if shape.is_empty() {
        return Err(unsupported("shape", "[]".to_owned(), "at least one axis"));
    }
    if spacing.len() != shape.len() {
        let got = format!("{} for shape {shape:?}", spacing.len());
        return Err(unsupported("number of spacings", got, "one per axis"));
    }
    if let Some(axis) = spacing.iter().position(|spacing| !SPACINGS.contains(spacing)) {
        let (value, position) = (spacing[axis], vec![axis]);
        return Err(LossError::ValueOutOfRange { what: Argument::Spacing, value, expected: "[1e-18, 1e18]", position });
    }
    if shape.contains(&0) {
        return Err(LossError::Empty { what: "distance maps", shape: shape.to_vec() });
    }
    let product = shape.iter().try_fold(1_usize, |product, &length| product.checked_mul(length));
    product.ok_or_else(|| unsupported("shape", format!("{shape:?}"), "no more pixels than can be counted"))
}

fn not_per_pixel(what: &'static str, got: String, shape: &[usize]) -> LossError {
    let got = format!("a length of {got} for shape {shape:?}");
    LossError::Unsupported { what, got, expected: "one element per pixel" }
}

/// Collects one value per pixel. Never asks for more than one value too many: `values` may not end.
fn read(what: &'static str, values: impl Iterator<Item = f64>, pixels: usize, shape: &[usize]) -> Result<Vec<f64>, LossError> {
    let mut all = Vec::new();
    if all.try_reserve_exact(pixels).is_err() {
        let expected = "no more pixels than memory holds";
        return Err(LossError::Unsupported { what: "shape", got: format!("{shape:?}"), expected });
    }
    let mut values = values.fuse();
    all.extend(values.by_ref().take(pixels));
    if all.len() < pixels {
        return Err(not_per_pixel(what, all.len().to_string(), shape));
    }
    if values.next().is_some() {
        return Err(not_per_pixel(what, format!("more than {pixels}"), shape));
    }
    Ok(all)
}

/// Turns 0 at seeds and infinity elsewhere into squared distances, in place.
fn transform(squared: &mut [f64], shape: &[usize], spacing: &[f64]) {
    let mut inner = 1;
    for (axis, (&length, &spacing)) in shape.iter().zip(spacing).enumerate().rev() {
        if axis + 1 == shape.len() {
            squared.chunks_exact_mut(length).for_each(|line| scan(line, spacing));
        } else if length > 1 {
            lines(squared, length, inner, spacing);
        }
        inner *= length;
    }
}

/// The last axis, contiguous and still all 0 or infinite: two sweeps that count steps to a seed.
fn scan(line: &mut [f64], spacing: f64) {
    let mut steps = f64::INFINITY;
    for value in line.iter_mut() {
        steps = if *value == 0.0 { 0.0 } else { steps + 1.0 };
        *value = steps;
    }
    steps = f64::INFINITY;
    for value in line.iter_mut().rev() {
        steps = value.min(steps + 1.0);
        *value = (steps * spacing) * (steps * spacing);
    }
}

/// Lines that are brought into contiguous memory together: two cache lines of each row.
const COLUMNS: usize = 16;

/// An axis of `length` pixels, `inner` elements apart. Rows are read and written in runs of
/// [`COLUMNS`] neighbours, so that every cache line fetched is used whole; the scratch is as many
/// lines of this axis.
fn lines(squared: &mut [f64], length: usize, inner: usize, spacing: f64) {
    let mut scratch = vec![0.0; length * COLUMNS.min(inner)];
    let mut parabolas = Vec::new();
    let scale = spacing * spacing;
    for block in squared.chunks_exact_mut(length * inner) {
        for first in (0..inner).step_by(COLUMNS) {
            let columns = first..inner.min(first + COLUMNS);
            for (i, row) in block.chunks_exact(inner).enumerate() {
                for (j, &value) in row[columns.clone()].iter().enumerate() {
                    scratch[j * length + i] = value;
                }
            }
            for line in scratch.chunks_exact_mut(length).take(columns.len()) {
                envelope(line, &mut parabolas, |left, middle, right| hidden(left, middle, right, scale));
                fill(line, &parabolas, spacing);
            }
            for (i, row) in block.chunks_exact_mut(inner).enumerate() {
                for (j, value) in row[columns.clone()].iter_mut().enumerate() {
                    *value = scratch[j * length + i];
                }
            }
        }
    }
}

/// `height + ((x - apex) * spacing)²`.
#[derive(Clone, Copy)]
struct Parabola {
    apex: f64,
    height: f64,
}

impl Parabola {
    fn at(self, x: f64, spacing: f64) -> f64 {
        let across = (x - self.apex) * spacing;
        self.height + across * across
    }
}

/// The parabolas that are lowest somewhere, from left to right. Infinite heights have none, so no
/// infinity enters the arithmetic. `hidden` tells whether the middle one of three is nowhere below
/// both others.
///
/// Every call of `hidden` either ends a pixel's turn or removes a parabola, and a pixel adds one:
/// there are fewer than two calls per pixel.
fn envelope(line: &[f64], parabolas: &mut Vec<Parabola>, mut hidden: impl FnMut(Parabola, Parabola, Parabola) -> bool) {
    parabolas.clear();
    let mut apex = -1.0;
    for &height in line {
        // Counted in `f64`, which conversions of integers would slow down.
        apex += 1.0;
        if height == f64::INFINITY {
            continue;
        }
        let next = Parabola { apex, height };
        while let [.., left, middle] = parabolas.as_slice()
            && hidden(*left, *middle, next)
        {
            parabolas.pop();
        }
        parabolas.push(next);
    }
}

/// Whether the crossing of `middle` and `right` lies left of that of `left` and `middle`, both
/// multiplied by what they are divided by. All terms are positive: where they nearly agree no
/// digits are lost.
fn hidden(left: Parabola, middle: Parabola, right: Parabola, scale: f64) -> bool {
    let (before, after) = (middle.apex - left.apex, right.apex - middle.apex);
    let both = before + after;
    both * middle.height > after * left.height + before * right.height + before * after * both * scale
}

/// Writes the envelope over the line it was made of: each parabola from where it is no higher than
/// the one before it.
fn fill(line: &mut [f64], parabolas: &[Parabola], spacing: f64) {
    let Some((&first, rest)) = parabolas.split_first() else { return };
    let mut rest = rest.iter();
    let (mut lowest, mut next) = (first, rest.next());
    let mut x = 0.0;
    for value in line {
        *value = lowest.at(x, spacing);
        while let Some(&right) = next {
            let other = right.at(x, spacing);
            if other > *value {
                break;
            }
            *value = other;
            (lowest, next) = (right, rest.next());
        }
        x += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::{Parabola, envelope, hidden};

    fn calls(line: &[f64]) -> usize {
        let mut calls = 0;
        envelope(line, &mut Vec::<Parabola>::new(), |left, middle, right| {
            calls += 1;
            hidden(left, middle, right, 1.0)
        });
        calls
    }

    /// Heights that keep every parabola, remove all of them at the end, drop all but the first,
    /// jump about, or are infinite: never two questions per pixel.
    #[test]
    fn the_envelope_of_a_line_takes_linear_time() {
        for length in [1, 2, 10, 1000, 100_000] {
            let shapes: [&dyn Fn(usize) -> f64; 7] = [
                &|_| 0.0,
                &|i| if i + 1 == length { -1e18 } else { 0.0 },
                &|i| 1e15 * i as f64,
                &|i| -(i as f64).powi(2),
                &|i| (i as f64).powi(2),
                &|i| ((i * 2_654_435_761) % 1_000_003) as f64,
                &|i| if i % 3 == 0 { (i % 7) as f64 } else { f64::INFINITY },
            ];
            for (which, shape) in shapes.iter().enumerate() {
                let line: Vec<f64> = (0..length).map(shape).collect();
                let calls = calls(&line);
                assert!(calls < 2 * length, "{calls} questions for {length} pixels of shape {which}");
            }
        }
        assert_eq!(calls(&[f64::INFINITY; 50]), 0);
        // Eight of ten are asked for with both neighbours; the deep one last hides eight more.
        assert_eq!(calls(&[0., 0., 0., 0., 0., 0., 0., 0., 0., -1e6]), 7 + 8);
    }
}
